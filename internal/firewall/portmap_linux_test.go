// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// unspecified returns the address that stands for all of a family.
func unspecified(family int) netip.Addr {
	if family == 4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// portMap maps ports of all addresses of the host to port 7 of c, in both families.
func portMap(c *container, protocol firewall.Protocol, ports ...uint16) firewall.PortMap {
	p := firewall.PortMap{SNAT: true, MarkBit: 13}
	for _, a := range c.addrs {
		p.Subnets = append(p.Subnets, a.Masked())
	}
	for _, family := range []int{4, 6} {
		for _, port := range ports {
			p.Forwards = append(p.Forwards, firewall.Forward{
				Protocol: protocol, Host: netip.AddrPortFrom(unspecified(family), port),
				Container: netip.AddrPortFrom(c.addr(family), 7),
			})
		}
	}
	return p
}

// answers fails the test unless who is asked by c on a port of to is name, and sees
// the source wanted; any source if that is not valid.
func answers(t *testing.T, c *container, network string, to netip.AddrPort, name string, source netip.Addr) {
	t.Helper()
	gotSource, gotName, err := ask(t, c.ns, network, to)
	if err != nil || gotName != name || source.IsValid() && gotSource != source.String() {
		t.Errorf("%s to %s: answered by %q, which saw %q, %v; want %q to see %s", network, to, gotName, gotSource, err, name, source)
	}
}

// silent fails the test if somebody answers c on a port of to.
func silent(t *testing.T, c *container, network string, to netip.AddrPort) {
	t.Helper()
	if source, name, err := tryToAsk(t, c.ns, network, to); err == nil {
		t.Errorf("%s to %s: answered by %q, which saw %q; want silence", network, to, name, source)
	}
}

// TestPortMap sends packets from everywhere: from outside, from the host by its address
// and by loopback, from another container and from the container itself.
func TestPortMap(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		c, other := n.newContainer(t), n.newContainer(t)
		outside, self := &container{ns: n.outside}, &container{ns: n.host}
		serve(t, c.ns, "tcp", 7, "c")
		serve(t, c.ns, "udp", 7, "c")
		serve(t, n.outside, "tcp", 8080, "outside")
		sysctl(t, n.host, "net/ipv4/conf/br0/route_localnet", "1")
		h := open(t, n.host, backend)
		p := portMap(c, firewall.TCP, 8080, 8081, 7)
		p.Forwards = append(p.Forwards, portMap(c, firewall.UDP, 8080).Forwards...)
		for range 2 {
			if err := h.EnsurePortMap(t.Context(), c.owner, p); err != nil {
				t.Fatal(err)
			}
			if err := h.CheckPortMap(t.Context(), c.owner, p); err != nil {
				t.Fatal(err)
			}
		}
		bothFamilies(t, func(t *testing.T, family int) {
			onHost := netip.AddrPortFrom(hostAddr[family], 8080)
			for _, network := range []string{"tcp", "udp"} {
				answers(t, outside, network, onHost, "c", outsideAddr[family]) // the source is kept
				answers(t, self, network, onHost, "c", netip.Addr{})
				answers(t, other, network, onHost, "c", netip.Addr{})
				answers(t, c, network, onHost, "c", netip.Addr{}) // hairpin
			}
			answers(t, outside, "tcp", netip.AddrPortFrom(hostAddr[family], 8081), "c", outsideAddr[family])
			// CVE-2025-67499: the port of another host is not taken.
			answers(t, c, "tcp", netip.AddrPortFrom(outsideAddr[family], 8080), "outside", netip.Addr{})
			// The container's own port, asked by a neighbour, is left alone, though the
			// host has the same.
			answers(t, other, "tcp", netip.AddrPortFrom(c.addr(family), 7), "c", other.addr(family))
		})
		t.Run("loopback", func(t *testing.T) {
			for _, network := range []string{"tcp", "udp"} {
				answers(t, self, network, netip.MustParseAddrPort("127.0.0.1:8080"), "c", netip.Addr{})
			}
		})
		for range 2 {
			if err := h.DelPortMap(t.Context(), c.owner); err != nil {
				t.Fatal(err)
			}
		}
		bothFamilies(t, func(t *testing.T, family int) {
			silent(t, outside, "tcp", netip.AddrPortFrom(hostAddr[family], 8080))
			silent(t, outside, "udp", netip.AddrPortFrom(hostAddr[family], 8080))
		})
		if all, err := h.ListPortMap(t.Context(), "mynet"); err != nil || len(all) != 0 {
			t.Errorf("ListPortMap() = %v, %v, want none", all, err)
		}
	})
}

