// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"encoding/binary"
	"errors"
)

// Netlink attributes: a header of length and type in the byte order of the machine,
// a value, and padding to four bytes. Values of nfnetlink are big-endian.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netlink.h
const (
	attrHeader  = 4       // NLA_HDRLEN
	attrNested  = 1 << 15 // NLA_F_NESTED
	attrNetwork = 1 << 14 // NLA_F_NET_BYTEORDER: ipset insists on it
	attrTypes   = attrNetwork - 1
)

// errTruncated means that an attribute claims more bytes than there are.
var errTruncated = errors.New("truncated netlink attribute")

// attrs is a sequence of attributes being built. Its methods return the longer
// sequence, as append does.
type attrs []byte

// bytes appends an attribute with a value as it is.
func (a attrs) bytes(typ uint16, value []byte) attrs {
	a = binary.NativeEndian.AppendUint16(a, uint16(attrHeader+len(value)))
	a = binary.NativeEndian.AppendUint16(a, typ)
	a = append(a, value...)
	return append(a, make([]byte, padding(len(value)))...)
}

// str appends a string with the NUL that the kernel wants at its end.
func (a attrs) str(typ uint16, value string) attrs {
	return a.bytes(typ, append([]byte(value), 0))
}

// u8 appends one byte.
func (a attrs) u8(typ uint16, value uint8) attrs { return a.bytes(typ, []byte{value}) }

// be32 appends a number of four bytes.
func (a attrs) be32(typ uint16, value uint32) attrs {
	return a.bytes(typ, binary.BigEndian.AppendUint32(nil, value))
}

// nest appends an attribute whose value is a sequence of attributes.
func (a attrs) nest(typ uint16, inner attrs) attrs {
	return a.bytes(typ|attrNested, inner)
}

// padding returns how many bytes follow a value of n bytes.
func padding(n int) int { return -n & 3 }

// eachAttr calls f with the type, without its flags, and the value of each attribute
// in b. The value is part of b. It stops at the first error.
func eachAttr(b []byte, f func(typ uint16, value []byte) error) error {
	for len(b) >= attrHeader {
		n := int(binary.NativeEndian.Uint16(b))
		if n < attrHeader || n > len(b) {
			return errTruncated
		}
		typ := binary.NativeEndian.Uint16(b[2:]) & attrTypes
		if err := f(typ, b[attrHeader:n]); err != nil {
			return err
		}
		b = b[min(n+padding(n), len(b)):]
	}
	if len(b) > 0 {
		return errTruncated
	}
	return nil
}

// findAttr returns the value of the attribute that the path of types leads to, or nil
// if there is none.
func findAttr(b []byte, path ...uint16) []byte {
	for _, want := range path {
		var found []byte
		err := eachAttr(b, func(typ uint16, value []byte) error {
			if typ == want && found == nil {
				found = value
			}
			return nil
		})
		if err != nil || found == nil {
			return nil
		}
		b = found
	}
	return b
}

// attrString returns the value of an attribute as a string, without a NUL at its end.
func attrString(b []byte) string {
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	return string(b)
}

// attrUint32 returns the value of an attribute as a big-endian number, zero if there
// is none.
func attrUint32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// attrUint64 returns the value of an attribute as a big-endian number, zero if there
// is none.
func attrUint64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
