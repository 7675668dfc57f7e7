// SPDX-License-Identifier: Apache-2.0

package types

import (
	"errors"
	"strconv"
)

// MAC is an Ethernet hardware address. The zero value: none is requested.
//
// Spec: CNI conventions, "mac"; checklist 3.1, GRAM-6.
type MAC [6]byte

// ParseMAC reads six bytes of two hexadecimal digits joined by ":" or "-". Empty
// text is the zero value. The address of six zeros is an error, since no
// interface can have it.
func ParseMAC(s string) (m MAC, err error) {
	err = parseHex(m[:], s, "02:00:5e:10:00:01")
	return m, err
}

// IsZero reports whether none is requested.
func (m MAC) IsZero() bool { return m == MAC{} }

// String returns the address in lower case with ":" between the bytes, and "" for
// the zero value.
func (m MAC) String() string { return hexText(m[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *MAC) UnmarshalText(text []byte) error {
	got, err := ParseMAC(string(text))
	if err == nil {
		*m = got
	}
	return err
}

// GUID is an InfiniBand GUID. The zero value: none is requested.
//
// Spec: CNI conventions, "infinibandGUID"; checklist 3.1.
type GUID [8]byte

// ParseGUID reads eight bytes of two hexadecimal digits joined by ":" or "-".
// Empty text is the zero value. A GUID of eight zeros is an error.
func ParseGUID(s string) (g GUID, err error) {
	err = parseHex(g[:], s, "02:00:5e:10:00:01:00:0a")
	return g, err
}

// IsZero reports whether none is requested.
func (g GUID) IsZero() bool { return g == GUID{} }

// String returns the GUID in lower case with ":" between the bytes, and "" for
// the zero value.
func (g GUID) String() string { return hexText(g[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (g GUID) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (g *GUID) UnmarshalText(text []byte) error {
	got, err := ParseGUID(string(text))
	if err == nil {
		*g = got
	}
	return err
}

// parseHex reads bytes of two hexadecimal digits joined by ":" or "-".
func parseHex(dst []byte, s, example string) error {
	if s == "" {
		return nil
	}
	bad := errors.New(quote(s) + " is not valid; want " + strconv.Itoa(len(dst)) + " bytes, not all zero, such as " + strconv.Quote(example))
	if len(s) != 3*len(dst)-1 {
		return bad
	}
	var any byte
	for i := range dst {
		at := 3 * i
		if i > 0 && (s[at-1] != s[2] || s[2] != ':' && s[2] != '-') {
			clear(dst)
			return bad
		}
		high, ok1 := hexDigit(s[at])
		low, ok2 := hexDigit(s[at+1])
		if !ok1 || !ok2 {
			clear(dst)
			return bad
		}
		dst[i] = high<<4 | low
		any |= dst[i]
	}
	if any == 0 {
		return bad
	}
	return nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func hexText(b []byte) string {
	const digits = "0123456789abcdef"
	text := make([]byte, 0, 3*len(b))
	var any byte
	for _, c := range b {
		text = append(text, digits[c>>4], digits[c&15], ':')
		any |= c
	}
	if any == 0 {
		return ""
	}
	return string(text[:len(text)-1])
}