// TestPortMap_loopback6 is about [::1] of the host, which no mapping can serve: who listens
// there goes on to be reached, and where nobody does the answer is no, and at once.
func TestPortMap_loopback6(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		c := n.newContainer(t)
		serve(t, c.ns, "tcp", 7, "c")
		serve(t, n.host, "tcp6", 8080, "host")
		sysctl(t, n.host, "net/ipv4/conf/br0/route_localnet", "1")
		if err := open(t, n.host, backend).EnsurePortMap(t.Context(), c.owner, portMap(c, firewall.TCP, 8080, 8081)); err != nil {
			t.Fatal(err)
		}
		self := &container{ns: n.host}
		answers(t, self, "tcp", netip.AddrPortFrom(netip.IPv6Loopback(), 8080), "host", netip.IPv6Loopback())
		answers(t, self, "tcp", netip.AddrPortFrom(hostAddr[6], 8080), "c", netip.Addr{})
		answers(t, self, "tcp", netip.MustParseAddrPort("127.0.0.1:8081"), "c", netip.Addr{})
		if _, name, err := ask(t, n.host, "tcp", netip.AddrPortFrom(netip.IPv6Loopback(), 8081)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("[::1]:8081 answers %q, %v; want it refused", name, err)
		}
	})
}

// TestPortMap_guard is about services on 127.0.0.1 of the host, which route_localnet
// would open to containers.
func TestPortMap_guard(t *testing.T) {
	t.Parallel()
	backends(t, guard)
}

// guard is the test for one backend.
func guard(t *testing.T, backend string) {
	n := newNode(t)
	c := n.newContainer(t)
	var l net.Listener
	n.host.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:9"); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { closeIt(t, l) })
	sysctl(t, n.host, "net/ipv4/conf/br0/route_localnet", "1")
	ip(t, c.ns, "route add 127.0.0.1 via 10.1.2.1 table 100")
	ip(t, c.ns, "rule add to 127.0.0.1 lookup 100 pref 1\nrule add lookup local pref 5\nrule del pref 0")
	sysctl(t, c.ns, "net/ipv4/conf/all/route_localnet", "1")
	try := func(wait time.Duration) error {
		from := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 2)}
		var err error
		c.ns.Do(t, func() {
			d := net.Dialer{Timeout: wait, LocalAddr: from}
			var conn net.Conn
			if conn, err = d.DialContext(t.Context(), "tcp", "127.0.0.1:9"); err == nil {
				err = conn.Close()
			}
		})
		return err
	}
	if err := try(patience); err != nil {
		t.Fatalf("without the guard: %v, want an answer: the test is of no use", err)
	}
	if err := open(t, n.host, backend).EnsurePortMap(t.Context(), c.owner, portMap(c, firewall.TCP, 8080)); err != nil {
		t.Fatal(err)
	}
	if err := try(impatience); err == nil {
		t.Error("a container reaches 127.0.0.1 of the host")
	}
}

