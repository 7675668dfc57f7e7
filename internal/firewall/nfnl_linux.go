// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The netfilter netlink protocol: a netlink header, then the family, version and
// resource of nfgenmsg, then attributes. The type of a message is a subsystem and a
// command.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netfilter/nfnetlink.h
const messageHeader = unix.SizeofNlMsghdr + 4

// receiveBytes is the room for one datagram. The kernel makes the parts of a dump as
// large as the buffer of the previous read, up to this; so a larger one saves calls.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/net/netlink/af_netlink.c#L2250
const receiveBytes = 32 << 10

// receiveTimeout bounds the wait for an answer, which the kernel normally has ready
// when the request returns. After it the error is [os.ErrDeadlineExceeded].
const receiveTimeout = 30 * time.Second

// errChanged means that what was read was changed by somebody else.
var errChanged = errors.New("the ruleset changed meanwhile")

// errLost means that the kernel had no memory for an answer, or the socket no room. What was
// asked for may have been done or not.
//
// Kernel: nfnl_err_deliver and netlink_ack; net/netfilter/nfnetlink.c, net/netlink/af_netlink.c.
var errLost error = lostError{}

// lostError is the type of errLost: fmt.Errorf would run at the start of each process.
type lostError struct{}

func (lostError) Error() string { return "the kernel's answer is lost: " + unix.ENOBUFS.Error() }
func (lostError) Unwrap() error { return unix.ENOBUFS }

// insistence is how often a request is sent whose answer gets lost.
const insistence = 10

// request is one netfilter netlink message.
type request struct {
	typ    uint16 // subsystem<<8 | command
	flags  uint16 // beyond NLM_F_REQUEST
	family uint8
	attrs  attrs
	table  table // that it changes, for errors
}

// reply is one message that the kernel answered with.
type reply struct {
	typ    uint16
	family uint8
	attrs  []byte // valid during the call only
}

// conn is a netfilter netlink socket. It belongs to the network namespace of the
// thread that opened it, whichever thread uses it later. Its methods may be called
// concurrently and take turns.
type conn struct {
	mu  sync.Mutex
	fd  int
	seq uint32
	buf []byte

	noNAT  bool   // for tests: as if the kernel had no NAT in nf_tables
	looked func() // for tests: called, if not nil, between the look of GC, or of ADD with ipset, and what it does then

	sending func() // for tests: called, if not nil, before a message is sent
}

// dial opens a socket in the network namespace of the calling thread.
func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
		err = fmt.Errorf("%w: the kernel has no netfilter: %w", errors.ErrUnsupported, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open netfilter socket: %w", err)
	}
	c := &conn{fd: fd, buf: make([]byte, receiveBytes)}
	err = errors.Join(
		c.limit(receiveTimeout),
		// An error then comes without a copy of the request, however long that was.
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up netfilter socket: %w", err), c.close())
	}
	runtime.SetFinalizer(c, func(c *conn) { _ = c.close() }) // for callers that forget
	return c, nil
}

// limit makes each wait for an answer last so long at most.
func (c *conn) limit(wait time.Duration) error {
	timeout := unix.NsecToTimeval(wait.Nanoseconds())
	return unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
}

// letTestAct lets a test do something behind the back of who has just looked.
func (c *conn) letTestAct() {
	if c.looked != nil {
		c.looked()
	}
}

// close lets go of the socket. It may be called twice.
func (c *conn) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	err := unix.Close(c.fd)
	c.fd = -1
	runtime.SetFinalizer(c, nil)
	return err
}

// marshal returns r as a netlink message.
func (r *request) marshal(seq uint32) []byte {
	var b []byte
	n := messageHeader + len(r.attrs)
	b = binary.NativeEndian.AppendUint32(b, uint32(n))
	b = binary.NativeEndian.AppendUint16(b, r.typ)
	b = binary.NativeEndian.AppendUint16(b, r.flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0) // port: the kernel
	b = append(b, r.family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, 0) // resource
	return append(append(b, r.attrs...), make([]byte, padding(n))...)
}

// do sends one request and calls f for each message of the answer. With NLM_F_DUMP among
// the flags the answer is a list; one that the kernel says was changed while it was being
// made is errChanged, after f saw some of it. Otherwise it is one message. If f is nil the
// kernel is asked to say that all went well, as it does not by itself when it changes
// something.
//
// A request whose answer gets lost is sent again, but for a list, of which f saw some: that is
// errLost. What is changed one by one is changed by who agrees if it was done before.
func (c *conn) do(r request, f func(reply) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f == nil {
		r.flags |= unix.NLM_F_ACK
	}
	ask := func() error {
		c.seq++
		if err := c.send(r.marshal(c.seq)); err != nil {
			return err
		}
		return c.receive(c.seq, f != nil && r.flags&unix.NLM_F_DUMP == 0, f)
	}
	if r.flags&unix.NLM_F_DUMP != 0 {
		return ask()
	}
	return insist(ask)
}

