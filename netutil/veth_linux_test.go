// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/netutil"
)

// C-36: queues of the kernel's length, one in each direction, and everything in place.
func TestConn_EnsureVeth(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box := newSpace(t), newSpace(t)
	br := host.bridge(t, "br0", netutil.BridgeConfig{})
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	v := host.veth(t, box, netutil.VethConfig{
		Name: owner.HostName(), Alias: owner.Alias(), MTU: 1400, Master: br.Index, Up: true,
		Port: &netutil.PortConfig{Hairpin: true, Isolated: true}, Peer: netutil.VethPeer{MAC: mac},
	})
	h, p := host.ipJSON(t, "link", "show", owner.HostName())[0], box.ipJSON(t, "link", "show", "eth0")[0]
	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"index", h["ifindex"], float64(v.Host.Index)},
		{"mac", h["address"], v.Host.MAC.String()},
		{"alias", h["ifalias"], owner.Alias()},
		{"master", h["master"], "br0"},
		{"queue length", h["txqlen"], 1000.0},
		{"queues", h["num_tx_queues"], 1.0},
		{"mtu", h["mtu"], 1400.0},
		{"peer", h["link_index"], float64(v.Peer.Index)},
		{"up", hasFlag(h, "UP"), true},
		{"hairpin", portData(h)["hairpin"], true},
		{"isolation", portData(h)["isolated"], true},
		{"accept_ra", host.sysctl(t, "ipv6/conf/"+owner.HostName()+"/accept_ra"), "0"},
		{"peer index", p["ifindex"], float64(v.Peer.Index)},
		{"peer mac", p["address"], mac.String()},
		{"peer mac told", v.Peer.MAC.String(), mac.String()},
		{"peer mtu", p["mtu"], 1400.0},
		{"peer queues", p["num_rx_queues"], 1.0},
		{"peer queue length", p["txqlen"], 1000.0},
		{"peer up", hasFlag(p, "UP"), false},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %v, want %v", tt.what, tt.got, tt.want)
		}
	}
	peer, err := host.Peer(ctx, v.Host, box.Conn)
	if err != nil || peer.Name != "eth0" {
		t.Errorf("Peer = %+v, %v, want eth0", peer, err)
	}
	// Elsewhere there may be nothing under its number, or another veth.
	empty, other := newSpace(t), newSpace(t)
	other.veth(t, newSpace(t), netutil.VethConfig{Name: "other"})
	for range v.Host.Index { // so that the numbers of the other veth's peer cannot be ours
		other.veth(t, newSpace(t), netutil.VethConfig{Name: "more"})
		if err := other.DelLink(ctx, "more", "veth"); err != nil {
			t.Fatal(err)
		}
	}
	strangers := newSpace(t)
	other.veth(t, strangers, netutil.VethConfig{Name: "last"})
	for name, in := range map[string]space{"nothing": empty, "another veth": strangers} {
		if _, err := host.Peer(ctx, v.Host, in.Conn); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Peer where there is %s = %v, want %v", name, err, fs.ErrNotExist)
		}
	}
}

func portData(link map[string]any) map[string]any {
	return link["linkinfo"].(map[string]any)["info_slave_data"].(map[string]any)
}

