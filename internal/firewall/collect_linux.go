// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// mostDeleted is how many elements one transaction removes: its messages are sent at
// once, for which a socket has room for some 200 KiB.
const mostDeleted = 1024

// collect removes from the sets of a table the elements whose mark is gone, and then the
// table if nothing is left in them. Nothing goes that somebody adds meanwhile.
func (c *conn) collect(ctx context.Context, t table, sets []string, gone func(mark string) bool) error {
	for done := false; !done; {
		err := retry(ctx, func() (err error) {
			done, err = c.collectSome(t, sets, gone)
			return err
		})
		if err != nil {
			return fmt.Errorf("collect garbage: %w", err)
		}
	}
	return nil
}

// collectSome removes as much as one transaction does, and reports whether that is all.
func (c *conn) collectSome(t table, sets []string, gone func(mark string) bool) (done bool, err error) {
	generation, err := c.generation()
	if err != nil {
		return false, err
	}
	garbage, left, err := c.garbage(t, sets, gone)
	c.letTestAct()
	switch {
	case err != nil:
		return false, err
	case len(garbage) > 0:
		return false, c.unchanged(generation, eachSet(garbage[:min(len(garbage), mostDeleted)], table.delElements))
	case left > 0:
		return true, nil
	}
	return true, c.unchanged(generation, []request{t.delTable()})
}

// garbage lists the elements whose mark is gone, and counts the others. A set that a
// table lacks counts for one: there is no table, or the next ADD repairs it.
func (c *conn) garbage(t table, sets []string, gone func(mark string) bool) (found []placed, left int, err error) {
	for _, set := range sets {
		all, err := c.elements(t, set)
		if errors.Is(err, unix.ENOENT) {
			left++
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		for _, e := range all {
			if gone(e.comment) {
				found = append(found, placed{t, set, e})
			} else {
				left++
			}
		}
	}
	return found, left, nil
}
