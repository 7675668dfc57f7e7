// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"errors"
	"testing"
)

func TestAttrs(t *testing.T) {
	t.Parallel()
	b := attrs(nil).str(1, "ab").u8(2, 7).be32(4, 0x1020304).
		nest(5, attrs(nil).bytes(6, []byte{1, 2, 3}).nest(7, attrs(nil).be32(8, 9)))
	if len(b)%4 != 0 {
		t.Errorf("%d bytes, want a multiple of four", len(b))
	}
	for _, tt := range []struct {
		path []uint16
		want []byte
	}{
		{[]uint16{1}, []byte("ab\x00")},
		{[]uint16{2}, []byte{7}},
		{[]uint16{4}, []byte{1, 2, 3, 4}},
		{[]uint16{5, 6}, []byte{1, 2, 3}},
		{[]uint16{5, 7, 8}, []byte{0, 0, 0, 9}},
		{[]uint16{9}, nil},
		{[]uint16{5, 9}, nil},
		{[]uint16{2, 1}, nil},
	} {
		if got := findAttr(b, tt.path...); !bytes.Equal(got, tt.want) {
			t.Errorf("findAttr(%v) = %v, want %v", tt.path, got, tt.want)
		}
	}
}

func TestEachAttr_truncated(t *testing.T) {
	t.Parallel()
	whole := attrs(nil).be32(1, 2)
	for n := 1; n < len(whole); n++ {
		if err := eachAttr(whole[:n], func(uint16, []byte) error { return nil }); !errors.Is(err, errTruncated) {
			t.Errorf("eachAttr of %d of %d bytes = %v, want %v", n, len(whole), err, errTruncated)
		}
	}
	stop := errors.New("stop")
	if err := eachAttr(whole, func(uint16, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("eachAttr = %v, want the error of the function", err)
	}
}

// FuzzEachAttr reads what a kernel might send: it ends, and stays inside.
func FuzzEachAttr(f *testing.F) {
	f.Add([]byte(attrs(nil).str(1, "a").nest(2, attrs(nil).be32(3, 4))))
	f.Add([]byte{4, 0, 1, 0, 5})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		err := eachAttr(b, func(_ uint16, value []byte) error {
			n += attrHeader + len(value)
			return nil
		})
		if err == nil && n > len(b) {
			t.Errorf("%d bytes read of %d", n, len(b))
		}
		findAttr(b, 1, 2)
	})
}