// A second time nothing is made, and what can be set is set again.
func TestConn_EnsureVeth_Again(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box := newSpace(t), newSpace(t)
	br := host.bridge(t, "br0", netutil.BridgeConfig{})
	cfg := netutil.VethConfig{Name: owner.HostName(), Alias: owner.Alias(), Peer: netutil.VethPeer{NS: box.ns, Name: "eth0"}}
	first, _, err := host.EnsureVeth(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Master, cfg.Up = br.Index, true
	second, created, err := host.EnsureVeth(ctx, cfg)
	if err != nil || created {
		t.Fatalf("second EnsureVeth = %v, %v, want no creation", created, err)
	}
	if second.Host.Index != first.Host.Index || second.Peer.Index != first.Peer.Index || second.Peer.Name != "eth0" {
		t.Errorf("second EnsureVeth = %+v, want %+v", second, first)
	}
	if l, err := host.Link(ctx, cfg.Name); err != nil || l.Master != br.Index || !l.Up {
		t.Errorf("host end = %+v, %v, want a port that is up", l, err)
	}
	// The same within one namespace.
	cfg = netutil.VethConfig{Name: "a", Peer: netutil.VethPeer{Name: "b"}}
	for i, want := range []bool{true, false} {
		if v, created, err := host.EnsureVeth(ctx, cfg); err != nil || created != want || v.Peer.Name != "b" {
			t.Errorf("EnsureVeth in one namespace, time %d = %v, %v, want %v", i+1, created, err, want)
		}
	}
}

// C-1: what fails leaves nothing, and what is in the way is told and left alone.
func TestConn_EnsureVeth_Conflict(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box, other := newSpace(t), newSpace(t), newSpace(t)
	host.veth(t, box, netutil.VethConfig{Name: "taken", Alias: "someone's", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}})
	host.bridge(t, "br0", netutil.BridgeConfig{})
	peer := func(s space, name string) netutil.VethPeer { return netutil.VethPeer{NS: s.ns, Name: name} }
	tests := []struct {
		name string
		cfg  netutil.VethConfig
		want []netutil.Difference
	}{
		{"bridge", netutil.VethConfig{Name: "br0", Peer: peer(box, "eth1")}, []netutil.Difference{{What: "kind", Have: "bridge", Want: "veth"}}},
		{
			"alias", netutil.VethConfig{Name: "taken", Alias: "ours", Peer: peer(box, "eth0")},
			[]netutil.Difference{{What: "alias", Have: "someone's", Want: "ours"}},
		},
		{
			"name of peer", netutil.VethConfig{Name: "taken", Alias: "someone's", Peer: peer(box, "eth1")},
			[]netutil.Difference{{What: "peer", Have: "eth0", Want: "eth1"}},
		},
		{
			"place of peer", netutil.VethConfig{Name: "taken", Alias: "someone's", Peer: peer(other, "eth0")},
			[]netutil.Difference{{What: "peer", Have: "elsewhere", Want: "eth0"}},
		},
		{
			"peer expected here", netutil.VethConfig{Name: "taken", Alias: "someone's", Peer: peer(host, "eth0")},
			[]netutil.Difference{{What: "peer", Have: "elsewhere", Want: "eth0"}},
		},
		{
			"mtu and mac", netutil.VethConfig{
				Name: "taken", Alias: "someone's", MTU: 1400, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, Peer: peer(box, "eth0"),
			},
			[]netutil.Difference{
				{What: "mtu", Have: "1500", Want: "1400"}, {What: "hardware address", Have: "02:00:00:00:00:01", Want: "02:00:00:00:00:02"},
			},
		},
	}
	for _, tt := range tests {
		_, created, err := host.EnsureVeth(ctx, tt.cfg)
		if diff := cmp.Diff(tt.want, asMismatch(t, err)); diff != "" || created {
			t.Errorf("%s: created %v (-want +got):\n%s", tt.name, created, diff)
		}
	}
	if _, _, err := host.EnsureVeth(ctx, netutil.VethConfig{Name: "new", Peer: peer(box, "eth0")}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("EnsureVeth with a peer that exists = %v, want %v", err, fs.ErrExist)
	}
	// The last step fails: a port setting on what is no port.
	_, _, err := host.EnsureVeth(ctx, netutil.VethConfig{Name: "new", Port: &netutil.PortConfig{}, Peer: peer(other, "eth0")})
	if err == nil {
		t.Error("EnsureVeth of a port without a bridge = nil, want an error")
	}
	if links, err := host.ListLinks(ctx, netutil.LinkFilter{Kind: "veth"}); err != nil || len(links) != 1 {
		t.Errorf("veths afterwards = %v, %v, want the first alone", links, err)
	}
	if links := other.ipJSON(t, "link"); len(links) != 1 {
		t.Errorf("links of the other sandbox = %v, want lo alone", links)
	}
}

