// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

var owner = netutil.Owner{Network: "mynet", ContainerID: "c1", IfName: "eth0"}

// attach does what ADD of a bridge plugin does.
func attach(t testing.TB, host, sandbox space, o netutil.Owner, ips []types.IP, routes []types.Route) *netutil.Veth {
	t.Helper()
	ctx := t.Context()
	br, _, err := host.EnsureBridge(ctx, "cni0", netutil.BridgeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var gateways []netip.Prefix
	for _, ip := range ips {
		gateways = append(gateways, netip.PrefixFrom(ip.Gateway, ip.Address.Bits()))
	}
	if _, err := host.EnsureGateways(ctx, br, gateways, false); err != nil {
		t.Fatal(err)
	}
	v, _, err := host.EnsureVeth(ctx, netutil.VethConfig{
		Name: o.HostName(), Alias: o.Alias(), Master: br.Index, Port: &netutil.PortConfig{},
		Peer: netutil.VethPeer{NS: sandbox.ns, Name: o.IfName},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := sandbox.Apply(ctx, v.Peer, ips, routes, netutil.ApplyConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := host.SetUp(ctx, v.Host.Index); err != nil {
		t.Fatal(err)
	}
	return v
}

var dualStack = []types.IP{
	{Address: prefix("10.22.0.2/16"), Gateway: ip("10.22.0.1")},
	{Address: prefix("fd22::2/64"), Gateway: ip("fd22::1")},
}

var defaultRoutes = []types.Route{{Dst: prefix("0.0.0.0/0")}, {Dst: prefix("::/0")}}

// The whole path of a bridge plugin: packets get through as soon as ADD is over, the
// first one included, and nobody sleeps. C-34, C-35.
func TestBridgePath(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, sandbox := newSpace(t), newSpace(t)
	v := attach(t, host, sandbox, owner, dualStack, defaultRoutes)

	l, err := host.LinkByIndex(ctx, v.Host.Index)
	if err != nil {
		t.Fatal(err)
	}
	if l.Port == nil || !l.Port.Forwarding {
		t.Errorf("port after SetUp = %+v, want it to forward", l.Port)
	}
	for _, to := range []string{"10.22.0.1", "fd22::1"} {
		echo(t, sandbox, host, ip(to))
	}
	if err := sandbox.Compare(ctx, "eth0", dualStack, defaultRoutes); err != nil {
		t.Errorf("Compare after Apply = %v", err)
	}
	if err := host.DelOwned(ctx, owner); err != nil {
		t.Errorf("DelOwned = %v", err)
	}
	if links := sandbox.ipJSON(t, "link"); len(links) != 1 {
		t.Errorf("links of the sandbox afterwards = %v, want lo alone", links)
	}
}

// What ADD costs: messages to the kernel from the host and from the sandbox, when the
// bridge is there.
func TestBridgePath_Cost(t *testing.T) {
	t.Parallel()
	host := newSpace(t)
	attach(t, host, newSpace(t), owner, dualStack[:1], defaultRoutes[:1])
	other := newSpace(t)
	o := owner
	o.ContainerID = "c2"
	before := netutil.Sent(host.Conn)
	ips := []types.IP{{Address: prefix("10.22.0.3/16"), Gateway: ip("10.22.0.1")}}
	attach(t, host, other, o, ips, defaultRoutes[:1])
	// Bridge, list of its addresses, veth, alias and port, up; and a question about the
	// veth before Linux 6.2, which does not tell what it made.
	if got := netutil.Sent(host.Conn) - before; got != 5 && got != 6 {
		t.Errorf("messages about the host = %d, want 5", got)
	}
	// Address, up, route.
	if got := netutil.Sent(other.Conn); got != 3 {
		t.Errorf("messages about the sandbox = %d, want 3", got)
	}
}

func BenchmarkBridgePath(b *testing.B) {
	host, sandbox := newSpace(b), newSpace(b)
	var add, del time.Duration
	for b.Loop() {
		start := time.Now()
		attach(b, host, sandbox, owner, dualStack[:1], defaultRoutes[:1])
		middle := time.Now()
		if err := host.DelOwned(b.Context(), owner); err != nil {
			b.Fatal(err)
		}
		add += middle.Sub(start)
		del += time.Since(middle)
	}
	b.ReportMetric(float64(add.Microseconds())/float64(b.N), "µs/add")
	b.ReportMetric(float64(del.Microseconds())/float64(b.N), "µs/del")
}

// Errors name the link, or its number once it is gone.
func TestConn_errorsNameLinks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, _, v := pair(t)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{host.SetLink(ctx, v.Host.Index, netutil.LinkConfig{Name: "lo"}), "change link host0: "},
		{host.SetRoute(ctx, netutil.Route{Dst: prefix("10.0.0.0/8"), Gateway: ip("192.0.2.1"), Index: v.Host.Index}), "set route 10.0.0.0/8 via 192.0.2.1 dev host0: "},
		{host.SetUp(ctx, 4711), "set link 4711 up: "},
	} {
		if tt.err == nil || !strings.HasPrefix(tt.err.Error(), tt.want) {
			t.Errorf("error = %v, want it to begin with %q", tt.err, tt.want)
		}
	}
}
