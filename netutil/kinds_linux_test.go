// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
)

func TestConn_EnsureMacvlan(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box, other := newSpace(t), newSpace(t), newSpace(t)
	parent := host.veth(t, other, netutil.VethConfig{MTU: 1400}).Host
	cfg := netutil.MacvlanConfig{
		Name: "eth0", Parent: parent.Index, NS: box.ns, Mode: netutil.MacvlanVEPA, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, MTU: 1300,
	}
	l, created, err := host.EnsureMacvlan(ctx, cfg)
	if errors.Is(err, errors.ErrUnsupported) {
		nstest.Lacks(t, "macvlan", err)
	}
	if err != nil || !created {
		t.Fatalf("EnsureMacvlan = %v, %v", created, err)
	}
	got := box.ipJSON(t, "link", "show", "eth0")[0]
	info := got["linkinfo"].(map[string]any)
	mode := info["info_data"].(map[string]any)["mode"]
	if got["address"] != "02:00:00:00:00:09" || got["mtu"] != 1300.0 || info["info_kind"] != "macvlan" || mode != "vepa" ||
		got["ifindex"] != float64(l.Index) || got["link_index"] != float64(parent.Index) {
		t.Errorf("ip sees %v", got)
	}
	if again, created, err := host.EnsureMacvlan(ctx, cfg); err != nil || created || again.Index != l.Index {
		t.Errorf("second EnsureMacvlan = %+v, %v, %v, want the same", again, created, err)
	}
	cfg.Mode, cfg.MTU = 0, 1400
	_, _, err = host.EnsureMacvlan(ctx, cfg)
	want := []netutil.Difference{{What: "mode", Have: "vepa", Want: "bridge"}, {What: "mtu", Have: "1300", Want: "1400"}}
	if diff := cmp.Diff(want, asMismatch(t, err)); diff != "" {
		t.Errorf("EnsureMacvlan with other settings (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := box.DelLink(ctx, "eth0", "macvlan"); err != nil {
			t.Errorf("DelLink = %v", err)
		}
	}
}

// A macvlan in a sandbox of which the kernel could not tell that it made it is known as made,
// and one that was there before is not.
func TestConn_EnsureMacvlan_lostAnswer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box := newSpace(t), newSpace(t)
	parent := host.bridge(t, "br0", netutil.BridgeConfig{})
	for _, want := range []bool{true, false} {
		host.test.Do(t, func() { netutil.Congest(t) })
		l, created, err := host.EnsureMacvlan(ctx, netutil.MacvlanConfig{Name: "eth0", Parent: parent.Index, NS: box.ns})
		if errors.Is(err, errors.ErrUnsupported) {
			nstest.Lacks(t, "macvlan", err)
		}
		if err != nil || created != want || l.Name != "eth0" {
			t.Errorf("EnsureMacvlan = %+v, %v, %v, want %v", l, created, err, want)
		}
	}
}

func TestConn_EnsureVxlan(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSpace(t)
	cfg := netutil.VxlanConfig{ID: 42, Local: ip("10.0.0.1"), Remote: ip("10.0.0.2"), MTU: 1400}
	l, created, err := s.EnsureVxlan(ctx, "vx0", cfg)
	if errors.Is(err, errors.ErrUnsupported) {
		nstest.Lacks(t, "vxlan", err)
	}
	if err != nil || !created {
		t.Fatalf("EnsureVxlan = %v, %v", created, err)
	}
	got := s.ipJSON(t, "link", "show", "vx0")[0]
	data := got["linkinfo"].(map[string]any)["info_data"].(map[string]any)
	for name, want := range map[string]any{"id": 42.0, "port": 4789.0, "learning": false, "remote": "10.0.0.2", "local": "10.0.0.1"} {
		if data[name] != want {
			t.Errorf("%s = %v, want %v", name, data[name], want)
		}
	}
	if got["address"] != l.MAC.String() || got["mtu"] != 1400.0 {
		t.Errorf("ip sees %v", got)
	}
	if again, created, err := s.EnsureVxlan(ctx, "vx0", cfg); err != nil || created || again.Index != l.Index {
		t.Errorf("second EnsureVxlan = %+v, %v, %v, want the same", again, created, err)
	}
	cfg.ID, cfg.Learn = 43, true
	_, _, err = s.EnsureVxlan(ctx, "vx0", cfg)
	want := []netutil.Difference{{What: "id", Have: "42", Want: "43"}, {What: "learning", Have: "off", Want: "on"}}
	if diff := cmp.Diff(want, asMismatch(t, err)); diff != "" {
		t.Errorf("EnsureVxlan with other settings (-want +got):\n%s", diff)
	}
	cfg.ID, cfg.Learn = 42, false
	if _, _, err := s.EnsureVxlan(ctx, "vx1", cfg); !errors.Is(err, fs.ErrExist) {
		t.Errorf("EnsureVxlan with an id that is taken = %v, want %v", err, fs.ErrExist)
	}
}

