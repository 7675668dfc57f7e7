// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// A list that the kernel declares interrupted is asked for again, and only that.
func TestUntilConsistent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		lists []error
		want  error
		calls int
	}{
		{"right at once", []error{nil}, nil, 1},
		{"interrupted", []error{nl.ErrDumpInterrupted, nl.ErrDumpInterrupted, nil}, nil, 3},
		{"interrupted and malformed", []error{errors.Join(nl.ErrDumpInterrupted, io.EOF), nil}, nil, 2},
		{"refused", []error{io.EOF, nil}, io.EOF, 1},
		{"interrupted, then refused", []error{nl.ErrDumpInterrupted, io.EOF}, io.EOF, 2},
	}
	for _, tt := range tests {
		calls := 0
		err := rtnl.UntilConsistent(t.Context(), func() error { calls++; return tt.lists[calls-1] })
		if !errors.Is(err, tt.want) || calls != tt.calls {
			t.Errorf("%s: %v after %d lists, want %v after %d", tt.name, err, calls, tt.want, tt.calls)
		}
	}
}

// The context ends what would never end.
func TestUntilConsistent_ForEver(t *testing.T) {
	t.Parallel()
	for _, last := range []int{2, 6} { // before and while it waits between lists
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := rtnl.UntilConsistent(ctx, func() error {
			if calls++; calls == last {
				cancel()
			}
			return nl.ErrDumpInterrupted
		})
		if !errors.Is(err, context.Canceled) || calls != last {
			t.Errorf("a list that is always interrupted = %v after %d, want %v after %d", err, calls, context.Canceled, last)
		}
		cancel()
	}
}

// Whatever the bytes are, decoding ends and does not crash.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(nl.NewIfInfomsg(0).Serialize())
	f.Add(append(nl.NewIfInfomsg(0).Serialize(), nl.NewRtAttr(3, nl.ZeroTerminated("eth0")).Serialize()...))
	f.Add(append(nl.NewRtMsg().Serialize(), nl.NewRtAttr(9, []byte{16, 0, 0, 0, 1, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 1}).Serialize()...))
	f.Fuzz(func(t *testing.T, body []byte) { rtnl.DecodeAll(body) })
}

// Whatever arrives, reading it ends and does not crash.
func FuzzReadAnswer(f *testing.F) {
	f.Add(true, message(unix.NLMSG_ERROR, unix.NLM_F_CAPPED|unix.NLM_F_ACK_TLVS, 7, refusal(unix.EINVAL, "why")))
	f.Add(true, message(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, 7, []byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}))
	f.Add(false, message(unix.NLMSG_DONE, unix.NLM_F_MULTI|unix.NLM_F_ACK_TLVS, 7, []byte{0xff, 0xff, 0xff, 0xff, 3}))
	f.Fuzz(func(t *testing.T, acknowledged bool, data []byte) {
		bodies, _, _ := rtnl.ReadAnswer(7, acknowledged, data)
		total := 0
		for _, body := range bodies {
			total += len(body)
		}
		if total > len(data) {
			t.Errorf("%d bytes of bodies from %d", total, len(data))
		}
	})
}

// message is a netlink message with the padding that follows it.
func message(typ, flags int, seq uint32, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, uint16(typ))
	b = binary.NativeEndian.AppendUint16(b, uint16(flags))
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), body...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// refusal is the body of an error without the request, and with an explanation.
func refusal(errno unix.Errno, why string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	b = append(b, make([]byte, unix.NLMSG_HDRLEN)...)
	if why != "" {
		b = append(b, nl.NewRtAttr(unix.NLMSGERR_ATTR_MSG, nl.ZeroTerminated(why)).Serialize()...)
	}
	return b
}

