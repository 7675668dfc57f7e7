// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// link returns index and address of a link.
func link(t *testing.T, n *nstest.NS, name string) (int, net.HardwareAddr) {
	t.Helper()
	var links []struct {
		Index   int    `json:"ifindex"`
		Address string `json:"address"`
	}
	if err := json.Unmarshal(n.Output(t, "ip", "-j", "link", "show", "dev", name), &links); err != nil {
		t.Fatal(err)
	}
	mac, err := net.ParseMAC(links[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	return links[0].Index, mac
}

// TestSpoofFilter forges the source of frames; compat B1 macspoofchk, C-5, C-15.
func TestSpoofFilter(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	guarded, plain := n.newContainer(t), n.newContainer(t)
	serve(t, n.host, "tcp", 7, "host")
	h := open(t, n.host, firewall.NFTables)
	port, _ := link(t, n.host, "veth2")
	_, mac := link(t, guarded.ns, "eth0")
	p := firewall.Port{Owner: guarded.owner, Index: port, MAC: mac}
	for range 2 { // the second time it is there
		if err := h.EnsureSpoofFilter(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.CheckSpoofFilter(t.Context(), p); err != nil {
		t.Error(err)
	}
	gateway := netip.MustParseAddrPort("10.1.2.1:7")
	reaches := func(c *container, want bool) {
		t.Helper()
		ip(t, c.ns, "neigh flush dev eth0")
		try := ask
		if !want {
			try = tryToAsk
		}
		_, _, err := try(t, c.ns, "tcp", gateway)
		if (err == nil) != want {
			t.Errorf("%s reaches the host: %v, want %t", c.owner.ContainerID, err, want)
		}
	}
	forge := func(c *container, mac string) {
		t.Helper()
		ip(t, c.ns, "link set dev eth0 address "+mac)
	}
	reaches(guarded, true)
	reaches(plain, true)
	forge(guarded, "02:00:00:00:00:01")
	forge(plain, "02:00:00:00:00:02")
	reaches(guarded, false)
	reaches(plain, true)

	p.MAC = net.HardwareAddr{2, 0, 0, 0, 0, 1} // ADD again, with another address
	if err := h.CheckSpoofFilter(t.Context(), p); err == nil {
		t.Error("CheckSpoofFilter of another address = nil, want error")
	}
	if err := h.EnsureSpoofFilter(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	reaches(guarded, true)
	forge(guarded, mac.String())
	reaches(guarded, false)

	for range 2 {
		if err := h.DelSpoofFilter(t.Context(), p.Owner); err != nil {
			t.Fatal(err)
		}
	}
	reaches(guarded, true)
	if ports, err := h.ListSpoofFilter(t.Context(), "mynet"); err != nil || len(ports) != 0 {
		t.Errorf("ListSpoofFilter() = %v, %v, want none", ports, err)
	}
}

// TestSpoofFilter_Collect keeps what it is told to, and touches one network only: C-7.
func TestSpoofFilter_Collect(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.NFTables)
	port := func(network string, i int) firewall.Port {
		return firewall.Port{
			Owner: firewall.Owner{Network: network, ContainerID: fmt.Sprint("c", i), IfName: "eth0"},
			Index: i, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)},
		}
	}
	for _, p := range []firewall.Port{port("a", 1), port("a", 2), port("b", 3)} {
		if err := h.EnsureSpoofFilter(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.CollectSpoofFilter(t.Context(), "a", []firewall.Owner{port("a", 2).Owner}); err != nil {
		t.Fatal(err)
	}
	for network, want := range map[string]int{"a": 2, "b": 3} {
		ports, err := h.ListSpoofFilter(t.Context(), network)
		if err != nil || len(ports) != 1 || ports[0].Index != want || ports[0].Owner != port(network, want).Owner {
			t.Errorf("ListSpoofFilter(%s) = %v, %v, want port %d", network, ports, err, want)
		}
		if err := h.CollectSpoofFilter(t.Context(), network, []firewall.Owner{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(n.Output(t, "nft", "list", "ruleset")); got != "" {
		t.Errorf("left after the garbage collection of everything:\n%s", got)
	}
}

// CHECK sees that an element of either set is gone, ADD puts it back, and DEL removes the
// rest.
func TestSpoofFilter_checkElements(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.NFTables)
	o, _ := numbered(1)
	p := firewall.Port{Owner: o, Index: 1, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	for _, set := range []string{"ports", "senders"} {
		if err := errors.Join(h.EnsureSpoofFilter(t.Context(), p), h.CheckSpoofFilter(t.Context(), p)); err != nil {
			t.Fatalf("ADD, CHECK: %v", err)
		}
		n.Output(t, "nft", "flush", "set", "bridge", "cnikit-spoof-"+o.Network, set)
		if err := h.CheckSpoofFilter(t.Context(), p); err == nil || !strings.Contains(err.Error(), "not in set "+set) {
			t.Errorf("CHECK = %v, want that the set %s lacks the port", err, set)
		}
	}
	if err := errors.Join(h.EnsureSpoofFilter(t.Context(), p), h.CheckSpoofFilter(t.Context(), p)); err != nil {
		t.Errorf("ADD, CHECK at the end: %v", err)
	}
	n.Output(t, "nft", "flush", "set", "bridge", "cnikit-spoof-"+o.Network, "ports")
	if err := h.DelSpoofFilter(t.Context(), o); err != nil {
		t.Errorf("DEL: %v", err)
	}
	if left, err := h.ListSpoofFilter(t.Context(), o.Network); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v; want nothing", left, err)
	}
}

// TestSpoofFilter_invalid refuses what cannot be filtered.
func TestSpoofFilter_invalid(t *testing.T) {
	t.Parallel()
	h := open(t, nstest.New(t), firewall.NFTables)
	good := firewall.Owner{Network: "n", ContainerID: "c", IfName: "i"}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for name, p := range map[string]firewall.Port{
		"no link":    {Owner: good, MAC: mac},
		"no address": {Owner: good, Index: 1},
		"infiniband": {Owner: good, Index: 1, MAC: make(net.HardwareAddr, 20)},
		"no owner":   {Index: 1, MAC: mac},
	} {
		if err := h.EnsureSpoofFilter(t.Context(), p); err == nil {
			t.Errorf("EnsureSpoofFilter(%s) = nil, want error", name)
		}
	}
}
