// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// numbered returns the owner and the addresses of container i of a large network.
func numbered(i int) (firewall.Owner, []netip.Prefix) {
	o := firewall.Owner{Network: "large", ContainerID: fmt.Sprintf("%064d", i), IfName: "eth0"}
	return o, []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 7, byte(i >> 8), byte(i)}), 16),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 7, 14: byte(i >> 8), 15: byte(i)}), 64),
	}
}

// BenchmarkMasquerade measures the steps of a container on a network of others.
func BenchmarkMasquerade(b *testing.B) {
	for _, size := range []int{1, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("containers=%d", size), func(b *testing.B) {
			h := open(b, nstest.New(b), firewall.NFTables)
			for i := range size {
				o, addrs := numbered(i)
				if err := h.EnsureMasquerade(b.Context(), o, addrs); err != nil {
					b.Fatal(err)
				}
			}
			o, addrs := numbered(size)
			b.Run("add", func(b *testing.B) {
				for b.Loop() {
					if err := h.EnsureMasquerade(b.Context(), o, addrs); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := h.DelMasquerade(b.Context(), o); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
			b.Run("check", func(b *testing.B) {
				if err := h.EnsureMasquerade(b.Context(), o, addrs); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if err := h.CheckMasquerade(b.Context(), o, addrs); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("del", func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					if err := h.EnsureMasquerade(b.Context(), o, addrs); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					if err := h.DelMasquerade(b.Context(), o); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("del-nothing", func(b *testing.B) {
				for b.Loop() {
					if err := h.DelMasquerade(b.Context(), o); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("first", func(b *testing.B) {
				o.Network = "other"
				for b.Loop() {
					if err := h.EnsureMasquerade(b.Context(), o, addrs); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := h.CollectMasquerade(b.Context(), o.Network, nil); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		})
	}
}
