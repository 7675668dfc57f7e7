// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// Announce tells the neighbours on a link that addresses are to be found at its hardware
// address: by a gratuitous ARP request for each IPv4 address, and an unsolicited neighbour
// advertisement for each IPv6 address. Who remembers another hardware address, because
// a container that is gone had the address, forgets that at once. The link must be up, and
// its other end, too; nobody answers, and a packet that gets lost is not sent again. On a
// link that is no Ethernet the error is [errors.ErrUnsupported].
//
// Equivalent to: arping -c 1 -U -I LINK IP; ndsend IP LINK
// Spec: RFC 5227, section 3; RFC 4861, section 7.2.6.
func (c *Conn) Announce(ctx context.Context, link *Link, ips ...netip.Addr) (err error) {
	if len(ips) == 0 {
		return nil
	}
	if len(link.MAC) != 6 {
		return fmt.Errorf("announce on %s, which is no Ethernet: %w", link.Name, errors.ErrUnsupported)
	}
	// Protocol 0 receives nothing, so that no packet waits on the socket to be thrown away.
	fd, err := c.socket(syscall.AF_PACKET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return wrap(err, "announce on %s", link.Name)
	}
	defer func() { err = errors.Join(err, os.NewSyscallError("close", syscall.Close(fd))) }()
	for _, ip := range ips {
		if err := ctx.Err(); err != nil {
			return err
		}
		to, packet := announcement(link, ip)
		if err := sendto(fd, packet, to); err != nil {
			return wrap(err, "announce %v on %s", ip, link.Name)
		}
	}
	return nil
}

// Readvertise makes the kernel announce the addresses of a link on which
// [ApplyConfig.Notify] is on, by giving the link the hardware address that it has. It does
// so by one message and needs no socket of its own, the closing of which would take the
// kernel some 10 ms. Otherwise it is as [Conn.Announce]: link and other end have to be up.
//
// Equivalent to: ip link set NAME address MAC
// Kernel: NETDEV_CHANGEADDR in net/ipv4/devinet.c and net/ipv6/ndisc.c; IFF_LIVE_ADDR_CHANGE.
func (c *Conn) Readvertise(ctx context.Context, link *Link) error {
	err := c.rt.SetLink(ctx, &rtnl.LinkSpec{Index: link.Index, MAC: link.MAC})
	return wrap(err, "announce addresses of %s", link.Name)
}

// socket makes a socket in the namespace of the Conn.
func (c *Conn) socket(domain, typ, proto int) (int, error) {
	if c.ns != nil {
		return c.ns.Socket(domain, typ, proto)
	}
	fd, err := syscall.Socket(domain, typ|syscall.SOCK_CLOEXEC, proto)
	return fd, os.NewSyscallError("socket", err)
}

func sendto(fd int, packet []byte, to *syscall.SockaddrLinklayer) error {
	_, err := untilDone(func() (int, error) { return 0, syscall.Sendto(fd, packet, 0, to) })
	return os.NewSyscallError("sendto", err)
}

// Protocols, as Ethernet numbers them.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/if_ether.h
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

// announcement returns the packet that announces ip, and where to send it.
func announcement(link *Link, ip netip.Addr) (*syscall.SockaddrLinklayer, []byte) {
	to := &syscall.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}
	if ip.Is4() {
		to.Protocol = swap16(etherARP)
		copy(to.Addr[:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		return to, gratuitousARP(link.MAC, ip)
	}
	to.Protocol = swap16(etherIPv6)
	copy(to.Addr[:], []byte{0x33, 0x33, 0, 0, 0, 1}) // of ff02::1, RFC 2464, section 7
	return to, unsolicitedNA(link.MAC, ip)
}

// swap16 brings a number into network byte order, as the kernel wants it in that place.
func swap16(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// gratuitousARP is a request for an address by who has it.
//
// Spec: RFC 826; RFC 5227, section 3, "ARP Announcement".
func gratuitousARP(mac net.HardwareAddr, ip netip.Addr) []byte {
	const ethernet, request = 1, 1
	b := binary.BigEndian.AppendUint16(nil, ethernet)
	b = binary.BigEndian.AppendUint16(b, etherIPv4)
	b = append(b, 6, 4) // lengths of the addresses
	b = binary.BigEndian.AppendUint16(b, request)
	b = append(append(b, mac...), ip.AsSlice()...)
	return append(append(b, make([]byte, 6)...), ip.AsSlice()...)
}

// unsolicitedNA is an IPv6 packet to all nodes, with a neighbour advertisement that
// nobody asked for and that overrides what they know.
//
// Spec: RFC 4861, sections 4.4 and 7.2.6; RFC 8200, section 3.
func unsolicitedNA(mac net.HardwareAddr, ip netip.Addr) []byte {
	const (
		icmp6, hops            = 58, 255
		advertisement          = 136
		override               = 0x20
		targetLinkLayer, units = 2, 1 // an option of 8 bytes
	)
	allNodes := netip.MustParseAddr("ff02::1")
	body := []byte{advertisement, 0, 0, 0, override, 0, 0, 0}
	body = append(body, ip.AsSlice()...)
	body = append(append(body, targetLinkLayer, units), mac...)

	pseudo := append(ip.AsSlice(), allNodes.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	pseudo = append(pseudo, 0, 0, 0, icmp6)
	binary.BigEndian.PutUint16(body[2:], checksum(append(pseudo, body...)))

	b := []byte{6 << 4, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, icmp6, hops)
	b = append(append(b, ip.AsSlice()...), allNodes.AsSlice()...)
	return append(b, body...)
}

// checksum is the Internet checksum of an even number of bytes, RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
