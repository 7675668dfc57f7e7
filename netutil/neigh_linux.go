// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"net"
	"net/netip"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// Neigh is a neighbour on a link: the hardware address behind an address.
type Neigh struct {
	IP        netip.Addr
	MAC       net.HardwareAddr // nil if the kernel is still looking, or found nobody
	Permanent bool             // it was set, and is not looked for
}

// SetNeigh makes the kernel know a neighbour for good, whatever it knew before.
//
// Equivalent to: ip neigh replace IP lladdr MAC dev LINK nud permanent
func (c *Conn) SetNeigh(ctx context.Context, index int, ip netip.Addr, mac net.HardwareAddr) error {
	err := c.rt.SetNeigh(ctx, rtnl.Neigh{Index: index, IP: ip, MAC: mac, State: rtnl.NeighPermanent})
	return wrap(err, "set neighbour %v on link %v", ip, c.linkName(ctx, index))
}

// DelNeigh makes the kernel forget a neighbour, and agrees when it does not know it, or
// the link is gone.
//
// Equivalent to: ip neigh del IP dev LINK
func (c *Conn) DelNeigh(ctx context.Context, index int, ip netip.Addr) error {
	err := c.rt.DelNeigh(ctx, rtnl.Neigh{Index: index, IP: ip})
	return wrap(ignoreGone(err), "delete neighbour %v on link %v", ip, c.linkName(ctx, index))
}

// ListNeighs lists the neighbours on a link, without multicast addresses, which need no
// looking for.
//
// Equivalent to: ip neigh show dev LINK
func (c *Conn) ListNeighs(ctx context.Context, index int) ([]Neigh, error) {
	list, err := c.rt.Neighs(ctx, index)
	if err != nil {
		return nil, wrap(err, "list neighbours on link %v", c.linkName(ctx, index))
	}
	var neighs []Neigh
	for _, n := range list {
		if n.State != rtnl.NeighNoARP {
			neighs = append(neighs, Neigh{IP: n.IP, MAC: n.MAC, Permanent: n.State == rtnl.NeighPermanent})
		}
	}
	return neighs, nil
}