// insist asks until an answer is not lost.
func insist(ask func() error) (err error) {
	for range insistence {
		if err = ask(); !errors.Is(err, errLost) {
			break
		}
	}
	return err
}

// send passes messages to the kernel, which works on them before it returns.
func (c *conn) send(b []byte) error {
	if c.sending != nil {
		c.sending()
	}
	for {
		err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return err
		}
	}
}

// An inbox reads what the kernel answers to one request.
type inbox struct {
	*conn
	lossy bool // something was lost
}

// read returns the next datagram, in the buffer of the conn. The error is errLost if the
// answer, or the rest of it, is not to come: what there is, is there when the request was sent.
func (i *inbox) read() ([]byte, error) {
	c, flags := i.conn, unix.MSG_TRUNC
	for {
		if i.lossy {
			flags |= unix.MSG_DONTWAIT
		}
		n, _, err := unix.Recvfrom(c.fd, c.buf, flags)
		switch {
		case err == unix.EINTR:
		case err == unix.ENOBUFS:
			i.lossy = true // it may be another message that was lost
		case err == unix.EAGAIN && i.lossy:
			return nil, errLost
		case err == unix.EAGAIN:
			return nil, fmt.Errorf("netfilter does not answer: %w", os.ErrDeadlineExceeded)
		case err != nil:
			return nil, err
		case n > len(c.buf):
			return nil, fmt.Errorf("netfilter message of %d bytes: %w", n, unix.EMSGSIZE)
		default:
			return c.buf[:n], nil
		}
	}
}

// receive reads the answer to request seq to its end. A single message is its own end.
func (c *conn) receive(seq uint32, single bool, f func(reply) error) error {
	var failed error
	interrupted := false
	in := inbox{conn: c}
	for {
		b, err := in.read()
		if err != nil {
			return err
		}
		end := false
		err = eachMessage(b, func(h unix.NlMsghdr, payload []byte) error {
			if h.Seq != seq {
				return nil // the rest of an answer that was given up
			}
			switch h.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				end = true
				// A change during the first datagram shows in no other place.
				interrupted = interrupted || h.Flags&unix.NLM_F_DUMP_INTR != 0
				return errnoOf(payload)
			}
			end = single
			interrupted = interrupted || h.Flags&unix.NLM_F_DUMP_INTR != 0
			if f == nil || failed != nil || len(payload) < 4 {
				return nil
			}
			failed = f(reply{typ: h.Type, family: payload[0], attrs: payload[4:]})
			return nil
		})
		switch {
		case err != nil:
			return err
		case end && failed != nil:
			return failed
		case end && interrupted:
			return errChanged
		case end:
			return nil
		}
	}
}

// eachMessage calls f with the header and payload of each netlink message in b.
func eachMessage(b []byte, f func(h unix.NlMsghdr, payload []byte) error) error {
	for len(b) >= unix.SizeofNlMsghdr {
		h := unix.NlMsghdr{
			Len:   binary.NativeEndian.Uint32(b),
			Type:  binary.NativeEndian.Uint16(b[4:]),
			Flags: binary.NativeEndian.Uint16(b[6:]),
			Seq:   binary.NativeEndian.Uint32(b[8:]),
		}
		n := int(h.Len)
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return errTruncated
		}
		if err := f(h, b[unix.SizeofNlMsghdr:n]); err != nil {
			return err
		}
		b = b[min(n+padding(n), len(b)):]
	}
	return nil
}

// errnoOf returns the error in the payload of NLMSG_ERROR or NLMSG_DONE, nil if it is
// zero.
func errnoOf(payload []byte) error {
	if len(payload) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(payload)); n < 0 {
		return unix.Errno(-n)
	}
	return nil
}

// retries bounds how often an interrupted list or a lost race is tried again.
const retries = 100

// retry calls f, which looks before it changes anything, until it returns something else
// than errChanged or errLost, with a short and growing pause, and gives up when ctx ends.
func retry(ctx context.Context, f func() error) (err error) {
	for i := range retries {
		err = f()
		if !errors.Is(err, errChanged) && !errors.Is(err, errLost) {
			return err
		}
		if i < 4 {
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(time.Duration(min(i, 20)) * 100 * time.Microsecond):
		}
	}
	return fmt.Errorf("given up after %d attempts: %w: %w", retries, os.ErrDeadlineExceeded, err)
}
