// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// layout is the constant part of a table: what has to be there before containers can
// be elements of its sets.
type layout struct {
	table  table
	sets   []set
	chains []chain
	rules  []rule
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

// build returns the changes that make l of whatever is there. Its chains are flushed
// before they are filled, so packets see the old rules or the new ones, and two
// processes that build at once do not double them.
func (l layout) build() ([]request, error) {
	rs := []request{l.table.newTable()}
	var errs []error
	add := func(r request, err error) {
		rs, errs = append(rs, r), append(errs, err)
	}
	for i, s := range l.sets {
		add(l.table.newSet(s, uint32(i+1)))
	}
	for _, c := range l.chains {
		add(l.table.newChain(c), nil)
	}
	for _, c := range l.chains {
		add(l.table.flushChain(c.name), nil)
	}
	for _, r := range l.rules {
		add(l.table.newRule(r))
	}
	return rs, errors.Join(errs...)
}

// settle makes changes in one transaction, behind those that put the rules of t in order,
// if they are not. want makes the layout, which may keep something of the rules seen;
// changes makes the others, and is told whether there are changes before. The error is
// errLacks if the kernel cannot do what the layout wants.
func (c *conn) settle(t table, want func(seen []ruleSeen) (layout, error), changes func(built bool) ([]request, error)) error {
	l, intact, err := c.compare(t, want)
	if err != nil {
		return err
	}
	var all []request
	if !intact {
		if all, err = l.build(); err != nil {
			return err
		}
	}
	more, err := changes(!intact)
	if err != nil {
		return err
	}
	err = c.batch(append(all, more...))
	if !intact && lacking(err) {
		if e := c.try(l); e != nil {
			return e
		}
	}
	return err
}

// errLacks means that the kernel has nf_tables without something that is needed.
var errLacks error = lacksError{}

// lacksError is the type of errLacks: fmt.Errorf would run at the start of each process.
type lacksError struct{}

func (lacksError) Error() string {
	return errors.ErrUnsupported.Error() + ": the kernel's nf_tables lacks something"
}
func (lacksError) Unwrap() error { return errors.ErrUnsupported }

// lacking reports whether err may say that the kernel lacks a family of tables, a kind of
// chain, or an expression. For the last two that is ENOENT, as for a set that is gone.
func lacking(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT)
}

// triedTable is the name of a table that nobody sees.
const triedTable = "cnikit-try"

// try makes a layout and removes it in one transaction, so that nothing of it is ever
// there. The error is errLacks if the kernel refuses.
func (c *conn) try(l layout) error {
	name := l.table.name
	l.table.name = triedTable
	rs, err := l.build()
	if err == nil {
		err = c.batch(append(rs, l.table.delTable()))
	}
	if lacking(err) {
		return fmt.Errorf("%w that table %s needs, such as NAT in family inet: %v", errLacks, name, err)
	}
	return err
}

// compare reads the rules of t and reports whether they are those of the layout that
// want makes of them. Rules that are not have to be seen twice, else the error is
// errChanged: a list made while the kernel takes in a transaction may have rules of
// before and of after.
func (c *conn) compare(t table, want func(seen []ruleSeen) (layout, error)) (l layout, intact bool, err error) {
	seen, err := c.rules(t, "")
	if err != nil {
		return layout{}, false, err
	}
	if l, err = want(seen); err != nil || l.intact(seen) {
		return l, true, err
	}
	if c.noNAT {
		l = l.withoutNAT()
	}
	again, err := c.rules(t, "")
	if err == nil && !slices.EqualFunc(seen, again, func(a, b ruleSeen) bool { return a.handle == b.handle }) {
		err = errChanged
	}
	return l, false, err
}

// withoutNAT returns l with a kind of chain that no kernel has in the place of NAT.
func (l layout) withoutNAT() layout {
	l.chains = slices.Clone(l.chains)
	for i := range l.chains {
		if l.chains[i].kind == nftables.ChainTypeNAT {
			l.chains[i].kind = "none"
		}
	}
	return l
}

// constant makes l, whatever rules were seen.
func constant(l layout) func([]ruleSeen) (layout, error) {
	return func([]ruleSeen) (layout, error) { return l, nil }
}
