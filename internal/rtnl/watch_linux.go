// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watch is a subscription: a socket on which the kernel tells what changes in the
// namespace the socket was made in. It is not for concurrent use.
type Watch struct {
	file *os.File
	buf  []byte
}

// Groups of news.
const (
	WatchLinks = unix.RTNLGRP_LINK
	WatchAddr6 = unix.RTNLGRP_IPV6_IFADDR
)

// OpenWatch makes a socket in the namespace of the calling thread and subscribes it to
// groups. What changes from then on is told, so the caller looks at the state after
// OpenWatch, and waits only if it is not what it should be.
func OpenWatch(groups ...int) (*Watch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, g := range groups {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
		}
	}
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that os.NewFile lets the runtime wait, not a thread
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("subscribe", err), unix.Close(fd))
	}
	return &Watch{file: os.NewFile(uintptr(fd), "netlink"), buf: make([]byte, recvSize)}, nil
}

// Close ends the subscription.
func (w *Watch) Close() error { return w.file.Close() }

// Wait waits until there is news, and throws it away: the caller looks at the state
// again, which is right also if the kernel had more to tell than the socket could
// hold. It returns the error of the context when that ends first.
func (w *Watch) Wait(ctx context.Context) error {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	if err := w.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// A deadline that has passed wakes the reader. It cannot fail but on a closed file,
		// which wakes the reader too.
		_ = w.file.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	var read error
	err = raw.Read(func(fd uintptr) (ready bool) {
		ready, read = w.drain(int(fd))
		return ready
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return errors.Join(err, read)
}

// drain reads all there is, and reports whether there was anything.
func (w *Watch) drain(fd int) (some bool, err error) {
	for {
		_, _, err := unix.Recvfrom(fd, w.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		switch err { //nolint:errorlint // a system call's own
		case unix.EINTR:
		case nil, unix.ENOBUFS:
			some = true
		case unix.EAGAIN:
			return some, nil
		default:
			return true, os.NewSyscallError("recvfrom", err)
		}
	}
}
