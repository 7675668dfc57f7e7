// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ErrMalformed is the error of messages that are no messages.
var ErrMalformed = errMalformed

// UntilConsistent is how a list is asked for until it is right.
func UntilConsistent(ctx context.Context, list func() error) error {
	return untilConsistent(ctx, list)
}

// NextAtOnce is how many links are removed at once after so many took so long.
func NextAtOnce(atOnce int, took time.Duration) int { return nextAtOnce(atOnce, took) }

// DecodeAll decodes the body of a message in every way there is.
func DecodeAll(body []byte) {
	_, _ = parseLink(body)
	_, _ = parseAddr(body)
	_, _ = parseRoute(body)
	_, _ = parseRule(body)
	_, _ = parseNeigh(body)
	_ = parseVLANs(body)
}

// ReadAnswer reads what the kernel sent for a request, and returns the bodies and whether
// the answer has ended.
func ReadAnswer(seq uint32, acknowledged bool, data []byte) (bodies [][]byte, ended bool, err error) {
	a := answer{seq: seq, acknowledged: acknowledged, each: func(body []byte) error {
		bodies = append(bodies, bytes.Clone(body))
		return nil
	}}
	if err := a.read(data); err != nil {
		return bodies, a.ended, err
	}
	return bodies, a.ended, a.result()
}

// Attributes returns type and length of each attribute.
func Attributes(b []byte) (list [][2]int) {
	for typ, v := range attrs(b).all() {
		list = append(list, [2]int{typ, len(v)})
	}
	return list
}

// Port returns the number of the socket.
func (w *Watch) Port(t testing.TB) uint32 {
	t.Helper()
	name, err := unix.Getsockname(w.socket.fd)
	if err != nil {
		t.Fatal(err)
	}
	return name.(*unix.SockaddrNetlink).Pid
}

// Congest fills the socket, so that the kernel has no room for its next answer. The calling
// thread is in the namespace of the socket.
func (c *Conn) Congest(t testing.TB) {
	t.Helper()
	name, err := unix.Getsockname(c.socket.fd)
	if err == nil && name.(*unix.SockaddrNetlink).Pid == 0 {
		err = unix.Bind(c.socket.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) // as the first request does
		if err == nil {
			name, err = unix.Getsockname(c.socket.fd)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	from, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = unix.Sendto(from, make([]byte, unix.NLMSG_HDRLEN), unix.MSG_DONTWAIT, name) // no larger than an answer
	}
	if err := errors.Join(unix.Close(from), ignore(err, unix.EAGAIN)); err != nil {
		t.Fatal(err)
	}
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