// C-55: the kind is asked before a link is removed by name.
func TestConn_DelLink(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSpace(t)
	s.bridge(t, "eth0", netutil.BridgeConfig{})
	want := []netutil.Difference{{What: "kind", Have: "bridge", Want: "veth"}}
	if diff := cmp.Diff(want, asMismatch(t, s.DelLink(ctx, "eth0", "veth"))); diff != "" {
		t.Errorf("DelLink (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := s.DelLink(ctx, "eth0", ""); err != nil {
			t.Errorf("DelLink = %v", err)
		}
	}
}

func TestConn_SetLink(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box := newSpace(t), newSpace(t)
	br := host.bridge(t, "br0", netutil.BridgeConfig{})
	v := host.veth(t, box, netutil.VethConfig{})
	err := host.SetLink(ctx, v.Host.Index, netutil.LinkConfig{
		Name: "new", Alias: "an alias", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, MTU: 1400, Master: br.Index,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := host.SetPort(ctx, v.Host.Index, netutil.PortConfig{Isolated: true}); err != nil {
		t.Fatal(err)
	}
	l, err := host.Link(ctx, "new")
	if err != nil || l.Alias != "an alias" || l.MAC.String() != "02:00:00:00:00:09" || l.MTU != 1400 || l.Master != br.Index ||
		l.Port == nil || !l.Port.Isolated || l.Port.Hairpin {
		t.Errorf("link afterwards = %+v, %v", l, err)
	}
	found, err := host.ListLinks(ctx, netutil.LinkFilter{Alias: "an alias"})
	if err != nil || len(found) != 1 || found[0].Name != "new" {
		t.Errorf("ListLinks by alias = %v, %v, want it", found, err)
	}
	if err := host.SetLink(ctx, v.Host.Index, netutil.LinkConfig{Master: -1}); err != nil {
		t.Fatal(err)
	}
	if err := host.SetDown(ctx, v.Host.Index); err != nil {
		t.Fatal(err)
	}
	if l, err := host.LinkByIndex(ctx, v.Host.Index); err != nil || l.Master != 0 || l.Up {
		t.Errorf("link released and down = %+v, %v", l, err)
	}
	if err := host.SetUp(ctx, 4711); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SetUp of nothing = %v, want %v", err, fs.ErrNotExist)
	}
}

// C-39: the name fits whatever the bridge is called.
func TestVLANGatewayName(t *testing.T) {
	t.Parallel()
	for bridge, want := range map[string]string{
		"cni0": "cni0.4094", "br-1234567": "br-1234567.4094", "br-12345678": "cnbmhw37qj.4094",
	} {
		if got := netutil.VLANGatewayName(bridge, 4094); len(got) > 15 || got != want {
			t.Errorf("VLANGatewayName(%s, 4094) = %s, want %s", bridge, got, want)
		}
	}
	if a, b := netutil.VLANGatewayName("a-long-bridge-1", 4), netutil.VLANGatewayName("a-long-bridge-2", 4); a == b {
		t.Errorf("names of two bridges = %s, want two", a)
	}
}

func TestPlanVLANs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		have      []int
		want      netutil.PortVLANs
		drop, add string
	}{
		{"access", []int{1}, netutil.PortVLANs{Access: 10}, "1", "10*"},
		{"access, kept", []int{1}, netutil.PortVLANs{Access: 10, Keep: true}, "", "10*"},
		{"trunk", []int{1}, netutil.PortVLANs{Trunk: []netutil.VLANRange{{100, 101}, {200, 200}}}, "", "1* 100-101 200"},
		{"trunk, kept", []int{1}, netutil.PortVLANs{Trunk: []netutil.VLANRange{{100, 101}}, Keep: true}, "", "100-101"},
		{"access in the trunk", []int{1}, netutil.PortVLANs{Access: 10, Trunk: []netutil.VLANRange{{9, 11}}}, "1", "10* 9 11"},
		{"others before", []int{1, 5, 10}, netutil.PortVLANs{Access: 10}, "1 5", "10*"},
		{"nothing", []int{1}, netutil.PortVLANs{}, "1", ""},
	}
	for _, tt := range tests {
		drop, add := netutil.PlanVLANs(tt.have, tt.want)
		if drop != tt.drop || add != tt.add {
			t.Errorf("%s: leaves %q and enters %q, want %q and %q", tt.name, drop, add, tt.drop, tt.add)
		}
	}
}

