// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// takers are two owners in a network of a test, and two addresses of each family.
func takers() (first, second firewall.Owner, x, y []netip.Prefix) {
	first, x = numbered(1)
	second, y = numbered(2)
	return first, second, x, y
}

// DLG-032, C-5: the address that DEL gives back may be another container's before DEL
// has ended, and DEL may have looked while it was still its own. What the other one has
// stays.
func TestMasquerade_takeoverBesideDel(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		times := 150
		if backend == iptablesOnly {
			times = 4 // it runs programs
		}
		n := nstest.New(t)
		dels, adds := open(t, n, backend), open(t, n, backend)
		first, second, x, _ := takers()
		for i := 0; i < times && !t.Failed(); i++ {
			if err := dels.EnsureMasquerade(t.Context(), first, x); err != nil {
				t.Fatal(err)
			}
			var both sync.WaitGroup
			both.Go(func() {
				if err := dels.DelMasquerade(t.Context(), first); err != nil {
					t.Errorf("time %d: DEL: %v", i, err)
				}
			})
			both.Go(func() {
				if err := adds.EnsureMasquerade(t.Context(), second, x); err != nil {
					t.Errorf("time %d: ADD: %v", i, err)
				}
			})
			both.Wait()
			if err := adds.CheckMasquerade(t.Context(), second, x); err != nil {
				t.Errorf("time %d: CHECK of the container that took the address over: %v", i, err)
			}
			if err := adds.DelMasquerade(t.Context(), second); err != nil {
				t.Error(err)
			}
		}
	})
}

// As above, in the worst order: DEL looks, the other container takes the address over, and
// then DEL removes what it saw.
func TestMasquerade_takeoverInsideDel(t *testing.T) {
	t.Parallel()
	h := open(t, nstest.New(t), firewall.NFTables)
	first, second, x, y := takers()
	if err := h.EnsureMasquerade(t.Context(), first, slices.Concat(x, y)); err != nil {
		t.Fatal(err)
	}
	remove, err := h.RemovalOf(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.EnsureMasquerade(t.Context(), second, x); err != nil {
		t.Fatal(err)
	}
	if err := remove(); err == nil {
		t.Error("what DEL saw before the address changed hands was removed, want a refusal")
	}
	// Of what the first container had before, the rest is found and goes.
	if err := h.DelMasquerade(t.Context(), first); err != nil {
		t.Error(err)
	}
	if err := h.CheckMasquerade(t.Context(), second, x); err != nil {
		t.Error(err)
	}
	all, err := h.ListMasquerade(t.Context(), first.Network)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Owner != second {
			t.Errorf("left: %s of %v", m.Addr, m.Owner)
		}
	}
	if got, want := len(all), len(x); got != want {
		t.Errorf("%d addresses are masqueraded, want %d", got, want)
	}
	if err := h.DelMasquerade(t.Context(), second); err != nil {
		t.Error(err)
	}
	if err := h.CollectMasquerade(t.Context(), first.Network, []firewall.Owner{}); err != nil {
		t.Error(err)
	}
}

// As above, for ipsets, where a removal names the address alone: what finds an address
// and removes it, and what takes one over, do so under the lock. A new address needs none.
func TestMasquerade_takeoverLocked(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.IPTables)
	first, second, x, y := takers()
	if err := h.EnsureMasquerade(t.Context(), first, x); err != nil {
		t.Fatal(err)
	}
	h.SetLockWait(10 * time.Millisecond)
	lock, err := os.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := h.DelMasquerade(t.Context(), first); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("DEL with the lock held = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := h.EnsureMasquerade(t.Context(), second, x); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ADD of another's address with the lock held = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := h.EnsureMasquerade(t.Context(), second, y); err != nil {
		t.Errorf("ADD of a new address with the lock held = %v, want nil", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		h.EnsureMasquerade(t.Context(), second, x),
		h.DelMasquerade(t.Context(), first),
		h.CheckMasquerade(t.Context(), second, slices.Concat(x, y)),
		h.DelMasquerade(t.Context(), second),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}

// C-5: the same for what lets a container reach itself, which is an element for an address.
// The former owner's ports are its own, so its DEL looks again and finds them.
func TestPortMap_takeoverInsideDel(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.NFTables)
	first, second, x, y := takers()
	old := portMap(&container{owner: first, addrs: x}, firewall.TCP, 80, 443)
	old.Forwards = append(old.Forwards, portMap(&container{owner: first, addrs: y}, firewall.TCP, 81).Forwards...)
	p := portMap(&container{owner: second, addrs: x}, firewall.TCP, 82)
	for name, before := range map[string]firewall.PortMap{
		"new":   {},
		"again": portMap(&container{owner: second, addrs: x}, firewall.UDP, 82),
	} {
		t.Run(name, func(t *testing.T) {
			if err := errors.Join(h.EnsurePortMap(t.Context(), second, before), h.EnsurePortMap(t.Context(), first, old)); err != nil {
				t.Fatal(err)
			}
			remove, err := h.PortRemovalOf(first)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.EnsurePortMap(t.Context(), second, p); err != nil {
				t.Fatal(err)
			}
			if err := remove(); !errors.Is(err, unix.ENOENT) {
				t.Errorf("removal of what DEL saw before the address changed hands = %v, want %v", err, unix.ENOENT)
			}
			if err := h.DelPortMap(t.Context(), first); err != nil {
				t.Error(err)
			}
			if err := h.CheckPortMap(t.Context(), second, p); err != nil {
				t.Error(err)
			}
			all, err := h.ListPortMap(t.Context(), first.Network)
			if err != nil || len(all) != len(p.Forwards) || all[0].Owner != second {
				t.Errorf("ListPortMap() = %v, %v, want those of the second container alone", all, err)
			}
			if err := h.DelPortMap(t.Context(), second); err != nil {
				t.Error(err)
			}
			if got := ruleset(t, n); strings.Contains(got, "comment \"net=") {
				t.Errorf("elements are left:\n%s", got)
			}
		})
	}
}

// Two containers that lead one port of a network with conditions to one address: an
// element that is there keeps its owner, so the second is refused.
func TestPortMap_takeoverCondition(t *testing.T) {
	t.Parallel()
	h := open(t, nstest.New(t), firewall.NFTables)
	first, second, x, _ := takers()
	p := portMap(&container{owner: first, addrs: x}, firewall.TCP, 80)
	p.Conditions = [2][]string{{"ip", "saddr", "192.0.2.0/24"}, {"ip6", "saddr", "2001:db8::/64"}}
	if err := h.EnsurePortMap(t.Context(), first, p); err != nil {
		t.Fatal(err)
	}
	err := h.EnsurePortMap(t.Context(), second, p)
	var conflict *firewall.ConflictError
	if !errors.As(err, &conflict) || conflict.Holder != first {
		t.Errorf("EnsurePortMap() = %v, want a conflict with %v", err, first)
	}
	if err := h.CheckPortMap(t.Context(), first, p); err != nil {
		t.Error(err)
	}
}
