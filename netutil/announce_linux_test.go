// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// The packets, byte by byte; the checksum was computed by another program.
func TestAnnouncement(t *testing.T) {
	t.Parallel()
	link := &netutil.Link{Index: 1, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
	tests := []struct {
		ip   netip.Addr
		want string
	}{
		{ip("10.0.0.2"), `
			0001 0800 06 04 0001
			020000000009 0a000002
			000000000000 0a000002`},
		{ip("fd00::2"), `
			60000000 0020 3a ff
			fd000000000000000000000000000002
			ff020000000000000000000000000001
			88 00 5a91 20000000
			fd000000000000000000000000000002
			02 01 020000000009`},
	}
	for _, tt := range tests {
		want := strings.Join(strings.Fields(tt.want), "")
		if got := hex.EncodeToString(netutil.Announcement(link, tt.ip)); got != want {
			t.Errorf("announcement of %v =\n%s, want\n%s", tt.ip, got, want)
		}
	}
}

// A neighbour that remembers the hardware address of a container that is gone learns the
// new one at once.
func TestConn_Announce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box, v := pair(t)
	ips := []types.IP{{Address: prefix("10.0.0.2/24")}, {Address: prefix("fd00::2/64")}}
	for _, p := range []string{"10.0.0.1/24", "fd00::1/64"} {
		if _, err := host.EnsureAddr(ctx, v.Host.Index, prefix(p), netutil.AddrConfig{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := box.Apply(ctx, v.Peer, ips, nil, netutil.ApplyConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := host.WaitRunning(ctx, v.Host.Index); err != nil {
		t.Fatal(err)
	}
	for _, i := range ips {
		host.test.Output(t, "ip", "neigh", "replace", i.Address.Addr().String(), "lladdr", "02:00:00:00:00:99", "dev", "host0", "nud", "stale")
	}
	if err := box.Announce(ctx, v.Peer, ips[0].Address.Addr(), ips[1].Address.Addr()); err != nil {
		t.Fatal(err)
	}
	awaitNeighs(t, host, v, ips[0].Address.Addr(), ips[1].Address.Addr())
}

// The kernel does it by itself, when it is asked to.
func TestConn_Readvertise(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box, v := pair(t)
	nstest.NeedSysctl(t, box.test)
	for _, p := range []string{"10.0.0.1/24", "fd00::1/64"} {
		if _, err := host.EnsureAddr(ctx, v.Host.Index, prefix(p), netutil.AddrConfig{}); err != nil {
			t.Fatal(err)
		}
	}
	ips := []types.IP{{Address: prefix("10.0.0.2/24")}, {Address: prefix("fd00::2/64")}}
	if err := box.Apply(ctx, v.Peer, ips, nil, netutil.ApplyConfig{Notify: true}); err != nil {
		t.Fatal(err)
	}
	if err := host.WaitRunning(ctx, v.Host.Index); err != nil {
		t.Fatal(err)
	}
	for _, ip := range ips {
		host.test.Output(t, "ip", "neigh", "replace", ip.Address.Addr().String(), "lladdr", "02:00:00:00:00:99", "dev", "host0", "nud", "stale")
	}
	if err := box.Readvertise(ctx, v.Peer); err != nil {
		t.Fatal(err)
	}
	awaitNeighs(t, host, v, ip("10.0.0.2"), ip("fd00::2"))
	if err := box.Readvertise(ctx, &netutil.Link{Index: 4711, Name: "gone", MAC: v.Peer.MAC}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Readvertise of a link that is gone = %v, want %v", err, fs.ErrNotExist)
	}
}

// awaitNeighs waits until the host knows the addresses at the container's end.
func awaitNeighs(t *testing.T, host space, v *netutil.Veth, ips ...netip.Addr) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		known := make(map[netip.Addr]string)
		list, err := host.ListNeighs(t.Context(), v.Host.Index)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range list {
			known[n.IP] = n.MAC.String()
		}
		missing := slices.DeleteFunc(slices.Clone(ips), func(a netip.Addr) bool { return known[a] == v.Peer.MAC.String() })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("neighbours known = %v, want %v at %s", known, missing, v.Peer.MAC)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestConn_Announce_Errors(t *testing.T) {
	t.Parallel()
	_, box, v := pair(t)
	if err := box.Announce(t.Context(), v.Peer); err != nil {
		t.Errorf("Announce of nothing = %v", err)
	}
	tunnel := &netutil.Link{Index: v.Peer.Index, Name: "tun0"}
	if err := box.Announce(t.Context(), tunnel, ip("10.0.0.2")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Announce on a tunnel = %v, want %v", err, errors.ErrUnsupported)
	}
	if err := box.Announce(t.Context(), v.Peer, ip("10.0.0.2")); err == nil {
		t.Error("Announce on a link that is down = nil, want an error")
	}
}
