// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// BridgeSpec is what to send of a bridge.
type BridgeSpec struct {
	VLANFiltering Flag
	DefaultPVID   int // VLAN of ports without another; -1 for none; 0 is not sent
}

// Bridge is what the kernel tells of a bridge.
type Bridge struct {
	HasVLANs      bool // the kernel can filter VLANs
	VLANFiltering bool
	DefaultPVID   int
	STP           bool
}

func (b *BridgeSpec) encode(r *request) {
	r.flag(unix.IFLA_BR_VLAN_FILTERING, b.VLANFiltering)
	switch {
	case b.DefaultPVID > 0:
		r.u16(unix.IFLA_BR_VLAN_DEFAULT_PVID, uint16(b.DefaultPVID))
	case b.DefaultPVID < 0:
		r.u16(unix.IFLA_BR_VLAN_DEFAULT_PVID, 0)
	}
}

func parseBridge(a attrs) *Bridge {
	var b Bridge
	for typ, v := range a.all() {
		switch typ {
		case unix.IFLA_BR_VLAN_FILTERING:
			b.HasVLANs = true
			b.VLANFiltering = v.bool()
		case unix.IFLA_BR_VLAN_DEFAULT_PVID:
			b.DefaultPVID = int(v.u16())
		case unix.IFLA_BR_STP_STATE:
			b.STP = v.u32() != 0
		}
	}
	return &b
}

// PortSpec is what to send of a port of a bridge.
type PortSpec struct {
	Hairpin  Flag
	Isolated Flag
}

// Port is what the kernel tells of a port of a bridge.
type Port struct {
	Hairpin  bool
	Isolated bool
	State    uint8 // BR_STATE_…
}

func (p *PortSpec) encode(r *request) {
	r.flag(unix.IFLA_BRPORT_MODE, p.Hairpin)
	r.flag(unix.IFLA_BRPORT_ISOLATED, p.Isolated) // since 4.18
}

func parsePort(a attrs) *Port {
	var p Port
	for typ, v := range a.all() {
		switch typ {
		case unix.IFLA_BRPORT_MODE:
			p.Hairpin = v.bool()
		case unix.IFLA_BRPORT_ISOLATED:
			p.Isolated = v.bool()
		case unix.IFLA_BRPORT_STATE:
			p.State = v.u8()
		}
	}
	return &p
}

// VLANs is a range of VLANs on a port of a bridge.
type VLANs struct {
	First, Last int
	PVID        bool // the VLAN of frames that arrive without a tag
	Untagged    bool // frames leave without a tag
}

// AddVLANs adds ranges to a port, or to the bridge itself when self is set, in one
// message. What is there already is fine, and takes the flags given.
func (c *Conn) AddVLANs(ctx context.Context, index int, self bool, ranges ...VLANs) error {
	return c.setVLANs(ctx, unix.RTM_SETLINK, index, self, ranges)
}

// DelVLANs takes ranges from a port, or from the bridge itself.
func (c *Conn) DelVLANs(ctx context.Context, index int, self bool, ranges ...VLANs) error {
	return c.setVLANs(ctx, unix.RTM_DELLINK, index, self, ranges)
}

func (c *Conn) setVLANs(ctx context.Context, typ, index int, self bool, ranges []VLANs) error {
	h := nl.NewIfInfomsg(unix.AF_BRIDGE)
	h.Index = int32(index)
	r := newRequest(typ, 0, h)
	r.nest(unix.IFLA_AF_SPEC, func() {
		if self {
			r.u16(nl.IFLA_BRIDGE_FLAGS, nl.BRIDGE_FLAGS_SELF)
		}
		for _, v := range ranges {
			v.encode(r)
		}
	})
	return c.execute(ctx, r)
}

// encode writes a range as the kernel takes it: one entry, or a first and a last one.
func (v VLANs) encode(r *request) {
	var flags uint16
	if v.PVID {
		flags |= nl.BRIDGE_VLAN_INFO_PVID
	}
	if v.Untagged {
		flags |= nl.BRIDGE_VLAN_INFO_UNTAGGED
	}
	info := func(flags uint16, id int) {
		r.attr(nl.IFLA_BRIDGE_VLAN_INFO, (&nl.BridgeVlanInfo{Flags: flags, Vid: uint16(id)}).Serialize())
	}
	if v.First == v.Last {
		info(flags, v.First)
		return
	}
	info(flags|nl.BRIDGE_VLAN_INFO_RANGE_BEGIN, v.First)
	info(flags|nl.BRIDGE_VLAN_INFO_RANGE_END, v.Last)
}

// extBridgeVLAN is RTEXT_FILTER_BRVLAN: tell the VLANs of ports.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/rtnetlink.h
const extBridgeVLAN = 1 << 1

// VLANs lists the VLANs of a port, or of a bridge itself, in the order of their
// numbers. The kernel has no way to ask for one port before Linux 5.6 and answers
// about all of them here.
func (c *Conn) VLANs(ctx context.Context, index int) ([]VLANs, error) {
	r := newRequest(unix.RTM_GETLINK, 0, nl.NewIfInfomsg(unix.AF_BRIDGE))
	r.u32(unix.IFLA_EXT_MASK, extBridgeVLAN)
	var found []VLANs
	err := c.dump(ctx, r, func() { found = nil }, func(body []byte) error {
		h, attrs, err := cut(body, unix.SizeofIfInfomsg, nl.DeserializeIfInfomsg)
		if err == nil && int(h.Index) == index {
			found = append(found, parseVLANs(attrs)...)
		}
		return err
	})
	return found, err
}

func parseVLANs(a attrs) []VLANs {
	var found []VLANs
	for typ, v := range a.all() {
		if typ != unix.IFLA_AF_SPEC {
			continue
		}
		for typ, v := range attrs(v).all() {
			if typ == nl.IFLA_BRIDGE_VLAN_INFO && len(v) >= nl.SizeofBridgeVlanInfo {
				info := nl.DeserializeBridgeVlanInfo(v)
				id := int(info.Vid)
				found = append(found, VLANs{First: id, Last: id, PVID: info.PortVID(), Untagged: info.EngressUntag()})
			}
		}
	}
	return found
}
