// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Numbers of routes.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/rtnetlink.h
const (
	TableMain = unix.RT_TABLE_MAIN

	ScopeUniverse = unix.RT_SCOPE_UNIVERSE
	ScopeLink     = unix.RT_SCOPE_LINK
	ScopeHost     = unix.RT_SCOPE_HOST

	ProtocolKernel = unix.RTPROT_KERNEL
	ProtocolBoot   = unix.RTPROT_BOOT
	ProtocolStatic = unix.RTPROT_STATIC
)

// Route is a route, or one way of a route that has several.
type Route struct {
	Index    int // of the link
	Family   uint8
	Dst      netip.Prefix // a default route has one of length 0; decoded ones always have a valid one
	Gateway  netip.Addr
	Source   netip.Addr // preferred source address
	Table    uint32
	Scope    uint8
	Protocol uint8
	Type     uint8 // RTN_…; sent as RTN_UNICAST if zero
	Priority uint32
	MTU      uint32
	AdvMSS   uint32
	OnLink   bool // the gateway is taken to be on the link
}

// AddRoute adds a route, and fails if there is one with the same destination, table
// and priority.
func (c *Conn) AddRoute(ctx context.Context, rt Route) error {
	return c.execute(ctx, rt.request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL))
}

// PrependRoute adds a route, also where there are others with the same destination,
// table and priority: before them for IPv4, and as one more of their ways for IPv6. It
// fails if the very same one is there.
func (c *Conn) PrependRoute(ctx context.Context, rt Route) error {
	return c.execute(ctx, rt.request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE))
}

// SetRoute adds a route or replaces the one with the same destination, table and priority.
func (c *Conn) SetRoute(ctx context.Context, rt Route) error {
	return c.execute(ctx, rt.request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE))
}

// DelRoute removes a route; what is zero matches anything. A removal whose answer is lost is
// not asked for again, since it could take another route that matches, too: it counts as done
// if no route to that destination is left in the table, and else is an error.
func (c *Conn) DelRoute(ctx context.Context, rt Route) error {
	if rt.Scope == unix.RT_SCOPE_UNIVERSE {
		rt.Scope = unix.RT_SCOPE_NOWHERE // how IPv4 is told that any scope will do
	}
	lost := c.exchange(ctx, rt.request(unix.RTM_DELROUTE, unix.NLM_F_ACK), func([]byte) error { return nil })
	if !errors.Is(lost, errUnanswered) {
		return lost
	}
	left, err := c.Routes(ctx, RouteFilter{Family: rt.family(), Table: rt.Table})
	if err != nil {
		return errors.Join(lost, err)
	}
	if slices.ContainsFunc(left, func(have Route) bool { return have.Dst == rt.Dst.Masked() }) {
		return lost
	}
	return nil
}

func (rt Route) request(typ, flags int) *request {
	h := &nl.RtMsg{RtMsg: unix.RtMsg{
		Family:   rt.family(),
		Dst_len:  uint8(max(rt.Dst.Bits(), 0)),
		Protocol: rt.Protocol,
		Scope:    rt.Scope,
		Type:     rt.Type,
		Table:    unix.RT_TABLE_UNSPEC,
	}}
	if h.Type == 0 && typ == unix.RTM_NEWROUTE {
		h.Type = unix.RTN_UNICAST
	}
	if rt.OnLink {
		h.Flags = unix.RTNH_F_ONLINK
	}
	if rt.Table < 256 {
		h.Table = uint8(rt.Table) // kernels without RTA_TABLE are gone, other readers of messages are not
	}
	r := newRequest(typ, flags, h)
	rt.encode(r)
	return r
}

func (rt Route) family() uint8 {
	if rt.Family != 0 {
		return rt.Family
	}
	if f := family(rt.Dst.Addr()); f != unix.AF_UNSPEC {
		return f
	}
	return family(rt.Gateway)
}

func (rt Route) encode(r *request) {
	if rt.Dst.Bits() > 0 {
		r.addr(unix.RTA_DST, rt.Dst.Masked().Addr())
	}
	if f := family(rt.Gateway); f == unix.AF_INET6 && rt.family() == unix.AF_INET {
		// An IPv4 route by way of an IPv6 neighbour; since Linux 5.2.
		r.attr(unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), rt.Gateway.AsSlice()...))
	} else {
		r.addr(unix.RTA_GATEWAY, rt.Gateway)
	}
	r.addr(unix.RTA_PREFSRC, rt.Source)
	r.u32nz(unix.RTA_OIF, uint32(rt.Index))
	r.u32nz(unix.RTA_TABLE, rt.Table)
	r.u32nz(unix.RTA_PRIORITY, rt.Priority)
	if rt.MTU != 0 || rt.AdvMSS != 0 {
		r.nest(unix.RTA_METRICS, func() {
			r.u32nz(unix.RTAX_MTU, rt.MTU)
			r.u32nz(unix.RTAX_ADVMSS, rt.AdvMSS)
		})
	}
}

// RouteFilter says which routes to list. Zero values do not restrict.
type RouteFilter struct {
	Index  int   // of the link
	Family uint8 // AF_INET or AF_INET6; both if zero
	Table  uint32
}

