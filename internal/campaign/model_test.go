// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/campaign"
	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// An op is one call of an allocator, and what came of it.
type op struct {
	do    string           // add, del, gc, check or status
	owner types.Attachment // of add, del and check
	ask   []netip.Addr     // requested by add, looked for by check
	valid []types.Attachment
	// plan is which of the configurations is in force: other range sets, with the same
	// store.
	plan int
}

func (o op) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s plan %d %s/%s %v %v", o.do, o.plan, o.owner.ContainerID, o.owner.IfName, o.ask, o.valid))
}

// A verdict is what an op answers: the addresses, or what kind of error.
type verdict struct {
	addrs string
	err   types.Code // 0: none; 999: any without a code
}

// plans are the configurations: one pool, two families, sets of several ranges, an odd
// gateway, and one that lacks a range that another one has.
var plans = [][][]types.IPRange{
	{{r("10.0.0.0/29")}},
	{{r("10.0.0.0/29")}, {r("2001:db8::/125")}},
	{{r("10.0.1.0/29 2-3"), r("10.0.0.0/29 4-5 gw 9"), r("10.0.2.0/30 1-2 gw 1")}, {r("10.0.3.0/29 1-3 gw 2")}},
	{{r("2001:db8::/125"), r("2001:db8:1::/126")}, {r("10.0.3.0/29 1-3 gw 2")}},
}

// r is a range in short: a subnet, the last numbers of its ends, and that of its gateway.
func r(text string) types.IPRange {
	words := strings.Fields(text)
	p := types.IPRange{Subnet: netip.MustParsePrefix(words[0])}
	at := func(number string) netip.Addr {
		base := strings.TrimSuffix(p.Subnet.Addr().String(), "0")
		return netip.MustParseAddr(base + number)
	}
	if len(words) > 1 {
		start, end, _ := strings.Cut(words[1], "-")
		p.RangeStart, p.RangeEnd = at(start), at(end)
	}
	if len(words) > 3 {
		p.Gateway = at(words[3])
	}
	return p
}

// A model is the slow and obvious allocator: what is reserved in a map, what a set has in
// a list.
type model struct {
	held    map[netip.Addr]types.Attachment
	cursors map[int]netip.Addr
}

func newModel() *model {
	return &model{map[netip.Addr]types.Attachment{}, map[int]netip.Addr{}}
}

func (m *model) clone() *model { return &model{maps.Clone(m.held), maps.Clone(m.cursors)} }

// key is the same for models that cannot be told apart.
func (m *model) key() string { return fmt.Sprint(m.held, m.cursors) }

// pool lists what a set can hand out, in order, with nil in the place of addresses that
// are in it and are not handed out.
func pool(set []types.IPRange) (inside []netip.Addr, usable map[netip.Addr]bool) {
	usable = map[netip.Addr]bool{}
	for _, c := range set {
		first, last := c.Subnet.Addr().Next(), netip.Addr{}
		for a := c.Subnet.Addr(); c.Subnet.Contains(a); a = a.Next() {
			last = a
		}
		start, end, gateway := c.RangeStart, c.RangeEnd, c.Gateway
		if !start.IsValid() {
			start = first
		}
		if !end.IsValid() {
			end = last
			if last.Is4() {
				end = last.Prev()
			}
		}
		if !gateway.IsValid() {
			gateway = first
		}
		for a := start; ; a = a.Next() {
			inside = append(inside, a)
			usable[a] = a != gateway && a != c.Subnet.Addr() && (a.Is6() || a != last)
			if a == end {
				break
			}
		}
	}
	return inside, usable
}

// do does what an allocator should do.
func (m *model) do(o op) verdict {
	switch o.do {
	case "del":
		maps.DeleteFunc(m.held, func(_ netip.Addr, have types.Attachment) bool { return have == o.owner })
	case "gc":
		maps.DeleteFunc(m.held, func(_ netip.Addr, have types.Attachment) bool { return !slices.Contains(o.valid, have) })
	case "check":
		for _, a := range o.ask {
			if m.held[a] != o.owner {
				return verdict{err: 999}
			}
		}
	case "status":
		for _, set := range plans[o.plan] {
			if !m.next(set, netip.Addr{}).IsValid() {
				return verdict{err: types.ErrPluginNotAvailable}
			}
		}
	case "add":
		return m.add(o)
	}
	return verdict{}
}

// next returns the free address of a set whose turn it is after the cursor.
func (m *model) next(set []types.IPRange, cursor netip.Addr) netip.Addr {
	inside, usable := pool(set)
	from := slices.Index(inside, cursor) + 1
	for i := range inside {
		a := inside[(from+i)%len(inside)]
		if _, taken := m.held[a]; usable[a] && !taken {
			return a
		}
	}
	return netip.Addr{}
}

