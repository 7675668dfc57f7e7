// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// faults are what can be wrong with a request, in the order in which they are looked
// for. Its order is that of PROTO-048.
var faults = []struct {
	name string
	code types.Code
	want string
}{
	{"command", types.ErrInvalidEnvironmentVariables, "CNI_COMMAND"},
	{"environment", types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID"},
	{"stdin", types.ErrIOFailure, "standard input"},
	{"JSON", types.ErrDecodingFailure, ""},
	{"name", types.ErrInvalidNetworkConfig, "name"},
	{"version", types.ErrIncompatibleCNIVersion, "99.0.0"},
	{"own namespace", types.ErrInvalidEnvironmentVariables, "CNI_NETNS"},
	{"callback", types.ErrInternal, "callback"},
}

// faulty returns a request with the faults of that position, and the error of the
// handler.
func faulty(has func(fault string) bool) (skel.Env, error) {
	env := environ("ADD")
	if has("command") {
		env = append(env, "CNI_COMMAND=FOO")
	}
	if has("environment") {
		env = append(env, "CNI_CONTAINERID=-")
	}
	if has("own namespace") {
		env = append(env, "CNI_NETNS=/proc/thread-self/ns/net")
	}
	version, name, end := "1.1.0", `,"name":"a"`, "}"
	if has("version") {
		version = "99.0.0"
	}
	if has("name") {
		name = ""
	}
	if has("JSON") {
		end = ""
	}
	var stdin io.Reader = strings.NewReader(`{"cniVersion":"` + version + `"` + name + end)
	if has("stdin") {
		stdin = brokenReader{stdin, errors.New("is a directory")}
	}
	var err error
	if has("callback") {
		err = errors.New("callback")
	}
	return skel.Env{Environ: env, Stdin: stdin}, err
}

// Of two faults the earlier one decides, alone or with several plugins in one
// executable. PROTO-008, PROTO-045, PROTO-048, ERR-021
func TestPlugin_Run_Order(t *testing.T) {
	t.Parallel()
	for i, first := range faults {
		for _, second := range faults[i:] {
			t.Run(first.name+" and "+second.name, func(t *testing.T) {
				t.Parallel()
				both := func(fault string) bool { return fault == first.name || fault == second.name }
				for _, many := range []bool{false, true} {
					env, err := faulty(both)
					var r recorder
					p := r.plugin()
					p.Add = func(context.Context, *skel.Request[conf]) (*types.Result, error) { return nil, err }
					var runner skel.Runner = p
					if many {
						other := r.plugin()
						other.Name = "other"
						runner = executable{nil, "/opt/cni/bin/unknown", []skel.Runner{p, other}}
					}
					got := runEnv(t.Context(), runner, env)
					if many && first.name == "callback" {
						// Without a type there is no plugin: that is found out last.
						got.failure(t, types.ErrInvalidNetworkConfig, "type")
						continue
					}
					got.failure(t, first.code, first.want)
				}
			})
		}
	}
}
