// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Messages and attributes of connection tracking.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netfilter/nfnetlink_conntrack.h
const (
	conntrackGet    = 1
	conntrackDelete = 2

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaID         = 12
	ctaZone       = 18
	ctaFilter     = 25

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Source = 1
	ctaIPv4Dest   = 2
	ctaIPv6Source = 3
	ctaIPv6Dest   = 4

	ctaProtoNumber = 1
	ctaProtoSource = 2
	ctaProtoDest   = 3

	ctaFilterOrig = 1

	filterProtoNumber = 1 << 3 // CTA_FILTER_F_CTA_PROTO_NUM
)

// flow is an entry of connection tracking.
type flow struct {
	family   uint8
	protocol Protocol
	to       netip.AddrPort // where the first packet was sent
	from     netip.AddrPort // where answers come from: to, unless the destination was changed
	identity attrs          // what the kernel knows it by
}

// flows lists the tracked connections of a protocol in one family. Kernels before 5.8
// send all protocols.
func (c *conn) flows(family uint8, p Protocol) ([]flow, error) {
	filter := attrs(nil).
		nest(ctaTupleOrig, attrs(nil).nest(ctaTupleProto, attrs(nil).u8(ctaProtoNumber, uint8(p)))).
		nest(ctaFilter, attrs(nil).bytes(ctaFilterOrig, binary.NativeEndian.AppendUint32(nil, filterProtoNumber)))
	list := func(filter attrs) (all []flow, err error) {
		r := request{typ: unix.NFNL_SUBSYS_CTNETLINK<<8 | conntrackGet, flags: unix.NLM_F_DUMP, family: family, attrs: filter}
		err = insist(func() error {
			return c.do(r, func(r reply) error {
				if f, ok := parseFlow(r); ok && f.protocol == p {
					all = append(all, f)
				}
				return nil
			})
		})
		if errors.Is(err, errChanged) {
			err = nil // connections come and go; one that comes now is not stale
		}
		return all, err
	}
	all, err := list(filter)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return list(nil)
	}
	return all, err
}

// parseFlow reads an entry; false if it has no ports.
func parseFlow(r reply) (flow, bool) {
	f := flow{family: r.family}
	err := eachAttr(r.attrs, func(typ uint16, value []byte) error {
		switch typ {
		case ctaTupleOrig:
			f.protocol, f.to = Protocol(first(findAttr(value, ctaTupleProto, ctaProtoNumber))), tupleEnd(value, ctaIPv4Dest, ctaIPv6Dest, ctaProtoDest)
			f.identity = f.identity.nest(typ, value)
		case ctaTupleReply:
			f.from = tupleEnd(value, ctaIPv4Source, ctaIPv6Source, ctaProtoSource)
		case ctaID, ctaZone:
			f.identity = f.identity.bytes(typ, value)
		}
		return nil
	})
	return f, err == nil && f.to.IsValid() && f.from.IsValid()
}

// first returns the first byte of b, zero if there is none.
func first(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// tupleEnd returns one end of a direction of a connection.
func tupleEnd(tuple []byte, ipv4, ipv6, port uint16) netip.AddrPort {
	ip := findAttr(tuple, ctaTupleIP, ipv4)
	if ip == nil {
		ip = findAttr(tuple, ctaTupleIP, ipv6)
	}
	a, ok := netip.AddrFromSlice(ip)
	p := findAttr(tuple, ctaTupleProto, port)
	if !ok || len(p) != 2 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(p))
}

// deleteFlow makes the kernel forget f, and agrees if it has.
func (c *conn) deleteFlow(f flow) error {
	r := request{typ: unix.NFNL_SUBSYS_CTNETLINK<<8 | conntrackDelete, family: f.family, attrs: f.identity}
	if err := c.do(r, nil); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("forget the connection to %s: %w", f.to, err)
	}
	return nil
}

// forgetStale makes the kernel forget the UDP connections to ports of forwards that do
// not go where the forwards say: a sender that keeps its port would be answered by the
// old container, or nobody, for as long as it goes on. With gone, the forwards are not
// any longer, and connections that go where they said are the stale ones.
func (h *Host) forgetStale(forwards []Forward, gone bool) error {
	var errs []error
	for _, f := range families() {
		var udp []Forward
		for _, fw := range forwards {
			if fw.Protocol == UDP && f.has(fw.Host.Addr()) {
				udp = append(udp, fw)
			}
		}
		if len(udp) == 0 {
			continue
		}
		flows, err := h.conn.flows(f.proto, UDP)
		if err != nil {
			errs = append(errs, fmt.Errorf("list connections: %w", err))
			continue
		}
		for _, fl := range flows {
			if h.stale(fl, udp, gone) {
				errs = append(errs, h.conn.deleteFlow(fl))
			}
		}
	}
	return errors.Join(errs...)
}

// stale reports whether a connection to one of the forwards goes to the wrong place.
func (h *Host) stale(fl flow, forwards []Forward, gone bool) bool {
	for _, fw := range forwards {
		if fl.to.Port() != fw.Host.Port() || !fw.Host.Addr().IsUnspecified() && fl.to.Addr() != fw.Host.Addr() {
			continue
		}
		if gone {
			return fl.from == fw.Container
		}
		return fl.from != fw.Container && (fl.from != fl.to || h.isLocal(fl.to.Addr()))
	}
	return false
}

// isLocal reports whether a is an address of the host, which is where one can bind.
func (h *Host) isLocal(a netip.Addr) bool {
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: a.As16()}
	if a.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: a.As4()}
	}
	local := false
	err := h.inside(func() error {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		local = unix.Bind(fd, sa) == nil
		return unix.Close(fd)
	})
	return err == nil && local
}
