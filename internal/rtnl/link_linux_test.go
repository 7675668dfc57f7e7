// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/internal/rtnl"
)

var (
	hostMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	peerMAC = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

// A veth is made where it shall be, by one message: two names, two namespaces, two
// hardware addresses, a master, a length of queue that is the kernel's (C-36).
func TestConn_AddLink_Veth(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	hostNS, boxNS := nstest.New(t), nstest.New(t)
	host, box := open(t, hostNS), open(t, boxNS)
	br, err := host.AddLink(ctx, &rtnl.LinkSpec{Name: "br0", Kind: "bridge", Up: rtnl.On})
	if err != nil {
		t.Fatal(err)
	}
	before := host.Sent()
	made, err := host.AddLink(ctx, &rtnl.LinkSpec{
		Name: "host0", Kind: "veth", Queues: 1, MTU: 1400, MAC: hostMAC, Master: br.Index,
		Peer: &rtnl.LinkSpec{Name: "eth0", NetNS: boxNS.Fd(), Queues: 1, MTU: 1300, MAC: peerMAC},
	})
	if err != nil {
		t.Fatal(err)
	}
	// A kernel before 6.2 does not tell what it made and has to be asked.
	if n := host.Sent() - before; n != 1 && n != 2 {
		t.Errorf("messages sent = %d, want 1", n)
	}
	got, err := host.LinkByIndex(ctx, made.Index)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := box.LinkByName(ctx, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	// Indexes of a namespace are unique there only.
	want := &rtnl.Link{
		Index: made.Index, Name: "host0", Kind: "veth", MAC: hostMAC, MTU: 1400, TxQueue: 1000, Queues: 1,
		Master: br.Index, Parent: peer.Index, ParentNS: 0,
	}
	wantPeer := &rtnl.Link{
		Index: peer.Index, Name: "eth0", Kind: "veth", MAC: peerMAC, MTU: 1300, TxQueue: 1000, Queues: 1,
		Parent: made.Index, ParentNS: 0,
	}
	ignore := cmpopts.IgnoreFields(rtnl.Link{}, "Flags", "OperState", "Port")
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("host end (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantPeer, peer, ignore); diff != "" {
		t.Errorf("container end (-want +got):\n%s", diff)
	}
	if id, err := host.NSID(ctx, boxNS.Fd()); err != nil || id != got.ParentNS {
		t.Errorf("NSID = %d, %v, want %d", id, err, got.ParentNS)
	}
	if id, err := host.NSID(ctx, nstest.New(t).Fd()); err != nil || id != -1 {
		t.Errorf("NSID of a stranger = %d, %v, want -1", id, err)
	}
	compareWithLibrary(t, hostNS, got)
	compareWithLibrary(t, boxNS, peer)
}

// compareWithLibrary compares a link with what another reader of netlink finds.
func compareWithLibrary(t *testing.T, n *nstest.NS, l *rtnl.Link) {
	t.Helper()
	n.Do(t, func() {
		other, err := netlink.LinkByName(l.Name)
		if err != nil {
			t.Fatal(err)
		}
		a := other.Attrs()
		want := &rtnl.Link{
			Index: a.Index, Name: a.Name, AltNames: l.AltNames, Alias: a.Alias, Kind: other.Type(), MAC: a.HardwareAddr, MTU: a.MTU,
			Flags: a.RawFlags, OperState: uint8(a.OperState), Master: a.MasterIndex, Parent: a.ParentIndex,
			ParentNS: a.NetNsID, TxQueue: a.TxQLen, Queues: a.NumTxQueues,
			Bridge: l.Bridge, Port: l.Port, Macvlan: l.Macvlan, Vxlan: l.Vxlan,
		}
		if diff := cmp.Diff(want, l, netipEqual); diff != "" {
			t.Errorf("%s (-netlink library +got):\n%s", l.Name, diff)
		}
	})
}

// Of what is refused nothing stays.
func TestConn_AddLink_Exists(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	hostNS, boxNS := nstest.New(t), nstest.New(t)
	host, box := open(t, hostNS), open(t, boxNS)
	veth := func(name, peer string) error {
		_, err := host.AddLink(ctx, &rtnl.LinkSpec{
			Name: name, Kind: "veth", Queues: 1, Peer: &rtnl.LinkSpec{Name: peer, NetNS: boxNS.Fd(), Queues: 1},
		})
		return err
	}
	if err := veth("host0", "eth0"); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][2]string{{"host0", "eth1"}, {"host1", "eth0"}} {
		if err := veth(names[0], names[1]); !errors.Is(err, fs.ErrExist) {
			t.Errorf("AddLink(%v) = %v, want %v", names, err, fs.ErrExist)
		}
	}
	for _, c := range []*rtnl.Conn{host, box} {
		links, err := c.Links(ctx, rtnl.LinkFilter{Kind: "veth"})
		if err != nil || len(links) != 1 {
			t.Errorf("veths afterwards = %v, %v, want one", links, err)
		}
	}
}

// A failure after the kernel has told what it made is a failure.
func TestConn_AddLink_Late(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	const loopback = 1 // which takes no ports
	made, err := c.AddLink(ctx, &rtnl.LinkSpec{Name: "a", Kind: "veth", Master: loopback, Peer: &rtnl.LinkSpec{Name: "b"}})
	if made != nil || err == nil {
		t.Errorf("AddLink with an impossible master = %+v, %v, want an error", made, err)
	}
	links, err := c.Links(ctx, rtnl.LinkFilter{Kind: "veth"})
	if err != nil || len(links) != 0 {
		t.Errorf("veths afterwards = %v, %v, want none", links, err)
	}
	if _, err := c.LinkByName(ctx, "lo"); err != nil {
		t.Errorf("the next question: %v", err)
	}
}

func TestConn_SetLink(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := nstest.New(t)
	c := open(t, n)
	add := func(s rtnl.LinkSpec) *rtnl.Link {
		t.Helper()
		l, err := c.AddLink(ctx, &s)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	br := add(rtnl.LinkSpec{Name: "br0", Kind: "bridge"})
	veth := add(rtnl.LinkSpec{Name: "a", Kind: "veth", Queues: 1, Peer: &rtnl.LinkSpec{Name: "b", Queues: 1}})
	state := func() *rtnl.Link {
		t.Helper()
		l, err := c.LinkByIndex(ctx, veth.Index)
		if err != nil {
			t.Fatal(err)
		}
		compareWithLibrary(t, n, l)
		return l
	}
	set := func(s rtnl.LinkSpec) *rtnl.Link {
		t.Helper()
		s.Index = veth.Index
		if err := c.SetLink(ctx, &s); err != nil {
			t.Fatal(err)
		}
		return state()
	}
	if l := set(rtnl.LinkSpec{Alias: "an alias", MTU: 1300, Master: br.Index, Up: rtnl.On}); l.Alias != "an alias" || l.MTU != 1300 ||
		l.Master != br.Index || l.Flags&unix.IFF_UP == 0 {
		t.Errorf("after a change of alias, MTU, master and up = %+v", l)
	}
	if l := set(rtnl.LinkSpec{Port: &rtnl.PortSpec{Hairpin: rtnl.On, Isolated: rtnl.On}}); l.Port == nil || !l.Port.Hairpin || !l.Port.Isolated {
		t.Errorf("port with hairpin and isolation = %+v", l.Port)
	}
	if l := set(rtnl.LinkSpec{Port: &rtnl.PortSpec{Hairpin: rtnl.Off}}); l.Port == nil || l.Port.Hairpin || !l.Port.Isolated {
		t.Errorf("port with isolation = %+v", l.Port)
	}
	if l := set(rtnl.LinkSpec{Promisc: rtnl.On}); l.Flags&unix.IFF_PROMISC == 0 || l.Flags&unix.IFF_UP == 0 {
		t.Errorf("flags with promisc = %#x", l.Flags)
	}
	if l := set(rtnl.LinkSpec{Promisc: rtnl.Off, Up: rtnl.Off, Master: -1}); l.Flags&(unix.IFF_PROMISC|unix.IFF_UP) != 0 || l.Master != 0 {
		t.Errorf("released and down = %+v", l)
	}
	if l := set(rtnl.LinkSpec{NewName: "renamed", TxQueue: 7, GenMode: rtnl.Off}); l.Name != "renamed" || l.TxQueue != 7 {
		t.Errorf("renamed = %+v", l)
	}
	var out []struct {
		Mode string `json:"inet6_addr_gen_mode"`
	}
	if err := json.Unmarshal(n.Output(t, "ip", "-j", "-d", "link", "show", "renamed"), &out); err != nil {
		t.Fatal(err)
	}
	if out[0].Mode != "none" {
		t.Errorf("way of making link-local addresses = %q, want none", out[0].Mode)
	}
}

func TestConn_DelLink(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	l, err := c.AddLink(ctx, &rtnl.LinkSpec{Name: "br0", Kind: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.DelLink(ctx, l.Index); err != nil {
		t.Errorf("DelLink = %v", err)
	}
	if err := c.DelLink(ctx, l.Index); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("second DelLink = %v, want %v", err, fs.ErrNotExist)
	}
}

// Nobody waits long for the lock of all links, whatever one of them takes; where they go
// fast, many go at once.
func TestNextAtOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		perLink time.Duration
		want    int // in the end
	}{
		{time.Second, 1},
		{40 * time.Millisecond, 16},
		{time.Millisecond, 64},
		{0, 64},
	} {
		n := 8
		for range 20 {
			n = rtnl.NextAtOnce(n, time.Duration(n)*tt.perLink)
			if n < 1 || n > 64 {
				t.Fatalf("%d links at once, want 1 to 64", n)
			}
		}
		// It goes to and fro around what takes as long as it may.
		if n != tt.want && n != 2*tt.want {
			t.Errorf("%d links at once where each takes %v, want %d", n, tt.perLink, tt.want)
		}
	}
}

// DelLinks removes what it is given and nothing else, whatever has gone meanwhile.
func TestConn_DelLinks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	var doomed []int
	for i := range 300 { // more than go at once
		l, err := c.AddLink(ctx, &rtnl.LinkSpec{Name: fmt.Sprint("veth", i), Kind: "veth", Peer: &rtnl.LinkSpec{Name: fmt.Sprint("peer", i)}})
		if err != nil {
			t.Fatal(err)
		}
		if i%50 != 0 {
			doomed = append(doomed, l.Index)
		}
	}
	doomed = append(doomed, 1<<20) // nobody's
	for range 2 {
		if err := c.DelLinks(ctx, doomed); err != nil {
			t.Errorf("DelLinks = %v", err)
		}
	}
	left, err := c.Links(ctx, rtnl.LinkFilter{Kind: "veth"})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if n := strings.TrimLeft(l.Name, "vethpr"); n != "0" && n != "50" && n != "100" && n != "150" && n != "200" && n != "250" {
			t.Errorf("link %s is left", l.Name)
		}
	}
	if len(left) != 12 {
		t.Errorf("%d links left, want 6 with their peers", len(left))
	}
	if err := c.DelLinks(ctx, nil); err != nil {
		t.Errorf("DelLinks of none = %v", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := c.DelLinks(over, doomed); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "\n") {
		t.Errorf("DelLinks with no time = %v, want one %v", err, context.Canceled)
	}
	if err := c.DelLinks(ctx, []int{1}); err == nil {
		t.Error("DelLinks of the loopback succeeded")
	}
}

