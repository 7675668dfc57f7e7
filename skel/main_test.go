// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// named returns a plugin whose answer names it.
func named(name string) skel.Plugin[conf] {
	p := adder(func(context.Context, *skel.Request[conf]) (*types.Result, error) {
		return nil, types.NewError(111, "I am "+name, nil)
	})
	p.Name = name
	p.About = "says its name"
	return p
}

// An executable is a process of plugins that is called by a name.
type executable struct {
	skel.Runner // never called; only a Plugin is a Runner
	argv0       string
	plugins     []skel.Runner
}

func (e executable) Run(ctx context.Context, env skel.Env) int {
	return skel.RunOneOf(ctx, env, e.argv0, e.plugins...)
}

// The name of the executable selects the plugin, or else the type.
func TestMain_Choose(t *testing.T) {
	t.Parallel()
	tests := []struct {
		argv0, kind string
		want        string
	}{
		{"/opt/cni/bin/one", "two", "I am one"},
		{"two.exe", "one", "I am two"},
		{"two", "", "I am two"},
		{"/opt/cni/bin/many", "two", "I am two"},
		{"many", "three", `type: "three" is no plugin of this executable, which has one, two`},
		{"many", "", `type: "" is no plugin of this executable, which has one, two`},
		{"", "one", "I am one"},
	}
	for _, tt := range tests {
		stdin := `{"cniVersion":"1.1.0","name":"net1","type":"` + tt.kind + `"}`
		many := executable{nil, tt.argv0, []skel.Runner{named("one"), named("two")}}
		got := run(t, many, stdin, environ("ADD"))
		code := types.Code(111)
		if strings.HasPrefix(tt.want, "type") {
			code = types.ErrInvalidNetworkConfig
		}
		if e := got.failure(t, code); e.Msg != tt.want {
			t.Errorf("%q with type %q: %q, want %q", tt.argv0, tt.kind, e.Msg, tt.want)
		}
		if exit := run(t, many, "", []string{"CNI_COMMAND=VERSION"}).exit; exit != 0 {
			t.Errorf("VERSION of %q: exit %d, want 0", tt.argv0, exit)
		}
	}
	one := executable{nil, "other", []skel.Runner{named("one")}}
	run(t, one, request("1.1.0"), environ("ADD")).failure(t, 111, "I am one")
	none := executable{nil, "other", nil}
	run(t, none, request("1.1.0"), environ("ADD")).failure(t, types.ErrInvalidNetworkConfig)
	run(t, none, "", nil).failure(t, types.ErrInvalidEnvironmentVariables)
}

// What cannot be read reads the same to the plugin. PROTO-030
func TestMain_Choose_BrokenStdin(t *testing.T) {
	t.Parallel()
	many := executable{nil, "many", []skel.Runner{named("one"), named("two")}}
	e := runEnv(t.Context(), many, skel.Env{Environ: environ("ADD"), Stdin: brokenReader{strings.NewReader(""), errors.New("is a directory")}}).
		failure(t, types.ErrIOFailure, "is a directory")
	if strings.Count(e.Error(), "read standard input") != 1 {
		t.Errorf("error = %q, want the operation once", e.Error())
	}
	run(t, many, "garbage", environ("ADD")).failure(t, types.ErrDecodingFailure)
}

func TestMain_Help(t *testing.T) {
	t.Parallel()
	got := run(t, named("one"), "", nil)
	got.failure(t, types.ErrInvalidEnvironmentVariables, "CNI_COMMAND")
	for _, want := range []string{"one: says its name\n", "0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0", "CNI_COMMAND=VERSION one"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("help = %s, want %q in it", got.stderr, want)
		}
	}
}

// A plugin reaches another one of its executable as it would an executable.
func TestLocal(t *testing.T) {
	t.Parallel()
	find := skel.Local(named("one"), named("two"))
	if find("three") != nil {
		t.Error("Local has a plugin three, want none")
	}
	var stdout, stderr bytes.Buffer
	exit := find("two")(t.Context(), environ("ADD"), strings.NewReader(request("1.1.0")), &stdout, &stderr)
	answer{exit, stdout.String(), stderr.String()}.failure(t, 111, "I am two")
}

// A handler in an executable of many can call the others; one that is alone cannot.
func TestRequest_Local(t *testing.T) {
	t.Parallel()
	outer := named("outer")
	outer.Add = func(ctx context.Context, r *skel.Request[conf]) (*types.Result, error) {
		var stdout bytes.Buffer
		if exit := r.Local("inner")(ctx, r.Environ, bytes.NewReader(r.Stdin), &stdout, io.Discard); exit != 1 {
			return nil, fmt.Errorf("inner: exit %d", exit)
		}
		e, err := types.DecodeError(stdout.Bytes())
		return nil, errors.Join(err, e)
	}
	middle := named("inner")
	middle.Add = func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
		names := slices.DeleteFunc([]string{"outer", "inner", "other"}, func(name string) bool { return r.Local(name) == nil })
		return nil, types.NewError(112, "I see "+strings.Join(names, ", "), nil)
	}
	run(t, executable{nil, "outer", []skel.Runner{outer, middle}}, request("1.1.0"), environ("ADD")).failure(t, 112, "I see outer, inner")
}
