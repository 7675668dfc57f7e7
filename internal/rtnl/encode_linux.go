// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layout of messages: linux/netlink.h. Numbers are in the machine's byte order unless
// a comment says otherwise.
const (
	align      = 4
	headerLen  = unix.SizeofNlMsghdr
	attrLen    = unix.SizeofNlAttr
	nestedFlag = unix.NLA_F_NESTED
	typeMask   = 0x3fff // NLA_TYPE_MASK
)

func aligned(n int) int { return (n + align - 1) &^ (align - 1) }

// request is a netlink message being written: the header, the fixed header of its
// family, then attributes.
type request struct {
	buf []byte
}

// newRequest begins a message of a type, with the flags beside NLM_F_REQUEST.
func newRequest(typ, flags int) *request {
	r := &request{buf: make([]byte, headerLen, 256)}
	binary.NativeEndian.PutUint16(r.buf[4:], uint16(typ))
	binary.NativeEndian.PutUint16(r.buf[6:], uint16(flags|unix.NLM_F_REQUEST))
	return r
}

// fixed appends the fixed header of a family, one of the structs that package unix
// defines, all of which are free of pointers.
func fixed[T any](r *request, h *T) *request {
	r.buf = append(r.buf, unsafe.Slice((*byte)(unsafe.Pointer(h)), unsafe.Sizeof(*h))...)
	r.pad()
	return r
}

func (r *request) pad() {
	for len(r.buf)%align != 0 {
		r.buf = append(r.buf, 0)
	}
}

// addFlags adds flags to the header.
func (r *request) addFlags(flags int) {
	old := binary.NativeEndian.Uint16(r.buf[6:])
	binary.NativeEndian.PutUint16(r.buf[6:], old|uint16(flags))
}

// finish fills in what is known only at the end, and returns the message.
func (r *request) finish(seq uint32) []byte {
	binary.NativeEndian.PutUint32(r.buf[0:], uint32(len(r.buf)))
	binary.NativeEndian.PutUint32(r.buf[8:], seq)
	return r.buf
}

func (r *request) attr(typ int, value []byte) {
	r.buf = binary.NativeEndian.AppendUint16(r.buf, uint16(attrLen+len(value)))
	r.buf = binary.NativeEndian.AppendUint16(r.buf, uint16(typ))
	r.buf = append(r.buf, value...)
	r.pad()
}

func (r *request) u8(typ int, v uint8) { r.attr(typ, []byte{v}) }

func (r *request) u16(typ int, v uint16) {
	r.attr(typ, binary.NativeEndian.AppendUint16(nil, v))
}

// be16 is for ports, which travel in network byte order.
func (r *request) be16(typ int, v uint16) {
	r.attr(typ, binary.BigEndian.AppendUint16(nil, v))
}

func (r *request) u32(typ int, v uint32) {
	r.attr(typ, binary.NativeEndian.AppendUint32(nil, v))
}

// u32nz leaves the attribute out if v is zero.
func (r *request) u32nz(typ int, v uint32) {
	if v != 0 {
		r.u32(typ, v)
	}
}

func (r *request) str(typ int, s string) { r.attr(typ, append([]byte(s), 0)) }

// strnz leaves the attribute out if s is empty.
func (r *request) strnz(typ int, s string) {
	if s != "" {
		r.str(typ, s)
	}
}

func (r *request) bool(typ int, v bool) {
	if v {
		r.u8(typ, 1)
	} else {
		r.u8(typ, 0)
	}
}

// flag sends a three-valued choice, and nothing if it is [Keep].
func (r *request) flag(typ int, v Flag) {
	if v != Keep {
		r.bool(typ, v == On)
	}
}

// addr leaves the attribute out if a is not valid.
func (r *request) addr(typ int, a netip.Addr) {
	if a.IsValid() {
		r.attr(typ, a.AsSlice())
	}
}

// nest writes the attributes that f writes inside of one.
func (r *request) nest(typ int, f func()) {
	at := len(r.buf)
	r.attr(typ|nestedFlag, nil)
	f()
	binary.NativeEndian.PutUint16(r.buf[at:], uint16(len(r.buf)-at))
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
