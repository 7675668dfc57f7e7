// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

func owner(id string) types.Attachment { return types.Attachment{ContainerID: id, IfName: "eth0"} }

// stores are the stores that the allocator's tests run on.
func stores(t *testing.T, test func(t *testing.T, s ipam.Store)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, &ipam.MemoryStore{})
	})
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		test(t, ipam.FileStore{Dir: t.TempDir(), Network: "net"})
	})
}

// short is the list of addresses as the tests write it.
func short(a ipam.Allocation) string {
	var all []string
	for _, ip := range a.IPs {
		all = append(all, ip.Address.String())
	}
	return strings.Join(all, " ")
}

func mustAllocate(t *testing.T, a ipam.Allocator, id, want string, requests ...netip.Addr) ipam.Allocation {
	t.Helper()
	got, err := a.Allocate(t.Context(), owner(id), requests...)
	if err != nil || short(got) != want {
		t.Errorf("Allocate(%s, %v) = %s, %v; want %s", id, requests, short(got), err, want)
	}
	return got
}

func mustRelease(t *testing.T, a ipam.Allocator, id string) {
	t.Helper()
	if err := a.Release(t.Context(), owner(id)); err != nil {
		t.Errorf("Release(%s) = %v", id, err)
	}
}

// contents returns who has what.
func contents(t *testing.T, s ipam.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := s.View(t.Context(), func(r ipam.Reader) error {
		taken, err := r.Taken()
		for addr := range taken {
			o, err := r.Owner(addr)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			all[addr.String()] = o.ContainerID + "/" + o.IfName
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantContents(t *testing.T, s ipam.Store, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, contents(t, s)); diff != "" {
		t.Errorf("store mismatch (-want +got):\n%s", diff)
	}
}

func TestAllocator(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/29", "2001:db8::/64 gw 2001:db8::2")}
		first := mustAllocate(t, a, "c1", "10.0.0.2/29 2001:db8::1/64")
		gateways := []string{first.IPs[0].Gateway.String(), first.IPs[1].Gateway.String()}
		if diff := cmp.Diff([]string{"10.0.0.1", "2001:db8::2"}, gateways); diff != "" {
			t.Errorf("gateways mismatch (-want +got):\n%s", diff)
		}
		mustAllocate(t, a, "c2", "10.0.0.3/29 2001:db8::3/64")
		mustRelease(t, a, "c1")
		mustRelease(t, a, "c1") // DEL-003
		mustRelease(t, a, "c9") // DEL-011
		// A released address comes last.
		for i, want := range []string{"10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"} {
			mustAllocate(t, a, fmt.Sprint("d", i), fmt.Sprintf("%s/29 2001:db8::%d/64", want, 4+i))
		}
	})
}

// DLG-033: a repeated ADD gets what it has, and leaks nothing.
func TestAllocator_again(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/29", "10.0.1.0/29")}
		mustAllocate(t, a, "c1", "10.0.0.2/29 10.0.1.2/29")
		again := mustAllocate(t, a, "c1", "10.0.0.2/29 10.0.1.2/29")
		if len(again.New) != 0 {
			t.Errorf("New = %v, want nothing", again.New)
		}
		mustAllocate(t, a, "c1", "10.0.0.2/29 10.0.1.2/29", netip.MustParseAddr("10.0.1.2"))
		other := types.Attachment{ContainerID: "c1", IfName: "eth1"}
		if got, err := a.Allocate(t.Context(), other); err != nil || short(got) != "10.0.0.3/29 10.0.1.3/29" {
			t.Errorf("Allocate(other interface) = %s, %v; want addresses of its own", short(got), err)
		}
		mustRelease(t, a, "c1") // DEL-024
		wantContents(t, s, map[string]string{"10.0.0.3": "c1/eth1", "10.0.1.3": "c1/eth1"})
	})
}

