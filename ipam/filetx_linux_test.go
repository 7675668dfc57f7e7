// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cnikit/cnikit/ipam"
)

// wantConsistent checks that after an Update the directories are signed, and that
// the links say what the files do: the invariant.
func wantConsistent(t testing.TB, s ipam.FileStore, dir string) {
	t.Helper()
	if err := s.Update(t.Context(), func(ipam.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return
	}
	if !s.Signed() {
		t.Error("the directory is not signed after an Update")
	}
	links := map[string]int{}
	for name, target := range tree(t, filepath.Join(dir, "../.owners/net")) {
		links[filepath.Base(target)]++
		id, number, _ := strings.Cut(name, "#")
		if data, err := os.ReadFile(filepath.Join(dir, filepath.Base(target))); err != nil || !strings.HasPrefix(id, strings.ReplaceAll(strings.TrimSpace(string(data)), "\r\n", "@")) {
			t.Errorf("link %s leads to %s with %q, %v", name, target, data, err)
		}
		if number == "1" {
			if _, err := os.Lstat(filepath.Join(dir, "../.owners/net", id+"#0")); err != nil {
				t.Errorf("link %s without number 0: %v", name, err)
			}
		}
	}
	for name, data := range tree(t, dir) {
		if _, err := netip.ParseAddr(name); err != nil {
			continue
		}
		if data == "" || links[name] != 1 {
			t.Errorf("file %s has content %q and %d links, want some and 1", name, data, links[name])
		}
	}
}

// LIFE-013, C-20: a process that dies at any step leaves the old state or the new
// one, and the next call goes on from there.
func TestFileStore_crash(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, before, do string
		// The reservations before and after, by container.
		old, new string
	}{
		{"the first ADD", "", "add c1", "", "c1"},
		{"another ADD", "add c1", "add c2", "c1", "c1 c2"},
		{"DEL", "add c1,add c2", "del c1", "c1 c2", "c2"},
		{"GC", "add c1,add c2,add c3", "gc c2", "c1 c2 c3", "c2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				s, dir := fileStore(t)
				root := filepath.Dir(dir)
				a := ipam.Allocator{Store: s, Sets: sets(t, childSets...)}
				if tt.before != "" {
					playHere(t, a, tt.before)
				}
				_, exit := runChild(t, root, tt.do, at)
				wantWhole(t, at, dir, tt.old != "")
				wantConsistent(t, s, dir)
				// Everybody keeps what was his; who was in the middle may have either.
				for _, id := range strings.Fields(tt.old) {
					if strings.Contains(" "+tt.new+" ", " "+id+" ") && owned(t, s, id) != 2 {
						t.Errorf("death at step %d: %s has %d addresses, want 2", at, id, owned(t, s, id))
					}
				}
				playHere(t, a, tt.do)
				for _, id := range strings.Fields(tt.old + " " + tt.new) {
					want := 0
					if strings.Contains(" "+tt.new+" ", " "+id+" ") {
						want = 2
					}
					if got := owned(t, s, id); got != want {
						t.Errorf("death at step %d, and again: %s has %d addresses, want %d", at, id, got, want)
					}
				}
				playHere(t, a, "gc")
				wantConsistent(t, s, dir)
				if left := contents(t, s); len(left) != 0 {
					t.Errorf("death at step %d, and GC: %v is left", at, left)
				}
				if t.Failed() {
					return
				}
				if exit == 0 {
					if at < 4 {
						t.Errorf("only %d steps", at)
					}
					return
				}
			}
		})
	}
}

// wantWhole checks that each reservation has its whole content, and so have the
// cursors if there were any.
func wantWhole(t *testing.T, at int, dir string, cursors bool) {
	t.Helper()
	files := tree(t, dir)
	for i, prefix := range []string{"10.0.0.", "2001:db8::"} {
		cursor, ok := files[fmt.Sprint("last_reserved_ip.", i)]
		if _, err := netip.ParseAddr(cursor); (ok || cursors) && (err != nil || !strings.HasPrefix(cursor, prefix)) {
			t.Errorf("death at step %d: cursor %d is %q, there %t", at, i, cursor, ok)
		}
	}
	for name, data := range files {
		if _, err := netip.ParseAddr(name); err == nil && !strings.HasSuffix(data, "\r\neth0") {
			t.Errorf("death at step %d: file %s has content %q", at, name, data)
		}
	}
}

func owned(t *testing.T, s ipam.FileStore, id string) int {
	t.Helper()
	n := 0
	for _, o := range contents(t, s) {
		if o == id+"/eth0" {
			n++
		}
	}
	return n
}

// C-21: a step that fails, as on a full disk, makes ADD fail or not; in either case
// nothing leaks.
func TestFileStore_fullDisk_C21(t *testing.T) {
	t.Parallel()
	for _, setup := range []string{"first", "more"} {
		t.Run(setup, func(t *testing.T) {
			t.Parallel()
			succeeded := 0
			for at := 1; ; at++ {
				s, dir := fileStore(t)
				a := ipam.Allocator{Store: s, Sets: sets(t, childSets...)}
				if setup == "more" {
					mustAllocate(t, a, "c0", "10.0.0.2/24 2001:db8::2/64")
				}
				before := contents(t, s)
				step := 0
				var failed string
				a.Store = s.WithHook(func(name string) error {
					if step++; step != at {
						return nil
					}
					failed = name
					return fmt.Errorf("%s: %w", name, syscall.ENOSPC)
				})
				_, err := a.Allocate(t.Context(), owner("c1"))
				switch {
				case err == nil:
					succeeded++
					if got := owned(t, s, "c1"); got != 2 {
						t.Errorf("failure %d (%s): success with %d addresses, want 2", at, failed, got)
					}
				case !errors.Is(err, syscall.ENOSPC):
					t.Errorf("failure %d (%s): Allocate() = %v, want ENOSPC", at, failed, err)
				default:
					wantContents(t, s, before)
				}
				if _, ok := tree(t, dir)[".new"]; ok && failed != "remove" {
					t.Errorf("failure %d (%s): the draft is left", at, failed)
				}
				wantConsistent(t, s, dir)
				if failed == "rename" && err != nil {
					t.Errorf("a cursor that cannot be written: Allocate() = %v, want success", err)
				}
				if t.Failed() {
					return
				}
				if failed == "" {
					if succeeded < 3 {
						t.Errorf("%d successes, want several", succeeded)
					}
					return
				}
			}
		})
	}
}
