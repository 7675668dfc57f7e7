// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/internal/rtnl"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// open opens a conversation about the namespace n.
func open(t testing.TB, n *nstest.NS) *rtnl.Conn {
	t.Helper()
	var c *rtnl.Conn
	n.Do(t, func() {
		var err error
		if c, err = rtnl.Open(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return c
}

func TestConn_Close(t *testing.T) {
	t.Parallel()
	c := open(t, nstest.New(t))
	if err := c.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := c.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close = %v, want %v", err, os.ErrClosed)
	}
	if _, err := c.LinkByName(t.Context(), "lo"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("LinkByName after Close = %v, want %v", err, os.ErrClosed)
	}
}

func TestConn_Cancelled(t *testing.T) {
	t.Parallel()
	c := open(t, nstest.New(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.LinkByName(ctx, "lo"); !errors.Is(err, context.Canceled) {
		t.Errorf("LinkByName = %v, want %v", err, context.Canceled)
	}
	if sent := c.Sent(); sent != 0 {
		t.Errorf("messages sent after the end of the context = %d, want 0", sent)
	}
}

// What another process sends to the socket is no answer, and a context that ends while
// nothing comes ends the wait.
func TestWatch_Forged(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	var w *rtnl.Watch
	n.Do(t, func() {
		var err error
		if w, err = rtnl.OpenWatch(rtnl.WatchLinks); err != nil {
			t.Fatal(err)
		}
		from, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Sendto(from, make([]byte, unix.NLMSG_HDRLEN), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: w.Port(t)}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Close(from); err != nil {
			t.Fatal(err)
		}
	})
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel) // a context without a deadline
	if err := w.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want %v", err, context.Canceled)
	}
}

// The kernel's refusals are the standard errors, and keep their number and explanation.
func TestConn_Errors(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	_, byName := c.LinkByName(ctx, "missing")
	_, byAltName := c.LinkByName(ctx, "a-name-too-long-for-an-interface")
	_, byIndex := c.LinkByIndex(ctx, 4711)
	_, exists := c.AddLink(ctx, &rtnl.LinkSpec{Name: "lo", Kind: "bridge"})
	_, kind := c.AddLink(ctx, &rtnl.LinkSpec{Name: "x", Kind: "no-such-kind"})
	tests := []struct {
		name      string
		err, want error
		errno     unix.Errno
	}{
		{"name", byName, fs.ErrNotExist, unix.ENODEV},
		{"alternative name", byAltName, fs.ErrNotExist, unix.ENODEV},
		{"index", byIndex, fs.ErrNotExist, unix.ENODEV},
		{"exists", exists, fs.ErrExist, unix.EEXIST},
		{"unknown kind", kind, errors.ErrUnsupported, unix.EOPNOTSUPP},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) || !errors.Is(tt.err, tt.errno) {
			t.Errorf("%s: %v, want %v, of %v", tt.name, tt.err, tt.want, tt.errno)
		}
	}
	if !strings.Contains(byName.Error(), "missing") {
		t.Errorf("%q does not name the link", byName)
	}
	if want := "Unknown device type"; !strings.Contains(kind.Error(), want) {
		t.Errorf("%q does not hold the kernel's explanation %q", kind, want)
	}
}

// Goroutines take turns, and each gets the answer to its own question.
func TestConn_Concurrent(t *testing.T) {
	t.Parallel()
	c := open(t, nstest.New(t))
	br, err := c.AddLink(t.Context(), &rtnl.LinkSpec{Name: "br0", Kind: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, want := range []int{1, br.Index, 1, br.Index} {
		group.Go(func() {
			for range 200 {
				l, err := c.LinkByIndex(t.Context(), want)
				if err != nil || l.Index != want {
					t.Errorf("LinkByIndex(%d) = %+v, %v", want, l, err)
					return
				}
				if _, err := c.LinkByIndex(t.Context(), 4711); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("LinkByIndex(4711) = %v", err)
				}
			}
		})
	}
	group.Wait()
}

// A list is right although links come and go while it is made: bridges that are there
// all the time are in each list, once.
func TestConn_Links_Interrupted(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	c, churn := open(t, n), open(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	const stay = 60
	for i := range stay {
		if _, err := c.AddLink(ctx, &rtnl.LinkSpec{Name: "stay" + string(rune('A'+i)), Kind: "bridge"}); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			l, err := churn.AddLink(ctx, &rtnl.LinkSpec{Name: "churn", Kind: "bridge"})
			if err == nil {
				err = churn.DelLink(ctx, l.Index)
			}
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for range 50 {
		links, err := c.Links(ctx, rtnl.LinkFilter{Kind: "bridge"})
		if err != nil {
			t.Fatal(err)
		}
		count := make(map[string]int)
		for _, l := range links {
			if strings.HasPrefix(l.Name, "stay") {
				count[l.Name]++
			}
		}
		if len(count) != stay {
			t.Errorf("links listed = %d, want %d", len(count), stay)
		}
		for name, times := range count {
			if times != 1 {
				t.Errorf("link %s listed %d times, want once", name, times)
			}
		}
	}
	cancel()
	group.Wait()
}

func TestWatch(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	c := open(t, n)
	var w *rtnl.Watch
	n.Do(t, func() {
		var err error
		if w, err = rtnl.OpenWatch(rtnl.WatchLinks); err != nil {
			t.Fatal(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := w.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait without news = %v, want %v", err, context.DeadlineExceeded)
	}
	// An ended wait does not spoil the next one.
	if _, err := c.AddLink(t.Context(), &rtnl.LinkSpec{Name: "br0", Kind: "bridge"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.Wait(ctx); err != nil {
		t.Errorf("Wait with news = %v", err)
	}
	w.Close()
	if err := w.Wait(t.Context()); err == nil {
		t.Error("Wait after Close = nil, want an error")
	}
}
