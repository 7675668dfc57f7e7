// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// play makes the process a plugin when a runtime runs it.
func play() {
	if os.Getenv("CNI_COMMAND") != "" {
		skel.Main(adder("exec-a", nil))
	}
}

type conf struct {
	Fail string `json:"fail"`
}

// adder is a plugin that adds an interface of its own name to the result. It fails
// for the command that the configuration names, or that fail holds.
func adder(name string, fail *atomic.Value) skel.Plugin[conf] {
	check := func(r *skel.Request[conf]) error {
		command := string(r.Command)
		if r.Conf.Fail == command || fail != nil && fail.Load() == command {
			return types.NewError(types.ErrTryAgainLater, name+" is told to fail", nil)
		}
		return nil
	}
	handler := func(_ context.Context, r *skel.Request[conf]) error { return check(r) }
	return skel.Plugin[conf]{
		Name: name,
		Add: func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
			result := r.PrevResult.Clone()
			result.AddInterface(types.Interface{Name: name})
			return result, check(r)
		},
		Del: handler, Check: handler, GC: handler, Status: handler,
	}
}

func network(t *testing.T, text string) *types.Network {
	t.Helper()
	n, err := types.ParseNetwork([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// abc is a runtime with three plugins, and a network of them.
func abc(t *testing.T, version string) (*skeltest.Runtime, *types.Network) {
	t.Helper()
	r := &skeltest.Runtime{Plugins: []skel.Runner{adder("a", nil), adder("b", nil), adder("c", nil)}, Path: []string{"/nowhere"}}
	return r, network(t, `{"cniVersion":"`+version+`","name":"net","plugins":[{"type":"a"},{"type":"b","capabilities":{"mac":true,"ips":false}},{"type":"c"}]}`)
}

var c1 = skeltest.Attachment{ContainerID: "c1", Netns: "/ns", IfName: "eth0"}

// log returns what was executed, as "ADD a".
func log(r *skeltest.Runtime) []string {
	var all []string
	for _, e := range r.Executions() {
		all = append(all, string(e.Command)+" "+e.Plugin)
	}
	return all
}

func names(r *types.Result) []string {
	var all []string
	for _, i := range r.Interfaces {
		all = append(all, i.Name)
	}
	return all
}

// prevResult returns the names of the interfaces in the prevResult of a request,
// and whether there is one.
func prevResult(t *testing.T, e skeltest.Execution) ([]string, bool) {
	t.Helper()
	var request struct{ PrevResult *types.Result }
	if err := json.Unmarshal(e.Stdin, &request); err != nil {
		t.Fatal(err)
	}
	if request.PrevResult == nil {
		return nil, false
	}
	return names(request.PrevResult), true
}

// ADD-016, CHAIN-003, CHAIN-004, CHAIN-005, CHAIN-027, CHAIN-028, CHK-020,
// DEL-018, DEL-019, DEL-022, CACHE-003.
func TestRuntime_lifecycle(t *testing.T) {
	t.Parallel()
	r, n := abc(t, "1.1.0")
	ctx := t.Context()
	result, err := r.Add(ctx, n, c1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names(result)); diff != "" {
		t.Errorf("result of the list (-want +got):\n%s", diff)
	}
	for _, f := range []func() error{
		func() error { return r.Check(ctx, n, c1) },
		func() error { return r.Del(ctx, n, c1) },
		func() error { return r.Del(ctx, n, c1) },
		func() error { return r.Status(ctx, n) },
	} {
		if err := f(); err != nil {
			t.Error(err)
		}
	}
	want := []struct {
		execution string
		prev      []string
		has       bool
	}{
		{"ADD a", nil, false}, {"ADD b", []string{"a"}, true}, {"ADD c", []string{"a", "b"}, true},
		{"CHECK a", []string{"a", "b", "c"}, true}, {"CHECK b", []string{"a", "b", "c"}, true}, {"CHECK c", []string{"a", "b", "c"}, true},
		{"DEL c", []string{"a", "b", "c"}, true}, {"DEL b", []string{"a", "b", "c"}, true}, {"DEL a", []string{"a", "b", "c"}, true},
		{"DEL c", nil, false}, {"DEL b", nil, false}, {"DEL a", nil, false},
		{"STATUS a", nil, false}, {"STATUS b", nil, false}, {"STATUS c", nil, false},
	}
	got := r.Executions()
	if len(got) != len(want) {
		t.Fatalf("executions = %q, want %d of them", log(r), len(want))
	}
	for i, w := range want {
		prev, has := prevResult(t, got[i])
		if log(r)[i] != w.execution || !slices.Equal(prev, w.prev) || has != w.has {
			t.Errorf("execution %d = %s with prevResult %q (%t), want %s with %q (%t)", i, log(r)[i], prev, has, w.execution, w.prev, w.has)
		}
	}
}

// ADD-017: all plugins get DEL in reverse, also those never reached. CACHE-005: no
// result is kept.
func TestRuntime_failedAdd(t *testing.T) {
	t.Parallel()
	r, _ := abc(t, "1.1.0")
	n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"a"},{"type":"b","fail":"ADD"},{"type":"c"}]}`)
	if _, err := r.Add(t.Context(), n, c1); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("Add() = %v, want the error of plugin b", err)
	}
	if diff := cmp.Diff([]string{"ADD a", "ADD b", "DEL c", "DEL b", "DEL a"}, log(r)); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
	if err := r.Check(t.Context(), n, c1); err == nil {
		t.Error("Check() after a failed Add succeeded")
	}
}

// DEL-021, CACHE-004: a failing DEL stops the list, and the result is kept.
func TestRuntime_failedDel(t *testing.T) {
	t.Parallel()
	var fail atomic.Value
	fail.Store("")
	r := &skeltest.Runtime{Plugins: []skel.Runner{adder("a", nil), adder("b", &fail)}}
	n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"a"},{"type":"b"}]}`)
	if _, err := r.Add(t.Context(), n, c1); err != nil {
		t.Fatal(err)
	}
	fail.Store("DEL")
	if err := r.Del(t.Context(), n, c1); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("Del() = %v, want the error of plugin b", err)
	}
	fail.Store("")
	if err := r.Del(t.Context(), n, c1); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"ADD a", "ADD b", "DEL b", "DEL b", "DEL a"}, log(r)); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
	if _, has := prevResult(t, r.Executions()[3]); !has {
		t.Error("the second DEL had no prevResult")
	}
}