// C-19: the rollback releases what this call took and nothing else.
func TestAllocator_Rollback_C19(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/29")}
		mustAllocate(t, a, "c1", "10.0.0.2/29")
		// A range set is put in front, and the ADD is repeated.
		b := ipam.Allocator{Store: s, Sets: sets(t, "10.0.9.0/29", "10.0.0.0/29")}
		got := mustAllocate(t, b, "c1", "10.0.9.2/29 10.0.0.2/29")
		if err := b.Rollback(t.Context(), owner("c1"), got); err != nil {
			t.Error(err)
		}
		wantContents(t, s, map[string]string{"10.0.0.2": "c1/eth0"})
		got = mustAllocate(t, a, "c1", "10.0.0.2/29")
		if err := a.Rollback(t.Context(), owner("c1"), got); err != nil {
			t.Error(err)
		}
		wantContents(t, s, map[string]string{"10.0.0.2": "c1/eth0"})

		// DLG-034, CAP-014: one of several cannot be had.
		full := ipam.Allocator{Store: s, Sets: sets(t, "10.0.9.0/29", "10.0.0.0/30 gw 10.0.0.1")}
		_, err := full.Allocate(t.Context(), owner("c2"))
		if !errors.Is(err, types.ErrTryAgainLater) {
			t.Errorf("Allocate() = %v, want error 11", err)
		}
		wantContents(t, s, map[string]string{"10.0.0.2": "c1/eth0"})
	})
}

// ARG-012, CAP-014, C-31: requested addresses.
func TestAllocator_requests(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24,10.0.1.0/24", "2001:db8::/64 2001:db8::-")}
		addr := netip.MustParseAddr
		mustAllocate(t, a, "c1", "10.0.0.9/24 2001:db8::7/64", addr("2001:db8::7"), addr("::ffff:10.0.0.9"), netip.Addr{}, addr("10.0.0.9"))
		mustAllocate(t, a, "c2", "10.0.1.9/24 2001:db8::8/64", addr("10.0.1.9"))
		mustAllocate(t, a, "c3", "10.0.1.10/24 2001:db8::9/64") // the cursor follows the request, as on existing nodes
		before := contents(t, s)
		tests := []struct {
			name, id string
			requests []netip.Addr
			code     types.Code // 0: any
			want     string
		}{
			{"taken", "c4", []netip.Addr{addr("10.0.0.9")}, types.ErrTryAgainLater, "10.0.0.9 is taken"},
			{"the second one taken", "c4", []netip.Addr{addr("10.0.0.8"), addr("2001:db8::7")}, types.ErrTryAgainLater, "2001:db8::7 is taken"},
			{"foreign", "c4", []netip.Addr{addr("10.0.0.8"), addr("10.0.2.8")}, types.ErrInvalidNetworkConfig, "10.0.2.8 is in no range"},
			{"gateway", "c4", []netip.Addr{addr("10.0.0.1")}, types.ErrInvalidNetworkConfig, "gateway"},
			{"network", "c4", []netip.Addr{addr("2001:db8::")}, types.ErrInvalidNetworkConfig, "network or broadcast"},
			{"two of one set", "c4", []netip.Addr{addr("10.0.0.8"), addr("10.0.1.8")}, types.ErrInvalidNetworkConfig, "same range set"},
			{"another than before", "c1", []netip.Addr{addr("10.0.0.8")}, 0, "has 10.0.0.9"},
		}
		for _, tt := range tests {
			_, err := a.Allocate(t.Context(), owner(tt.id), tt.requests...)
			if err == nil || tt.code != 0 && !errors.Is(err, tt.code) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: Allocate(%v) = %v, want error %d with %q", tt.name, tt.requests, err, tt.code, tt.want)
			}
			wantContents(t, s, before)
		}
	})
}

