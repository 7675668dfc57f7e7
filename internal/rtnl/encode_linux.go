// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// request is a message being written: the fixed header of its family, then attributes.
type request struct {
	*nl.NetlinkRequest
	into  *nl.RtAttr // the attribute that is being filled; nil: the message itself
	moves bool       // a link to another namespace, where the socket does not find it
}

// newRequest begins a message of a type, with the flags beside NLM_F_REQUEST and the
// fixed header of its family.
func newRequest(typ, flags int, header nl.NetlinkRequestData) *request {
	r := &request{NetlinkRequest: nl.NewNetlinkRequest(typ, flags)}
	r.AddData(header)
	return r
}

func (r *request) add(d nl.NetlinkRequestData) {
	if r.into != nil {
		r.into.AddChild(d)
	} else {
		r.AddData(d)
	}
}

func (r *request) attr(typ int, value []byte) { r.add(nl.NewRtAttr(typ, value)) }

func (r *request) u8(typ int, v uint8) { r.attr(typ, nl.Uint8Attr(v)) }

func (r *request) u16(typ int, v uint16) { r.attr(typ, nl.Uint16Attr(v)) }

func (r *request) u32(typ int, v uint32) { r.attr(typ, nl.Uint32Attr(v)) }

// u32nz leaves the attribute out if v is zero.
func (r *request) u32nz(typ int, v uint32) {
	if v != 0 {
		r.u32(typ, v)
	}
}

func (r *request) str(typ int, s string) { r.attr(typ, nl.ZeroTerminated(s)) }

// strnz leaves the attribute out if s is empty.
func (r *request) strnz(typ int, s string) {
	if s != "" {
		r.str(typ, s)
	}
}

// flag sends a three-valued choice, and nothing if it is [Keep].
func (r *request) flag(typ int, v Flag) {
	switch v {
	case On:
		r.u8(typ, 1)
	case Off:
		r.u8(typ, 0)
	}
}

// addr leaves the attribute out if a is not valid.
func (r *request) addr(typ int, a netip.Addr) {
	if a.IsValid() {
		r.attr(typ, a.AsSlice())
	}
}

// nest writes what f writes inside of an attribute.
func (r *request) nest(typ int, f func()) {
	a := nl.NewRtAttr(typ|unix.NLA_F_NESTED, nil)
	r.add(a)
	outer := r.into
	r.into = a
	f()
	r.into = outer
}

// family is the address family of a.
func family(a netip.Addr) uint8 {
	switch {
	case !a.IsValid():
		return unix.AF_UNSPEC
	case a.Is4():
		return unix.AF_INET
	}
	return unix.AF_INET6
}
