// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
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
