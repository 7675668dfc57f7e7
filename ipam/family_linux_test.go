// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// A delegate that hangs is killed with the processes that it waits for, and what it says
// about the end is in the error. ADD-026
func TestAdd_family(t *testing.T) {
	t.Parallel()
	const refusal = `{"cniVersion":"1.1.0","code":11,"msg":"waited for the tide"}`
	for name, trap := range map[string]string{
		"stubborn": `trap '' TERM`,
		"gone":     `trap 'exit 1' TERM`,
		"polite":   `trap 'echo '\''` + refusal + `'\''; exit 1' TERM`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			pidFile := filepath.Join(t.TempDir(), "pid")
			script := fmt.Sprintf("#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\n%s\nsleep 1000 &\necho $! >%s.new; mv %s.new %s\nwhile :; do wait; done\n", trap, pidFile, pidFile, pidFile)
			if err := os.WriteFile(filepath.Join(b.dir, "family"), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			go func() {
				for ctx.Err() == nil {
					if _, err := os.Stat(pidFile); err == nil {
						cancel(errors.New("out of patience"))
					}
					time.Sleep(5 * time.Millisecond)
				}
			}()
			_, err := ipam.Add(ctx, b.call(t, nil), "family")
			if !errors.Is(err, types.ErrTryAgainLater) || !strings.Contains(err.Error(), "family: ADD was interrupted: out of patience") {
				t.Errorf("Add() = %v, want error 11 that says who did not finish, and why it was not waited for", err)
			}
			if got, want := strings.Contains(err.Error(), "waited for the tide"), name == "polite"; got != want {
				t.Errorf("Add() = %v; has the words of the delegate = %t, want %t", err, got, want)
			}
			pid, err := os.ReadFile(pidFile)
			if err != nil {
				t.Fatal(err)
			}
			wantEnd(t, strings.TrimSpace(string(pid)))
		})
	}
}

// wantEnd fails the test unless a process ends.
func wantEnd(t *testing.T, pid string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		// A zombie is somebody else's to wait for.
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	t.Errorf("process %s goes on", pid)
}
