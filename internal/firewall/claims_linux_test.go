// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cnikit/cnikit/internal/firewall"
)

// A port that one backend maps is taken for the other, until the holder's DEL, or GC, also
// when somebody flushed the rules of iptables before.
func TestPortMap_conflictAcross(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		other := map[string]string{firewall.NFTables: firewall.IPTables, firewall.IPTables: firewall.NFTables}[backend]
		n := newNode(t)
		holder, late := n.newContainer(t), n.newContainer(t)
		late.owner.Network = "othernet"
		h, l := open(t, n.host, backend), open(t, n.host, other)
		wanted := portMap(late, firewall.TCP, 79, 443)
		for _, tt := range []struct {
			name  string
			again firewall.PortMap // what the holder asks for then
			end   func() error
		}{
			{"DEL", portMap(holder, firewall.TCP, 80, 443), func() error { return l.DelPortMap(t.Context(), holder.owner) }},
			{"GC", portMap(holder, firewall.TCP, 80, 443), func() error {
				return l.CollectPortMap(t.Context(), holder.owner.Network, []firewall.Owner{})
			}},
			{"ADD with other ports", portMap(holder, firewall.TCP, 81), func() error { return nil }},
			{"DEL after a flush", portMap(holder, firewall.TCP, 80, 443), func() error {
				if backend == firewall.IPTables {
					for _, program := range []string{"iptables", "ip6tables"} {
						for _, flag := range []string{"-F", "-X"} {
							if out, err := run(n.host, "", program, "-t", "nat", flag); err != nil {
								return fmt.Errorf("%w: %s", err, out)
							}
						}
					}
				}
				return h.DelPortMap(t.Context(), holder.owner)
			}},
		} {
			if err := h.EnsurePortMap(t.Context(), holder.owner, portMap(holder, firewall.TCP, 80, 443)); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			before := ruleset(t, n.host)
			err := l.EnsurePortMap(t.Context(), late.owner, wanted)
			var conflict *firewall.ConflictError
			if !errors.As(err, &conflict) || conflict.Holder != holder.owner || conflict.Forward.Host.Port() != 443 {
				t.Errorf("%s: EnsurePortMap() = %v before, want a conflict about 443 with %v", tt.name, err, holder.owner)
			}
			if after := ruleset(t, n.host); after != before {
				t.Errorf("%s: a refused map left something:\n%s", tt.name, after)
			}
			if err := errors.Join(h.EnsurePortMap(t.Context(), holder.owner, tt.again), tt.end()); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if err := l.EnsurePortMap(t.Context(), late.owner, wanted); err != nil {
				t.Errorf("%s: EnsurePortMap() = %v after, want the port to be free", tt.name, err)
			}
			if err := errors.Join(l.DelPortMap(t.Context(), late.owner), h.DelPortMap(t.Context(), holder.owner)); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		for _, network := range []string{holder.owner.Network, late.owner.Network} {
			if err := h.CollectPortMap(t.Context(), network, []firewall.Owner{}); err != nil {
				t.Fatal(err)
			}
		}
		if left := ownRules(t, n.host); left != "" {
			t.Errorf("left after GC:\n%s", left)
		}
	})
}
