// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/cnikit/cnikit/internal/rtnl"
	"github.com/cnikit/cnikit/types"
)

// MainTable is the routing table that is looked up when no rule says otherwise.
const MainTable = rtnl.TableMain

// Route is a route of a namespace.
type Route struct {
	Dst     netip.Prefix // without host bits; length 0 for a default route
	Gateway netip.Addr   // next hop, of either family. The zero Addr: Dst is on the link
	Index   int          // of the link. Zero: the kernel finds it by the gateway

	Source   netip.Addr // of packets that leave without one. The zero Addr: the kernel chooses
	Table    uint32     // zero: the main table
	Priority uint32     // metric; a lower one wins. Zero: the kernel's, which is 1024 for IPv6
	MTU      uint32     // in bytes, at most 65520 counts. Zero: that of the link
	AdvMSS   uint32     // segment size to advertise in TCP, in bytes, at most 65495 counts. Zero: from the MTU

	// Scope is 0 global, 253 link or 254 host. Absent: global with a gateway, else link.
	// IPv6 has none.
	Scope types.Opt[uint8]
	// OnLink says that the gateway is on the link although no subnet there holds it.
	OnLink bool
	// Protocol says who made the route. Zero: RTPROT_BOOT, 3, like ip(8).
	Protocol uint8
}

// EnsureRoute adds a route, and reports whether it did. It agrees if the same route is
// there. If another route has the same destination, table and priority, the error is a
// [MismatchError]; use [Conn.SetRoute] to replace it.
//
// Equivalent to: ip route add DST via GATEWAY dev LINK …
func (c *Conn) EnsureRoute(ctx context.Context, r Route) (created bool, err error) {
	err = c.rt.AddRoute(ctx, r.raw())
	if isExist(err) {
		return false, c.compareExisting(ctx, r)
	}
	return err == nil, wrap(err, "add %v", c.routeName(ctx, r))
}

// PrependRoute adds a route beside others that have the same destination, table and
// priority but another link or gateway, which stay: the IPv4 route added last is the one
// that counts, and IPv6 routes with gateways share the packets. It agrees if the same
// route is there. So a container in several networks that each have a default route
// works, and keeps a way out whichever it leaves.
//
// Equivalent to: ip route prepend DST via GATEWAY dev LINK …
func (c *Conn) PrependRoute(ctx context.Context, r Route) error {
	err := c.rt.PrependRoute(ctx, r.raw())
	if isExist(err) {
		return nil
	}
	return wrap(err, "add %v", c.routeName(ctx, r))
}

// compareExisting compares r with the route that keeps it from being added.
func (c *Conn) compareExisting(ctx context.Context, r Route) error {
	f := rtnl.RouteFilter{Family: familyOf(r.Dst.Addr()), Table: orMain(r.Table)}
	list, err := c.rt.Routes(ctx, f)
	if err != nil {
		return wrap(err, "list routes")
	}
	var m mismatch
	for i := range list {
		if !r.sameKey(&list[i]) {
			continue
		}
		d := r.differences(&list[i], func(index int) string { return c.linkName(ctx, index).String() })
		if len(d) == 0 {
			return nil
		}
		m = append(m, d...)
	}
	if len(m) == 0 {
		m.add(true, "another route", "", "")
	}
	return m.err(c.routeName(ctx, r).String())
}

// SetRoute adds a route, or replaces the one with the same destination, table and
// priority.
//
// Equivalent to: ip route replace DST via GATEWAY dev LINK …
func (c *Conn) SetRoute(ctx context.Context, r Route) error {
	return wrap(c.rt.SetRoute(ctx, r.raw()), "set %v", c.routeName(ctx, r))
}

// DelRoute removes a route, and agrees when it is gone. What is zero in r matches
// anything, except Dst and Table.
//
// Equivalent to: ip route del DST …
func (c *Conn) DelRoute(ctx context.Context, r Route) error {
	raw := r.raw()
	raw.Protocol = 0
	if !r.Scope.Set {
		raw.Scope = 0
	}
	return wrap(ignoreGone(c.rt.DelRoute(ctx, raw)), "delete %v", c.routeName(ctx, r))
}

// RouteFilter says which routes to list. The zero value says all, of all tables.
type RouteFilter struct {
	Index int    // of the link; 0: any
	Table uint32 // 0: any
}

// ListRoutes lists unicast routes of both families. One with several next hops is
// listed once for each.
//
// Equivalent to: ip route show table all dev LINK
func (c *Conn) ListRoutes(ctx context.Context, f RouteFilter) ([]Route, error) {
	list, err := c.rt.Routes(ctx, rtnl.RouteFilter{Index: f.Index, Table: f.Table})
	if err != nil {
		return nil, wrap(err, "list routes")
	}
	var routes []Route
	for i := range list {
		if list[i].Type == rtnl.TypeUnicast {
			routes = append(routes, newRoute(&list[i]))
		}
	}
	return routes, nil
}

// RouteTo asks the kernel by which route a packet to dst would leave. Without one the error
// is the kernel's, most often [syscall.ENETUNREACH].
//
// Equivalent to: ip route get DST
func (c *Conn) RouteTo(ctx context.Context, dst netip.Addr) (*Route, error) {
	raw, err := c.rt.RouteTo(ctx, dst)
	if err != nil {
		return nil, wrap(err, "route to %v", dst)
	}
	r := newRoute(raw)
	return &r, nil
}

