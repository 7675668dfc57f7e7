// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"
)

// errMalformed says that a message does not hold what its lengths promise. The
// kernel does not send such messages.
var errMalformed = errors.New("malformed netlink message")

// typeMask is NLA_TYPE_MASK: an attribute's type without the bits that say how its value
// is encoded, which kernels set and do not set.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netlink.h
const typeMask = 0x3fff

// cut reads the fixed header of a message by means of the library's deserializer for it,
// and returns the attributes that follow.
func cut[T interface{ Len() int }](body []byte, size int, deserialize func([]byte) T) (h T, a attrs, err error) {
	if len(body) < size {
		return h, nil, fmt.Errorf("%d bytes of %d: %w", len(body), size, errMalformed)
	}
	return deserialize(body), attrs(body[size:]), nil
}

// attrs are encoded attributes.
type attrs []byte

// all yields type and value of each attribute. It ends at one that is cut short.
func (a attrs) all() iter.Seq2[int, value] {
	return func(yield func(int, value) bool) {
		for rest := a; len(rest) >= unix.SizeofRtAttr; {
			size := int(binary.NativeEndian.Uint16(rest))
			if size < unix.SizeofRtAttr || size > len(rest) {
				return
			}
			typ := binary.NativeEndian.Uint16(rest[2:]) & typeMask
			if !yield(int(typ), value(rest[unix.SizeofRtAttr:size])) {
				return
			}
			rest = rest[min(aligned(size), len(rest)):]
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

// be16 reads a port, which travels in network byte order.
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

// str reads up to the final zero, without which the library's BytesToString fails.
func (v value) str() string { return unix.ByteSliceToString(v) }

func (v value) addr() netip.Addr {
	a, _ := netip.AddrFromSlice(v)
	return a
}

func (v value) clone() []byte { return bytes.Clone(v) }
