// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// Sent returns how many messages c has sent to the kernel.
func Sent(c *Conn) int { return c.rt.Sent() }

// Announcement is the packet that announces ip.
func Announcement(link *Link, ip netip.Addr) []byte {
	_, packet := announcement(link, ip)
	return packet
}

// PlanVLANs says in words which VLANs a port that is in some must leave and enter. The
// access VLAN has a star.
func PlanVLANs(have []int, want PortVLANs) (drop, add string) {
	var ranges []rtnl.VLANs
	for _, id := range have {
		ranges = append(ranges, rtnl.VLANs{First: id, Last: id})
	}
	d, a := planVLANs(ranges, want)
	return vlanWords(d), vlanWords(a)
}

// MissingVLANs compares the VLANs that a port is in with those that it should be in.
func MissingVLANs(have []VLAN, want PortVLANs) error { return missingVLANs(have, want).err("port") }

func vlanWords(ranges []rtnl.VLANs) string {
	var words []string
	for _, r := range ranges {
		w := fmt.Sprint(r.First)
		if r.Last != r.First {
			w += fmt.Sprint("-", r.Last)
		}
		if r.PVID && r.Untagged {
			w += "*"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}
