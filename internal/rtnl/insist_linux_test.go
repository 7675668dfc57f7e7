// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/internal/rtnl"
)

// congest fills the socket of c, which is in n.
func congest(t *testing.T, n *nstest.NS, c *rtnl.Conn) {
	t.Helper()
	n.Do(t, func() { c.Congest(t) })
}

// What the kernel does and cannot tell, because the socket is full, is done once, and not
// taken for what was there before.
func TestConn_lostAnswer(t *testing.T) {
	t.Parallel()
	n, other := nstest.New(t), nstest.New(t)
	c, there := open(t, n), open(t, other)
	ctx := t.Context()
	prefix := netip.MustParsePrefix("10.1.2.3/24")
	route := rtnl.Route{Index: 1, Dst: netip.MustParsePrefix("10.9.0.0/16"), Scope: rtnl.ScopeLink}
	rule := rtnl.Rule{Family: rtnl.IPv4, Table: 77, Priority: 500, Src: netip.MustParsePrefix("10.1.2.3/32")}
	veth := &rtnl.LinkSpec{
		Name: "v0", Kind: "veth", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Peer: &rtnl.LinkSpec{Name: "v1", NetNS: other.Fd()},
	}
	up := &rtnl.LinkSpec{Index: 1, Up: rtnl.On}
	index := func(name string) int {
		l, err := c.LinkByName(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		return l.Index
	}
	for _, tt := range []struct {
		name string
		do   func() error
	}{
		{"set a link up", func() error { return c.SetLink(ctx, up) }},
		{"add an address", func() error { return c.AddAddr(ctx, rtnl.Addr{Index: 1, Prefix: prefix}) }},
		{"add a route", func() error { return c.AddRoute(ctx, route) }},
		{"set a route", func() error { return c.SetRoute(ctx, route) }},
		{"add a rule", func() error { return c.AddRule(ctx, rule) }},
		{"delete a rule", func() error { return c.DelRule(ctx, rule) }},
		{"delete a route", func() error { return c.DelRoute(ctx, route) }},
		{"delete an address", func() error { return c.DelAddr(ctx, rtnl.Addr{Index: 1, Prefix: prefix}) }},
		{"add a veth", func() error {
			l, err := c.AddLink(ctx, veth)
			if err == nil && l.Index != index("v0") {
				err = errors.New("another link")
			}
			return err
		}},
		{"move a link", func() error { return c.SetLink(ctx, &rtnl.LinkSpec{Index: index("v0"), NetNS: other.Fd()}) }},
		{"add a bridge", func() error {
			_, err := c.AddLink(ctx, &rtnl.LinkSpec{Name: "b0", Kind: "bridge", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}})
			return err
		}},
		{"delete a link", func() error {
			i := index("b0")
			congest(t, n, c)
			return c.DelLink(ctx, i)
		}},
	} {
		sent := c.Sent()
		congest(t, n, c)
		if err := tt.do(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if c.Sent() < sent+2 {
			t.Errorf("%s: %d messages, want one more when the first has no answer", tt.name, c.Sent()-sent)
		}
	}
	if _, err := there.LinkByName(ctx, "v0"); err != nil {
		t.Errorf("the veth that was moved: %v", err)
	}
	for _, name := range []string{"b0", "v0"} {
		if _, err := c.LinkByName(ctx, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want that it is gone", name, err)
		}
	}
}

// A full socket stops no list.
func TestConn_lostAnswer_list(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	c := open(t, n)
	const bridges = 100 // more than one part
	for i := range bridges {
		if _, err := c.AddLink(t.Context(), &rtnl.LinkSpec{Name: fmt.Sprint("b", i), Kind: "bridge"}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		congest(t, n, c)
		if all, err := c.Links(t.Context(), rtnl.LinkFilter{Kind: "bridge"}); err != nil || len(all) != bridges {
			t.Errorf("Links() = %d, %v, want %d", len(all), err, bridges)
		}
	}
}

// A removal whose answer is lost takes one route of those that match.
func TestConn_lostAnswer_routes(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	c := open(t, n)
	ctx := t.Context()
	if err := c.SetLink(ctx, &rtnl.LinkSpec{Index: 1, Up: rtnl.On}); err != nil {
		t.Fatal(err)
	}
	dst := netip.MustParsePrefix("10.9.0.0/16")
	for _, metric := range []uint32{1, 2} {
		if err := c.AddRoute(ctx, rtnl.Route{Index: 1, Dst: dst, Scope: rtnl.ScopeLink, Priority: metric}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct {
		left int
		err  error
	}{{1, unix.ENOBUFS}, {0, nil}, {0, nil}} {
		congest(t, n, c)
		if err := c.DelRoute(ctx, rtnl.Route{Dst: dst, Table: rtnl.TableMain}); !errors.Is(err, want.err) {
			t.Errorf("DelRoute = %v, want %v", err, want.err)
		}
		if left, err := c.Routes(ctx, rtnl.RouteFilter{Index: 1, Table: rtnl.TableMain, Family: rtnl.IPv4}); err != nil || len(left) != want.left {
			t.Errorf("routes left = %v, %v, want %d", left, err, want.left)
		}
	}
}

// A link that was there before is not taken for the one that was to be made.
func TestConn_lostAnswer_exists(t *testing.T) {
	t.Parallel()
	n, other := nstest.New(t), nstest.New(t)
	c, there := open(t, n), open(t, other)
	ctx := t.Context()
	for _, made := range []struct {
		conn *rtnl.Conn
		name string
	}{{c, "b0"}, {there, "v1"}} {
		if _, err := made.conn.AddLink(ctx, &rtnl.LinkSpec{Name: made.name, Kind: "bridge"}); err != nil {
			t.Fatal(err)
		}
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, s := range []*rtnl.LinkSpec{
		{Name: "b0", Kind: "bridge", MAC: mac},
		{Name: "b0", Kind: "bridge"},
		{Name: "v1", Kind: "bridge", MAC: mac, NetNS: other.Fd()},
		{Name: "v0", Kind: "veth", MAC: mac, Peer: &rtnl.LinkSpec{Name: "v1", NetNS: other.Fd()}},
	} {
		congest(t, n, c)
		if l, err := c.AddLink(ctx, s); !errors.Is(err, fs.ErrExist) {
			t.Errorf("AddLink(%s %s) = %v, %v, want that it exists", s.Kind, s.Name, l, err)
		}
	}
	if _, err := c.LinkByName(ctx, "v0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("v0: %v, want none", err)
	}
}

// A context that has ended ends the insisting, and a kernel's refusal is one at once.
func TestConn_lostAnswer_ends(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	c := open(t, n)
	congest(t, n, c)
	if err := c.DelLink(t.Context(), 4711); err != nil {
		t.Errorf("DelLink of none = %v, want nil: who was told nothing at first believes that it was there", err)
	}
	if err := c.DelLink(t.Context(), 4711); !errors.Is(err, unix.ENODEV) {
		t.Errorf("DelLink of none, answered = %v, want %v", err, unix.ENODEV)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	congest(t, n, c)
	if err := c.SetLink(ctx, &rtnl.LinkSpec{Index: 1, Up: rtnl.On}); !errors.Is(err, context.Canceled) {
		t.Errorf("SetLink = %v, want %v", err, context.Canceled)
	}
}
