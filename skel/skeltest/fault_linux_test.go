// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package skeltest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// script runs a script of the shell under a fault in an empty directory, and returns
// the names that are there afterwards.
func script(t *testing.T, fault *skeltest.Fault, text string) (names string, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", text)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "CNI_COMMAND=ADD")
	var errs strings.Builder
	cmd.Stderr = &errs
	switch err := fault.Start(cmd); {
	case errors.Is(err, os.ErrPermission), errors.Is(err, errors.ErrUnsupported):
		nstest.Lacks(t, "ptrace", err)
	case err != nil:
		t.Fatal(err)
	}
	err = cmd.Wait()
	entries, readErr := os.ReadDir(cmd.Dir)
	if readErr != nil {
		t.Fatal(readErr)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	if ctx.Err() != nil {
		t.Fatalf("%v: the script does not end", fault)
	}
	return strings.Join(all, " "), errs.String(), err
}

// Each call of a program and its children is found, and the fault happens at it.
func TestFault(t *testing.T) {
	t.Parallel()
	const text = "mkdir a; mkdir b; rmdir a; mkdir c"
	tests := []struct {
		name  string
		fault skeltest.Fault
		want  string
		dies  bool
		at    string // what it struck, less the directory
	}{
		{name: "list", want: "b c"},
		{name: "kill before", fault: skeltest.Fault{Kind: skeltest.KillBefore, At: 2}, want: "a", dies: true, at: "mkdir: mkdir b"},
		{name: "kill after", fault: skeltest.Fault{Kind: skeltest.KillAfter, At: 2}, want: "a b", dies: true, at: "mkdir: mkdir b"},
		{name: "terminate", fault: skeltest.Fault{Kind: skeltest.Terminate, At: 3}, want: "b", dies: true, at: "rmdir: rmdir a"},
		{name: "fail", fault: skeltest.Fault{Kind: skeltest.Fail, At: 1, Errno: syscall.EPERM}, want: "b c", at: "mkdir: mkdir a"},
		{name: "counts what can fail", fault: skeltest.Fault{Kind: skeltest.Fail, At: 1, Errno: syscall.EBUSY}, want: "a b c", at: "rmdir: rmdir a"},
		{name: "another command", fault: skeltest.Fault{Kind: skeltest.KillBefore, At: 1, Command: types.CommandDel}, want: "b c"},
		{name: "the command", fault: skeltest.Fault{Kind: skeltest.KillBefore, At: 4, Command: types.CommandAdd}, want: "b", dies: true, at: "mkdir: mkdir c"},
		{name: "not so many calls", fault: skeltest.Fault{Kind: skeltest.KillAfter, At: 5}, want: "b c"},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			names, stderr, err := script(t, &tt.fault, text)
			if names != tt.want || (err != nil) != tt.dies {
				t.Errorf("%v: left %q, %v, want %q, death %t; it said %q", &tt.fault, names, err, tt.want, tt.dies, stderr)
			}
			struck, ok := tt.fault.Struck()
			if ok != (tt.at != "") || ok && struck.String() != tt.at {
				t.Errorf("struck %q, %t, want %q", struck, ok, tt.at)
			}
		})
	}
}

// The list of calls has what changes something, and nothing else.
func TestFault_Calls(t *testing.T) {
	t.Parallel()
	var fault skeltest.Fault
	if names, stderr, err := script(t, &fault, "read x </dev/null; echo hello >f; cat f; ln -s f g; exec 9<f; flock 9; mv g h; chmod 600 f"); err != nil || names != "f h" {
		t.Fatalf("left %q, %v: %s", names, err, stderr)
	}
	var got []string
	for _, c := range fault.Calls() {
		got = append(got, c.Name)
	}
	want := "openat write symlinkat flock renameat2 fchmodat"
	if text := strings.NewReplacer("fchmodat2", "fchmodat", "renameat2 ", "renameat2 ", "rename ", "renameat2 ").Replace(strings.Join(got, " ")); text != want {
		t.Errorf("calls = %q, want %q: %v", text, want, fault.Calls())
	}
}

// The faults of a program end when one finds no call to happen at.
func TestFaults(t *testing.T) {
	t.Parallel()
	var left []string
	for fault := range skeltest.Faults(&skeltest.Fault{Kind: skeltest.KillAfter}) {
		names, _, err := script(t, fault, "mkdir a; mkdir b")
		_, struck := fault.Struck()
		if struck != (err != nil) {
			t.Errorf("%v: %v", fault, err)
		}
		left = append(left, names)
	}
	if got, want := strings.Join(left, ","), "a,a b,a b"; got != want {
		t.Errorf("left after each = %q, want %q", got, want)
	}
}

