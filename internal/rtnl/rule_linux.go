// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Rule is a policy rule: which packets look up which table.
type Rule struct {
	Family   uint8        // AF_INET or AF_INET6
	Priority uint32       // rules are asked in this order
	Src, Dst netip.Prefix // not valid: any
	In, Out  string       // names of links; empty: any
	Mark     uint32
	Mask     uint32
	Table    uint32
	Invert   bool // for packets that do not match
	Protocol uint8
}

// fibRuleInvert is FIB_RULE_INVERT.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/fib_rules.h
const fibRuleInvert = 2

// AddRule adds a rule, and fails if there is the same.
func (c *Conn) AddRule(ctx context.Context, rl Rule) error {
	return c.execute(ctx, rl.request(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL))
}

// DelRule removes the first rule that matches; what is zero matches anything.
func (c *Conn) DelRule(ctx context.Context, rl Rule) error {
	return c.execute(ctx, rl.request(unix.RTM_DELRULE, 0))
}

func (rl Rule) request(typ, flags int) *request {
	h := &nl.RtMsg{RtMsg: unix.RtMsg{
		Family:  rl.Family,
		Src_len: uint8(max(rl.Src.Bits(), 0)),
		Dst_len: uint8(max(rl.Dst.Bits(), 0)),
		Type:    nl.FR_ACT_TO_TBL,
	}}
	if rl.Invert {
		h.Flags = fibRuleInvert
	}
	if rl.Table < 256 {
		h.Table = uint8(rl.Table)
	}
	r := newRequest(typ, flags, h)
	r.addr(unix.FRA_SRC, rl.Src.Addr())
	r.addr(unix.FRA_DST, rl.Dst.Addr())
	r.strnz(unix.FRA_IIFNAME, rl.In)
	r.strnz(unix.FRA_OIFNAME, rl.Out)
	r.u32nz(unix.FRA_PRIORITY, rl.Priority)
	r.u32nz(unix.FRA_TABLE, rl.Table)
	if rl.Mark != 0 || rl.Mask != 0 {
		r.u32(unix.FRA_FWMARK, rl.Mark)
		r.u32nz(unix.FRA_FWMASK, rl.Mask)
	}
	if rl.Protocol != 0 {
		r.u8(unix.FRA_PROTOCOL, rl.Protocol)
	}
	return r
}

// Rules lists the rules of a family, in the order in which they are asked.
func (c *Conn) Rules(ctx context.Context, family uint8) ([]Rule, error) {
	r := newRequest(unix.RTM_GETRULE, 0, &nl.RtMsg{RtMsg: unix.RtMsg{Family: family}})
	var found []Rule
	err := c.dump(ctx, r, func() { found = nil }, func(body []byte) error {
		rl, err := parseRule(body)
		if err == nil {
			found = append(found, rl)
		}
		return err
	})
	return found, err
}

func parseRule(body []byte) (Rule, error) {
	h, attrs, err := cut(body, unix.SizeofRtMsg, nl.DeserializeRtMsg)
	if err != nil {
		return Rule{}, err
	}
	rl := Rule{Family: h.Family, Table: uint32(h.Table), Invert: h.Flags&fibRuleInvert != 0}
	for typ, v := range attrs.all() {
		switch typ {
		case unix.FRA_SRC:
			rl.Src = netip.PrefixFrom(v.addr(), int(h.Src_len))
		case unix.FRA_DST:
			rl.Dst = netip.PrefixFrom(v.addr(), int(h.Dst_len))
		case unix.FRA_IIFNAME:
			rl.In = v.str()
		case unix.FRA_OIFNAME:
			rl.Out = v.str()
		case unix.FRA_PRIORITY:
			rl.Priority = v.u32()
		case unix.FRA_TABLE:
			rl.Table = v.u32()
		case unix.FRA_FWMARK:
			rl.Mark = v.u32()
		case unix.FRA_FWMASK:
			rl.Mask = v.u32()
		case unix.FRA_PROTOCOL:
			rl.Protocol = v.u8()
		}
	}
	return rl, nil
}
