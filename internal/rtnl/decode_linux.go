// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errMalformed says that a message does not hold what its lengths promise. The
// kernel does not send such messages.
var errMalformed = errors.New("malformed netlink message")

// message is one netlink message: its header, and what follows it.
type message struct {
	unix.NlMsghdr
	body []byte
}

// split cuts the first message off buf.
func split(buf []byte) (m message, rest []byte, err error) {
	if len(buf) < headerLen {
		return m, nil, errMalformed
	}
	m.NlMsghdr = unix.NlMsghdr{
		Len:   binary.NativeEndian.Uint32(buf),
		Type:  binary.NativeEndian.Uint16(buf[4:]),
		Flags: binary.NativeEndian.Uint16(buf[6:]),
		Seq:   binary.NativeEndian.Uint32(buf[8:]),
		Pid:   binary.NativeEndian.Uint32(buf[12:]),
	}
	if m.Len < headerLen || uint64(m.Len) > uint64(len(buf)) {
		return m, nil, errMalformed
	}
	m.body = buf[headerLen:m.Len]
	return m, buf[min(aligned(int(m.Len)), len(buf)):], nil
}

// cut reads the fixed header of a family, one of the structs that package unix
// defines, and returns the attributes after it.
func cut[T any](body []byte) (h T, attrs attrs, err error) {
	dst := unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))
	if copy(dst, body) < len(dst) {
		return h, nil, errMalformed
	}
	return h, body[min(aligned(len(dst)), len(body)):], nil
}

// attrs are encoded attributes.
type attrs []byte

// all yields type and value of each attribute, without the flag bits of the type. It
// stops at the first that is cut short, as the kernel itself does.
func (a attrs) all() iter.Seq2[int, value] {
	return func(yield func(int, value) bool) {
		for len(a) >= attrLen {
			n := int(binary.NativeEndian.Uint16(a))
			if n < attrLen || n > len(a) {
				return
			}
			if !yield(int(binary.NativeEndian.Uint16(a[2:])&typeMask), value(a[attrLen:n])) {
				return
			}
			a = a[min(aligned(n), len(a)):]
		}
	}
}

// value is the value of an attribute. Its methods return zero if it is too short, so
// that a kernel which says less than another is not an error.
type value []byte

func (v value) u8() uint8 {
	if len(v) < 1 {
		return 0
	}
	return v[0]
}

func (v value) bool() bool { return v.u8() != 0 }

func (v value) u16() uint16 {
	if len(v) < 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(v)
}

func (v value) be16() uint16 {
	if len(v) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(v)
}

func (v value) u32() uint32 {
	if len(v) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(v)
}

// index reads a number that is signed on the wire: an interface index, or a namespace id.
func (v value) index() int { return int(int32(v.u32())) }

func (v value) str() string {
	s, _, _ := bytes.Cut(v, []byte{0})
	return string(s)
}

func (v value) addr() netip.Addr {
	a, _ := netip.AddrFromSlice(v)
	return a
}

func (v value) clone() []byte { return bytes.Clone(v) }
