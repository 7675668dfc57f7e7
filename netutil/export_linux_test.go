// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

// Congest fills the sockets that speak rtnetlink in the namespace of the calling thread, so
// that the kernel has no room for its next answer.
func Congest(t testing.TB) {
	t.Helper()
	table, err := os.ReadFile("/proc/thread-self/net/netlink")
	if err != nil {
		t.Fatal(err)
	}
	from, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	filled := 0
	for line := range strings.Lines(string(table)) {
		var socket string
		var protocol int
		var port uint32
		if n, err := fmt.Sscan(line, &socket, &protocol, &port); n != 3 || err != nil || protocol != unix.NETLINK_ROUTE || port == 0 {
			continue // the heading, the kernel's own, and other protocols
		}
		for err = nil; err == nil; filled++ {
			err = unix.Sendto(from, make([]byte, unix.NLMSG_HDRLEN), unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
		}
		if err != unix.EAGAIN {
			t.Fatal(err)
		}
	}
	if err := unix.Close(from); err != nil || filled == 0 {
		t.Fatalf("%d messages sent, %v", filled, err)
	}
}