// MTUTo returns the MTU of the way to dst in bytes: that of the route if it has one, or
// if the kernel learned one for dst, else that of its link. It is what a link should
// have whose packets go there. Errors are as of [Conn.RouteTo].
func (c *Conn) MTUTo(ctx context.Context, dst netip.Addr) (int, error) {
	r, err := c.RouteTo(ctx, dst)
	if err != nil {
		return 0, err
	}
	if r.MTU != 0 {
		return int(r.MTU), nil
	}
	l, err := c.LinkByIndex(ctx, r.Index)
	if err != nil {
		return 0, err
	}
	return l.MTU, nil
}

// String returns the route in the words of ip(8), to which a link whose name it does
// not know is "if" and its number.
func (r Route) String() string { return "route " + r.words("if"+strconv.Itoa(r.Index)) }

// routeName is a route with the name of its link, for errors.
func (c *Conn) routeName(ctx context.Context, r Route) fmt.Stringer {
	return lazy(func() string { return "route " + r.words(c.linkName(ctx, r.Index).String()) })
}

func (r Route) words(link string) string {
	s := r.Dst.String()
	for _, f := range []struct {
		word  string
		value any
		set   bool
	}{
		{"via", r.Gateway, r.Gateway.IsValid()},
		{"dev", link, r.Index != 0},
		{"src", r.Source, r.Source.IsValid()},
		{"table", r.Table, r.Table != 0 && r.Table != MainTable},
		{"metric", r.Priority, r.Priority != 0},
	} {
		if f.set {
			s += fmt.Sprintf(" %s %v", f.word, f.value)
		}
	}
	return s
}

// raw is r as the kernel wants it.
func (r Route) raw() rtnl.Route {
	raw := rtnl.Route{
		Index: r.Index, Dst: r.Dst, Gateway: r.Gateway, Source: r.Source, Table: orMain(r.Table), Scope: r.scope(),
		Protocol: r.Protocol, Priority: r.Priority, MTU: r.MTU, AdvMSS: r.AdvMSS, OnLink: r.OnLink,
	}
	if raw.Protocol == 0 {
		raw.Protocol = rtnl.ProtocolBoot
	}
	return raw
}

// scope is the scope of r for the kernel, which takes none for IPv6.
func (r Route) scope() uint8 {
	switch {
	case !r.Dst.Addr().Is4():
		return rtnl.ScopeUniverse
	case r.Scope.Set:
		return r.Scope.Value
	case r.Gateway.IsValid():
		return rtnl.ScopeUniverse
	}
	return rtnl.ScopeLink
}

func newRoute(raw *rtnl.Route) Route {
	r := Route{
		Dst: raw.Dst, Gateway: raw.Gateway, Index: raw.Index, Source: raw.Source, Table: raw.Table,
		Priority: raw.Priority, MTU: raw.MTU, AdvMSS: raw.AdvMSS, OnLink: raw.OnLink, Protocol: raw.Protocol,
	}
	if raw.Family == rtnl.IPv4 {
		r.Scope = types.Some(raw.Scope)
	}
	return r
}

func orMain(table uint32) uint32 {
	if table == 0 {
		return MainTable
	}
	return table
}

// defaultPriority6 is IP6_RT_PRIO_USER, the metric of an IPv6 route that is given none.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/ipv6_route.h
const defaultPriority6 = 1024

// What the kernel makes of a larger MTU or segment size of a route.
// Source: https://github.com/torvalds/linux/blob/v6.12/net/ipv4/metrics.c (ip_metrics_convert)
const (
	maxRouteMTU = 65535 - 15
	maxAdvMSS   = 65535 - 40
)

// priority is the metric that the kernel gives to r.
func (r Route) priority() uint32 {
	if r.Priority == 0 && r.Dst.Addr().Is6() {
		return defaultPriority6
	}
	return r.Priority
}

// sameKey reports whether a route takes the place of r.
func (r Route) sameKey(have *rtnl.Route) bool {
	return have.Dst == r.Dst.Masked() && have.Table == orMain(r.Table) && have.Priority == r.priority()
}

// differences tells how a route with the same key is not as r asks. What r leaves to
// the kernel does not matter. name gives the name of a link.
func (r Route) differences(have *rtnl.Route, name func(index int) string) mismatch {
	var m mismatch
	m.add(have.Type != rtnl.TypeUnicast, "type", fmt.Sprint(have.Type), "unicast")
	if r.Index != 0 && have.Index != r.Index {
		m.add(true, "link", name(have.Index), name(r.Index))
	}
	m.add(have.Gateway != r.Gateway, "gateway", addrName(have.Gateway), addrName(r.Gateway))
	m.add(r.Source.IsValid() && have.Source != r.Source, "source", addrName(have.Source), addrName(r.Source))
	mtu, mss := min(r.MTU, maxRouteMTU), min(r.AdvMSS, maxAdvMSS)
	m.add(mtu != 0 && have.MTU != mtu, "mtu", fmt.Sprint(have.MTU), fmt.Sprint(mtu))
	m.add(mss != 0 && have.AdvMSS != mss, "advmss", fmt.Sprint(have.AdvMSS), fmt.Sprint(mss))
	m.add(have.Family == rtnl.IPv4 && have.Scope != r.scope(), "scope", fmt.Sprint(have.Scope), fmt.Sprint(r.scope()))
	return m
}

// addrName is a word for an address also where there is none.
func addrName(a netip.Addr) string {
	if !a.IsValid() {
		return "none"
	}
	return a.String()
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return rtnl.IPv4
	}
	return rtnl.IPv6
}
