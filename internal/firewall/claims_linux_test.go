// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// A port that one backend maps is taken for the other, until the holder's DEL, or GC, also
// when somebody flushed the rules of iptables before.
func TestPortMap_conflictAcross(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		holder, late := n.newContainer(t), n.newContainer(t)
		late.owner.Network = "othernet"
		h, l := open(t, n.host, backend), open(t, n.host, otherBackend(backend))
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

// otherBackend is the one of the two that backend is not.
func otherBackend(backend string) string {
	if backend == firewall.NFTables {
		return firewall.IPTables
	}
	return firewall.NFTables
}

// wantMapped fails the test unless the ports mapped for the network of o are those of p, each
// once, whichever the backend.
func wantMapped(t *testing.T, h *firewall.Host, o firewall.Owner, p firewall.PortMap) {
	t.Helper()
	all, err := h.ListPortMap(t.Context(), o.Network)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, m.Forward.String())
	}
	var want []string
	for _, f := range p.Forwards {
		want = append(want, f.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("mapped ports (-want +got):\n%s", diff)
	}
}

// An ADD after the administrator has chosen another backend, for a container that got no DEL:
// what the first backend maps goes, ports that are not wanted any longer included.
func TestPortMap_otherBackend(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		c, late := n.newContainer(t), n.newContainer(t)
		outside := &container{ns: n.outside}
		serve(t, c.ns, "tcp", 7, "c")
		serve(t, c.ns, "udp", 7, "c")
		serve(t, n.host, "udp", 53, "host")
		before, after := open(t, n.host, otherBackend(backend)), open(t, n.host, backend)
		old, p := portMap(c, firewall.TCP, 80, 81), portMap(c, firewall.TCP, 80, 82)
		old.Forwards = append(old.Forwards, portMap(c, firewall.UDP, 53).Forwards...)
		from := func(family int) *net.UDPAddr {
			return &net.UDPAddr{IP: outsideAddr[family].AsSlice(), Port: 5353}
		}
		if err := before.EnsurePortMap(t.Context(), c.owner, old); err != nil {
			t.Fatal(err)
		}
		bothFamilies(t, func(t *testing.T, family int) {
			if _, got, err := askFrom(t, n.outside, "udp", from(family), netip.AddrPortFrom(hostAddr[family], 53), patience); err != nil || got != "c" {
				t.Fatalf("port 53 is answered by %q, %v; want c: the test is of no use", got, err)
			}
		})
		for range 2 {
			if err := after.EnsurePortMap(t.Context(), c.owner, p); err != nil {
				t.Fatal(err)
			}
			if err := after.CheckPortMap(t.Context(), c.owner, p); err != nil {
				t.Error(err)
			}
			wantMapped(t, after, c.owner, p)
		}
		if err := before.CheckPortMap(t.Context(), c.owner, p); err == nil {
			t.Errorf("CheckPortMap with %s = nil, want an error: %s maps the ports", otherBackend(backend), backend)
		}
		bothFamilies(t, func(t *testing.T, family int) {
			answers(t, outside, "tcp", netip.AddrPortFrom(hostAddr[family], 80), "c", outsideAddr[family])
			answers(t, outside, "tcp", netip.AddrPortFrom(hostAddr[family], 82), "c", outsideAddr[family])
			silent(t, outside, "tcp", netip.AddrPortFrom(hostAddr[family], 81))
			// The connection to the container is forgotten with the port.
			if _, got, err := askFrom(t, n.outside, "udp", from(family), netip.AddrPortFrom(hostAddr[family], 53), patience); err != nil || got != "host" {
				t.Errorf("port 53 is answered by %q, %v; want the host", got, err)
			}
		})
		// What is not mapped any longer is free, what is mapped is not.
		var conflict *firewall.ConflictError
		if err := before.EnsurePortMap(t.Context(), late.owner, portMap(late, firewall.TCP, 82)); !errors.As(err, &conflict) || conflict.Holder != c.owner {
			t.Errorf("EnsurePortMap of a port that is mapped = %v, want a conflict with %v", err, c.owner)
		}
		if err := before.EnsurePortMap(t.Context(), late.owner, portMap(late, firewall.TCP, 81)); err != nil {
			t.Errorf("EnsurePortMap of a port that is not mapped any longer = %v, want nil", err)
		}
		if err := errors.Join(after.DelPortMap(t.Context(), c.owner), after.DelPortMap(t.Context(), late.owner)); err != nil {
			t.Fatal(err)
		}
		if got := ruleset(t, n.host); strings.Contains(got, "net=") {
			t.Errorf("left after DEL:\n%s", got)
		}
	})
}