func TestAllocator_badOwner(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
		for _, o := range []types.Attachment{{}, {ContainerID: "c1"}, {IfName: "eth0"}} {
			if _, err := a.Allocate(t.Context(), o); !errors.Is(err, types.ErrInvalidEnvironmentVariables) {
				t.Errorf("Allocate(%+v) = %v, want error 4", o, err)
			}
			if err := a.Release(t.Context(), o); !errors.Is(err, types.ErrInvalidEnvironmentVariables) {
				t.Errorf("Release(%+v) = %v, want error 4", o, err)
			}
		}
		if _, err := a.Allocate(t.Context(), types.Attachment{ContainerID: "c1\r\nx", IfName: "eth0"}); err == nil {
			if _, file := s.(ipam.FileStore); file {
				t.Error("Allocate(owner with a line break) succeeded in a file store")
			}
		}
	})
}

// C-32: an exhausted range is error 11, and 50 for STATUS.
func TestAllocator_exhausted_C32(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.1.0/24", "10.0.0.0/29,10.0.2.0/30 gw 10.0.2.2")}
		for i := range 6 {
			if err := a.Status(t.Context()); err != nil {
				t.Errorf("Status() with %d taken = %v, want success", i, err)
			}
			if _, err := a.Allocate(t.Context(), owner(fmt.Sprint("c", i))); err != nil {
				t.Fatal(err)
			}
		}
		before := contents(t, s)
		_, err := a.Allocate(t.Context(), owner("c9"))
		if !errors.Is(err, types.ErrTryAgainLater) || !strings.Contains(err.Error(), "10.0.0.1-10.0.0.6") {
			t.Errorf("Allocate() = %v, want error 11 that names the set", err)
		}
		// STA-004, DLG-029
		if err := a.Status(t.Context()); !errors.Is(err, types.ErrPluginNotAvailable) {
			t.Errorf("Status() = %v, want error 50", err)
		}
		wantContents(t, s, before)
		mustRelease(t, a, "c3")
		if err := a.Status(t.Context()); err != nil {
			t.Errorf("Status() = %v, want success", err)
		}
		// The cursor of the first set has moved on with the attempt.
		mustAllocate(t, a, "c9", "10.0.1.9/24 10.0.0.5/29")
	})
}

// countingStore counts what the allocator asks for.
type countingStore struct {
	ipam.Store
	reserves, lists *int
}

type countingTx struct {
	ipam.Tx
	s countingStore
}

func (s countingStore) Update(ctx context.Context, f func(ipam.Tx) error) error {
	return s.Store.Update(ctx, func(tx ipam.Tx) error { return f(countingTx{tx, s}) })
}

func (tx countingTx) Reserve(a netip.Addr, o types.Attachment) error {
	*tx.s.reserves++
	return tx.Tx.Reserve(a, o)
}

func (tx countingTx) Taken() (map[netip.Addr]bool, error) {
	*tx.s.lists++
	return tx.Tx.Taken()
}

// inside is the store of somebody who has it to himself already.
type inside struct{ tx ipam.Tx }

func (s inside) View(_ context.Context, f func(ipam.Reader) error) error { return f(s.tx) }
func (s inside) Update(_ context.Context, f func(ipam.Tx) error) error   { return f(s.tx) }

