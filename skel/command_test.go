// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// stdinFor returns a request that holds what the command needs.
func stdinFor(command, version string) string {
	return request(version, map[string]string{"CHECK": prevResult, "GC": attachments}[command])
}

// since are the versions that have a command, by the specification's table.
var since = map[string]string{"ADD": "0.1.0", "DEL": "0.1.0", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

// TestPlugin_Run_Cells goes through the specification's table of variables: each
// command with each of its variables good, unset, empty and malformed, in each
// version that has the command.
//
// PROTO-005, PROTO-009, PROTO-010, PROTO-011, PROTO-012, PROTO-014, PROTO-015,
// ERR-012, VER-010, AMB-034
func TestPlugin_Run_Cells(t *testing.T) {
	t.Parallel()
	const required, optional, unused = "required", "optional", "unused"
	tests := []struct{ command, containerID, netns, ifName string }{
		{"ADD", required, required, required},
		{"DEL", required, optional, required},
		{"CHECK", required, required, required},
		{"GC", unused, unused, unused},
		{"STATUS", unused, unused, unused},
	}
	states := []struct{ name, containerID, netns, ifName string }{
		{"good", "c2", "/some/netns", "eth1"},
		{"empty", "", "", ""},
		{"malformed", "../c", "/nul\x00", "eth/0"},
	}
	for _, tt := range tests {
		for _, version := range types.Versions() {
			if since[tt.command] > version.String() {
				continue
			}
			for _, state := range states {
				cells := []struct{ key, value, need string }{
					{"CNI_CONTAINERID", state.containerID, tt.containerID},
					{"CNI_NETNS", state.netns, tt.netns},
					{"CNI_IFNAME", state.ifName, tt.ifName},
				}
				for _, cell := range cells {
					wantOK := state.name == "good" || cell.need == unused || state.name == "empty" && cell.need == optional
					t.Run(strings.Join([]string{tt.command, version.String(), cell.key, state.name}, "/"), func(t *testing.T) {
						var r recorder
						got := run(t, r.plugin(), stdinFor(tt.command, version.String()), environ(tt.command, cell.key+"="+cell.value))
						if !wantOK {
							got.failure(t, types.ErrInvalidEnvironmentVariables, cell.key)
							if len(r.requests) != 0 {
								t.Error("the handler ran")
							}
							return
						}
						if got.exit != 0 {
							t.Fatalf("exit = %d, want 0: %s", got.exit, got.stdout)
						}
						if got := string(r.only(t).Command); got != tt.command {
							t.Errorf("Command = %s, want %s", got, tt.command)
						}
					})
				}
			}
		}
	}
}

// Unset and empty are the same. PROTO-014, PROTO-016
func TestPlugin_Run_MissingVariables(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"ADD", "CHECK"} {
		for _, env := range [][]string{
			{"CNI_COMMAND=" + command},
			{"CNI_COMMAND=" + command, "CNI_CONTAINERID=", "CNI_NETNS=", "CNI_IFNAME="},
		} {
			var r recorder
			run(t, r.plugin(), request("1.1.0", prevResult), env).
				failure(t, types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")
		}
	}
}

// All that is wrong is said at once, missing or malformed. PROTO-015, PROTO-016
func TestPlugin_Run_AllVariables(t *testing.T) {
	t.Parallel()
	var r recorder
	run(t, r.plugin(), request("1.1.0"), environ("ADD", "CNI_CONTAINERID=", "CNI_IFNAME=a/b")).
		failure(t, types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID", "CNI_IFNAME")
}

// Names of containers and interfaces. PROTO-020, PROTO-021, PROTO-022, PROTO-023,
// PROTO-024
func TestPlugin_Run_Names(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 300)
	tests := []struct {
		key, value string
		ok         bool
	}{
		{"CNI_CONTAINERID", "a", true},
		{"CNI_CONTAINERID", "A.b_c-9", true},
		{"CNI_CONTAINERID", long, true},
		{"CNI_CONTAINERID", "-a", false},
		{"CNI_CONTAINERID", ".a", false},
		{"CNI_CONTAINERID", "_a", false},
		{"CNI_CONTAINERID", "a/b", false},
		{"CNI_CONTAINERID", "../a", false},
		{"CNI_CONTAINERID", "a b", false},
		{"CNI_CONTAINERID", "é", false},
		{"CNI_CONTAINERID", "a\n", false},
		{"CNI_CONTAINERID", "a\x00", false},
		{"CNI_CONTAINERID", "\xff", false},
		{"CNI_IFNAME", "eth0", true},
		{"CNI_IFNAME", "fifteen-letters", true},
		{"CNI_IFNAME", "sixteen--letters", false},
		{"CNI_IFNAME", ".", false},
		{"CNI_IFNAME", "..", false},
		{"CNI_IFNAME", "a/b", false},
		{"CNI_IFNAME", "a:b", false},
		{"CNI_IFNAME", "a b", false},
		{"CNI_IFNAME", "a\tb", false},
		{"CNI_IFNAME", "eth%d", false},
		{"CNI_IFNAME", long, false},
	}
	for _, tt := range tests {
		var r recorder
		got := run(t, r.plugin(), request("1.1.0"), environ("ADD", tt.key+"="+tt.value))
		if tt.ok {
			if got.exit != 0 {
				t.Errorf("ADD with %s=%q: exit %d, want 0: %s", tt.key, tt.value, got.exit, got.stdout)
			}
			continue
		}
		got.failure(t, types.ErrInvalidEnvironmentVariables, tt.key)
	}
}

// PROTO-006, PROTO-007, PROTO-008, AMB-032
func TestPlugin_Run_UnknownCommand(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"", "add", "Add", " ADD", "ADD ", "FOO", "VERSIONS", "\xff"} {
		var r recorder
		got := run(t, r.plugin(), `garbage`, environ(command))
		got.failure(t, types.ErrInvalidEnvironmentVariables, "CNI_COMMAND")
		if hasHelp := strings.Contains(got.stderr, "CNI plugin"); hasHelp != (command == "") {
			t.Errorf("command %q: help on standard error = %v, want %v", command, hasHelp, command == "")
		}
	}
}

