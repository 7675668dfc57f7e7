// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neigh is a neighbour: the hardware address behind an address.
type Neigh struct {
	Index int // of the link
	IP    netip.Addr
	MAC   net.HardwareAddr
	State uint16 // NUD_…
	Flags uint8  // NTF_…
}

// States and flags of neighbours.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/neighbour.h
const (
	NeighPermanent = unix.NUD_PERMANENT
	NeighNoARP     = unix.NUD_NOARP
	NeighProxy     = 1 << 3 // NTF_PROXY
)

// SetNeigh adds a neighbour, or replaces the one with the same address.
func (c *Conn) SetNeigh(ctx context.Context, n Neigh) error {
	return c.execute(ctx, n.request(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE))
}

// DelNeigh removes the neighbour with an address.
func (c *Conn) DelNeigh(ctx context.Context, n Neigh) error {
	return c.execute(ctx, n.request(unix.RTM_DELNEIGH, 0))
}

func (n Neigh) request(typ, flags int) *request {
	r := newRequest(typ, flags, &netlink.Ndmsg{
		Family: family(n.IP), Index: uint32(n.Index), State: n.State, Flags: n.Flags,
	})
	r.addr(unix.NDA_DST, n.IP)
	if len(n.MAC) != 0 {
		r.attr(unix.NDA_LLADDR, n.MAC)
	}
	return r
}

// Neighs lists the neighbours on a link, of both families, without proxies.
func (c *Conn) Neighs(ctx context.Context, index int) ([]Neigh, error) {
	r := newRequest(unix.RTM_GETNEIGH, 0, &netlink.Ndmsg{})
	r.u32nz(unix.NDA_IFINDEX, uint32(index))
	var found []Neigh
	err := c.dump(ctx, r, func() { found = nil }, func(body []byte) error {
		n, err := parseNeigh(body)
		if err == nil && n.Index == index && n.IP.IsValid() {
			found = append(found, n)
		}
		return err
	})
	return found, err
}

// parseNeigh reads an RTM_NEWNEIGH. The library's own NeighDeserialize may look up a
// link on the way, in whatever namespace the thread is in.
func parseNeigh(body []byte) (Neigh, error) {
	h, attrs, err := cut(body, unix.SizeofNdMsg, deserializeNdMsg)
	if err != nil {
		return Neigh{}, err
	}
	n := Neigh{Index: int(h.Index), State: h.State, Flags: h.Flags}
	for typ, v := range attrs.all() {
		switch typ {
		case unix.NDA_DST:
			n.IP = v.addr()
		case unix.NDA_LLADDR:
			n.MAC = v.clone()
		}
	}
	return n, nil
}

// deserializeNdMsg reads the fixed header, for which the library exports the struct only.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/neighbour.h (struct ndmsg)
func deserializeNdMsg(b []byte) *netlink.Ndmsg {
	v := value(b)
	return &netlink.Ndmsg{
		Family: v.u8(), Index: v[4:].u32(), State: v[8:].u16(), Flags: v[10:].u8(), Type: v[11:].u8(),
	}
}