// C5: a nearly full range is not tried address by address, and a full stretch of
// an IPv6 range ends.
func TestAllocator_nearlyFull_C5(t *testing.T) {
	t.Parallel()
	const many = 20_000
	memory := &ipam.MemoryStore{}
	start := netip.MustParseAddr("2001:db8::2")
	err := memory.Update(t.Context(), func(tx ipam.Tx) error {
		addr := start
		for range many {
			if err := tx.Reserve(addr, owner("x")); err != nil {
				return err
			}
			addr = addr.Next()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var reserves, lists int
	a := ipam.Allocator{Store: countingStore{memory, &reserves, &lists}, Sets: sets(t, "2001:db8::/64")}
	mustAllocate(t, a, "c1", "2001:db8::4e22/64")
	if reserves > 10 || lists != 1 {
		t.Errorf("%d tries and %d listings, want at most 10 and 1", reserves, lists)
	}
	reserves, lists = 0, 0
	mustAllocate(t, a, "c2", "2001:db8::4e23/64")
	if reserves != 1 || lists != 0 {
		t.Errorf("%d tries and %d listings with a free next address, want 1 and 0", reserves, lists)
	}
	full := ipam.Allocator{Store: countingStore{memory, &reserves, &lists}, Sets: sets(t, "2001:db8::/64 2001:db8::2-2001:db8::4e21")}
	if _, err := full.Allocate(t.Context(), owner("c3")); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("Allocate() = %v, want error 11", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = memory.Update(t.Context(), func(tx ipam.Tx) error {
		_, err := (ipam.Allocator{Store: inside{tx}, Sets: full.Sets}).Allocate(ctx, owner("c3"))
		return err
	})
	if !errors.Is(err, types.ErrTryAgainLater) || !errors.Is(err, context.Canceled) {
		t.Errorf("Allocate() = %v, want error 11 that is context.Canceled", err)
	}
}

// C-27, DLG-028: CHECK looks at the very addresses.
func TestAllocator_Check_C27(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
		mustAllocate(t, a, "c1", "10.0.0.2/24")
		mustAllocate(t, a, "c2", "10.0.0.3/24")
		err := s.Update(t.Context(), func(tx ipam.Tx) error {
			return tx.Reserve(netip.MustParseAddr("10.0.0.4"), types.Attachment{ContainerID: "c1"})
		})
		if err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			addrs []string
			want  []string
		}{
			{nil, nil},
			{[]string{"10.0.0.2"}, nil},
			{[]string{"::ffff:10.0.0.2", "10.0.0.4"}, nil},
			{[]string{"10.0.0.9"}, []string{"10.0.0.9", "is free"}},
			{[]string{"10.0.0.2", "10.0.0.3", "10.0.0.9"}, []string{"10.0.0.3", "container c1, interface eth0", "container c2, interface eth0's", "10.0.0.9"}},
		}
		for _, tt := range tests {
			var addrs []netip.Addr
			for _, text := range tt.addrs {
				addrs = append(addrs, netip.MustParseAddr(text))
			}
			before := contents(t, s)
			err := a.Check(t.Context(), owner("c1"), addrs)
			if (err == nil) != (tt.want == nil) {
				t.Errorf("Check(%v) = %v, want %q", tt.addrs, err, tt.want)
			}
			for _, text := range tt.want {
				if !strings.Contains(fmt.Sprint(err), text) {
					t.Errorf("Check(%v) = %v, want %q in it", tt.addrs, err, text)
				}
			}
			wantContents(t, s, before) // CHK-021
		}
	})
}

// GC-005 to GC-010, GC-018, GC-022 to GC-024, GC-026.
func TestAllocator_GC(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24", "10.0.1.0/24")}
		mustAllocate(t, a, "c1", "10.0.0.2/24 10.0.1.2/24")
		mustAllocate(t, a, "c2", "10.0.0.3/24 10.0.1.3/24")
		if _, err := a.Allocate(t.Context(), types.Attachment{ContainerID: "c1", IfName: "eth1"}); err != nil {
			t.Fatal(err)
		}
		err := s.Update(t.Context(), func(tx ipam.Tx) error {
			return errors.Join(tx.Reserve(netip.MustParseAddr("10.0.0.100"), types.Attachment{ContainerID: "c1"}),
				tx.Reserve(netip.MustParseAddr("10.0.0.101"), types.Attachment{ContainerID: "c2"}))
		})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"10.0.0.4": "c1/eth1", "10.0.1.4": "c1/eth1", "10.0.0.100": "c1/"}
		for range 2 {
			if err := a.GC(t.Context(), []types.Attachment{{ContainerID: "c1", IfName: "eth1"}, {ContainerID: "c7", IfName: "eth0"}}); err != nil {
				t.Errorf("GC() = %v", err)
			}
			wantContents(t, s, want)
		}
		if err := a.GC(t.Context(), nil); err != nil {
			t.Errorf("GC() = %v", err)
		}
		wantContents(t, s, map[string]string{})
	})
}