// PROTO-017, PROTO-027, ARG-001, ARG-005, ARG-006, ARG-008, ARG-011
func TestPlugin_Run_Args(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args string
		ok   bool
		want types.Args
	}{
		{"", true, types.Args{}},
		{"A=1", true, types.Args{"A": "1"}},
		{"IgnoreUnknown=1;K8S_POD_NAME=web-0.x:y/z,_;B=a=b;C=", true, types.Args{"IgnoreUnknown": "1", "K8S_POD_NAME": "web-0.x:y/z,_", "B": "a=b", "C": ""}},
		{"IP", false, nil},
		{"=x", false, nil},
		{"IgnoreUnknown=yes", false, nil},
	}
	for _, tt := range tests {
		for _, command := range []string{"ADD", "DEL", "CHECK"} {
			var r recorder
			got := run(t, r.plugin(), stdinFor(command, "1.1.0"), environ(command, "CNI_ARGS="+tt.args))
			if !tt.ok {
				got.failure(t, types.ErrInvalidEnvironmentVariables, "CNI_ARGS")
				continue
			}
			if got.exit != 0 {
				t.Fatalf("%s with CNI_ARGS=%s: %s", command, tt.args, got.stdout)
			}
			args := r.only(t).Args
			for key, want := range tt.want {
				if got, ok := args[key]; got != want || !ok {
					t.Errorf("Args[%s] = %q, %v, want %q", key, got, ok, want)
				}
			}
			if len(args) != len(tt.want) {
				t.Errorf("Args = %v, want %v", args, tt.want)
			}
		}
	}
}

// PROTO-018, PROTO-026, STA-018, AMB-033, AMB-042
func TestPlugin_Run_Path(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
		var r recorder
		got := run(t, r.plugin(), stdinFor(command, "1.1.0"), environ(command, "CNI_PATH="))
		if got.exit != 0 || len(r.only(t).Path) != 0 {
			t.Errorf("%s without CNI_PATH: exit %d, Path %q: %s", command, got.exit, r.requests[0].Path, got.stdout)
		}
	}
	var r recorder
	got := run(t, r.plugin(), request("1.1.0"), environ("ADD", "CNI_PATH=/a:relative::/b c:."))
	if path := r.only(t).Path; !slices.Equal(path, []string{"/a", "/b c"}) {
		t.Errorf("Path = %q, want /a and /b c", path)
	}
	if !strings.Contains(got.stderr, "relative") {
		t.Errorf("log = %s, want a warning that names the relative element", got.stderr)
	}
}

