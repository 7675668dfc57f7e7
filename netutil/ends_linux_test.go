// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/types"
)

// ends are the ends of an attachment, as a plugin on the host has them.
func ends(t *testing.T, host, sandbox space) *netutil.Ends {
	t.Helper()
	var e *netutil.Ends
	onHost(t, host, func() (err error) {
		e, err = netutil.OpenEnds(sandbox.test.Path())
		return err
	})
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// wantMismatch says that err tells just these differences.
func wantMismatch(t *testing.T, what string, err error, want ...string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("%s = %v, want nil", what, err)
		}
		return
	}
	var m *netutil.MismatchError
	if !errors.As(err, &m) {
		t.Errorf("%s = %v, want one that differs in %q", what, err, want)
		return
	}
	var got []string
	for _, d := range m.Differences {
		got = append(got, d.What)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differs in (-want +got):\n%s", what, diff)
	}
}

func TestOpenEnds(t *testing.T) {
	t.Parallel()
	host, sandbox := newSpace(t), newSpace(t)
	onHost(t, host, func() error {
		if _, err := netutil.OpenEnds(sandbox.test.Path() + "-missing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("OpenEnds of nothing = %v, want %v", err, fs.ErrNotExist)
		}
		if _, err := netutil.OpenEnds(os.DevNull); !errors.Is(err, ns.ErrNotNamespace) {
			t.Errorf("OpenEnds of a device = %v, want %v", err, ns.ErrNotNamespace)
		}
		return nil
	})
}

// PROTO-044, PROTO-045, AMB-048: a path that somebody exchanged after it was looked at
// may lead to the host. There is no second end in it.
func TestOpenEnds_host(t *testing.T) {
	t.Parallel()
	host := newSpace(t)
	onHost(t, host, func() error {
		e, err := netutil.OpenEnds(host.test.Path())
		if err == nil {
			t.Error("OpenEnds of the host's own namespace succeeded")
			return e.Close()
		}
		if !strings.Contains(err.Error(), host.test.Path()) || !strings.Contains(err.Error(), "namespace of the host") {
			t.Errorf("OpenEnds of the host's own namespace = %v, want the path and why", err)
		}
		return nil
	})
}

