// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// neighbours are rules as kube-proxy and Docker make them: a service address that
// leads to a container, marks for masquerading, published ports, and a filter that is shut
// for what is not known.
const neighbours = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 7 -j DNAT --to-destination 10.1.2.2:7
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 9000 -j DNAT --to-destination 10.1.2.3:7
COMMIT
*filter
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
COMMIT
`

// neighbours6 are the same for IPv6.
const neighbours6 = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT ! -d ::1/128 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -d fd00:96::10/128 -p tcp -m tcp --dport 7 -j DNAT --to-destination [fd00:1::2]:7
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 9000 -j DNAT --to-destination [fd00:1::3]:7
COMMIT
`

// TestNeighbours is a node where kube-proxy and Docker have their rules: theirs go on
// to work, ours work, and DEL leaves theirs as they were.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		if out, err := run(n.host, neighbours, "iptables-restore"); err != nil {
			t.Fatalf("iptables-restore: %v: %s", err, out)
		}
		if out, err := run(n.host, neighbours6, "ip6tables-restore"); err != nil {
			t.Fatalf("ip6tables-restore: %v: %s", err, out)
		}
		rules := func() string {
			return withoutOurs(string(n.host.Output(t, "iptables", "-t", "nat", "-S"))) + string(n.host.Output(t, "iptables", "-S")) +
				withoutOurs(string(n.host.Output(t, "ip6tables", "-t", "nat", "-S")))
		}
		before := rules()
		c, other := n.newContainer(t), n.newContainer(t)
		ip(t, n.outside, "route add 10.96.0.0/16 via 192.0.2.1\nroute add fd00:96::/64 via 2001:db8:9::1")
		serve(t, c.ns, "tcp", 7, "c")
		serve(t, other.ns, "tcp", 7, "other")
		serve(t, n.outside, "tcp", 7, "outside")
		h := open(t, n.host, backend)
		for _, c := range []*container{c, other} {
			if err := h.EnsureMasquerade(t.Context(), c.owner, c.addrs); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.EnsurePortMap(t.Context(), c.owner, portMap(c, firewall.TCP, 8080)); err != nil {
			t.Fatal(err)
		}
		outside := &container{ns: n.outside}
		bothFamilies(t, func(t *testing.T, family int) {
			service := netip.AddrPortFrom(map[int]netip.Addr{4: netip.MustParseAddr("10.96.0.10"), 6: netip.MustParseAddr("fd00:96::10")}[family], 7)
			answers(t, outside, "tcp", netip.AddrPortFrom(hostAddr[family], 8080), "c", outsideAddr[family])
			answers(t, outside, "tcp", netip.AddrPortFrom(hostAddr[family], 9000), "other", outsideAddr[family]) // Docker's
			answers(t, outside, "tcp", service, "c", outsideAddr[family])                                        // kube-proxy's
			// The answer to a neighbour has to be changed back, for which kube-proxy asks for this.
			if bridgesSeen(t, n.host) {
				answers(t, other, "tcp", service, "c", other.addr(family))
			}
			answers(t, other, "tcp", netip.AddrPortFrom(outsideAddr[family], 7), "outside", hostAddr[family])
		})
		for _, c := range []*container{c, other} {
			if err := h.DelPortMap(t.Context(), c.owner); err != nil {
				t.Fatal(err)
			}
			if err := h.DelMasquerade(t.Context(), c.owner); err != nil {
				t.Fatal(err)
			}
		}
		if after := rules(); after != before {
			t.Errorf("the neighbours' rules are\n%s\nwant\n%s", after, before)
		}
		bothFamilies(t, func(t *testing.T, family int) {
			answers(t, outside, "tcp", netip.AddrPortFrom(hostAddr[family], 9000), "other", outsideAddr[family])
		})
	})
}

// withoutOurs drops our lines of "iptables -S". They never come before one of others in
// the same chain: shared chains are not prepended to (CVE-2019-9946).
func withoutOurs(text string) string {
	var rest strings.Builder
	ours := map[string]bool{}
	for line := range strings.Lines(text) {
		chain := strings.Join(strings.Fields(line)[:2], " ")
		switch {
		case strings.Contains(line, "CNIKIT") || strings.Contains(line, "cnikit"):
			ours[chain] = true
		case ours[chain]:
			rest.WriteString("after ours: " + line)
		default:
			rest.WriteString(line)
		}
	}
	return rest.String()
}

