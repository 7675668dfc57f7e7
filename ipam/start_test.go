// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// A delegate that is started and finished is one that ran: the same environment, the
// same bytes, the same answer. DLG-002 to DLG-004.
func TestStart(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			call := in(way, b.call(t, map[string]step{"ADD": {Stdout: goodResult}}))
			s := ipam.Start(t.Context(), call, "fake")
			defer s.Abandon()
			if got := b.commands(t); got != "" {
				t.Errorf("commands before Finish = %q, want none", got)
			}
			result, err := s.Finish()
			if err != nil {
				t.Fatal(err)
			}
			if len(result.IPs) != 1 || result.IPs[0].Address.String() != "10.0.0.2/24" {
				t.Errorf("Finish() = %+v, want 10.0.0.2/24", result)
			}
			runs := b.runs(t)
			if len(runs) != 1 || string(runs[0].Stdin) != string(call.Stdin) || lookup(runs[0].Environ, "ODD") != "a=b;c" {
				t.Errorf("runs = %+v, want one with the bytes and the environment of the call", runs)
			}
			s.Abandon()
			if got := b.commands(t); got != "ADD" {
				t.Errorf("commands after Finish and Abandon = %q, want ADD", got)
			}
		})
	}
}

// The other commands have no result, and give the delegate's own error. DLG-008.
func TestStart_commands(t *testing.T) {
	t.Parallel()
	for _, command := range []types.Command{types.CommandDel, types.CommandCheck} {
		t.Run(string(command), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			call := b.call(t, map[string]step{string(command): {Stdout: `{"cniVersion":"1.1.0","code":123,"msg":"no"}`, Exit: 1}})
			call.Command = command
			result, err := ipam.Start(t.Context(), call, "fake").Finish()
			var e *types.Error
			if result != nil || !errors.As(err, &e) || e.Code != 123 || e.Msg != "no" {
				t.Errorf("Finish() = %v, %v, want nil and the error of the delegate", result, err)
			}
			if got := b.commands(t); got != string(command) {
				t.Errorf("commands = %q, want %s once", got, command)
			}
		})
	}
}

// DLG-009: an ADD that fails after Finish is followed by DEL.
func TestStart_failure(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := ipam.Start(t.Context(), b.call(t, map[string]step{"ADD": {Exit: 1}}), "fake")
	if _, err := s.Finish(); err == nil {
		t.Error("Finish() = nil, want an error")
	}
	if got := b.commands(t); got != "ADD DEL" {
		t.Errorf("commands = %q, want ADD DEL", got)
	}
}

// A delegate that is abandoned has done nothing, so there is nothing to take back. ADD-007.
func TestStarted_Abandon(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := ipam.Start(t.Context(), in(way, b.call(t, map[string]step{"ADD": {Stdout: goodResult}})), "fake")
			s.Abandon()
			if got := b.commands(t); got != "" {
				t.Errorf("commands = %q, want none", got)
			}
			if _, err := s.Finish(); err == nil {
				t.Error("Finish() after Abandon = nil, want an error")
			}
		})
	}
}

// One that does not read its configuration may have allocated before it is abandoned.
func TestStarted_Abandon_hasty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	record := filepath.Join(dir, "record")
	script := "#!/bin/sh\necho $CNI_COMMAND >> " + record + "\necho '" + goodResult + "'\n"
	if err := os.WriteFile(filepath.Join(dir, "hasty"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	call := types.Call{
		Command: types.CommandAdd, Path: []string{dir}, CNIVersion: types.V110, Stdin: []byte("{}"),
		Environ: append(os.Environ(), "CNI_COMMAND=ADD"),
	}
	s := ipam.Start(t.Context(), call, "hasty")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if data, err := os.ReadFile(record); err == nil && len(data) > 0 {
			time.Sleep(100 * time.Millisecond) // it writes its answer and ends
			break
		}
	}
	s.Abandon()
	got, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "ADD\nDEL\n" {
		t.Errorf("commands = %q, want ADD and DEL", got)
	}
}

// One that does not let itself be stopped gets an end of input, and not a byte before.
func TestStarted_Abandon_stubborn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	started, record := filepath.Join(dir, "started"), filepath.Join(dir, "record")
	script := "#!/bin/sh\ntrap '' TERM\n: >" + started + "\ncat >" + record + "\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "stubborn"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	call := types.Call{
		Command: types.CommandAdd, Path: []string{dir}, CNIVersion: types.V110, Stdin: []byte("{}"),
		Environ: append(os.Environ(), "CNI_COMMAND=ADD"),
	}
	s := ipam.Start(t.Context(), call, "stubborn")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(started); err == nil {
			break
		}
	}
	s.Abandon()
	got, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) > 0 {
		t.Errorf("it read %q, want nothing", got)
	}
}

// A plugin that is missing is an error that Finish returns. DLG-025.
func TestStart_missing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := ipam.Start(t.Context(), b.call(t, nil), "none")
	defer s.Abandon()
	if _, err := s.Finish(); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, types.ErrInvalidNetworkConfig) {
		t.Errorf("Finish() = %v, want %v that is fs.ErrNotExist", err, types.ErrInvalidNetworkConfig)
	}
}

// The end of the context ends a delegate.
func TestStart_interrupted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := ipam.Start(ctx, b.call(t, map[string]step{"ADD": {Exit: 1}}), "fake")
	cancel()
	if _, err := s.Finish(); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("Finish() = %v, want %v", err, types.ErrTryAgainLater)
	}
}