// Each kind of answer ends where it does, and only the messages of the request count.
func TestReadAnswer(t *testing.T) {
	t.Parallel()
	const mine, other = 7, 6
	body := func(text string, flags int) []byte { return message(unix.RTM_NEWLINK, flags, mine, []byte(text)) }
	const capped = unix.NLM_F_CAPPED
	acknowledgement := message(unix.NLMSG_ERROR, capped, mine, refusal(0, ""))
	tests := []struct {
		name         string
		acknowledged bool
		data         [][]byte
		bodies       string
		ended        bool
		err          error
		text         string
	}{
		{"nothing", false, nil, "", false, nil, ""},
		{"one message", false, [][]byte{body("a", 0), body("b", 0)}, "a", true, nil, ""},
		{"two in one", true, [][]byte{body("a", 0), acknowledgement}, "a", true, nil, ""},
		{"told, not yet acknowledged", true, [][]byte{body("a", 0)}, "a", false, nil, ""},
		{"told, then refused", true, [][]byte{body("a", 0), message(unix.NLMSG_ERROR, capped, mine, refusal(unix.EBUSY, ""))}, "a", true, unix.EBUSY, "busy"},
		{"list", false, [][]byte{body("a", unix.NLM_F_MULTI), body("bcd", unix.NLM_F_MULTI), message(unix.NLMSG_DONE, unix.NLM_F_MULTI, mine, []byte{0, 0, 0, 0})}, "abcd", true, nil, ""},
		{"list that says nothing of its end", false, [][]byte{message(unix.NLMSG_DONE, unix.NLM_F_MULTI, mine, nil)}, "", true, nil, ""},
		{"list that fails", false, [][]byte{message(unix.NLMSG_DONE, unix.NLM_F_MULTI, mine, refusal(unix.ENOENT, "")[:4])}, "", true, unix.ENOENT, "no such"},
		{"list that goes on", false, [][]byte{body("a", unix.NLM_F_MULTI)}, "a", false, nil, ""},
		{"interrupted list", false, [][]byte{body("a", unix.NLM_F_MULTI|unix.NLM_F_DUMP_INTR), message(unix.NLMSG_DONE, unix.NLM_F_MULTI, mine, nil)}, "a", true, nl.ErrDumpInterrupted, ""},
		{"explanation", true, [][]byte{message(unix.NLMSG_ERROR, capped|unix.NLM_F_ACK_TLVS, mine, refusal(unix.EINVAL, "why not"))}, "", true, unix.EINVAL, "invalid argument: why not"},
		{"explanation after the whole request", true, [][]byte{message(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, mine, whole(unix.EPERM, "never"))}, "", true, fs.ErrPermission, "never"},
		{"explanation of a list", false, [][]byte{message(unix.NLMSG_DONE, unix.NLM_F_MULTI|unix.NLM_F_ACK_TLVS, mine, listRefusal(unix.EINVAL, "no"))}, "", true, unix.EINVAL, "invalid argument: no"},
		{"of another request", false, [][]byte{message(unix.RTM_NEWLINK, 0, other, []byte("z")), message(unix.NLMSG_ERROR, capped, other, refusal(unix.EBUSY, "")), body("a", 0)}, "a", true, nil, ""},
		{"nothing to do", false, [][]byte{message(unix.NLMSG_NOOP, 0, mine, nil), body("a", 0)}, "a", true, nil, ""},
		{"cut header", false, [][]byte{{1, 2, 3}}, "", false, rtnl.ErrMalformed, ""},
		{"too long", false, [][]byte{body("abcd", 0)[:18]}, "", false, rtnl.ErrMalformed, ""},
		{"too short", false, [][]byte{make([]byte, 16)}, "", false, rtnl.ErrMalformed, ""},
		{"error without a number", true, [][]byte{message(unix.NLMSG_ERROR, 0, mine, nil)}, "", true, rtnl.ErrMalformed, ""},
	}
	for _, tt := range tests {
		bodies, ended, err := rtnl.ReadAnswer(mine, tt.acknowledged, bytes.Join(tt.data, nil))
		if got := string(bytes.Join(bodies, nil)); got != tt.bodies || ended != tt.ended {
			t.Errorf("%s: bodies %q, ended %t, want %q, %t", tt.name, got, ended, tt.bodies, tt.ended)
		}
		if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %v with %q", tt.name, err, tt.err, tt.text)
		}
	}
}

// whole is the body of an error that repeats the request.
func whole(errno unix.Errno, why string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	b = append(b, message(unix.RTM_NEWLINK, 0, 7, []byte("request"))...)
	return append(b, nl.NewRtAttr(unix.NLMSGERR_ATTR_MSG, nl.ZeroTerminated(why)).Serialize()...)
}

// listRefusal is the body of the end of a list that failed.
func listRefusal(errno unix.Errno, why string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	return append(b, nl.NewRtAttr(unix.NLMSGERR_ATTR_MSG, nl.ZeroTerminated(why)).Serialize()...)
}

// Attributes are read up to one that is cut short; the last needs no padding, and bits
// of the type that say how a value is encoded do not matter.
func TestAttributes(t *testing.T) {
	t.Parallel()
	one, nested := nl.NewRtAttr(1, []byte{1}).Serialize(), nl.NewRtAttr(2|unix.NLA_F_NESTED, []byte{1, 2, 3, 4}).Serialize()
	tests := []struct {
		name string
		in   []byte
		want [][2]int
	}{
		{"none", nil, nil},
		{"two", append(bytes.Clone(one), nested...), [][2]int{{1, 1}, {2, 4}}},
		{"no padding", one[:5], [][2]int{{1, 1}}},
		{"second cut", append(bytes.Clone(one), nested[:6]...), [][2]int{{1, 1}}},
		{"length zero", []byte{0, 0, 1, 0}, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, rtnl.Attributes(tt.in)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
		}
	}
}