// A very old plugin recorded no interface: its reservations go with the container,
// and until then nobody gets a second address beside them.
func TestAllocator_nameless(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
		old := types.Attachment{ContainerID: "c1"}
		err := s.Update(t.Context(), func(tx ipam.Tx) error { return tx.Reserve(netip.MustParseAddr("10.0.0.9"), old) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Allocate(t.Context(), owner("c1")); err == nil || !strings.Contains(err.Error(), "run DEL first") {
			t.Errorf("Allocate() = %v, want an error that says what to do", err)
		}
		// One of the same name elsewhere goes first, as on existing nodes.
		b := ipam.Allocator{Store: s, Sets: sets(t, "10.0.1.0/24")}
		mustAllocate(t, b, "c1", "10.0.1.2/24")
		mustRelease(t, a, "c1")
		wantContents(t, s, map[string]string{"10.0.0.9": "c1/"})
		mustRelease(t, a, "c1")
		wantContents(t, s, map[string]string{})
	})
}

// slowNext is the order of existing nodes, spelled out: every address of the set
// in a list, the one after the cursor first.
func slowNext(set ipam.RangeSet, cursor netip.Addr, taken func(netip.Addr) bool) netip.Addr {
	var all []netip.Addr
	from := 0
	for _, r := range set {
		for addr := r.Start; ; addr = addr.Next() {
			all = append(all, addr)
			if addr == cursor {
				from = len(all)
			}
			if addr == r.End {
				break
			}
		}
	}
	for i := range all {
		addr := all[(from+i)%len(all)]
		r, _ := set.Find(addr)
		if addr != r.Gateway && !taken(addr) {
			return addr
		}
	}
	return netip.Addr{}
}

// A model: random operations, and the slow and obvious way beside them.
func TestAllocator_model(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s ipam.Store) {
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/28,10.0.1.0/29", "10.0.2.0/28 10.0.2.3-10.0.2.9 gw 10.0.2.5")}
		random := rand.New(rand.NewPCG(3, 4))
		model := map[netip.Addr]string{}
		cursors := make([]netip.Addr, len(a.Sets))
		for step := range 1500 {
			id := fmt.Sprint("c", random.IntN(16))
			if random.IntN(3) == 0 {
				mustRelease(t, a, id)
				maps.DeleteFunc(model, func(_ netip.Addr, o string) bool { return o == id })
				continue
			}
			got, err := a.Allocate(t.Context(), owner(id))
			var want []netip.Addr
			next, moved := maps.Clone(model), slices.Clone(cursors)
			for i, set := range a.Sets {
				addr := netip.Addr{}
				for held, o := range model {
					if _, ok := set.Find(held); ok && o == id {
						addr = held
					}
				}
				if !addr.IsValid() {
					addr = slowNext(set, cursors[i], func(a netip.Addr) bool { _, ok := model[a]; return ok })
					if !addr.IsValid() {
						want = nil
						break
					}
					moved[i] = addr
				}
				next[addr] = id
				want = append(want, addr)
			}
			if len(want) == 0 {
				// The cursor of a set that was served before the full one has moved.
				cursors = moved
				if !errors.Is(err, types.ErrTryAgainLater) {
					t.Fatalf("step %d: Allocate(%s) = %s, %v; want error 11", step, id, short(got), err)
				}
				continue
			}
			model, cursors = next, moved
			var addrs []netip.Addr
			for _, ip := range got.IPs {
				addrs = append(addrs, ip.Address.Addr())
			}
			if err != nil || !slices.Equal(addrs, want) {
				t.Fatalf("step %d: Allocate(%s) = %v, %v; want %v", step, id, addrs, err, want)
			}
		}
		want := map[string]string{}
		for addr, id := range model {
			want[addr.String()] = id + "/eth0"
		}
		wantContents(t, s, want)
	})
}