// Other variables mean nothing and reach a delegate. PROTO-042, PROTO-043, AMB-046
func TestPlugin_Run_OtherVariables(t *testing.T) {
	t.Parallel()
	var r recorder
	env := environ("ADD", "CNI_FUTURE=1", "CNI_VERSION=9.9", "TRACEPARENT=odd", "TRACESTATE=x=y", "BAGGAGE=b", "NOT A VARIABLE")
	run(t, r.plugin(), request("1.1.0"), env).result(t)
	if got := r.only(t).Environ; !slices.Equal(got, env) {
		t.Errorf("Environ = %q, want %q", got, env)
	}
}

// What reaches the handler is what the runtime said, byte for byte.
func TestPlugin_Run_Call(t *testing.T) {
	t.Parallel()
	var r recorder
	stdin := "\n\t" + request("1.0.0", `,"big":9007199254740993`) + "\n "
	run(t, r.plugin(), stdin, environ("ADD")).result(t)
	q := r.only(t)
	if string(q.Stdin) != stdin {
		t.Errorf("Stdin = %q, want %q", q.Stdin, stdin)
	}
	if q.CNIVersion != types.V100 || q.ContainerID != "c1" || q.Netns != "/no/such/netns" || q.IfName != "eth0" || q.Net.Name != "net1" {
		t.Errorf("Call = %+v", q.Call)
	}
}

// brokenReader returns its data and then an error.
type brokenReader struct {
	data io.Reader
	err  error
}

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.data.Read(p)
	if err == io.EOF { //nolint:errorlint // as io.Reader says
		err = b.err
	}
	return n, err
}

// PROTO-029, PROTO-030, ERR-013, ERR-014, ERR-015, CONF-001, CONF-002, CONF-008,
// CONF-009, CONF-010, CONF-044, VER-011, VER-009, ERR-008
func TestPlugin_Run_Stdin(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, stdin string
		code        types.Code
		want        string
	}{
		{"empty", "", types.ErrDecodingFailure, ""},
		{"truncated", request("1.1.0")[:20], types.ErrDecodingFailure, ""},
		{"array", `[]`, types.ErrDecodingFailure, ""},
		{"string", `"x"`, types.ErrDecodingFailure, ""},
		{"number", `42`, types.ErrDecodingFailure, ""},
		{"null", `null`, types.ErrDecodingFailure, ""},
		{"comment", `// x` + "\n" + request("1.1.0"), types.ErrDecodingFailure, ""},
		{"trailing comma", `{"cniVersion":"1.1.0","name":"a",}`, types.ErrDecodingFailure, ""},
		{"two documents", request("1.1.0") + request("1.1.0"), types.ErrDecodingFailure, ""},
		{"invalid UTF-8 in a name", "{\"cniVersion\":\"1.1.0\",\"name\":\"a\xff\"}", types.ErrDecodingFailure, "UTF-8"},
		{"deep nesting", strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), types.ErrDecodingFailure, ""},
		{"version is a number", `{"cniVersion":1.1,"name":"a"}`, types.ErrDecodingFailure, "cniVersion"},
		{"name is a number", `{"cniVersion":"1.1.0","name":7}`, types.ErrDecodingFailure, "name"},
		{"no name", `{"cniVersion":"1.1.0"}`, types.ErrInvalidNetworkConfig, "name"},
		{"empty name", `{"cniVersion":"1.1.0","name":""}`, types.ErrInvalidNetworkConfig, "name"},
		{"name is a path", `{"cniVersion":"1.1.0","name":"../x"}`, types.ErrInvalidNetworkConfig, "name"},
		{"name with a NUL", `{"cniVersion":"1.1.0","name":"a\u0000"}`, types.ErrInvalidNetworkConfig, "name"},
		{"the last of two names counts", `{"cniVersion":"1.1.0","name":"a","name":"../x"}`, types.ErrInvalidNetworkConfig, "name"},
		{"unknown version", request("99.0.0"), types.ErrIncompatibleCNIVersion, "99.0.0"},
		{"short version", request("1.1"), types.ErrIncompatibleCNIVersion, "1.1"},
		{"v in front", request("v1.1.0"), types.ErrIncompatibleCNIVersion, "v1.1.0"},
		{"pre-release", request("1.1.0-rc1"), types.ErrIncompatibleCNIVersion, "1.1.0-rc1"},
		{"white space", request(" 1.1.0"), types.ErrIncompatibleCNIVersion, " 1.1.0"},
		{"wrong type of a member", request("1.1.0", `,"count":"many"`), types.ErrDecodingFailure, "count"},
		{"wrong value", request("1.1.0", `,"count":-1`), types.ErrInvalidNetworkConfig, "count"},
		{"type is a path", `{"cniVersion":"1.1.0","name":"a","type":"../x"}`, types.ErrInvalidNetworkConfig, "type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var r recorder
			run(t, r.plugin(), tt.stdin, environ("ADD")).failure(t, tt.code, tt.want)
			if len(r.requests) != 0 {
				t.Error("the handler ran")
			}
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		t.Parallel()
		var r recorder
		for _, stdin := range []io.Reader{nil, brokenReader{strings.NewReader(request("1.1.0")), errors.New("is a directory")}} {
			e := runEnv(t.Context(), r.plugin(), skel.Env{Environ: environ("ADD"), Stdin: stdin}).
				failure(t, types.ErrIOFailure, "standard input")
			if stdin != nil && !strings.Contains(e.Error(), "is a directory") {
				t.Errorf("error = %v, want the cause in it", e)
			}
		}
	})
	t.Run("huge", func(t *testing.T) {
		t.Parallel()
		var r recorder
		big := func(size int) io.Reader {
			return io.MultiReader(strings.NewReader(`{"cniVersion":"1.1.0","name":"a","x":"`), bytes.NewReader(bytes.Repeat([]byte("x"), size)), strings.NewReader(`"}`))
		}
		runEnv(t.Context(), r.plugin(), skel.Env{Environ: environ("ADD"), Stdin: big(100 << 20)}).failure(t, types.ErrIOFailure, "32 MiB")
		runEnv(t.Context(), r.plugin(), skel.Env{Environ: environ("ADD"), Stdin: big(16 << 20)}).result(t)
	})
}

