// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Modes of a macvlan.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/if_link.h (macvlan_mode)
const (
	MacvlanPrivate  = 1
	MacvlanVEPA     = 2
	MacvlanBridge   = 4
	MacvlanPassthru = 8
)

// Macvlan is what is particular to a macvlan.
type Macvlan struct {
	Mode       uint32
	BCQueueLen uint32 // broadcast queue in packets; 0 is not sent; since 5.10
}

func (m *Macvlan) encode(r *request) {
	r.u32nz(unix.IFLA_MACVLAN_MODE, m.Mode)
	r.u32nz(unix.IFLA_MACVLAN_BC_QUEUE_LEN, m.BCQueueLen)
}

func parseMacvlan(a attrs) *Macvlan {
	var m Macvlan
	for typ, v := range a.all() {
		switch typ {
		case unix.IFLA_MACVLAN_MODE:
			m.Mode = v.u32()
		case unix.IFLA_MACVLAN_BC_QUEUE_LEN:
			m.BCQueueLen = v.u32()
		}
	}
	return &m
}

// Vxlan is what is particular to a vxlan.
type Vxlan struct {
	ID       uint32
	Parent   int        // index of the link below; 0 for any
	Local    netip.Addr // source of the outer packets
	Remote   netip.Addr // their destination, or a multicast group, for what has no other
	Port     uint16     // of the destination; 0 is not sent, and the kernel's default is 8472
	Learning Flag
}

func (x *Vxlan) encode(r *request) {
	r.u32(unix.IFLA_VXLAN_ID, x.ID)
	r.u32nz(unix.IFLA_VXLAN_LINK, uint32(x.Parent))
	local, remote := unix.IFLA_VXLAN_LOCAL, unix.IFLA_VXLAN_GROUP
	if x.Local.Is6() {
		local = unix.IFLA_VXLAN_LOCAL6
	}
	if x.Remote.Is6() {
		remote = unix.IFLA_VXLAN_GROUP6
	}
	r.addr(local, x.Local)
	r.addr(remote, x.Remote)
	if x.Port != 0 {
		r.attr(unix.IFLA_VXLAN_PORT, nl.BEUint16Attr(x.Port))
	}
	r.flag(unix.IFLA_VXLAN_LEARNING, x.Learning)
}

func parseVxlan(a attrs) *Vxlan {
	x := Vxlan{Learning: Off}
	for typ, v := range a.all() {
		switch typ {
		case unix.IFLA_VXLAN_ID:
			x.ID = v.u32()
		case unix.IFLA_VXLAN_LINK:
			x.Parent = v.index()
		case unix.IFLA_VXLAN_LOCAL, unix.IFLA_VXLAN_LOCAL6:
			x.Local = v.addr()
		case unix.IFLA_VXLAN_GROUP, unix.IFLA_VXLAN_GROUP6:
			x.Remote = v.addr()
		case unix.IFLA_VXLAN_PORT:
			x.Port = v.be16()
		case unix.IFLA_VXLAN_LEARNING:
			if v.bool() {
				x.Learning = On
			}
		}
	}
	return &x
}
