// SPDX-License-Identifier: Apache-2.0

package firewall

import "slices"

// layout is the constant part of a table: what has to be there before containers can
// be elements of its sets.
type layout struct {
	table   table
	comment string
	sets    []set
	chains  []chain
	rules   []rule
}

// intact reports whether the rules seen are those of l, in each chain of l in the same
// order, and no others. Sets and chains need no look: rules refer to the ones that
// matter to packets, and the kernel removes nothing that is referred to.
func (l layout) intact(seen []ruleSeen) bool {
	for _, c := range l.chains {
		if !slices.Equal(commentsIn(seen, c.name), l.commentsIn(c.name)) {
			return false
		}
	}
	return true
}

// commentsIn returns the comments of the rules wanted in a chain.
func (l layout) commentsIn(chain string) []string {
	var cs []string
	for _, r := range l.rules {
		if r.chain == chain {
			cs = append(cs, r.comment)
		}
	}
	return cs
}

// commentsIn returns the comments of the rules seen in a chain.
func commentsIn(seen []ruleSeen, chain string) []string {
	var cs []string
	for _, r := range seen {
		if r.chain == chain {
			cs = append(cs, r.comment)
		}
	}
	return cs
}

// build returns the requests that turn the rules seen, which may be none, into l. The
// chains that hold rules are flushed, so packets see the old rules or the new ones.
func (l layout) build(seen []ruleSeen) ([]request, error) {
	rs := []request{l.table.newTable(l.comment)}
	for i, s := range l.sets {
		rs = append(rs, l.table.newSet(s, uint32(i+1)))
	}
	for _, c := range l.chains {
		rs = append(rs, l.table.newChain(c))
		if len(commentsIn(seen, c.name)) > 0 {
			rs = append(rs, l.table.flushChain(c.name))
		}
	}
	for _, r := range l.rules {
		m, err := l.table.newRule(r)
		if err != nil {
			return nil, err
		}
		rs = append(rs, m)
	}
	return rs, nil
}

// settle returns the requests that put the rules of t in order, none if they are, and
// then the generation of the ruleset that the requests are for. want makes the layout,
// which may keep something of the rules seen.
func (c *conn) settle(t table, want func(seen []ruleSeen) layout) (uint32, []request, error) {
	seen, err := c.rules(t, "")
	if err != nil || want(seen).intact(seen) {
		return 0, nil, err
	}
	// Once more, for a generation that is not newer than what is read.
	generation, err := c.generation()
	if err != nil {
		return 0, nil, err
	}
	if seen, err = c.rules(t, ""); err != nil {
		return 0, nil, err
	}
	l := want(seen)
	if l.intact(seen) {
		return 0, nil, nil
	}
	requests, err := l.build(seen)
	return generation, requests, err
}
