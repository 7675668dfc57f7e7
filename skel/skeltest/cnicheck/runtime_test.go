// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A runtime, here the one of "cnicheck run", with recorders that are copies of the
// command.
func TestRuntime(t *testing.T) {
	t.Parallel()
	dir, cache := t.TempDir(), t.TempDir()
	list, netns := filepath.Join(dir, "net.conflist"), filepath.Join(dir, "netns")
	text := `{"cniVersion":"1.1.0","name":"judge-me","plugins":[{"type":"cnirecord"},{"type":"second","x":1}]}`
	for path, text := range map[string]string{list: text, netns: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"check before there are recorders", []string{"runtime", "check", dir, list}, 2, "cnirecord.json"},
		{"install", []string{"runtime", "install", dir, "cnirecord", "second"}, 0, ""},
		{"install once more", []string{"runtime", "install", dir}, 2, "file exists"},
		{"check before there are records", []string{"runtime", "check", dir, list}, 2, "nothing is recorded"},
		{"add", []string{"run", "add", list, netns, "-path", dir, "-cache", cache}, 0, "198.18."},
		{"check-attachment", []string{"run", "check", list, netns, "-path", dir, "-cache", cache}, 0, ""},
		{"gc", []string{"run", "gc", list, "-path", dir, "-cache", cache}, 0, ""},
		{"del", []string{"run", "del", list, netns, "-path", dir, "-cache", cache}, 0, ""},
		{"check", []string{"runtime", "check", dir, list, "-v"}, 0, "passed         CHAIN/004"},
		{"check without a network", []string{"runtime", "check", dir}, 2, "want the file"},
		{"add in the host's own namespace", []string{"run", "add", list, "/proc/self/ns/net", "-path", dir, "-cache", cache}, 0, "198.18."},
		{"check that finds it", []string{"runtime", "check", dir, list}, 1, "failure PROTO/036"},
		{"forget", []string{"runtime", "forget", dir}, 0, ""},
		{"check what is forgotten", []string{"runtime", "check", dir, list}, 2, "nothing is recorded"},
		{"no such word", []string{"runtime", "judge", dir}, 2, "want install"},
		{"no words", []string{"runtime"}, 2, "usage"},
	}
	for _, tt := range steps { // each goes on where the last one ended
		stdout, stderr, exit := cnicheck(t, tt.args...)
		if exit != tt.exit || !strings.Contains(stdout+stderr, ids(tt.want)) {
			t.Errorf("%s: exit status %d, want %d, with %q in the output:\n%s%s", tt.name, exit, tt.exit, tt.want, stdout, stderr)
		}
	}
}
