// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// socket is a netlink socket in the namespace that it was made in.
//
// It blocks, and the poller of the Go runtime does not know it: the kernel does the work
// while a request is being sent, so there is nothing to wait for. One buffer serves for all
// that comes. The library's socket is made for waiting, asks for its own name after each
// request, and has 64 KiB on the stack, to which a goroutine must grow first: together that
// is a tenth of the time of a process that asks a handful of questions.
type socket struct {
	fd  int // -1 once closed
	seq uint32
	buf []byte
}

// bufferSize is more than the kernel puts into one message, in bytes: a part of a list has
// at most 32 KiB.
// Source: https://github.com/torvalds/linux/blob/v6.12/net/netlink/af_netlink.c (netlink_recvmsg)
const bufferSize = 64 << 10

// attention is how long a wait lasts before the context is looked at.
const attention = 50 * time.Millisecond

// newSocket makes a socket in the namespace of the calling thread.
func newSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{fd: fd, buf: make([]byte, bufferSize)}
	if err := s.limit(attention); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *socket) close() {
	_ = unix.Close(s.fd) // nothing is lost with it
	s.fd = -1
}

// limit makes each wait last so long at most.
func (s *socket) limit(wait time.Duration) error {
	tv := unix.NsecToTimeval(wait.Nanoseconds())
	return os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
}

// exchange sends a request, and calls each with the body of every message that answers
// it until that fails. A body is good until each returns. A request with NLM_F_ACK is
// answered by an acknowledgement at the end, one with NLM_F_DUMP by a list, and others by
// one message. The error is [nl.ErrDumpInterrupted] if a list may be wrong, and
// errUnanswered if the kernel had no room for its answer.
func (s *socket) exchange(ctx context.Context, r *nl.NetlinkRequest, each func(body []byte) error) error {
	s.seq++
	r.Seq = s.seq
	if err := s.send(r.Serialize()); err != nil {
		return os.NewSyscallError("write", err)
	}
	a := answer{seq: r.Seq, acknowledged: r.Flags&unix.NLM_F_ACK != 0, each: each}
	receive := s.receive
	for !a.ended {
		data, err := receive(ctx)
		if errors.Is(err, unix.ENOBUFS) && !errors.Is(err, errUnanswered) {
			// It may be another message that was lost. What there is, is there already.
			receive = s.pending
			continue
		}
		if err == nil {
			err = a.read(data)
		}
		if err != nil {
			return err
		}
	}
	return a.result()
}

