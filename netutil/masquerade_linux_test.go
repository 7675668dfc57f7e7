// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
)

// openIn opens something in a namespace, and closes it when the test ends.
func openIn[T io.Closer](t *testing.T, n *nstest.NS, open func(context.Context, netutil.FirewallConfig) (T, error)) T {
	t.Helper()
	var v T
	n.Do(t, func() {
		var err error
		if v, err = open(t.Context(), netutil.FirewallConfig{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// inNetwork is an owner in a network.
func inNetwork(network, id string) netutil.Owner {
	return netutil.Owner{Network: network, ContainerID: id, IfName: "eth0"}
}

func TestMasquerade(t *testing.T) {
	t.Parallel()
	m := openIn(t, nstest.New(t), netutil.OpenMasquerade)
	if got := m.Backend(); got != netutil.NFTables {
		t.Errorf("Backend() = %q, want %q", got, netutil.NFTables)
	}
	a, b := inNetwork("n", "a"), inNetwork("n", "b")
	of := map[netutil.Owner][]netip.Prefix{
		a: {netip.MustParsePrefix("10.1.2.2/24"), netip.MustParsePrefix("fd00::2/64")},
		b: {netip.MustParsePrefix("10.1.2.3/24")},
	}
	for o, addrs := range of {
		if err := errors.Join(m.Ensure(t.Context(), o, addrs), m.Check(t.Context(), o, addrs)); err != nil {
			t.Fatal(err)
		}
	}
	list := func(want ...netutil.Masqueraded) {
		t.Helper()
		got, err := m.List(t.Context(), "n")
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b netutil.Masqueraded) int { return a.Addr.Compare(b.Addr) })
		if !slices.Equal(got, want) {
			t.Errorf("List() = %v, want %v", got, want)
		}
	}
	list(netutil.Masqueraded{Owner: a, Addr: of[a][0].Addr()}, netutil.Masqueraded{Owner: b, Addr: of[b][0].Addr()}, netutil.Masqueraded{Owner: a, Addr: of[a][1].Addr()})
	if err := m.Collect(t.Context(), "n", nil); err == nil {
		t.Error("Collect without a list = nil, want error: absent is not empty")
	}
	if err := m.Collect(t.Context(), "n", []netutil.Owner{b}); err != nil {
		t.Fatal(err)
	}
	list(netutil.Masqueraded{Owner: b, Addr: of[b][0].Addr()})
	if err := errors.Join(m.Del(t.Context(), b), m.Del(t.Context(), b)); err != nil {
		t.Error(err)
	}
	list()
	if err := m.Check(t.Context(), b, of[b]); err == nil {
		t.Error("Check after Del = nil, want error")
	}
}

// TestMasquerade_churn runs ADD and DEL of many containers over one connection at once.
func TestMasquerade_churn(t *testing.T) {
	t.Parallel()
	m := openIn(t, nstest.New(t), netutil.OpenMasquerade)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			o := inNetwork("n", string(rune('a'+i)))
			addrs := []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 2, byte(2 + i)}), 24)}
			for range 10 {
				if err := errors.Join(m.Ensure(t.Context(), o, addrs), m.Check(t.Context(), o, addrs), m.Del(t.Context(), o)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFirewallConfig_Validate(t *testing.T) {
	t.Parallel()
	for backend, valid := range map[string]bool{"": true, "nftables": true, "iptables": true, "nft": false, "NFTables": false} {
		if err := (netutil.FirewallConfig{Backend: backend}).Validate(); (err == nil) != valid {
			t.Errorf("Validate(%q) = %v, want valid %t", backend, err, valid)
		}
	}
}
