// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"encoding/binary"

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

// Attributes and flags of VLANs on bridge ports.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/if_bridge.h
const (
	bridgeFlags    = 0 // IFLA_BRIDGE_FLAGS
	bridgeVLANInfo = 2 // IFLA_BRIDGE_VLAN_INFO

	bridgeFlagsSelf = 2 // BRIDGE_FLAGS_SELF

	vlanPVID       = 1 << 1 // BRIDGE_VLAN_INFO_PVID
	vlanUntagged   = 1 << 2 // BRIDGE_VLAN_INFO_UNTAGGED
	vlanRangeBegin = 1 << 3 // BRIDGE_VLAN_INFO_RANGE_BEGIN
	vlanRangeEnd   = 1 << 4 // BRIDGE_VLAN_INFO_RANGE_END

	extBridgeVLAN = 1 << 1 // RTEXT_FILTER_BRVLAN, of linux/rtnetlink.h
)

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
	r := fixed(newRequest(typ, 0), &unix.IfInfomsg{Family: unix.AF_BRIDGE, Index: int32(index)})
	r.nest(unix.IFLA_AF_SPEC, func() {
		if self {
			r.u16(bridgeFlags, bridgeFlagsSelf)
		}
		for _, v := range ranges {
			v.encode(r)
		}
	})
	return c.execute(ctx, r, nil)
}

// encode writes a range as the kernel takes it: one entry, or a first and a last one.
func (v VLANs) encode(r *request) {
	var flags uint16
	if v.PVID {
		flags |= vlanPVID
	}
	if v.Untagged {
		flags |= vlanUntagged
	}
	info := func(flags uint16, id int) {
		b := binary.NativeEndian.AppendUint16(nil, flags)
		r.attr(bridgeVLANInfo, binary.NativeEndian.AppendUint16(b, uint16(id)))
	}
	if v.First == v.Last {
		info(flags, v.First)
		return
	}
	info(flags|vlanRangeBegin, v.First)
	info(flags|vlanRangeEnd, v.Last)
}

// VLANs lists the VLANs of a port, or of a bridge itself, in the order of their
// numbers. The kernel has no way to ask for one port before Linux 5.6 and answers
// about all of them here.
func (c *Conn) VLANs(ctx context.Context, index int) ([]VLANs, error) {
	r := fixed(newRequest(unix.RTM_GETLINK, 0), &unix.IfInfomsg{Family: unix.AF_BRIDGE})
	r.u32(unix.IFLA_EXT_MASK, extBridgeVLAN)
	var found []VLANs
	err := c.dump(ctx, r, func() { found = nil }, func(m message) error {
		h, attrs, err := cut[unix.IfInfomsg](m.body)
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
			if typ == bridgeVLANInfo && len(v) >= 4 {
				flags, id := v.u16(), int(v[2:].u16())
				found = append(found, VLANs{id, id, flags&vlanPVID != 0, flags&vlanUntagged != 0})
			}
		}
	}
	return found
}
