// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// Run tests a store: open returns an empty one each time, and whatever it needs
// ends with the test that it is given.
func Run(t *testing.T, open func(t *testing.T) ipam.Store) {
	tests := []struct {
		name string
		test func(*testing.T, ipam.Store)
	}{
		{"empty", testEmpty},
		{"reserve and release", testReserve},
		{"owners are kept apart", testOwners},
		{"renewals", testRenew},
		{"cursors", testCursors},
		{"an error of the function", testError},
		{"one at a time", testExclusive},
		{"waiting ends with the context", testWait},
		{"model", testModel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, open(t))
		})
	}
}

var (
	a1 = netip.MustParseAddr("10.0.0.1")
	a2 = netip.MustParseAddr("10.0.0.2")
	a6 = netip.MustParseAddr("2001:db8::ff")

	c1eth0 = types.Attachment{ContainerID: "c1", IfName: "eth0"}
	c1eth1 = types.Attachment{ContainerID: "c1", IfName: "eth1"}
	c1     = types.Attachment{ContainerID: "c1"}
	c2eth0 = types.Attachment{ContainerID: "c2", IfName: "eth0"}
)

func update(t *testing.T, s ipam.Store, f func(ipam.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), f); err != nil {
		t.Fatalf("Update() = %v", err)
	}
}

// look compares all that a reader tells with what is wanted.
func look(t *testing.T, r ipam.Reader, want map[netip.Addr]types.Attachment) {
	t.Helper()
	taken, err := r.Taken()
	if err != nil {
		t.Fatal(err)
	}
	for addr := range taken {
		if _, ok := want[addr]; !ok {
			t.Errorf("Taken() has %s, want it free", addr)
		}
	}
	for addr, owner := range want {
		got, err := r.Owner(addr)
		if err != nil || got != owner || !taken[addr] {
			t.Errorf("Owner(%s) = %v, %v, taken %t; want %v, taken", addr, got, err, taken[addr], owner)
		}
	}
}

func lookAddrs(t *testing.T, tx ipam.Tx, owner types.Attachment, want ...netip.Addr) {
	t.Helper()
	got, err := tx.Addrs(owner)
	slices.SortFunc(got, netip.Addr.Compare)
	slices.SortFunc(want, netip.Addr.Compare)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Addrs(%v) = %v, %v; want %v", owner, got, err, want)
	}
}

func testEmpty(t *testing.T, s ipam.Store) {
	check := func(r ipam.Reader) error {
		look(t, r, nil)
		if _, err := r.Owner(a1); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Owner of a free address: %v, want fs.ErrNotExist", err)
		}
		if got, err := r.Cursor(0); got.IsValid() || err != nil {
			t.Errorf("Cursor(0) = %v, %v; want none", got, err)
		}
		return nil
	}
	if err := s.View(t.Context(), check); err != nil {
		t.Error(err)
	}
	update(t, s, func(tx ipam.Tx) error {
		lookAddrs(t, tx, c1eth0)
		return errors.Join(check(tx), tx.Release(a1, c1eth0))
	})
}

func testReserve(t *testing.T, s ipam.Store) {
	update(t, s, func(tx ipam.Tx) error {
		if err := errors.Join(tx.Reserve(a1, c1eth0), tx.Reserve(a6, c1eth0), tx.Reserve(a2, c2eth0)); err != nil {
			return err
		}
		for _, owner := range []types.Attachment{c1eth0, c2eth0} {
			if err := tx.Reserve(a1, owner); !errors.Is(err, fs.ErrExist) {
				t.Errorf("Reserve(taken) = %v, want fs.ErrExist", err)
			}
		}
		lookAddrs(t, tx, c1eth0, a1, a6)
		return nil
	})
	want := map[netip.Addr]types.Attachment{a1: c1eth0, a6: c1eth0, a2: c2eth0}
	if err := s.View(t.Context(), func(r ipam.Reader) error { look(t, r, want); return nil }); err != nil {
		t.Error(err)
	}
	update(t, s, func(tx ipam.Tx) error {
		look(t, tx, want)
		lookAddrs(t, tx, c1eth0, a1, a6)
		if err := errors.Join(tx.Release(a1, c2eth0), tx.Release(a2, types.Attachment{})); err != nil {
			t.Errorf("Release(other's) = %v, want success", err)
		}
		look(t, tx, want)
		return tx.Release(a1, c1eth0)
	})
	update(t, s, func(tx ipam.Tx) error {
		look(t, tx, map[netip.Addr]types.Attachment{a6: c1eth0, a2: c2eth0})
		lookAddrs(t, tx, c1eth0, a6)
		return errors.Join(tx.Reserve(a1, c2eth0), tx.Release(a6, c1eth0), tx.Release(a6, c1eth0))
	})
	update(t, s, func(tx ipam.Tx) error {
		look(t, tx, map[netip.Addr]types.Attachment{a1: c2eth0, a2: c2eth0})
		lookAddrs(t, tx, c1eth0)
		lookAddrs(t, tx, c2eth0, a1, a2)
		return nil
	})
}

func testOwners(t *testing.T, s ipam.Store) {
	long := types.Attachment{ContainerID: string(slices.Repeat([]byte("x"), 1000)), IfName: "eth0"}
	longer := types.Attachment{ContainerID: long.ContainerID + "y", IfName: "eth0"}
	odd := types.Attachment{ContainerID: "c1", IfName: "a#0@b"}
	owners := []types.Attachment{c1eth0, c1eth1, c1, c2eth0, long, longer, odd}
	addr := a1
	addrs := map[types.Attachment]netip.Addr{}
	update(t, s, func(tx ipam.Tx) error {
		for _, owner := range owners {
			addrs[owner] = addr
			if err := tx.Reserve(addr, owner); err != nil {
				return err
			}
			addr = addr.Next()
		}
		return nil
	})
	update(t, s, func(tx ipam.Tx) error {
		for _, owner := range owners {
			lookAddrs(t, tx, owner, addrs[owner])
			if err := tx.Release(addrs[owner], owner); err != nil {
				return err
			}
			lookAddrs(t, tx, owner)
		}
		look(t, tx, nil)
		return nil
	})
}

