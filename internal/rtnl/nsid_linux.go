// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// NSID asks by which number the namespace of the socket knows the namespace that fd is
// open on, which is how links name the namespace of a peer. It is -1 if no link leads
// there.
func (c *Conn) NSID(ctx context.Context, fd int) (int, error) {
	r := newRequest(unix.RTM_GETNSID, 0, nl.NewRtGenMsg())
	r.u32(unix.NETNSA_FD, uint32(fd))
	id := -1
	err := c.get(ctx, r, func(body []byte) error {
		_, attrs, err := cut(body, nl.NewRtGenMsg().Len(), nl.DeserializeRtGenMsg)
		for typ, v := range attrs.all() {
			if typ == unix.NETNSA_NSID {
				id = v.index()
			}
		}
		return err
	})
	return id, err
}
