// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// A trace is what happened, in its order.
type trace struct {
	mu    sync.Mutex
	words []string
}

func (t *trace) add(word string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.words = append(t.words, word)
}

func (t *trace) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.words, " ")
}

// undo returns a step that leaves a word.
func (t *trace) undo(word string) func(context.Context) error {
	return func(context.Context) error {
		t.add(word)
		return nil
	}
}

type add = func(context.Context, *skel.Request[conf]) (*types.Result, error)

// adder returns a plugin with that handler of ADD, and nothing to do otherwise.
func adder(f add) skel.Plugin[conf] {
	return skel.Plugin[conf]{
		Name:   "adder",
		Add:    f,
		Del:    skel.NothingToDo[conf],
		Check:  skel.NothingToDo[conf],
		GC:     skel.NothingToDo[conf],
		Status: skel.NothingToDo[conf],
	}
}

type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

// fatal is an error whose text cannot be had.
type fatal struct{ text *string }

func (f fatal) Error() string { return *f.text }

// Whatever ends an ADD, what it did is undone, and the runtime gets one document.
// ADD-009, PROTO-033, PROTO-034, PROTO-047, AMB-047, AMB-053, ERR-001, ERR-002, ERR-021, ERR-022, ERR-026
func TestPlugin_Run_Failures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		add  add
		code types.Code
		want string
	}{
		{"error", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return sample(), errors.New("no luck")
		}, types.ErrInternal, "no luck"},
		{"error with a code", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return nil, fmt.Errorf("link br0: %w", types.NewError(types.ErrTryAgainLater, "busy", fs.ErrPermission))
		}, types.ErrTryAgainLater, "link br0"},
		{"bare code", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return nil, fmt.Errorf("lock: %w", types.ErrTryAgainLater)
		}, types.ErrTryAgainLater, "lock"},
		{"code 0", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return nil, &types.Error{}
		}, types.ErrInternal, ""},
		{"empty error", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return nil, errors.New("")
		}, types.ErrInternal, ""},
		{"lines", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return nil, errors.Join(errors.New("one"), errors.New("two\xff"))
		}, types.ErrInternal, "two"},
		{"nil *types.Error", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			var err *types.Error
			return nil, err
		}, types.ErrInternal, "panic"},
		{"error without text", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return nil, fatal{}
		}, types.ErrInternal, "panic"},
		{"panic", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			panic("oh no")
		}, types.ErrInternal, "oh no"},
		{"panic with nil", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			panic(nil)
		}, types.ErrInternal, "panic"},
		{"panic with an error", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			panic(types.ErrUnknownContainer)
		}, types.ErrInternal, "container unknown"},
		{"goexit", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			runtime.Goexit()
			return nil, nil
		}, types.ErrInternal, "goroutine"},
		{"no result", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return nil, nil
		}, types.ErrInternal, "no result"},
		{"result that cannot be encoded", func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return &types.Result{Extra: map[string]json.RawMessage{"x": json.RawMessage(`{`)}}, nil
		}, types.ErrInternal, "the result cannot be sent: x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var did trace
			p := adder(func(ctx context.Context, r *skel.Request[conf]) (*types.Result, error) {
				r.Undo(did.undo("first"))
				r.Undo(did.undo("second"))
				return tt.add(ctx, r)
			})
			got := run(t, p, request("1.0.0"), environ("ADD"))
			e := got.failure(t, tt.code, tt.want)
			if did.String() != "second first" {
				t.Errorf("undone = %q, want second first", did.String())
			}
			if e.CNIVersion != types.V100 {
				t.Errorf("cniVersion = %s, want that of the request", e.CNIVersion)
			}
			if stack := strings.Contains(got.stderr, "goroutine "); stack != strings.Contains(tt.name+tt.want, "panic") {
				t.Errorf("stack on standard error = %v: %s", stack, got.stderr)
			}
		})
	}
}

