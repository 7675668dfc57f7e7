// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cnikit/cnikit/types"
)

const (
	// mostOutput is how many bytes a delegate may write to standard output. A result
	// has some hundred; the limit keeps a delegate that never stops from taking the
	// node's memory.
	mostOutput = 16 << 20

	// stopLimit is how long a delegate may go on after SIGTERM, and how long it is
	// waited for a process that it left behind with its output open.
	stopLimit = 2 * time.Second

	// busyLimit is how long to wait for an executable that is being written.
	//
	// Spec: checklist AMB-044.
	busyLimit = 5 * time.Second

	// stderrKept is how many bytes of the end of standard error are kept for the error of
	// a delegate that failed without saying why in the form of the protocol, and
	// excerptKept how many of either output such an error repeats. More is kept than
	// said, so that no half of a secret or of a document is taken for something else.
	stderrKept  = 64 << 10
	excerptKept = 1 << 10
)

// errNotStarted says that a delegate never ran, so that there is nothing to clean
// up.
var errNotStarted = errors.New("not started")

// A delegate is a plugin that was found.
type delegate struct {
	name  string
	path  string
	local types.LocalPlugin // nil: run the executable
	input *heldInput        // nil: the configuration, at once
}

// find looks the plugin up in the directories of the call, in their order. The
// first regular file of that name counts, whether or not it can be executed.
//
// Spec: checklist DLG-001, DLG-024, CONF-037, AMB-042, AMB-043.
func find(call types.Call, plugin string) (delegate, error) {
	if err := types.ValidatePluginType(plugin); err != nil {
		return delegate{}, types.NewError(types.ErrInvalidNetworkConfig, "type of the plugin to delegate to", err)
	}
	searched := make([]string, 0, len(call.Path))
	for _, dir := range call.Path {
		if !filepath.IsAbs(dir) {
			continue
		}
		searched = append(searched, dir)
		path := filepath.Join(dir, plugin)
		info, err := statExecutable(&path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		return delegate{name: plugin, path: path, local: localPlugin(call, plugin, info)}, nil
	}
	if len(searched) == 0 {
		return delegate{}, types.Errorf(types.ErrInvalidEnvironmentVariables,
			"CNI_PATH: has no absolute directory in which to look for plugin %s", plugin)
	}
	return delegate{}, &types.Error{
		Code:    types.ErrInvalidNetworkConfig,
		Msg:     "plugin " + plugin + " is not installed",
		Details: "not in CNI_PATH " + joinPath(searched),
		Err:     fs.ErrNotExist,
	}
}

// joinPath returns directories for a message, which may be cut: nobody reads more.
func joinPath(dirs []string) string {
	text := strings.Join(dirs, string(filepath.ListSeparator))
	if len(text) > excerptKept {
		text = strings.ToValidUTF8(text[:excerptKept], "") + "…"
	}
	return text
}

// statExecutable is os.Stat, which on Windows also knows the file by its
// extension.
func statExecutable(path *string) (fs.FileInfo, error) {
	info, err := os.Stat(*path)
	if err == nil || runtime.GOOS != "windows" {
		return info, err
	}
	*path += ".exe"
	return os.Stat(*path)
}

// localPlugin returns the plugin inside this process, if the file found is the
// very executable that is running and holds the plugin.
func localPlugin(call types.Call, plugin string, found fs.FileInfo) types.LocalPlugin {
	if call.Local == nil {
		return nil
	}
	self, err := os.Stat(selfPath())
	if err != nil || !os.SameFile(self, found) {
		return nil
	}
	return call.Local(plugin)
}

// selfPath names the running executable. On Linux it is the file itself, whatever
// its path holds after an update.
func selfPath() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return path
}

