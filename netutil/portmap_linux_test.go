// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

func TestPortMapper(t *testing.T) {
	t.Parallel()
	m := openIn(t, nstest.New(t), netutil.OpenPortMapper)
	addrs := []netip.Prefix{netip.MustParsePrefix("10.1.2.2/24"), netip.MustParsePrefix("fd00::2/64"), netip.MustParsePrefix("10.1.2.9/24")}
	http := types.PortMapping{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"}
	dns := types.PortMapping{HostPort: 53, ContainerPort: 53, Protocol: "udp", HostIP: netip.MustParseAddr("192.0.2.1")}
	c := netutil.PortMapConfig{Addrs: addrs, Ports: []types.PortMapping{http, dns}}
	a, b := inNetwork("n", "a"), inNetwork("n", "b")
	if err := errors.Join(m.Ensure(t.Context(), a, c), m.Check(t.Context(), a, c)); err != nil {
		t.Fatal(err)
	}
	got, err := m.List(t.Context(), "n")
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b netutil.MappedPort) int { return a.Host.Compare(b.Host) })
	want := []netutil.MappedPort{
		{Owner: a, Protocol: "tcp", Host: netip.MustParseAddrPort("0.0.0.0:8080"), Container: netip.MustParseAddrPort("10.1.2.2:80")},
		{Owner: a, Protocol: "udp", Host: netip.MustParseAddrPort("192.0.2.1:53"), Container: netip.MustParseAddrPort("10.1.2.2:53")},
		{Owner: a, Protocol: "tcp", Host: netip.MustParseAddrPort("[::]:8080"), Container: netip.MustParseAddrPort("[fd00::2]:80")},
	}
	if !slices.Equal(got, want) {
		t.Errorf("List() = %v, want %v", got, want)
	}

	var conflict *netutil.PortConflictError
	err = m.Ensure(t.Context(), b, netutil.PortMapConfig{Addrs: addrs, Ports: []types.PortMapping{http}})
	if !errors.As(err, &conflict) || conflict.Holder != a || conflict.Port.HostPort != 8080 {
		t.Errorf("Ensure of a taken port = %v, want a conflict with %s", err, a)
	}
	for _, p := range []types.PortMapping{{HostPort: 1, ContainerPort: 1, Protocol: "icmp"}, {HostPort: 0, ContainerPort: 1, Protocol: "tcp"}} {
		var invalid *netutil.PortMappingError
		if err := m.Ensure(t.Context(), b, netutil.PortMapConfig{Addrs: addrs, Ports: []types.PortMapping{p}}); !errors.As(err, &invalid) || invalid.Port != p {
			t.Errorf("Ensure(%v) = %v, want a PortMappingError", p, err)
		}
	}
	if err := m.Ensure(t.Context(), b, netutil.PortMapConfig{Addrs: addrs, Ports: []types.PortMapping{dns}, MarkMasqBit: types.Some(32)}); err == nil {
		t.Error("Ensure with mark bit 32 = nil, want error")
	}
	if err := m.Collect(t.Context(), "n", nil); err == nil {
		t.Error("Collect without a list = nil, want error: absent is not empty")
	}
	if err := errors.Join(m.Collect(t.Context(), "n", []netutil.Owner{a}), m.Check(t.Context(), a, c), m.Del(t.Context(), a), m.Del(t.Context(), a)); err != nil {
		t.Error(err)
	}
	if err := m.Check(t.Context(), a, c); err == nil {
		t.Error("Check after Del = nil, want error")
	}
}

// TestPortMapper_nothing does nothing without ports, and tells of a mapping that is for
// a family the container has not.
func TestPortMapper_nothing(t *testing.T) {
	t.Parallel()
	var log logBuffer
	n := nstest.New(t)
	var m *netutil.PortMapper
	n.Do(t, func() {
		var err error
		m, err = netutil.OpenPortMapper(t.Context(), netutil.FirewallConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
	})
	c := netutil.PortMapConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.2.2/24")}}
	if err := m.Ensure(t.Context(), inNetwork("n", "a"), c); err != nil || log.n != 0 {
		t.Errorf("Ensure without ports = %v, and logged %d records", err, log.n)
	}
	c.Ports = []types.PortMapping{{HostPort: 80, ContainerPort: 80, Protocol: "tcp", HostIP: netip.MustParseAddr("2001:db8::1")}}
	if err := m.Ensure(t.Context(), inNetwork("n", "a"), c); err != nil || log.n != 1 {
		t.Errorf("Ensure of the other family = %v, and logged %d records, want 1", err, log.n)
	}
	if got := string(n.Output(t, "nft", "list", "ruleset")); got != "" {
		t.Errorf("ruleset:\n%s", got)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// logBuffer counts records.
type logBuffer struct{ n int }

func (b *logBuffer) Write(p []byte) (int, error) {
	b.n++
	return len(p), nil
}

// TestPortMapper_routeLocalnet sets it on the link that leads to the container, in the
// namespace the mapper was opened in, and not with NoSNAT.
func TestPortMapper_routeLocalnet(t *testing.T) {
	t.Parallel()
	for _, noSNAT := range []bool{false, true} {
		s := newSpace(t)
		nstest.NeedSysctl(t, s.test)
		s.test.Output(t, "ip", "link", "add", "br0", "type", "bridge")
		s.test.Output(t, "ip", "addr", "add", "10.1.2.1/24", "dev", "br0")
		s.test.Output(t, "ip", "link", "set", "br0", "up")
		m := openIn(t, s.test, netutil.OpenPortMapper)
		c := netutil.PortMapConfig{
			Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.2.2/24")}, NoSNAT: noSNAT,
			Ports: []types.PortMapping{{HostPort: 80, ContainerPort: 80, Protocol: "sctp"}},
		}
		if err := m.Ensure(t.Context(), inNetwork("n", "a"), c); err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{false: "1", true: "0"}[noSNAT]
		if got, err := s.Sysctl("ipv4/conf/br0/route_localnet"); err != nil || got != want {
			t.Errorf("route_localnet = %q, %v with NoSNAT %t, want %s", got, err, noSNAT, want)
		}
	}
}
