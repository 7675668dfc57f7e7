// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// BridgeConfig is what a bridge should be.
type BridgeConfig struct {
	// MAC is the hardware address of a bridge that is made. Nil: a random one. Either
	// way it stays: a bridge that is left to itself takes the lowest of its ports', and
	// changes when they come and go.
	MAC net.HardwareAddr
	// MTU in bytes. Zero: what it is, and for a bridge that is made what its ports have.
	MTU int
	// VLANFiltering makes the bridge keep VLANs apart. False: either is fine.
	VLANFiltering bool
	// Promisc makes the bridge itself receive all that passes. False: either is fine.
	Promisc bool
}

// EnsureBridge makes a bridge and sets it up, or adopts the one that has the name, and
// reports whether it made it. Several processes may do so at one time.
//
// An existing link must be a bridge, filter VLANs if that is asked for, and have the MTU
// that is asked for unless it has no ports, when the MTU is set; else the error is a
// [MismatchError] and nothing has changed. Its index, hardware address and addresses are
// kept. A bridge that was down ignores router advertisements (accept_ra=0) before it is
// set up. Where the kernel cannot filter VLANs the error is [errors.ErrUnsupported]. When it
// fails, a bridge that it made may stay, since others may have put a port into it already.
//
// Equivalent to: ip link add NAME type bridge; ip link set NAME up
func (c *Conn) EnsureBridge(ctx context.Context, name string, cfg BridgeConfig) (br *Link, created bool, err error) {
	for range 3 { // it may come and go while we look
		br, err = c.Link(ctx, name)
		if err == nil {
			br, err = c.adoptBridge(ctx, br, cfg)
			return br, false, err
		}
		if !isGone(err) {
			return nil, false, err
		}
		br, err = c.addBridge(ctx, name, cfg)
		if err == nil {
			return br, true, nil
		}
		if !isExist(err) {
			return nil, false, err
		}
	}
	return nil, false, err
}

func (c *Conn) addBridge(ctx context.Context, name string, cfg BridgeConfig) (*Link, error) {
	s := &rtnl.LinkSpec{Name: name, Kind: "bridge", MAC: orRandom(cfg.MAC)}
	what := "create bridge " + name
	if cfg.VLANFiltering {
		s.Bridge = &rtnl.BridgeSpec{VLANFiltering: rtnl.On}
		what += " with vlan filtering" // which may be what the kernel refuses
	}
	l, err := c.rt.AddLink(ctx, s)
	if err != nil {
		return nil, wrap(err, "%s", what)
	}
	br := newLink(l)
	return br, c.startBridge(ctx, br, cfg)
}

// adoptBridge compares a bridge that is there, and makes up for what can be made up.
func (c *Conn) adoptBridge(ctx context.Context, br *Link, cfg BridgeConfig) (*Link, error) {
	var m mismatch
	if br.Kind != "bridge" {
		m.add(true, "kind", kindName(br.Kind), "bridge")
		return nil, m.err("link " + br.Name)
	}
	vlans := br.Bridge != nil && br.Bridge.VLANFiltering
	m.add(cfg.VLANFiltering && !vlans, "vlan filtering", "off", "on")
	if cfg.MTU > 0 && br.MTU != cfg.MTU {
		ports, err := c.rt.Links(ctx, rtnl.LinkFilter{Master: br.Index})
		if err != nil {
			return nil, wrap(err, "list ports of bridge %s", br.Name)
		}
		m.add(len(ports) > 0, "mtu", fmt.Sprint(br.MTU), fmt.Sprint(cfg.MTU))
	}
	if err := m.err("bridge " + br.Name); err != nil {
		return nil, err
	}
	return br, c.startBridge(ctx, br, cfg)
}

// CompareBridge compares a bridge with what [Conn.EnsureBridge] makes of cfg, and returns
// it: a bridge, up, promiscuous and filtering VLANs if that is asked for. Its MTU follows
// its ports and is not compared. The error is a [MismatchError] that tells what is
// different, and [fs.ErrNotExist] if there is no such link.
func (c *Conn) CompareBridge(ctx context.Context, name string, cfg BridgeConfig) (*Link, error) {
	br, err := c.Link(ctx, name)
	if err != nil {
		return nil, err
	}
	var m mismatch
	m.add(br.Kind != "bridge", "kind", kindName(br.Kind), "bridge")
	m.add(!br.Up, "state", "down", "up")
	m.add(cfg.Promisc && !br.Promisc, "promiscuous mode", "off", "on")
	m.add(cfg.VLANFiltering && br.Bridge != nil && !br.Bridge.VLANFiltering, "vlan filtering", "off", "on")
	if err := m.err("link " + br.Name); err != nil {
		return nil, err
	}
	return br, nil
}

