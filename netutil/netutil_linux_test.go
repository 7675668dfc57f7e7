// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
)

func TestMain(m *testing.M) { nstest.Main(m) }

var (
	prefix = netip.MustParsePrefix
	ip     = netip.MustParseAddr

	netipEqual = cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmpopts.EquateEmpty(),
	}

	sortStrings = cmpopts.SortSlices(func(a, b string) bool { return a < b })
)

// space is a namespace of a test, and a conversation about it.
type space struct {
	*netutil.Conn
	ns   *ns.NS
	test *nstest.NS
}

func newSpace(t testing.TB) space {
	t.Helper()
	s := space{test: nstest.New(t)}
	var err error
	if s.ns, err = ns.Open(s.test.Path()); err != nil {
		t.Fatal(err)
	}
	if s.Conn, err = netutil.Open(s.ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		if err := s.ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ipJSON runs "ip -j" with args in the namespace and decodes what it prints into a
// list of objects.
func (s space) ipJSON(t testing.TB, args ...string) []map[string]any {
	t.Helper()
	var list []map[string]any
	out := s.test.Output(t, "ip", append([]string{"-j", "-d"}, args...)...)
	if len(out) == 0 {
		return nil
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("ip %v printed %q: %v", args, out, err)
	}
	return list
}

// sysctl reads a setting of the namespace without the code under test.
func (s space) sysctl(t testing.TB, name string) string {
	t.Helper()
	out := s.test.Output(t, "cat", "/proc/sys/net/"+name)
	return string(out[:max(len(out)-1, 0)])
}

// bridge makes a bridge.
func (s space) bridge(t testing.TB, name string, cfg netutil.BridgeConfig) *netutil.Link {
	t.Helper()
	br, created, err := s.EnsureBridge(t.Context(), name, cfg)
	if err != nil || !created {
		t.Fatalf("EnsureBridge(%s) = %v, %v", name, created, err)
	}
	return br
}

// veth makes a veth from s to a sandbox.
func (s space) veth(t testing.TB, sandbox space, cfg netutil.VethConfig) *netutil.Veth {
	t.Helper()
	cfg.Peer.NS = sandbox.ns
	if cfg.Peer.Name == "" {
		cfg.Peer.Name = "eth0"
	}
	if cfg.Name == "" {
		cfg.Name = "host0"
	}
	v, created, err := s.EnsureVeth(t.Context(), cfg)
	if err != nil || !created {
		t.Fatalf("EnsureVeth(%s) = %v, %v", cfg.Name, created, err)
	}
	return v
}

// echo sends one packet from a namespace to an address in another and waits for it to
// come back. There is no second try: a first packet that is lost is a failure.
func echo(t testing.TB, from, to space, addr netip.Addr) {
	t.Helper()
	var server *net.UDPConn
	to.test.Do(t, func() {
		var err error
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		if err != nil {
			t.Fatal(err)
		}
	})
	done := make(chan error, 1)
	go func() {
		buf := make([]byte, 16)
		n, peer, err := server.ReadFromUDPAddrPort(buf)
		if err == nil {
			_, err = server.WriteToUDPAddrPort(buf[:n], peer)
		}
		done <- err
	}()
	from.test.Do(t, func() {
		client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server.LocalAddr().(*net.UDPAddr).AddrPort()))
		if err != nil {
			t.Fatal(err)
		}
		err = client.SetDeadline(time.Now().Add(5 * time.Second))
		if err == nil {
			_, err = client.Write([]byte("hello"))
		}
		if err == nil {
			_, err = client.Read(make([]byte, 16))
		}
		if err := errors.Join(err, client.Close()); err != nil {
			t.Errorf("echo from %v: %v", addr, err)
		}
	})
	if err := errors.Join(server.Close(), <-done); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("echo at %v: %v", addr, err)
	}
}

// asMismatch returns the differences that err tells of.
func asMismatch(t testing.TB, err error) []netutil.Difference {
	t.Helper()
	var m *netutil.MismatchError
	if !errors.As(err, &m) {
		t.Fatalf("error = %v, want a MismatchError", err)
	}
	return m.Differences
}
