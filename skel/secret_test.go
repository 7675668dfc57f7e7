// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// planted is what must not show up.
const planted = "hunter2-hunter2"

// Whatever a handler says, the answer keeps the secrets of the request. ERR-025
func TestPlugin_Run_HandlerSaysSecrets(t *testing.T) {
	t.Parallel()
	fail := func(q *skel.Request[conf], how string) error {
		said := errors.New("log in with " + q.Conf.Password)
		switch how {
		case "plain":
			return said
		case "message":
			return types.NewError(types.ErrTryAgainLater, said.Error(), nil)
		case "details":
			return &types.Error{Msg: "no", Details: said.Error()}
		case "cause":
			return types.NewError(types.ErrInternal, "no", said)
		case "wrapped":
			return fmt.Errorf("%w: %w", said, types.NewError(types.ErrTryAgainLater, "no", said))
		case "long":
			return errors.New(strings.Repeat("é", 1<<20) + q.Conf.Password)
		case "cut":
			return errors.New(strings.Repeat("x", 16<<10-8) + q.Conf.Password)
		}
		panic(said)
	}
	for _, how := range []string{"plain", "message", "details", "cause", "wrapped", "long", "cut", "panic"} {
		for _, command := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
			var r recorder
			p := r.plugin()
			all := func(_ context.Context, q *skel.Request[conf]) error { return fail(q, how) }
			p.Add = func(_ context.Context, q *skel.Request[conf]) (*types.Result, error) { return nil, fail(q, how) }
			p.Del, p.Check, p.GC, p.Status = all, all, all, all
			got := run(t, p, request("1.1.0", `,"password":"`+planted+`"`, attachments, prevResult), environ(command))
			if err := got.cleanError(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(got.stdout, planted[:7]) || len(got.stdout) > 64<<10 {
				t.Errorf("%s %s = %d bytes: %.400s; want a bounded answer without the secret", command, how, len(got.stdout), got.stdout)
			}
			if how != "long" && how != "cut" && !strings.Contains(got.stdout, "(not shown)") {
				t.Errorf("%s %s = %s, want a hint at what is not shown", command, how, got.stdout)
			}
		}
	}
}

// Whatever a handler logs, the log keeps the secrets of the request, be it in a message,
// in an attribute, quoted or in a file; and all else stays. ERR-025
func TestPlugin_Run_HandlerLogsSecrets(t *testing.T) {
	t.Parallel()
	const odd = `hunter2 "é" \ hunter2`
	for _, asJSON := range []bool{false, true} {
		for _, file := range []string{"", filepath.Join(t.TempDir(), "log")} {
			var r recorder
			p := r.plugin()
			p.Log = func(*conf) skel.LogOptions { return skel.LogOptions{JSON: asJSON, File: file} }
			p.Del = func(ctx context.Context, q *skel.Request[conf]) error {
				q.Log.Info("log in with "+q.Conf.Password, "password", q.Conf.Password, "cause", errors.New(q.Conf.Password))
				q.Log.With("conf", *q.Conf).WithGroup("g").Warn("the end", "stdin", q.Stdin, "environ", q.Environ)
				return nil
			}
			quoted, err := json.Marshal(odd)
			if err != nil {
				t.Fatal(err)
			}
			for secret, member := range map[string]string{planted: `"` + planted + `"`, odd: string(quoted)} {
				got := run(t, p, request("1.1.0", `,"password":`+member), environ("DEL", "API_TOKEN="+planted))
				got.silent(t)
				log := got.stderr
				if file != "" {
					text, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					log = string(text)
				}
				if strings.Contains(log, "hunter2") {
					t.Errorf("JSON %t, file %q, secret %s: log = %s; want it without the secret", asJSON, file, secret, log)
				}
				for _, want := range []string{"log in with (not shown)", "the end", "command", "DEL"} {
					if !strings.Contains(log, want) {
						t.Errorf("JSON %t, file %q: log = %s; want %q in it", asJSON, file, log, want)
					}
				}
			}
		}
	}
}

// The stack of a panic is for standard error, and its value may be a secret. ERR-025
func TestPlugin_Run_PanicSaysSecrets(t *testing.T) {
	t.Parallel()
	var r recorder
	p := r.plugin()
	p.Del = func(_ context.Context, q *skel.Request[conf]) error { panic("log in with " + q.Conf.Password) }
	got := run(t, p, request("1.1.0", `,"password":"`+planted+`"`), environ("DEL"))
	if strings.Contains(got.stderr, planted) || !strings.Contains(got.stderr, "log in with (not shown)") || !strings.Contains(got.stderr, "goroutine") {
		t.Errorf("standard error = %s; want the panic with its stack, and without the secret", got.stderr)
	}
}

// What is wrong with the environment is named, and of whatever size it is the answer
// is not. PROTO-018, PROTO-020, PROTO-021, PROTO-023
func TestPlugin_Run_HugeEnvironment(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("/x", 50_000)
	for _, variable := range []string{"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"} {
		var r recorder
		p := r.plugin()
		p.NeedsNetns = true
		got := run(t, p, request("1.1.0"), environ("ADD", variable+"="+huge))
		got.failure(t, types.ErrInvalidEnvironmentVariables, variable)
		if len(got.stdout) > 1000 || len(got.stderr) > 1000 {
			t.Errorf("%s: %d bytes of answer and %d of log, want few", variable, len(got.stdout), len(got.stderr))
		}
	}
}

// Elements of CNI_PATH that say nothing about plugins make one record, however many;
// a directory that anybody may write to makes one too, and is searched. PROTO-026,
// AMB-042
func TestPlugin_Run_HostilePath(t *testing.T) {
	t.Parallel()
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	var r recorder
	got := run(t, r.plugin(), request("1.1.0"), environ("ADD", "CNI_PATH="+strings.Repeat(":", 1000)+"bin:./bin:..:"+open))
	if got.exit != 0 || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, "elements=1003") {
		t.Errorf("exit = %d, log = %s; want one record", got.exit, got.stderr)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	got = run(t, r.plugin(), request("1.1.0"), environ("ADD", "CNI_PATH="+open))
	if info, err := os.Stat(open); err == nil && info.Mode()&0o002 != 0 && (strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, open)) {
		t.Errorf("log = %s, want one record with the directory", got.stderr)
	}
	if path := r.requests[1].Path; len(path) != 1 || path[0] != open {
		t.Errorf("Path = %q, want the directory", path)
	}
}