// The kernel refuses a netlink request with the error, and does nothing.
func TestFault_netlink(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ip"); err != nil {
		nstest.Lacks(t, "program ip", err)
	}
	for _, tt := range []struct {
		errno syscall.Errno
		want  string
	}{
		{syscall.EBUSY, "RTNETLINK answers: Device or resource busy"},
		{syscall.ENOSPC, "RTNETLINK answers: No space left on device"},
		{syscall.ENOBUFS, "No buffer space available"},
	} {
		host := skeltest.New(t)
		fault := &skeltest.Fault{Kind: skeltest.Fail, At: 1, Errno: tt.errno}
		before := snapshot(t, host)
		var stderr string
		err := host.Do(func() (err error) {
			_, stderr, err = script(t, fault, "ip route add 10.9.0.0/16 dev lo")
			return err
		})
		struck, _ := fault.Struck()
		if err == nil || struck.String() != "ip: sendmsg RTM_NEWROUTE" {
			t.Errorf("%v: struck %q, %v", fault, struck, err)
		}
		if !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: ip says %q, want %q", fault, stderr, tt.want)
		}
		if diff := skeltest.Diff(before, snapshot(t, host)); diff != "" {
			t.Errorf("%v: changes\n%s", fault, diff)
		}
	}
}

// The kernel does what it is asked for, and its answer is lost, or comes late.
func TestFault_lostAnswer(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ip"); err != nil {
		nstest.Lacks(t, "program ip", err)
	}
	for _, tt := range []struct {
		errno syscall.Errno
		says  string
	}{
		{0, "No buffer space available"},
		{syscall.ENOBUFS, "No buffer space available"},
		{syscall.EINTR, ""},
	} {
		host := skeltest.New(t)
		fault := &skeltest.Fault{Kind: skeltest.LoseAnswer, At: 1, Errno: tt.errno}
		before := snapshot(t, host)
		var stderr string
		err := host.Do(func() (err error) {
			_, stderr, err = script(t, fault, "mkdir a; ip route add 10.9.0.0/16 dev lo")
			return err
		})
		if struck, _ := fault.Struck(); struck.String() != "ip: sendmsg RTM_NEWROUTE" {
			t.Errorf("%v: struck %q", fault, struck)
		}
		if (err != nil) != (tt.says != "") || !strings.Contains(stderr, tt.says) {
			t.Errorf("%v: ip ends with %v and says %q, want %q", fault, err, stderr, tt.says)
		}
		if diff := skeltest.Diff(before, snapshot(t, host)); !strings.HasPrefix(diff, "+route 10.9.0.0/16") {
			t.Errorf("%v: changes\n%swant the route", fault, diff)
		}
	}
}

// Who is killed alone leaves children, which are told of if they change something then.
func TestFault_alone(t *testing.T) {
	t.Parallel()
	fault := &skeltest.Fault{Kind: skeltest.KillAlone, At: 2}
	if names, _, err := script(t, fault, ": >f; mkdir a; mkdir b; mkdir c"); err == nil || names != "a b f" && names != "a f" {
		t.Errorf("left %q, %v, want a and f, and b perhaps: the shell is killed when its second child begins its work", names, err)
	}
	fault = &skeltest.Fault{Kind: skeltest.KillAlone, At: 1}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", "(mkdir a; while read -r _ _ state _ </proc/$$/stat && test $state != Z; do :; done; : >b) & wait")
	cmd.Dir = dir
	if err := fault.Start(cmd); err == nil || !strings.Contains(err.Error(), "sh: openat b") {
		t.Errorf("Start = %v, want that the child goes on", err)
	}
}

// What outlives a program is followed, and ended when it does not end.
func TestFault_orphans(t *testing.T) {
	t.Parallel()
	fault := &skeltest.Fault{Kind: skeltest.KillBefore, At: 2}
	if names, _, err := script(t, fault, "(exec >/dev/null 2>&1; mkdir a; kill -9 $$; mkdir b; mkdir c) & wait"); err == nil || names != "a" {
		t.Errorf("left %q, %v, want a: the child is killed at its second call", names, err)
	}
	fault = &skeltest.Fault{}
	if names, _, err := script(t, fault, "(exec >/dev/null 2>&1; mkdir a; sleep 600; mkdir b) & while ! test -d a; do :; done"); err != nil || names != "a" {
		t.Errorf("left %q, %v, want a, when the child has been killed", names, err)
	}
}

// A child that is killed while it makes a thread ends, too: a thread that nobody has told of
// keeps its process from ending until it is waited for.
func TestFault_threads(t *testing.T) {
	t.Parallel()
	fault := &skeltest.Fault{}
	killed := fault.KillMakerOfThread()
	// Any program in Go makes threads.
	_, stderr, err := script(t, fault, "/proc/"+strconv.Itoa(os.Getpid())+"/exe; true")
	if err == nil || !killed() {
		t.Errorf("the script ends with %v, killed %t, want death while its child makes a thread: %s", err, killed(), stderr)
	}
}

// A process that cannot be started is the error of cmd.Start.
func TestFault_Start(t *testing.T) {
	t.Parallel()
	fault := &skeltest.Fault{}
	if err := fault.Start(exec.Command(filepath.Join(t.TempDir(), "missing"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start of nothing = %v, want that it does not exist", err)
	}
}
