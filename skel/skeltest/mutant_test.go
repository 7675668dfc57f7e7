// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// A request is what a mutant gets, to be spoiled on its way to a good plugin.
type request struct {
	env    map[string]string
	stdin  []byte
	plugin func(context.Context, skel.Env) int
	stderr io.Writer
}

// command is CNI_COMMAND.
func (r *request) command() string { return r.env["CNI_COMMAND"] }

// conf returns the configuration, and nil if it is none.
func (r *request) conf() map[string]any {
	var conf map[string]any
	decoder := json.NewDecoder(bytes.NewReader(r.stdin))
	decoder.UseNumber()
	if decoder.Decode(&conf) != nil {
		return nil
	}
	return conf
}

// edit changes the configuration, if there is one.
func (r *request) edit(f func(conf map[string]any)) {
	if conf := r.conf(); conf != nil && json.Valid(r.stdin) {
		f(conf)
		if data, err := json.Marshal(conf); err == nil {
			r.stdin = data
		}
	}
}

// good lets the good plugin answer.
func (r *request) good() (stdout string, exit int) {
	var out bytes.Buffer
	env := skel.Env{Stdin: bytes.NewReader(r.stdin), Stdout: &out, Stderr: r.stderr}
	if r.stdin == nil {
		env.Stdin = unreadable{}
	}
	for _, key := range slices.Sorted(maps.Keys(r.env)) {
		env.Environ = append(env.Environ, key+"="+r.env[key])
	}
	exit = r.plugin(context.Background(), env)
	return out.String(), exit
}

type unreadable struct{}

type unwritable struct{}

func (unwritable) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func (unreadable) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// object changes the object that the good plugin prints.
func object(stdout string, f func(o map[string]any)) string {
	var o map[string]any
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.UseNumber()
	if decoder.Decode(&o) != nil {
		return stdout
	}
	f(o)
	data, err := json.Marshal(o)
	if err != nil {
		return stdout
	}
	return string(data)
}

// onError changes the error objects of the good plugin.
func onError(f func(o map[string]any)) func(*request) (string, int) {
	return func(r *request) (string, int) {
		stdout, exit := r.good()
		if exit != 0 {
			stdout = object(stdout, f)
		}
		return stdout, exit
	}
}

// onResult changes the results of ADD.
func onResult(f func(o map[string]any)) func(*request) (string, int) {
	return func(r *request) (string, int) {
		stdout, exit := r.good()
		if exit == 0 && r.command() == "ADD" {
			stdout = object(stdout, f)
		}
		return stdout, exit
	}
}

// onResultText changes what ADD prints when it succeeds.
func onResultText(f func(string) string) func(*request) (string, int) {
	return func(r *request) (string, int) {
		stdout, exit := r.good()
		if exit == 0 && r.command() == "ADD" {
			stdout = f(stdout)
		}
		return stdout, exit
	}
}

// on is a mutant that differs for one command.
func on(command string, f func(*request) (string, int)) func(*request) (string, int) {
	return func(r *request) (string, int) {
		if r.command() == command {
			return f(r)
		}
		return r.good()
	}
}

// before changes the request.
func before(f func(*request)) func(*request) (string, int) {
	return func(r *request) (string, int) {
		f(r)
		return r.good()
	}
}

func says(stdout string, exit int) func(*request) (string, int) {
	return func(*request) (string, int) { return stdout, exit }
}

func fails(code int, msg string) (string, int) {
	return fmt.Sprintf(`{"cniVersion":"1.1.0","code":%d,"msg":%q}`, code, msg), 1
}

func first(o map[string]any, key string) map[string]any {
	all, _ := o[key].([]any)
	if len(all) == 0 {
		return map[string]any{}
	}
	entry, _ := all[0].(map[string]any)
	return entry
}

// A mutant is a plugin that is good but for one thing.
type mutant struct {
	name  string
	spoil func(*request) (string, int)
	// deaf says that it does not hear that its output is lost.
	deaf bool
	// versions are those to examine; the newest if empty.
	versions []types.Version
	// only are the rules to examine; all if empty.
	only string
	// not are rules to leave out, because chance decides whether they show the flaw.
	not string
	// timeout is that of the profile, in seconds.
	timeout int
	// base is the good plugin of one that runs as a process; bridge if empty. config is
	// its configuration, if it is not the usual one.
	base, config string
}

// runMutant plays a mutant.
func runMutant(m mutant, plugin func(context.Context, skel.Env) int, env skel.Env) int {
	r := &request{env: map[string]string{}, plugin: plugin, stderr: env.Stderr}
	for _, pair := range env.Environ {
		key, value, _ := strings.Cut(pair, "=")
		r.env[key] = value
	}
	if env.Stdin != nil && r.command() != "VERSION" {
		if data, err := io.ReadAll(env.Stdin); err == nil {
			r.stdin = append([]byte{}, data...)
		}
	} else if env.Stdin != nil {
		// As much as a VERSION request has, which may be kept open.
		buffer := make([]byte, 1<<16)
		if n, err := env.Stdin.Read(buffer); err == nil || err == io.EOF {
			r.stdin = append([]byte{}, buffer[:n]...)
		}
	}
	if m.spoil == nil {
		m.spoil = func(r *request) (string, int) { return r.good() }
	}
	stdout, exit := m.spoil(r)
	if env.Stdout == nil {
		env.Stdout = unwritable{}
	}
	if _, err := io.WriteString(env.Stdout, stdout); err != nil && !m.deaf {
		return 1
	}
	return exit
}

// withCode changes the code of the errors whose text matches.
func withCode(text string, code int) func(*request) (string, int) {
	pattern := regexp.MustCompile(text)
	return onError(func(o map[string]any) {
		if pattern.MatchString(fmt.Sprint(o["msg"], o["details"], o["code"])) {
			o["code"] = code
		}
	})
}

// accepts is a mutant that answers as if nothing were wrong where the good plugin
// gives this code and the text matches.
func accepts(code int, text string) func(*request) (string, int) {
	pattern := regexp.MustCompile(text)
	return func(r *request) (string, int) {
		stdout, exit := r.good()
		got := 0
		matches := false
		object(stdout, func(o map[string]any) {
			_, _ = fmt.Sscan(fmt.Sprint(o["code"]), &got)
			matches = pattern.MatchString(fmt.Sprint(o["msg"]))
		})
		if exit == 0 || got != code || !matches {
			return stdout, exit
		}
		if r.command() == "ADD" {
			return `{"cniVersion":"1.1.0"}`, 0
		}
		return "", 0
	}
}