// That ADD notices another backend costs an ADD in the steady state nothing: with nftables the
// index, the rules, an element for each address and one transaction, whatever the number of
// ports; with iptables the index, an element for each port, and the transaction.
func TestPortMap_messages(t *testing.T) {
	t.Parallel()
	for backend, want := range map[string]func(ports int) int{
		firewall.NFTables: func(int) int { return 1 + 1 + 2 + 1 },
		firewall.IPTables: func(ports int) int { return 1 + 2*ports + 1 },
	} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := open(t, nstest.New(t), backend)
			for i, ports := range [][]uint16{{79}, {80}, {81, 82, 83}} {
				o, addrs := numbered(i)
				p := portMap(&container{owner: o, addrs: addrs}, firewall.TCP, ports...)
				var err error
				got := h.Sent(func() { err = h.EnsurePortMap(t.Context(), o, p) })
				if err != nil {
					t.Fatal(err)
				}
				if want := want(len(ports)); i > 0 && got != want { // the first makes the tables
					t.Errorf("%d messages for %d ports of each family, want %d", got, len(ports), want)
				}
			}
		})
	}
}

// As TestPortMap_otherBackend, but for an ADD that is killed: the next one goes on. The port
// of both calls leads to the container all the time.
func TestPortMap_otherBackendKilled(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		c := n.newContainer(t)
		serve(t, c.ns, "tcp", 7, "c")
		before, after := open(t, n.host, otherBackend(backend)), open(t, n.host, backend)
		old, p := portMap(c, firewall.TCP, 80, 81), portMap(c, firewall.TCP, 80, 82)
		old.Forwards, p.Forwards = old.Forwards[:2], p.Forwards[:2] // one family is half the programs
		killed := true
		for i := 1; killed && !t.Failed(); i++ {
			if err := before.EnsurePortMap(t.Context(), c.owner, old); err != nil {
				t.Fatal(err)
			}
			h := open(t, n.host, backend)
			died, err := h.DieWhenSending(i)
			if err != nil {
				t.Fatal(err)
			}
			err = h.EnsurePortMap(t.Context(), c.owner, p)
			if killed = died(); !killed && err != nil {
				t.Fatal(err)
			}
			answers(t, &container{ns: n.outside}, "tcp", netip.AddrPortFrom(hostAddr[4], 80), "c", outsideAddr[4])
			if err := errors.Join(after.EnsurePortMap(t.Context(), c.owner, p), after.CheckPortMap(t.Context(), c.owner, p)); err != nil {
				t.Errorf("after a kill at message %d: %v", i, err)
			}
			wantMapped(t, after, c.owner, p)
			if err := after.DelPortMap(t.Context(), c.owner); err != nil {
				t.Fatal(err)
			}
			if got := ruleset(t, n.host); strings.Contains(got, "net=") {
				t.Errorf("left after a kill at message %d and DEL:\n%s", i, got)
			}
		}
	})
}

// Where the two calls have no port in common, the kernel refuses nothing, and what the other
// backend maps stays, as [firewall.Host.EnsurePortMap] says, until DEL or GC.
func TestPortMap_otherBackendApart(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := nstest.New(t)
		before, after := open(t, n, otherBackend(backend)), open(t, n, backend)
		o, addrs := numbered(1)
		other, _ := numbered(2)
		c := &container{owner: o, addrs: addrs}
		for name, end := range map[string]func() error{
			"DEL": func() error { return after.DelPortMap(t.Context(), o) },
			"GC": func() error {
				return after.CollectPortMap(t.Context(), o.Network, []firewall.Owner{other})
			},
		} {
			first, second := portMap(c, firewall.TCP, 80), portMap(c, firewall.TCP, 81)
			err := errors.Join(before.EnsurePortMap(t.Context(), o, first), after.EnsurePortMap(t.Context(), o, second))
			if err != nil {
				t.Fatal(err)
			}
			wantMapped(t, after, o, portMap(c, firewall.TCP, 80, 81))
			if err := end(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			wantMapped(t, after, o, firewall.PortMap{})
			if got := ruleset(t, n); strings.Contains(got, "net=") {
				t.Errorf("left after %s:\n%s", name, got)
			}
		}
	})
}
