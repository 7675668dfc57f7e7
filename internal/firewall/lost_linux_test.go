// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// What the kernel does and cannot tell, because the socket is full, is done once and counts
// as done, whichever of the answers of an operation gets lost.
func TestHost_lostAnswer(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := nstest.New(t)
		o, addrs := numbered(1)
		p := portMap(&container{owner: o, addrs: addrs}, firewall.TCP, 80)
		h := open(t, n, backend)
		for _, tt := range []struct {
			name string
			do   func() error
		}{
			{"EnsureMasquerade", func() error { return h.EnsureMasquerade(t.Context(), o, addrs) }},
			{"CheckMasquerade", func() error { return h.CheckMasquerade(t.Context(), o, addrs) }},
			{"EnsurePortMap", func() error { return h.EnsurePortMap(t.Context(), o, p) }},
			{"CheckPortMap", func() error { return h.CheckPortMap(t.Context(), o, p) }},
			{"CollectPortMap", func() error { return h.CollectPortMap(t.Context(), o.Network, []firewall.Owner{o}) }},
			{"DelPortMap", func() error { return h.DelPortMap(t.Context(), o) }},
			{"CollectMasquerade", func() error { return h.CollectMasquerade(t.Context(), o.Network, []firewall.Owner{o}) }},
			{"DelMasquerade", func() error { return h.DelMasquerade(t.Context(), o) }},
		} {
			lost := true
			for i := 1; lost && !t.Failed(); i++ {
				lost = false
				h.WhenSending(i, func() {
					lost = true
					n.Do(t, func() { h.Congest(t) })
				})
				if err := tt.do(); err != nil {
					t.Errorf("%s without answer %d = %v", tt.name, i, err)
				}
				h.WhenSending(0, nil)
			}
		}
		if ports, err := h.ListPortMap(t.Context(), o.Network); err != nil || len(ports) > 0 {
			t.Errorf("ListPortMap() = %v, %v, want none", ports, err)
		}
		if all, err := h.ListMasquerade(t.Context(), o.Network); err != nil || len(all) > 0 {
			t.Errorf("ListMasquerade() = %v, %v, want none", all, err)
		}
	})
}

// DEL makes the kernel forget the connections to the container's UDP ports also when it had to
// ask again, because the answer to what removed the ports was lost, and found nothing then.
func TestDelPortMap_lostAnswer(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		const family = 4
		n := newNode(t)
		c := n.newContainer(t)
		serve(t, c.ns, "udp", 7, "c")
		serve(t, n.host, "udp", 53, "host")
		h := open(t, n.host, backend)
		p := portMap(c, firewall.UDP, 53)
		p.Forwards = p.Forwards[:1]
		from, to := &net.UDPAddr{IP: outsideAddr[family].AsSlice(), Port: 5353}, netip.AddrPortFrom(hostAddr[family], 53)
		wants := func(what, name string) {
			t.Helper()
			if _, got, err := askFrom(t, n.outside, "udp", from, to, patience); err != nil || got != name {
				t.Errorf("%s: answered by %q, %v; want %q", what, got, err, name)
			}
		}
		lost := true
		for i := 1; lost && !t.Failed(); i++ {
			if err := h.EnsurePortMap(t.Context(), c.owner, p); err != nil {
				t.Fatal(err)
			}
			wants("after ADD", "c")
			lost = false
			h.WhenSending(i, func() {
				lost = true
				n.host.Do(t, func() { h.Congest(t) })
			})
			if err := h.DelPortMap(t.Context(), c.owner); err != nil {
				t.Fatal(err)
			}
			h.WhenSending(0, nil)
			wants(fmt.Sprintf("after DEL without answer %d", i), "host")
		}
	})
}

// Whatever goes wrong between the kernel and an operation, the error names what it was about.
func TestHost_errorsNameObject(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	o, addrs := numbered(1)
	p := portMap(&container{owner: o, addrs: addrs}, firewall.UDP, 80)
	objects := regexp.MustCompile(`(nftables table (inet|ip|ip6) [\w-]+|nftables tables|ipset cnikit[46]-\w+|generation of the ruleset): `)
	for _, tt := range []struct {
		name string
		do   func(h *firewall.Host) error
	}{
		{"ReadyMasquerade", func(h *firewall.Host) error { return h.ReadyMasquerade(t.Context()) }},
		{"EnsureMasquerade", func(h *firewall.Host) error { return h.EnsureMasquerade(t.Context(), o, addrs) }},
		{"EnsureMasquerade again", func(h *firewall.Host) error { return h.EnsureMasquerade(t.Context(), o, addrs) }},
		{"CheckMasquerade", func(h *firewall.Host) error { return h.CheckMasquerade(t.Context(), o, addrs) }},
		{"EnsurePortMap", func(h *firewall.Host) error { return h.EnsurePortMap(t.Context(), o, p) }},
		{"EnsurePortMap again", func(h *firewall.Host) error { return h.EnsurePortMap(t.Context(), o, p) }},
		{"CheckPortMap", func(h *firewall.Host) error { return h.CheckPortMap(t.Context(), o, p) }},
		{"CollectPortMap", func(h *firewall.Host) error { return h.CollectPortMap(t.Context(), o.Network, []firewall.Owner{o}) }},
		{"DelPortMap", func(h *firewall.Host) error { return h.DelPortMap(t.Context(), o) }},
		{"CollectMasquerade", func(h *firewall.Host) error { return h.CollectMasquerade(t.Context(), o.Network, []firewall.Owner{o}) }},
		{"DelMasquerade", func(h *firewall.Host) error { return h.DelMasquerade(t.Context(), o) }},
	} {
		for i, dead := 1, true; dead; i++ {
			h := open(t, n, firewall.NFTables)
			died, err := h.DieWhenSending(i)
			if err != nil {
				t.Fatal(err)
			}
			err = tt.do(h)
			if dead = died(); err == nil {
				continue // it is only logged, or all messages were sent
			}
			for line := range strings.Lines(err.Error()) {
				if !objects.MatchString(line) {
					t.Errorf("%s without message %d = %q, want what it is about", tt.name, i, line)
				}
			}
		}
	}
}