func TestConn_Links(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	br, err := c.AddLink(ctx, &rtnl.LinkSpec{Name: "br0", Kind: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.AddLink(ctx, &rtnl.LinkSpec{Name: "a", Kind: "veth", Master: br.Index, Peer: &rtnl.LinkSpec{Name: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		filter rtnl.LinkFilter
		want   []string
	}{
		{"all", rtnl.LinkFilter{}, []string{"a", "b", "br0", "lo"}},
		{"veths", rtnl.LinkFilter{Kind: "veth"}, []string{"a", "b"}},
		{"ports", rtnl.LinkFilter{Master: br.Index}, []string{"a"}},
		{"none", rtnl.LinkFilter{Kind: "macvlan"}, nil},
	}
	for _, tt := range tests {
		links, err := c.Links(ctx, tt.filter)
		if err != nil {
			t.Errorf("Links(%s) = %v", tt.name, err)
		}
		var got []string
		for _, l := range links {
			got = append(got, l.Name)
		}
		less := func(a, b string) bool { return a < b }
		if diff := cmp.Diff(tt.want, got, cmpopts.SortSlices(less)); diff != "" {
			t.Errorf("Links(%s) (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestConn_AddLink_Kinds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := nstest.New(t)
	c := open(t, n)
	veth, err := c.AddLink(ctx, &rtnl.LinkSpec{Name: "a", Kind: "veth", Peer: &rtnl.LinkSpec{Name: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		spec rtnl.LinkSpec
	}{
		{"macvlan", rtnl.LinkSpec{Parent: veth.Index, Macvlan: &rtnl.Macvlan{Mode: rtnl.MacvlanVEPA, BCQueueLen: 2000}}},
		{"vxlan", rtnl.LinkSpec{Vxlan: &rtnl.Vxlan{
			ID: 42, Parent: veth.Index, Local: netip.MustParseAddr("10.0.0.1"), Remote: netip.MustParseAddr("10.0.0.2"),
			Port: 4789, Learning: rtnl.Off,
		}}},
		{"vxlan", rtnl.LinkSpec{Vxlan: &rtnl.Vxlan{ID: 43, Local: netip.MustParseAddr("fd00::1"), Port: 8472, Learning: rtnl.On}}},
	}
	for _, tt := range tests {
		tt.spec.Kind, tt.spec.Name = tt.name, "x"
		made, err := c.AddLink(ctx, &tt.spec)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Logf("kernel lacks %s: %v", tt.name, err)
			continue
		}
		if err != nil {
			t.Errorf("AddLink(%s) = %v", tt.name, err)
			continue
		}
		got, err := c.LinkByIndex(ctx, made.Index)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.spec.Macvlan, got.Macvlan); diff != "" {
			t.Errorf("macvlan (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(tt.spec.Vxlan, got.Vxlan, netipEqual); diff != "" {
			t.Errorf("vxlan (-want +got):\n%s", diff)
		}
		compareWithLibrary(t, n, got)
		if err := c.DelLink(ctx, got.Index); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConn_VLANs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := open(t, nstest.New(t))
	br, err := c.AddLink(ctx, &rtnl.LinkSpec{Name: "br0", Kind: "bridge", Bridge: &rtnl.BridgeSpec{VLANFiltering: rtnl.On}})
	if errors.Is(err, errors.ErrUnsupported) {
		nstest.Lacks(t, "VLAN filtering of bridges", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	port, err := c.AddLink(ctx, &rtnl.LinkSpec{Name: "a", Kind: "veth", Master: br.Index, Peer: &rtnl.LinkSpec{Name: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	check := func(index int, want ...rtnl.VLANs) {
		t.Helper()
		got, err := c.VLANs(ctx, index)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("VLANs(%d): %v (-want +got):\n%s", index, err, diff)
		}
	}
	native := rtnl.VLANs{First: 1, Last: 1, PVID: true, Untagged: true}
	check(port.Index, native)
	check(br.Index, native)
	err = c.AddVLANs(ctx, port.Index, false, rtnl.VLANs{First: 10, Last: 11}, rtnl.VLANs{First: 20, Last: 20, PVID: true, Untagged: true})
	if err != nil {
		t.Fatal(err)
	}
	check(port.Index, rtnl.VLANs{First: 1, Last: 1, Untagged: true}, rtnl.VLANs{First: 10, Last: 10},
		rtnl.VLANs{First: 11, Last: 11}, rtnl.VLANs{First: 20, Last: 20, PVID: true, Untagged: true})
	if err := c.DelVLANs(ctx, port.Index, false, rtnl.VLANs{First: 1, Last: 11}); err != nil {
		t.Fatal(err)
	}
	check(port.Index, rtnl.VLANs{First: 20, Last: 20, PVID: true, Untagged: true})
	if err := c.AddVLANs(ctx, br.Index, true, rtnl.VLANs{First: 20, Last: 20}); err != nil {
		t.Fatal(err)
	}
	check(br.Index, native, rtnl.VLANs{First: 20, Last: 20})
}

func BenchmarkConn_LinkByName(b *testing.B) {
	c := open(b, nstest.New(b))
	for b.Loop() {
		if _, err := c.LinkByName(b.Context(), "lo"); err != nil {
			b.Fatal(err)
		}
	}
}
