// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/internal/rtnl"
)

var (
	prefix = netip.MustParsePrefix
	ip     = netip.MustParseAddr

	netipEqual = cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmpopts.EquateEmpty(),
	}
)

// veth gives a namespace a veth that is up, of which the end "a" has two addresses.
func veth(t testing.TB, c *rtnl.Conn) (index int) {
	t.Helper()
	ctx := t.Context()
	l, err := c.AddLink(ctx, &rtnl.LinkSpec{
		Name: "a", Kind: "veth", Up: rtnl.On, Queues: 1, Peer: &rtnl.LinkSpec{Name: "b", Queues: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetLink(ctx, &rtnl.LinkSpec{Name: "b", Up: rtnl.On}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"10.0.0.2/24", "fd00::2/64"} {
		if err := c.AddAddr(ctx, rtnl.Addr{Index: l.Index, Prefix: prefix(p), Flags: flagsFor(p)}); err != nil {
			t.Fatal(err)
		}
	}
	return l.Index
}

func flagsFor(p string) uint32 {
	if prefix(p).Addr().Is6() {
		return rtnl.AddrNoDAD
	}
	return 0
}

func TestConn_Addrs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := nstest.New(t)
	c := open(t, n)
	index := veth(t, c)
	extra := rtnl.Addr{Index: index, Prefix: prefix("10.9.9.9/32"), Flags: rtnl.AddrNoPrefixRoute, Scope: rtnl.ScopeLink}
	if err := c.AddAddr(ctx, extra); err != nil {
		t.Fatal(err)
	}
	if err := c.AddAddr(ctx, extra); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second AddAddr = %v, want %v", err, fs.ErrExist)
	}
	got, err := c.Addrs(ctx, index)
	if err != nil {
		t.Fatal(err)
	}
	const permanent = unix.IFA_F_PERMANENT
	want := []rtnl.Addr{
		{Index: index, Prefix: prefix("10.0.0.2/24"), Flags: permanent},
		{Index: index, Prefix: prefix("10.9.9.9/32"), Flags: permanent | rtnl.AddrNoPrefixRoute, Scope: rtnl.ScopeLink},
		{Index: index, Prefix: prefix("fd00::2/64"), Flags: permanent | rtnl.AddrNoDAD},
	}
	global := cmpopts.IgnoreSliceElements(func(a rtnl.Addr) bool { return a.Prefix.Addr().IsLinkLocalUnicast() })
	sorted := cmpopts.SortSlices(func(a, b rtnl.Addr) bool { return a.Prefix.Addr().Less(b.Prefix.Addr()) })
	if diff := cmp.Diff(want, got, netipEqual, global, sorted); diff != "" {
		t.Errorf("Addrs (-want +got):\n%s", diff)
	}
	// The kernel answers about the other link too, if it does not filter; we never do.
	if other, err := c.Addrs(ctx, 1); err != nil || len(other) != 0 {
		t.Errorf("Addrs(lo) = %v, %v, want none", other, err)
	}
	n.Do(t, func() {
		link, err := netlink.LinkByName("a")
		if err != nil {
			t.Fatal(err)
		}
		list, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]net.IP{"10.0.0.2/24": net.IPv4(10, 0, 0, 255), "10.9.9.9/32": nil}
		for _, a := range list {
			if b := want[a.IPNet.String()]; !b.Equal(a.Broadcast) {
				t.Errorf("broadcast address of %v = %v, want %v", a.IPNet, a.Broadcast, b)
			}
		}
	})
	if err := c.DelAddr(ctx, extra); err != nil {
		t.Errorf("DelAddr = %v", err)
	}
	if err := c.DelAddr(ctx, extra); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("second DelAddr = %v, want %v", err, fs.ErrNotExist)
	}
}