// A success undoes nothing.
func TestRequest_Undo_Success(t *testing.T) {
	t.Parallel()
	var did trace
	p := adder(func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
		r.Undo(did.undo("step"))
		return sample(), nil
	})
	run(t, p, request("1.1.0"), environ("ADD")).result(t)
	if did.String() != "" {
		t.Errorf("undone = %q, want nothing", did.String())
	}
}

// Only what ADD did is undone.
func TestRequest_Undo_OtherCommands(t *testing.T) {
	t.Parallel()
	var did trace
	fail := func(_ context.Context, r *skel.Request[conf]) error {
		r.Undo(did.undo("step"))
		return errors.New("no")
	}
	p := adder(nil)
	p.Add = func(context.Context, *skel.Request[conf]) (*types.Result, error) { return nil, nil }
	p.Del, p.Check, p.GC, p.Status = fail, fail, fail, fail
	for _, command := range []string{"DEL", "CHECK", "GC", "STATUS"} {
		run(t, p, stdinFor(command, "1.1.0"), environ(command)).failure(t, types.ErrInternal, "no")
	}
	if did.String() != "" {
		t.Errorf("undone = %q, want nothing", did.String())
	}
}

// Each step runs once, whatever the others do, and what could not be undone is told.
// The code is that of the failure.
func TestRequest_Undo_Steps(t *testing.T) {
	t.Parallel()
	var did trace
	p := adder(func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
		r.Undo(did.undo("a"))
		r.Undo(func(context.Context) error {
			did.add("b")
			return types.NewError(types.ErrTryAgainLater, "b is busy", nil)
		})
		r.Undo(func(context.Context) error { did.add("c"); panic("c broke") })
		r.Undo(func(context.Context) error { did.add("d"); runtime.Goexit(); return nil })
		r.Undo(func(ctx context.Context) error {
			did.add("e")
			r.Undo(did.undo("f"))
			if _, ok := ctx.Deadline(); !ok || ctx.Err() != nil {
				return errors.New("the context of an undo step is not bounded, or over")
			}
			return nil
		})
		return nil, errors.New("no luck")
	})
	got := run(t, p, request("1.1.0"), environ("ADD"))
	e := got.failure(t, types.ErrInternal, "no luck", "undo", "b is busy", "c broke")
	if e.Msg != "no luck" {
		t.Errorf("msg = %q, want no luck", e.Msg)
	}
	if strings.Contains(got.stdout, "not bounded") {
		t.Error(got.stdout)
	}
	if did.String() != "e f d c b a" {
		t.Errorf("undone = %q, want e f d c b a", did.String())
	}
}

// The steps of a cancelled ADD have a context that goes on. PROTO-049, ERR-016
func TestPlugin_Run_Cancelled(t *testing.T) {
	t.Parallel()
	for _, honest := range []bool{true, false} {
		ctx, cancel := context.WithCancelCause(t.Context())
		var did trace
		p := adder(func(ctx context.Context, r *skel.Request[conf]) (*types.Result, error) {
			r.Undo(func(ctx context.Context) error {
				did.add(fmt.Sprint("undo ", ctx.Err()))
				return nil
			})
			cancel(fmt.Errorf("signal terminated: %w", types.ErrTryAgainLater))
			<-ctx.Done()
			if honest {
				return nil, ctx.Err()
			}
			return sample(), nil
		})
		got := runEnv(ctx, p, skel.Env{Environ: environ("ADD"), Stdin: strings.NewReader(request("1.1.0"))})
		want := ""
		if !honest {
			want = "signal terminated"
		}
		got.failure(t, types.ErrTryAgainLater, want)
		if did.String() != "undo <nil>" {
			t.Errorf("undone = %q, want undo <nil>", did.String())
		}
	}
}

