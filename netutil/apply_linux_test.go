// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// pair makes a veth between two fresh namespaces, host end up, and returns both.
func pair(t testing.TB) (host, box space, v *netutil.Veth) {
	t.Helper()
	host, box = newSpace(t), newSpace(t)
	return host, box, host.veth(t, box, netutil.VethConfig{Up: true})
}

// Every field of a route of the newest result reaches the kernel (C-37), and CHECK is
// content with it at once (C-22, C-23).
func TestConn_Apply(t *testing.T) {
	t.Parallel()
	gw4, gw6 := ip("10.0.0.1"), ip("fd00::1")
	ips := []types.IP{{Address: prefix("10.0.0.2/24"), Gateway: gw4}, {Address: prefix("fd00::2/64"), Gateway: gw6}}
	tests := []struct {
		name   string
		ips    []types.IP
		routes []types.Route
		want   []string // words of "ip route show", of IPv4 and IPv6
	}{
		{"no routes", ips, nil, nil},
		{
			"default of both families, without a gateway", ips, []types.Route{{Dst: prefix("0.0.0.0/0")}, {Dst: prefix("::/0")}},
			[]string{"default via 10.0.0.1", "default via fd00::1"},
		},
		{
			"default twice (C-3)", ips, []types.Route{{Dst: prefix("0.0.0.0/0")}, {Dst: prefix("0.0.0.0/0"), GW: gw4}, {Dst: prefix("0.0.0.0/0")}},
			[]string{"default via 10.0.0.1"},
		},
		{
			"metrics", ips, []types.Route{
				{Dst: prefix("10.1.0.0/16"), GW: gw4, MTU: 1400, AdvMSS: 1360, Priority: 7},
				{Dst: prefix("fd01::/64"), GW: gw6, MTU: 1400, AdvMSS: 1340, Priority: 7},
			},
			[]string{"10.1.0.0/16 via 10.0.0.1 metric 7 mtu 1400 advmss 1360", "fd01::/64 via fd00::1 metric 7 mtu 1400 advmss 1340"},
		},
		{
			"metrics above what there is", ips, []types.Route{
				{Dst: prefix("10.1.0.0/16"), MTU: 99999999, AdvMSS: 70000}, {Dst: prefix("fd01::/64"), MTU: 65536, AdvMSS: 65496},
			},
			[]string{"10.1.0.0/16 via 10.0.0.1 mtu 65520 advmss 65495", "fd01::/64 via fd00::1 mtu 65520 advmss 65495"},
		},
		{
			"on the link by an unspecified gateway", ips, []types.Route{{Dst: prefix("10.2.0.0/16"), GW: ip("0.0.0.0")}, {Dst: prefix("fd02::/64"), GW: ip("::")}},
			[]string{"10.2.0.0/16 scope link", "fd02::/64"},
		},
		{
			"own subnets", ips, []types.Route{{Dst: prefix("10.0.0.0/24")}, {Dst: prefix("fd00::/64"), GW: gw6}},
			[]string{"10.0.0.0/24 via 10.0.0.1", "fd00::/64 via fd00::1"},
		},
		{
			"link scope, without a gateway", ips, []types.Route{{Dst: prefix("10.2.0.0/16"), Scope: types.Some[uint8](253)}},
			[]string{"10.2.0.0/16 scope link"},
		},
		{
			"gateway outside of the subnet", ips, []types.Route{
				{Dst: prefix("10.3.0.0/16"), GW: ip("169.254.1.1")}, {Dst: prefix("fd03::/64"), GW: ip("fe80::1")},
				{Dst: prefix("fd04::/64"), GW: ip("fd99::1")},
			},
			[]string{"10.3.0.0/16 via 169.254.1.1 onlink", "fd03::/64 via fe80::1", "fd04::/64 via fd99::1 onlink"},
		},
		{
			"single address", []types.IP{{Address: prefix("10.0.0.2/32"), Gateway: ip("169.254.1.1")}, {Address: prefix("fd00::2/128")}},
			[]types.Route{{Dst: prefix("169.254.1.1/32"), Scope: types.Some[uint8](253)}, {Dst: prefix("0.0.0.0/0")}},
			[]string{"169.254.1.1 scope link", "default via 169.254.1.1 onlink"},
		},
		{"host bits", ips, []types.Route{{Dst: prefix("10.4.5.6/16"), GW: gw4}}, []string{"10.4.0.0/16 via 10.0.0.1"}},
		{
			"no gateway known", []types.IP{{Address: prefix("10.0.0.2/24")}}, []types.Route{{Dst: prefix("10.5.0.0/16")}},
			[]string{"10.5.0.0/16 scope link"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, box, v := pair(t)
			for i := range 2 { // a second time changes nothing
				if err := box.Apply(t.Context(), v.Peer, tt.ips, tt.routes, netutil.ApplyConfig{}); err != nil {
					t.Fatalf("Apply, time %d = %v", i+1, err)
				}
			}
			if diff := cmp.Diff(tt.want, box.routes(t, "main"), sortStrings, netipEqual); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
			if err := box.Compare(t.Context(), "eth0", tt.ips, tt.routes); err != nil {
				t.Errorf("Compare = %v", err)
			}
		})
	}
}

