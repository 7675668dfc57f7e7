// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
)

func TestConn_EnsureBridge(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSpace(t)
	br := s.bridge(t, "cni0", netutil.BridgeConfig{Promisc: true, MTU: 1400})
	got := s.ipJSON(t, "link", "show", "cni0")[0]
	if !br.Up || br.MTU != 1400 || !br.Promisc || br.Kind != "bridge" || br.Bridge == nil || br.Bridge.STP {
		t.Errorf("EnsureBridge = %+v, want it up, with MTU 1400, promiscuous, without STP", br)
	}
	if got["mtu"] != 1400.0 || got["address"] != br.MAC.String() || !hasFlag(got, "UP") || !hasFlag(got, "PROMISC") {
		t.Errorf("ip sees %v", got)
	}
	if ra := s.sysctl(t, "ipv6/conf/cni0/accept_ra"); ra != "0" {
		t.Errorf("accept_ra = %s, want 0", ra)
	}
	again, created, err := s.EnsureBridge(ctx, "cni0", netutil.BridgeConfig{Promisc: true, MTU: 1400})
	if err != nil || created {
		t.Errorf("second EnsureBridge = %v, %v, want no creation", created, err)
	}
	if again.Index != br.Index || again.MAC.String() != br.MAC.String() {
		t.Errorf("second EnsureBridge = %+v, want %+v", again, br)
	}
	// promiscuous mode is on or off, not counted
	if n := s.ipJSON(t, "link", "show", "cni0")[0]["promiscuity"]; n != 1.0 {
		t.Errorf("promiscuity = %v, want 1", n)
	}
}

func hasFlag(link map[string]any, flag string) bool {
	for _, f := range link["flags"].([]any) {
		if f == flag {
			return true
		}
	}
	return false
}

func TestConn_EnsureBridge_MAC(t *testing.T) {
	t.Parallel()
	s, box := newSpace(t), newSpace(t)
	want := net.HardwareAddr{0xfe, 1, 2, 3, 4, 5}
	br := s.bridge(t, "br0", netutil.BridgeConfig{MAC: want})
	random := s.bridge(t, "br1", netutil.BridgeConfig{})
	if random.MAC[0]&3 != 2 {
		t.Errorf("random hardware address = %v, want a local one that is no group", random.MAC)
	}
	for i, bridge := range []*netutil.Link{br, random} {
		// A port with a lower address takes over a bridge whose address is not its own.
		s.veth(t, box, netutil.VethConfig{
			Name: fmt.Sprintf("host%d", i), MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}, Master: bridge.Index, Up: true,
			Peer: netutil.VethPeer{Name: fmt.Sprintf("eth%d", i)},
		})
		got, err := s.Link(t.Context(), bridge.Name)
		if err != nil || got.MAC.String() != bridge.MAC.String() {
			t.Errorf("hardware address of %s with a port = %v, %v, want %v", bridge.Name, got.MAC, err, bridge.MAC)
		}
	}
	if br.MAC.String() != want.String() {
		t.Errorf("hardware address = %v, want %v", br.MAC, want)
	}
}