// CHAIN-006, CHAIN-009, CHAIN-010: a plugin gets what it declares and the caller
// has, each time.
func TestRuntime_capabilities(t *testing.T) {
	t.Parallel()
	r, n := abc(t, "1.1.0")
	a := c1
	a.Capabilities = map[string]json.RawMessage{
		"mac": json.RawMessage(`"02:00:00:00:00:01"`), "ips": json.RawMessage(`["10.0.0.9"]`), "other": json.RawMessage(`1`),
	}
	if _, err := r.Add(t.Context(), n, a); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Check(t.Context(), n, a), r.Del(t.Context(), n, a)); err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Executions() {
		var request map[string]json.RawMessage
		if err := json.Unmarshal(e.Stdin, &request); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(string(request["runtimeConfig"]), " ", "")
		want := "" // a plugin that declares nothing gets no object
		if e.Plugin == "b" {
			want = `{"mac":"02:00:00:00:00:01"}`
		}
		if got != want {
			t.Errorf("%s %s: runtimeConfig = %s, want %s", e.Command, e.Plugin, got, want)
		}
		if _, ok := request["capabilities"]; ok {
			t.Errorf("%s %s: capabilities were sent", e.Command, e.Plugin)
		}
	}
}

// CACHE-002: names that would join to one string are two attachments.
func TestRuntime_attachmentsAreApart(t *testing.T) {
	t.Parallel()
	r := &skeltest.Runtime{Plugins: []skel.Runner{adder("a", nil)}}
	one := network(t, `{"cniVersion":"1.1.0","name":"a-b","plugins":[{"type":"a"}]}`)
	two := network(t, `{"cniVersion":"1.1.0","name":"a","plugins":[{"type":"a"}]}`)
	if _, err := r.Add(t.Context(), one, skeltest.Attachment{ContainerID: "c", Netns: "/ns", IfName: "eth0"}); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), two, skeltest.Attachment{ContainerID: "b-c", Netns: "/ns", IfName: "eth0"}); err == nil {
		t.Error("Check() found the result of another attachment")
	}
}

