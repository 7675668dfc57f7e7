// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watch is a subscription: a socket on which the kernel tells what changes in the
// namespace the socket was made in. It is not for concurrent use.
type Watch struct {
	socket *socket
}

// Groups of news.
const (
	WatchLinks = unix.RTNLGRP_LINK
	WatchAddr6 = unix.RTNLGRP_IPV6_IFADDR
)

// OpenWatch makes a socket in the namespace of the calling thread and subscribes it to
// groups. What changes from then on is told, so the caller looks at the state after
// OpenWatch, and waits only if it is not what it should be.
func OpenWatch(groups ...uint) (*Watch, error) {
	s, err := newSocket()
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	var mask uint32
	for _, group := range groups {
		mask |= 1 << (group - 1)
	}
	if err := unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: mask}); err != nil {
		s.close()
		return nil, fmt.Errorf("subscribe: %w", os.NewSyscallError("bind", err))
	}
	return &Watch{socket: s}, nil
}

// Close ends the subscription.
func (w *Watch) Close() { w.socket.close() }

// Wait waits until there is news, and throws it away: the caller looks at the state
// again, which is right also if the kernel had more to tell than the socket could
// hold. It returns the error of the context when that ends first.
func (w *Watch) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wait := attention
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(min(wait, time.Until(deadline)), time.Millisecond)
	}
	if err := w.socket.limit(wait); err != nil {
		return fmt.Errorf("wait for news: %w", err)
	}
	_, err := w.socket.receive(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("wait for news: %w", err)
	}
	return ctx.Err()
}