// TestPortMap_hostIP maps the same port of two addresses of the host to two
// containers, and of all others to a third.
func TestPortMap_hostIP(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		ip(t, n.host, "addr add 192.0.2.11/24 dev up0\naddr add 192.0.2.12/24 dev up0\naddr add 2001:db8:9::11/64 dev up0 nodad\naddr add 2001:db8:9::12/64 dev up0 nodad")
		h := open(t, n.host, backend)
		for _, i := range []int{0, 2, 1} { // the one for all addresses neither first nor last
			c := n.newContainer(t)
			serve(t, c.ns, "tcp", 7, fmt.Sprint("c", i))
			p := portMap(c, firewall.TCP, 80)
			for j := range p.Forwards {
				host := p.Forwards[j].Host.Addr()
				switch {
				case i < 2 && host.Is4():
					host = netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + i)})
				case i < 2:
					host = netip.MustParseAddr(fmt.Sprintf("2001:db8:9::1%d", i+1))
				}
				p.Forwards[j].Host = netip.AddrPortFrom(host, 80)
			}
			if err := h.EnsurePortMap(t.Context(), c.owner, p); err != nil {
				t.Fatal(err)
			}
		}
		for to, name := range map[string]string{
			"192.0.2.11:80": "c0", "192.0.2.12:80": "c1", "192.0.2.1:80": "c2",
			"[2001:db8:9::11]:80": "c0", "[2001:db8:9::12]:80": "c1", "[2001:db8:9::1]:80": "c2",
		} {
			answers(t, &container{ns: n.outside}, "tcp", netip.MustParseAddrPort(to), name, netip.Addr{})
		}
	})
}

// TestPortMap_source is the source address that the container sees: snat and masqAll.
func TestPortMap_source(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		snat, all     bool
		outside       bool // whether the source from outside is kept
		own, neighbor bool // whether the container reaches itself, and a neighbour the container
	}{
		"snat":             {snat: true, outside: true, own: true, neighbor: true},
		"no snat":          {outside: true},
		"masqAll":          {snat: true, all: true, own: true, neighbor: true},
		"masqAll, no snat": {all: true, own: true, neighbor: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backends(t, func(t *testing.T, backend string) {
				n := newNode(t)
				unseen(t, n.host)
				c, other := n.newContainer(t), n.newContainer(t)
				serve(t, c.ns, "tcp", 7, "c")
				p := portMap(c, firewall.TCP, 80)
				p.SNAT, p.MasqueradeAll = tt.snat, tt.all
				if err := open(t, n.host, backend).EnsurePortMap(t.Context(), c.owner, p); err != nil {
					t.Fatal(err)
				}
				bothFamilies(t, func(t *testing.T, family int) {
					to := netip.AddrPortFrom(hostAddr[family], 80)
					source, _, err := ask(t, n.outside, "tcp", to)
					if err != nil || (source == outsideAddr[family].String()) != tt.outside {
						t.Errorf("from outside: saw %s, %v; want it kept: %t", source, err, tt.outside)
					}
					for _, from := range []struct {
						c    *container
						want bool
					}{{c, tt.own}, {other, tt.neighbor}} {
						try := ask
						if !from.want {
							try = tryToAsk
						}
						if _, _, err := try(t, from.c.ns, "tcp", to); (err == nil) != from.want {
							t.Errorf("from %s: %v, want success: %t", from.c.owner.ContainerID, err, from.want)
						}
					}
				})
			})
		})
	}
}

// TestPortMap_single is a network where each address is a subnet of its own: the
// container reaches itself, and the rules stay the same.
func TestPortMap_single(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		h := open(t, n.host, backend)
		for i := range 2 {
			c := n.newContainer(t)
			serve(t, c.ns, "tcp", 7, "c")
			p := portMap(c, firewall.TCP, uint16(80+i))
			p.Subnets = []netip.Prefix{netip.PrefixFrom(c.addr(4), 32), netip.PrefixFrom(c.addr(6), 128)}
			if err := h.EnsurePortMap(t.Context(), c.owner, p); err != nil {
				t.Fatal(err)
			}
			bothFamilies(t, func(t *testing.T, family int) {
				answers(t, c, "tcp", netip.AddrPortFrom(hostAddr[family], uint16(80+i)), "c", netip.Addr{})
			})
		}
		if got := strings.Count(ruleset(t, n.host), "own subnet"); got != 0 {
			t.Errorf("%d rules for subnets of one address, want none", got)
		}
	})
}

