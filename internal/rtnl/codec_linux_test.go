// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/vishvananda/netlink/nl"

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