// ADD-007, ADD-008, C-19: what is there already is an error, and stays as it is.
func TestEnds_AddVeth(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, sandbox := newSpace(t), newSpace(t)
	e := ends(t, host, sandbox)
	o := netutil.Owner{Network: "n", ContainerID: "c1", IfName: "eth0"}
	if err := e.Vacant(ctx, o); err != nil {
		t.Fatal(err)
	}
	v, err := e.AddVeth(ctx, o, netutil.VethConfig{MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	if v.Host.Name != o.HostName() || v.Host.Alias != o.Alias() || v.Peer.Name != "eth0" || v.Host.MTU != 1400 || v.Peer.MTU != 1400 {
		t.Errorf("AddVeth() = %+v and %+v, want the owner's names, its mark and MTU 1400", v.Host, v.Peer)
	}
	again := map[string]error{}
	again["Vacant of the owner"] = e.Vacant(ctx, o)
	_, again["AddVeth of the owner"] = e.AddVeth(ctx, o, netutil.VethConfig{MTU: 1400})
	other := netutil.Owner{Network: "other", ContainerID: "c1", IfName: "eth0"}
	if err := e.Vacant(ctx, other); err != nil {
		t.Errorf("Vacant of another network = %v, want nil: only the interface is taken", err)
	}
	_, again["AddVeth of another owner with that interface"] = e.AddVeth(ctx, other, netutil.VethConfig{})
	for what, err := range again {
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s = %v, want %v", what, err, fs.ErrExist)
		}
	}
	// What a result says of the ends.
	if got, want := v.Peer.Interface("/ns"), (types.Interface{Name: "eth0", MAC: v.Peer.MAC.String(), MTU: 1400, Sandbox: "/ns"}); !cmp.Equal(got, want) {
		t.Errorf("Interface() = %+v, want %+v", got, want)
	}
	links, err := e.Host.ListLinks(ctx, netutil.LinkFilter{Kind: "veth"})
	if err != nil || len(links) != 1 || links[0].Index != v.Host.Index {
		t.Errorf("veths = %+v, %v, want the first one", links, err)
	}
}

// CHK-005, CHK-006, CHK-008: the other half of ADD, in the sandbox.
func TestEnds_CompareResult(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, sandbox := newSpace(t), newSpace(t)
	v := plugged(t, host, sandbox, "host0", "", 0)
	ip4 := types.IP{Address: prefix("10.1.2.2/24"), Gateway: ip("10.1.2.1")}
	if err := sandbox.Apply(ctx, v.Peer, []types.IP{ip4}, nil, netutil.ApplyConfig{}); err != nil {
		t.Fatal(err)
	}
	result := func(name, mac string, ips ...types.IP) *types.Result {
		r := &types.Result{}
		r.AddInterface(types.Interface{Name: name, MAC: mac, Sandbox: sandbox.test.Path()}, ips...)
		return r
	}
	mac := v.Peer.MAC.String()
	other := types.IP{Address: prefix("10.1.2.3/24")}
	e := ends(t, host, sandbox)
	for _, tt := range []struct {
		name   string
		result *types.Result
		ifName string
		down   bool
		gone   bool // the error is fs.ErrNotExist
		want   []string
	}{
		{name: "another address of a link that may be down", result: result("eth0", mac, other), ifName: "eth0", down: true},
		{name: "another hardware address of a link that may be down", result: result("eth0", "02:00:00:00:00:01"), ifName: "eth0", down: true, want: []string{"hardware address"}},
		{name: "a link that may be down and is gone", result: result("eth1", mac), ifName: "eth1", down: true, gone: true},
		{name: "as it is", result: result("eth0", mac, ip4), ifName: "eth0"},
		{name: "its hardware address in other letters", result: result("eth0", strings.ToUpper(strings.ReplaceAll(mac, ":", "-")), ip4), ifName: "eth0"},
		{name: "no hardware address", result: result("eth0", "zz", ip4), ifName: "eth0", want: []string{"hardware address"}},
		{name: "without a hardware address", result: result("eth0", "", ip4), ifName: "eth0"},
		{name: "another hardware address", result: result("eth0", "02:00:00:00:00:01", ip4), ifName: "eth0", want: []string{"hardware address"}},
		{name: "another address", result: result("eth0", mac, other), ifName: "eth0", want: []string{"address"}},
		{name: "all at once", result: result("eth0", "02:00:00:00:00:01", other), ifName: "eth0", want: []string{"hardware address", "address"}},
		{name: "an interface that the result does not have", result: result("eth1", mac, ip4), ifName: "eth0", gone: true},
		{name: "an interface that the sandbox does not have", result: result("eth1", mac, ip4), ifName: "eth1", gone: true},
	} {
		err := e.CompareResult(ctx, tt.result, tt.ifName, tt.down)
		if !tt.gone {
			wantMismatch(t, tt.name+": CompareResult", err, tt.want...)
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: CompareResult = %v, want %v", tt.name, err, fs.ErrNotExist)
		}
	}
}

// CHK-007, CHK-010: a result with the routes of two interfaces does not say whose they are.
func TestEnds_CompareResult_routes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, sandbox := newSpace(t), newSpace(t)
	own := types.IP{Address: prefix("10.1.2.2/24"), Gateway: ip("10.1.2.1")}
	other := types.IP{Address: prefix("10.9.9.2/24"), Gateway: ip("10.9.9.1")}
	third := types.IP{Address: prefix("10.9.9.3/24"), Gateway: ip("10.9.9.1")}
	to := func(dst, gw string) types.Route {
		r := types.Route{Dst: prefix(dst)}
		if gw != "" {
			r.GW = ip(gw)
		}
		return r
	}
	preferred, onLink, apart := to("10.63.0.0/16", ""), to("10.64.0.0/16", ""), to("10.67.0.0/16", "")
	preferred.Priority, onLink.Scope, apart.Table = 50, types.Some[uint8](253), types.Some[uint32](77)
	result := &types.Result{}
	for _, i := range []struct {
		name     string
		ip       types.IP
		routes   []types.Route
		unlisted []string
	}{
		{"net1", other, []types.Route{to("0.0.0.0/0", ""), to("10.50.0.0/16", ""), to("10.51.0.0/16", "10.9.9.9"), to("10.52.0.0/16", ""), to("10.62.0.0/16", "10.9.9.1")},
			[]string{"10.61.0.0/16 via 10.9.9.1", "10.63.0.0/16 via 10.9.9.1", "10.64.0.0/16 via 10.9.9.1", "10.65.0.0/16 via 10.9.9.1", "10.66.0.0/16 via 10.9.9.1", "10.67.0.0/16 via 10.9.9.1"}},
		{"net2", third, []types.Route{to("10.52.0.0/16", "10.9.9.1")}, nil},
		{"eth0", own, []types.Route{to("0.0.0.0/0", ""), to("10.60.0.0/16", ""), to("10.61.0.0/16", "10.1.2.9"), to("10.62.0.0/16", ""), preferred, onLink, to("10.65.0.0/16", "0.0.0.0"), to("10.66.0.0/16", ""), apart}, nil},
	} {
		v := host.veth(t, sandbox, netutil.VethConfig{Name: "host-" + i.name, Peer: netutil.VethPeer{Name: i.name}})
		if err := host.SetUp(ctx, v.Host.Index); err != nil {
			t.Fatal(err)
		}
		if err := sandbox.Apply(ctx, v.Peer, []types.IP{i.ip}, i.routes, netutil.ApplyConfig{}); err != nil {
			t.Fatal(err)
		}
		for _, r := range i.unlisted {
			sandbox.test.Output(t, "sh", "-ec", "ip route add "+r+" dev "+i.name)
		}
		result.AddInterface(v.Peer.Interface(sandbox.test.Path()), i.ip)
		result.Routes = append(result.Routes, i.routes...)
	}
	e := ends(t, host, sandbox)
	for _, tt := range []struct {
		name   string
		change string // and how it is undone
		undo   string
		want   []string
	}{
		{name: "as it is"},
		{"another's route gone, by its gateway", "del 10.51.0.0/16", "add 10.51.0.0/16 via 10.9.9.9", nil},
		{"one's own route gone", "del 10.60.0.0/16", "add 10.60.0.0/16 via 10.1.2.1", []string{"route"}},
		{"one's own route gone, by its gateway", "del 10.61.0.0/16", "prepend 10.61.0.0/16 via 10.1.2.9", []string{"route"}},
		{"one's own route by another gateway", "change 10.61.0.0/16 via 10.1.2.8", "change 10.61.0.0/16 via 10.1.2.9", []string{"gateway of route 10.61.0.0/16 via 10.1.2.9 dev eth0"}},
		{"one's own route gone that another has, listed by its gateway", "del 10.62.0.0/16 dev eth0", "prepend 10.62.0.0/16 via 10.1.2.1", []string{"route"}},
		{"one's own route gone that another has with another priority", "del 10.63.0.0/16 dev eth0", "add 10.63.0.0/16 via 10.1.2.1 metric 50", []string{"route"}},
		{"one's own route gone that another has with another scope", "del 10.64.0.0/16 dev eth0", "prepend 10.64.0.0/16 dev eth0", []string{"route"}},
		{"one's own route on the link gone that another has by a gateway", "del 10.65.0.0/16 dev eth0", "prepend 10.65.0.0/16 dev eth0", []string{"route"}},
		{"one's own route gone that another has in another table", "del 10.67.0.0/16 table 77", "add 10.67.0.0/16 via 10.1.2.1 table 77", []string{"route"}},
		{"one's own route gone that another has, not listed", "del 10.66.0.0/16 dev eth0", "prepend 10.66.0.0/16 via 10.1.2.1", nil},
		{"one's own default route gone", "del default via 10.1.2.1", "prepend default via 10.1.2.1", []string{"route", "route"}},
		{"a route that is nowhere", "del 10.50.0.0/16", "add 10.50.0.0/16 via 10.9.9.1", []string{"route"}},
	} {
		if tt.change != "" {
			sandbox.test.Output(t, "sh", "-ec", "ip route "+tt.change)
		}
		wantMismatch(t, tt.name+": CompareResult", e.CompareResult(ctx, result, "eth0", false), tt.want...)
		if tt.undo != "" {
			sandbox.test.Output(t, "sh", "-ec", "ip route "+tt.undo)
		}
	}
}

