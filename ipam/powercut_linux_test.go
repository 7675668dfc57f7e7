// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/campaign"
	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// cutSets are small, so that they are soon full: five addresses of each family.
var cutSets = []string{"10.0.0.0/29", "2001:db8::/64 2001:db8::2-2001:db8::6"}

const cutPool = 5

// LIFE-013, C-20: after a power cut at any moment, whatever of it has reached the
// disk, no address is lost, none is handed out twice, and all that was reserved
// before the cut can be handed out again: by ADD when there is nothing else, or by
// GC.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	ctx, random := campaign.Begin(t, 3*time.Second)
	cuts, lives := 0, 0
	for ctx.Err() == nil && !t.Failed() {
		lives++
		cuts += testLife(t, random)
	}
	t.Logf("%d power cuts in the lives of %d disks", cuts, lives)
	if cuts == 0 {
		t.Error("no power cut")
	}
}

// LIFE-013: the same for each operation after each of its steps: once with nothing lost,
// and with losses as long as there is time.
func TestPowerCut_each(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before func(a ipam.Allocator) error // in the boot before
		do     func(a ipam.Allocator) error
	}{
		{"the first ADD", add(), add("c1-1")},
		{"another ADD", add("c0-1"), add("c1-1")},
		{"ADD again", add("c0-1"), add("c0-1")},
		{"ADD in the place of a stale one", add("c0-1", "c0-2", "c0-3", "c0-4", "c0-5"), add("c1-1")},
		{"DEL", add("c0-1", "c0-2"), func(a ipam.Allocator) error { return a.Release(context.Background(), owner("c0-1")) }},
		{"GC", add("c0-1", "c0-2"), func(a ipam.Allocator) error { return a.GC(context.Background(), nil) }},
	}
	ctx, random := campaign.Begin(t, 3*time.Second)
	deadline, _ := ctx.Deadline()
	for i, tt := range tests {
		until := time.Now().Add(time.Until(deadline) / time.Duration(len(tests)-i))
		top, fresh := disks(t)
		root := fresh()
		a := ipam.Allocator{Store: ipam.FileStore{Dir: root, Network: "net"}.WithBoot("boot-0"), Sets: sets(t, cutSets...)}
		if err := tt.before(a); err != nil {
			t.Fatal(err)
		}
		d := newDisk(t, root)
		a.Store = ipam.FileStore{Dir: root, Network: "net"}.WithBoot("boot-1").WithHook(func(string) error { d.look(); return nil })
		if err := tt.do(a); err != nil {
			t.Fatal(err)
		}
		d.look()
		tried := 0
		for round := 0; round == 0 || time.Now().Before(until); round++ {
			for at := range d.looks {
				loss := 0
				if round > 0 {
					loss = 1 + random.IntN(losses-1)
				}
				w := d.cut(at, loss, random)
				there := fresh()
				if err := w.lay(there); err != nil {
					t.Fatal(err)
				}
				wantRecovered(t, there, 2, random)
				if t.Failed() {
					t.Fatalf("%s: power cut at look %d of %d, with this wreck:\n%s", tt.name, at, d.looks, w)
				}
				if err := os.RemoveAll(there); err != nil {
					t.Fatal(err)
				}
				tried++
			}
		}
		d.close()
		t.Logf("%s: %d power cuts at %d steps", tt.name, tried, d.looks)
		if err := os.RemoveAll(top); err != nil {
			t.Fatal(err)
		}
	}
}

