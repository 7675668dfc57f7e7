// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// besideGC sets something up for a container, looks whether it is there and removes it, again
// and again, while GC runs that has the container among those to keep. Nobody else has
// anything, so GC finds the tables empty and full by turns. The look is when the GC that ran
// beside the setting up has ended.
func besideGC(t *testing.T, times int, gc, ensure, check, remove func() error) {
	t.Helper()
	var running sync.Mutex
	var collected error
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			running.Lock()
			err := gc()
			running.Unlock()
			select {
			case <-stop:
				return
			default:
			}
			collected = errors.Join(collected, err)
		}
	}()
	for i := 0; i < times && !t.Failed(); i++ {
		err := ensure()
		running.Lock()
		err = errors.Join(err, check(), remove())
		running.Unlock()
		if err != nil {
			t.Errorf("time %d: %v", i, err)
		}
	}
	close(stop)
	<-stopped
	if collected != nil {
		t.Errorf("GC: %v", collected)
	}
}

// GC-028: GC beside an ADD for a container that it knows takes nothing of it away, also not
// the table that was empty when it looked.
func TestMasquerade_collectBesideAdd(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		times := 150
		if backend != firewall.NFTables {
			times = 20 // it runs programs
		}
		n := nstest.New(t)
		adds, collects := open(t, n, backend), open(t, n, backend)
		o, addrs := numbered(1)
		besideGC(t, times,
			func() error { return collects.CollectMasquerade(t.Context(), o.Network, []firewall.Owner{o}) },
			func() error { return adds.EnsureMasquerade(t.Context(), o, addrs) },
			func() error { return adds.CheckMasquerade(t.Context(), o, addrs) },
			func() error { return adds.DelMasquerade(t.Context(), o) })
	})
}

// GC-028, as above, for port maps.
func TestPortMap_collectBesideAdd(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		times := 100
		if backend != firewall.NFTables {
			times = 10
		}
		n := nstest.New(t)
		adds, collects := open(t, n, backend), open(t, n, backend)
		o, addrs := numbered(1)
		p := portMap(&container{owner: o, addrs: addrs}, firewall.TCP, 8080)
		besideGC(t, times,
			func() error { return collects.CollectPortMap(t.Context(), o.Network, []firewall.Owner{o}) },
			func() error { return adds.EnsurePortMap(t.Context(), o, p) },
			func() error { return adds.CheckPortMap(t.Context(), o, p) },
			func() error { return adds.DelPortMap(t.Context(), o) })
	})
}