// C-55, DEL-005: found by its owner alone, removed only if it is the owner's.
func TestConn_DelOwned(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host := newSpace(t)
	tests := []struct {
		name, alias, kind string
		want              error
		left              int
	}{
		{"nothing", "", "", nil, 0},
		{"ours", owner.Alias(), "veth", nil, 0},
		{"ours, killed before it got its mark", "", "veth", nil, 0},
		{"another's", "cnikit:other/c1/eth0", "veth", netutil.ErrForeign, 1},
		{"other kind", "", "bridge", netutil.ErrForeign, 1},
	}
	for _, tt := range tests {
		switch tt.kind {
		case "veth":
			host.veth(t, newSpace(t), netutil.VethConfig{Name: owner.HostName(), Alias: tt.alias})
		case "bridge":
			host.bridge(t, owner.HostName(), netutil.BridgeConfig{})
		}
		for range 2 {
			if err := host.DelOwned(ctx, owner); !errors.Is(err, tt.want) {
				t.Errorf("%s: DelOwned = %v, want %v", tt.name, err, tt.want)
			}
		}
		if links := host.ipJSON(t, "link"); len(links) != 1+tt.left {
			t.Errorf("%s: links afterwards = %v, want lo and %d", tt.name, links, tt.left)
		}
		if err := host.DelLink(ctx, owner.HostName(), ""); err != nil {
			t.Fatal(err)
		}
	}
}

