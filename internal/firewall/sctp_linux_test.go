// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// Types of chunks of SCTP.
//
// Source: RFC 9260, section 3.2.
const (
	sctpInit    = 1
	sctpInitAck = 2
)

// sctpPacket is as much of a packet as tells where it goes.
type sctpPacket struct {
	from, to netip.AddrPort // the address of to is not known to the receiver
	chunk    byte
}

// String returns p as failures show it.
func (p sctpPacket) String() string {
	return fmt.Sprintf("chunk %d from %s to port %d", p.chunk, p.from, p.to.Port())
}

// marshal returns p with one chunk, INIT or INIT ACK, and a checksum.
//
// Source: RFC 9260, sections 3.1, 3.3.2, 3.3.3 and appendix A.
func (p sctpPacket) marshal() []byte {
	const tag = 1 // of both ends
	b := binary.BigEndian.AppendUint16(nil, p.from.Port())
	b = binary.BigEndian.AppendUint16(b, p.to.Port())
	verification := uint32(0)
	if p.chunk != sctpInit {
		verification = tag
	}
	b = binary.BigEndian.AppendUint32(b, verification)
	b = append(b, 0, 0, 0, 0) // checksum
	b = append(b, p.chunk, 0, 0, 20)
	b = binary.BigEndian.AppendUint32(b, tag)
	b = binary.BigEndian.AppendUint32(b, 1500) // window
	b = append(b, 0, 1, 0, 1)                  // streams
	b = binary.BigEndian.AppendUint32(b, 1)    // number
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// parseSCTP reads a packet; false if it is none, or its checksum is wrong.
func parseSCTP(b []byte) (sctpPacket, bool) {
	if len(b) < 16 {
		return sctpPacket{}, false
	}
	sum := binary.LittleEndian.Uint32(b[8:])
	zeroed := append([]byte(nil), b...)
	clear(zeroed[8:12])
	return sctpPacket{
		from:  netip.AddrPortFrom(netip.Addr{}, binary.BigEndian.Uint16(b)),
		to:    netip.AddrPortFrom(netip.Addr{}, binary.BigEndian.Uint16(b[2:])),
		chunk: b[12],
	}, sum == crc32.Checksum(zeroed, crc32.MakeTable(crc32.Castagnoli))
}

// sctpSocket sends and receives packets of SCTP without the kernel's help, which may not
// know the protocol; NAT does.
type sctpSocket struct{ fd, family int }

func newSCTPSocket(t *testing.T, n *nstest.NS, family int) sctpSocket {
	t.Helper()
	s := sctpSocket{family: family}
	domain := map[int]int{4: unix.AF_INET, 6: unix.AF_INET6}[family]
	wait := unix.NsecToTimeval(int64(50 * time.Millisecond))
	n.Do(t, func() {
		var err error
		if s.fd, err = unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP); err != nil {
			t.Fatal(err)
		}
		if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		if err := unix.Close(s.fd); err != nil {
			t.Error(err)
		}
	})
	return s
}

// send sends p to its destination.
func (s sctpSocket) send(t *testing.T, p sctpPacket) {
	t.Helper()
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: p.to.Addr().As16()}
	if s.family == 4 {
		to = &unix.SockaddrInet4{Addr: p.to.Addr().As4()}
	}
	if err := unix.Sendto(s.fd, p.marshal(), 0, to); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatal(err)
	}
}

// receive returns the next packet of a type, false if none comes soon.
func (s sctpSocket) receive(t *testing.T, chunk byte) (sctpPacket, bool) {
	t.Helper()
	b := make([]byte, 1500)
	for {
		n, from, err := unix.Recvfrom(s.fd, b, 0)
		if errors.Is(err, unix.EAGAIN) {
			return sctpPacket{}, false
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		packet := b[:n]
		source := netip.Addr{}
		switch a := from.(type) {
		case *unix.SockaddrInet4: // with the header of IP
			source, packet = netip.AddrFrom4(a.Addr), packet[min(n, int(b[0]&15)*4):]
		case *unix.SockaddrInet6:
			source = netip.AddrFrom16(a.Addr)
		}
		p, ok := parseSCTP(packet)
		if !ok {
			t.Errorf("a packet with a wrong checksum from %s: %x", source, packet)
		}
		if p.chunk == chunk {
			p.from = netip.AddrPortFrom(source, p.from.Port())
			return p, true
		}
	}
}

// TestPortMap_sctp sends the packets that open an association of SCTP through a mapped
// port, and back: from outside, from the host, from another container, whose answers come back
// by the host only because it is masqueraded, and from itself. After DEL none arrives.
func TestPortMap_sctp(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := newNode(t)
		n.host.Do(t, func() {
			if _, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_closed"); err != nil {
				nstest.Lacks(t, "connection tracking of SCTP", err)
			}
		})
		unseen(t, n.host) // else the bridge sends the answer to a neighbour through NAT
		c, other := n.newContainer(t), n.newContainer(t)
		h := open(t, n.host, backend)
		p := portMap(c, firewall.SCTP, 3868)
		if err := errors.Join(h.EnsurePortMap(t.Context(), c.owner, p), h.CheckPortMap(t.Context(), c.owner, p)); err != nil {
			t.Fatal(err)
		}
		bothFamilies(t, func(t *testing.T, family int) {
			server := newSCTPSocket(t, c.ns, family)
			at := netip.AddrPortFrom(hostAddr[family], 3868)
			for i, from := range []*nstest.NS{n.outside, n.host, other.ns, c.ns} {
				client := newSCTPSocket(t, from, family)
				port := netip.AddrPortFrom(netip.Addr{}, uint16(5000+i))
				var asked, answered sctpPacket
				for end := time.Now().Add(patience); time.Now().Before(end) && answered.chunk == 0; {
					client.send(t, sctpPacket{from: port, to: at, chunk: sctpInit})
					var ok bool
					if asked, ok = server.receive(t, sctpInit); !ok {
						continue
					}
					server.send(t, sctpPacket{from: netip.AddrPortFrom(netip.Addr{}, 7), to: asked.from, chunk: sctpInitAck})
					answered, _ = client.receive(t, sctpInitAck)
				}
				if asked.to.Port() != 7 || answered.from != at || answered.to.Port() != port.Port() {
					t.Errorf("client %d: the container was asked %s, the answer is %s; want port 7, and an answer from %s", i, asked, answered, at)
				}
				if i == 0 && asked.from.Addr() != outsideAddr[family] {
					t.Errorf("the container sees %s, want %s", asked.from, outsideAddr[family])
				}
			}
		})
		if err := h.DelPortMap(t.Context(), c.owner); err != nil {
			t.Fatal(err)
		}
		bothFamilies(t, func(t *testing.T, family int) {
			server, client := newSCTPSocket(t, c.ns, family), newSCTPSocket(t, n.outside, family)
			for range 5 {
				client.send(t, sctpPacket{from: netip.AddrPortFrom(netip.Addr{}, 6000), to: netip.AddrPortFrom(hostAddr[family], 3868), chunk: sctpInit})
				if got, ok := server.receive(t, sctpInit); ok {
					t.Errorf("after DEL the container was asked %s", got)
				}
			}
		})
	})
}
