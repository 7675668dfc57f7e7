// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Watch is a subscription: a socket on which the kernel tells what changes in the
// namespace the socket was made in. It is not for concurrent use.
type Watch struct {
	socket *nl.NetlinkSocket
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
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return &Watch{socket: s}, nil
}

// Close ends the subscription.
func (w *Watch) Close() { w.socket.Close() }

// Wait waits until there is news, and throws it away: the caller looks at the state
// again, which is right also if the kernel had more to tell than the socket could
// hold. It returns the error of the context when that ends first.
func (w *Watch) Wait(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		// The library knows time limits but no contexts, so a cancelled one is noticed
		// after a while only.
		if err := w.limit(ctx); err != nil {
			return err
		}
		_, _, err := w.socket.Receive()
		switch {
		case err == nil, errors.Is(err, unix.ENOBUFS):
			return nil
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for news: %w", err)
		}
	}
}

// limit makes the next Receive last no longer than the context, and never long.
func (w *Watch) limit(ctx context.Context) error {
	wait := 50 * time.Millisecond
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(min(wait, time.Until(deadline)), time.Millisecond)
	}
	tv := unix.NsecToTimeval(wait.Nanoseconds())
	return w.socket.SetReceiveTimeout(&tv)
}
