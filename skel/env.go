// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cnikit/cnikit/types"
)

// Env is the outside of a plugin: all that it reads from and writes to its
// runtime.
type Env struct {
	// Environ is the environment as "key=value". Of equal keys the last counts.
	Environ []string
	// Stdin is read to its end, and for VERSION to the end of its first document. Nil:
	// standard input is closed, which is an error for every command but VERSION. A Read
	// that does not return, for VERSION or when the context ended, is left alone.
	Stdin io.Reader
	// Stdout takes one JSON document, or nothing. Nil: standard output is closed.
	Stdout io.Writer
	// Stderr takes the log, the help and the stack of a panic. Nil: they are
	// discarded.
	Stderr io.Writer
	// Local returns another plugin of the same executable; see types.Call. Main
	// sets it. Nil: there is none.
	Local func(plugin string) types.LocalPlugin

	times times
	// secrets are of the request, for the log of nobody in particular. Nil but in the
	// process of Main.
	secrets *atomic.Pointer[types.Call]
}

// times are how long things may take. The zero times are those of Run.
type times struct {
	stop, undo, version time.Duration
}

const (
	// stopTime is how long a handler, an undo step or a write may go on after its
	// context ended. It is then left alone, so that undo steps run and the runtime
	// gets an answer. A handler whose delegate does not stop either ends that and runs
	// its DEL, for which package ipam has twelve seconds.
	stopTime = 15 * time.Second
	// undoTime bounds the undoing of a failed ADD, which the end of the request's own
	// context must not stop.
	undoTime = 10 * time.Second
	// versionTime is how long VERSION waits for the version that it repeats. Runtimes
	// of old send none, and some leave standard input open.
	versionTime = 200 * time.Millisecond
)

func (t times) orDefault() times {
	return times{cmp.Or(t.stop, stopTime), cmp.Or(t.undo, undoTime), cmp.Or(t.version, versionTime)}
}

// getenv returns the value of a variable. A variable that is set to the empty
// string counts as unset.
//
// Spec: checklist PROTO-014.
func (e Env) getenv(key string) string {
	for i := len(e.Environ) - 1; i >= 0; i-- {
		if name, value, ok := strings.Cut(e.Environ[i], "="); ok && name == key {
			return value
		}
	}
	return ""
}

func (e Env) stderr() io.Writer {
	if e.Stderr == nil {
		return io.Discard
	}
	return e.Stderr
}

// maxStdin bounds what is read from standard input, in bytes.
//
// Spec: checklist PROTO-029, which asks for 16 MiB or more.
const maxStdin = 32 << 20

// readStdin reads standard input to its end, for as long as ctx allows.
func (e Env) readStdin(ctx context.Context) ([]byte, error) {
	if e.Stdin == nil {
		return nil, os.ErrClosed
	}
	type read struct {
		data []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(e.Stdin, maxStdin+1))
		done <- read{data, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case r := <-done:
		if r.err == nil && len(r.data) > maxStdin {
			r.err = errors.New("more than " + strconv.Itoa(maxStdin>>20) + " MiB")
		}
		return r.data, r.err
	}
}

// The variables of the protocol.
//
// Spec: CNI 1.1.0, section 2, "Parameters"; checklist 1.4.
const (
	envCommand     = "CNI_COMMAND"
	envContainerID = "CNI_CONTAINERID"
	envNetns       = "CNI_NETNS"
	envIfName      = "CNI_IFNAME"
	envArgs        = "CNI_ARGS"
	envPath        = "CNI_PATH"

	// envOverride permits the plugin's own namespace as the container's. It is not
	// in the specification.
	//
	// Source: containernetworking/cni v1.3.0, pkg/skel/skel.go.
	envOverride = "CNI_NETNS_OVERRIDE"

	// envTraceParent carries the trace that the request is part of. It is not in the
	// specification.
	//
	// Source: https://www.w3.org/TR/trace-context/, section 3.2.
	envTraceParent = "TRACEPARENT"
)

// parameters reads the variables that a command takes. All that is wrong with
// them is reported at once.
//
// Spec: checklist PROTO-009 to PROTO-018, PROTO-020 to PROTO-024, ARG-008.
func (e Env) parameters(cmd command, log *slog.Logger) (types.Call, error) {
	call := types.Call{
		Command: cmd.name,
		Environ: e.Environ,
		Stderr:  e.stderr(),
		Local:   e.Local,
	}
	var missing, wrong []string
	for _, v := range [...]struct {
		key   string
		need  need
		check func(string) error
		value *string
	}{
		{envContainerID, cmd.containerID, types.ValidateContainerID, &call.ContainerID},
		{envNetns, cmd.netns, validateNetns, &call.Netns},
		{envIfName, cmd.ifName, validateIfName, &call.IfName},
	} {
		if v.need == unused {
			continue
		}
		*v.value = e.getenv(v.key)
		if *v.value == "" {
			if v.need == required {
				missing = append(missing, v.key)
			}
		} else if err := v.check(*v.value); err != nil {
			wrong = append(wrong, v.key+": "+err.Error())
		}
	}
	if len(missing) > 0 {
		wrong = append([]string{strings.Join(missing, ", ") + ": required and missing"}, wrong...)
	}
	if len(wrong) > 0 {
		return call, types.NewError(types.ErrInvalidEnvironmentVariables, strings.Join(wrong, "; "), nil)
	}
	call.Path = e.path(log)
	var err error
	if cmd.ifName != unused {
		call.Args, err = types.ParseArgs(e.getenv(envArgs))
	}
	return call, err
}

// mostPath is the length of the longest path in bytes.
//
// Kernel: PATH_MAX less the closing NUL; include/uapi/linux/limits.h.
const mostPath = 4095

func validateNetns(path string) error {
	switch {
	case strings.ContainsRune(path, 0):
		return errors.New("holds a NUL")
	case len(path) > mostPath:
		return errors.New("is longer than " + strconv.Itoa(mostPath) + " bytes")
	}
	return nil
}

// validateIfName checks a name by the rules of the system. They are known for
// Linux; elsewhere the plugin finds out.
//
// Spec: checklist AMB-039.
func validateIfName(name string) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	return types.ValidateInterfaceName(name)
}

// path returns the directories of CNI_PATH. An empty or relative element would
// mean the working directory, which says nothing about plugins. A directory that
// anybody may write to is worth a warning.
//
// Spec: checklist PROTO-026, PROTO-040, AMB-042.
func (e Env) path(log *slog.Logger) []string {
	var dirs, others []string
	for _, dir := range filepath.SplitList(e.getenv(envPath)) {
		if !filepath.IsAbs(dir) {
			others = append(others, dir)
			continue
		}
		dirs = append(dirs, dir)
		if info, err := os.Stat(dir); err == nil && info.Mode()&0o002 != 0 && runtime.GOOS != "windows" {
			// Not refused: on some nodes it is so, and containers are to start there.
			log.Warn("CNI_PATH: anybody may put plugins into a directory", "directory", clip(dir, mostName), "mode", info.Mode().String())
		}
	}
	if len(others) > 0 {
		// One record for all: there may be as many as the environment has bytes.
		log.Warn("CNI_PATH: elements passed over, want absolute paths", "elements", len(others), "first", clip(others[0], mostName))
	}
	return dirs
}

// traceID returns the trace that the request is part of, or "".
func (e Env) traceID() string {
	parts := strings.Split(e.getenv(envTraceParent), "-")
	if len(parts) < 4 || len(parts[1]) != 32 || strings.Trim(parts[1], "0123456789abcdef") != "" || strings.Trim(parts[1], "0") == "" {
		return ""
	}
	return parts[1]
}