// CHK-006: the other half of it.
func TestMissingVLANs(t *testing.T) {
	t.Parallel()
	access, tagged := netutil.VLAN{ID: 10, Access: true, Untagged: true}, netutil.VLAN{ID: 20}
	for _, tt := range []struct {
		name string
		have []netutil.VLAN
		want netutil.PortVLANs
		diff []string
	}{
		{"as it is", []netutil.VLAN{access, tagged}, netutil.PortVLANs{Access: 10, Trunk: []netutil.VLANRange{{20, 20}}}, nil},
		{"more than asked for", []netutil.VLAN{access, tagged}, netutil.PortVLANs{Access: 10}, nil},
		{"nothing asked for", nil, netutil.PortVLANs{}, nil},
		{"not in the trunk", []netutil.VLAN{access, tagged}, netutil.PortVLANs{Access: 10, Trunk: []netutil.VLANRange{{20, 21}}}, []string{"vlan"}},
		{"in it with tags only", []netutil.VLAN{tagged}, netutil.PortVLANs{Access: 20}, []string{"vlan of frames without a tag"}},
		{"in none", nil, netutil.PortVLANs{Access: 10}, []string{"vlan"}},
	} {
		wantMismatch(t, tt.name+": compare", netutil.MissingVLANs(tt.have, tt.want), tt.diff...)
	}
}

func TestConn_SetPortVLANs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box := newSpace(t), newSpace(t)
	br, _, err := host.EnsureBridge(ctx, "br0", netutil.BridgeConfig{VLANFiltering: true})
	if errors.Is(err, errors.ErrUnsupported) {
		nstest.Lacks(t, "VLAN filtering of bridges", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	v := host.veth(t, box, netutil.VethConfig{Master: br.Index})
	for range 2 {
		err := host.SetPortVLANs(ctx, v.Host.Index, netutil.PortVLANs{Access: 10, Trunk: []netutil.VLANRange{{20, 21}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := host.ListVLANs(ctx, v.Host.Index)
		want := []netutil.VLAN{{ID: 10, Access: true, Untagged: true}, {ID: 20}, {ID: 21}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("ListVLANs: %v (-want +got):\n%s", err, diff)
		}
	}
	for i, want := range []bool{true, false} {
		gw, created, err := host.EnsureVLANGateway(ctx, br, 10, 0)
		if err != nil || created != want || gw.Name != "br0.10" {
			t.Errorf("EnsureVLANGateway, time %d = %+v, %v, %v", i+1, gw, created, err)
		}
	}
	if links, err := host.ListLinks(ctx, netutil.LinkFilter{Master: br.Index}); err != nil || len(links) != 2 {
		t.Errorf("ports = %v, %v, want two", fmt.Sprint(links), err)
	}
}

func TestMacvlanMode_UnmarshalText(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]netutil.MacvlanMode{
		"": 0, "bridge": netutil.MacvlanBridge, "private": netutil.MacvlanPrivate, "vepa": netutil.MacvlanVEPA, "passthru": netutil.MacvlanPassthru,
	} {
		var got netutil.MacvlanMode
		if err := got.UnmarshalText([]byte(word)); err != nil || got != want || got.String() != word {
			t.Errorf("UnmarshalText(%q) = %v, %v, want %v", word, got, err, want)
		}
	}
	for _, word := range []string{"Bridge", "source", "1"} {
		got := netutil.MacvlanVEPA
		if err := got.UnmarshalText([]byte(word)); err == nil || got != netutil.MacvlanVEPA {
			t.Errorf("UnmarshalText(%q) = %v, %v, want an error and nothing changed", word, got, err)
		}
	}
	if got := netutil.MacvlanMode(99).String(); got != "99" {
		t.Errorf("String of an unknown mode = %q, want its number", got)
	}
}