// Names match ignoring case, and what nobody knows is no error. CONF-031, CONF-045
func TestPlugin_Run_LooseMembers(t *testing.T) {
	t.Parallel()
	var r recorder
	run(t, r.plugin(), `{"CNIVERSION":"1.0.0","Name":"net1","GREETING":"hi","x-cnitest":{"a":[1]}}`, environ("ADD")).result(t)
	if q := r.only(t); q.CNIVersion != types.V100 || q.Net.Name != "net1" || q.Conf.Greeting != "hi" {
		t.Errorf("request = %v, %s, %+v", q.CNIVersion, q.Net.Name, q.Conf)
	}
}

// CONF-031, CONF-032, ERR-009
func TestPlugin_Run_Strict(t *testing.T) {
	t.Parallel()
	var r recorder
	p := r.plugin()
	p.Strict = true
	stdin := request("1.1.0", `,"greetin":"hi"`)
	run(t, p, stdin, environ("ADD")).failure(t, types.ErrUnsupportedField, "greetin", "hi")
	run(t, p, request("1.1.0", `,"greeting":"hi","ipam":{"type":"x"}`), environ("ADD")).result(t)
	run(t, p, stdin, environ("DEL")).silent(t) // cleaning up is not the time to be strict
}

// A version is judged before any work, by the plugin's own list. ADD-005, DEL-027,
// VER-009, VER-010, VER-013, VER-014, VER-015, AMB-005, AMB-013, AMB-076, STA-017
func TestPlugin_Run_Versions(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
		for _, version := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "1.2.0", "99.0.0"} {
			var r recorder
			p := r.plugin()
			p.Versions = []types.Version{types.V010, types.V031, types.V040, types.V100, types.V110}
			got := run(t, p, stdinFor(command, version), environ(command))
			listed := slices.Contains([]string{"0.1.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}, version)
			if listed && version >= since[command] {
				if got.exit != 0 {
					t.Errorf("%s in %s: %s", command, version, got.stdout)
				}
				continue
			}
			e := got.failure(t, types.ErrIncompatibleCNIVersion, version)
			if len(r.requests) != 0 {
				t.Errorf("%s in %s: the handler ran", command, version)
			}
			want := "1.1.0"
			if listed {
				want = version
			}
			if e.CNIVersion.String() != want {
				t.Errorf("%s in %s: cniVersion of the error = %s, want %s", command, version, e.CNIVersion, want)
			}
		}
	}
	for _, stdin := range []string{`{"name":"a"}`, `{"cniVersion":"","name":"a"}`} {
		var r recorder
		got := run(t, r.plugin(), stdin, environ("ADD"))
		got.result(t)
		if r.only(t).CNIVersion != types.V010 || !strings.Contains(got.stdout, `"ip4"`) {
			t.Errorf("ADD of %s: version %s, result %s, want those of 0.1.0", stdin, r.requests[0].CNIVersion, got.stdout)
		}
	}
}