// run executes the delegate once and returns its standard output.
func (d delegate) run(ctx context.Context, call types.Call, command types.Command) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, d.interrupted(ctx, command, errNotStarted, nil)
	}
	call.Environ = Setenv(call.Environ, "CNI_COMMAND", string(command))
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout := &output{stop: cancel}
	stderr := &tail{to: call.Stderr}

	exit, err := d.execute(limited, call, stdout, stderr)
	written, overflow := stdout.take()
	switch {
	case err != nil && !errors.Is(err, errNotStarted) && ctx.Err() == nil && !overflow:
		return nil, types.NewError(types.ErrInternal, d.name+": "+string(command), err)
	case overflow:
		return nil, types.Errorf(types.ErrDecodingFailure, "%s: %s wrote more than %d bytes", d.name, command, mostOutput)
	case err == nil && exit == 0:
		return written, nil
	case ctx.Err() != nil:
		return nil, d.interrupted(ctx, command, err, written)
	case err != nil:
		return nil, err
	}
	return nil, d.failure(call, command, exit, written, stderr.text())
}

func (d delegate) execute(ctx context.Context, call types.Call, stdout, stderr io.Writer) (exit int, err error) {
	if d.local != nil {
		return d.runLocal(ctx, call, stdout, stderr)
	}
	return d.runChild(ctx, call, stdout, stderr)
}

// interrupted returns the error for a delegate that did not finish in time, with what it
// said itself about that.
//
// Spec: checklist ADD-026.
func (d delegate) interrupted(ctx context.Context, command types.Command, err error, stdout []byte) error {
	cause := context.Cause(ctx)
	if said, bad := types.DecodeError(stdout); bad == nil {
		cause = fmt.Errorf("%w; it said: %w", cause, said)
	}
	if errors.Is(err, errNotStarted) {
		cause = fmt.Errorf("%w: %w", errNotStarted, cause)
	}
	return types.NewError(types.ErrTryAgainLater, d.name+": "+string(command)+" was interrupted", cause)
}

// failure returns the error that a delegate reported, or one that says how it
// ended where it reported none.
//
// Spec: checklist DLG-008, ERR-020, ERR-023.
func (d delegate) failure(call types.Call, command types.Command, exit int, stdout, stderr []byte) error {
	reported, err := types.DecodeError(stdout)
	if err == nil {
		reported.CNIVersion = 0 // package skel sets that of the request
		reported.Err = errors.New("reported by " + d.name)
		return reported
	}
	text := fmt.Sprintf("exit status %d", exit)
	if len(stdout) > 0 {
		text += "; standard output: " + beginning(call, stdout)
	}
	if len(stderr) > 0 {
		said := excerpt(call, stderr)
		if len(said) > excerptKept {
			said = "…" + strings.ToValidUTF8(said[len(said)-excerptKept:], "")
		}
		text += "; standard error: " + said
	}
	return types.NewError(types.ErrInternal, d.name+": "+string(command)+" failed without an error object", errors.New(text))
}

// beginning returns the beginning of the output of a delegate for a message.
func beginning(call types.Call, output []byte) string {
	text := excerpt(call, output[:min(len(output), stderrKept)])
	if len(text) > excerptKept {
		text = strings.ToValidUTF8(text[:excerptKept], "") + "…"
	}
	return text
}

// excerpt returns the output of a delegate for a message: without the secrets of the
// request, and without the request where the delegate repeats it.
func excerpt(call types.Call, output []byte) string {
	text := call.Redact(strings.ToValidUTF8(string(bytes.TrimSpace(output)), ""))
	start, end := strings.IndexByte(text, '{'), strings.LastIndexByte(text, '}')
	if end < start {
		end = len(text) - 1 // it goes on where the output is cut
	}
	if start >= 0 && strings.Contains(text[start:], `"type"`) { // which neither a result nor an error has
		text = text[:start] + "{…}" + text[end+1:]
	}
	return text
}

// runLocal runs a plugin of this process. It is waited for after ctx has ended as
// long as for a child; then it is left to itself, since a goroutine cannot be
// killed. The process ends soon.
func (d delegate) runLocal(ctx context.Context, call types.Call, stdout, stderr io.Writer) (int, error) {
	done := make(chan int, 1)
	go func() {
		done <- d.local(ctx, call.Environ, bytes.NewReader(call.Stdin), stdout, stderr)
	}()
	select {
	case exit := <-done:
		return exit, nil
	case <-ctx.Done():
	}
	select {
	case exit := <-done:
		return exit, nil
	case <-time.After(stopLimit):
		return -1, ctx.Err()
	}
}