// C-38: what an existing bridge cannot give is said, and nothing is changed.
func TestConn_EnsureBridge_Mismatch(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, box := newSpace(t), newSpace(t)
	br := s.bridge(t, "br0", netutil.BridgeConfig{MTU: 1400})
	v := s.veth(t, box, netutil.VethConfig{Master: br.Index, MTU: 1400})
	tests := []struct {
		name, link string
		cfg        netutil.BridgeConfig
		want       netutil.Difference
	}{
		{"mtu", "br0", netutil.BridgeConfig{MTU: 9000}, netutil.Difference{What: "mtu", Have: "1400", Want: "9000"}},
		{"vlans", "br0", netutil.BridgeConfig{VLANFiltering: true}, netutil.Difference{What: "vlan filtering", Have: "off", Want: "on"}},
		{"veth", "host0", netutil.BridgeConfig{}, netutil.Difference{What: "kind", Have: "veth", Want: "bridge"}},
		{"loopback", "lo", netutil.BridgeConfig{}, netutil.Difference{What: "kind", Have: "hardware", Want: "bridge"}},
	}
	for _, tt := range tests {
		_, _, err := s.EnsureBridge(ctx, tt.link, tt.cfg)
		if diff := cmp.Diff([]netutil.Difference{tt.want}, asMismatch(t, err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	// Without ports nobody is hurt.
	if err := s.DelLink(ctx, v.Host.Name, "veth"); err != nil {
		t.Fatal(err)
	}
	for _, mtu := range []int{9000, 1500} {
		if br, created, err := s.EnsureBridge(ctx, "br0", netutil.BridgeConfig{MTU: mtu}); err != nil || created || br.MTU != mtu {
			t.Errorf("EnsureBridge without ports, MTU %d = %+v, %v, %v", mtu, br, created, err)
		}
	}
}

// A bridge keeps the MTU it was given when its last port goes.
func TestConn_EnsureBridge_MTUStays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, box := newSpace(t), newSpace(t)
	br := s.bridge(t, "br0", netutil.BridgeConfig{MTU: 9000})
	s.veth(t, box, netutil.VethConfig{Master: br.Index, MTU: 9000})
	if err := s.DelLink(ctx, "host0", "veth"); err != nil {
		t.Fatal(err)
	}
	if l, err := s.Link(ctx, "br0"); err != nil || l.MTU != 9000 {
		t.Errorf("MTU afterwards = %d, %v, want 9000", l.MTU, err)
	}
}

// A bridge that others made, and left down and open to router advertisements.
func TestConn_EnsureBridge_Adopt(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.test.Output(t, "ip", "link", "add", "br0", "type", "bridge")
	br, created, err := s.EnsureBridge(t.Context(), "br0", netutil.BridgeConfig{})
	if err != nil || created || !br.Up {
		t.Errorf("EnsureBridge = %+v, %v, %v, want it adopted and up", br, created, err)
	}
	if ra := s.sysctl(t, "ipv6/conf/br0/accept_ra"); ra != "0" {
		t.Errorf("accept_ra = %s, want 0", ra)
	}
}

// CHK-006: the other half of it.
func TestConn_CompareBridge(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), newSpace(t)
	cfg := netutil.BridgeConfig{MTU: 1400, Promisc: true}
	if _, err := s.CompareBridge(ctx, "br0", cfg); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("CompareBridge of none = %v, want %v", err, fs.ErrNotExist)
	}
	s.bridge(t, "br0", cfg)
	br, err := s.CompareBridge(ctx, "br0", cfg)
	if err != nil || br.Name != "br0" {
		t.Errorf("CompareBridge = %+v, %v, want it as it is", br, err)
	}
	_, err = s.CompareBridge(ctx, "br0", netutil.BridgeConfig{VLANFiltering: true})
	wantMismatch(t, "CompareBridge of one that filters no VLANs", err, "vlan filtering")
	s.test.Output(t, "ip", "link", "set", "br0", "down", "promisc", "off", "mtu", "1300")
	_, err = s.CompareBridge(ctx, "br0", cfg)
	wantMismatch(t, "CompareBridge of one that is down", err, "state", "promiscuous mode")
	_, err = s.CompareBridge(ctx, "lo", netutil.BridgeConfig{})
	wantMismatch(t, "CompareBridge of the loopback link", err, "kind", "state")
}

func TestConn_EnsureBridge_VLANs(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	br, _, err := s.EnsureBridge(t.Context(), "br0", netutil.BridgeConfig{VLANFiltering: true})
	if errors.Is(err, errors.ErrUnsupported) {
		if links := s.ipJSON(t, "link"); len(links) != 1 {
			t.Errorf("links after a refusal = %v, want lo alone", links)
		}
		nstest.Lacks(t, "VLAN filtering of bridges", err)
	}
	if err != nil || !br.Bridge.VLANFiltering {
		t.Errorf("EnsureBridge = %+v, %v, want one that filters VLANs", br, err)
	}
}

// Parallel ADDs on one bridge never fail each other.
func TestConn_EnsureBridge_Parallel(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSpace(t)
	gateways := []netip.Prefix{prefix("10.0.0.1/24"), prefix("fd00::1/64")}
	for round := range 20 {
		var group sync.WaitGroup
		var mu sync.Mutex
		made, indexes := 0, make(map[int]bool)
		for range 8 {
			group.Go(func() {
				c, err := netutil.Open(s.ns)
				if err != nil {
					t.Error(err)
					return
				}
				br, created, err := c.EnsureBridge(ctx, "br0", netutil.BridgeConfig{MTU: 1400})
				if err == nil {
					_, err = c.EnsureGateways(ctx, br, gateways, false)
				}
				if err := errors.Join(err, c.Close()); err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				indexes[br.Index] = true
				if created {
					made++
				}
			})
		}
		group.Wait()
		if made != 1 || len(indexes) != 1 {
			t.Errorf("round %d: %d bridges made, %d seen, want one", round, made, len(indexes))
		}
		if err := s.DelLink(ctx, "br0", "bridge"); err != nil {
			t.Fatal(err)
		}
	}
}

// addrs lists the addresses of a link that are not link-local.
func (s space) addrs(t testing.TB, index int) []string {
	t.Helper()
	list, err := s.ListAddrs(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range list {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			got = append(got, a.Prefix.String())
			if a.Tentative || a.Duplicate {
				t.Errorf("address %v is not usable", a.Prefix)
			}
		}
	}
	return got
}

