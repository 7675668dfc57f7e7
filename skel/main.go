// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cnikit/cnikit/types"
)

// Main runs a plugin as the process: it executes one command and ends the process
// with its exit status. It does not return.
//
// Given several plugins, Main is the main of an executable that holds them all.
// The name that the executable was called by, without directory and ".exe",
// selects one, or else the type of the configuration. A plugin that delegates to
// another one of the same executable reaches it without a new process; see
// types.Call.
//
// Before the handler runs, descriptor 1 is made to be standard error, and stays
// so. os.Stdout and os.Stderr both write there, by a descriptor above 2, and return an
// error where nobody reads any more: the plugin does not die of SIGPIPE. SIGTERM and
// SIGINT cancel the request.
//
// For ADD, CHECK and STATUS goroutines share one processor, unless the variable GOMAXPROCS
// says otherwise: a plugin lives for some milliseconds, and would spend the more on waking
// threads that find nothing to do. That is so in any process that imports this package and has
// been given CNI_COMMAND, since it is cheap only before other packages are initialized. A handler
// that has work for several sets [runtime.GOMAXPROCS]. DEL and GC remove several things, for
// each of which the kernel makes them wait, so they have what the machine has. The line
// "godebug updatemaxprocs=0" in the go.mod of a plugin saves it from looking for processors that
// were added since it began.
//
// Spec: checklist PROTO-034, PROTO-049.
func Main(plugins ...Runner) {
	env := processEnv()
	ctx := context.Background()
	var standard []os.File
	if env.getenv(envCommand) != string(types.CommandVersion) {
		// VERSION neither logs nor has anything to undo, and runtimes ask it often.
		standard = outlivePipe()
		env.secrets = &atomic.Pointer[types.Call]{}
		env.secrets.Store(&types.Call{Environ: env.Environ})
		// Records that name no request, as those of slog.Info and of package log, are of the
		// only one that there is.
		redact := func(text string) string { return env.secrets.Load().Redact(text) }
		slog.SetDefault(slog.New(&contextHandler{fallback: slog.NewTextHandler(redactor{redact, env.stderr()}, nil)}))
		ctx = untilSignal(ctx)
	}
	exit := runOneOf(ctx, env, os.Args[0], plugins)
	runtime.KeepAlive(standard)
	os.Exit(exit)
}

// untilSignal returns a context that ends with the first signal to stop.
func untilSignal(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		s := <-signals
		cancel(fmt.Errorf("signal %s: %w", s, types.ErrTryAgainLater))
	}()
	return ctx
}

// runOneOf runs the plugin that the name of the executable or the configuration
// selects.
func runOneOf(ctx context.Context, env Env, argv0 string, plugins []Runner) (exit int) {
	env.Local = Local(plugins...)
	p, env := choose(ctx, env, argv0, plugins)
	return p.run(ctx, env)
}

// choose returns the plugin to run. If it had to read standard input for that, the
// Env it returns has the same input once more.
func choose(ctx context.Context, env Env, argv0 string, plugins []Runner) (*program, Env) {
	if p := find(plugins, baseName(argv0)); p != nil {
		return p.program(), env
	}
	if _, err := findCommand(env.getenv(envCommand)); err != nil && len(plugins) > 0 {
		// VERSION, for which all plugins are alike, or an error that any of them
		// reports.
		return plugins[0].program(), env
	}
	stdin, err := env.readStdin(ctx)
	env.Stdin = bytes.NewReader(stdin)
	if err != nil {
		env.Stdin = brokenInput{err}
	}
	// What is wrong with the configuration is reported by the program.
	kind := ""
	if net, err := types.ParsePluginConfig(stdin); err == nil {
		kind = net.Type
	}
	if p := find(plugins, kind); p != nil {
		return p.program(), env
	}
	return noPlugin(baseName(argv0), kind, plugins), env
}

// noPlugin returns a program that reports all that a plugin would, and then that
// there is none of that type.
func noPlugin(name, kind string, plugins []Runner) *program {
	return &program{
		name:     name,
		versions: types.Versions(),
		lacks:    func(types.Command) bool { return false },
		prepare: func(command, *request) (job, error) {
			return job{}, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("type: %q is no plugin of this executable, which has %s", kind, names(plugins)), nil)
		},
	}
}

func baseName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".exe") }

// find returns the plugin of that name, or the only one there is.
func find(plugins []Runner, name string) Runner {
	if len(plugins) == 1 {
		return plugins[0]
	}
	for _, p := range plugins {
		if p.program().name == name {
			return p
		}
	}
	return nil
}

func names(plugins []Runner) string {
	var all []string
	for _, p := range plugins {
		all = append(all, p.program().name)
	}
	return strings.Join(all, ", ")
}

// Local returns what Env.Local holds in an executable with these plugins: a
// function that finds one of them by its name and runs it inside the running
// process. Main sets it; a runtime in a test may, too.
func Local(plugins ...Runner) func(plugin string) types.LocalPlugin {
	return func(name string) types.LocalPlugin {
		for _, p := range plugins {
			if p.program().name == name {
				return func(ctx context.Context, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
					return p.Run(ctx, Env{Environ: environ, Stdin: stdin, Stdout: stdout, Stderr: stderr, Local: Local(plugins...)})
				}
			}
		}
		return nil
	}
}
