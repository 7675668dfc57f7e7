// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/cnikit/cnikit/skel"
)

// What may be odd about standard input and output of an execution.
const (
	inputClosed    = "closed"
	inputDirectory = "a directory"
	inputHeld      = "held open by the caller"
	outputClosed   = "closed"
	outputFull     = "a full device"
)

// outputLimit bounds what a plugin may print, on either stream. An answer has some
// kilobytes.
const outputLimit = 4 << 20

// lingerLimit is how long output may stay open after the end of a plugin.
//
// Spec: checklist PROTO-041.
const lingerLimit = time.Second

// endedByKit is how the problem of an execution begins that a limit of the kit ended.
const endedByKit = "ended by the kit"

// busiest bounds for how many times its limit a plugin may take on a busy machine.
const busiest = 6

// A runFunc runs a plugin in-process; see [skel.Plugin.Run].
type runFunc func(context.Context, skel.Env) (exit int)

// An executor runs a plugin under limits, so that one that hangs, floods its output or
// leaves children behind does no harm.
type executor struct {
	path    string
	run     runFunc // in-process, instead of path
	timeout time.Duration
	// busy, which must not be nil, says for how many times the timeout to wait.
	busy func() float64
	// start starts a process; see [Runtime.Start]. Nil: cmd.Start.
	start func(*exec.Cmd) error
	// progress, if not nil, is called with the process when it runs.
	progress func(*os.Process)
}

// execute completes the step, which says what to execute, with what came out.
func (x *executor) execute(ctx context.Context, s *Step) {
	examination := ctx
	ctx, cancel := x.patient(ctx)
	defer cancel()
	flooded := false
	flood := func() { flooded = true; cancel() }
	stdout, stderr := &limited{limit: outputLimit, over: flood}, &limited{limit: outputLimit, over: flood}
	begin := time.Now()
	var err error
	if x.run != nil {
		err = x.runInProcess(ctx, s, stdout, stderr)
	} else {
		s.Path = x.path
		err = x.runProcess(ctx, s, stdout, stderr)
	}
	s.Duration = time.Since(begin)
	s.Stdout, s.Stderr = stdout.data.Bytes(), stderr.data.Bytes()
	switch {
	case flooded:
		s.Problem = fmt.Sprintf("%s: more than %d bytes of output", endedByKit, outputLimit)
	case examination.Err() != nil:
		s.Problem = endedByKit + ": the examination is over"
	case ctx.Err() != nil:
		s.Problem = fmt.Sprintf("%s: no end after %v", endedByKit, x.timeout)
	case err != nil:
		s.Problem = err.Error()
	}
	if s.Problem != "" && s.Exit == 0 {
		s.Exit = -1
	}
}

// patient returns a context that ends after the timeout, and on a busy machine after
// several: a plugin that waits for a processor does not hang.
func (x *executor) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for round := 1.0; ; round++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(x.timeout):
			}
			if round >= x.busy() {
				cancel()
				return
			}
		}
	}()
	return ctx, cancel
}

// machineBusy says how many processes there are to run for each processor.
func machineBusy() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 1 // not Linux
	}
	return busy(string(text), runtime.NumCPU())
}

// busy says how many processes there are to run for each processor, between one and
// [busiest], by the load average of a minute.
//
// Kernel: Documentation/filesystems/proc.rst, "loadavg".
func busy(loadavg string, processors int) float64 {
	first, _, _ := strings.Cut(loadavg, " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 1
	}
	return min(max(load/float64(processors), 1), busiest)
}

// runInProcess runs a plugin in this process. One that does not end is left alone.
func (x *executor) runInProcess(ctx context.Context, s *Step, stdout, stderr *limited) error {
	env := skel.Env{Environ: s.Environ, Stdin: bytes.NewReader(s.Stdin), Stdout: stdout, Stderr: stderr}
	switch s.Input {
	case inputClosed:
		env.Stdin = nil
	case inputDirectory:
		env.Stdin = brokenPipe{}
	case inputHeld:
		reader, writer := io.Pipe()
		defer reader.Close()
		go func() { _, _ = writer.Write(s.Stdin) }() // a plugin need not read it
		env.Stdin = reader
	}
	switch s.Output {
	case outputClosed:
		env.Stdout = nil
	case outputFull:
		env.Stdout = brokenPipe{}
	}
	done := make(chan int, 1)
	go func() { done <- x.run(ctx, env) }()
	select {
	case s.Exit = <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case s.Exit = <-done:
		return nil
	case <-time.After(6 * time.Second): // a handler has five seconds after the end of its context
		s.Exit = -1
		return errors.New("the plugin does not end")
	}
}

// brokenPipe is a file that can neither be read nor written.
type brokenPipe struct{}

func (brokenPipe) Read([]byte) (int, error)  { return 0, errors.New("is a directory") }
func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// runProcess runs an executable, in a process group of its own that is ended with it.
func (x *executor) runProcess(ctx context.Context, s *Step, stdout, stderr *limited) error {
	cmd := exec.CommandContext(ctx, s.Path)
	if s.Input == inputClosed || s.Output == outputClosed {
		redirect := map[bool]string{true: " <&-"}[s.Input == inputClosed] + map[bool]string{true: " >&-"}[s.Output == outputClosed]
		cmd = exec.CommandContext(ctx, "/bin/sh", "-c", `exec "$0"`+redirect, s.Path)
	}
	cmd.Env, cmd.Dir = s.Environ, s.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(s.Stdin), stdout, stderr
	cmd.WaitDelay = lingerLimit
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	closeAfter, err := x.connect(cmd, s)
	defer closeAfter()
	if err != nil {
		return err
	}
	start := x.start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		s.Exit = -1
		return err
	}
	if x.progress != nil {
		x.progress(cmd.Process)
	}
	err = cmd.Wait()
	_ = killGroup(cmd.Process) // what it left behind, if anything
	s.Exit = cmd.ProcessState.ExitCode()
	s.Lingered = errors.Is(err, exec.ErrWaitDelay)
	if !cmd.ProcessState.Exited() {
		return fmt.Errorf("ended by %v", cmd.ProcessState)
	}
	return nil
}

// connect gives cmd what is odd about its standard input and output.
func (x *executor) connect(cmd *exec.Cmd, s *Step) (closeAfter func(), err error) {
	var open []*os.File
	closeAfter = func() {
		for _, f := range open {
			_ = f.Close() // read, or a pipe whose other end is gone
		}
	}
	switch s.Input {
	case inputDirectory:
		dir, err := os.Open("/")
		if err != nil {
			return closeAfter, err
		}
		open = append(open, dir)
		cmd.Stdin = dir
	case inputHeld:
		reader, writer, err := os.Pipe()
		if err != nil {
			return closeAfter, err
		}
		open = append(open, reader, writer)
		if _, err := writer.Write(s.Stdin); err != nil {
			return closeAfter, err
		}
		cmd.Stdin = reader
	}
	if s.Output == outputFull {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			return closeAfter, err
		}
		open = append(open, full)
		cmd.Stdout = full
	}
	return closeAfter, nil
}

// stopped reports whether the kit ended the execution.
func (s *Step) stopped() bool { return strings.HasPrefix(s.Problem, endedByKit) }

// crashed reports whether a problem is one of the plugin itself.
func (s *Step) crashed() bool { return strings.HasPrefix(s.Problem, "ended by") || s.Exit < 0 }
