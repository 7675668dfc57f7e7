// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// bridge stands for the plugin that makes the interface.
func bridge() skel.Plugin[struct{}] {
	return skel.Plugin[struct{}]{
		Name: "bridge",
		Add: func(_ context.Context, r *skel.Request[struct{}]) (*types.Result, error) {
			result := &types.Result{}
			result.AddInterface(types.Interface{Name: r.IfName, Sandbox: r.Netns})
			return result, nil
		},
		Del:    skel.NothingToDo[struct{}],
		Check:  skel.NothingToDo[struct{}],
		GC:     skel.NothingToDo[struct{}],
		Status: skel.NothingToDo[struct{}],
	}
}

func network(t *testing.T) *types.Network {
	t.Helper()
	data, err := os.ReadFile("testdata/10-hello.conflist")
	if err != nil {
		t.Fatal(err)
	}
	n, err := types.ParseNetwork(data)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Every command, twice, and what is left out. CHAIN-014, CHAIN-019, DEL-003, DEL-009,
// DEL-011, GC-024
func TestHello(t *testing.T) {
	t.Parallel()
	r := &skeltest.Runtime{Plugins: []skel.Runner{bridge(), plugin()}, Environ: []string{}}
	n, a := network(t), skeltest.Attachment{ContainerID: "c1", Netns: "/run/netns/c1", IfName: "eth0"}
	ctx := t.Context()
	steps := []struct {
		name string
		do   func() error
	}{
		{"STATUS", func() error { return r.Status(ctx, n) }},
		{"DEL before ADD", func() error { return r.Del(ctx, n, a) }},
		{"ADD", func() error {
			result, err := r.Add(ctx, n, a)
			want := &types.Result{Interfaces: []types.Interface{{Name: "eth0", Sandbox: "/run/netns/c1"}}}
			if diff := cmp.Diff(want.Interfaces, result.Interfaces); diff != "" {
				t.Errorf("result of ADD (-want +got):\n%s", diff)
			}
			return err
		}},
		{"CHECK", func() error { return r.Check(ctx, n, a) }},
		{"CHECK again", func() error { return r.Check(ctx, n, a) }},
		{"GC", func() error { return r.GC(ctx, n, []types.Attachment{{ContainerID: "c1", IfName: "eth0"}}) }},
		{"DEL", func() error { return r.Del(ctx, n, a) }},
		{"DEL again", func() error { return r.Del(ctx, n, a) }},
		{"GC again", func() error { return r.GC(ctx, n, nil) }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
}

// TestMain lets the test binary play the plugin, as a runtime would run it.
func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		main()
	}
	os.Exit(m.Run())
}

// As a process it logs the greeting, and the container that it is for.
func TestHello_Process(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/c1", "CNI_IFNAME=eth0"}
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"greetings","type":"hello","greeting":"good morning","prevResult":{}}`)
	var log strings.Builder
	cmd.Stderr = &log
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(stdout), `{"cniVersion":"1.1.0"}`+"\n"; got != want {
		t.Errorf("result = %s, want %s", got, want)
	}
	if !strings.Contains(log.String(), `msg="good morning" plugin=hello command=ADD network=greetings container=c1`) {
		t.Errorf("log = %s, want the greeting", log.String())
	}
}

// Alone there is nobody to greet. CHAIN-019
func TestHello_Alone(t *testing.T) {
	t.Parallel()
	r := &skeltest.Runtime{Plugins: []skel.Runner{plugin()}, Environ: []string{}}
	n, err := types.ParseNetwork([]byte(`{"cniVersion":"1.1.0","name":"greetings","plugins":[{"type":"hello"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(t.Context(), n, skeltest.Attachment{ContainerID: "c1", Netns: "/run/netns/c1", IfName: "eth0"}); err == nil || !strings.Contains(err.Error(), "prevResult") {
		t.Errorf("ADD alone = %v, want an error about prevResult", err)
	}
}