// A handler that ignores its context is left alone; what it did until then, and what
// it does later, is undone. ADD-026, PROTO-049
func TestPlugin_Run_Stuck(t *testing.T) {
	t.Parallel()
	var did trace
	var log bytes.Buffer
	release, left := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	p := adder(func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
		defer close(left)
		r.Undo(did.undo("before"))
		cancel()
		<-release
		r.Log.Debug("a record after the end")
		r.Undo(did.undo("after"))
		r.Undo(func(context.Context) error { panic("nobody is left to tell") })
		return sample(), nil
	})
	p.Log = func(*conf) skel.LogOptions { return skel.LogOptions{JSON: true} }
	env := soon(skel.Env{Environ: environ("ADD"), Stdin: strings.NewReader(request("1.1.0")), Stderr: &log})
	runEnv(ctx, p, env).failure(t, types.ErrTryAgainLater, "canceled", "no stop within 50ms")
	if did.String() != "before" {
		t.Errorf("undone = %q, want before", did.String())
	}
	close(release)
	<-left
	if did.String() != "before after" {
		t.Errorf("undone = %q, want before after", did.String())
	}
}

// An undo step that ignores its context does not keep the others from running, nor
// the runtime from getting its answer.
func TestRequest_Undo_Stuck(t *testing.T) {
	t.Parallel()
	var did trace
	release := make(chan struct{})
	defer close(release)
	p := adder(func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
		r.Undo(did.undo("last"))
		r.Undo(func(context.Context) error { <-release; return nil })
		return nil, errors.New("no luck")
	})
	env := skel.Env{Environ: environ("ADD"), Stdin: strings.NewReader(request("1.1.0"))}
	env = skel.WithTimes(env, time.Second, time.Millisecond, 0)
	runEnv(t.Context(), p, env).failure(t, types.ErrInternal, "no luck", "no stop within")
	if did.String() != "last" {
		t.Errorf("undone = %q, want last", did.String())
	}
}

// So is a Validate, which runs before the handler.
type stuckConf struct{}

// validating gets a value when Validate is at work.
var validating = make(chan struct{})

func (*stuckConf) Validate() error {
	validating <- struct{}{}
	select {}
}

func TestPlugin_Run_StuckValidate(t *testing.T) {
	t.Parallel()
	p := skel.Plugin[stuckConf]{
		Name:     "stuck",
		Versions: []types.Version{types.V031},
		Add:      func(context.Context, *skel.Request[stuckConf]) (*types.Result, error) { return sample(), nil },
		Del:      skel.NothingToDo[stuckConf],
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-validating
		cancel()
	}()
	env := soon(skel.Env{Environ: environ("ADD"), Stdin: strings.NewReader(request("0.3.1"))})
	runEnv(ctx, p, env).failure(t, types.ErrTryAgainLater, "no stop within 50ms")
}

// A result that cannot be delivered is a failure: the runtime does not know of the
// attachment. ERR-027
func TestPlugin_Run_BrokenStdout(t *testing.T) {
	t.Parallel()
	var did trace
	add := func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
		r.Undo(did.undo("step"))
		return sample(), nil
	}
	got := runEnv(t.Context(), adder(add), skel.Env{
		Environ: environ("ADD"), Stdin: strings.NewReader(request("1.1.0")), Stdout: brokenWriter{errors.New("disk full")},
	})
	if got.exit != 1 || did.String() != "step" || !strings.Contains(got.stderr, "disk full") {
		t.Errorf("exit = %d, undone = %q, log = %s, want 1, step and the cause", got.exit, did.String(), got.stderr)
	}
	var stderr bytes.Buffer
	exit := adder(add).Run(t.Context(), skel.Env{Environ: environ("ADD"), Stdin: strings.NewReader(request("1.1.0")), Stderr: &stderr})
	if exit != 1 || did.String() != "step step" {
		t.Errorf("with a closed standard output: exit = %d, undone = %q, want 1 and once more", exit, did.String())
	}
	// A failure stays one, and what has nothing to say succeeds.
	if exit := adder(add).Run(t.Context(), skel.Env{Environ: environ("FOO")}); exit != 1 {
		t.Errorf("exit of a failure = %d, want 1", exit)
	}
	if exit := adder(add).Run(t.Context(), skel.Env{Environ: environ("DEL"), Stdin: strings.NewReader(request("1.1.0"))}); exit != 0 {
		t.Errorf("exit of DEL = %d, want 0", exit)
	}
}

