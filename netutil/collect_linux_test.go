// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
)

// Links of ADDs that were killed before they could mark them go by their names, but
// those of owners to keep and of other networks stay.
func TestConn_CollectOwned_unmarked(t *testing.T) {
	t.Parallel()
	host := newSpace(t)
	ctx := t.Context()
	valid := netutil.Owner{Network: "a", ContainerID: "c1", IfName: "eth0"}
	stale := netutil.Owner{Network: "a", ContainerID: "c2", IfName: "eth0"}
	other := netutil.Owner{Network: "b", ContainerID: "c2", IfName: "eth0"}
	for _, o := range []netutil.Owner{valid, stale, other} {
		host.veth(t, newSpace(t), netutil.VethConfig{Name: o.HostName()})
	}
	if err := host.CollectOwned(ctx, "a", []netutil.Owner{valid}); err != nil {
		t.Fatal(err)
	}
	for o, want := range map[netutil.Owner]bool{valid: true, stale: false, other: true} {
		_, err := host.Link(ctx, o.HostName())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if got := err == nil; got != want {
			t.Errorf("after CollectOwned, link of %v is there = %t, want %t", o, got, want)
		}
	}
}

// GC-005, GC-006, GC-007, GC-018, GC-022: links of stale attachments of one
// network go, and nothing else does.
func TestConn_CollectOwned(t *testing.T) {
	t.Parallel()
	host := nstest.New(t)
	n, err := ns.Open(host.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	c, err := netutil.Open(n)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	valid := netutil.Owner{Network: "a", ContainerID: "c1", IfName: "eth0"}
	stale := netutil.Owner{Network: "a", ContainerID: "c1", IfName: "eth1"}
	other := netutil.Owner{Network: "ab", ContainerID: "c1", IfName: "eth1"}
	for i, o := range []netutil.Owner{valid, stale, other} {
		cfg := netutil.VethConfig{Name: o.HostName(), Alias: o.Alias(), Peer: netutil.VethPeer{Name: "p" + string(rune('0'+i))}}
		if _, _, err := c.EnsureVeth(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := c.EnsureVeth(ctx, netutil.VethConfig{Name: "foreign", Peer: netutil.VethPeer{Name: "foreign-peer"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.CollectOwned(ctx, "a", nil); err == nil {
		t.Error("CollectOwned() without a list succeeded")
	}
	gone := func(name string) bool {
		_, err := c.Link(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return err != nil
	}
	for _, tt := range []struct {
		keep                []netutil.Owner
		valid, stale, other bool // whether they are gone
	}{
		{[]netutil.Owner{valid, stale}, false, false, false},
		{[]netutil.Owner{valid}, false, true, false},
		{[]netutil.Owner{}, true, true, false},
	} {
		if err := c.CollectOwned(ctx, "a", tt.keep); err != nil {
			t.Error(err)
		}
		got := [...]bool{gone(valid.HostName()), gone(stale.HostName()), gone(other.HostName()), gone("foreign")}
		if want := [...]bool{tt.valid, tt.stale, tt.other, false}; got != want {
			t.Errorf("CollectOwned(%v): valid, stale, other network's, foreign link gone = %v, want %v", tt.keep, got, want)
		}
	}
}
