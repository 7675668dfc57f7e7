// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
)

// keeping returns what makes a runtime that has just been started, with results in a
// directory.
func keeping(t *testing.T) (dir string, restarted func() *skeltest.Runtime) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "cache")
	return dir, func() *skeltest.Runtime {
		return &skeltest.Runtime{Plugins: []skel.Runner{adder("a", nil)}, CacheDir: dir}
	}
}

// CACHE-001, CACHE-003, CACHE-006: a runtime that was restarted knows what the one
// before it has done.
func TestRuntime_CacheDir(t *testing.T) {
	t.Parallel()
	dir, restarted := keeping(t)
	n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"a"}]}`)
	at := c1
	at.Args = "K=v"
	if _, err := restarted().Add(t.Context(), n, at); err != nil {
		t.Fatal(err)
	}
	got, err := restarted().Attachments(n)
	if diff := cmp.Diff([]skeltest.Attachment{at}, got); diff != "" || err != nil {
		t.Errorf("Attachments (-want +got), %v:\n%s", err, diff)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory = %v, %v, want 0700", info.Mode(), err)
	}
	r := restarted()
	if err := r.Check(t.Context(), n, c1); err != nil {
		t.Error(err)
	}
	if err := r.Del(t.Context(), n, c1); err != nil {
		t.Error(err)
	}
	for _, e := range r.Executions() {
		if names, has := prevResult(t, e); !has || len(names) != 1 {
			t.Errorf("%s of a restarted runtime has prevResult %v, %t, want that of ADD", e.Command, names, has)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("after DEL the directory holds %v, %v, want nothing", entries, err)
	}
}

// CACHE-002: names joined with a dash would be the same.
func TestRuntime_CacheDir_keys(t *testing.T) {
	t.Parallel()
	_, restarted := keeping(t)
	r := restarted()
	first := network(t, `{"cniVersion":"1.1.0","name":"a-b","plugins":[{"type":"a"}]}`)
	second := network(t, `{"cniVersion":"1.1.0","name":"a","plugins":[{"type":"a"}]}`)
	one := skeltest.Attachment{ContainerID: "c", Netns: "/ns", IfName: "eth0"}
	two := skeltest.Attachment{ContainerID: "b-c", Netns: "/ns", IfName: "eth0"}
	if _, err := r.Add(t.Context(), first, one); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(t.Context(), second, two); err != nil {
		t.Fatal(err)
	}
	got, err := r.Attachments(second)
	if diff := cmp.Diff([]skeltest.Attachment{two}, got); diff != "" || err != nil {
		t.Errorf("Attachments of network a (-want +got), %v:\n%s", err, diff)
	}
}

// CACHE-007, CACHE-014: what cannot be read makes CHECK and GC say so, and does not
// keep DEL from going on.
func TestRuntime_CacheDir_unreadable(t *testing.T) {
	t.Parallel()
	dir, restarted := keeping(t)
	n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"a"}]}`)
	r := restarted()
	if _, err := r.Add(t.Context(), n, c1); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files = %v, %v, want one", files, err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), n, c1); err == nil || !strings.Contains(err.Error(), files[0]) {
		t.Errorf("Check with an entry that cannot be read = %v, want an error that names it", err)
	}
	if err := r.GC(t.Context(), n, nil); err == nil || !strings.Contains(err.Error(), files[0]) {
		t.Errorf("GC with an entry that cannot be read = %v, want an error that names it", err)
	}
	if err := r.Del(t.Context(), n, c1); err != nil {
		t.Errorf("Del with an entry that cannot be read = %v", err)
	}
}

// CACHE-009: an ADD whose result cannot be kept fails, and is undone.
func TestRuntime_CacheDir_readOnly(t *testing.T) {
	t.Parallel()
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := &skeltest.Runtime{Plugins: []skel.Runner{adder("a", nil)}, CacheDir: filepath.Join(blocked, "sub")}
	n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"a"}]}`)
	if _, err := r.Add(t.Context(), n, c1); err == nil {
		t.Error("Add with a cache that cannot be written succeeds, want an error")
	}
	if diff := cmp.Diff([]string{"ADD a", "DEL a"}, log(r)); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
}
