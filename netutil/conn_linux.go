// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/cnikit/cnikit/internal/rtnl"
	"github.com/cnikit/cnikit/ns"
)

// Conn is a conversation with the kernel about one network namespace, over one socket
// that was made there. It is safe for concurrent use; requests take turns.
type Conn struct {
	rt *rtnl.Conn
	ns *ns.NS // nil: that of the process
}

// Open begins a conversation about the namespace n, or about the caller's own if n is
// nil: that of the process, unless inside [ns.NS.Do]. The caller closes it, and keeps
// n open until then.
func Open(n *ns.NS) (*Conn, error) {
	c := &Conn{ns: n}
	err := c.inside(func() (err error) {
		c.rt, err = rtnl.Open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the conversation. What is asked afterwards fails with [os.ErrClosed], a
// second Close included.
func (c *Conn) Close() error { return c.rt.Close() }

// inside runs f where the files of the namespace are seen.
func (c *Conn) inside(f func() error) error {
	if c.ns == nil {
		return f()
	}
	return c.ns.Do(f)
}

// Small questions about errors.

func isExist(err error) bool { return errors.Is(err, fs.ErrExist) }

func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// wrap names what was being done, and to what.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}

// linkName is the name of a link, or its number if there is none, looked up when an
// error is put into words and not before.
func (c *Conn) linkName(ctx context.Context, index int) fmt.Stringer {
	return lazy(func() string {
		if l, err := c.rt.LinkByIndex(ctx, index); err == nil {
			return l.Name
		}
		return strconv.Itoa(index)
	})
}

// lazy is a text that is made when it is needed.
type lazy func() string

func (l lazy) String() string { return l() }

// ignoreGone is nil for what says that a thing is gone.
func ignoreGone(err error) error {
	if isGone(err) {
		return nil
	}
	return err
}
