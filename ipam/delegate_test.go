// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// TestMain lets the test binary play a delegate: a link to it in a directory of
// CNI_PATH is a plugin that does what its configuration says.
func TestMain(m *testing.M) {
	if os.Getenv("CNIKIT_IPAM_TEST") == "delegate" {
		data, err := io.ReadAll(os.Stdin)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(play(context.Background(), os.Environ(), data, os.Stdout, os.Stderr))
	}
	if code, ok := playProcess(); ok {
		os.Exit(code)
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // campaigns would fill the log
	os.Exit(m.Run())
}

// A script is what the delegate of the tests does, by command.
type script struct {
	Record string // file that gets a line for each run
	Steps  map[string]step
}

type step struct {
	Stdout, Stderr string
	Exit           int
	Hang           bool   // until killed, whatever the signal
	Linger         string // program to leave behind with the output open
	Flood          bool   // write for ever
}

// A run is one line of the record.
type run struct {
	Command string
	Environ []string
	Stdin   []byte
}

// play is the delegate.
func play(ctx context.Context, environ []string, stdin []byte, stdout, stderr io.Writer) int {
	var config struct{ Script script }
	if err := json.Unmarshal(stdin, &config); err != nil {
		fmt.Fprintln(stderr, err)
		return 3
	}
	command := lookup(environ, "CNI_COMMAND")
	line, err := json.Marshal(run{command, environ, stdin})
	if err == nil {
		err = appendLine(config.Script.Record, line)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 3
	}
	s := config.Script.Steps[command]
	fmt.Fprint(stderr, s.Stderr)
	fmt.Fprint(stdout, s.Stdout)
	switch {
	case s.Hang:
		hang(ctx, stderr)
		return 1
	case s.Linger != "":
		c := exec.Command(s.Linger, "30")
		c.Stdout, c.Stderr = stdout, stderr
		if err := c.Start(); err != nil {
			fmt.Fprintln(stderr, err)
			return 3
		}
	case s.Flood:
		chunk := bytes.Repeat([]byte("x"), 1<<16)
		for {
			if _, err := stdout.Write(chunk); err != nil && ctx.Err() != nil {
				return 1
			}
		}
	}
	return s.Exit
}

func lookup(environ []string, key string) string {
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, key+"="); ok {
			return value
		}
	}
	return ""
}

func appendLine(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// A bench is a directory of CNI_PATH with a delegate in it.
type bench struct {
	dir    string
	record string
	stderr *syncBuffer
}

func newBench(t *testing.T) bench {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "fake")); err != nil {
		t.Fatal(err)
	}
	return bench{dir, filepath.Join(t.TempDir(), "record"), &syncBuffer{}}
}

const goodResult = `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}]}`

// call returns a call whose delegate follows the steps. White space and numbers
// are odd on purpose: they have to arrive as they are.
func (b bench) call(t *testing.T, steps map[string]step) types.Call {
	t.Helper()
	raw, err := json.Marshal(script{b.record, steps})
	if err != nil {
		t.Fatal(err)
	}
	return types.Call{
		Command: types.CommandAdd, ContainerID: "c1", IfName: "eth0",
		Path:       []string{"", "relative", filepath.Join(b.dir, "none"), b.dir},
		CNIVersion: types.V110,
		Environ: []string{"ZZ=last comes first", "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0",
			"CNIKIT_IPAM_TEST=delegate", "ODD=a=b;c", "EMPTY="},
		Stdin:  []byte("{ \"cniVersion\":\t\"1.1.0\", \"name\":\"n\",\n\"big\": 12345678901234567890, \"none\": [ ], \"script\": " + string(raw) + "}\n"),
		Stderr: b.stderr,
	}
}