// startBridge sets what is not yet as it should be, and the bridge up.
//
// The MTU is set here and not at creation, because only then it is taken for the will
// of the administrator; a bridge that was made with an MTU falls back to 1500 when its
// last port goes.
//
// Kernel: net/bridge/br_if.c (br_mtu_auto_adjust).
func (c *Conn) startBridge(ctx context.Context, br *Link, cfg BridgeConfig) error {
	s := &rtnl.LinkSpec{Index: br.Index}
	if cfg.MTU > 0 && br.MTU != cfg.MTU {
		s.MTU = cfg.MTU
	}
	if cfg.Promisc && !br.Promisc {
		s.Promisc = rtnl.On
	}
	if !br.Up {
		if err := c.ignoreRouters(br.Name); err != nil {
			return err
		}
		s.Up = rtnl.On
	}
	if s.MTU == 0 && s.Promisc == rtnl.Keep && s.Up == rtnl.Keep {
		return nil
	}
	if err := c.rt.SetLink(ctx, s); err != nil {
		return wrap(err, "configure bridge %s", br.Name)
	}
	br.Up, br.Promisc = true, br.Promisc || cfg.Promisc
	if s.MTU != 0 {
		br.MTU = s.MTU
	}
	return nil
}

// EnsureGateways gives a bridge the addresses by which it is the gateway of its
// containers, any number of each family, and reports whether it added any.
//
// An address that is there already is left alone. So is any that lies in another
// subnet, which may be another network's. One in an overlapping subnet is a conflict,
// since one of the two would not be reached: the error is a [MismatchError] before
// anything has changed, or, with force, that one address is replaced.
//
// IPv6 addresses are usable at once, without detection of duplicates. When an address
// was added, the bridge's hardware address is made to stay, for who made the bridge may
// have left it to change with its ports, and neighbours remember it. It is that of br,
// or, where that is zero, the one that the bridge got since, which br has then.
func (c *Conn) EnsureGateways(ctx context.Context, br *Link, gateways []netip.Prefix, force bool) (added bool, err error) {
	have, err := c.rt.Addrs(ctx, br.Index)
	if err != nil {
		return false, wrap(err, "list addresses of %s", br.Name)
	}
	missing, inTheWay := planGateways(have, gateways)
	if len(inTheWay) > 0 && !force {
		var m mismatch
		for _, p := range inTheWay {
			m.add(true, "address", p.String(), "")
		}
		return false, m.err("bridge " + br.Name)
	}
	for _, p := range inTheWay {
		if err := c.DelAddr(ctx, br.Index, p); err != nil {
			return false, err
		}
	}
	for _, p := range missing {
		if _, err := c.EnsureAddr(ctx, br.Index, p, AddrConfig{}); err != nil {
			return added, err
		}
		added = true
	}
	if !added {
		return false, nil
	}
	return true, wrap(c.keepMAC(ctx, br), "keep hardware address of %s", br.Name)
}

// keepMAC makes the hardware address of a bridge stay. A bridge whose last port has gone
// has none until it gets another port, and then that is the one to keep.
//
// Kernel: net/bridge/br_stp_if.c (br_stp_recalculate_bridge_id).
func (c *Conn) keepMAC(ctx context.Context, br *Link) error {
	if isZero(br.MAC) {
		now, err := c.LinkByIndex(ctx, br.Index)
		if err != nil {
			return err
		}
		if isZero(now.MAC) {
			return nil
		}
		br.MAC = now.MAC
	}
	return c.rt.SetLink(ctx, &rtnl.LinkSpec{Index: br.Index, MAC: br.MAC})
}

func isZero(mac net.HardwareAddr) bool {
	return !slices.ContainsFunc(mac, func(b byte) bool { return b != 0 })
}

// planGateways tells which of the wanted addresses are missing, and which others are
// in the way of those.
func planGateways(have []rtnl.Addr, want []netip.Prefix) (missing, inTheWay []netip.Prefix) {
	wanted := make(map[netip.Prefix]bool, len(want))
	for _, w := range want {
		wanted[w] = true
	}
	seen := make(map[netip.Prefix]bool, len(have))
	for _, h := range have {
		seen[h.Prefix] = true
	}
	for _, w := range want {
		if seen[w] {
			continue
		}
		seen[w] = true // once is enough
		missing = append(missing, w)
		for _, h := range have {
			if !wanted[h.Prefix] && h.Prefix.Overlaps(w) && !slices.Contains(inTheWay, h.Prefix) {
				inTheWay = append(inTheWay, h.Prefix)
			}
		}
	}
	return missing, inTheWay
}