// send passes a request to the kernel, and again if a signal came first: nothing was sent
// then.
func (s *socket) send(request []byte) error {
	for {
		if _, err := unix.Write(s.fd, request); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// errUnanswered means that the kernel told that an answer is lost, for which it had no
// memory, or the socket no room. What was asked for may have been done or not.
var errUnanswered error = unansweredError{}

// unansweredError is the type of errUnanswered: fmt.Errorf would run at the start of each
// process.
type unansweredError struct{}

func (unansweredError) Error() string { return "the kernel's answer is lost: " + unix.ENOBUFS.Error() }
func (unansweredError) Unwrap() error { return unix.ENOBUFS }

// receive returns what the kernel sends next, which is good until the next call.
func (s *socket) receive(ctx context.Context) ([]byte, error) { return s.next(ctx, 0) }

// pending is receive without waiting. The error is errUnanswered if there is nothing.
func (s *socket) pending(ctx context.Context) ([]byte, error) {
	return s.next(ctx, unix.MSG_DONTWAIT)
}

// next receives with flags.
func (s *socket) next(ctx context.Context, flags int) ([]byte, error) {
	for {
		// With MSG_TRUNC the length is that of the message, even if it had no room.
		n, from, err := unix.Recvfrom(s.fd, s.buf, unix.MSG_TRUNC|flags)
		switch kernel, ok := from.(*unix.SockaddrNetlink); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if flags != 0 {
				return nil, errUnanswered
			}
		case err != nil:
			return nil, os.NewSyscallError("recvfrom", err)
		case !ok || kernel.Pid != nl.PidKernel: // any process may send to any socket
		case n > len(s.buf):
			return nil, fmt.Errorf("%d bytes at once: %w", n, errMalformed)
		default:
			return s.buf[:n], nil
		}
	}
}

// answer is what comes back for one request.
type answer struct {
	seq          uint32
	acknowledged bool // the end is an acknowledgement
	each         func(body []byte) error

	ended       bool
	interrupted bool
	bad         error // of each
}

// result returns the error of an answer that has ended.
func (a *answer) result() error {
	if a.interrupted {
		return errors.Join(nl.ErrDumpInterrupted, a.bad)
	}
	return a.bad
}

// read reads messages. What belongs to no answer of this request is passed over: one
// that a cancelled context cut short leaves its rest behind.
func (a *answer) read(data []byte) error {
	for len(data) > 0 && !a.ended {
		if len(data) < unix.NLMSG_HDRLEN {
			return errMalformed
		}
		h := nlHeader(data)
		if h.Len < unix.NLMSG_HDRLEN || uint64(h.Len) > uint64(len(data)) {
			return errMalformed
		}
		body := data[unix.NLMSG_HDRLEN:h.Len]
		data = data[min(aligned(int(h.Len)), len(data)):]
		if h.Seq != a.seq {
			continue
		}
		if err := a.message(h, body); err != nil {
			return err
		}
	}
	return nil
}

// message reads one message. Its error is the kernel's refusal.
func (a *answer) message(h unix.NlMsghdr, body []byte) error {
	a.interrupted = a.interrupted || h.Flags&unix.NLM_F_DUMP_INTR != 0
	switch {
	case h.Type == unix.NLMSG_DONE || h.Type == unix.NLMSG_ERROR:
		a.ended = true
		return refused(h, body)
	case h.Type < unix.NLMSG_MIN_TYPE:
		return nil // control messages, of which the kernel sends no others
	}
	a.ended = !a.acknowledged && h.Flags&unix.NLM_F_MULTI == 0
	if a.bad == nil {
		a.bad = a.each(body)
	}
	return nil
}

// refused returns the error that the last message of an answer tells, with the kernel's
// explanation if it has one.
//
// Kernel: struct nlmsgerr and NLMSGERR_ATTR_MSG; include/uapi/linux/netlink.h.
func refused(h unix.NlMsghdr, body []byte) error {
	if len(body) < 4 {
		if h.Type == unix.NLMSG_DONE {
			return nil // a list without a word about its end is fine
		}
		return errMalformed
	}
	errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
	if errno == 0 {
		return nil
	}
	e := &Error{Errno: errno, err: errno}
	if h.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return e
	}
	more := body[4:]
	if h.Type == unix.NLMSG_ERROR { // the request comes first, or its header alone
		if len(more) < unix.NLMSG_HDRLEN {
			return e
		}
		echo := unix.NLMSG_HDRLEN
		if h.Flags&unix.NLM_F_CAPPED == 0 {
			echo = aligned(int(nlHeader(more).Len))
		}
		more = more[min(max(echo, 0), len(more)):]
	}
	for typ, v := range attrs(more).all() {
		if typ == unix.NLMSGERR_ATTR_MSG {
			e.err = fmt.Errorf("%w: %s", errno, v.str())
		}
	}
	return e
}

// nlHeader reads the header of a message, which has to be there.
func nlHeader(b []byte) unix.NlMsghdr {
	return unix.NlMsghdr{
		Len:   binary.NativeEndian.Uint32(b),
		Type:  binary.NativeEndian.Uint16(b[4:]),
		Flags: binary.NativeEndian.Uint16(b[6:]),
		Seq:   binary.NativeEndian.Uint32(b[8:]),
		Pid:   binary.NativeEndian.Uint32(b[12:]),
	}
}

// aligned rounds the length of a message or an attribute up to where the next one begins.
func aligned(n int) int { return (n + 3) &^ 3 }