// runs returns what the delegate recorded.
func (b bench) runs(t *testing.T) []run {
	t.Helper()
	data, err := os.ReadFile(b.record)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []run
	for line := range bytes.Lines(data) {
		var r run
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func (b bench) commands(t *testing.T) string {
	t.Helper()
	var all []string
	for _, r := range b.runs(t) {
		all = append(all, r.Command)
	}
	return strings.Join(all, " ")
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// ways are the two ways to run a delegate, which must not differ.
var ways = []string{"child", "in-process"}

// in returns the call for one of the ways.
func in(way string, call types.Call) types.Call {
	if way == "child" {
		return call
	}
	call.Local = func(plugin string) types.LocalPlugin {
		if plugin != "fake" {
			return nil
		}
		return func(ctx context.Context, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
			data, err := io.ReadAll(stdin)
			if err != nil {
				return 3
			}
			return play(ctx, environ, data, stdout, stderr)
		}
	}
	return call
}

// DLG-001 to DLG-004: the second directory, the same environment and the very
// same bytes.
func TestAdd(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			call := in(way, b.call(t, map[string]step{"ADD": {Stdout: goodResult, Stderr: "noise\n"}}))
			before := fmt.Sprint(call.Environ)
			got, err := ipam.Add(t.Context(), call, "fake")
			if err != nil {
				t.Fatal(err)
			}
			want := &types.Result{IPs: []types.IP{{Address: netip.MustParsePrefix("10.0.0.2/24"), Gateway: netip.MustParseAddr("10.0.0.1")}}}
			if diff := cmp.Diff(want, got, compareAddr); diff != "" {
				t.Errorf("Add() mismatch (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]run{{"ADD", call.Environ, call.Stdin}}, b.runs(t)); diff != "" {
				t.Errorf("the delegate got other input (-want +got):\n%s", diff)
			}
			if got := b.stderr.String(); got != "noise\n" { // PROTO-035, DLG-005
				t.Errorf("standard error = %q, want %q", got, "noise\n")
			}
			if after := fmt.Sprint(call.Environ); after != before {
				t.Errorf("Add changed the caller's environment: %s, want %s", after, before)
			}
		})
	}
}

var compareAddr = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// DLG-007, DLG-008, DLG-009, DLG-011, STA-009, GC-012, CHK-015, DEL-015: every
// command is forwarded, and its error comes back as it is.
func TestCommands(t *testing.T) {
	t.Parallel()
	commands := map[string]func(context.Context, types.Call, string) error{
		"ADD": func(ctx context.Context, call types.Call, plugin string) error {
			_, err := ipam.Add(ctx, call, plugin)
			return err
		},
		"DEL": ipam.Del, "CHECK": ipam.Check, "GC": ipam.GC, "STATUS": ipam.Status,
	}
	const failure = `{"code":111,"msg":"no luck","details":"a longer story","more":1}`
	for _, way := range ways {
		for command, function := range commands {
			t.Run(way+"/"+command, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				call := in(way, b.call(t, map[string]step{"ADD": {Stdout: goodResult}}))
				if err := function(t.Context(), call, "fake"); err != nil {
					t.Fatalf("%s = %v, want success", command, err)
				}
				want := []run{{command, ipam.Setenv(call.Environ, "CNI_COMMAND", command), call.Stdin}}
				if diff := cmp.Diff(want, b.runs(t)); diff != "" {
					t.Errorf("the delegate got other input (-want +got):\n%s", diff)
				}

				b = newBench(t)
				fails := step{Stdout: failure, Stderr: "a hint\n", Exit: 1}
				call = in(way, b.call(t, map[string]step{command: fails, "DEL": {Stdout: `{"code":112,"msg":"DEL too"}`, Exit: 1}}))
				if command == "DEL" {
					call = in(way, b.call(t, map[string]step{"DEL": fails}))
				}
				err := function(t.Context(), call, "fake")
				var got *types.Error
				if !errors.As(err, &got) || got.Code != 111 || got.Msg != "no luck" || got.Details != "a longer story" {
					t.Errorf("%s = %#v, want the delegate's own error", command, err)
				}
				if !strings.Contains(b.stderr.String(), "a hint\n") { // DLG-005
					t.Errorf("standard error = %q, want the delegate's in it", b.stderr)
				}
				ran := command
				if command == "ADD" {
					ran = "ADD DEL"
					if !strings.Contains(b.stderr.String(), "DEL too") {
						t.Errorf("standard error = %q, want the error of DEL in it", b.stderr)
					}
				}
				if got := b.commands(t); got != ran {
					t.Errorf("the delegate ran %s, want %s", got, ran)
				}
			})
		}
	}
}

