// SPDX-License-Identifier: Apache-2.0

package ns_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/ns"
)

func mustCreate(t *testing.T, path string) *ns.NS {
	t.Helper()
	n, err := ns.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closeNS(t, n)
		if err := ns.Del(path); err != nil {
			t.Error(err)
		}
	})
	return n
}

// mounts counts the mounts at path.
func mounts(t *testing.T, path string) int {
	t.Helper()
	info, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(info), " "+path+" ")
}

func TestCreate(t *testing.T) {
	t.Parallel()
	nstest.New(t) // the gate
	path := filepath.Join(t.TempDir(), "missing", "directory", "name")
	n := mustCreate(t, path)
	if n.Path() != path {
		t.Errorf("Path() = %q, want %q", n.Path(), path)
	}
	own, err := ns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer closeNS(t, own)
	if n.Equal(own) || !n.Equal(mustOpen(t, path)) {
		t.Error("Create = a namespace other than the new one at its path")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if !n.Equal(mustOpen(t, path)) {
		t.Error("the namespace is gone after Close, want it to last until Del")
	}
}

func TestCreate_Exists(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(dir, "named")
	mustCreate(t, named)
	for _, path := range []string{file, named, dir} {
		if n, err := ns.Create(path); n != nil || !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create(%s) = %v, %v, want %v", path, n, err, fs.ErrExist)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "content" {
		t.Errorf("the file in the way = %q, %v, want it untouched", got, err)
	}
	if got := mounts(t, named); got != 1 {
		t.Errorf("mounts at %s = %d, want 1", named, got)
	}
}

func TestDel(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	path := filepath.Join(t.TempDir(), "name")
	n := mustCreate(t, path)
	for i := range 2 {
		if err := ns.Del(path); err != nil {
			t.Errorf("Del, time %d = %v", i+1, err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("file after Del: %v, want %v", err, fs.ErrNotExist)
	}
	if got := mounts(t, path); got != 0 {
		t.Errorf("mounts after Del = %d, want 0", got)
	}
	if err := n.Do(func() error { return nil }); err != nil {
		t.Errorf("Do in an open namespace without a name = %v", err)
	}
}

func TestDel_Stacked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "name")
	other := nstest.New(t)
	mustCreate(t, path)
	if err := unix.Mount(other.Path(), path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := ns.Del(path); err != nil {
		t.Errorf("Del of two mounts = %v", err)
	}
	if got := mounts(t, path); got != 0 {
		t.Errorf("mounts after Del = %d, want 0", got)
	}
}

func TestDel_Other(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	dir := t.TempDir()
	empty, full := filepath.Join(dir, "empty"), filepath.Join(dir, "full")
	link := filepath.Join(dir, "link")
	err := errors.Join(os.WriteFile(empty, nil, 0o600), os.WriteFile(full, []byte("x"), 0o600), os.Symlink(full, link))
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Del(empty); err != nil {
		t.Errorf("Del of the file that an unmounted namespace leaves = %v", err)
	}
	if _, err := os.Lstat(empty); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("that file afterwards: %v, want %v", err, fs.ErrNotExist)
	}
	for _, path := range []string{full, link, dir} {
		if err := ns.Del(path); !errors.Is(err, ns.ErrNotNamespace) {
			t.Errorf("Del(%s) = %v, want %v", path, err, ns.ErrNotNamespace)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s after a refused Del: %v", path, err)
		}
	}
	if err := ns.Del("/proc/thread-self/ns/net"); err == nil {
		t.Error("Del of a namespace that is no mount = nil, want an error")
	}
}

// A name that is a link to another is not that other's.
func TestDel_Symlink(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	dir := t.TempDir()
	path, link := filepath.Join(dir, "name"), filepath.Join(dir, "link")
	mustCreate(t, path)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := ns.Del(link); err == nil {
		t.Error("Del of a symbolic link = nil, want an error")
	}
	if got := mounts(t, path); got != 1 {
		t.Errorf("mounts at what the link leads to = %d, want 1", got)
	}
}

func TestDel_Concurrent(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	path := filepath.Join(t.TempDir(), "name")
	for range 30 {
		closeNS(t, mustCreate(t, path))
		var group sync.WaitGroup
		start := make(chan bool)
		for range 8 {
			group.Go(func() {
				<-start
				if err := ns.Del(path); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		group.Wait()
	}
}
