// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/types"
)

// process returns the test binary as a plugin; see play.
func process(t testing.TB, part, stdin string, env []string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &exec.Cmd{
		Path:  exe,
		Args:  []string{"/opt/cni/bin/" + part},
		Env:   env,
		Dir:   "/",
		Stdin: strings.NewReader(stdin),
		// A child that keeps standard output open is a failure and not a test that hangs.
		WaitDelay: 10 * time.Second,
	}
}

// execute runs a process to its end.
func execute(t testing.TB, cmd *exec.Cmd) answer {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return answer{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// One document, whatever the handler does to its process. PROTO-001, PROTO-031,
// PROTO-034, PROTO-035, PROTO-040, PROTO-041, PROTO-047
func TestMain_Process(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"play-well", "play-stray", "play-child", "play-close", "play-chatty"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			env := environ("ADD")
			cmd := process(t, part, request("1.1.0"), env)
			if part == "play-child" {
				cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
				cmd.Stderr = null(t) // which the child that stays behind keeps open
			}
			got := execute(t, cmd)
			got.result(t)
			if part == "play-stray" && got.stderr != "stray print\nstray write\n" {
				t.Errorf("standard error = %q, want both stray lines", got.stderr)
			}
		})
	}
	t.Run("panic", func(t *testing.T) {
		t.Parallel()
		got := execute(t, process(t, "play-panic", request("1.1.0"), environ("ADD")))
		got.failure(t, types.ErrInternal, "oh no")
		if !strings.Contains(got.stderr, "play_test.go") {
			t.Errorf("standard error = %s, want the stack", got.stderr)
		}
	})
	t.Run("empty environment", func(t *testing.T) {
		t.Parallel()
		got := execute(t, process(t, "play-well", request("1.1.0"), []string{}))
		got.failure(t, types.ErrInvalidEnvironmentVariables, "CNI_COMMAND")
		if !strings.Contains(got.stderr, "play-well is a CNI plugin") {
			t.Errorf("standard error = %s, want the help", got.stderr)
		}
	})
	t.Run("100 MB on standard input", func(t *testing.T) {
		t.Parallel()
		cmd := process(t, "play-well", "", environ("ADD"))
		cmd.Stdin = io.LimitReader(endless{}, 100<<20)
		execute(t, cmd).failure(t, types.ErrIOFailure, "standard input", "32 MiB")
	})
}

// A short process does not wake threads, unless it is told to or has to wait for several
// things.
func TestMain_Processors(t *testing.T) {
	t.Parallel()
	execute(t, process(t, "play-procs", request("1.1.0"), environ("ADD"))).failure(t, 113, "GOMAXPROCS is 1")
	execute(t, process(t, "play-procs", request("1.1.0"), environ("ADD", "GOMAXPROCS=3"))).failure(t, 113, "GOMAXPROCS is 3")
	execute(t, process(t, "play-procs", request("1.1.0"), environ("DEL"))).failure(t, 113, fmt.Sprintf("GOMAXPROCS is %d", runtime.GOMAXPROCS(0)))
}

// In a process, what is logged in the context of a request says which one it was.
func TestMain_Slog(t *testing.T) {
	t.Parallel()
	got := execute(t, process(t, "play-slog", request("1.1.0"), environ("ADD")))
	got.result(t)
	const who = " plugin=play-slog command=ADD network=net1 container=c1 interface=eth0"
	for _, want := range []string{" msg=one" + who + "\n", " msg=two" + who + " a=1 g.b=2 g.c=3\n", " msg=three\n"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("log = %s, want %q in it", got.stderr, want)
		}
	}
	if strings.Contains(got.stderr, "low") {
		t.Errorf("log = %s, want nothing of level debug", got.stderr)
	}
}

// In a process, what is logged without a context, be it by package log, keeps the secrets of
// the request, too. ERR-025
func TestMain_LogsSecrets(t *testing.T) {
	t.Parallel()
	got := execute(t, process(t, "play-log", request("1.1.0", `,"password":"`+planted+`"`), environ("ADD", "API_TOKEN=token-"+planted)))
	got.result(t)
	if !strings.Contains(got.stderr, "log in with (not shown)") || !strings.Contains(got.stderr, "logged in") || strings.Contains(got.stderr, planted) {
		t.Errorf("log = %s, want both records without the secret", got.stderr)
	}
}