func add(ids ...string) func(ipam.Allocator) error {
	return func(a ipam.Allocator) error {
		var errs []error
		for _, id := range ids {
			_, err := a.Allocate(context.Background(), owner(id))
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}

// disks returns a directory, for the caller to remove, and what makes others in it.
func disks(t *testing.T) (top string, fresh func() string) {
	t.Helper()
	top = memoryDir(t)
	return top, func() string {
		dir, err := os.MkdirTemp(top, "disk")
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
}

// testLife lets a disk live through some boots, each of which ends with a power cut, and
// returns the number of cuts tried.
func testLife(t *testing.T, random *rand.Rand) (cuts int) {
	top, fresh := disks(t)
	defer func() {
		if err := os.RemoveAll(top); err != nil {
			t.Error(err)
		}
	}()
	root := fresh()
	for boot := range 3 {
		d := newDisk(t, root)
		s := ipam.FileStore{Dir: root, Network: "net"}.WithBoot(fmt.Sprint("boot-", boot)).WithHook(func(string) error { d.look(); return nil })
		playCut(t, ipam.Allocator{Store: s, Sets: sets(t, cutSets...)}, boot, random)
		d.look()
		var last wreck
		for range 12 {
			at := d.looks - 1 // most of the time nothing is going on
			if random.IntN(3) > 0 {
				at = random.IntN(d.looks)
			}
			last = d.cut(at, random.IntN(losses), random)
			there := fresh()
			if err := last.lay(there); err != nil {
				t.Fatal(err)
			}
			cuts++
			wantRecovered(t, there, boot+1, random)
			if t.Failed() {
				t.Logf("power cut at look %d of %d in boot %d of this wreck:\n%s", at, d.looks, boot, last)
				return cuts
			}
		}
		d.close()
		root = fresh()
		if err := last.lay(root); err != nil {
			t.Fatal(err)
		}
	}
	return cuts
}

// memoryDir returns a directory that ends with the test, if the caller has not removed it: in memory if there is such a file
// system and files in it can be marked, since which one it is makes no difference but
// in time.
func memoryDir(t *testing.T) string {
	t.Helper()
	for _, in := range []string{"/dev/shm", t.TempDir()} {
		dir, err := os.MkdirTemp(in, "cnikit")
		if err != nil {
			continue
		}
		if syscall.Setxattr(dir, "user.cnikit.boot", []byte("x"), 0) == nil {
			t.Cleanup(func() {
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			})
			return dir
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Skip("lacks extended attributes")
	return ""
}

// playCut does some operations.
func playCut(t *testing.T, a ipam.Allocator, boot int, random *rand.Rand) {
	t.Helper()
	for range 1 + random.IntN(6) {
		id := fmt.Sprintf("c%d-%d", boot-random.IntN(2), random.IntN(6))
		var err error
		switch random.IntN(8) {
		case 0, 1:
			err = a.Release(t.Context(), owner(id))
		case 2:
			err = a.GC(t.Context(), []types.Attachment{owner(id)})
		default:
			_, err = comeBack(t, a, id)
			if errors.Is(err, types.ErrTryAgainLater) {
				err = nil
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// comeBack adds a container as a runtime does that heeds what an error says.
func comeBack(t *testing.T, a ipam.Allocator, id string) (ipam.Allocation, error) {
	t.Helper()
	got, err := a.Allocate(t.Context(), owner(id))
	if err != nil && strings.Contains(err.Error(), "run DEL first") {
		// The record of before has lost its end and its mark, and looks like that of a very
		// old plugin.
		mustRelease(t, a, id)
		got, err = a.Allocate(t.Context(), owner(id))
	}
	return got, err
}

// wantRecovered checks that the next boot can do with a data directory all that has
// to be.
func wantRecovered(t *testing.T, root string, boot int, random *rand.Rand) {
	t.Helper()
	name := fmt.Sprint("boot-", boot)
	s := ipam.FileStore{Dir: root, Network: "net"}.WithBoot(name)
	a := ipam.Allocator{Store: s, Sets: sets(t, cutSets...)}
	if err := a.Status(t.Context()); err != nil && !errors.Is(err, types.ErrPluginNotAvailable) {
		t.Errorf("Status() = %v", err)
	}
	if random.IntN(4) == 0 {
		// Nobody is there any more, so nothing is left after GC.
		if err := a.GC(t.Context(), nil); err != nil {
			t.Errorf("GC() = %v", err)
		}
		if left := contents(t, s); len(left) > 0 {
			t.Errorf("GC() left %v", left)
		}
	}
	l := ledger{t, a, map[string]string{}}
	if random.IntN(2) == 0 {
		// Somebody comes back with the ID of before.
		l.add(fmt.Sprintf("c%d-%d", boot-1, random.IntN(6)))
	}
	l.fill("d")
	// What has lost its mark cannot be told from what is new, and stays.
	unproven := 0
	for addr, o := range contents(t, s) {
		if l.held[addr] == "" && o != "/" {
			unproven++
			if got := mark(t, filepath.Join(root, "net", addr)); got != name {
				t.Errorf("%s is %s's and has the mark %q, want it handed out", addr, o, got)
			}
		}
	}
	l.want(2*cutPool - unproven)
	wantConsistent(t, s, filepath.Join(root, "net"))
	if random.IntN(2) == 0 {
		var valid []types.Attachment
		for _, id := range l.held {
			valid = append(valid, owner(id))
		}
		if err := a.GC(t.Context(), valid); err != nil {
			t.Errorf("GC() = %v", err)
		}
	} else {
		s = s.WithBoot(name + "b")
		l.a.Store, l.held = s, map[string]string{}
	}
	l.fill("e")
	l.want(2 * cutPool)
	wantConsistent(t, s, filepath.Join(root, "net"))
}

// A ledger keeps account of who was given which address.
type ledger struct {
	t    *testing.T
	a    ipam.Allocator
	held map[string]string // container by address
}

// add adds a container, and reports whether there was an address of each set for it.
func (l ledger) add(id string) bool {
	l.t.Helper()
	got, err := comeBack(l.t, l.a, id)
	if err != nil {
		if !errors.Is(err, types.ErrTryAgainLater) {
			l.t.Errorf("Allocate(%s) = %v, want success or error 11", id, err)
		}
		return false
	}
	for _, ip := range got.IPs {
		addr := ip.Address.Addr().String()
		if have := l.held[addr]; have != "" && have != id {
			l.t.Errorf("Allocate(%s) = %s, which is %s's", id, addr, have)
		}
		l.held[addr] = id
	}
	return true
}

// fill adds containers until each set is full: first to all of them at once, and then
// to each by itself. Cursors belong to positions and not to sets, which does not matter
// for that.
func (l ledger) fill(prefix string) {
	l.t.Helper()
	until := func(sets []ipam.RangeSet, prefix string) {
		l.a.Sets = sets
		for n := 0; n <= cutPool && l.add(fmt.Sprint(prefix, n)); n++ {
		}
	}
	whole := l.a.Sets
	until(whole, prefix+"-all-")
	for i := range whole {
		until(whole[i:i+1], fmt.Sprint(prefix, "-", i, "-"))
	}
}

// want checks that so many addresses are held, and that the store says so.
func (l ledger) want(n int) {
	l.t.Helper()
	if len(l.held) != n {
		l.t.Errorf("%d addresses are held, want %d: %v", len(l.held), n, l.held)
	}
	all := contents(l.t, l.a.Store)
	for addr, id := range l.held {
		if all[addr] != id+"/eth0" {
			l.t.Errorf("%s is %s's, want it %s's", addr, all[addr], id)
		}
	}
}
