// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Conn is a conversation with the kernel over one socket, about the namespace that
// the socket was made in. Requests of several goroutines take turns.
type Conn struct {
	mu     sync.Mutex
	socket *socket // nil once closed
	sent   int     // messages, for who wants to know what an operation costs
}

// Open makes a socket in the namespace of the calling thread, where it stays.
func Open() (*Conn, error) {
	s, err := newSocket()
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// Both options only add something: an explanation, and a filter. A kernel without one
	// of them answers all the same, so their errors do not matter.
	for _, option := range [...]int{unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK} {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, option, 1)
	}
	return &Conn{socket: s}, nil
}

// Close closes the socket. A second call fails with [os.ErrClosed].
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket == nil {
		return fmt.Errorf("close netlink socket: %w", os.ErrClosed)
	}
	c.socket.close()
	c.socket = nil
	return nil
}

// Sent returns how many messages were sent so far.
func (c *Conn) Sent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// exchange sends a request and reads what answers it; see [socket.exchange].
func (c *Conn) exchange(ctx context.Context, r *request, each func(body []byte) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.socket == nil {
		return fmt.Errorf("netlink socket: %w", os.ErrClosed)
	}
	c.sent++
	return c.socket.exchange(ctx, r.NetlinkRequest, each)
}

// execute sends a request and waits until it is acknowledged.
func (c *Conn) execute(ctx context.Context, r *request) error {
	r.Flags |= unix.NLM_F_ACK
	again, err := c.insist(ctx, r, func([]byte) error { return nil })
	if again && r.doneBefore(err) {
		return nil
	}
	return err
}

// get sends a request that is answered by one message, without an acknowledgement.
func (c *Conn) get(ctx context.Context, r *request, answer func(body []byte) error) error {
	got := false
	_, err := c.insist(ctx, r, func(body []byte) error {
		got = true
		return answer(body)
	})
	if err == nil && !got {
		return errMalformed
	}
	return err
}

// create sends a request to make something and waits until it is acknowledged. If the
// kernel tells what it made, that goes to made, and counts only with the acknowledgement,
// which is an error if something failed at the very end. If again, the request was sent
// more than once, and the thing that exists may be what it made at first.
func (c *Conn) create(ctx context.Context, r *request, made func(body []byte) error) (again bool, err error) {
	r.Flags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL | unix.NLM_F_ECHO | unix.NLM_F_ACK
	return c.insist(ctx, r, made)
}

// dump sends a request for a list, again and again until the kernel gives one that did
// not change meanwhile. begin is called before each attempt, to forget the last one.
//
// A full socket stops no list: the kernel goes on with it when there is room. A part that it
// has no memory for is an error: it neither goes on then nor begins another list on that
// socket.
//
// Kernel: netlink_recvmsg and netlink_dump; net/netlink/af_netlink.c.
func (c *Conn) dump(ctx context.Context, r *request, begin func(), each func(body []byte) error) error {
	r.Flags |= unix.NLM_F_DUMP
	return untilConsistent(ctx, func() error {
		begin()
		return c.exchange(ctx, r, each)
	})
}

// untilConsistent calls list until it is not interrupted.
func untilConsistent(ctx context.Context, list func() error) error {
	for attempt := 0; ; attempt++ {
		if err := list(); !errors.Is(err, nl.ErrDumpInterrupted) {
			return err
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// pause waits before another attempt: not at all at first, since an interruption says
// only that something changed, then longer, so that changes can come to an end.
func pause(ctx context.Context, attempt int) error {
	if attempt < 3 {
		return ctx.Err()
	}
	t := time.NewTimer(min(time.Duration(attempt)*time.Millisecond, 20*time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Address families, as the kernel numbers them.
const (
	IPv4 = unix.AF_INET
	IPv6 = unix.AF_INET6
)