// GC-028, as above, for the filter.
func TestSpoofFilter_collectBesideAdd(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	adds, collects := open(t, n, firewall.NFTables), open(t, n, firewall.NFTables)
	o, _ := numbered(1)
	p := firewall.Port{Owner: o, Index: 1, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	besideGC(t, 100,
		func() error { return collects.CollectSpoofFilter(t.Context(), o.Network, []firewall.Owner{o}) },
		func() error { return adds.EnsureSpoofFilter(t.Context(), p) },
		func() error { return adds.CheckSpoofFilter(t.Context(), p) },
		func() error { return adds.DelSpoofFilter(t.Context(), o) })
}

// GC-028, as above, with an ADD at the very moment that counts: when GC has looked, found
// nothing to keep, and is about to remove.
func TestCollect_addAfterLook(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	adds, collects := open(t, n, firewall.NFTables), open(t, n, firewall.NFTables)
	o, addrs := numbered(1)
	p := portMap(&container{owner: o, addrs: addrs}, firewall.TCP, 8080)
	for _, tt := range []struct {
		name                   string
		before, add, gc, check func() error
	}{
		{
			"masquerade, empty",
			func() error {
				return errors.Join(adds.EnsureMasquerade(t.Context(), o, addrs), adds.DelMasquerade(t.Context(), o))
			},
			func() error { return adds.EnsureMasquerade(t.Context(), o, addrs) },
			func() error { return collects.CollectMasquerade(t.Context(), o.Network, []firewall.Owner{o}) },
			func() error { return adds.CheckMasquerade(t.Context(), o, addrs) },
		},
		{
			"port map, empty",
			func() error {
				return errors.Join(adds.EnsurePortMap(t.Context(), o, p), adds.DelPortMap(t.Context(), o))
			},
			func() error { return adds.EnsurePortMap(t.Context(), o, p) },
			func() error { return collects.CollectPortMap(t.Context(), o.Network, []firewall.Owner{o}) },
			func() error { return adds.CheckPortMap(t.Context(), o, p) },
		},
	} {
		if err := tt.before(); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		called := false
		collects.WhenLooked(func() {
			called = true
			if err := tt.add(); err != nil {
				t.Errorf("%s: ADD: %v", tt.name, err)
			}
		})
		if err := errors.Join(tt.gc(), tt.check()); err != nil || !called {
			t.Errorf("%s: after GC: %v, with the ADD in between: %t; want nil, true", tt.name, err, called)
		}
	}
}

// GC-028, as above, for ipset, whose rules are in another place: ADD finds them, and GC,
// which has removed them and found the set empty, removes the set behind the ADD's back.
func TestCollect_addToIPSetAfterLook(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	adds, collects, third := open(t, n, firewall.IPTables), open(t, n, firewall.IPTables), open(t, n, firewall.IPTables)
	o, addrs := numbered(1)
	addrs = addrs[:1]
	if err := errors.Join(adds.EnsureMasquerade(t.Context(), o, addrs), adds.DelMasquerade(t.Context(), o)); err != nil {
		t.Fatal(err)
	}
	looked, collected := make(chan struct{}), make(chan error, 1)
	collects.WhenLooked(func() {
		close(looked)
		for {
			if there, err := third.ListMasquerade(t.Context(), o.Network); err != nil || len(there) > 0 || t.Context().Err() != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	asked := false
	adds.WhenLooked(func() {
		asked = true
		go func() { collected <- collects.CollectMasquerade(t.Context(), o.Network, []firewall.Owner{o}) }()
		select {
		case <-looked:
		case err := <-collected:
			t.Errorf("GC = %v, and did not remove the rules", err)
			collected <- nil
		}
	})
	err := adds.EnsureMasquerade(t.Context(), o, addrs)
	if !asked && err == nil {
		nstest.Lacks(t, "ipset", errors.ErrUnsupported)
	}
	if asked {
		err = errors.Join(err, <-collected, adds.CheckMasquerade(t.Context(), o, addrs))
	}
	if err != nil {
		t.Errorf("ADD, GC in its middle, CHECK: %v", err)
	}
}

// GC-028, as above, where the ADD takes over from a container that is gone what GC has found
// to be garbage, and is about to remove by the address alone.
func TestCollect_takeoverAfterLook(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	adds, collects := open(t, n, firewall.NFTables), open(t, n, firewall.NFTables)
	gone, addrs := numbered(1)
	kept, _ := numbered(2)
	if err := adds.EnsureMasquerade(t.Context(), gone, addrs); err != nil {
		t.Fatal(err)
	}
	collects.WhenLooked(func() {
		if err := adds.EnsureMasquerade(t.Context(), kept, addrs); err != nil {
			t.Errorf("ADD: %v", err)
		}
	})
	if err := collects.CollectMasquerade(t.Context(), kept.Network, []firewall.Owner{kept}); err != nil {
		t.Error(err)
	}
	if err := adds.CheckMasquerade(t.Context(), kept, addrs); err != nil {
		t.Errorf("after GC, with the ADD in between: %v", err)
	}
}

// More garbage than one transaction takes, GC-005, among what is to be kept.
func TestMasquerade_collectMuch(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.NFTables)
	var keep []firewall.Owner
	var errs []error
	for i := range 700 { // in two families and two sets each
		o, addrs := numbered(i)
		errs = append(errs, h.EnsureMasquerade(t.Context(), o, addrs))
		if i%100 == 7 {
			keep = append(keep, o)
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if err := h.CollectMasquerade(t.Context(), "large", keep); err != nil {
		t.Fatal(err)
	}
	left, err := h.ListMasquerade(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(left), 2*len(keep); got != want {
		t.Errorf("%d addresses left, want %d", got, want)
	}
	for i, o := range keep {
		_, addrs := numbered(7 + 100*i)
		if err := h.CheckMasquerade(t.Context(), o, addrs); err != nil {
			t.Error(err)
		}
	}
}