// runChild runs the executable. While it is busy, which is to say open for writing
// because somebody is updating it, starting is tried again.
func (d delegate) runChild(ctx context.Context, call types.Call, stdout, stderr io.Writer) (int, error) {
	deadline := time.Now().Add(busyLimit)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		// A Cmd cannot be started a second time, even if the first failed.
		cmd := d.command(ctx, call, stdout, stderr)
		free := bind(cmd)
		err := cmd.Start()
		if err == nil {
			defer free()
			return wait(ctx, cmd)
		}
		free()
		if !errors.Is(err, syscall.ETXTBSY) || time.Now().After(deadline) {
			return -1, d.startError(err)
		}
		select {
		case <-ctx.Done():
			return -1, d.startError(err)
		case <-time.After(pause):
		}
	}
}

func (d delegate) command(ctx context.Context, call types.Call, stdout, stderr io.Writer) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.path)
	cmd.Env = call.Environ
	cmd.Stdin = d.stdin(call)
	cmd.Stdout = stdout
	cmd.Stderr = stderr
	cmd.WaitDelay = stopLimit
	cmd.Cancel = func() error {
		// A delegate that is told has a chance to undo what it began.
		err := cmd.Process.Signal(syscall.SIGTERM)
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			return cmd.Process.Kill()
		}
		return err
	}
	return cmd
}

// wait returns the exit status. Output that a process left behind keeps open is
// not waited for, and input that the delegate did not read is its own affair. When ctx has
// ended nothing that the delegate started goes on.
func wait(ctx context.Context, cmd *exec.Cmd) (int, error) {
	err := cmd.Wait()
	if ctx.Err() != nil {
		killFamily(cmd)
	}
	if cmd.ProcessState == nil {
		return -1, err
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return -1, err // killed by a signal
}

// startError returns the error for an executable that could not be started.
func (d delegate) startError(err error) error {
	code, msg := types.ErrInternal, "start "+d.path
	switch {
	case errors.Is(err, syscall.ETXTBSY):
		code, msg = types.ErrTryAgainLater, d.path+" is being written"
	case errors.Is(err, fs.ErrPermission):
		code, msg = types.ErrInvalidNetworkConfig, d.path+" is not executable"
	}
	return types.NewError(code, msg, fmt.Errorf("%w: %w", errNotStarted, err))
}

// output keeps what is written, up to mostOutput bytes; then it fails and stops
// the writer. Any goroutine may write.
type output struct {
	stop func()

	mu       sync.Mutex
	buf      []byte
	overflow bool
	closed   bool
}

var errOverflow = errors.New("too much output")

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.overflow || len(o.buf)+len(p) > mostOutput {
		o.overflow = true
		o.stop()
		return 0, errOverflow
	}
	o.buf = append(o.buf, p...)
	return len(p), nil
}

// take returns what has been written, and ends the writing.
func (o *output) take() (written []byte, overflow bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.buf, o.overflow
}

// tail passes on what is written and keeps the end of it. Any goroutine may
// write. An error of the destination is not the writer's problem.
type tail struct {
	to io.Writer

	mu  sync.Mutex
	end []byte
	cut bool // there was more before
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		_, _ = t.to.Write(p)
	}
	t.end = append(t.end, p...)
	if extra := len(t.end) - stderrKept; extra > 0 {
		t.end, t.cut = append(t.end[:0], t.end[extra:]...), true
	}
	return len(p), nil
}

// text returns the end of what was written, from the beginning of a line.
func (t *tail) text() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.cut {
		return bytes.Clone(t.end)
	}
	_, lines, _ := bytes.Cut(t.end, []byte("\n"))
	return bytes.Clone(lines)
}
