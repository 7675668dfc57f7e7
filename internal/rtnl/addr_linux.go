// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Flags of an address.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/if_addr.h
const (
	AddrNoDAD         = unix.IFA_F_NODAD
	AddrDADFailed     = unix.IFA_F_DADFAILED
	AddrTentative     = unix.IFA_F_TENTATIVE
	AddrOptimistic    = unix.IFA_F_OPTIMISTIC
	AddrNoPrefixRoute = unix.IFA_F_NOPREFIXROUTE
)

// Addr is an address of a link.
type Addr struct {
	Index  int
	Prefix netip.Prefix // the address and the length of its subnet, host bits kept
	Flags  uint32
	Scope  uint8
}

// AddAddr gives a link an address, and fails if it has that.
func (c *Conn) AddAddr(ctx context.Context, a Addr) error {
	return c.execute(ctx, a.request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL))
}

// DelAddr takes an address from a link.
func (c *Conn) DelAddr(ctx context.Context, a Addr) error {
	return c.execute(ctx, a.request(unix.RTM_DELADDR, 0))
}

func (a Addr) request(typ, flags int) *request {
	ip := a.Prefix.Addr()
	h := nl.NewIfAddrmsg(int(family(ip)))
	h.Prefixlen, h.Scope, h.Index = uint8(a.Prefix.Bits()), a.Scope, uint32(a.Index)
	r := newRequest(typ, flags, h)
	r.addr(unix.IFA_LOCAL, ip)
	r.addr(unix.IFA_ADDRESS, ip)
	if b, ok := broadcast(a.Prefix); ok && typ == unix.RTM_NEWADDR {
		r.addr(unix.IFA_BROADCAST, b)
	}
	r.u32nz(unix.IFA_FLAGS, a.Flags)
	return r
}

// broadcast is the last address of an IPv4 subnet that has one to spare.
func broadcast(p netip.Prefix) (netip.Addr, bool) {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}, false
	}
	b := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b), true
}

// Addrs lists the addresses of a link, of both families.
func (c *Conn) Addrs(ctx context.Context, index int) ([]Addr, error) {
	h := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	h.Index = uint32(index)
	r := newRequest(unix.RTM_GETADDR, 0, h)
	var found []Addr
	err := c.dump(ctx, r, func() { found = nil }, func(body []byte) error {
		a, err := parseAddr(body)
		if err == nil && a.Index == index {
			found = append(found, a)
		}
		return err
	})
	return found, err
}

func parseAddr(body []byte) (Addr, error) {
	h, attrs, err := cut(body, unix.SizeofIfAddrmsg, nl.DeserializeIfAddrmsg)
	if err != nil {
		return Addr{}, err
	}
	a := Addr{Index: int(h.Index), Flags: uint32(h.Flags), Scope: h.Scope}
	var local, address netip.Addr
	for typ, v := range attrs.all() {
		switch typ {
		case unix.IFA_LOCAL:
			local = v.addr()
		case unix.IFA_ADDRESS:
			address = v.addr()
		case unix.IFA_FLAGS:
			a.Flags = v.u32()
		}
	}
	if !local.IsValid() { // IPv6, except with a peer
		local = address
	}
	a.Prefix = netip.PrefixFrom(local, int(h.Prefixlen))
	return a, nil
}
