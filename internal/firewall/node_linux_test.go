// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// node is a host with one link to the outside and a bridge with containers:
//
//	outside 192.0.2.2, 2001:db8:9::2 ── up0 192.0.2.1, 2001:db8:9::1 host br0 10.1.2.1/24, fd00:1::1/64 ── containers
type node struct {
	host, outside *nstest.NS
	containers    int
}

// Addresses of a node, by family: 4 and 6.
var (
	outsideAddr = map[int]netip.Addr{4: netip.MustParseAddr("192.0.2.2"), 6: netip.MustParseAddr("2001:db8:9::2")}
	hostAddr    = map[int]netip.Addr{4: netip.MustParseAddr("192.0.2.1"), 6: netip.MustParseAddr("2001:db8:9::1")}
)

// newNode makes a node without containers. The outside has routes to the containers,
// so that what is not masqueraded arrives too.
func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{host: nstest.New(t), outside: nstest.New(t)}
	nstest.NeedSysctl(t, n.host)
	noWait(t, n.host)
	noWait(t, n.outside)
	ip(t, n.host, fmt.Sprintf(`
link set lo up
link add up0 type veth peer name out0 netns /proc/%d/fd/%d
addr add 192.0.2.1/24 dev up0
addr add 2001:db8:9::1/64 dev up0 nodad
link set up0 up
link add br0 type bridge
addr add 10.1.2.1/24 dev br0
addr add fd00:1::1/64 dev br0 nodad
link set br0 up`, os.Getpid(), n.outside.Fd()))
	ip(t, n.outside, `
link set lo up
addr add 192.0.2.2/24 dev out0
addr add 2001:db8:9::2/64 dev out0 nodad
link set out0 up
route add 10.0.0.0/8 via 192.0.2.1
route add fd00::/16 via 2001:db8:9::1`)
	sysctl(t, n.host, "net/ipv4/ip_forward", "1")
	sysctl(t, n.host, "net/ipv6/conf/all/forwarding", "1")
	return n
}

// noWait lets links made later in a namespace speak IPv6 at once, without looking for
// duplicates of their addresses.
func noWait(t *testing.T, n *nstest.NS) {
	t.Helper()
	for _, link := range []string{"all", "default"} {
		sysctl(t, n, "net/ipv6/conf/"+link+"/accept_dad", "0")
	}
}

// container is a namespace with an eth0 on the bridge of a node.
type container struct {
	ns    *nstest.NS
	addrs []netip.Prefix
	owner firewall.Owner
}

// addr returns the container's address of a family.
func (c *container) addr(family int) netip.Addr {
	for _, p := range c.addrs {
		if p.Addr().Is4() == (family == 4) {
			return p.Addr()
		}
	}
	panic("no such family")
}

// newContainer adds a container, 10.1.2.N and fd00:1::N with N from 2 on.
func (n *node) newContainer(t *testing.T) *container {
	t.Helper()
	n.containers++
	number := n.containers + 1
	c := &container{
		ns: nstest.New(t),
		addrs: []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("10.1.2.%d/24", number)),
			netip.MustParsePrefix(fmt.Sprintf("fd00:1::%x/64", number)),
		},
		owner: firewall.Owner{Network: "mynet", ContainerID: fmt.Sprintf("c%d", number), IfName: "eth0"},
	}
	noWait(t, c.ns)
	ip(t, n.host, fmt.Sprintf(`
link add veth%d type veth peer name eth0 netns /proc/%d/fd/%d
link set veth%d master br0 up
link set dev veth%d type bridge_slave hairpin on`, number, os.Getpid(), c.ns.Fd(), number, number))
	ip(t, c.ns, fmt.Sprintf(`
link set lo up
addr add %s dev eth0
addr add %s dev eth0 nodad
link set eth0 up
route add default via 10.1.2.1
route add default via fd00:1::1`, c.addrs[0], c.addrs[1]))
	return c
}

// ip runs commands of iproute2 in a namespace.
func ip(t testing.TB, n *nstest.NS, commands string) {
	t.Helper()
	if out, err := run(n, strings.TrimSpace(commands)+"\n", "ip", "-batch", "-"); err != nil {
		if _, missing := exec.LookPath("ip"); missing != nil {
			nstest.Lacks(t, "program ip", missing)
		}
		t.Fatalf("ip: %v: %s", err, out)
	}
}

// run runs a program in a namespace with an input, and returns what it prints.
func run(n *nstest.NS, stdin, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	err := n.Run(cmd)
	return out.String(), err
}

// sysctl writes a setting in a namespace.
func sysctl(t testing.TB, n *nstest.NS, name, value string) {
	t.Helper()
	n.Do(t, func() {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	})
}

// bridgesSeen reports whether the firewall of a namespace sees what bridges forward: not where
// the kernel has br_netfilter as a module that is not loaded.
func bridgesSeen(t testing.TB, n *nstest.NS) (seen bool) {
	t.Helper()
	n.Do(t, func() {
		_, err := os.Stat("/proc/sys/net/bridge")
		seen = err == nil
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	})
	return seen
}

