// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

const own = "/proc/thread-self/ns/net"

// The plugin's own namespace is never the container's, unless somebody says so.
// PROTO-044, PROTO-045, DEL-008, AMB-041, AMB-048
func TestPlugin_Run_OwnNetns(t *testing.T) {
	t.Parallel()
	tests := []struct {
		override string
		ok       bool
	}{
		{"", false}, {"0", false}, {"yes", false}, {"1", true}, {"true", true}, {"TRUE", true},
	}
	for _, tt := range tests {
		for _, needs := range []bool{false, true} {
			for _, command := range []string{"ADD", "CHECK", "DEL"} {
				var r recorder
				p := r.plugin()
				p.NeedsNetns = needs
				got := run(t, p, request("1.1.0", prevResult), environ(command, "CNI_NETNS="+own, "CNI_NETNS_OVERRIDE="+tt.override))
				switch {
				case tt.ok || command == "DEL":
					if got.exit != 0 {
						t.Fatalf("%s with CNI_NETNS_OVERRIDE=%s: %s", command, tt.override, got.stdout)
					}
					want := ""
					if tt.ok {
						want = own
					}
					if got := r.only(t); got.Netns != want || got.OwnNetns != tt.ok {
						t.Errorf("%s with CNI_NETNS_OVERRIDE=%s: Netns = %q, OwnNetns = %t, want %q, %t", command, tt.override, got.Netns, got.OwnNetns, want, tt.ok)
					}
				default:
					got.failure(t, types.ErrInvalidEnvironmentVariables, "CNI_NETNS", "own namespace")
					if len(r.requests) != 0 {
						t.Errorf("%s: the handler ran", command)
					}
				}
			}
		}
	}
}

// Another name of the own namespace is found out, and another namespace is no matter.
// PROTO-025, AMB-041, ADD-011
func TestPlugin_Run_Netns(t *testing.T) {
	t.Parallel()
	host, sandbox := nstest.New(t), nstest.New(t)
	link := filepath.Join(t.TempDir(), "netns")
	if err := os.Symlink(sandbox.Path(), link); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"ADD", "CHECK", "DEL"} {
		for _, path := range []string{sandbox.Path(), link, host.Path()} {
			var r recorder
			p := r.plugin()
			p.NeedsNetns = true
			var got answer
			host.Do(t, func() {
				got = run(t, p, request("1.1.0", prevResult), environ(command, "CNI_NETNS="+path))
			})
			if path == host.Path() && command != "DEL" {
				got.failure(t, types.ErrInvalidEnvironmentVariables, "CNI_NETNS")
				continue
			}
			if got.exit != 0 {
				t.Fatalf("%s in %s: %s", command, path, got.stdout)
			}
			want := path
			if path == host.Path() {
				want = ""
			}
			if got := r.only(t); got.Netns != want || got.OwnNetns {
				t.Errorf("%s in %s: Netns = %q, OwnNetns = %t, want %q, false", command, path, got.Netns, got.OwnNetns, want)
			}
		}
	}
}

// What is no network namespace. ADD-012, CHK-023, DEL-005, DEL-006, DEL-007, AMB-040
func TestPlugin_Run_NoNetns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "gone"), filepath.Join(file, "below"), file, dir, "/dev/null", "/proc/self/ns/mnt", "/proc/self/ns/uts"} {
		for _, command := range []string{"ADD", "CHECK", "DEL"} {
			var r recorder
			p := r.plugin()
			p.NeedsNetns = true
			env := environ(command, "CNI_NETNS="+path)
			got := run(t, p, request("1.1.0", prevResult), env)
			if command != "DEL" {
				got.failure(t, types.ErrInvalidEnvironmentVariables, "CNI_NETNS")
				continue
			}
			got.silent(t)
			if netns := r.only(t).Netns; netns != "" || !strings.Contains(got.stderr, path) {
				t.Errorf("DEL in %s: Netns = %q, log = %s, want none and a record of it", path, netns, got.stderr)
			}

			// For a plugin that needs none it is a word.
			var opaque recorder
			run(t, opaque.plugin(), request("1.1.0"), env).silent(t)
			if netns := opaque.only(t).Netns; netns != path {
				t.Errorf("DEL of a plugin without NeedsNetns in %s: Netns = %q, want it", path, netns)
			}
		}
	}
	for _, netns := range []string{"", "CNI_NETNS="} {
		var r recorder
		p := r.plugin()
		p.NeedsNetns = true
		run(t, p, request("1.1.0"), environ("DEL", "CNI_NETNS=", netns)).silent(t)
		if netns := r.only(t).Netns; netns != "" {
			t.Errorf("DEL without CNI_NETNS: Netns = %q, want none", netns)
		}
	}
}

// A namespace that may not be looked at is not gone: DEL must not forget what is in
// it.
func TestPlugin_Run_ForbiddenNetns(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("x", 300) // ENAMETOOLONG, which is no word for gone
	var r recorder
	p := r.plugin()
	p.NeedsNetns = true
	for _, command := range []string{"ADD", "DEL"} {
		run(t, skel.Runner(p), request("1.1.0"), environ(command, "CNI_NETNS="+long)).failure(t, types.ErrInvalidEnvironmentVariables, "CNI_NETNS")
	}
}
