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

// A runFunc runs a plugin in-process; see [skel.Plugin.Run].
type runFunc func(context.Context, skel.Env) (exit int)

// An executor runs a plugin under limits, so that one that hangs, floods its output or
// leaves children behind does no harm.
type executor struct {
	path    string
	run     runFunc // in-process, instead of path
	timeout time.Duration
	// start starts a process; see [Runtime.Start]. Nil: cmd.Start.
	start func(*exec.Cmd) error
	// progress, if not nil, is called with the process when it runs.
	progress func(*os.Process)
}

// execute completes the step, which says what to execute, with what came out.
func (x *executor) execute(ctx context.Context, s *Step) {
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	flooded := false
	over := func() { flooded = true; cancel() }
	stdout, stderr := &limited{limit: outputLimit, over: over}, &limited{limit: outputLimit, over: over}
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
		s.Problem = fmt.Sprintf("ended by the kit: more than %d bytes of output", outputLimit)
	case ctx.Err() != nil:
		s.Problem = fmt.Sprintf("ended by the kit: no end after %v", x.timeout)
	case err != nil:
		s.Problem = err.Error()
	}
	if s.Problem != "" && s.Exit == 0 {
		s.Exit = -1
	}
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
	case <-time.After(x.timeout + 6*time.Second): // a handler has five seconds after the end of its context
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

// ended reports whether a problem is one of the plugin itself, which crashed.
func (s *Step) crashed() bool { return strings.HasPrefix(s.Problem, "ended by") || s.Exit < 0 }
