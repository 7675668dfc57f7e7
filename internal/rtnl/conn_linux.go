// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"encoding/binary"
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
	socket *nl.SocketHandle // nil once closed
	sent   int              // messages, for who wants to know what an operation costs
}

// Open makes a socket in the namespace of the calling thread, where it stays.
func Open() (*Conn, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to nothing
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// Both options only add something: an explanation, and a filter. A kernel without one
	// of them answers all the same, so their errors do not matter.
	_ = s.SetExtAck(true)
	_ = unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &Conn{socket: &nl.SocketHandle{Socket: s}}, nil
}

// Close closes the socket. A second call fails with [os.ErrClosed].
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket == nil {
		return fmt.Errorf("close netlink socket: %w", os.ErrClosed)
	}
	c.socket.Close()
	c.socket = nil
	return nil
}

// Sent returns how many messages were sent so far.
func (c *Conn) Sent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// begin readies r for the socket, with c locked.
func (c *Conn) begin(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.socket == nil {
		return fmt.Errorf("netlink socket: %w", os.ErrClosed)
	}
	r.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: c.socket}
	c.sent++
	return nil
}

// execute sends a request and waits until it is acknowledged.
func (c *Conn) execute(ctx context.Context, r *request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Flags |= unix.NLM_F_ACK
	if err := c.begin(ctx, r); err != nil {
		return err
	}
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	return refusal(err)
}

// get sends a request that is answered by one message, without an acknowledgement.
func (c *Conn) get(ctx context.Context, r *request, answer func(body []byte) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.begin(ctx, r); err != nil {
		return err
	}
	bodies, err := r.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return refusal(err)
	}
	if len(bodies) == 0 {
		return errMalformed
	}
	return answer(bodies[0])
}

// create sends a request to make something and waits until it is acknowledged. If the
// kernel tells what it made, that goes to made.
//
// The library ends an exchange with the first message that is no part of a list, which
// here is the one that tells. The acknowledgement comes after it, and is an error if
// something failed at the very end, so it has to be read all the same.
func (c *Conn) create(ctx context.Context, r *request, made func(body []byte) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Flags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL | unix.NLM_F_ECHO | unix.NLM_F_ACK
	if err := c.begin(ctx, r); err != nil {
		return err
	}
	bodies, err := r.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil || len(bodies) == 0 {
		return refusal(err)
	}
	if err := c.acknowledged(r.Seq); err != nil {
		return err
	}
	return made(bodies[0])
}

// acknowledged reads until the acknowledgement of request number seq.
func (c *Conn) acknowledged(seq uint32) error {
	for {
		msgs, from, err := c.socket.Socket.Receive()
		if err != nil {
			return err
		}
		for _, m := range msgs {
			if from.Pid != nl.PidKernel || m.Header.Seq != seq || m.Header.Type != unix.NLMSG_ERROR {
				continue
			}
			if len(m.Data) < 4 {
				return errMalformed
			}
			if errno := -int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
				return refusal(unix.Errno(errno))
			}
			return nil
		}
	}
}

// dump sends a request for a list, again and again until the kernel gives one that did
// not change meanwhile. begin is called before each attempt, to forget the last one.
func (c *Conn) dump(ctx context.Context, r *request, begin func(), each func(body []byte) error) error {
	r.Flags |= unix.NLM_F_DUMP
	return untilConsistent(ctx, func() error {
		begin()
		return c.list(ctx, r, each)
	})
}

// list sends a request for a list once. The error is [nl.ErrDumpInterrupted] if what
// came may be wrong.
func (c *Conn) list(ctx context.Context, r *request, each func(body []byte) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.begin(ctx, r); err != nil {
		return err
	}
	var bad error
	err := r.ExecuteIter(unix.NETLINK_ROUTE, 0, func(body []byte) bool {
		bad = each(body)
		return bad == nil
	})
	return errors.Join(refusal(err), bad)
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