// C-37: all fields of a route reach the kernel and come back.
func TestConn_Routes(t *testing.T) {
	t.Parallel()
	c := open(t, nstest.New(t))
	index := veth(t, c)
	tests := []struct {
		name  string
		route rtnl.Route
	}{
		{"default", rtnl.Route{Dst: prefix("0.0.0.0/0"), Gateway: ip("10.0.0.1"), Table: 254}},
		{"default, IPv6", rtnl.Route{Dst: prefix("::/0"), Gateway: ip("fd00::1"), Table: 254, Priority: 7}},
		{"metrics", rtnl.Route{Dst: prefix("10.1.0.0/16"), Gateway: ip("10.0.0.1"), Table: 254, MTU: 1400, AdvMSS: 1360, Priority: 5}},
		{"metrics, IPv6", rtnl.Route{Dst: prefix("fd01::/64"), Gateway: ip("fd00::1"), Table: 254, MTU: 1400, AdvMSS: 1340, Priority: 5}},
		{"link scope", rtnl.Route{Dst: prefix("10.2.0.0/16"), Table: 254, Scope: rtnl.ScopeLink}},
		{"other table", rtnl.Route{Dst: prefix("10.3.0.0/16"), Gateway: ip("10.0.0.1"), Table: 1000, Source: ip("10.0.0.2")}},
		{"other table, IPv6", rtnl.Route{Dst: prefix("fd02::/64"), Gateway: ip("fd00::1"), Table: 1000, Priority: 9}},
		{"on link", rtnl.Route{Dst: prefix("10.4.0.0/16"), Gateway: ip("172.16.0.1"), Table: 254, OnLink: true}},
		{"by way of IPv6", rtnl.Route{Dst: prefix("10.5.0.0/16"), Gateway: ip("fd00::1"), Table: 254}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			tt.route.Index, tt.route.Protocol = index, rtnl.ProtocolStatic
			if err := c.AddRoute(ctx, tt.route); err != nil {
				t.Fatalf("AddRoute = %v", err)
			}
			if err := c.AddRoute(ctx, tt.route); !errors.Is(err, fs.ErrExist) {
				t.Errorf("second AddRoute = %v, want %v", err, fs.ErrExist)
			}
			if err := c.SetRoute(ctx, tt.route); err != nil {
				t.Errorf("SetRoute = %v", err)
			}
			want := tt.route
			want.Type, want.Family = unix.RTN_UNICAST, unix.AF_INET
			if want.Dst.Addr().Is6() {
				want.Family = unix.AF_INET6
			}
			got, err := c.Routes(ctx, rtnl.RouteFilter{Index: index})
			if err != nil {
				t.Fatal(err)
			}
			static := cmpopts.IgnoreSliceElements(func(r rtnl.Route) bool { return r.Protocol != rtnl.ProtocolStatic })
			if diff := cmp.Diff([]rtnl.Route{want}, got, netipEqual, static); diff != "" {
				t.Errorf("Routes (-want +got):\n%s", diff)
			}
			if err := c.DelRoute(ctx, tt.route); err != nil {
				t.Errorf("DelRoute = %v", err)
			}
			if err := c.DelRoute(ctx, tt.route); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("second DelRoute = %v, want %v", err, fs.ErrNotExist)
			}
		})
	}
	if got, err := c.Routes(t.Context(), rtnl.RouteFilter{Table: 4711}); err != nil || len(got) != 0 {
		t.Errorf("routes of a table that does not exist = %v, %v, want none", got, err)
	}
}

// What a route is removed by need not name its scope.
func TestConn_DelRoute_AnyScope(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	rt := rtnl.Route{Index: veth(t, c), Dst: prefix("10.2.0.0/16"), Scope: rtnl.ScopeLink}
	if err := c.AddRoute(ctx, rt); err != nil {
		t.Fatal(err)
	}
	if err := c.DelRoute(ctx, rtnl.Route{Index: rt.Index, Dst: rt.Dst}); err != nil {
		t.Errorf("DelRoute without the scope = %v", err)
	}
}

// A route with several ways is listed once for each.
func TestConn_Routes_Multipath(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	c := open(t, n)
	index := veth(t, c)
	n.Output(t, "ip", "route", "add", "10.8.0.0/16", "proto", "static", "nexthop", "via", "10.0.0.3", "nexthop", "via", "10.0.0.4")
	got, err := c.Routes(t.Context(), rtnl.RouteFilter{Family: unix.AF_INET, Table: 254})
	if err != nil {
		t.Fatal(err)
	}
	var ways []netip.Addr
	for _, r := range got {
		if r.Dst == prefix("10.8.0.0/16") && r.Index == index {
			ways = append(ways, r.Gateway)
		}
	}
	if diff := cmp.Diff([]netip.Addr{ip("10.0.0.3"), ip("10.0.0.4")}, ways, netipEqual); diff != "" {
		t.Errorf("ways (-want +got):\n%s", diff)
	}
}

