// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// Who does what in which order, and whose error comes back. DLG-007, DEL-014 to DEL-016,
// CHK-014, GC-011, STA-008.
func TestWith(t *testing.T) {
	t.Parallel()
	errOwn := errors.New("own")
	const refusal = `{"cniVersion":"1.1.0","code":123,"msg":"no"}`
	for _, tt := range []struct {
		name    string
		command types.Command
		own     error
		refuses bool
		want    string // what the delegate had been told when own ran, and at the end
		errs    []error
	}{
		{"del", types.CommandDel, nil, false, " DEL", nil},
		{"del, own fails", types.CommandDel, errOwn, false, " DEL", []error{errOwn}},
		{"del, both fail", types.CommandDel, errOwn, true, " DEL", []error{errOwn, types.Code(123)}},
		{"gc", types.CommandGC, nil, false, " GC", nil},
		{"gc, own fails", types.CommandGC, errOwn, false, " GC", []error{errOwn}},
		{"check, own fails", types.CommandCheck, errOwn, false, " CHECK", []error{errOwn}},
		{"check, the plugin fails", types.CommandCheck, nil, true, " CHECK", []error{types.Code(123)}},
		{"status", types.CommandStatus, nil, false, " STATUS", nil},
		{"status, own fails", types.CommandStatus, errOwn, false, " ", []error{errOwn}},
		{"status, the plugin fails", types.CommandStatus, nil, true, " STATUS", []error{types.Code(123)}},
	} {
		for _, way := range ways {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				answer := step{}
				if tt.refuses {
					answer = step{Stdout: refusal, Exit: 1}
				}
				call := in(way, b.call(t, map[string]step{string(tt.command): answer}))
				call.Command = tt.command
				got := ""
				err := ipam.With(t.Context(), call, "fake", func(context.Context) error {
					if tt.command != types.CommandCheck { // which begins at any time
						got = b.commands(t)
					}
					return tt.own
				})
				if got += " " + b.commands(t); got != tt.want {
					t.Errorf("the delegate was told %q, want %q", got, tt.want)
				}
				if err == nil != (len(tt.errs) == 0) {
					t.Errorf("With() = %v, want %v", err, tt.errs)
				}
				for _, want := range tt.errs {
					if !errors.Is(err, want) {
						t.Errorf("With() = %v, want it to be %v too", err, want)
					}
				}
			})
		}
	}
}

// DEL-014, GC-011: until the caller's part is done, however long that takes, the plugin's
// process has no configuration to begin with.
func TestWith_order(t *testing.T) {
	t.Parallel()
	for _, command := range []types.Command{types.CommandDel, types.CommandGC, types.CommandStatus} {
		t.Run(string(command), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			call := b.call(t, nil)
			call.Command = command
			err := ipam.With(t.Context(), call, "fake", func(context.Context) error {
				// As long as a plugin takes that does not wait; a slower one is not seen here.
				for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; time.Sleep(5 * time.Millisecond) {
					if got := b.commands(t); got != "" {
						t.Errorf("the delegate was told %q before the caller's part was done", got)
						break
					}
				}
				return nil
			})
			if got := b.commands(t); err != nil || got != string(command) {
				t.Errorf("With() = %v, and the delegate was told %q; want %s", err, got, command)
			}
		})
	}
}

// A network without addresses has no IPAM plugin, and none is missed.
func TestWith_none(t *testing.T) {
	t.Parallel()
	errOwn := errors.New("own")
	for _, command := range []types.Command{types.CommandDel, types.CommandCheck, types.CommandGC, types.CommandStatus} {
		for _, want := range []error{nil, errOwn} {
			err := ipam.With(t.Context(), types.Call{Command: command}, "", func(context.Context) error { return want })
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("With(%s) = %v, want %v", command, err, want)
			}
		}
	}
	s := ipam.Start(t.Context(), types.Call{Command: types.CommandAdd}, "")
	result, err := s.Finish()
	if err != nil || result == nil || len(result.IPs) != 0 {
		t.Errorf("Finish() of no plugin = %v, %v, want an empty result", result, err)
	}
	if err := s.Undo(t.Context()); err != nil {
		t.Errorf("Undo() of no plugin = %v, want nil", err)
	}
	s.Abandon()
}

// What panics leaves no process behind that waits for its configuration.
func TestWith_panic(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	call := b.call(t, nil)
	call.Command = types.CommandDel
	defer func() {
		if recover() == nil {
			t.Error("the panic of own was lost")
		}
		if got := b.commands(t); got != "" {
			t.Errorf("the delegate was told %q, want nothing", got)
		}
	}()
	_ = ipam.With(t.Context(), call, "fake", func(context.Context) error { panic("own") })
}

// DLG-009: a later step of the caller's own failed.
func TestStarted_Undo(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := ipam.Start(t.Context(), in(way, b.call(t, map[string]step{"ADD": {Stdout: goodResult}})), "fake")
			if _, err := s.Finish(); err != nil {
				t.Fatal(err)
			}
			if err := s.Undo(t.Context()); err != nil {
				t.Error(err)
			}
			if got := b.commands(t); got != "ADD DEL" {
				t.Errorf("commands = %q, want ADD DEL", got)
			}
		})
	}
}