func (m *model) add(o op) verdict {
	sets := plans[o.plan]
	want := make([]netip.Addr, len(sets))
	for _, a := range o.ask {
		i := slices.IndexFunc(sets, func(set []types.IPRange) bool { inside, _ := pool(set); return slices.Contains(inside, a) })
		if i < 0 {
			return verdict{err: types.ErrInvalidNetworkConfig}
		}
		if _, usable := pool(sets[i]); !usable[a] || want[i].IsValid() && want[i] != a {
			return verdict{err: types.ErrInvalidNetworkConfig}
		}
		want[i] = a
	}
	before := maps.Clone(m.held)
	var got []netip.Addr
	for i, set := range sets {
		inside, _ := pool(set)
		a := want[i]
		var mine []netip.Addr
		for _, x := range inside {
			if before[x] == o.owner {
				mine = append(mine, x)
			}
		}
		switch {
		case a.IsValid() && slices.Contains(mine, a):
		case len(mine) > 0 && a.IsValid():
			m.held = before
			return verdict{err: 999}
		case len(mine) > 0:
			// Of several, which two plans may have brought about, any will do.
			a = mine[0]
		default:
			if !a.IsValid() {
				a = m.next(set, m.cursors[i])
			} else if _, taken := m.held[a]; taken {
				a = netip.Addr{}
			}
			if !a.IsValid() {
				m.held = before // the cursors stay where they are
				return verdict{err: types.ErrTryAgainLater}
			}
			m.held[a], m.cursors[i] = o.owner, a
		}
		got = append(got, a)
	}
	return verdict{addrs: fmt.Sprint(got)}
}

// apply does an op with an allocator.
func apply(ctx context.Context, s ipam.Store, o op) (verdict, error) {
	sets, err := ipam.NewRangeSets(plans[o.plan])
	if err != nil {
		return verdict{}, err
	}
	a := ipam.Allocator{Store: s, Sets: sets}
	var got []netip.Addr
	switch o.do {
	case "add":
		var allocation ipam.Allocation
		allocation, err = a.Allocate(ctx, o.owner, o.ask...)
		for _, ip := range allocation.IPs {
			got = append(got, ip.Address.Addr())
		}
	case "del":
		err = a.Release(ctx, o.owner)
	case "gc":
		err = a.GC(ctx, o.valid)
	case "check":
		err = a.Check(ctx, o.owner, o.ask)
	case "status":
		err = a.Status(ctx)
	}
	return verdictOf(got, err), nil
}

func verdictOf(got []netip.Addr, err error) verdict {
	for _, code := range []types.Code{types.ErrTryAgainLater, types.ErrInvalidNetworkConfig, types.ErrPluginNotAvailable} {
		if errors.Is(err, code) {
			return verdict{err: code}
		}
	}
	if err != nil {
		return verdict{err: 999}
	}
	if got == nil {
		return verdict{}
	}
	return verdict{addrs: fmt.Sprint(got)}
}

func drawOwner(random *rand.Rand) types.Attachment {
	return types.Attachment{ContainerID: fmt.Sprint("c", random.IntN(7)), IfName: fmt.Sprint("eth", random.IntN(4)/3)}
}

// drawOps draws ops.
func drawOps(random *rand.Rand, n int, plan func() int) []op {
	ops := make([]op, n)
	for i := range ops {
		o := op{owner: drawOwner(random), plan: plan()}
		var all []netip.Addr
		for _, set := range plans[o.plan] {
			inside, _ := pool(set)
			all = append(all, inside...)
		}
		ask := func() {
			for range 1 + random.IntN(2) {
				o.ask = append(o.ask, all[random.IntN(len(all))])
			}
		}
		switch k := random.IntN(20); {
		case k < 8:
			o.do = "add"
		case k < 11:
			o.do = "add"
			ask()
		case k < 16:
			o.do = "del"
		case k < 17:
			o.do, o.owner = "gc", types.Attachment{}
			for range random.IntN(6) {
				o.valid = append(o.valid, drawOwner(random))
			}
		case k < 19:
			o.do = "check"
			ask()
		default:
			o.do, o.owner = "status", types.Attachment{}
		}
		ops[i] = o
	}
	return ops
}

