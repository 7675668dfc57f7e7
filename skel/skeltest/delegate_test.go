// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// ask executes a delegate.
func ask(t *testing.T, d *skeltest.Delegate, stdin string, environ ...string) (stdout, stderr string, exit int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(d.Dir, d.Name))
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = strings.NewReader(stdin), &out, &errs, environ
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func newDelegate(t *testing.T) *skeltest.Delegate {
	t.Helper()
	d, err := skeltest.NewDelegate(t.TempDir(), "fake")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDelegate_Answer(t *testing.T) {
	t.Parallel()
	d := newDelegate(t)
	for _, a := range []struct {
		command   types.Command
		container string
		answer    skeltest.Answer
	}{
		{types.CommandAdd, "", skeltest.Answer{Stdout: "all\n"}},
		{types.CommandAdd, "c1", skeltest.Answer{Stdout: `{"a": "b c"}`, Stderr: "log", Exit: 3}},
	} {
		if err := d.Answer(a.command, a.container, a.answer); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		environ []string
		stdout  string
		stderr  string
		exit    int
	}{
		{"no answer", []string{"CNI_COMMAND=DEL", "CNI_CONTAINERID=c1"}, "", "", 0},
		{"for all", []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c2"}, "all\n", "", 0},
		{"for one", []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1"}, `{"a": "b c"}`, "log", 3},
		{"no container", []string{"CNI_COMMAND=ADD"}, "all\n", "", 0},
	}
	for _, tt := range tests {
		stdout, stderr, exit := ask(t, d, "{}", tt.environ...)
		if stdout != tt.stdout || stderr != tt.stderr || exit != tt.exit {
			t.Errorf("%s: %q, %q, %d, want %q, %q, %d", tt.name, stdout, stderr, exit, tt.stdout, tt.stderr, tt.exit)
		}
	}
}

// What a delegate does amiss, seen without a plugin in between, which may fail for other
// reasons.
func TestDelegate_Answer_faults(t *testing.T) {
	t.Parallel()
	d := newDelegate(t)
	if err := d.Answer(types.CommandAdd, "", skeltest.Answer{Stdout: "{", Flood: 5000}); err != nil {
		t.Fatal(err)
	}
	if stdout, _, _ := ask(t, d, "{}", "CNI_COMMAND=ADD"); stdout != "{"+strings.Repeat("\x00", 5000) {
		t.Errorf("a flood of 5000 bytes behind the answer has %d bytes in all", len(stdout))
	}
	if err := d.Answer(types.CommandDel, "", skeltest.Answer{Hang: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(d.Dir, d.Name))
	cmd.Env = []string{"CNI_COMMAND=DEL"}
	var failed *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &failed) || failed.Exited() {
		t.Errorf("a delegate that hangs ends by itself: %v", err)
	}
}

func TestDelegate_Calls(t *testing.T) {
	t.Parallel()
	d := newDelegate(t)
	if calls, err := d.Calls(); err != nil || len(calls) > 0 {
		t.Errorf("Calls() = %v, %v, want none", calls, err)
	}
	const stdin = "\n { \"big\": 9007199254740993 }\n"
	ask(t, d, stdin, "CNI_COMMAND=ADD", "X=a b")
	ask(t, d, "", "CNI_COMMAND=DEL")
	calls, err := d.Calls()
	if err != nil || len(calls) != 2 {
		t.Fatalf("Calls() = %v, %v, want two", calls, err)
	}
	if string(calls[0].Stdin) != stdin {
		t.Errorf("standard input = %q, want %q", calls[0].Stdin, stdin)
	}
	if !slices.Contains(calls[0].Environ, "X=a b") || !slices.Contains(calls[0].Environ, "CNI_COMMAND=ADD") {
		t.Errorf("environment = %q, want X and CNI_COMMAND in it", calls[0].Environ)
	}
	commands, err := d.Commands()
	if diff := cmp.Diff([]types.Command{types.CommandAdd, types.CommandDel}, commands); diff != "" || err != nil {
		t.Errorf("Commands() (-want +got), %v:\n%s", err, diff)
	}
	if err := errors.Join(d.Forget(), d.Forget()); err != nil {
		t.Error(err)
	}
	if commands, err := d.Commands(); err != nil || len(commands) > 0 {
		t.Errorf("Commands() after Forget = %v, %v, want none", commands, err)
	}
}

// Executions that overlap are recorded one by one.
func TestDelegate_parallel(t *testing.T) {
	t.Parallel()
	d := newDelegate(t)
	const n = 20
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() { ask(t, d, "{}", "CNI_COMMAND=ADD") })
	}
	wait.Wait()
	if commands, err := d.Commands(); err != nil || len(commands) != n {
		t.Errorf("Commands() = %d of them, %v, want %d", len(commands), err, n)
	}
}
