// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"syscall"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// Addr is an address of a link.
type Addr struct {
	Prefix        netip.Prefix // the address, and the length of its subnet
	Scope         uint8        // 0 global, 253 link, 254 host
	Tentative     bool         // it cannot be used yet: detection of duplicates is going on
	Duplicate     bool         // it cannot be used: another machine has it
	NoPrefixRoute bool         // it made no route to its subnet
}

// AddrConfig says how to add an address.
type AddrConfig struct {
	// DetectDuplicates makes an IPv6 address wait until the kernel has made sure that
	// nobody else has it, for more than a second, see [Conn.WaitAddrs]. False: it can be
	// used at once. Addresses that an IPAM plugin gives out are nobody else's.
	DetectDuplicates bool
	// NoPrefixRoute keeps the kernel from adding a route to the subnet of the address.
	NoPrefixRoute bool
	// Scope is 0 global, 253 link or 254 host. IPv6 has its own idea.
	Scope uint8
}

// EnsureAddr gives a link an address, and reports whether it did. It agrees if the link
// has that address with that length of subnet, however it was added. The link may be
// down. If IPv6 is switched off on the link (disable_ipv6), it is switched on. The error is
// [ErrUnfit] if the MTU of the link is too small for IPv6.
//
// Equivalent to: ip addr add PREFIX broadcast + nodad dev LINK
// Kernel: IFA_F_NODAD; include/uapi/linux/if_addr.h.
func (c *Conn) EnsureAddr(ctx context.Context, index int, p netip.Prefix, cfg AddrConfig) (created bool, err error) {
	a := rtnl.Addr{Index: index, Prefix: p, Scope: cfg.Scope}
	if p.Addr().Is6() && !cfg.DetectDuplicates {
		a.Flags |= rtnl.AddrNoDAD
	}
	if cfg.NoPrefixRoute {
		a.Flags |= rtnl.AddrNoPrefixRoute
	}
	err = c.rt.AddAddr(ctx, a)
	if p.Addr().Is6() && errors.Is(err, fs.ErrPermission) {
		// How the kernel says that IPv6 is switched off here, unless we may do nothing at all.
		if c.enableIPv6(ctx, index) == nil {
			err = c.rt.AddAddr(ctx, a)
		}
	}
	if isExist(err) {
		return false, nil
	}
	return err == nil, wrap(c.explainAddr(ctx, err, index, p), "add address %v to link %v", p, c.linkName(ctx, index))
}

// minMTU6 is IPV6_MIN_MTU, below which a link has no IPv6.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/ipv6.h
const minMTU6 = 1280

// explainAddr says more of the kernel's refusal of an address, if that is for the MTU.
//
// Kernel: ipv6_add_dev, net/ipv6/addrconf.c, whose EINVAL older kernels turn into ENOBUFS.
func (c *Conn) explainAddr(ctx context.Context, err error, index int, p netip.Prefix) error {
	if !p.Addr().Is6() || !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOBUFS) {
		return err
	}
	l, e := c.rt.LinkByIndex(ctx, index)
	if e != nil || l.MTU >= minMTU6 {
		return err
	}
	return fmt.Errorf("%w: mtu is %d, and IPv6 needs at least %d: %w", ErrUnfit, l.MTU, minMTU6, err)
}

// enableIPv6 switches IPv6 on where it is switched off for one link.
func (c *Conn) enableIPv6(ctx context.Context, index int) error {
	l, err := c.rt.LinkByIndex(ctx, index)
	if err != nil {
		return err
	}
	return c.SetSysctl(Sysctl{"ipv6/conf/" + l.Name + "/disable_ipv6", "0"})
}

// DelAddr takes an address from a link, and agrees when it, or the link, is gone.
//
// Equivalent to: ip addr del PREFIX dev LINK
func (c *Conn) DelAddr(ctx context.Context, index int, p netip.Prefix) error {
	err := c.rt.DelAddr(ctx, rtnl.Addr{Index: index, Prefix: p})
	return wrap(ignoreGone(err), "delete address %v from link %v", p, c.linkName(ctx, index))
}

// ListAddrs lists the addresses of a link, those that the kernel made included.
//
// Equivalent to: ip addr show dev LINK
func (c *Conn) ListAddrs(ctx context.Context, index int) ([]Addr, error) {
	list, err := c.rt.Addrs(ctx, index)
	if err != nil {
		return nil, wrap(err, "list addresses of link %v", c.linkName(ctx, index))
	}
	addrs := make([]Addr, len(list))
	for i, a := range list {
		addrs[i] = newAddr(a)
	}
	return addrs, nil
}

func newAddr(a rtnl.Addr) Addr {
	return Addr{
		Prefix: a.Prefix, Scope: a.Scope,
		// An optimistic address is tentative too, but can be used.
		Tentative:     a.Flags&rtnl.AddrTentative != 0 && a.Flags&(rtnl.AddrOptimistic|rtnl.AddrDADFailed) == 0,
		Duplicate:     a.Flags&rtnl.AddrDADFailed != 0,
		NoPrefixRoute: a.Flags&rtnl.AddrNoPrefixRoute != 0,
	}
}

// WaitAddrs waits until detection of duplicates is over for the addresses of a link
// that are not link-local, or until the context ends. The error is [ErrDuplicate] if
// another machine has one of them. It listens to the kernel's news and does not sleep.
func (c *Conn) WaitAddrs(ctx context.Context, index int) error {
	err := c.await(ctx, rtnl.WatchAddr6, func() (bool, error) {
		addrs, err := c.ListAddrs(ctx, index)
		if err != nil {
			return false, err
		}
		for _, a := range addrs {
			switch {
			case a.Prefix.Addr().IsLinkLocalUnicast():
			case a.Duplicate:
				return false, fmt.Errorf("address %v of link %v: %w", a.Prefix, c.linkName(ctx, index), ErrDuplicate)
			case a.Tentative:
				return false, nil
			}
		}
		return true, nil
	})
	if ctx.Err() != nil {
		return wrap(err, "wait until nobody else is found to have the addresses of link %v", c.linkName(context.WithoutCancel(ctx), index))
	}
	return err
}