// A context that ends half-way leaves nothing, however far it came.
func TestConn_EnsureVeth_canceled(t *testing.T) {
	t.Parallel()
	host, box := newSpace(t), newSpace(t)
	for n := range 20 {
		ctx := &endingContext{Context: t.Context(), left: n}
		_, _, err := host.EnsureVeth(ctx, netutil.VethConfig{Name: "h0", Alias: "mark", Peer: netutil.VethPeer{NS: box.ns, Name: "eth0"}})
		if err == nil {
			if n < 2 {
				t.Errorf("EnsureVeth succeeds with a context that ends at question %d", n)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("EnsureVeth with a context that ends at question %d = %v, want that it was canceled", n, err)
		}
		if links := host.ipJSON(t, "link"); len(links) != 1 {
			t.Errorf("EnsureVeth with a context that ends at question %d leaves %d links, want lo", n, len(links))
		}
	}
	t.Error("EnsureVeth asks 20 times whether its context has ended")
}

// endingContext is canceled when it has been asked so often whether it is.
type endingContext struct {
	context.Context
	left int
}

func (c *endingContext) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// GC-005: stale links are found by their mark, and only those of the network.
func TestConn_ListOwned(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host := newSpace(t)
	owners := []netutil.Owner{{"net", "c1", "eth0"}, {"net", "c2", "eth0"}, {"net2", "c1", "eth0"}}
	for _, o := range owners {
		host.veth(t, newSpace(t), netutil.VethConfig{Name: o.HostName(), Alias: o.Alias()})
	}
	unmarked := netutil.Owner{"net", "c3", "eth0"}
	host.veth(t, newSpace(t), netutil.VethConfig{Name: unmarked.HostName()})
	host.veth(t, newSpace(t), netutil.VethConfig{Name: "veth12345678"})
	host.veth(t, newSpace(t), netutil.VethConfig{Name: unmarked.HostName()[:14] + "_"})
	host.veth(t, newSpace(t), netutil.VethConfig{Name: "other", Alias: "somebody else's"})
	for network, want := range map[string][]string{
		"net":  {owners[0].Alias(), owners[1].Alias(), unmarked.HostName()},
		"net2": {owners[2].Alias()},
		"ne":   nil,
		"":     {owners[0].Alias(), owners[1].Alias(), owners[2].Alias()},
	} {
		links, err := host.ListOwned(ctx, network)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range links {
			if l.Alias == "" {
				l.Alias = l.Name
			}
			got = append(got, l.Alias)
		}
		if diff := cmp.Diff(want, got, sortStrings); diff != "" {
			t.Errorf("ListOwned(%q) (-want +got):\n%s", network, diff)
		}
	}
}

func TestConn_WaitRunning(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box := newSpace(t), newSpace(t)
	v := host.veth(t, box, netutil.VethConfig{Up: true})
	done := make(chan error)
	go func() { done <- host.WaitRunning(ctx, v.Host.Index) }()
	select {
	case err := <-done:
		t.Fatalf("WaitRunning with the other end down = %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := box.SetUp(ctx, v.Peer.Index); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("WaitRunning = %v", err)
	}
	// Loopback works as soon as it is up, and never says so.
	const loopback = 1
	if l, err := box.LinkByIndex(ctx, loopback); err != nil || l.Running {
		t.Errorf("loopback that is down = %+v, %v, want it not to run", l, err)
	}
	if err := box.SetUp(ctx, loopback); err != nil {
		t.Fatal(err)
	}
	if err := box.WaitRunning(ctx, loopback); err != nil {
		t.Errorf("WaitRunning for loopback = %v", err)
	}
	if err := host.WaitRunning(ctx, 4711); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WaitRunning for nothing = %v, want %v", err, fs.ErrNotExist)
	}
}

// Many at one time, on one bridge, from their own sockets.
func TestConn_EnsureVeth_Parallel(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host := newSpace(t)
	br := host.bridge(t, "br0", netutil.BridgeConfig{})
	const n = 16
	boxes := make([]space, n)
	for i := range boxes {
		boxes[i] = newSpace(t)
	}
	var group sync.WaitGroup
	for i, box := range boxes {
		group.Go(func() {
			o := netutil.Owner{Network: "net", ContainerID: fmt.Sprint(i), IfName: "eth0"}
			c, err := netutil.Open(host.ns)
			if err != nil {
				t.Error(err)
				return
			}
			_, _, err = c.EnsureVeth(ctx, netutil.VethConfig{
				Name: o.HostName(), Alias: o.Alias(), Master: br.Index, Up: true, Peer: netutil.VethPeer{NS: box.ns, Name: "eth0"},
			})
			if err := errors.Join(err, c.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if ports, err := host.ListLinks(ctx, netutil.LinkFilter{Master: br.Index}); err != nil || len(ports) != n {
		t.Errorf("ports = %d, %v, want %d", len(ports), err, n)
	}
}

func BenchmarkConn_EnsureVeth(b *testing.B) {
	host, box := newSpace(b), newSpace(b)
	cfg := netutil.VethConfig{Name: "host0", Peer: netutil.VethPeer{NS: box.ns, Name: "eth0"}}
	for b.Loop() {
		if _, _, err := host.EnsureVeth(b.Context(), cfg); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := host.DelLink(b.Context(), "host0", "veth"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// The limits are those of the kernel.
func TestValidateMTU(t *testing.T) {
	t.Parallel()
	host, box := newSpace(t), newSpace(t)
	for i, mtu := range []int{-1, 67, 68, 65535, 65536, 1 << 32} {
		valid := netutil.ValidateMTU(mtu) == nil
		if want := mtu >= 68 && mtu <= 65535; valid != want {
			t.Errorf("ValidateMTU(%d) permits it = %v, want %v", mtu, valid, want)
		}
		if mtu < 0 || mtu > 1<<31 {
			continue
		}
		name := fmt.Sprintf("host%d", i)
		_, _, err := host.EnsureVeth(t.Context(), netutil.VethConfig{Name: name, MTU: mtu, Peer: netutil.VethPeer{Name: name, NS: box.ns}})
		if (err == nil) != valid {
			t.Errorf("EnsureVeth with MTU %d = %v, and ValidateMTU permits it = %v", mtu, err, valid)
		}
	}
}