// GC-001, GC-004, GC-013, GC-014, GC-015, GC-025, CACHE-013, CONF-015.
func TestRuntime_GC(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, n := abc(t, "1.1.0")
	n.Plugins[0].Raw = json.RawMessage(`{"type":"a","fail":"GC"}`)
	keep, stale := c1, skeltest.Attachment{ContainerID: "c2", Netns: "/ns", IfName: "eth0"}
	for _, a := range []skeltest.Attachment{keep, stale} {
		if _, err := r.Add(ctx, n, a); err != nil {
			t.Fatal(err)
		}
	}
	before := len(r.Executions())
	if err := r.GC(ctx, n, []types.Attachment{{ContainerID: "c1", IfName: "eth0"}}); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("GC() = %v, want the error of plugin a", err)
	}
	if diff := cmp.Diff([]string{"DEL c", "DEL b", "DEL a", "GC a", "GC b", "GC c"}, log(r)[before:]); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
	for _, e := range r.Executions()[before+3:] {
		const list = `[{"containerID":"c1","ifname":"eth0"}]`
		for _, key := range []string{"cni.dev/valid-attachments", "cni.dev/attachments"} {
			if !strings.Contains(string(e.Stdin), `"`+key+`":`+list) {
				t.Errorf("request of GC %s = %s, want %s: %s", e.Plugin, e.Stdin, key, list)
			}
		}
		if env := strings.Join(e.Environ, "\n"); strings.Contains(env, "CNI_CONTAINERID") || strings.Contains(env, "CNI_NETNS") || strings.Contains(env, "CNI_IFNAME") {
			t.Errorf("GC %s has attachment parameters in its environment", e.Plugin)
		}
	}
	n.DisableGC = true
	after := len(r.Executions())
	if err := r.GC(ctx, n, nil); err != nil || len(r.Executions()) != after {
		t.Errorf("GC() of a network with disableGC = %v, and executed %q", err, log(r)[after:])
	}
}

// CHK-017, CHK-024, STA-015, CONF-012, DEL-020.
func TestRuntime_versions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, n := abc(t, "0.3.1")
	if _, err := r.Add(ctx, n, c1); err != nil {
		t.Fatal(err)
	}
	before := len(r.Executions())
	if err := r.Check(ctx, n, c1); err == nil {
		t.Error("Check() of a 0.3.1 network succeeded")
	}
	if err := errors.Join(r.Status(ctx, n), r.GC(ctx, n, []types.Attachment{{ContainerID: "c1", IfName: "eth0"}})); err != nil {
		t.Errorf("Status() and GC() of a 0.3.1 network = %v, want nothing done", err)
	}
	if got := log(r)[before:]; len(got) > 0 {
		t.Errorf("executed %q, want nothing", got)
	}
	if err := r.Del(ctx, n, c1); err != nil {
		t.Error(err)
	}
	if _, has := prevResult(t, r.Executions()[before]); has {
		t.Error("DEL of a 0.3.1 network had a prevResult")
	}
	n.CNIVersion, n.DisableCheck = types.V110, true
	before = len(r.Executions())
	if err := r.Check(ctx, n, c1); err != nil || len(r.Executions()) != before {
		t.Errorf("Check() of a network with disableCheck = %v, and executed %q", err, log(r)[before:])
	}
}

// VER-019; an executable is found in Path, in order, and directories are passed
// over: PROTO-002, PROTO-004. PROTO-037: all plugins get the same environment.
func TestRuntime_executables(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	first, second := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(first, "exec-a"), 0o755), os.Symlink(self, filepath.Join(second, "exec-a"))); err != nil {
		t.Fatal(err)
	}
	r := &skeltest.Runtime{
		Path:    []string{first, second},
		Environ: []string{"PATH=/bin", "CNI_IFNAME=wrong", "OTHER=1"},
		Plugins: []skel.Runner{adder("a", nil)},
	}
	n := network(t, `{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"exec-a"},{"type":"a"}]}`)
	result, err := r.Add(t.Context(), n, c1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"exec-a", "a"}, names(result)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	executed := r.Executions()
	if diff := cmp.Diff(executed[0].Environ, executed[1].Environ); diff != "" {
		t.Errorf("environments differ (-first +second):\n%s", diff)
	}
	want := []string{"PATH=/bin", "OTHER=1", "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/ns", "CNI_IFNAME=eth0", "CNI_PATH=" + first + ":" + second}
	if diff := cmp.Diff(want, executed[0].Environ); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	info, err := r.Version(t.Context(), n, 0)
	if err != nil || !slices.Equal(info.SupportedVersions, types.Versions()) || info.CNIVersion != types.V100 {
		t.Errorf("Version() = %v, %v, want 1.0.0 and all versions", info, err)
	}
}