// An ADD that the delegate calls a success, or fails in its own way.
func TestAdd_badAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		step step
		code types.Code
		text string
	}{
		{"DLG-006 nothing", step{}, types.ErrDecodingFailure, "without a result"},
		{"no JSON", step{Stdout: "hello"}, types.ErrDecodingFailure, "not valid JSON"},
		{"two documents", step{Stdout: goodResult + goodResult}, types.ErrDecodingFailure, "not valid JSON"},
		{"ERR-024 an error for a result", step{Stdout: `{"code":7,"msg":"bad"}`}, types.ErrDecodingFailure, `"bad"`},
		{"DLG-022 no address", step{Stdout: `{"cniVersion":"1.1.0"}`}, types.ErrInternal, "no address"},
		{"loopback address", step{Stdout: `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"},{"address":"127.0.0.1/8"}]}`}, types.ErrInternal, "ips[1] with address 127.0.0.1/8"},
		{"multicast address", step{Stdout: `{"cniVersion":"1.1.0","ips":[{"address":"ff02::1/64"}]}`}, types.ErrInternal, "ff02::1/64"},
		{"loopback gateway", step{Stdout: `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24","gateway":"127.0.0.1"}]}`}, types.ErrInternal, "gateway 127.0.0.1"},
		{"DLG-026 unknown version", step{Stdout: `{"cniVersion":"99.0.0","ips":[]}`}, types.ErrIncompatibleCNIVersion, "99.0.0"},
		{"bad value", step{Stdout: `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.300/24"}]}`}, types.ErrInvalidNetworkConfig, "10.0.0.300/24"},
		{"ERR-023 silent failure", step{Exit: 1}, types.ErrInternal, "exit status 1"},
		{"ERR-023 plain text", step{Stdout: "oops", Exit: 4}, types.ErrInternal, "exit status 4; standard output: oops"},
		{"ERR-023 standard error only", step{Stderr: "panic: boo\n", Exit: 2}, types.ErrInternal, "exit status 2; standard error: panic: boo"},
		{"ERR-023 no code", step{Stdout: `{"msg":"x"}`, Exit: 1}, types.ErrInternal, `{"msg":"x"}`},
		{"ERR-029 a code and nothing else", step{Stdout: `{"code":7}`, Exit: 1}, types.ErrInvalidNetworkConfig, "reported by fake"},
	}
	for _, way := range ways {
		for _, tt := range tests {
			t.Run(way+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				call := in(way, b.call(t, map[string]step{"ADD": tt.step}))
				result, err := ipam.Add(t.Context(), call, "fake")
				if result != nil || !errors.Is(err, tt.code) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("Add() = %v, %v; want error %d with %q", result, err, tt.code, tt.text)
				}
				var coded *types.Error
				if !errors.As(err, &coded) {
					t.Errorf("Add() error is %T, want a types.Error", err)
				}
				if got := b.commands(t); got != "ADD DEL" { // DLG-009
					t.Errorf("the delegate ran %s, want ADD DEL", got)
				}
			})
		}
	}
}

// DLG-026, DLG-013: results of other versions, and results with gaps.
func TestAdd_conversion(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, stdout string
		version      types.Version
	}{
		{"0.2.0", `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1"}}`, types.V110},
		{"0.4.0", `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24","gateway":"10.0.0.1"}]}`, types.V110},
		{"1.0.0", `{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}]}`, types.V031},
		{"none named, new request", `{"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}]}`, types.V110},
		{"none named, old request", `{"ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1"}}`, types.V020},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			call := b.call(t, map[string]step{"ADD": {Stdout: tt.stdout}})
			call.CNIVersion = tt.version
			got, err := ipam.Add(t.Context(), call, "fake")
			if err != nil {
				t.Fatal(err)
			}
			want := &types.Result{IPs: []types.IP{{Address: netip.MustParsePrefix("10.0.0.2/24"), Gateway: netip.MustParseAddr("10.0.0.1")}}}
			if diff := cmp.Diff(want, got, compareAddr); diff != "" {
				t.Errorf("Add() mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

// AMB-042, AMB-043, CONF-037, DLG-024, DLG-025: what cannot be run.
func TestDelegate_missing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	plain := filepath.Join(b.dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(b.dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, plugin string
		path         []string
		code         types.Code
		is           error
		text         string
	}{
		{"not installed", "absent", []string{"/no/such", b.dir}, types.ErrInvalidNetworkConfig, fs.ErrNotExist, "/no/such:" + b.dir},
		{"a directory", "folder", []string{b.dir}, types.ErrInvalidNetworkConfig, fs.ErrNotExist, "folder"},
		{"no directories", "fake", nil, types.ErrInvalidEnvironmentVariables, nil, "CNI_PATH"},
		{"relative directories", "fake", []string{"", "."}, types.ErrInvalidEnvironmentVariables, nil, "CNI_PATH"},
		{"a path", "../fake", []string{b.dir}, types.ErrInvalidNetworkConfig, nil, `"../fake"`},
		{"no name", "", []string{b.dir}, types.ErrInvalidNetworkConfig, nil, "empty"},
		{"not executable", "plain", []string{b.dir}, types.ErrInvalidNetworkConfig, fs.ErrPermission, "not executable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			call := b.call(t, nil)
			call.Path = tt.path
			_, err := ipam.Add(t.Context(), call, tt.plugin)
			for _, err := range []error{err, ipam.Del(t.Context(), call, tt.plugin), ipam.Check(t.Context(), call, tt.plugin)} {
				if !errors.Is(err, tt.code) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("delegating to %q = %v, want error %d with %q", tt.plugin, err, tt.code, tt.text)
				}
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("delegating to %q = %v, want one that is %v", tt.plugin, err, tt.is)
				}
			}
		})
	}
	if got := b.commands(t); got != "" {
		t.Errorf("the delegate ran %s, want nothing", got)
	}
}

