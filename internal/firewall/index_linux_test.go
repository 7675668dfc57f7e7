// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// reassign makes everything in a table another owner's, but for the indexes.
func reassign(t *testing.T, n *nstest.NS, table string, from, to firewall.Owner) {
	t.Helper()
	var edited strings.Builder
	index := false
	for line := range strings.Lines(string(n.Output(t, "nft", "list", "table", "inet", table))) {
		if kind, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && (kind == "set" || kind == "map") {
			index = strings.HasPrefix(name, "owners") || strings.HasPrefix(name, "claimants")
		}
		if !index {
			line = strings.ReplaceAll(line, from.Mark(), to.Mark())
		}
		edited.WriteString(line)
	}
	loadRules(t, n, "delete table inet "+table+"\n"+edited.String())
}

// C-5, C-43: the index tells what to look at, and the comment of an element whose it is. Where
// the index of a container names what another one has, as in a ruleset that was restored, DEL
// and ADD of the former leave that alone.
func TestIndex_foreign(t *testing.T) {
	t.Parallel()
	masquerade := func(h *firewall.Host, o firewall.Owner, i int) error {
		_, addrs := numbered(i)
		return h.EnsureMasquerade(t.Context(), o, addrs)
	}
	ports := func(h *firewall.Host, o firewall.Owner, i int) error {
		_, addrs := numbered(i)
		return h.EnsurePortMap(t.Context(), o, portMap(&container{addrs: addrs}, firewall.TCP, uint16(80+i)))
	}
	for _, tt := range []struct {
		name, backend string
		tables        []string
		elements      int // of the second container
		add           func(h *firewall.Host, o firewall.Owner, i int) error
		del           func(h *firewall.Host, o firewall.Owner) error
	}{
		{
			"masquerade", firewall.NFTables, []string{"cnikit-masq-large"}, 2, masquerade,
			func(h *firewall.Host, o firewall.Owner) error { return h.DelMasquerade(t.Context(), o) },
		},
		{
			"ports", firewall.NFTables, []string{"cnikit-ports-large", "cnikit-ports"}, 8, ports,
			func(h *firewall.Host, o firewall.Owner) error { return h.DelPortMap(t.Context(), o) },
		},
		{
			"claims", firewall.IPTables, []string{"cnikit-ports"}, 2, ports,
			func(h *firewall.Host, o firewall.Owner) error { return h.DelPortMap(t.Context(), o) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := nstest.New(t)
			h := open(t, n, tt.backend)
			first, _ := numbered(1)
			second, _ := numbered(2)
			held := func(o firewall.Owner) int {
				found := 0
				for _, table := range tt.tables {
					found += strings.Count(string(n.Output(t, "nft", "list", "table", "inet", table)), o.Mark())
				}
				return found
			}
			if err := tt.add(h, first, 1); err != nil {
				t.Fatal(err)
			}
			for _, table := range tt.tables {
				reassign(t, n, table, first, second)
			}
			if got := held(second); got != tt.elements {
				t.Fatalf("%d elements are the second container's, want %d: the test is of no use", got, tt.elements)
			}
			if err := tt.add(h, first, 3); err != nil {
				t.Errorf("ADD of something else: %v", err)
			}
			if got := held(second); got != tt.elements {
				t.Errorf("%d elements are the second container's after ADD of the first, want %d", got, tt.elements)
			}
			if err := tt.add(h, first, 4); err != nil {
				t.Error(err)
			}
			for _, table := range tt.tables {
				reassign(t, n, table, first, second)
			}
			if err := errors.Join(tt.del(h, first), tt.del(h, first)); err != nil {
				t.Errorf("DEL: %v", err)
			}
			if got := held(second); got != 2*tt.elements {
				t.Errorf("%d elements are the second container's after DEL of the first, want %d", got, 2*tt.elements)
			}
			if got := held(first); got != 0 {
				t.Errorf("%d elements or entries are the first container's after its DEL, want none", got)
			}
		})
	}
}