// unseen makes what bridges of a namespace forward none of the firewall's business.
func unseen(t testing.TB, n *nstest.NS) {
	t.Helper()
	if bridgesSeen(t, n) {
		sysctl(t, n, "net/bridge/bridge-nf-call-iptables", "0")
		sysctl(t, n, "net/bridge/bridge-nf-call-ip6tables", "0")
	}
}

// needsProgram skips the test on a machine without the program of a backend.
func needsProgram(t testing.TB, backend string) {
	t.Helper()
	if backend != firewall.IPTables {
		return
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		nstest.Lacks(t, "program iptables", err)
	}
}

// open opens the firewall of a namespace.
func open(t testing.TB, n *nstest.NS, backend string) *firewall.Host {
	t.Helper()
	var h *firewall.Host
	only := backend == iptablesOnly
	if only {
		backend = firewall.IPTables
	}
	needsProgram(t, backend)
	n.Do(t, func() {
		var err error
		if h, err = firewall.Open(t.Context(), firewall.Config{Backend: backend, Log: testLog(t)}); err != nil {
			t.Fatal(err)
		}
	})
	if only {
		h.WithoutIPSet()
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// testLog logs to the test.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testWriter writes to the log of a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// How long an exchange of packets may take that is to succeed, on whatever machine, and
// how long silence takes to be believed.
const (
	patience   = 20 * time.Second
	impatience = time.Second
)

// serve answers in a namespace, on a port of all addresses, until the test ends: to
// each connection or datagram with the address it came from and name.
func serve(t testing.TB, n *nstest.NS, network string, port int, name string) {
	t.Helper()
	at := fmt.Sprintf(":%d", port)
	if strings.HasPrefix(network, "udp") {
		var pc net.PacketConn
		n.Do(t, func() {
			var err error
			if pc, err = net.ListenPacket(network, at); err != nil {
				t.Fatal(err)
			}
		})
		t.Cleanup(func() { closeIt(t, pc) })
		go func() {
			b := make([]byte, 100)
			for {
				_, from, err := pc.ReadFrom(b)
				if err != nil {
					return
				}
				if _, err := pc.WriteTo([]byte(host(from)+" "+name), from); err != nil {
					return
				}
			}
		}()
		return
	}
	var l net.Listener
	n.Do(t, func() {
		var err error
		if l, err = net.Listen(network, at); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { closeIt(t, l) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, err = io.WriteString(c, host(c.RemoteAddr())+" "+name)
			if errors.Join(err, c.Close()) != nil {
				return // the asker sees what is missing
			}
		}
	}()
}

// closeIt closes c and reports an error.
func closeIt(t testing.TB, c io.Closer) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// host returns the address without port and zone of a.
func host(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	return ap.Addr().Unmap().WithZone("").String()
}

// ask sends something from a namespace to a server of serve, and returns the source
// address that it saw and its name, or an error.
func ask(t testing.TB, n *nstest.NS, network string, to netip.AddrPort) (source, name string, err error) {
	t.Helper()
	return askFrom(t, n, network, nil, to, patience)
}

// tryToAsk is ask where no answer may come.
func tryToAsk(t testing.TB, n *nstest.NS, network string, to netip.AddrPort) (source, name string, err error) {
	t.Helper()
	return askFrom(t, n, network, nil, to, impatience)
}

// askFrom is ask from a certain local address, for a certain time.
func askFrom(t testing.TB, n *nstest.NS, network string, from net.Addr, to netip.AddrPort, wait time.Duration) (source, name string, err error) {
	t.Helper()
	var c net.Conn
	end := time.Now().Add(wait)
	n.Do(t, func() {
		// On a busy machine a neighbour may not be found in the three seconds that the kernel
		// takes, perhaps since its namespaces share one table; and TCP waits longer from try
		// to try.
		d := net.Dialer{Timeout: min(wait, 4*time.Second), LocalAddr: from}
		for {
			c, err = d.DialContext(t.Context(), network, to.String())
			var timeout net.Error
			again := errors.Is(err, unix.EHOSTUNREACH) || errors.As(err, &timeout) && timeout.Timeout()
			if !again || time.Now().After(end) {
				break
			}
		}
	})
	if err != nil {
		return "", "", err
	}
	defer closeIt(t, c)
	b := make([]byte, 200)
	k := 0
	for {
		if network == "udp" {
			if _, err := io.WriteString(c, "hello"); err != nil {
				return "", "", err
			}
		}
		if err := c.SetReadDeadline(time.Now().Add(min(wait, time.Second))); err != nil {
			t.Fatal(err)
		}
		k, err = c.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		return "", "", err
	}
	source, name, _ = strings.Cut(string(b[:k]), " ")
	return source, name, nil
}