// PROTO-003: a missing executable is an error of every command.
// ERR-023: so is one that says nothing of use.
func TestRuntime_badExecutables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"silent":  "exit 3",
		"chatty":  "echo this is no JSON; echo from stderr >&2; exit 1",
		"nothing": "exit 0",
		"killed":  "kill -9 $$",
		"polite":  `echo '{"code":7,"msg":"no subnet"}'; exit 0`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\ncat >/dev/null\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ plugin, want string }{
		{"silent", "exit status 3"},
		{"chatty", "from stderr"},
		{"nothing", "printed no result"},
		{"killed", "signal: killed"},
		{"polite", "no subnet"},
		{"missing", "no executable"},
	} {
		t.Run(tt.plugin, func(t *testing.T) {
			t.Parallel()
			r := &skeltest.Runtime{Path: []string{dir}}
			n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"`+tt.plugin+`"}]}`)
			_, err := r.Add(t.Context(), n, c1)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "plugin "+tt.plugin) {
				t.Errorf("Add() = %v, want %q and the plugin's name in it", err, tt.want)
			}
		})
	}
}

// RES-044, ERR-024 above: null is an empty result, for the next plugin as for the caller.
func TestRuntime_null(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "null"), []byte("#!/bin/sh\ncat >/dev/null\necho null\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := &skeltest.Runtime{Path: []string{dir}, Plugins: []skel.Runner{adder("a", nil)}}
	for plugins, want := range map[string][]string{`{"type":"null"},{"type":"a"}`: {"a"}, `{"type":"a"},{"type":"null"}`: nil} {
		n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[`+plugins+`]}`)
		result, err := r.Add(t.Context(), n, c1)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, names(result)); diff != "" {
			t.Errorf("ADD of %s: interfaces of the result (-want +got):\n%s", plugins, diff)
		}
		if err := r.Del(t.Context(), n, c1); err != nil {
			t.Error(err)
		}
	}
}

func TestRuntime_cancel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// The sleeping child keeps the pipes open after the plugin is gone.
	if err := os.WriteFile(filepath.Join(dir, "hang"), []byte("#!/bin/sh\nsleep 20\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	r := &skeltest.Runtime{Path: []string{dir}, Stderr: io.Discard, Start: func(cmd *exec.Cmd) error {
		defer close(started)
		return cmd.Start()
	}}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"hang"}]}`)
	begin := time.Now()
	if err := r.Status(ctx, n); err == nil {
		t.Error("Status() of a hanging plugin succeeded")
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Status() of a hanging plugin returned after %s, want it to end with the context", took)
	}
}

// GC-016: GC waits for the operations that run, and they for it.
func TestRuntime_GCExcludes(t *testing.T) {
	t.Parallel()
	adding, release := make(chan struct{}), make(chan struct{})
	slow := adder("slow", nil)
	add := slow.Add
	slow.Add = func(ctx context.Context, r *skel.Request[conf]) (*types.Result, error) {
		close(adding)
		<-release
		return add(ctx, r)
	}
	r := &skeltest.Runtime{Plugins: []skel.Runner{slow}}
	n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"slow"}]}`)
	errs := make(chan error, 2)
	go func() { _, err := r.Add(t.Context(), n, c1); errs <- err }()
	<-adding
	go func() { errs <- r.GC(t.Context(), n, []types.Attachment{{ContainerID: "c1", IfName: "eth0"}}) }()
	select {
	case err := <-errs:
		t.Errorf("an operation ended while ADD was running: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"ADD slow", "GC slow"}, log(r)); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
}

// LIFE-003, LIFE-004: operations of one container wait for each other, also those about
// different interfaces, and those of another container do not.
func TestRuntime_oneOperationAContainer(t *testing.T) {
	t.Parallel()
	adding, release := make(chan struct{}), make(chan struct{})
	slow := adder("slow", nil)
	add := slow.Add
	slow.Add = func(ctx context.Context, r *skel.Request[conf]) (*types.Result, error) {
		close(adding)
		<-release
		return add(ctx, r)
	}
	r := &skeltest.Runtime{Plugins: []skel.Runner{slow}}
	n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"slow"}]}`)
	added := make(chan error, 1)
	go func() { _, err := r.Add(t.Context(), n, c1); added <- err }()
	<-adding
	other, second := c1, c1
	other.ContainerID, second.IfName = "c2", "eth1"
	if err := r.Del(t.Context(), n, other); err != nil {
		t.Error(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := r.Del(ended, n, second); !errors.Is(err, context.Canceled) {
		t.Errorf("Del() while ADD of the container runs = %v, want that it waits until the end of its context", err)
	}
	deleted := make(chan error, 1)
	go func() { deleted <- r.Del(t.Context(), n, second) }()
	close(release)
	if err := errors.Join(<-added, <-deleted); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"DEL slow", "ADD slow", "DEL slow"}, log(r)); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
}