// CHK-005, CHK-006, C-57: the other half of ADD, for both ends of the cable.
func TestEnds_CompareVeth(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, sandbox := newSpace(t), newSpace(t)
	br := host.bridge(t, "br0", netutil.BridgeConfig{})
	e := ends(t, host, sandbox)
	cfg := netutil.VethConfig{MTU: 1400, Master: br.Index, Port: &netutil.PortConfig{Hairpin: true}, Up: true}
	v, err := e.AddVeth(ctx, netutil.Owner{Network: "n", ContainerID: "c1", IfName: "eth0"}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	name := v.Host.Name
	for _, tt := range []struct {
		name        string
		spoil, mend []string // ip commands on the host
		change      func(*netutil.VethConfig)
		want        []string
	}{
		{name: "as it is"},
		{name: "nothing asked for", change: func(c *netutil.VethConfig) { *c = netutil.VethConfig{} }},
		{name: "another hardware address", change: func(c *netutil.VethConfig) { c.Peer.MAC = []byte{2, 0, 0, 0, 0, 1} }, want: []string{"hardware address"}},
		{name: "down", spoil: []string{"set", name, "down"}, mend: []string{"set", name, "up"}, want: []string{"state"}},
		{name: "another mtu", spoil: []string{"set", name, "mtu", "1300"}, mend: []string{"set", name, "mtu", "1400"}, want: []string{"mtu"}},
		{name: "another kind of port", spoil: []string{"set", name, "type", "bridge_slave", "hairpin", "off", "isolated", "on"}, mend: []string{"set", name, "type", "bridge_slave", "hairpin", "on", "isolated", "off"}, want: []string{"hairpin mode", "isolated"}},
		{name: "no bridge", spoil: []string{"set", name, "nomaster"}, want: []string{"bridge"}},
	} {
		if tt.spoil != nil {
			host.test.Output(t, "ip", append([]string{"link"}, tt.spoil...)...)
		}
		want := cfg
		if tt.change != nil {
			tt.change(&want)
		}
		_, err := e.CompareVeth(ctx, "eth0", want)
		wantMismatch(t, tt.name+": CompareVeth", err, tt.want...)
		if tt.mend != nil {
			host.test.Output(t, "ip", append([]string{"link"}, tt.mend...)...)
		}
	}
	for _, none := range []string{"eth1", "lo"} {
		if _, err := e.CompareVeth(ctx, none, netutil.VethConfig{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("CompareVeth of %s = %v, want %v", none, err, fs.ErrNotExist)
		}
	}
}

// Both ends work when it returns, and an end that is down is not waited for for ever.
func TestEnds_WaitRunning(t *testing.T) {
	t.Parallel()
	host, sandbox := newSpace(t), newSpace(t)
	v := plugged(t, host, sandbox, "host0", "", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	e := &netutil.Ends{Host: host.Conn, Sandbox: sandbox.Conn, NS: sandbox.ns}
	if err := e.WaitRunning(ctx, v); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitRunning with the container's end down = %v, want %v", err, context.DeadlineExceeded)
	}
	if err := sandbox.SetUp(t.Context(), v.Peer.Index); err != nil {
		t.Fatal(err)
	}
	if err := e.WaitRunning(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	for s, name := range map[space]string{host: "host0", sandbox: "eth0"} {
		if got := s.ipJSON(t, "link", "show", name)[0]["operstate"]; got != "UP" {
			t.Errorf("state of %s = %v, want UP", name, got)
		}
	}
}

// The host's side, as CHECK of ptp looks at it.
func TestConn_CompareRoutes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, sandbox := newSpace(t), newSpace(t)
	v := plugged(t, host, sandbox, "host0", "", 0)
	if _, err := host.EnsureAddr(ctx, v.Host.Index, prefix("10.1.2.1/32"), netutil.AddrConfig{}); err != nil {
		t.Fatal(err)
	}
	r := netutil.Route{Dst: prefix("10.1.2.2/32"), Index: v.Host.Index, Scope: types.Some[uint8](254)}
	if err := host.SetRoute(ctx, r); err != nil {
		t.Fatal(err)
	}
	if err := host.CompareRoutes(ctx, v.Host, r); err != nil {
		t.Error(err)
	}
	r.Scope = types.Some[uint8](253)
	missing := netutil.Route{Dst: prefix("10.1.2.3/32")}
	err := host.CompareRoutes(ctx, v.Host, r, missing)
	want := []netutil.Difference{
		{What: "scope of route 10.1.2.2/32 dev host0", Have: "254", Want: "253"},
		{What: "route", Want: "10.1.2.3/32 dev host0"},
	}
	if diff := cmp.Diff(want, asMismatch(t, err)); diff != "" {
		t.Errorf("CompareRoutes (-want +got):\n%s", diff)
	}
	if err := host.CompareAddrs(ctx, v.Host, prefix("10.1.2.1/32")); err != nil {
		t.Error(err)
	}
	err = host.CompareAddrs(ctx, v.Host, prefix("10.1.2.1/24"), prefix("10.1.2.9/32"))
	want = []netutil.Difference{
		{What: "address", Have: "10.1.2.1/32", Want: "10.1.2.1/24"},
		{What: "address", Want: "10.1.2.9/32"},
	}
	if diff := cmp.Diff(want, asMismatch(t, err)); diff != "" {
		t.Errorf("CompareAddrs (-want +got):\n%s", diff)
	}
}
