// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// Rule is a policy rule: packets that match look up a table.
type Rule struct {
	// IPv6 says for which family the rule is, if neither Src nor Dst does.
	IPv6     bool
	Priority uint32       // rules are asked in this order. Zero: the kernel chooses one before all others but the first
	Src, Dst netip.Prefix // the zero Prefix: any
	In, Out  string       // names of links. Empty: any
	Mark     uint32       // with Mask
	Mask     uint32       // zero: all bits if there is a Mark
	Invert   bool         // for packets that do not match
	Table    uint32       // zero: the main table
	Protocol uint8        // says who made the rule; 4 is RTPROT_STATIC. Zero: not said
}

// EnsureRule adds a rule, and reports whether it did. It agrees if the same rule is
// there. Give it a Priority: the kernel takes two rules for the same only if that is.
//
// Equivalent to: ip rule add priority N from SRC lookup TABLE
func (c *Conn) EnsureRule(ctx context.Context, r Rule) (created bool, err error) {
	err = c.rt.AddRule(ctx, r.raw())
	if isExist(err) {
		return false, nil
	}
	return err == nil, wrap(err, "add %v", r)
}

// DelRule removes a rule, and agrees when it is gone. What is zero in r matches
// anything, except Table.
//
// Equivalent to: ip rule del priority N from SRC lookup TABLE
func (c *Conn) DelRule(ctx context.Context, r Rule) error {
	return wrap(ignoreGone(c.rt.DelRule(ctx, r.raw())), "delete %v", r)
}

// ListRules lists the rules of both families that look up a table, or, if table is
// zero, any table, in the order in which they are asked.
//
// Equivalent to: ip rule show; ip -6 rule show
func (c *Conn) ListRules(ctx context.Context, table uint32) ([]Rule, error) {
	var rules []Rule
	for _, family := range []uint8{rtnl.IPv4, rtnl.IPv6} {
		list, err := c.rt.Rules(ctx, family)
		if err != nil {
			return nil, wrap(err, "list rules")
		}
		for _, l := range list {
			if table == 0 || l.Table == table {
				rules = append(rules, newRule(l))
			}
		}
	}
	return rules, nil
}

// String returns the rule in the words of ip(8).
func (r Rule) String() string {
	s := "rule"
	for _, f := range []struct {
		word  string
		value any
		set   bool
	}{
		{"not", "", r.Invert},
		{"priority", r.Priority, r.Priority != 0},
		{"from", r.Src, r.Src.IsValid()},
		{"to", r.Dst, r.Dst.IsValid()},
		{"iif", r.In, r.In != ""},
		{"oif", r.Out, r.Out != ""},
		{"fwmark", r.Mark, r.Mark != 0},
		{"lookup", orMain(r.Table), true},
	} {
		if f.set {
			s += fmt.Sprintf(" %s %v", f.word, f.value)
		}
	}
	return s
}

func (r Rule) raw() rtnl.Rule {
	raw := rtnl.Rule{
		Family: rtnl.IPv4, Priority: r.Priority, Src: r.Src.Masked(), Dst: r.Dst.Masked(), In: r.In, Out: r.Out,
		Mark: r.Mark, Mask: r.Mask, Table: orMain(r.Table), Invert: r.Invert, Protocol: r.Protocol,
	}
	if r.IPv6 || r.Src.Addr().Is6() || r.Dst.Addr().Is6() {
		raw.Family = rtnl.IPv6
	}
	return raw
}

func newRule(raw rtnl.Rule) Rule {
	return Rule{
		IPv6: raw.Family == rtnl.IPv6, Priority: raw.Priority, Src: raw.Src, Dst: raw.Dst, In: raw.In, Out: raw.Out,
		Mark: raw.Mark, Mask: raw.Mask, Table: raw.Table, Invert: raw.Invert, Protocol: raw.Protocol,
	}
}