// routes lists what "ip route" sees that the kernel did not add by itself.
func (s space) routes(t testing.TB, table string) []string {
	t.Helper()
	var words []string
	for _, family := range []string{"-4", "-6"} {
		for _, r := range s.ipJSON(t, family, "route", "show", "table", table) {
			if r["protocol"] == "kernel" {
				continue
			}
			words = append(words, routeWords(r))
		}
	}
	return words
}

func TestConn_Apply_Table(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, box, v := pair(t)
	ips := []types.IP{{Address: prefix("10.0.0.2/24"), Gateway: ip("10.0.0.1")}, {Address: prefix("fd00::2/64")}}
	routes := []types.Route{
		{Dst: prefix("0.0.0.0/0"), Table: types.Some[uint32](100)},
		{Dst: prefix("fd02::/64"), Table: types.Some[uint32](100), GW: ip("fd00::9")},
		{Dst: prefix("10.1.0.0/16"), Table: types.Some[uint32](1000), GW: ip("10.0.0.9")},
		{Dst: prefix("fd01::/64"), Table: types.Some[uint32](1000), GW: ip("fd00::9")},
	}
	if err := box.Apply(ctx, v.Peer, ips, routes, netutil.ApplyConfig{}); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string][]string{
		"main": nil,
		"100":  {"default via 10.0.0.1", "fd02::/64 via fd00::9"},
		"1000": {"10.1.0.0/16 via 10.0.0.9", "fd01::/64 via fd00::9"},
	} {
		if diff := cmp.Diff(want, box.routes(t, table), netipEqual); diff != "" {
			t.Errorf("table %s (-want +got):\n%s", table, diff)
		}
	}
	if err := box.Compare(ctx, "eth0", ips, routes); err != nil {
		t.Errorf("Compare = %v", err)
	}
}

