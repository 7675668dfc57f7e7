// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, free := range []int64{0, 1, 10000} {
		dir := skeltest.FullDisk(t, free)
		if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, free), 0o600); err != nil {
			t.Errorf("write %d bytes: %v", free, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "b"), make([]byte, 8192), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("write two pages more than %d bytes: %v, want ENOSPC", free, err)
		}
	}
}

// A plugin of this module on a disk that is full: an error to try again, and DEL works.
func TestFullDisk_plugin(t *testing.T) {
	t.Parallel()
	dir := skeltest.FullDisk(t, 0)
	n := network(t, `{"cniVersion":"1.1.0","name":"full","plugins":[{"type":"host-local","ipam":{"type":"host-local","dataDir":"`+dir+`","subnet":"10.1.0.0/24"}}]}`)
	r := &skeltest.Runtime{Plugins: []skel.Runner{hostlocal.Plugin()}, Path: []string{dir}}
	if _, err := r.Add(t.Context(), n, c1); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("ADD on a full disk = %v, want an error that says so", err)
	}
	if err := r.Del(t.Context(), n, c1); err != nil {
		t.Errorf("DEL on a full disk: %v", err)
	}
	left, err := filepath.Glob(dir + "/full/10.*")
	if err != nil || len(left) > 0 {
		t.Errorf("a failed ADD leaves the reservations %q, %v", left, err)
	}
}

// A delegate that hangs ends with the request, and one that floods does not exhaust the
// memory.
func TestDelegate_faults(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a plugin that hangs takes seconds")
	}
	for name, a := range map[string]skeltest.Answer{
		"hangs":       {Hang: true},
		"is too slow": {Sleep: 5 * time.Minute},
		"floods":      {Stdout: "{", Flood: 1 << 30},
		"says twice":  {Stdout: `{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.2/24"}]}`, Times: 2},
		"is garbled":  {Stdout: "Segmentation fault"},
		"says a lie":  {Stdout: `{"cniVersion":"1.1.0","code":11,"msg":"later"}`},
		"is silent":   {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDelegate(t)
			if err := d.Answer(types.CommandAdd, "", a); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if name == "floods" {
				ctx = t.Context() // how long that takes is not the matter
			}
			defer cancel()
			_, err := delegating(d).Add(ctx, network(t, delegatingNetwork), c1)
			if err == nil {
				t.Error("ADD succeeds")
			}
			commands, err := d.Commands()
			if err != nil {
				t.Fatal(err)
			}
			if len(commands) < 2 || commands[0] != types.CommandAdd || commands[1] != types.CommandDel {
				t.Errorf("the delegate gets %q, want ADD and then DEL", commands)
			}
		})
	}
}

// A plugin whose disk is full.
func ExampleFullDisk() {
	test := func(t *testing.T) {
		disk := skeltest.FullDisk(t, 0)
		network, err := types.ParseNetwork([]byte(`{"cniVersion":"1.1.0","name":"net","plugins":[
			{"type":"host-local","ipam":{"type":"host-local","dataDir":"` + disk + `","subnet":"10.1.0.0/24"}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		runtime := &skeltest.Runtime{Plugins: []skel.Runner{hostlocal.Plugin()}}
		attachment := skeltest.Attachment{ContainerID: "c1", Netns: "/run/netns/c1", IfName: "eth0"}
		if _, err := runtime.Add(t.Context(), network, attachment); err == nil {
			t.Error("ADD succeeds on a full disk")
		}
		if err := runtime.Del(t.Context(), network, attachment); err != nil {
			t.Error(err) // what is to be removed takes no space
		}
	}
	_ = test // go test finds it by its name, TestFullDisk
}