// A result larger than a pipe reaches a slow reader whole.
func TestMain_BigResult(t *testing.T) {
	t.Parallel()
	cmd := process(t, "play-big", request("1.1.0"), environ("ADD"))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var data []byte
	chunk := make([]byte, 1<<20)
	for {
		n, err := stdout.Read(chunk)
		data = append(data, chunk[:n]...)
		if err == io.EOF { //nolint:errorlint // as io.Reader says
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < 1<<20 {
			time.Sleep(time.Millisecond)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if result := (answer{0, string(data), ""}).result(t); len(result.DNS.Domain) != bigSize {
		t.Errorf("length of the result's domain = %d, want %d", len(result.DNS.Domain), bigSize)
	}
}

// shell returns the plugin as a shell would start it, with redirections. Package os
// cannot start a process without one of its standard descriptors.
func shell(t testing.TB, part, stdin string, env []string, redirect string) *exec.Cmd {
	t.Helper()
	cmd := process(t, part, stdin, env)
	link := filepath.Join(t.TempDir(), part)
	if err := os.Symlink(cmd.Path, link); err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `exec "$0" ` + redirect, link}
	return cmd
}

// Where the answer goes nowhere, the exit status says so, and ADD is undone. ERR-027
func TestMain_BrokenStdout(t *testing.T) {
	t.Parallel()
	for _, redirect := range []string{">&-", "> /dev/full", ">&- 2> /dev/null", ">&- 2>&-"} {
		for _, part := range []string{"play-undo", "play-panic"} {
			got := execute(t, shell(t, part, request("1.1.0"), environ("ADD"), redirect))
			if got.exit != 1 {
				t.Errorf("%s %s: exit = %d, want 1", part, redirect, got.exit)
			}
			if undone := strings.Contains(got.stderr, "UNDONE"); undone != (part == "play-undo" && !strings.Contains(redirect, "2>")) {
				t.Errorf("%s %s: undone = %v; %s", part, redirect, undone, got.stderr)
			}
		}
		if got := execute(t, shell(t, "play-well", request("1.1.0"), environ("DEL"), redirect)); got.exit != 0 {
			t.Errorf("DEL %s: exit = %d, want 0", redirect, got.exit)
		}
	}
}

// A reader that went away is no reason to die by a signal. ERR-027
func TestMain_BrokenPipe(t *testing.T) {
	t.Parallel()
	closed := func() *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		return w
	}
	cmd := process(t, "play-undo", request("1.1.0"), environ("ADD"))
	cmd.Stdout = closed()
	if got := execute(t, cmd); got.exit != 1 || !strings.Contains(got.stderr, "UNDONE") {
		t.Errorf("broken standard output: exit = %d, stderr = %q, want 1 and UNDONE", got.exit, got.stderr)
	}
	for _, descriptors := range []int{1024, 4, 3} {
		t.Run(fmt.Sprint(descriptors), func(t *testing.T) {
			t.Parallel()
			few(t, "play-well", descriptors) // skips where it cannot be had
			cmd := fewDescriptors(t, "play-chatty", descriptors)
			cmd.Stderr = closed()
			execute(t, cmd).result(t)
		})
	}
}

// fewDescriptors is [process] with so many descriptors as all that it may have.
func fewDescriptors(t *testing.T, part string, n int) *exec.Cmd {
	t.Helper()
	cmd := shell(t, part, request("1.1.0"), environ("ADD"), "")
	cmd.Args[2] = fmt.Sprintf("ulimit -n %d && exec \"$0\"", n)
	return cmd
}

// few executes a part with so many descriptors.
func few(t *testing.T, part string, n int) answer {
	t.Helper()
	got := execute(t, fewDescriptors(t, part, n))
	if got.exit == 127 {
		nstest.Lacks(t, "a test binary that loads no libraries", errors.New(got.stderr))
	}
	return got
}

// The descriptors 1 and 2 stay open, and both are standard error.
func TestMain_Collected(t *testing.T) {
	t.Parallel()
	got := execute(t, process(t, "play-collect", request("1.1.0"), environ("ADD")))
	got.result(t)
	if want := "descriptor 1\ndescriptor 2\n"; got.stderr != want {
		t.Errorf("standard error = %q, want %q", got.stderr, want)
	}
}

// Every kind of standard input. PROTO-029, PROTO-030, ERR-013, VER-005, VER-006
func TestMain_Stdin(t *testing.T) {
	t.Parallel()
	tests := []struct {
		redirect string
		code     types.Code
	}{
		{"<&-", types.ErrIOFailure},
		{"< /", types.ErrIOFailure},
		{"< /dev/null", types.ErrDecodingFailure},
	}
	for _, tt := range tests {
		execute(t, shell(t, "play-well", "", environ("ADD"), tt.redirect)).failure(t, tt.code)
		got := execute(t, shell(t, "play-well", "", []string{"CNI_COMMAND=VERSION"}, tt.redirect))
		if got.exit != 0 || oneDocument(got.stdout) != nil {
			t.Errorf("VERSION %s: exit = %d, stdout = %q", tt.redirect, got.exit, got.stdout)
		}
	}
}

// A terminal is not waited for. PROTO-029
func TestMain_Terminal(t *testing.T) {
	t.Parallel()
	control, terminal := openTerminal(t)
	_ = control // keeps the terminal alive
	cmd := process(t, "play-well", "", environ("ADD"))
	cmd.Stdin = terminal
	execute(t, cmd).failure(t, types.ErrIOFailure, "terminal")
	cmd = process(t, "play-well", "", []string{"CNI_COMMAND=VERSION"})
	cmd.Stdin = terminal
	if got := execute(t, cmd); got.exit != 0 {
		t.Errorf("VERSION: exit = %d; %s", got.exit, got.stdout)
	}
}

// VERSION does not wait for the end of an open pipe. VER-006
func TestMain_OpenPipe(t *testing.T) {
	t.Parallel()
	for _, stdin := range []string{"", `{"cniVersion":"0.4.0"}`} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString(stdin); err != nil {
			t.Fatal(err)
		}
		cmd := process(t, "play-well", "", []string{"CNI_COMMAND=VERSION"})
		cmd.Stdin = r
		got := execute(t, cmd)
		if want := stdin != ""; got.exit != 0 || strings.HasPrefix(got.stdout, `{"cniVersion":"0.4.0"`) != want {
			t.Errorf("VERSION of an open pipe with %q: exit = %d, stdout = %s", stdin, got.exit, got.stdout)
		}
		if err := errors.Join(r.Close(), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// A signal undoes what was begun. PROTO-049
func TestMain_Signal(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd := process(t, "play-wait", request("1.1.0"), environ("ADD"))
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stderr)
		if line, err := lines.ReadString('\n'); line != "BEGUN\n" {
			t.Fatalf("standard error = %q, %v, want BEGUN", line, err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(lines)
		if err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) {
			t.Fatalf("Wait = %v, want an exit status", err)
		}
		answer{exit.ExitCode(), stdout.String(), string(rest)}.failure(t, types.ErrTryAgainLater, "signal "+signal.String())
		if !strings.Contains(string(rest), "UNDONE") {
			t.Errorf("%v: standard error = %q, want UNDONE", signal, rest)
		}
	}
}

// What a process inherits does not matter: descriptors, the file mode mask, ignored
// signals, a directory that is gone. PROTO-040
func TestMain_Inherited(t *testing.T) {
	t.Parallel()
	cmd := shell(t, "play-well", request("1.1.0"), environ("ADD"), "")
	cmd.Args[2] = "umask 0777; trap '' TERM INT PIPE; exec \"$0\""
	for range 1000 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, null(t))
	}
	execute(t, cmd).result(t)
}

// Where no descriptor is left for another standard output, there still is an answer.
func TestMain_NoDescriptor(t *testing.T) {
	t.Parallel()
	few(t, "play-well", 3).result(t)
}

// null returns the null device.
func null(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
