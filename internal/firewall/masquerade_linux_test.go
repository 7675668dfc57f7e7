// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// bothFamilies runs a subtest for each family.
func bothFamilies(t *testing.T, f func(t *testing.T, family int)) {
	for _, family := range []int{4, 6} {
		t.Run(fmt.Sprintf("IPv%d", family), func(t *testing.T) { f(t, family) })
	}
}

// iptablesOnly is the iptables backend on a kernel without ipset.
const iptablesOnly = "iptables only"

// backends runs a subtest for each backend, in parallel.
func backends(t *testing.T, f func(t *testing.T, backend string)) {
	all := []string{firewall.NFTables, firewall.IPTables}
	if strings.HasPrefix(t.Name(), "TestMasquerade") {
		all = append(all, iptablesOnly) // nothing else uses ipset
	}
	for _, b := range all {
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

// An ADD after the administrator has chosen another backend, for a container that got no DEL:
// packets are masqueraded as before, and DEL and GC remove what either backend has.
func TestMasquerade_otherBackend(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		c, kept := n.newContainer(t), n.newContainer(t)
		serve(t, n.outside, "tcp", 7, "outside")
		before, after := open(t, n.host, otherBackend(backend)), open(t, n.host, backend)
		for _, tt := range []struct {
			name string
			end  func() error
		}{
			{"DEL", func() error { return after.DelMasquerade(t.Context(), c.owner) }},
			{"GC", func() error {
				return after.CollectMasquerade(t.Context(), c.owner.Network, []firewall.Owner{kept.owner})
			}},
		} {
			for _, h := range []*firewall.Host{before, after} {
				if err := errors.Join(h.EnsureMasquerade(t.Context(), c.owner, c.addrs), h.EnsureMasquerade(t.Context(), kept.owner, kept.addrs)); err != nil {
					t.Fatal(err)
				}
			}
			for _, h := range []*firewall.Host{before, after} {
				if err := h.CheckMasquerade(t.Context(), c.owner, c.addrs); err != nil {
					t.Error(err)
				}
			}
			bothFamilies(t, func(t *testing.T, family int) {
				sees(t, c, "tcp", outsideAddr[family], hostAddr[family], "outside")
			})
			if err := tt.end(); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			bothFamilies(t, func(t *testing.T, family int) {
				sees(t, c, "tcp", outsideAddr[family], c.addr(family), "outside")
				sees(t, kept, "tcp", outsideAddr[family], hostAddr[family], "outside")
			})
			all, err := after.ListMasquerade(t.Context(), c.owner.Network)
			if err != nil || len(all) != 2*len(kept.addrs) {
				t.Errorf("%s: ListMasquerade() = %v, %v; want the %d addresses of the container that is kept, by each backend", tt.name, all, err, len(kept.addrs))
			}
			for _, m := range all {
				if m.Owner != kept.owner {
					t.Errorf("%s: left: %s of %s", tt.name, m.Addr, m.Owner)
				}
			}
		}
	})
}

// ruleset returns all that nft sees in a namespace.
func ruleset(t testing.TB, n *nstest.NS) string {
	t.Helper()
	return string(n.Output(t, "nft", "list", "ruleset"))
}