func TestConn_RouteTo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	index := veth(t, c)
	err := c.AddRoute(ctx, rtnl.Route{Index: index, Dst: prefix("10.1.0.0/16"), Gateway: ip("10.0.0.1"), MTU: 1300})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.RouteTo(ctx, ip("10.1.2.3"))
	if err != nil || got.Index != index || got.Gateway != ip("10.0.0.1") || got.MTU != 1300 {
		t.Errorf("RouteTo = %+v, %v, want by way of 10.0.0.1 with MTU 1300", got, err)
	}
	if got, err := c.RouteTo(ctx, ip("192.0.2.1")); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("RouteTo nowhere = %+v, %v, want %v", got, err, unix.ENETUNREACH)
	}
}

func TestConn_Rules(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	rules := []rtnl.Rule{
		{Family: unix.AF_INET, Priority: 100, Src: prefix("10.0.0.2/32"), Table: 1000, Protocol: rtnl.ProtocolStatic},
		{Family: unix.AF_INET, Priority: 101, Dst: prefix("10.0.0.0/8"), Mark: 0x10, Mask: 0xff, In: "lo", Invert: true, Table: 20},
		{Family: unix.AF_INET6, Priority: 100, Src: prefix("fd00::/64"), Out: "lo", Table: 300},
	}
	for _, rl := range rules {
		if err := c.AddRule(ctx, rl); err != nil {
			t.Fatalf("AddRule(%+v) = %v", rl, err)
		}
		if err := c.AddRule(ctx, rl); !errors.Is(err, fs.ErrExist) {
			t.Errorf("second AddRule(%+v) = %v, want %v", rl, err, fs.ErrExist)
		}
		list, err := c.Rules(ctx, rl.Family)
		if err != nil {
			t.Fatal(err)
		}
		var got rtnl.Rule
		for _, r := range list {
			if r.Priority == rl.Priority {
				got = r
			}
		}
		if diff := cmp.Diff(rl, got, netipEqual); diff != "" {
			t.Errorf("Rules (-want +got):\n%s", diff)
		}
		if err := c.DelRule(ctx, rl); err != nil {
			t.Errorf("DelRule(%+v) = %v", rl, err)
		}
		if err := c.DelRule(ctx, rl); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("second DelRule(%+v) = %v, want %v", rl, err, fs.ErrNotExist)
		}
	}
}

func TestConn_Neighs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	index := veth(t, c)
	want := []rtnl.Neigh{
		{Index: index, IP: ip("10.0.0.9"), MAC: hostMAC, State: rtnl.NeighPermanent},
		{Index: index, IP: ip("fd00::9"), MAC: peerMAC, State: rtnl.NeighPermanent},
	}
	for _, n := range want {
		for range 2 {
			if err := c.SetNeigh(ctx, n); err != nil {
				t.Fatalf("SetNeigh(%v) = %v", n.IP, err)
			}
		}
	}
	got, err := c.Neighs(ctx, index)
	if err != nil {
		t.Fatal(err)
	}
	permanent := cmpopts.IgnoreSliceElements(func(n rtnl.Neigh) bool { return n.State != rtnl.NeighPermanent })
	sorted := cmpopts.SortSlices(func(a, b rtnl.Neigh) bool { return a.IP.Less(b.IP) })
	if diff := cmp.Diff(want, got, netipEqual, permanent, sorted); diff != "" {
		t.Errorf("Neighs (-want +got):\n%s", diff)
	}
	for _, n := range want {
		if err := c.DelNeigh(ctx, n); err != nil {
			t.Errorf("DelNeigh(%v) = %v", n.IP, err)
		}
	}
	if err := c.DelNeigh(ctx, want[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("second DelNeigh = %v, want %v", err, fs.ErrNotExist)
	}
}