// Routes lists routes. One with several ways is listed once for each. A table that
// does not exist has none.
func (c *Conn) Routes(ctx context.Context, f RouteFilter) ([]Route, error) {
	r := newRequest(unix.RTM_GETROUTE, 0, &nl.RtMsg{RtMsg: unix.RtMsg{Family: f.Family}})
	r.u32nz(unix.RTA_OIF, uint32(f.Index))
	r.u32nz(unix.RTA_TABLE, f.Table)
	var found []Route
	err := c.dump(ctx, r, func() { found = nil }, func(body []byte) error {
		routes, err := parseRoute(body)
		for _, rt := range routes {
			if (f.Index == 0 || rt.Index == f.Index) && (f.Table == 0 || rt.Table == f.Table) {
				found = append(found, rt)
			}
		}
		return err
	})
	if f.Table != 0 && isErrno(err, unix.ENOENT) {
		return nil, nil
	}
	return found, err
}

// RouteTo asks which route a packet to dst takes. The MTU is that of the route if it
// has one of its own, or was learned for dst, else zero.
func (c *Conn) RouteTo(ctx context.Context, dst netip.Addr) (*Route, error) {
	h := &nl.RtMsg{RtMsg: unix.RtMsg{Family: family(dst), Dst_len: uint8(dst.BitLen())}}
	r := newRequest(unix.RTM_GETROUTE, 0, h)
	r.addr(unix.RTA_DST, dst)
	var found *Route
	err := c.get(ctx, r, func(body []byte) error {
		routes, err := parseRoute(body)
		if err == nil && len(routes) > 0 {
			found = &routes[0]
		}
		return err
	})
	return found, err
}

// parseRoute reads an RTM_NEWROUTE, and gives a route for each of its ways.
func parseRoute(body []byte) ([]Route, error) {
	h, attrs, err := cut(body, unix.SizeofRtMsg, nl.DeserializeRtMsg)
	if err != nil {
		return nil, err
	}
	rt := Route{
		Family: h.Family, Table: uint32(h.Table), Scope: h.Scope, Protocol: h.Protocol, Type: h.Type,
		OnLink: h.Flags&unix.RTNH_F_ONLINK != 0,
	}
	dst := netip.IPv6Unspecified()
	if h.Family == unix.AF_INET {
		dst = netip.IPv4Unspecified()
	}
	var ways []Route
	for typ, v := range attrs.all() {
		switch typ {
		case unix.RTA_DST:
			dst = v.addr()
		case unix.RTA_MULTIPATH:
			ways = parseWays(v)
		default:
			rt.attribute(typ, v)
		}
	}
	rt.Dst = netip.PrefixFrom(dst, int(h.Dst_len))
	if ways == nil {
		return []Route{rt}, nil
	}
	return rt.along(ways), nil
}

func (rt *Route) attribute(typ int, v value) {
	switch typ {
	case unix.RTA_OIF:
		rt.Index = v.index()
	case unix.RTA_GATEWAY:
		rt.Gateway = v.addr()
	case unix.RTA_VIA:
		if len(v) > 2 {
			rt.Gateway = v[2:].addr()
		}
	case unix.RTA_PREFSRC:
		rt.Source = v.addr()
	case unix.RTA_TABLE:
		rt.Table = v.u32()
	case unix.RTA_PRIORITY:
		rt.Priority = v.u32()
	case unix.RTA_METRICS:
		rt.metrics(attrs(v))
	}
}

func (rt *Route) metrics(a attrs) {
	for typ, v := range a.all() {
		switch typ {
		case unix.RTAX_MTU:
			rt.MTU = v.u32()
		case unix.RTAX_ADVMSS:
			rt.AdvMSS = v.u32()
		}
	}
}

// parseWays reads the next hops of a route: fixed headers, each with attributes.
func parseWays(v value) []Route {
	ways := []Route{}
	for len(v) >= unix.SizeofRtNexthop {
		h := nl.DeserializeRtNexthop(v)
		if int(h.RtNexthop.Len) < unix.SizeofRtNexthop || int(h.RtNexthop.Len) > len(v) {
			break
		}
		way := Route{Index: int(h.Ifindex), OnLink: h.Flags&unix.RTNH_F_ONLINK != 0}
		for typ, v := range attrs(v[unix.SizeofRtNexthop:h.RtNexthop.Len]).all() {
			way.attribute(typ, v)
		}
		ways = append(ways, way)
		const align = 4
		v = v[min((int(h.RtNexthop.Len)+align-1)&^(align-1), len(v)):]
	}
	return ways
}

// along returns rt once for each of its ways.
func (rt Route) along(ways []Route) []Route {
	for i, w := range ways {
		ways[i] = rt
		ways[i].Index, ways[i].Gateway, ways[i].OnLink = w.Index, w.Gateway, w.OnLink
	}
	return ways
}

// TypeUnicast is RTN_UNICAST, the type of routes that lead somewhere.
const TypeUnicast = unix.RTN_UNICAST
