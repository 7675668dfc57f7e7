// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// header is that of a message with a body of n bytes.
func header(n, typ, flags int, seq uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+n))
	b = binary.NativeEndian.AppendUint16(b, uint16(typ))
	b = binary.NativeEndian.AppendUint16(b, uint16(flags))
	b = binary.NativeEndian.AppendUint32(b, seq)
	return binary.NativeEndian.AppendUint32(b, 0)
}

// link is a message about a link with an index and no attributes.
func link(index, flags int, seq uint32) []byte {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], uint32(index))
	return append(header(len(body), unix.RTM_NEWLINK, flags, seq), body...)
}

func done(flags int, seq uint32) []byte {
	return append(header(4, unix.NLMSG_DONE, flags, seq), 0, 0, 0, 0)
}

// A list that the kernel declares interrupted, on a message or at its end, is asked for
// again, and what it held is forgotten; what is left of an older exchange is passed over.
func TestReader_Interrupted(t *testing.T) {
	t.Parallel()
	const multi, intr = unix.NLM_F_MULTI, unix.NLM_F_MULTI | unix.NLM_F_DUMP_INTR
	lists := func(seq uint32) [][]byte {
		return map[uint32][][]byte{
			1: {link(10, multi, 1), link(11, intr, 1), done(multi, 1)},
			2: {link(9, multi, 1), link(12, multi, 2), done(intr, 2)},
			3: {append(link(13, multi, 3), link(14, multi, 3)...), done(multi, 3)},
		}[seq]
	}
	var got []int
	err := rtnl.Replay(lists, func(index int) { got = append(got, index) }, func() { got = nil })
	if err != nil || len(got) != 2 || got[0] != 13 || got[1] != 14 {
		t.Errorf("links = %v, %v, want 13 and 14 of the third list", got, err)
	}
}

func TestReader_InterruptedForEver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	lists := func(seq uint32) [][]byte {
		if attempts++; attempts == 5 {
			cancel()
		}
		return [][]byte{done(unix.NLM_F_DUMP_INTR, seq)}
	}
	if err := rtnl.ReplayContext(ctx, lists, func(int) {}, func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("a list that is always interrupted = %v, want %v", err, context.Canceled)
	}
}

func TestReader_Failed(t *testing.T) {
	t.Parallel()
	refusal := func(errno unix.Errno) []byte {
		body := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
		body = append(body, make([]byte, unix.SizeofNlMsghdr)...)
		return append(header(len(body), unix.NLMSG_ERROR, 0, 1), body...)
	}
	late := append(header(4, unix.NLMSG_DONE, 0, 1), binary.NativeEndian.AppendUint32(nil, uint32(0xffffffff))...) // -EPERM
	tests := []struct {
		name string
		list [][]byte
		want error
	}{
		{"refused", [][]byte{refusal(unix.ENODEV)}, unix.ENODEV},
		{"refused on the way", [][]byte{link(1, unix.NLM_F_MULTI, 1), late}, unix.EPERM},
		{"short message", [][]byte{{1, 2, 3}}, rtnl.ErrMalformed},
		{"length beyond the end", [][]byte{header(100, unix.RTM_NEWLINK, 0, 1)}, rtnl.ErrMalformed},
		{"body too short", [][]byte{append(header(4, unix.RTM_NEWLINK, 0, 1), 0, 0, 0, 0), done(0, 1)}, rtnl.ErrMalformed},
		{"error too short", [][]byte{append(header(4, unix.NLMSG_ERROR, 0, 1), 0, 0, 0, 0)}, rtnl.ErrMalformed},
	}
	for _, tt := range tests {
		err := rtnl.Replay(func(uint32) [][]byte { return tt.list }, func(int) {}, func() {})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// Whatever the bytes are, decoding ends and does not crash.
func FuzzDecode(f *testing.F) {
	f.Add(link(1, 0, 1))
	f.Add(append(link(2, unix.NLM_F_MULTI, 1), done(0, 1)...))
	f.Add(append(header(8, unix.RTM_NEWROUTE, 0, 1), 2, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) { rtnl.DecodeAll(b) })
}
