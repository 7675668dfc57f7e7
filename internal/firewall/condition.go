// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// condition is a match that a configuration adds to a port map: packets whose field
// is, or is not, one of the values.
type condition struct {
	field  string         // "saddr", "daddr" or "iifname"
	values []netip.Prefix // of an address
	names  []string       // of an interface; a last '*' stands for anything
	negate bool
}

// errCondition means that a condition is not among those understood.
var errCondition = errors.New("not understood; there are \"ip saddr|daddr [!=] ADDRESS|{ … }\", the same with ip6, and \"iifname [!=] NAME\"; for others use the iptables backend")

// ErrCondition means that a port map has a condition which its backend does not know.
var ErrCondition = errors.New("condition")

// iptablesSyntax reports whether conditions are in the words of iptables.
func iptablesSyntax(words []string) bool {
	return len(words) > 0 && (strings.HasPrefix(words[0], "-") || strings.HasPrefix(words[0], "!"))
}

// iptablesConditions returns an error unless conditions are in the words of iptables.
func iptablesConditions(words []string) error {
	if len(words) == 0 || iptablesSyntax(words) {
		return nil
	}
	return fmt.Errorf("%w %q: in the words of nft, but the backend is iptables", ErrCondition, strings.Join(words, " "))
}

// parseConditions reads conditions in the words of nft, for one family.
func parseConditions(words []string, ipv4 bool) ([]condition, error) {
	if iptablesSyntax(words) {
		return nil, fmt.Errorf("%w %q: in the words of iptables, but the backend is nftables", ErrCondition, strings.Join(words, " "))
	}
	rest := strings.Fields(strings.NewReplacer("{", " { ", "}", " } ", ",", " ", "!=", " != ", "==", " == ").Replace(strings.Join(words, " ")))
	var all []condition
	for len(rest) > 0 {
		c, left, err := parseCondition(rest, ipv4)
		if err != nil {
			return nil, fmt.Errorf("%w %q: %w", ErrCondition, strings.Join(words, " "), err)
		}
		all, rest = append(all, c), left
	}
	return all, nil
}

// parseCondition reads the first condition and returns the rest.
func parseCondition(words []string, ipv4 bool) (condition, []string, error) {
	var c condition
	switch {
	case len(words) >= 3 && (words[0] == "ip" && ipv4 || words[0] == "ip6" && !ipv4) && (words[1] == "saddr" || words[1] == "daddr"):
		c.field, words = words[1], words[2:]
	case len(words) >= 2 && words[0] == "iifname":
		c.field, words = words[0], words[1:]
	case len(words) >= 3 && words[0] == "meta" && words[1] == "iifname":
		c.field, words = words[1], words[2:]
	default:
		return c, nil, errCondition
	}
	if words[0] == "!=" || words[0] == "==" {
		c.negate, words = words[0] == "!=", words[1:]
	}
	values, rest, err := parseValues(words)
	if err != nil {
		return c, nil, err
	}
	for _, v := range values {
		if err := c.add(v, ipv4); err != nil {
			return c, nil, err
		}
	}
	return c, rest, nil
}

// parseValues reads one value, or several between braces, and returns the rest.
func parseValues(words []string) (values, rest []string, err error) {
	if len(words) == 0 {
		return nil, nil, errCondition
	}
	if words[0] != "{" {
		return words[:1], words[1:], nil
	}
	for i, w := range words {
		if w == "}" && i > 1 {
			return words[1:i], words[i+1:], nil
		}
	}
	return nil, nil, errCondition
}

// add adds a value to c.
func (c *condition) add(value string, ipv4 bool) error {
	if c.field == "iifname" {
		name := strings.Trim(value, `"`)
		if name == "" || len(name) >= 16 {
			return errCondition
		}
		c.names = append(c.names, name)
		return nil
	}
	p, err := netip.ParsePrefix(value)
	if err != nil {
		a, err := netip.ParseAddr(value)
		if err != nil {
			return errCondition
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4() != ipv4 {
		return fmt.Errorf("%s is of the other family", p)
	}
	c.values = append(c.values, p.Masked())
	return nil
}

// alternatives returns the conditions as alternatives without lists of values: one of
// them holds if all conditions hold. A negated list needs none: all of its values must
// differ.
func alternatives(cs []condition) [][]condition {
	all := [][]condition{nil}
	for _, c := range cs {
		var longer [][]condition
		for _, one := range c.split() {
			for _, a := range all {
				longer = append(longer, append(append([]condition(nil), a...), one...))
			}
		}
		all = longer
	}
	return all
}

// split returns c as alternatives of conditions with one value each.
func (c condition) split() [][]condition {
	var each []condition
	for _, v := range c.values {
		each = append(each, condition{field: c.field, values: []netip.Prefix{v}, negate: c.negate})
	}
	for _, n := range c.names {
		each = append(each, condition{field: c.field, names: []string{n}, negate: c.negate})
	}
	if c.negate { // also without any value: nothing has to differ
		return [][]condition{each}
	}
	var split [][]condition
	for _, e := range each {
		split = append(split, []condition{e})
	}
	return split
}
