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

// BenchmarkPortMap measures a container with ten ports in both families, among others
// with as many.
func BenchmarkPortMap(b *testing.B) {
	ports := func(i int) firewall.PortMap {
		_, addrs := numbered(i)
		p := firewall.PortMap{SNAT: true, MarkBit: 13}
		for port := range 10 {
			for f, a := range addrs {
				host := netip.IPv4Unspecified()
				if f == 1 {
					host = netip.IPv6Unspecified()
				}
				p.Subnets = append(p.Subnets, a.Masked())
				p.Forwards = append(p.Forwards, firewall.Forward{
					Protocol: firewall.TCP, Host: netip.AddrPortFrom(host, uint16(1000+10*i+port)),
					Container: netip.AddrPortFrom(a.Addr(), 80),
				})
			}
		}
		return p
	}
	for _, size := range []int{1, 1000} {
		b.Run(fmt.Sprintf("containers=%d", size), func(b *testing.B) {
			h := open(b, nstest.New(b), firewall.NFTables)
			for i := range size {
				o, _ := numbered(i)
				if err := h.EnsurePortMap(b.Context(), o, ports(i)); err != nil {
					b.Fatal(err)
				}
			}
			o, _ := numbered(size)
			add := func(b *testing.B) {
				if err := h.EnsurePortMap(b.Context(), o, ports(size)); err != nil {
					b.Fatal(err)
				}
			}
			del := func(b *testing.B) {
				if err := h.DelPortMap(b.Context(), o); err != nil {
					b.Fatal(err)
				}
			}
			b.Run("add", func(b *testing.B) {
				for b.Loop() {
					add(b)
					b.StopTimer()
					del(b)
					b.StartTimer()
				}
			})
			b.Run("add-again", func(b *testing.B) {
				for b.Loop() {
					add(b)
				}
			})
			b.Run("del", func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					add(b)
					b.StartTimer()
					del(b)
				}
			})
			b.Run("del-nothing", func(b *testing.B) {
				for b.Loop() {
					del(b)
				}
			})
		})
	}
}