// Each version gets its own result. VER-012, PROTO-031, ADD-002, AMB-050, AMB-081
func TestPlugin_Run_ResultVersion(t *testing.T) {
	t.Parallel()
	for _, version := range types.Versions() {
		var r recorder
		got := run(t, r.plugin(), request(version.String()), environ("ADD"))
		got.result(t)
		if !strings.HasPrefix(got.stdout, `{"cniVersion":"`+version.String()+`"`) || strings.Contains(got.stdout, `"ip4"`) != (version < types.V030) {
			t.Errorf("result in %s = %s", version, got.stdout)
		}
	}
}

// Success has one form for each command. PROTO-032, PROTO-050, DEL-017, GC-017,
// STA-011, CHK-001, STA-014, GC-027, GC-010, STA-001, AMB-051, DEL-011, GC-023
func TestPlugin_Run_Silent(t *testing.T) {
	t.Parallel()
	p := skel.Plugin[conf]{
		Name: "nothing",
		Add: func(context.Context, *skel.Request[conf]) (*types.Result, error) {
			return sample(), nil
		},
		Del:    skel.NothingToDo[conf],
		Check:  skel.NothingToDo[conf],
		GC:     skel.NothingToDo[conf],
		Status: skel.NothingToDo[conf],
	}
	for _, command := range []string{"DEL", "CHECK", "GC", "STATUS"} {
		run(t, p, stdinFor(command, "1.1.0"), environ(command)).silent(t)
	}
	run(t, p, request("1.1.0"), environ("ADD")).result(t)
}

// A command that nobody thought of is an error of the author. VER-001, AMB-062
func TestPlugin_Run_Incomplete(t *testing.T) {
	t.Parallel()
	var r recorder
	p := r.plugin()
	p.Check, p.GC = nil, nil
	for _, command := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
		run(t, p, stdinFor(command, "1.1.0"), environ(command)).failure(t, types.ErrInternal, "CHECK, GC", "NothingToDo")
	}
	p.Versions = []types.Version{types.V020, types.V031}
	run(t, p, request("0.3.1"), environ("ADD")).result(t)
	run(t, p, request("1.1.0"), environ("GC")).failure(t, types.ErrIncompatibleCNIVersion)
	if len(r.requests) != 1 {
		t.Errorf("handlers ran = %d, want 1", len(r.requests))
	}
	p.Add = nil
	run(t, p, request("0.3.1"), environ("DEL")).failure(t, types.ErrInternal, "ADD")
}

// A flood gives zeros, and counts them; it ends beyond all that is to be read.
type flood struct{ given int }

func (e *flood) Read(p []byte) (int, error) {
	const most = 64 << 20
	if e.given >= most {
		return 0, io.EOF
	}
	clear(p)
	e.given += len(p)
	return len(p), nil
}

// A runtime that never stops writing does not get all memory of the node. PROTO-029
func TestPlugin_Run_EndlessStdin(t *testing.T) {
	t.Parallel()
	var r recorder
	var stdin flood
	got := runEnv(t.Context(), r.plugin(), skel.Env{Environ: environ("ADD"), Stdin: &stdin})
	got.failure(t, types.ErrIOFailure, "more than 32 MiB")
	if most := 40 << 20; stdin.given > most {
		t.Errorf("%d bytes were read, want at most %d", stdin.given, most)
	}
}