// C-40, C-42: several gateways of a family; a conflict is an overlap, and force removes
// only what overlaps.
func TestConn_EnsureGateways(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		have, want []string // of the bridge before and of the configuration
		force      bool
		conflict   []string
		after      []string
	}{
		{name: "first", want: []string{"10.0.0.1/24", "fd00::1/64"}, after: []string{"10.0.0.1/24", "fd00::1/64"}},
		{
			name: "there already", have: []string{"10.0.0.1/24", "fd00::1/64"}, want: []string{"10.0.0.1/24", "fd00::1/64"},
			after: []string{"10.0.0.1/24", "fd00::1/64"},
		},
		{
			name: "another subnet", have: []string{"10.0.0.1/24", "fd00::1/64"}, want: []string{"10.0.1.1/24", "fd01::1/64"},
			after: []string{"10.0.0.1/24", "10.0.1.1/24", "fd01::1/64", "fd00::1/64"},
		},
		{name: "named twice", want: []string{"10.0.0.1/24", "10.0.0.1/24"}, after: []string{"10.0.0.1/24"}},
		{
			name: "conflict", have: []string{"10.0.0.9/16", "fd00::9/64"}, want: []string{"10.0.0.1/24", "fd00::1/64"},
			conflict: []string{"10.0.0.9/16", "fd00::9/64"}, after: []string{"10.0.0.9/16", "fd00::9/64"},
		},
		{
			name: "same address, other length", have: []string{"10.0.0.1/16"}, want: []string{"10.0.0.1/24"},
			conflict: []string{"10.0.0.1/16"}, after: []string{"10.0.0.1/16"},
		},
		{
			name: "force", have: []string{"10.0.0.9/16", "192.168.0.1/24", "fd00::9/64", "fd01::9/64"},
			want: []string{"10.0.0.1/24", "fd00::1/64"}, force: true,
			after: []string{"192.168.0.1/24", "10.0.0.1/24", "fd00::1/64", "fd01::9/64"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := newSpace(t)
			br := s.bridge(t, "br0", netutil.BridgeConfig{})
			for _, p := range tt.have {
				if created, err := s.EnsureAddr(ctx, br.Index, prefix(p), netutil.AddrConfig{}); err != nil || !created {
					t.Fatalf("EnsureAddr(%s) = %v, %v", p, created, err)
				}
			}
			var want []netip.Prefix
			for _, p := range tt.want {
				want = append(want, prefix(p))
			}
			_, err := s.EnsureGateways(ctx, br, want, tt.force)
			if len(tt.conflict) == 0 && err != nil {
				t.Errorf("EnsureGateways = %v", err)
			}
			if len(tt.conflict) > 0 {
				var have []string
				for _, d := range asMismatch(t, err) {
					have = append(have, d.Have)
				}
				if diff := cmp.Diff(tt.conflict, have); diff != "" {
					t.Errorf("conflicts (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(tt.after, s.addrs(t, br.Index), sortStrings); diff != "" {
				t.Errorf("addresses afterwards (-want +got):\n%s", diff)
			}
			if len(tt.conflict) > 0 {
				return
			}
			if added, err := s.EnsureGateways(ctx, br, want, false); added || err != nil {
				t.Errorf("second EnsureGateways = %v, %v, want nothing added", added, err)
			}
		})
	}
}

// The hardware address of a bridge that others made stays once it is a gateway.
func TestConn_EnsureGateways_MAC(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, box := newSpace(t), newSpace(t)
	s.test.Output(t, "ip", "link", "add", "br0", "type", "bridge")
	br, _, err := s.EnsureBridge(ctx, "br0", netutil.BridgeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.EnsureGateways(ctx, br, []netip.Prefix{prefix("10.0.0.1/24")}, false); err != nil {
		t.Fatal(err)
	}
	s.veth(t, box, netutil.VethConfig{MAC: net.HardwareAddr{0, 0, 0, 0, 0, 1}, Master: br.Index})
	if got, err := s.Link(ctx, "br0"); err != nil || got.MAC.String() != br.MAC.String() {
		t.Errorf("hardware address = %v, %v, want %v", got.MAC, err, br.MAC)
	}
}

func BenchmarkConn_EnsureBridge(b *testing.B) {
	s := newSpace(b)
	s.bridge(b, "br0", netutil.BridgeConfig{})
	for b.Loop() {
		if _, _, err := s.EnsureBridge(b.Context(), "br0", netutil.BridgeConfig{}); err != nil {
			b.Fatal(err)
		}
	}
}