// ADD-026: a delegate that never answers ends with the context, and gets its DEL.
func TestAdd_interrupted(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			call := in(way, b.call(t, map[string]step{"ADD": {Hang: true}}))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for ctx.Err() == nil && !strings.Contains(b.stderr.String(), "hanging") {
					time.Sleep(5 * time.Millisecond)
				}
				cancel()
			}()
			_, err := ipam.Add(ctx, call, "fake")
			if !errors.Is(err, types.ErrTryAgainLater) || !errors.Is(err, context.Canceled) {
				t.Errorf("Add() = %v, want error 11 that is context.Canceled", err)
			}
			if got := b.commands(t); got != "ADD DEL" {
				t.Errorf("the delegate ran %s, want ADD DEL", got)
			}
		})
	}
	t.Run("before the start", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := ipam.Add(ctx, b.call(t, nil), "fake")
		if !errors.Is(err, types.ErrTryAgainLater) || !errors.Is(err, context.Canceled) {
			t.Errorf("Add() = %v, want error 11 that is context.Canceled", err)
		}
		if got := b.commands(t); got != "" {
			t.Errorf("the delegate ran %s, want nothing", got)
		}
	})
}

// ADD-026: a delegate that answers neither ADD nor the DEL that follows, and stops at no
// signal but the end of its context, does not keep its caller, whose own context is
// over. The clock is the bubble's.
func TestAdd_cleanupHangs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	call := b.call(t, nil)
	synctest.Test(t, func(t *testing.T) {
		var commands []string
		call.Local = func(string) types.LocalPlugin {
			return func(ctx context.Context, environ []string, _ io.Reader, _, _ io.Writer) int {
				commands = append(commands, lookup(environ, "CNI_COMMAND"))
				<-ctx.Done()
				return 1
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		if _, err := ipam.Add(ctx, call, "fake"); !errors.Is(err, types.ErrTryAgainLater) {
			t.Errorf("Add() = %v, want error 11", err)
		}
		if took := time.Since(begin); took > time.Minute+15*time.Second {
			t.Errorf("Add() took %v, want little more than its minute", took)
		}
		if got := strings.Join(commands, " "); got != "ADD DEL" {
			t.Errorf("the delegate ran %s, want ADD DEL", got)
		}
	})
	if said := b.stderr.String(); !strings.Contains(said, "DEL after a failed ADD: ") || !strings.Contains(said, "DEL was interrupted") {
		t.Errorf("standard error = %s, want that DEL was interrupted", said)
	}
}

// A delegate that writes for ever is stopped, and costs no more than the limit.
func TestAdd_flood(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			call := in(way, b.call(t, map[string]step{"ADD": {Flood: true}}))
			_, err := ipam.Add(t.Context(), call, "fake")
			if !errors.Is(err, types.ErrDecodingFailure) || !strings.Contains(err.Error(), "16777216 bytes") {
				t.Errorf("Add() = %v, want error 6 with the limit", err)
			}
			if got := b.commands(t); got != "ADD DEL" {
				t.Errorf("the delegate ran %s, want ADD DEL", got)
			}
		})
	}
}

// A process that the delegate leaves behind with its output open does not hold
// up the plugin.
func TestAdd_linger(t *testing.T) {
	t.Parallel()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no program to leave behind: ", err)
	}
	b := newBench(t)
	call := b.call(t, map[string]step{"ADD": {Stdout: goodResult, Linger: sleep}})
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	if _, err := ipam.Add(ctx, call, "fake"); err != nil {
		t.Errorf("Add() = %v, want the result", err)
	}
}