// TestMasquerade_nft is a second opinion on the ruleset, which an administrator must be
// able to read, save and restore.
func TestMasquerade_nft(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.NFTables)
	o := firewall.Owner{Network: "my.net_1-x", ContainerID: "c1", IfName: "eth0"}
	addrs := []netip.Prefix{netip.MustParsePrefix("10.1.2.2/20"), netip.MustParsePrefix("fd00:1::2/64")}
	for range 2 {
		if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
			t.Fatal(err)
		}
	}
	got := ruleset(t, n)
	for _, want := range []string{
		"table inet cnikit-masq-my.net_1-x {",
		"type nat hook postrouting priority srcnat; policy accept;",
		`elements = { 10.1.2.2 comment "net=my.net_1-x id=c1 if=eth0" }`,
		`elements = { fd00:1::2 comment "net=my.net_1-x id=c1 if=eth0" }`,
		`ip saddr @containers4 goto masquerade4 comment "containers, IPv4"`,
		`ip daddr 10.1.0.0/20 return comment "own subnet 10.1.0.0/20"`,
		`ip daddr 224.0.0.0/4 return comment "multicast"`,
		`ip6 daddr fd00:1::/64 return comment "own subnet fd00:1::/64"`,
		`ip6 daddr ff00::/8 return comment "multicast"`,
		`masquerade comment "everything else"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nft list ruleset lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
	restored := nstest.New(t)
	if out, err := run(restored, got, "nft", "-f", "-"); err != nil {
		t.Errorf("nft -f of the saved ruleset: %v: %s", err, out)
	}
	if again := ruleset(t, restored); again != got {
		t.Errorf("restored ruleset differs:\n%s\nwant:\n%s", again, got)
	}
	if err := open(t, restored, firewall.NFTables).CheckMasquerade(t.Context(), o, addrs); err != nil {
		t.Errorf("CheckMasquerade in the restored ruleset: %v", err)
	}
}

// TestMasquerade_repair is about a firewall that somebody flushed, reloaded or edited:
// CHECK notices (C-57) and the next ADD repairs, without doubling what is left.
func TestMasquerade_repair(t *testing.T) {
	t.Parallel()
	o, addrs := numbered(1)
	other, otherAddrs := numbered(2)
	for name, damage := range map[string]string{
		"flush ruleset":    "flush ruleset",
		"flush table":      "flush table inet cnikit-masq-large",
		"flush base chain": "flush chain inet cnikit-masq-large postrouting",
		"flush chain":      "flush chain inet cnikit-masq-large masquerade6",
		"flush set":        "flush set inet cnikit-masq-large containers4",
		"flush index":      "flush map inet cnikit-masq-large owners4",
		"delete table":     "delete table inet cnikit-masq-large",
		"foreign rule":     "insert rule inet cnikit-masq-large postrouting accept",
		"delete element":   "delete element inet cnikit-masq-large containers4 { 10.7.0.1 }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := nstest.New(t)
			h := open(t, n, firewall.NFTables)
			if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
				t.Fatal(err)
			}
			before := ruleset(t, n)
			if out, err := run(n, damage, "nft", "-f", "-"); err != nil {
				t.Fatalf("nft: %v: %s", err, out)
			}
			if err := h.CheckMasquerade(t.Context(), o, addrs); err == nil {
				t.Error("CheckMasquerade() = nil after the damage, want error")
			}
			// Another container's ADD sets the rules right, its own the elements.
			if err := h.EnsureMasquerade(t.Context(), other, otherAddrs); err != nil {
				t.Fatal(err)
			}
			if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
				t.Fatal(err)
			}
			if err := h.CheckMasquerade(t.Context(), o, addrs); err != nil {
				t.Errorf("CheckMasquerade() = %v after the repair", err)
			}
			if err := h.DelMasquerade(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			if after := ruleset(t, n); after != before {
				t.Errorf("repaired ruleset differs:\n%s\nwant:\n%s", after, before)
			}
		})
	}
}

// TestMasquerade_repairIPTables is the same for iptables, with and without ipset.
func TestMasquerade_repairIPTables(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{firewall.IPTables, iptablesOnly} {
		for name, damage := range map[string]string{
			"flush POSTROUTING": "*nat\n-F POSTROUTING\nCOMMIT\n",
			"flush everything":  "*nat\n-F\n-X\nCOMMIT\n",
		} {
			t.Run(backend+"/"+name, func(t *testing.T) {
				t.Parallel()
				n := newNode(t)
				c := n.newContainer(t)
				serve(t, n.outside, "tcp", 7, "outside")
				h := open(t, n.host, backend)
				if err := h.EnsureMasquerade(t.Context(), c.owner, c.addrs); err != nil {
					t.Fatal(err)
				}
				for _, program := range []string{"iptables-restore", "ip6tables-restore"} {
					if out, err := run(n.host, damage, program, "--noflush"); err != nil {
						t.Fatalf("%s: %v: %s", program, err, out)
					}
				}
				if err := h.CheckMasquerade(t.Context(), c.owner, c.addrs); err == nil {
					t.Error("CheckMasquerade() = nil after the damage, want error")
				}
				if err := h.EnsureMasquerade(t.Context(), c.owner, c.addrs); err != nil {
					t.Fatal(err)
				}
				if err := h.CheckMasquerade(t.Context(), c.owner, c.addrs); err != nil {
					t.Errorf("CheckMasquerade() = %v after the repair", err)
				}
				bothFamilies(t, func(t *testing.T, family int) {
					sees(t, c, "tcp", outsideAddr[family], hostAddr[family], "outside")
				})
			})
		}
	}
}

// TestMasquerade_programs is the steady state of the iptables backend with ipset, where ADD, CHECK
// and DEL run no program: there is none to be found. Not parallel: it sets the environment.
func TestMasquerade_programs(t *testing.T) {
	h := open(t, nstest.New(t), firewall.IPTables)
	first, addrs := numbered(1)
	if err := h.EnsureMasquerade(t.Context(), first, addrs); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	o, addrs := numbered(2)
	for range 2 {
		if err := errors.Join(h.EnsureMasquerade(t.Context(), o, addrs), h.CheckMasquerade(t.Context(), o, addrs)); err != nil {
			t.Error(err)
		}
	}
	if err := h.DelMasquerade(t.Context(), o); err != nil {
		t.Error(err)
	}
	if got, want := listed(t, h, "large"), "10.7.0.1 "+first.ContainerID+", fd07::1 "+first.ContainerID; got != want {
		t.Errorf("masqueraded: %s, want %s", got, want)
	}
}

// TestMasquerade_owners tells owners apart.
func TestMasquerade_owners(t *testing.T) {
	t.Parallel()
	addr := func(i int) []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.1.2.%d/24", i))}
	}
	for name, tt := range map[string]struct{ gone, stays firewall.Owner }{
		"C-4: two interfaces on one network": {
			firewall.Owner{Network: "n", ContainerID: "c", IfName: "eth0"}, firewall.Owner{Network: "n", ContainerID: "c", IfName: "eth1"},
		},
		"C-54: where one name ends and the other begins": {
			firewall.Owner{Network: "ab", ContainerID: "c", IfName: "eth0"}, firewall.Owner{Network: "a", ContainerID: "bc", IfName: "eth0"},
		},
		"C-43: one container on two networks": {
			firewall.Owner{Network: "a", ContainerID: "c", IfName: "eth0"}, firewall.Owner{Network: "b", ContainerID: "c", IfName: "eth0"},
		},
		"long names that begin alike": {
			firewall.Owner{Network: strings.Repeat("n", 200) + "1", ContainerID: strings.Repeat("c", 200) + "1", IfName: "eth0"},
			firewall.Owner{Network: strings.Repeat("n", 200) + "1", ContainerID: strings.Repeat("c", 200) + "2", IfName: "eth0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backends(t, func(t *testing.T, backend string) {
				h := open(t, nstest.New(t), backend)
				for i, o := range []firewall.Owner{tt.gone, tt.stays} {
					if err := h.EnsureMasquerade(t.Context(), o, addr(2+i)); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 { // DEL, DEL
					if err := h.DelMasquerade(t.Context(), tt.gone); err != nil {
						t.Fatal(err)
					}
				}
				if err := h.CheckMasquerade(t.Context(), tt.stays, addr(3)); err != nil {
					t.Error(err)
				}
				if err := h.CheckMasquerade(t.Context(), tt.gone, addr(2)); err == nil {
					t.Error("CheckMasquerade of the removed owner = nil, want error")
				}
				all, err := h.ListMasquerade(t.Context(), tt.stays.Network)
				if err != nil || len(all) != 1 || all[0].Addr != addr(3)[0].Addr() || all[0].Owner.Mark() != tt.stays.Mark() {
					t.Errorf("ListMasquerade() = %v, %v, want %v", all, err, tt.stays)
				}
			})
		})
	}
}

// TestMasquerade_del removes by owner alone: no link is there, nor an address, nor anything that ADD
// knew, and it does so as often as it is asked, also by a process that opens the firewall
// without a backend (C-5, C-6, C-17).
func TestMasquerade_del(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := nstest.New(t)
		h := open(t, n, backend)
		gone, goneAddrs := numbered(1)
		stays, staysAddrs := numbered(2)
		p := portMap(&container{addrs: goneAddrs}, firewall.TCP, 80)
		err := errors.Join(h.EnsureMasquerade(t.Context(), gone, goneAddrs), h.EnsureMasquerade(t.Context(), stays, staysAddrs),
			h.EnsurePortMap(t.Context(), gone, p))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			later := open(t, n, "")
			if err := errors.Join(later.DelMasquerade(t.Context(), gone), later.DelPortMap(t.Context(), gone)); err != nil {
				t.Fatal(err)
			}
			if got := ownRules(t, n); strings.Contains(got, gone.ContainerID) {
				t.Errorf("left of the container:\n%s", got)
			}
		}
		if got, want := listed(t, h, "large"), "10.7.0.2 "+stays.ContainerID+", fd07::2 "+stays.ContainerID; got != want {
			t.Errorf("masqueraded: %s, want %s", got, want)
		}
		if err := h.CheckMasquerade(t.Context(), stays, staysAddrs); err != nil {
			t.Error(err)
		}
	})
}

// TestMasquerade_again is ADD for what is there: with the same addresses, with others
// (C-46), and for an address that a container left which never got its DEL.
func TestMasquerade_again(t *testing.T) {
	t.Parallel()
	first := firewall.Owner{Network: "n", ContainerID: "first", IfName: "eth0"}
	second := firewall.Owner{Network: "n", ContainerID: "second", IfName: "eth0"}
	backends(t, func(t *testing.T, backend string) {
		h := open(t, nstest.New(t), backend)
		step := func(o firewall.Owner, want string, addrs ...string) {
			t.Helper()
			var ps []netip.Prefix
			for _, a := range addrs {
				ps = append(ps, netip.MustParsePrefix(a))
			}
			if err := h.EnsureMasquerade(t.Context(), o, ps); err != nil {
				t.Fatal(err)
			}
			if err := h.CheckMasquerade(t.Context(), o, ps); err != nil {
				t.Error(err)
			}
			if got := listed(t, h, "n"); got != want {
				t.Errorf("after ADD of %s with %v: %q, want %q", o.ContainerID, addrs, got, want)
			}
		}
		step(first, "10.1.2.2 first, fd00::2 first", "10.1.2.2/24", "fd00::2/64")
		step(first, "10.1.2.2 first, fd00::2 first", "10.1.2.2/24", "fd00::2/64")
		step(first, "10.1.2.2 first, 10.1.2.3 first, fd00::2 first", "10.1.2.2/24", "10.1.2.3/24", "fd00::2/64")
		step(second, "10.1.2.2 second, 10.1.2.3 first, fd00::2 first", "10.1.2.2/24")
		step(second, "10.1.2.2 second, 10.1.2.3 first, fd00::2 first", "10.1.2.2/24")
		if err := h.DelMasquerade(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if got, want := listed(t, h, "n"), "10.1.2.2 second"; got != want {
			t.Errorf("after DEL of the first: %q, want %q", got, want)
		}
		// ADD without addresses, for example without IPAM, does nothing.
		if err := h.EnsureMasquerade(t.Context(), first, nil); err != nil {
			t.Error(err)
		}
	})
}

// listed returns what is masqueraded for a network as a text.
func listed(t testing.TB, h *firewall.Host, network string) string {
	t.Helper()
	all, err := h.ListMasquerade(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, m := range all {
		texts = append(texts, m.Addr.String()+" "+m.Owner.ContainerID)
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// TestMasquerade_collect keeps what it is told to, touches one network only, and
// leaves nothing when nothing is to be kept: C-7.
func TestMasquerade_collect(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := nstest.New(t)
		h := open(t, n, backend)
		many := 300 // more than fit into one message
		if backend == iptablesOnly {
			many = 20 // each runs programs
		}
		for i := range many {
			o, addrs := numbered(i)
			if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
				t.Fatal(err)
			}
		}
		elsewhere := firewall.Owner{Network: "larger", ContainerID: "c", IfName: "eth0"}
		if err := h.EnsureMasquerade(t.Context(), elsewhere, []netip.Prefix{netip.MustParsePrefix("10.8.0.2/24")}); err != nil {
			t.Fatal(err)
		}
		kept, _ := numbered(7)
		if err := h.CollectMasquerade(t.Context(), "large", []firewall.Owner{kept}); err != nil {
			t.Fatal(err)
		}
		if got, want := listed(t, h, "large"), "10.7.0.7 "+kept.ContainerID+", fd07::7 "+kept.ContainerID; got != want {
			t.Errorf("kept %q, want %q", got, want)
		}
		if err := h.CollectMasquerade(t.Context(), "large", nil); err != nil {
			t.Fatal(err)
		}
		if got, want := listed(t, h, "larger"), "10.8.0.2 c"; got != want {
			t.Errorf("other network has %q, want %q", got, want)
		}
		for range 2 {
			if err := h.CollectMasquerade(t.Context(), "larger", nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := ownRules(t, n); got != "" {
			t.Errorf("left after the garbage collection of everything:\n%s", got)
		}
	})
}

// ownRules returns what there is of ours in a namespace, by any backend.
func ownRules(t testing.TB, n *nstest.NS) string {
	t.Helper()
	var ours []string
	for line := range strings.Lines(ruleset(t, n)) {
		if strings.Contains(strings.ToLower(line), "cnikit") || strings.Contains(line, "id=") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

// TestMasquerade_concurrent is many first ADDs of a fresh node at once, as if from
// processes, and then as many DELs: none fails, no rule is doubled.
func TestMasquerade_concurrent(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := nstest.New(t)
		each := func(f func(h *firewall.Host, i int) error) {
			t.Helper()
			var wg sync.WaitGroup
			for i := range 16 {
				h := open(t, n, backend)
				wg.Go(func() {
					if err := f(h, i); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		add := func(h *firewall.Host, i int) error {
			o, addrs := numbered(i)
			if i%2 == 0 { // two networks, and a subnet that only some of the containers bring
				o.Network = "even"
				addrs[0] = netip.PrefixFrom(addrs[0].Addr(), 24)
			}
			return h.EnsureMasquerade(t.Context(), o, addrs)
		}
		each(add)
		alone := nstest.New(t)
		h := open(t, alone, backend)
		for i := range 16 {
			if err := add(h, i); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := strings.Count(ruleset(t, n), "\n"), strings.Count(ruleset(t, alone), "\n"); got != want {
			t.Errorf("ruleset of %d lines, one after the other %d:\n%s", got, want, ruleset(t, n))
		}
		each(func(h *firewall.Host, i int) error {
			o, _ := numbered(i)
			if i%2 == 0 {
				o.Network = "even"
			}
			return h.DelMasquerade(t.Context(), o)
		})
		if got := listed(t, h, "none") + listed(t, open(t, n, backend), "even") + listed(t, open(t, n, backend), "large"); got != "" {
			t.Errorf("left: %s", got)
		}
	})
}

// TestMasquerade_checkBesideAdd checks a container while others of its network bring new
// subnets, and with them new rules. What a list shows meanwhile is no difference.
func TestMasquerade_checkBesideAdd(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := nstest.New(t)
		adds, checks := open(t, n, backend), open(t, n, backend)
		o, addrs := numbered(0)
		if err := adds.EnsureMasquerade(t.Context(), o, addrs); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			var errs []error
			for i := range 30 {
				other, more := numbered(1 + i)
				other.Network = o.Network
				more[0] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 2, byte(i), 2}), 24)
				errs = append(errs, adds.EnsureMasquerade(t.Context(), other, more))
			}
			done <- errors.Join(errs...)
		}()
		for times := 1; ; times++ {
			if err := checks.CheckMasquerade(t.Context(), o, addrs); err != nil {
				t.Errorf("check %d: %v", times, err)
			}
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				return
			default:
			}
		}
	})
}

// TestMasquerade_listBesideAdd lists a network while it grows, and with it the hash tables
// of the kernel: none is listed twice, and none that was there before is missing.
func TestMasquerade_listBesideAdd(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{firewall.NFTables, firewall.IPTables} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			n := nstest.New(t)
			const before, more = 50, 1000
			adds, lists := open(t, n, backend), open(t, n, backend)
			add := func(i int) error {
				o, addrs := numbered(i)
				return adds.EnsureMasquerade(t.Context(), o, addrs[:1])
			}
			for i := range before {
				if err := add(i); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error)
			go func() {
				var errs []error
				for i := range more {
					errs = append(errs, add(before+i))
				}
				done <- errors.Join(errs...)
			}()
			for {
				all, err := lists.ListMasquerade(t.Context(), "large")
				if err != nil {
					t.Errorf("ListMasquerade() = %v", err)
				}
				seen := map[netip.Addr]int{}
				for _, m := range all {
					if seen[m.Addr]++; seen[m.Addr] == 2 {
						t.Errorf("%s is listed twice", m.Addr)
					}
				}
				for i := range before {
					if _, addrs := numbered(i); seen[addrs[0].Addr()] == 0 {
						t.Errorf("%s is not listed", addrs[0].Addr())
					}
				}
				select {
				case err := <-done:
					if err != nil {
						t.Error(err)
					}
					return
				default:
				}
			}
		})
	}
}

// TestMasquerade_reference removes what the reference plugins left for a container, and
// that only: compat B6, part 3.
func TestMasquerade_reference(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ setup, left string }{
		"iptables": {
			setup: `
table ip nat {
	chain CNI-f0bca4ac77cde1bf2f3da5df { ip daddr 10.1.2.0/24 accept; ip daddr != 224.0.0.0/4 masquerade; }
	chain CNI-other { masquerade; }
	chain POSTROUTING { type nat hook postrouting priority 100; ip saddr 10.1.2.2 jump CNI-f0bca4ac77cde1bf2f3da5df; ip saddr 10.1.2.3 jump CNI-other; }
}
table ip6 nat {
	chain CNI-f0bca4ac77cde1bf2f3da5df { masquerade; }
	chain POSTROUTING { type nat hook postrouting priority 100; ip6 saddr fd00::2 jump CNI-f0bca4ac77cde1bf2f3da5df; }
}`,
			left: `
table ip nat {
	chain CNI-other { masquerade; }
	chain POSTROUTING { type nat hook postrouting priority 100; ip saddr 10.1.2.3 jump CNI-other; }
}
table ip6 nat {
	chain POSTROUTING { type nat hook postrouting priority 100; }
}`,
		},
		"nftables": {
			setup: `
table inet cni_plugins_masquerade {
	chain masq_checks {
		ip saddr 10.1.2.2 ip daddr != 10.1.2.0/24 masquerade comment "d23676b4f2d9fe04-f4d01f2ef4b92245, net: mynet, if: eth0, id: c1"
		ip saddr 10.1.2.3 ip daddr != 10.1.2.0/24 masquerade comment "d23676b4f2d9fe04-ce22e8fef5c0a4f4, net: mynet, if: eth1, id: c1"
	}
	chain postrouting { type nat hook postrouting priority 100; goto masq_checks; }
}`,
			left: `
table inet cni_plugins_masquerade {
	chain masq_checks {
		ip saddr 10.1.2.3 ip daddr != 10.1.2.0/24 masquerade comment "d23676b4f2d9fe04-ce22e8fef5c0a4f4, net: mynet, if: eth1, id: c1"
	}
	chain postrouting { type nat hook postrouting priority 100; goto masq_checks; }
}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, want := nstest.New(t), nstest.New(t)
			loadRules(t, n, tt.setup)
			loadRules(t, want, tt.left)
			h := open(t, n, firewall.NFTables)
			for range 2 {
				if err := h.DelMasquerade(t.Context(), firewall.Owner{Network: "mynet", ContainerID: "c1", IfName: "eth0"}); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(ruleset(t, want), ruleset(t, n)); diff != "" {
					t.Errorf("left behind (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// loadRules loads nftables rules into a namespace.
func loadRules(t testing.TB, n *nstest.NS, rules string) {
	t.Helper()
	if out, err := run(n, rules, "nft", "-f", "-"); err != nil {
		if _, missing := exec.LookPath("nft"); missing != nil {
			nstest.Lacks(t, "program nft", missing)
		}
		t.Fatalf("nft: %v: %s", err, out)
	}
}

// TestMasquerade_halfMade: GC copes with what an ADD made that was killed between the sets
// and the rules.
func TestMasquerade_halfMade(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.IPTables)
	o := firewall.Owner{Network: "half", ContainerID: "c1", IfName: "eth0"}
	addrs := []netip.Prefix{netip.MustParsePrefix("10.1.2.2/20"), netip.MustParsePrefix("fd00:1::2/64")}
	if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"iptables-restore", "ip6tables-restore"} {
		if out, err := run(n, "*nat\n-F\n-X\nCOMMIT\n", program); err != nil {
			t.Fatalf("%s: %v: %s", program, err, out)
		}
	}
	if err := h.CollectMasquerade(t.Context(), o.Network, nil); err != nil {
		t.Errorf("CollectMasquerade of sets without rules = %v", err)
	}
	if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
		t.Errorf("EnsureMasquerade afterwards = %v", err)
	}
	if err := h.CheckMasquerade(t.Context(), o, addrs); err != nil {
		t.Errorf("CheckMasquerade afterwards = %v", err)
	}
}