// differ does the ops with a store and with the model, and says how they differ first.
func differ(t *testing.T, s ipam.Store, ops []op) string {
	t.Helper()
	m := newModel()
	for i, o := range ops {
		got, err := apply(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		if want := m.do(o); got != want {
			return fmt.Sprintf("op %d, %v = %+v, want %+v", i, o, got, want)
		}
		if got, want := fmt.Sprint(holders(t, s)), fmt.Sprint(m.held); got != want {
			return fmt.Sprintf("after op %d, %v: %v is reserved, want %v", i, o, got, want)
		}
	}
	return ""
}

func holders(t *testing.T, s ipam.Store) map[netip.Addr]types.Attachment {
	t.Helper()
	all := map[netip.Addr]types.Attachment{}
	err := s.View(t.Context(), func(r ipam.Reader) error {
		taken, err := r.Taken()
		for addr := range taken {
			owner, err := r.Owner(addr)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			all[addr] = owner
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// shrink returns the fewest ops for which fails still says yes, as far as leaving out
// some of them leads.
func shrink(ops []op, fails func([]op) bool) []op {
	for size := len(ops) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(ops); {
			fewer := slices.Delete(slices.Clone(ops), at, at+size)
			if fails(fewer) {
				ops = fewer
			} else {
				at += size
			}
		}
	}
	return ops
}

// The stores of the campaigns.
func openMemory(*testing.T) ipam.Store { return &ipam.MemoryStore{} }

func openFiles(t *testing.T) ipam.Store {
	return ipam.FileStore{Dir: memoryDir(t), Network: "net"}
}

// memoryDir returns a directory that ends with the test, in memory where there is such a
// file system: which one it is makes no difference here but in time.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cnikit")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// findDifference looks for ops that a store does otherwise than the model until the
// context ends, and returns the fewest of them and what they show.
func findDifference(ctx context.Context, t *testing.T, random *rand.Rand, open func(*testing.T) ipam.Store) (done int, ops []op, difference string) {
	for ctx.Err() == nil {
		fixed := random.IntN(len(plans))
		plan := func() int { return fixed }
		if random.IntN(3) == 0 {
			plan = func() int { return random.IntN(2) } // plans whose sets are in the same places
		}
		ops := drawOps(random, 1+random.IntN(120), plan)
		done += len(ops)
		if differ(t, open(t), ops) != "" {
			ops = shrink(ops, func(ops []op) bool { return differ(t, open(t), ops) != "" })
			return done, ops, differ(t, open(t), ops)
		}
	}
	return done, nil, ""
}

// Whatever is done in whatever order, the allocator does what the obvious one does, on
// each store: which addresses, in which order, which errors, and what is reserved.
// DLG-027, DLG-028, DLG-032 to DLG-034, GC-005, STA-004.
func TestModel(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) ipam.Store{"memory": openMemory, "files": openFiles} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, random := campaign.Begin(t, time.Second)
			done, ops, difference := findDifference(ctx, t, random, open)
			t.Logf("%d operations", done)
			if difference != "" {
				t.Errorf("%s\nin %d operations:\n%s", difference, len(ops), listOps(ops))
			}
		})
	}
}

func listOps(ops []op) string {
	var lines []string
	for i, o := range ops {
		lines = append(lines, fmt.Sprintf("%d\t%v", i, o))
	}
	return strings.Join(lines, "\n")
}

// A faulty store has a planted bug.
type faulty struct {
	ipam.Store
	bug string
}

type faultyTx struct {
	ipam.Tx
	bug string
}

func (s faulty) Update(ctx context.Context, f func(ipam.Tx) error) error {
	return s.Store.Update(ctx, func(tx ipam.Tx) error { return f(faultyTx{tx, s.bug}) })
}

func (tx faultyTx) SetCursor(set int, addr netip.Addr) error {
	switch tx.bug {
	case "the cursor is forgotten":
		return nil
	case "the cursors are one":
		set = 0
	}
	return tx.Tx.SetCursor(set, addr)
}

func (tx faultyTx) Release(addr netip.Addr, owner types.Attachment) error {
	switch tx.bug {
	case "an IPv6 address is not released":
		if addr.Is6() {
			return nil
		}
	case "everything of the container is released":
		for _, name := range []string{"eth0", "eth1"} {
			other := types.Attachment{ContainerID: owner.ContainerID, IfName: name}
			addrs, err := tx.Addrs(other)
			for _, a := range addrs {
				err = errors.Join(err, tx.Tx.Release(a, other))
			}
			if err != nil {
				return err
			}
		}
	}
	return tx.Tx.Release(addr, owner)
}

func (tx faultyTx) Addrs(owner types.Attachment) ([]netip.Addr, error) {
	addrs, err := tx.Tx.Addrs(owner)
	if tx.bug == "the second address is forgotten" && len(addrs) > 1 {
		addrs = addrs[:1]
	}
	return addrs, err
}

// The campaign finds bugs that are planted in a store, and names few operations.
func TestModel_planted(t *testing.T) {
	t.Parallel()
	bugs := []string{"the cursor is forgotten", "the cursors are one", "an IPv6 address is not released", "everything of the container is released", "the second address is forgotten"}
	for _, bug := range bugs {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		random := campaign.Lots(1)
		done, ops, difference := findDifference(ctx, t, random, func(*testing.T) ipam.Store { return faulty{&ipam.MemoryStore{}, bug} })
		cancel()
		if difference == "" || len(ops) > 6 {
			t.Errorf("%s: %d operations show %q, want a few", bug, len(ops), difference)
		}
		t.Logf("%s: found within %d operations, shown by %d:\n%s\n%s", bug, done, len(ops), listOps(ops), difference)
	}
}