// stuckWriter never returns.
type stuckWriter struct{}

func (stuckWriter) Write([]byte) (int, error) { select {} }

// A runtime that does not read does not keep a cancelled plugin.
func TestPlugin_Run_StuckStdout(t *testing.T) {
	t.Parallel()
	var did trace
	ctx, cancel := context.WithCancel(t.Context())
	p := adder(func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
		r.Undo(did.undo("step"))
		time.AfterFunc(time.Millisecond, cancel)
		return sample(), nil
	})
	got := runEnv(ctx, p, soon(skel.Env{Environ: environ("ADD"), Stdin: strings.NewReader(request("1.1.0")), Stdout: stuckWriter{}}))
	if got.exit != 1 || did.String() != "step" {
		t.Errorf("exit = %d, undone = %q, want 1 and step", got.exit, did.String())
	}
}

// Timeout bounds the reading of standard input, too. PROTO-029
func TestPlugin_Run_StuckStdin(t *testing.T) {
	t.Parallel()
	var r recorder
	p := r.plugin()
	p.Timeout = time.Millisecond
	got := runEnv(t.Context(), p, skel.Env{Environ: environ("ADD"), Stdin: openPipe{}})
	got.failure(t, types.ErrIOFailure, "tester did not finish within 1ms")
}

// When the context ends the answer is code 11 and says what the handler waited for,
// whatever it makes of that. ADD-026
func TestPlugin_Run_Ended(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  func(ctx context.Context) error
		code types.Code
		want []string
	}{
		{"context", func(ctx context.Context) error { return fmt.Errorf("wait for the bus: %w", ctx.Err()) },
			types.ErrTryAgainLater, []string{"wait for the bus", "out of patience"}},
		{"cause", func(ctx context.Context) error { return fmt.Errorf("wait for the bus: %w", context.Cause(ctx)) },
			types.ErrTryAgainLater, []string{"wait for the bus", "out of patience"}},
		{"killed program", func(context.Context) error { return errors.New("bus: signal: killed") },
			types.ErrTryAgainLater, []string{"bus: signal: killed", "out of patience"}},
		{"none", func(context.Context) error { return nil },
			types.ErrTryAgainLater, []string{"out of patience"}},
		{"long wait for a lock", func(context.Context) error { return fmt.Errorf("lock of the bus: %w", os.ErrDeadlineExceeded) },
			types.ErrTryAgainLater, []string{"lock of the bus"}},
		{"error with a code", func(context.Context) error { return types.NewError(types.ErrIOFailure, "the bus broke down", nil) },
			types.ErrIOFailure, []string{"the bus broke down"}},
		{"code", func(context.Context) error { return fmt.Errorf("the bus broke down: %w", types.ErrIOFailure) },
			types.ErrIOFailure, []string{"the bus broke down"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var did trace
			ctx, cancel := context.WithCancelCause(t.Context())
			p := adder(func(ctx context.Context, r *skel.Request[conf]) (*types.Result, error) {
				r.Undo(did.undo("step"))
				cancel(fmt.Errorf("out of patience: %w", types.ErrTryAgainLater))
				return sample(), tt.err(ctx)
			})
			got := runEnv(ctx, p, skel.Env{Environ: environ("ADD"), Stdin: strings.NewReader(request("1.1.0"))})
			got.failure(t, tt.code, tt.want...)
			if strings.Count(got.stdout, "out of patience") > 1 {
				t.Errorf("the reason is said more than once: %s", got.stdout)
			}
			if did.String() != "step" {
				t.Errorf("undone = %q, want step", did.String())
			}
		})
	}
}

// openPipe is a standard input that nobody writes to.
type openPipe struct{}

func (openPipe) Read([]byte) (int, error) { select {} }
