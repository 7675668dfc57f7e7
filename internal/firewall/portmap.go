// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Protocol is a transport protocol, by its number in the IP header.
type Protocol uint8

// Protocols that ports can be mapped for.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// ParseProtocol reads the name of a protocol in any case.
func ParseProtocol(name string) (Protocol, error) {
	for _, p := range []Protocol{TCP, UDP, SCTP} {
		if strings.EqualFold(name, p.String()) {
			return p, nil
		}
	}
	return 0, fmt.Errorf("protocol %q: neither tcp, udp nor sctp", name)
}

// String returns the name of p in lower case.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// Forward is one port of the host in one family that leads to a container. Host is
// unspecified for all addresses of the host in the family.
type Forward struct {
	Protocol  Protocol
	Host      netip.AddrPort
	Container netip.AddrPort
}

// String returns f as errors name it.
func (f Forward) String() string {
	return fmt.Sprintf("%s port %s to %s", f.Protocol, f.Host, f.Container)
}

// PortMap is what is to be mapped for a container.
type PortMap struct {
	Forwards []Forward
	// Subnets are those of the container's addresses.
	Subnets []netip.Prefix
	// SNAT masquerades connections from the subnets of the network, the container
	// itself included, and from loopback addresses of the host.
	SNAT bool
	// MasqueradeAll masquerades connections from anywhere.
	MasqueradeAll bool
	// Conditions are further matches, by family, in the words of nft or of iptables.
	Conditions [2][]string
	// MarkBit is the bit of the packet mark that the iptables backend uses.
	MarkBit int
	// MarkChain is a chain of the nat table that the iptables backend jumps to
	// instead of setting a mark, if not empty.
	MarkChain string
}

// Mapped is a forward that is in place, and whose it is.
type Mapped struct {
	Forward
	Owner Owner // zero if the comment is not one of ours
}

// ConflictError means that a port of the host leads to another container already.
type ConflictError struct {
	Forward Forward
	Holder  Owner
	Comment string // of the element, if Holder is zero
}

// Error names the port and who has it.
func (e *ConflictError) Error() string {
	if e.Holder == (Owner{}) {
		return fmt.Sprintf("map %s: the port is taken by %q", e.Forward, e.Comment)
	}
	return fmt.Sprintf("map %s: the port is taken by %s", e.Forward, e.Holder)
}

// newConflict returns the error for a port that the owner with a mark holds.
func newConflict(f Forward, mark string) error {
	o, _ := ParseMark(mark)
	return &ConflictError{Forward: f, Holder: o, Comment: mark}
}

// clean returns p in a fixed order and without duplicates. The error is a
// ConflictError if a port leads to two places.
func (p PortMap) clean(o Owner) (PortMap, error) {
	if err := o.Validate(); err != nil {
		return p, err
	}
	p.Forwards = slices.Clone(p.Forwards)
	for i, f := range p.Forwards {
		host, container := f.Host.Addr().Unmap(), f.Container.Addr().Unmap()
		p.Forwards[i].Host = netip.AddrPortFrom(host.WithZone(""), f.Host.Port())
		p.Forwards[i].Container = netip.AddrPortFrom(container.WithZone(""), f.Container.Port())
		if err := p.Forwards[i].validate(); err != nil {
			return p, fmt.Errorf("map %s: %w", f, err)
		}
	}
	slices.SortFunc(p.Forwards, func(a, b Forward) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.Host.Compare(b.Host), a.Container.Compare(b.Container))
	})
	p.Forwards = slices.Compact(p.Forwards)
	for i := 1; i < len(p.Forwards); i++ {
		if a, b := p.Forwards[i-1], p.Forwards[i]; a.Protocol == b.Protocol && a.Host == b.Host {
			return p, &ConflictError{Forward: b, Holder: o}
		}
	}
	p.Subnets = slices.Clone(p.Subnets)
	for i, s := range p.Subnets {
		p.Subnets[i] = s.Masked()
	}
	return p, nil
}

// validate returns an error if f cannot be mapped.
func (f Forward) validate() error {
	switch {
	case f.Protocol != TCP && f.Protocol != UDP && f.Protocol != SCTP:
		return errors.New("neither tcp, udp nor sctp")
	case !f.Host.IsValid() || !f.Container.IsValid() || f.Container.Addr().IsUnspecified():
		return errors.New("not an address")
	case f.Host.Port() == 0 || f.Container.Port() == 0:
		return errors.New("not a port")
	case f.Host.Addr().Is4() != f.Container.Addr().Is4():
		return errors.New("addresses of two families")
	}
	return nil
}

// forwardBytes is the length of a forward in an index: protocol, address and port of
// the host, address and port of the container, each padded; IPv4 as IPv6.
const forwardBytes = 4 + 16 + 4 + 16 + 4

// marshal returns f as it stands in an index.
func (f Forward) marshal() []byte {
	host, container := f.Host.Addr().As16(), f.Container.Addr().As16()
	return pad([]byte{byte(f.Protocol)}, host[:], port(f.Host), container[:], port(f.Container))
}

// claim returns what f takes of the host, as it stands in the set of claims.
func (f Forward) claim() []byte { return f.marshal()[:4+16+4] }

// parseForward reads what marshal wrote.
func parseForward(b []byte) (Forward, bool) {
	if len(b) != forwardBytes {
		return Forward{}, false
	}
	addrPort := func(b []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.BigEndian.Uint16(b[16:]))
	}
	f := Forward{Protocol: Protocol(b[0]), Host: addrPort(b[4:]), Container: addrPort(b[24:])}
	return f, f.validate() == nil
}

// marshalSelf returns what stands in an index for a container that may reach itself: its
// address, as a forward without a protocol.
func marshalSelf(a netip.Addr) []byte {
	return Forward{Host: netip.AddrPortFrom(netip.IPv6Unspecified(), 0), Container: netip.AddrPortFrom(a, 0)}.marshal()
}

// parseSelf reads what marshalSelf wrote.
func parseSelf(b []byte) (netip.Addr, bool) {
	if len(b) != forwardBytes || b[0] != 0 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(b[24:])).Unmap(), true
}

// port returns the port of ap as in a packet.
func port(ap netip.AddrPort) []byte { return binary.BigEndian.AppendUint16(nil, ap.Port()) }

// pad returns the concatenation of parts as it stands in registers.
func pad(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
		b = append(b, make([]byte, padding(len(p)))...)
	}
	return b
}