// AMB-044: an executable that is being written is tried again.
func TestAdd_busy(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says that an executable is busy")
	}
	b := newBench(t)
	path := filepath.Join(b.dir, "busy")
	body := "#!/bin/sh\necho '" + goodResult + "'\n"
	if err := os.WriteFile(path, []byte(body), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(path).Run(); !errors.Is(err, syscall.ETXTBSY) {
		t.Skipf("this kernel executes a file that is open for writing: %v", err)
	}
	// Nobody finishes: the context does, and nothing ran.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := ipam.Add(ctx, b.call(t, nil), "busy"); !errors.Is(err, types.ErrTryAgainLater) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Add() = %v, want error 11 that is context.DeadlineExceeded", err)
	}
	closed := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		closed <- f.Close()
	}()
	if _, err := ipam.Add(t.Context(), b.call(t, nil), "busy"); err != nil {
		t.Errorf("Add() = %v, want the result once the file is written", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// The in-process way is taken only for the very executable that is running.
func TestAdd_localIsSelf(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := os.WriteFile(filepath.Join(b.dir, "other"), []byte("#!/bin/sh\necho '"+goodResult+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 9)
	call := b.call(t, map[string]step{"ADD": {Stdout: goodResult}})
	call.Local = func(plugin string) types.LocalPlugin {
		asked <- plugin
		return nil // the executable does not hold it after all
	}
	for _, plugin := range []string{"fake", "other"} {
		if _, err := ipam.Add(t.Context(), call, plugin); err != nil {
			t.Errorf("Add(%s) = %v, want the result of a child", plugin, err)
		}
	}
	close(asked)
	var got []string
	for plugin := range asked {
		got = append(got, plugin)
	}
	if diff := cmp.Diff([]string{"fake"}, got); diff != "" {
		t.Errorf("asked for local plugins (-want +got):\n%s", diff)
	}
}

// Census row 6: a plugin that wraps another edits the copy of its call.
func TestDelegate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const linkOnly = `{"cniVersion":"1.1.0","interfaces":[{"name":"net1"}]}`
	call := b.call(t, map[string]step{"ADD": {Stdout: linkOnly}})
	call.Environ = ipam.Setenv(call.Environ, "CNI_IFNAME", "net1")
	result, err := ipam.Delegate(t.Context(), call, "fake")
	if err != nil || len(result.Interfaces) != 1 {
		t.Errorf("Delegate(ADD) = %v, %v; want the delegate's interface", result, err)
	}
	call.Command = types.CommandDel
	if result, err := ipam.Delegate(t.Context(), call, "fake"); result != nil || err != nil {
		t.Errorf("Delegate(DEL) = %v, %v; want nothing", result, err)
	}
	if got := b.commands(t); got != "ADD DEL" {
		t.Errorf("the delegate ran %s, want ADD DEL", got)
	}
	if got := lookup(b.runs(t)[0].Environ, "CNI_IFNAME"); got != "net1" {
		t.Errorf("CNI_IFNAME = %q, want net1", got)
	}
}

func TestSetenv(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		environ []string
		want    []string
	}{
		{"in its place", []string{"A=1", "K=old", "B=2"}, []string{"A=1", "K=new", "B=2"}},
		{"not there", []string{"A=1", "KK=x"}, []string{"A=1", "KK=x", "K=new"}},
		{"twice", []string{"K=1", "A=1", "K=2"}, []string{"K=new", "A=1"}},
		{"nil", nil, []string{"K=new"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := append([]string(nil), tt.environ...)
			if diff := cmp.Diff(tt.want, ipam.Setenv(tt.environ, "K", "new")); diff != "" {
				t.Errorf("Setenv() mismatch (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tt.environ); diff != "" {
				t.Errorf("Setenv changed its argument (-want +got):\n%s", diff)
			}
		})
	}
}

// A delegate of this process that outlives its time does not hold up the caller,
// whatever it does later.
func TestDel_interruptedLocal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	release := make(chan struct{})
	finished := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	call := b.call(t, nil)
	call.Local = func(string) types.LocalPlugin {
		return func(_ context.Context, _ []string, _ io.Reader, stdout, _ io.Writer) int {
			defer close(finished)
			cancel() // it runs, and its time is over
			<-release
			if _, err := stdout.Write([]byte("late")); err == nil {
				t.Error("a late write succeeded, want an error")
			}
			return 0
		}
	}
	if err := ipam.Del(ctx, call, "fake"); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("Del() = %v, want error 11", err)
	}
	close(release)
	<-finished
}

func BenchmarkAdd_delegate(b *testing.B) {
	for _, way := range ways {
		b.Run(way, func(b *testing.B) {
			dir := b.TempDir()
			self, err := os.Executable()
			if err != nil {
				b.Fatal(err)
			}
			if err := os.Symlink(self, filepath.Join(dir, "fake")); err != nil {
				b.Fatal(err)
			}
			raw, err := json.Marshal(map[string]any{"script": script{os.DevNull, map[string]step{"ADD": {Stdout: goodResult}}}})
			if err != nil {
				b.Fatal(err)
			}
			call := in(way, types.Call{Path: []string{dir}, CNIVersion: types.V110, Stdin: raw, Environ: []string{"CNIKIT_IPAM_TEST=delegate"}})
			for b.Loop() {
				if _, err := ipam.Add(b.Context(), call, "fake"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