// What was reserved in this boot is not stale, before a renewal and after it.
func testRenew(t *testing.T, s ipam.Store) {
	fresh := func(r ipam.Reader, addrs ...netip.Addr) {
		for _, addr := range addrs {
			if stale, err := r.Stale(addr); stale || err != nil {
				t.Errorf("Stale(%s) = %t, %v; want false", addr, stale, err)
			}
		}
	}
	update(t, s, func(tx ipam.Tx) error {
		fresh(tx, a1)
		if err := tx.Renew(a1); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Renew(free address) = %v, want fs.ErrNotExist", err)
		}
		return tx.Reserve(a1, c1eth0)
	})
	update(t, s, func(tx ipam.Tx) error {
		fresh(tx, a1, a2)
		if err := tx.Renew(a2); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Renew(free address) = %v, want fs.ErrNotExist", err)
		}
		err := tx.Renew(a1)
		fresh(tx, a1)
		look(t, tx, map[netip.Addr]types.Attachment{a1: c1eth0})
		lookAddrs(t, tx, c1eth0, a1)
		return err
	})
	if err := s.View(t.Context(), func(r ipam.Reader) error { fresh(r, a1, a2); return nil }); err != nil {
		t.Error(err)
	}
}

func testCursors(t *testing.T, s ipam.Store) {
	update(t, s, func(tx ipam.Tx) error { return errors.Join(tx.SetCursor(0, a1), tx.SetCursor(10, a6)) })
	update(t, s, func(tx ipam.Tx) error { return tx.SetCursor(0, a2) })
	update(t, s, func(tx ipam.Tx) error {
		for set, want := range map[int]netip.Addr{0: a2, 1: {}, 10: a6} {
			if got, err := tx.Cursor(set); got != want || err != nil {
				t.Errorf("Cursor(%d) = %v, %v; want %v", set, got, err, want)
			}
		}
		look(t, tx, nil)
		return nil
	})
}

func testError(t *testing.T, s ipam.Store) {
	want := errors.New("of the function")
	if err := s.Update(t.Context(), func(ipam.Tx) error { return want }); !errors.Is(err, want) {
		t.Errorf("Update() = %v, want %v", err, want)
	}
	if err := s.View(t.Context(), func(ipam.Reader) error { return want }); !errors.Is(err, want) {
		t.Errorf("View() = %v, want %v", err, want)
	}
	update(t, s, func(tx ipam.Tx) error { return tx.Reserve(a1, c1eth0) })
}

func testExclusive(t *testing.T, s ipam.Store) {
	const workers, rounds = 8, 25
	var inside, done atomic.Int32
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			owner := types.Attachment{ContainerID: fmt.Sprint("c", w), IfName: "eth0"}
			for range rounds {
				err := s.Update(t.Context(), func(tx ipam.Tx) error {
					// Everybody takes the same address, and finds it free.
					if err := tx.Reserve(a1, owner); err != nil {
						return err
					}
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d updates at once, want 1", n)
					}
					runtime.Gosched()
					inside.Add(-1)
					done.Add(1)
					return tx.Release(a1, owner)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := done.Load(); n != workers*rounds {
		t.Errorf("%d updates, want %d", n, workers*rounds)
	}
}

func testWait(t *testing.T, s ipam.Store) {
	update(t, s, func(tx ipam.Tx) error { return tx.Reserve(a1, c1eth0) })
	update(t, s, func(ipam.Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := s.Update(ctx, func(ipam.Tx) error {
			t.Error("a second update began, want it to wait")
			return nil
		})
		if !errors.Is(err, types.ErrTryAgainLater) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update() = %v, want error 11 that is context.DeadlineExceeded", err)
		}
		// Looking needs no turn.
		return s.View(t.Context(), func(r ipam.Reader) error {
			look(t, r, map[netip.Addr]types.Attachment{a1: c1eth0})
			return nil
		})
	})
	update(t, s, func(tx ipam.Tx) error { return tx.Release(a1, c1eth0) })
}

// testModel does many things at random, and the same to a map.
func testModel(t *testing.T, s ipam.Store) {
	random := rand.New(rand.NewPCG(1, 2))
	before := map[netip.Addr]types.Attachment{}
	owners := []types.Attachment{c1eth0, c1eth1, c1, c2eth0}
	for range 300 {
		var model map[netip.Addr]types.Attachment
		update(t, s, func(tx ipam.Tx) error {
			model = maps.Clone(before) // the store may begin again
			for range 1 + random.IntN(3) {
				addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(8))})
				owner := owners[random.IntN(len(owners))]
				have, taken := model[addr]
				if random.IntN(2) == 0 {
					if err := tx.Release(addr, owner); err != nil {
						return err
					}
					if have == owner {
						delete(model, addr)
					}
					continue
				}
				err := tx.Reserve(addr, owner)
				if !taken && err != nil {
					return err
				}
				if taken && !errors.Is(err, fs.ErrExist) {
					t.Errorf("Reserve(%s) = %v, want fs.ErrExist", addr, err)
				}
				if !taken {
					model[addr] = owner
				}
			}
			look(t, tx, model)
			for _, owner := range owners {
				var want []netip.Addr
				for addr, o := range model {
					if o == owner {
						want = append(want, addr)
					}
				}
				lookAddrs(t, tx, owner, want...)
			}
			return nil
		})
		before = model
	}
}