// traced returns how many rules and policies of ours decided about the first packet of
// a connection. Rules that do not match nft does not show; which those are does not
// depend on elements.
func traced(t *testing.T, n *node, c *container, to netip.AddrPort) int {
	t.Helper()
	loadRules(t, n.host, `
table inet tracer {
	chain prerouting { type filter hook prerouting priority -350; tcp flags & (syn | ack) == syn meta nftrace set 1; }
	chain output { type filter hook output priority -350; tcp flags & (syn | ack) == syn meta nftrace set 1; }
}`)
	defer loadRules(t, n.host, "delete table inet tracer")
	// nft says neither when it is ready, for which it reads the whole ruleset, nor when
	// it has seen all. So what counts is what is seen twice.
	last := 0
	for wait := 100 * time.Millisecond; wait < time.Minute; {
		stop := startTrace(t, n.host)
		time.Sleep(wait)
		if _, _, err := ask(t, c.ns, "tcp", to); err != nil {
			t.Fatal(err)
		}
		time.Sleep(wait)
		met := strings.Count(stop(), " inet cnikit-")
		if met > 0 && met == last {
			return met
		}
		if last == 0 || met < last {
			wait *= 2
		}
		last = met
	}
	t.Fatalf("nft sees now this, now that of the first packet to %s", to)
	return 0
}

// TestConstantRules counts, by nft's own trace, the rules that the first packet of a
// connection meets: as many with one container as with a hundred and their ports.
func TestConstantRules(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := n.newContainer(t)
	serve(t, n.outside, "tcp", 7, "outside")
	serve(t, c.ns, "tcp", 7, "c")
	h := open(t, n.host, firewall.NFTables)
	add := func(o firewall.Owner, addrs []netip.Prefix, ports ...uint16) {
		t.Helper()
		if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
			t.Fatal(err)
		}
		p := portMap(&container{addrs: addrs}, firewall.TCP, ports...)
		if err := h.EnsurePortMap(t.Context(), o, p); err != nil {
			t.Fatal(err)
		}
	}
	// In the subnet of those that come later, so that they add no rule for one.
	add(c.owner, []netip.Prefix{netip.PrefixFrom(c.addrs[0].Addr(), 16), c.addrs[1]}, 80)
	out := netip.AddrPortFrom(outsideAddr[4], 7)
	in := netip.AddrPortFrom(hostAddr[4], 80)
	outOne, inOne := traced(t, n, c, out), traced(t, n, &container{ns: n.outside}, in)
	for i := range 100 {
		o, _ := numbered(i)
		o.Network = c.owner.Network
		addrs := []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(3 + i/200), byte(10 + i%200)}), 16),
			netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("fd00:1::1:%x", i)), 64),
		}
		var ports []uint16
		for p := range 5 {
			ports = append(ports, uint16(1000+5*i+p))
		}
		add(o, addrs, ports...)
	}
	outMany, inMany := traced(t, n, c, out), traced(t, n, &container{ns: n.outside}, in)
	if outMany != outOne || inMany != inOne || outOne == 0 || inOne == 0 {
		t.Errorf("rules met: %d outwards and %d inwards, with one container %d and %d; want the same", outMany, inMany, outOne, inOne)
	}
	t.Logf("rules met by the first packet: %d outwards, %d inwards", outOne, inOne)
}

// TestConstantRules_iptables is the same for masquerading by iptables with ipset: there are as many
// rules with one container as with fifty, so a packet meets no more.
func TestConstantRules_iptables(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.IPTables)
	rules := func() string {
		return string(n.Output(t, "iptables", "-t", "nat", "-S")) + string(n.Output(t, "ip6tables", "-t", "nat", "-S"))
	}
	one := ""
	for i := range 50 {
		o, addrs := numbered(i)
		if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			one = rules()
		}
	}
	if many := rules(); many != one || !strings.Contains(one, "MASQUERADE") {
		t.Errorf("rules for fifty containers:\n%s\nfor one:\n%s", many, one)
	}
}

// TestPortMap_concurrent maps ports of many containers at once, and one port to many:
// one of them gets it.
func TestPortMap_concurrent(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := nstest.New(t)
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := 0
		for i := range 8 {
			h := open(t, n, backend)
			o, addrs := numbered(i)
			o.Network = fmt.Sprint("net", i%2)
			wg.Go(func() {
				if err := h.EnsurePortMap(t.Context(), o, portMap(&container{addrs: addrs}, firewall.TCP, uint16(100+i))); err != nil {
					t.Error(err)
				}
				o.IfName = "eth1"
				err := h.EnsurePortMap(t.Context(), o, portMap(&container{addrs: addrs}, firewall.TCP, 80))
				var conflict *firewall.ConflictError
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					got++
				} else if !errors.As(err, &conflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got != 1 {
			t.Errorf("%d containers got one port, want 1", got)
		}
		h := open(t, n, backend)
		for i := range 2 {
			if err := h.CollectPortMap(t.Context(), fmt.Sprint("net", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		if left := ownRules(t, n); left != "" {
			t.Errorf("left after the garbage collection of everything:\n%s", left)
		}
	})
}

// startTrace starts "nft monitor trace" and returns a function that ends it and returns
// what it printed.
func startTrace(t *testing.T, n *nstest.NS) func() string {
	t.Helper()
	var out lockedBuffer
	cmd := exec.Command("nft", "monitor", "trace")
	cmd.Stdout = &out
	if cmd.Err != nil {
		nstest.Lacks(t, "program nft", cmd.Err)
	}
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	return func() string {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return out.String()
	}
}

// lockedBuffer is a buffer that another goroutine writes to.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
