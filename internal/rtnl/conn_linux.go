// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// recvSize is the size of the receive buffer. The kernel fills at most 32 KiB per
// datagram of a dump, and less when the reader's buffer is smaller.
// Source: https://github.com/torvalds/linux/blob/v6.12/net/netlink/af_netlink.c (netlink_recvmsg)
const recvSize = 32 << 10

// Conn is a conversation with the kernel over one socket, about the namespace that
// the socket was made in. Requests of several goroutines take turns.
type Conn struct {
	mu  sync.Mutex
	fd  int // -1 once closed
	seq uint32
	buf []byte // made for the first answer

	sent, received int // datagrams, for who wants to know what an operation costs
}

// Open makes a socket in the namespace of the calling thread.
func Open() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return NewConn(fd), nil
}

// NewConn takes over a netlink socket, see [SocketArgs].
func NewConn(fd int) *Conn {
	// Each option only adds something: an explanation, less to copy, a filter. A kernel
	// without one of them answers all the same, so their errors do not matter.
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK, unix.NETLINK_GET_STRICT_CHK} {
		_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1)
	}
	return &Conn{fd: fd, seq: 1}
}

// SocketArgs are the arguments of socket(2) for a socket that [NewConn] can take over.
func SocketArgs() (domain, typ, proto int) {
	return unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE
}

// Close closes the socket. A second call fails with [os.ErrClosed].
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return fmt.Errorf("close netlink socket: %w", os.ErrClosed)
	}
	fd := c.fd
	c.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}

// Exchanged returns how many datagrams were sent and received so far.
func (c *Conn) Exchanged() (sent, received int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.received
}

// answer takes a message that the kernel sends before the end of an exchange.
type answer func(message) error

// execute sends a request and waits until it is acknowledged. What the kernel sends
// before that goes to each, which may be nil.
func (c *Conn) execute(ctx context.Context, r *request, each answer) error {
	r.addFlags(unix.NLM_F_ACK)
	_, err := c.exchange(ctx, r, &reader{each: each})
	return err
}

// get sends a request that is answered by one message, without an acknowledgement.
func (c *Conn) get(ctx context.Context, r *request, each answer) error {
	_, err := c.exchange(ctx, r, &reader{each: each, single: true})
	return err
}

// dump sends a request for a list, again and again until the kernel gives one that did
// not change meanwhile. begin is called before each attempt, to forget the last one.
func (c *Conn) dump(ctx context.Context, r *request, begin func(), each answer) error {
	r.addFlags(unix.NLM_F_DUMP)
	return untilConsistent(ctx, func() (bool, error) {
		begin()
		return c.exchange(ctx, r, &reader{each: each})
	})
}

// untilConsistent calls list until it does not report an interruption.
func untilConsistent(ctx context.Context, list func() (interrupted bool, err error)) error {
	for attempt := 0; ; attempt++ {
		interrupted, err := list()
		if err != nil || !interrupted {
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

// exchange sends a request and reads up to its end. It reports whether the kernel
// declared a list inconsistent.
func (c *Conn) exchange(ctx context.Context, r *request, in *reader) (interrupted bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return false, fmt.Errorf("netlink socket: %w", os.ErrClosed)
	}
	c.seq++
	in.seq = c.seq
	if err := c.send(r.finish(c.seq)); err != nil {
		return false, err
	}
	for !in.done {
		// The kernel has answered, at least in part, when send returns. So this does not
		// block beyond the time it takes to write the rest of a list.
		buf, err := c.receive()
		if err != nil {
			return false, err
		}
		if err := in.read(buf); err != nil {
			return false, err
		}
	}
	return in.interrupted, in.err
}

// send sends one message to the kernel.
func (c *Conn) send(buf []byte) error {
	c.sent++
	for {
		err := unix.Sendto(c.fd, buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR { //nolint:errorlint // a system call's own, never wrapped
			return os.NewSyscallError("sendto", err)
		}
	}
}

// receive returns the next datagram of the kernel, which is good until the next call.
func (c *Conn) receive() ([]byte, error) {
	if c.buf == nil {
		c.buf = make([]byte, recvSize)
	}
	return receive(c.fd, c.buf, &c.received)
}

// receive reads a datagram of the kernel from fd into buf.
func receive(fd int, buf []byte, count *int) ([]byte, error) {
	for {
		n, from, err := unix.Recvfrom(fd, buf, unix.MSG_TRUNC)
		if err == unix.EINTR { //nolint:errorlint // a system call's own, never wrapped
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		*count++
		// Only the kernel has port 0; other processes may send to a socket, too.
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue
		}
		if n > len(buf) {
			return nil, fmt.Errorf("netlink message of %d bytes: %w", n, unix.EMSGSIZE)
		}
		return buf[:n], nil
	}
}

// reader makes sense of the datagrams that answer one request.
type reader struct {
	seq    uint32
	each   answer // may be nil
	single bool   // one message answers the request, and nothing ends the answer

	done        bool
	interrupted bool
	err         error // the first error of the kernel or of each
}

// read reads a datagram. Its error says that the conversation is broken.
func (r *reader) read(buf []byte) error {
	for len(buf) > 0 && !r.done {
		m, rest, err := split(buf)
		if err != nil {
			return err
		}
		buf = rest
		if m.Seq == r.seq { // others are the rest of an exchange that was given up
			r.message(m)
		}
	}
	return nil
}

func (r *reader) message(m message) {
	r.interrupted = r.interrupted || m.Flags&unix.NLM_F_DUMP_INTR != 0
	switch m.Type {
	case unix.NLMSG_NOOP:
	case unix.NLMSG_ERROR:
		r.done = true
		r.fail(parseError(m))
	case unix.NLMSG_DONE:
		r.done = true
		r.fail(parseDone(m))
	default:
		r.done = r.single
		if r.each != nil && r.err == nil {
			r.fail(r.each(m))
		}
	}
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Address families, as the kernel numbers them.
const (
	IPv4 = unix.AF_INET
	IPv6 = unix.AF_INET6
)
