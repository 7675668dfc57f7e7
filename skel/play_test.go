// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// play turns the process into a plugin if the name of the executable says so: the
// test binary, called by the name of a part, is that plugin as a runtime sees it. It
// needs no variable, since a test may leave them all out.
func play(argv0 string) {
	add, ok := parts()[filepath.Base(argv0)]
	if !ok {
		return
	}
	p := adder(add)
	p.Name = filepath.Base(argv0)
	if p.Name == "play-procs" {
		p.Del = func(ctx context.Context, r *skel.Request[conf]) error {
			_, err := processors(ctx, r)
			return err
		}
	}
	skel.Main(p)
}

// parts are the handlers of ADD that the test binary can play, by name.
func parts() map[string]add {
	return map[string]add{
		"play-well":    well,
		"play-stray":   stray,
		"play-child":   child,
		"play-close":   closeStdout,
		"play-big":     big,
		"play-panic":   func(context.Context, *skel.Request[conf]) (*types.Result, error) { panic("oh no") },
		"play-wait":    wait,
		"play-chatty":  chatty,
		"play-collect": collect,
		"play-undo":    undo,
		"play-slog":    logByContext,
		"play-log":     logByNobody,
		"play-procs":   processors,
	}
}

func well(context.Context, *skel.Request[conf]) (*types.Result, error) { return sample(), nil }

// stray prints where it should not, by Go and by hand.
func stray(context.Context, *skel.Request[conf]) (*types.Result, error) {
	fmt.Println("stray print")
	if _, err := rawStdout().Write([]byte("stray write\n")); err != nil {
		return nil, err
	}
	return sample(), nil
}

// rawStdout is descriptor 1, whatever package os thinks of it.
func rawStdout() *os.File { return os.NewFile(1, "descriptor 1") }

// child runs a program that prints, and leaves one behind.
func child(context.Context, *skel.Request[conf]) (*types.Result, error) {
	for _, script := range []string{"echo stray child", "echo stray child >&1; exec sleep 0"} {
		cmd := exec.Command("sh", "-c", script)
		cmd.Stdout = rawStdout()
		if err := cmd.Run(); err != nil {
			return nil, err
		}
	}
	return sample(), exec.Command("sleep", "60").Start()
}

func closeStdout(context.Context, *skel.Request[conf]) (*types.Result, error) {
	return sample(), errors.Join(os.Stdout.Close(), os.Stdin.Close())
}

// bigSize is the size of a result beyond every pipe's buffer, in bytes.
const bigSize = 10 << 20

func big(context.Context, *skel.Request[conf]) (*types.Result, error) {
	result := sample()
	result.DNS.Domain = strings.Repeat("x", bigSize)
	return result, nil
}

// undo leaves a word on standard error when it is undone.
func undo(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
	r.Undo(func(context.Context) error {
		fmt.Fprintln(os.Stderr, "UNDONE")
		return nil
	})
	return sample(), nil
}

// wait tells that it began, and waits for the end of the request.
func wait(ctx context.Context, r *skel.Request[conf]) (*types.Result, error) {
	if _, err := undo(ctx, r); err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "BEGUN")
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// logByContext logs by the functions of slog, with and without a context.
func logByContext(ctx context.Context, _ *skel.Request[conf]) (*types.Result, error) {
	slog.InfoContext(ctx, "one")
	slog.Default().With("a", 1).WithGroup("g").With("b", 2).WarnContext(ctx, "two", "c", 3)
	slog.DebugContext(ctx, "low")
	slog.Info("three")
	return sample(), nil
}

// logByNobody logs what it should not by functions that know of no request.
func logByNobody(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
	log.Printf("log in with %s", r.Conf.Password)
	slog.Info("logged in", "conf", *r.Conf, "stdin", string(r.Stdin), "environ", r.Environ)
	return sample(), nil
}

// processors tells how many processors the goroutines have.
func processors(context.Context, *skel.Request[conf]) (*types.Result, error) {
	return nil, types.NewError(113, fmt.Sprintf("GOMAXPROCS is %d", runtime.GOMAXPROCS(0)), nil)
}

// early is a logger as libraries have them, which found os.Stderr before Main did.
var early = log.New(os.Stderr, "early ", 0)

// chatty logs more than a pipe holds, in every way.
func chatty(ctx context.Context, r *skel.Request[conf]) (*types.Result, error) {
	for range 100 {
		r.Log.Info(strings.Repeat("x", 4096))
		fmt.Println("stray print")
		fmt.Fprintln(os.Stderr, "stray error")
		early.Print("stray log")
	}
	return sample(), nil
}

// collect has the garbage collector take what it may, and then writes to the standard
// descriptors by hand.
func collect(context.Context, *skel.Request[conf]) (*types.Result, error) {
	for range 3 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // finalizers run on a goroutine of their own
	}
	for _, fd := range []uintptr{1, 2} {
		if _, err := fmt.Fprintf(os.NewFile(fd, "by hand"), "descriptor %d\n", fd); err != nil {
			return nil, fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	return sample(), nil
}