// TestPortMap_nft is a second opinion on the ruleset, which an administrator must be able
// to save and restore.
func TestPortMap_nft(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := n.newContainer(t)
	p := portMap(c, firewall.TCP, 80, 443)
	p.Conditions = [2][]string{{"ip", "saddr", "!=", "{192.0.2.0/24,198.51.100.1}"}, {"iifname", "up0", "ip6", "daddr", "::/0"}}
	if err := open(t, n.host, firewall.NFTables).EnsurePortMap(t.Context(), c.owner, p); err != nil {
		t.Fatal(err)
	}
	got := ruleset(t, n.host)
	for _, want := range []string{
		"dnat ip to meta l4proto . th dport map @dnatany4",
		"ip saddr != 192.0.2.0/24 ip saddr != 198.51.100.1",
		`iifname "up0"`,
		"ip saddr 10.1.2.0/24 masquerade",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nft list ruleset lacks %q:\n%s", want, got)
		}
	}
	restored := nstest.New(t)
	loadRules(t, restored, got)
	if err := open(t, restored, firewall.NFTables).CheckPortMap(t.Context(), c.owner, p); err != nil {
		t.Errorf("CheckPortMap in the restored ruleset: %v", err)
	}
}

// TestPortMap_conflict names the holder, across networks, and changes nothing.
func TestPortMap_conflict(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		holder, late := n.newContainer(t), n.newContainer(t)
		late.owner.Network = "othernet"
		h := open(t, n.host, backend)
		if err := h.EnsurePortMap(t.Context(), holder.owner, portMap(holder, firewall.TCP, 80, 443)); err != nil {
			t.Fatal(err)
		}
		before := ruleset(t, n.host)
		err := h.EnsurePortMap(t.Context(), late.owner, portMap(late, firewall.TCP, 79, 443))
		var conflict *firewall.ConflictError
		if !errors.As(err, &conflict) || conflict.Holder != holder.owner || conflict.Forward.Host.Port() != 443 {
			t.Errorf("EnsurePortMap() = %v, want a conflict about 443 with %v", err, holder.owner)
		}
		if after := ruleset(t, n.host); after != before {
			t.Errorf("a refused map left something:\n%s", after)
		}
		// Another protocol is another port.
		if err := h.EnsurePortMap(t.Context(), late.owner, portMap(late, firewall.UDP, 80, 443)); err != nil {
			t.Error(err)
		}
		// C-43: DEL of one does not touch the other.
		if err := h.DelPortMap(t.Context(), late.owner); err != nil {
			t.Fatal(err)
		}
		if err := h.CheckPortMap(t.Context(), holder.owner, portMap(holder, firewall.TCP, 80, 443)); err != nil {
			t.Error(err)
		}
		twice := portMap(late, firewall.TCP, 81)
		twice.Forwards = append(twice.Forwards, twice.Forwards[0])
		if err := h.EnsurePortMap(t.Context(), late.owner, twice); err != nil {
			t.Errorf("EnsurePortMap with one port twice = %v, want nil", err)
		}
		twice.Forwards[0].Container = netip.AddrPortFrom(twice.Forwards[0].Container.Addr(), 8)
		if err := h.EnsurePortMap(t.Context(), late.owner, twice); !errors.As(err, &conflict) {
			t.Errorf("EnsurePortMap with one port to two places = %v, want a conflict", err)
		}
	})
}

