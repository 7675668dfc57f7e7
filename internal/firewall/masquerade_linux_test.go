// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cnikit/cnikit/internal/firewall"
)

// bothFamilies runs a subtest for each family.
func bothFamilies(t *testing.T, f func(t *testing.T, family int)) {
	for _, family := range []int{4, 6} {
		t.Run(fmt.Sprintf("IPv%d", family), func(t *testing.T) { f(t, family) })
	}
}

// backends runs a subtest for each backend, in parallel.
func backends(t *testing.T, f func(t *testing.T, backend string)) {
	for _, b := range []string{firewall.NFTables} {
		t.Run(b, func(t *testing.T) {
			t.Parallel()
			f(t, b)
		})
	}
}

// TestMasquerade sends packets: CONF-034.
func TestMasquerade(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		c, other, plain := n.newContainer(t), n.newContainer(t), n.newContainer(t)
		for _, at := range []struct{ c *container }{{c}, {other}, {plain}} {
			serve(t, at.c.ns, "tcp", 7, at.c.owner.ContainerID)
		}
		serve(t, n.outside, "tcp", 7, "outside")
		serve(t, n.outside, "udp", 7, "outside")
		serve(t, n.host, "tcp", 7, "host")
		h := open(t, n.host, backend)
		for _, c := range []*container{c, other} {
			if err := h.EnsureMasquerade(t.Context(), c.owner, c.addrs); err != nil {
				t.Fatal(err)
			}
			if err := h.CheckMasquerade(t.Context(), c.owner, c.addrs); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.CheckMasquerade(t.Context(), plain.owner, plain.addrs); err == nil {
			t.Error("CheckMasquerade of a container that is not masqueraded = nil, want error")
		}
		bothFamilies(t, func(t *testing.T, family int) {
			outside, onHost := outsideAddr[family], hostAddr[family]
			sees(t, c, "tcp", outside, onHost, "outside")
			sees(t, c, "udp", outside, onHost, "outside")
			sees(t, other, "tcp", outside, onHost, "outside")
			sees(t, plain, "tcp", outside, plain.addr(family), "outside")
			sees(t, c, "tcp", onHost, c.addr(family), "host")                                       // locally delivered: not postrouted
			sees(t, c, "tcp", other.addr(family), c.addr(family), other.owner.ContainerID)          // own subnet
			sees(t, &container{ns: n.outside}, "tcp", c.addr(family), outside, c.owner.ContainerID) // inwards
		})
		if err := h.DelMasquerade(t.Context(), c.owner); err != nil {
			t.Fatal(err)
		}
		bothFamilies(t, func(t *testing.T, family int) {
			sees(t, c, "tcp", outsideAddr[family], c.addr(family), "outside")
			sees(t, other, "tcp", outsideAddr[family], hostAddr[family], "outside")
		})
	})
}

// sees fails the test unless a server, reached from c, sees the source address wanted.
func sees(t *testing.T, c *container, network string, to, source netip.Addr, name string) {
	t.Helper()
	gotSource, gotName, err := ask(t, c.ns, network, netip.AddrPortFrom(to, 7))
	if err != nil || gotSource != source.String() || gotName != name {
		t.Errorf("%s from %s to %s: %s saw %s, %v; want %s to see %s", network, c.owner.ContainerID, to, gotName, gotSource, err, name, source)
	}
}