func TestConn_Apply_Options(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, box, v := pair(t)
	nstest.NeedSysctl(t, box.test)
	// A container runtime may have switched IPv6 off in the sandbox.
	if err := box.SetSysctl(netutil.Sysctl{Name: "ipv6/conf/eth0/disable_ipv6", Value: "1"}); err != nil {
		t.Fatal(err)
	}
	cfg := netutil.ApplyConfig{
		NoPrefixRoute: true,
		Notify:        true,
		Sysctls:       []netutil.Sysctl{{"ipv4/conf/eth0/arp_ignore", "1"}, {"ipv4/conf/eth0/no_such_setting", "1"}},
	}
	ips := []types.IP{{Address: prefix("10.0.0.2/24")}, {Address: prefix("fd00::2/64")}}
	if err := box.Apply(ctx, v.Peer, ips, nil, cfg); err != nil {
		t.Fatal(err)
	}
	for _, family := range []string{"-4", "-6"} {
		for _, r := range box.ipJSON(t, family, "route") {
			if r["dst"] != "fe80::/64" {
				t.Errorf("route without being asked for: %v", r)
			}
		}
	}
	for name, want := range map[string]string{
		"ipv4/conf/eth0/arp_notify":        "1",
		"ipv4/conf/eth0/arp_ignore":        "1",
		"ipv6/conf/eth0/keep_addr_on_down": "1",
		"ipv6/conf/eth0/ndisc_notify":      "1",
		"ipv6/conf/eth0/disable_ipv6":      "0",
	} {
		if got := box.sysctl(t, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	addr := box.ipJSON(t, "-4", "addr", "show", "eth0")[0]["addr_info"].([]any)[0].(map[string]any)
	if addr["broadcast"] != "10.0.0.255" {
		t.Errorf("broadcast = %v, want 10.0.0.255", addr["broadcast"])
	}
	bad := netutil.ApplyConfig{Sysctls: []netutil.Sysctl{{"../kernel/hostname", "x"}}}
	if err := box.Apply(ctx, v.Peer, nil, nil, bad); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Apply with a setting outside = %v, want %v", err, fs.ErrInvalid)
	}
	// What goes wrong is not what is not allowed.
	for name, want := range map[string]error{"ipv4/conf/eth0": syscall.EISDIR, "ipv4/conf/eth0/no_such_setting": nil} {
		got := box.Apply(ctx, v.Peer, nil, nil, netutil.ApplyConfig{Sysctls: []netutil.Sysctl{{name, "1"}}})
		if !errors.Is(got, want) {
			t.Errorf("Apply with setting %s = %v, want %v", name, got, want)
		}
	}
}

// C-35: detection of duplicates is waited for when asked, by the kernel's news.
func TestConn_Apply_DetectDuplicates(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	host, box, v := pair(t)
	if err := host.SetUp(ctx, v.Host.Index); err != nil {
		t.Fatal(err)
	}
	ips := []types.IP{{Address: prefix("fd00::2/64")}}
	cfg := netutil.ApplyConfig{DetectDuplicates: true}
	if err := box.Apply(ctx, v.Peer, ips, nil, cfg); err != nil {
		t.Fatal(err)
	}
	if got := box.addrs(t, v.Peer.Index); len(got) != 1 {
		t.Errorf("addresses = %v, want one that is usable", got)
	}
	if _, err := host.EnsureAddr(ctx, v.Host.Index, prefix("fd00::3/64"), netutil.AddrConfig{}); err != nil {
		t.Fatal(err)
	}
	taken := []types.IP{{Address: prefix("fd00::3/64")}}
	if err := box.Apply(ctx, v.Peer, taken, nil, cfg); !errors.Is(err, netutil.ErrDuplicate) {
		t.Errorf("Apply of a neighbour's address = %v, want %v", err, netutil.ErrDuplicate)
	}
	diff := asMismatch(t, box.Compare(ctx, "eth0", taken, nil))
	if want := (netutil.Difference{What: "address fd00::3/64", Have: "a duplicate", Want: "nobody else's"}); diff[0] != want {
		t.Errorf("Compare = %v, want %v", diff, want)
	}
}

func TestConn_WaitAddrs_Context(t *testing.T) {
	t.Parallel()
	host, box, v := pair(t)
	_ = host
	if err := box.SetUp(t.Context(), v.Peer.Index); err != nil {
		t.Fatal(err)
	}
	if _, err := box.EnsureAddr(t.Context(), v.Peer.Index, prefix("fd00::2/64"), netutil.AddrConfig{DetectDuplicates: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := box.WaitAddrs(ctx, v.Peer.Index)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "addresses of link "+v.Peer.Name) {
		t.Errorf("WaitAddrs = %v, want %v that says what was waited for", err, context.DeadlineExceeded)
	}
}

// C-22 to C-25: CHECK sees what is wrong, and nothing else.
func TestConn_Compare(t *testing.T) {
	t.Parallel()
	const via = "10.0.0.1"
	ips := []types.IP{{Address: prefix("10.0.0.2/24"), Gateway: ip(via)}, {Address: prefix("fd00::2/64"), Gateway: ip("fd00::1")}}
	routes := []types.Route{
		{Dst: prefix("0.0.0.0/0")}, {Dst: prefix("::/0")},
		{Dst: prefix("10.1.0.0/16"), GW: ip(via), MTU: 1400, AdvMSS: 1360, Priority: 7},
		{Dst: prefix("10.2.0.0/16"), Table: types.Some[uint32](100)},
		{Dst: prefix("10.3.0.0/16"), Scope: types.Some[uint8](253)},
	}
	route := func(of, have, want, what string) []netutil.Difference {
		return []netutil.Difference{{What: what + " of route " + of, Have: have, Want: want}}
	}
	tests := []struct {
		name   string
		change []string // arguments of ip, several commands separated by ";"
		want   []netutil.Difference
	}{
		{"nothing", nil, nil},
		{"address added", []string{"addr", "add", "10.9.9.9/24", "dev", "eth0"}, nil},
		{"route added", []string{"route", "add", "10.9.0.0/16", "via", via}, nil},
		{"route added before", []string{"route", "add", "10.1.0.0/16", "via", via, "metric", "1"}, nil},
		{"down", []string{"link", "set", "eth0", "down"}, []netutil.Difference{{What: "state", Have: "down", Want: "up"}}},
		{
			"address gone", []string{"addr", "del", "fd00::2/64", "dev", "eth0"},
			[]netutil.Difference{{What: "address", Want: "fd00::2/64"}},
		},
		{"gateway", []string{"route", "replace", "default", "via", "10.0.0.9"}, route("0.0.0.0/0 via 10.0.0.1 dev eth0", "10.0.0.9", via, "gateway")},
		{
			"mtu", []string{"route", "replace", "10.1.0.0/16", "via", via, "metric", "7", "advmss", "1360"},
			route("10.1.0.0/16 via 10.0.0.1 dev eth0 metric 7", "0", "1400", "mtu"),
		},
		{
			"advmss", []string{"route", "replace", "10.1.0.0/16", "via", via, "metric", "7", "mtu", "1400", "advmss", "1000"},
			route("10.1.0.0/16 via 10.0.0.1 dev eth0 metric 7", "1000", "1360", "advmss"),
		},
		{
			"priority", []string{"route", "del", "10.1.0.0/16", ";", "route", "add", "10.1.0.0/16", "via", via, "mtu", "1400", "metric", "8"},
			[]netutil.Difference{{What: "route", Want: "10.1.0.0/16 via 10.0.0.1 dev eth0 metric 7"}},
		},
		{
			"table", []string{"route", "del", "10.2.0.0/16", "table", "100", ";", "route", "add", "10.2.0.0/16", "via", via},
			[]netutil.Difference{{What: "route", Want: "10.2.0.0/16 via 10.0.0.1 dev eth0 table 100"}},
		},
		{
			"scope", []string{"route", "replace", "10.3.0.0/16", "dev", "eth0", "scope", "global"},
			route("10.3.0.0/16 dev eth0", "0", "253", "scope"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			_, box, v := pair(t)
			if err := box.Apply(ctx, v.Peer, ips, routes, netutil.ApplyConfig{}); err != nil {
				t.Fatal(err)
			}
			for _, args := range split(tt.change, ";") {
				box.test.Output(t, "ip", args...)
			}
			before := netutil.Sent(box.Conn)
			err := box.Compare(ctx, "eth0", ips, routes)
			if n := netutil.Sent(box.Conn) - before; n != 3 {
				t.Errorf("messages = %d, want 3: one question and two lists", n)
			}
			var got []netutil.Difference
			if err != nil {
				got = asMismatch(t, err)
			}
			if tt.name == "down" { // takes the routes with it, too
				got = got[:1]
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Compare (-want +got):\n%s", diff)
			}
		})
	}
	if err := newSpace(t).Compare(t.Context(), "eth0", nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Compare without a link = %v, want %v", err, fs.ErrNotExist)
	}
}

// split cuts a list at a separator.
func split(list []string, at string) [][]string {
	if len(list) == 0 {
		return nil
	}
	parts := [][]string{nil}
	for _, s := range list {
		if s == at {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], s)
	}
	return parts
}

func BenchmarkConn_Apply(b *testing.B) {
	_, box, v := pair(b)
	routes := []types.Route{{Dst: prefix("0.0.0.0/0")}}
	ips := []types.IP{{Address: prefix("10.0.0.2/24"), Gateway: ip("10.0.0.1")}}
	for name, cfg := range map[string]netutil.ApplyConfig{
		"plain":   {},
		"sysctls": {Sysctls: []netutil.Sysctl{{"ipv4/conf/eth0/arp_notify", "1"}}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := box.Apply(b.Context(), v.Peer, ips, routes, cfg); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := box.DelAddr(b.Context(), v.Peer.Index, ips[0].Address); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkConn_Compare(b *testing.B) {
	_, box, v := pair(b)
	routes := []types.Route{{Dst: prefix("0.0.0.0/0")}}
	ips := []types.IP{{Address: prefix("10.0.0.2/24"), Gateway: ip("10.0.0.1")}}
	if err := box.Apply(b.Context(), v.Peer, ips, routes, netutil.ApplyConfig{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := box.Compare(b.Context(), "eth0", ips, routes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s := newSpace(b)
	for b.Loop() {
		c, err := netutil.Open(s.ns)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