// TestPortMap_again is ADD with other ports or another address: C-46.
func TestPortMap_again(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		old, c := n.newContainer(t), n.newContainer(t)
		serve(t, old.ns, "tcp", 7, "old")
		serve(t, c.ns, "tcp", 7, "new")
		c.owner = old.owner // the container got another address
		h := open(t, n.host, backend)
		for _, p := range []firewall.PortMap{portMap(old, firewall.TCP, 80, 81), portMap(c, firewall.TCP, 80)} {
			if err := h.EnsurePortMap(t.Context(), c.owner, p); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.CheckPortMap(t.Context(), c.owner, portMap(old, firewall.TCP, 80)); err == nil {
			t.Error("CheckPortMap with the old address = nil, want error")
		}
		bothFamilies(t, func(t *testing.T, family int) {
			answers(t, &container{ns: n.outside}, "tcp", netip.AddrPortFrom(hostAddr[family], 80), "new", outsideAddr[family])
			silent(t, &container{ns: n.outside}, "tcp", netip.AddrPortFrom(hostAddr[family], 81))
		})
	})
}

// TestPortMap_inherit is a container with the address of one that got no DEL: its own mapping is
// whole, and stays so when the DEL of the other comes late, or a GC.
func TestPortMap_inherit(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		c := n.newContainer(t)
		serve(t, c.ns, "tcp", 7, "c")
		late := c.owner
		late.ContainerID = "dead"
		h := open(t, n.host, backend)
		p := portMap(c, firewall.TCP, 81)
		p.Subnets = []netip.Prefix{netip.PrefixFrom(c.addr(4), 32), netip.PrefixFrom(c.addr(6), 128)} // hairpin by its own right
		for _, remove := range []func() error{
			func() error { return h.DelPortMap(t.Context(), late) },
			func() error { return h.CollectPortMap(t.Context(), "mynet", []firewall.Owner{c.owner}) },
		} {
			if err := h.EnsurePortMap(t.Context(), late, portMap(c, firewall.TCP, 80)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := errors.Join(h.EnsurePortMap(t.Context(), c.owner, p), h.CheckPortMap(t.Context(), c.owner, p)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(remove(), h.CheckPortMap(t.Context(), c.owner, p)); err != nil {
				t.Error(err)
			}
			bothFamilies(t, func(t *testing.T, family int) {
				answers(t, c, "tcp", netip.AddrPortFrom(hostAddr[family], 81), "c", netip.Addr{})
			})
			if err := h.DelPortMap(t.Context(), c.owner); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestPortMap_udp is a sender that keeps its port while the port of the host gets
// a container, another one, and none.
func TestPortMap_udp(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		a, b := n.newContainer(t), n.newContainer(t)
		serve(t, a.ns, "udp", 7, "a")
		serve(t, b.ns, "udp", 7, "b")
		serve(t, n.host, "udp", 53, "host")
		h := open(t, n.host, backend)
		bothFamilies(t, func(t *testing.T, family int) {
			to := netip.AddrPortFrom(hostAddr[family], 53)
			from := &net.UDPAddr{IP: outsideAddr[family].AsSlice(), Port: 5353}
			wants := func(name string) {
				t.Helper()
				_, got, err := askFrom(t, n.outside, "udp", from, to, patience)
				if err != nil || got != name {
					t.Errorf("answered by %q, %v; want %q", got, err, name)
				}
			}
			wants("host")
			if err := h.EnsurePortMap(t.Context(), a.owner, portMap(a, firewall.UDP, 53)); err != nil {
				t.Fatal(err)
			}
			wants("a")
			if err := h.DelPortMap(t.Context(), a.owner); err != nil {
				t.Fatal(err)
			}
			if err := h.EnsurePortMap(t.Context(), b.owner, portMap(b, firewall.UDP, 53)); err != nil {
				t.Fatal(err)
			}
			wants("b")
			if err := h.DelPortMap(t.Context(), b.owner); err != nil {
				t.Fatal(err)
			}
			wants("host")
		})
	})
}

// TestPortMap_collect keeps what it is told to and leaves nothing of the rest: C-7.
func TestPortMap_collect(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		gone, kept, elsewhere := n.newContainer(t), n.newContainer(t), n.newContainer(t)
		elsewhere.owner.Network = "elsewhere"
		h := open(t, n.host, backend)
		for i, c := range []*container{gone, kept, elsewhere} {
			if err := h.EnsurePortMap(t.Context(), c.owner, portMap(c, firewall.TCP, uint16(80+i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.CollectPortMap(t.Context(), "mynet", []firewall.Owner{kept.owner}); err != nil {
			t.Fatal(err)
		}
		for i, c := range []*container{gone, kept, elsewhere} {
			err := h.CheckPortMap(t.Context(), c.owner, portMap(c, firewall.TCP, uint16(80+i)))
			if (err == nil) != (c != gone) {
				t.Errorf("CheckPortMap(%s) = %v", c.owner, err)
			}
		}
		for _, network := range []string{"mynet", "elsewhere", "elsewhere"} {
			if err := h.CollectPortMap(t.Context(), network, nil); err != nil {
				t.Fatal(err)
			}
		}
		if left := ownRules(t, n.host); left != "" {
			t.Errorf("left after the garbage collection of everything:\n%s", left)
		}
	})
}

// TestPortMap_repair is about rules that somebody flushed: CHECK notices, with all of
// part 2 that portmap passed over (C-57), and the next ADD repairs.
func TestPortMap_repair(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ backend, program, input string }{
		"nft: base chain":       {firewall.NFTables, "nft", "flush chain inet cnikit-ports-mynet prerouting"},
		"nft: masquerading":     {firewall.NFTables, "nft", "flush chain inet cnikit-ports-mynet postrouting"},
		"nft: guard":            {firewall.NFTables, "nft", "flush chain inet cnikit-ports-mynet guard"},
		"nft: map":              {firewall.NFTables, "nft", "flush map inet cnikit-ports-mynet dnatany4"},
		"nft: index":            {firewall.NFTables, "nft", "flush map inet cnikit-ports-mynet owners"},
		"nft: claims":           {firewall.NFTables, "nft", "delete table inet cnikit-ports"},
		"nft: everything":       {firewall.NFTables, "nft", "flush ruleset"},
		"iptables: PREROUTING":  {firewall.IPTables, "iptables-restore", "*nat\n-F PREROUTING\nCOMMIT\n"},
		"iptables: POSTROUTING": {firewall.IPTables, "ip6tables-restore", "*nat\n-F POSTROUTING\nCOMMIT\n"},
		"iptables: everything":  {firewall.IPTables, "iptables-restore", "*nat\n-F\n-X\nCOMMIT\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			c := n.newContainer(t)
			serve(t, c.ns, "tcp", 7, "c")
			h := open(t, n.host, tt.backend)
			p := portMap(c, firewall.TCP, 80)
			if err := h.EnsurePortMap(t.Context(), c.owner, p); err != nil {
				t.Fatal(err)
			}
			args := []string{"-f", "-"}
			if tt.program != "nft" {
				args = []string{"--noflush"}
			}
			if out, err := run(n.host, tt.input, tt.program, args...); err != nil {
				t.Fatalf("%s: %v: %s", tt.program, err, out)
			}
			if err := h.CheckPortMap(t.Context(), c.owner, p); err == nil {
				t.Error("CheckPortMap() = nil after the damage, want error")
			}
			if err := h.EnsurePortMap(t.Context(), c.owner, p); err != nil {
				t.Fatal(err)
			}
			if err := h.CheckPortMap(t.Context(), c.owner, p); err != nil {
				t.Errorf("CheckPortMap() = %v after the repair", err)
			}
			bothFamilies(t, func(t *testing.T, family int) {
				answers(t, &container{ns: n.outside}, "tcp", netip.AddrPortFrom(hostAddr[family], 80), "c", outsideAddr[family])
			})
			if err := h.DelPortMap(t.Context(), c.owner); err != nil {
				t.Fatal(err)
			}
			if all, err := h.ListPortMap(t.Context(), "mynet"); err != nil || len(all) != 0 {
				t.Errorf("ListPortMap() = %v, %v after DEL, want none", all, err)
			}
		})
	}
}
