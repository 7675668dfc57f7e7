// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// VxlanConfig is a vxlan to be made: a link whose frames travel in UDP packets.
type VxlanConfig struct {
	ID     uint32           // VNI, 0 to 16777215
	Parent int              // index of the link that the packets leave by. Zero: by the route
	Local  netip.Addr       // source of the packets. The zero Addr: the kernel chooses
	Remote netip.Addr       // host or multicast group for frames whose destination is not known. The zero Addr: none
	Port   uint16           // of UDP. Zero: 4789, the one of IANA; the kernel's own default is 8472
	Learn  bool             // learn from arriving packets which host a hardware address is at
	MAC    net.HardwareAddr // nil: a random one
	MTU    int              // in bytes. Zero: what the kernel finds fit
}

// vxlanPort is the port that IANA has given to VXLAN, RFC 7348, section 5.
const vxlanPort = 4789

// EnsureVxlan makes a vxlan and reports whether it did. It stays down. If the name is
// taken, that must be a vxlan with the same settings; else the error is a
// [MismatchError].
//
// Equivalent to: ip link add NAME type vxlan id ID dstport PORT …
func (c *Conn) EnsureVxlan(ctx context.Context, name string, cfg VxlanConfig) (l *Link, created bool, err error) {
	if cfg.Port == 0 {
		cfg.Port = vxlanPort
	}
	want := &rtnl.Vxlan{
		ID: cfg.ID, Parent: cfg.Parent, Local: cfg.Local, Remote: cfg.Remote, Port: cfg.Port, Learning: flag(cfg.Learn),
	}
	made, err := c.rt.AddLink(ctx, &rtnl.LinkSpec{
		Name: name, Kind: "vxlan", MAC: orRandom(cfg.MAC), MTU: cfg.MTU, Vxlan: want,
	})
	if err == nil {
		return newLink(made), true, nil
	}
	if !isExist(err) {
		return nil, false, wrap(err, "create vxlan %s", name)
	}
	// The name is taken, or another link has the same ID.
	raw, lookup := c.rt.LinkByName(ctx, name)
	if isGone(lookup) {
		return nil, false, wrap(err, "create vxlan %s: id %d", name, cfg.ID)
	}
	if lookup != nil {
		return nil, false, lookup
	}
	l = newLink(raw)
	var m mismatch
	m.add(l.Kind != "vxlan", "kind", kindName(l.Kind), "vxlan")
	if have := raw.Vxlan; have != nil {
		m.add(have.ID != want.ID, "id", fmt.Sprint(have.ID), fmt.Sprint(want.ID))
		m.add(have.Port != want.Port, "port", fmt.Sprint(have.Port), fmt.Sprint(want.Port))
		m.add(have.Parent != want.Parent, "link below", fmt.Sprint(have.Parent), fmt.Sprint(want.Parent))
		m.add(have.Local != want.Local, "local", addrName(have.Local), addrName(want.Local))
		m.add(have.Remote != want.Remote, "remote", addrName(have.Remote), addrName(want.Remote))
		m.add(have.Learning != want.Learning, "learning", onOff(have.Learning == rtnl.On), onOff(cfg.Learn))
	}
	m.addMAC(l, cfg.MAC.String())
	m.add(cfg.MTU != 0 && l.MTU != cfg.MTU, "mtu", fmt.Sprint(l.MTU), fmt.Sprint(cfg.MTU))
	if err := m.err("link " + name); err != nil {
		return nil, false, err
	}
	return l, false, nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
