// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"bytes"
	"context"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// insistence is how often a request is sent whose answer gets lost.
const insistence = 10

// insist sends a request, and once more when the kernel's answer is lost: it may have done
// what it was asked for or not, and who asked has to know, or it would leave behind what it
// believes not to be there. If again, the request was sent more than once.
//
// Kernel: the work is done when the answer is made, for which there may be no memory
// (netlink_ack), or no room in the socket (netlink_overrun); the next reading fails with
// ENOBUFS; net/netlink/af_netlink.c.
func (c *Conn) insist(ctx context.Context, r *request, each func(body []byte) error) (again bool, err error) {
	for attempt := 0; ; attempt++ {
		err := c.exchange(ctx, r, each)
		if !errors.Is(err, errUnanswered) || attempt+1 >= insistence {
			return attempt > 0, err
		}
		if e := pause(ctx, attempt); e != nil {
			return true, errors.Join(err, e)
		}
	}
}

// doneBefore reports whether the kernel's refusal of a request that was sent once more
// means that it was done the first time: what it was to make exists, what it was to remove
// is gone, or has moved to another namespace. That it was so all the time is not ruled out,
// but takes that the first answer, which said so, was the one that got lost.
func (r *request) doneBefore(err error) bool {
	switch {
	case r.Flags&unix.NLM_F_EXCL != 0:
		return errors.Is(err, fs.ErrExist)
	case r.removes() || r.moves:
		return errors.Is(err, fs.ErrNotExist)
	}
	return false
}

// removes reports whether a request removes something: the types of rtnetlink come in
// groups of four, of which the second is that.
func (r *request) removes() bool { return r.Type%4 == unix.RTM_DELLINK%4 }

// isOf reports whether l is the link that s makes, as far as that can be told apart from one
// that was there before: by its hardware address, which is chosen at random.
func (l *Link) isOf(s *LinkSpec) bool {
	return l.Kind == s.Kind && len(s.MAC) > 0 && bytes.Equal(l.MAC, s.MAC)
}
