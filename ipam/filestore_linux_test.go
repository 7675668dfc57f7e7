// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

func fileStore(t testing.TB) (ipam.FileStore, string) {
	t.Helper()
	dir := t.TempDir()
	return ipam.FileStore{Dir: dir, Network: "net"}, filepath.Join(dir, "net")
}

// tree returns the files below dir with their contents, and the links with their
// targets.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if e.Type() == fs.ModeSymlink {
			all[name], err = os.Readlink(path)
			return err
		}
		data, err := os.ReadFile(path)
		all[name] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func wantTree(t testing.TB, dir string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Errorf("files mismatch (-want +got):\n%s", diff)
	}
}

func write(t testing.TB, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The layout on disk, byte by byte: fixture 4 of the existing plugins.
func TestFileStore_layout(t *testing.T) {
	s, dir := fileStore(t)
	old := syscall.Umask(0o777) // LIFE-024; the parallel tests wait for this one
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.22.0.0/16", "2001:db8::/64 2001:db8::ff-")}
	mustAllocate(t, a, "c1", "10.22.0.2/16 2001:db8::ff/64")
	syscall.Umask(old)
	wantTree(t, dir, map[string]string{
		"10.22.0.2":          "\x63\x31\x0d\x0a\x65\x74\x68\x30",
		"2001:db8::ff":       "c1\r\neth0",
		"last_reserved_ip.0": "10.22.0.2",
		"last_reserved_ip.1": "2001:db8::ff",
		"lock":               "",
	})
	for name, want := range map[string]fs.FileMode{"": fs.ModeDir | 0o755, "10.22.0.2": 0o600, "last_reserved_ip.0": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("mode of %q = %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	wantTree(t, filepath.Join(dir, "../.owners/net"), map[string]string{
		"c1@eth0#0": "../../net/10.22.0.2", "c1@eth0#1": "../../net/2001:db8::ff",
	})
	if data, err := os.ReadFile(filepath.Join(dir, "../.owners/net/c1@eth0#1")); string(data) != "c1\r\neth0" || err != nil {
		t.Errorf("the link leads to %q, %v; want the reservation", data, err)
	}
	mustRelease(t, a, "c1")
	wantTree(t, filepath.Join(dir, ".."), map[string]string{ // LIFE-012
		"net/last_reserved_ip.0": "10.22.0.2", "net/last_reserved_ip.1": "2001:db8::ff", "net/lock": "",
	})
}

// C-20: what others left in the directory, whole, half-written, empty and foreign.
// No address is lost.
func TestFileStore_foreign_C20(t *testing.T) {
	t.Parallel()
	s, dir := fileStore(t)
	files := map[string]string{
		"10.0.0.2":            "c1\r\neth0",
		"10.0.0.3":            "c1\r\neth0\n", // as an editor would leave it
		"10.0.0.4":            "c2",           // before there were interface names
		"10.0.0.5":            "",             // a crash between the making and the writing
		"10.0.0.6":            "\x00\x00\x00", // a power cut
		"10.0.0.7":            "c1\x00\r\neth0",
		"010.0.0.8":           "c1\r\neth0", // not the usual spelling
		"::ffff:10.0.0.9":     "c1\r\neth0",
		"last_reserved_ip.0":  "nonsense",
		"last_reserved_ip.1":  "10.0.0.4\n",
		"notes":               "c1\r\neth0",
		"sub/10.0.0.9":        "c1\r\neth0",
		"10.0.0.10/a":         "",
		"10.0.0.13":           "kept for the router", // an administrator
		"10.0.0.11":           strings.Repeat("x", 5000),
		"lock":                "",
		".new":                "c1\r\neth0", // ours, from a crash
		"fe80::1%eth0":        "c1\r\neth0",
		"2001:db8:0:0::7":     "c1\r\neth0",
		"2001:db8::1":         "c3\r\neth0",
		"10.0.0.12.something": "c1\r\neth0",
	}
	for name, data := range files {
		write(t, filepath.Join(dir, name), data)
	}
	err := s.Update(t.Context(), func(tx ipam.Tx) error {
		for o, want := range map[types.Attachment]string{
			owner("c1"): "[10.0.0.2 10.0.0.3]", {ContainerID: "c2"}: "[10.0.0.4]", owner("c3"): "[2001:db8::1]", owner("c9"): "[]", {}: "[]",
		} {
			got, err := tx.Addrs(o)
			if fmt.Sprint(got) != want || err != nil {
				t.Errorf("Addrs(%v) = %v, %v; want %s", o, got, err, want)
			}
		}
		taken, err := tx.Taken()
		if err != nil {
			return err
		}
		var names []string
		for addr := range taken {
			names = append(names, addr.String())
		}
		slices.Sort(names)
		if diff := cmp.Diff([]string{"10.0.0.10", "10.0.0.11", "10.0.0.13", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.7", "2001:db8::1"}, names); diff != "" {
			t.Errorf("Taken() mismatch (-want +got):\n%s", diff)
		}
		for set, want := range []string{"invalid IP", "10.0.0.4", "invalid IP"} {
			if got, err := tx.Cursor(set); got.String() != want || err != nil {
				t.Errorf("Cursor(%d) = %v, %v; want %s", set, got, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"10.0.0.5", "10.0.0.6", ".new"} {
		delete(files, gone)
	}
	wantTree(t, dir, files)
	// GC-026
	if err := (ipam.Allocator{Store: s}).GC(t.Context(), nil); err != nil {
		t.Error(err)
	}
	for _, gone := range []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "2001:db8::1"} {
		delete(files, gone)
	}
	wantTree(t, dir, files)
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24 10.0.0.2-10.0.0.13")}
	for i, want := range []string{"2", "3", "4", "5", "6", "8", "9", "12"} {
		mustAllocate(t, a, fmt.Sprint("d", i), "10.0.0."+want+"/24")
	}
	if err := a.Status(t.Context()); !errors.Is(err, types.ErrPluginNotAvailable) {
		t.Errorf("Status() = %v, want error 50", err)
	}
}

// An address that an empty file holds is as good as free for STATUS too.
func TestFileStore_emptyIsFree(t *testing.T) {
	t.Parallel()
	s, dir := fileStore(t)
	write(t, filepath.Join(dir, "10.0.0.2"), "")
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/30")}
	if err := a.Status(t.Context()); err != nil {
		t.Errorf("Status() = %v, want success", err)
	}
	wantTree(t, dir, map[string]string{"10.0.0.2": ""}) // STA-012
	if err := a.Check(t.Context(), owner("c1"), []netip.Addr{netip.MustParseAddr("10.0.0.2")}); err == nil {
		t.Error("Check() of an empty file succeeded")
	}
	mustAllocate(t, a, "c1", "10.0.0.2/30")
}

// DEL, GC, CHECK and STATUS of a network that never had an address leave no trace.
func TestFileStore_absent(t *testing.T) {
	t.Parallel()
	s, dir := fileStore(t)
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
	mustRelease(t, a, "c1")
	err := errors.Join(a.GC(t.Context(), nil), a.Status(t.Context()), s.Ready(), a.Rollback(t.Context(), owner("c1"), ipam.Allocation{}))
	if err != nil {
		t.Error(err)
	}
	if err := a.Check(t.Context(), owner("c1"), []netip.Addr{netip.MustParseAddr("10.0.0.2")}); err == nil {
		t.Error("Check() succeeded")
	}
	if _, err := a.Allocate(t.Context(), owner("c1"), netip.MustParseAddr("10.9.9.9")); err == nil {
		t.Error("Allocate(foreign address) succeeded")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat() = %v, want no directory", err)
	}
}

func TestFileStore_badNetwork(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "..", "a/b", ".owners"} {
		s := ipam.FileStore{Dir: t.TempDir(), Network: name}
		err := s.Update(t.Context(), func(ipam.Tx) error { return errors.New("was called") })
		for _, err := range []error{err, s.Ready(), s.View(t.Context(), func(ipam.Reader) error { return nil })} {
			if !errors.Is(err, types.ErrInvalidNetworkConfig) {
				t.Errorf("network %q: %v, want error 7", name, err)
			}
		}
	}
}

func TestFileStore_Ready(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	if err := (ipam.FileStore{Dir: file, Network: "net"}).Ready(); !errors.Is(err, types.ErrPluginNotAvailable) {
		t.Errorf("Ready() below a file = %v, want error 50", err)
	}
	if err := (ipam.FileStore{Dir: "/proc", Network: "net"}).Ready(); !errors.Is(err, types.ErrPluginNotAvailable) {
		if os.Getuid() != 0 { // root may write anywhere, as far as access(2) knows
			t.Errorf("Ready() in /proc = %v, want error 50", err)
		}
	}
}

// C-29, LIFE-010: waiting for the lock is bounded, and says for what.
func TestFileStore_lock_C29(t *testing.T) {
	t.Parallel()
	s, dir := fileStore(t)
	s.LockLimit = 30 * time.Millisecond
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
	mustAllocate(t, a, "c1", "10.0.0.2/24")
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = a.Allocate(t.Context(), owner("c2"))
	if !errors.Is(err, types.ErrTryAgainLater) || !strings.Contains(err.Error(), filepath.Join(dir, "lock")) || !strings.Contains(err.Error(), "30ms") {
		t.Errorf("Allocate() = %v, want error 11 with the lock and the limit", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := a.Release(ctx, owner("c1")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Release() = %v, want context.DeadlineExceeded", err)
	}
	// CHECK needs no lock.
	if err := a.Check(t.Context(), owner("c1"), []netip.Addr{netip.MustParseAddr("10.0.0.2")}); err != nil {
		t.Errorf("Check() = %v", err)
	}
	s.LockLimit = 0
	a.Store = s
	done := make(chan error, 1)
	go func() {
		_, err := a.Allocate(t.Context(), owner("c2"))
		done <- err
	}()
	time.Sleep(20 * time.Millisecond)
	// The directory goes away under a waiter: the lock that it gets is nobody's.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Allocate() = %v", err)
	}
	// The set begins anew, since the cursor went with the directory.
	wantContents(t, s, map[string]string{"10.0.0.2": "c2/eth0"})
}

// While only we write, nothing is read but what is asked for: a file that changes
// without a change of the directory is not seen. C-30, C5.
func TestFileStore_steady_C30(t *testing.T) {
	t.Parallel()
	s, dir := fileStore(t)
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
	for i := range 5 {
		mustAllocate(t, a, fmt.Sprint("c", i), fmt.Sprintf("10.0.0.%d/24", i+2))
	}
	write(t, filepath.Join(dir, "10.0.0.2"), "") // in its place, so that the directory stays as it is
	if !s.Signed() {
		t.Fatal("the directory is not signed")
	}
	mustAllocate(t, a, "d1", "10.0.0.7/24")
	mustRelease(t, a, "d1")
	mustRelease(t, a, "c9")
	mustRelease(t, a, "c1")
	if _, err := os.Stat(filepath.Join(dir, "10.0.0.2")); err != nil {
		t.Errorf("the empty file was found: %v", err)
	}
	// A link that leads there does not count, though, and everything is read.
	mustRelease(t, a, "c0")
	if _, err := os.Stat(filepath.Join(dir, "10.0.0.2")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat(empty file) = %v, want it gone", err)
	}
	if !s.Signed() {
		t.Error("the directory is not signed")
	}
}

// Whatever somebody else does to one of the two directories is seen.
func TestFileStore_signature(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		act  func(dir, index string) error
		want string // what c9 has then
	}{
		{"nothing", func(string, string) error { return nil }, ""},
		{"another adds", func(dir, _ string) error {
			return os.WriteFile(filepath.Join(dir, "10.0.0.200"), []byte("c9\r\neth0"), 0o600)
		}, "10.0.0.200"},
		{"another removes", func(dir, _ string) error { return os.Remove(filepath.Join(dir, "10.0.0.2")) }, ""},
		{"another renames", func(dir, _ string) error {
			return os.Rename(filepath.Join(dir, "10.0.0.2"), filepath.Join(dir, "10.0.0.9"))
		}, ""},
		{"links are removed", func(_, index string) error { return os.Remove(filepath.Join(index, "c1@eth0#0")) }, ""},
		{"all links are removed", func(_, index string) error { return os.RemoveAll(index) }, ""},
		{"the directory is put back from a copy", func(dir, index string) error {
			info, err := os.Stat(dir)
			if err != nil {
				return err
			}
			s := ipam.FileStore{Dir: filepath.Dir(dir), Network: "net"}
			err = s.Update(context.Background(), func(tx ipam.Tx) error {
				return tx.Reserve(netip.MustParseAddr("10.0.0.77"), owner("c7"))
			})
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "10.0.0.200"), []byte("c9\r\neth0"), 0o600); err != nil {
				return err
			}
			return os.Chtimes(dir, time.Time{}, info.ModTime())
		}, "10.0.0.200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, dir := fileStore(t)
			a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
			mustAllocate(t, a, "c1", "10.0.0.2/24")
			mustAllocate(t, a, "c2", "10.0.0.3/24")
			if !s.Signed() {
				t.Fatal("the directory is not signed; is there a boot ID?")
			}
			index := filepath.Join(dir, "../.owners/net")
			if err := tt.act(dir, index); err != nil {
				t.Fatal(err)
			}
			if got := s.Signed(); got != (tt.name == "nothing") {
				t.Errorf("Signed() = %t", got)
			}
			wantConsistent(t, s, dir)
			err := s.Update(t.Context(), func(tx ipam.Tx) error {
				got, err := tx.Addrs(owner("c9"))
				if text := strings.Trim(fmt.Sprint(got), "[]"); text != tt.want {
					t.Errorf("Addrs(c9) = %s, want %s", text, tt.want)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

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
		if data, err := os.ReadFile(filepath.Join(dir, filepath.Base(target))); err != nil || !strings.HasPrefix(id, strings.ReplaceAll(string(data), "\r\n", "@")) {
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

// DLG-032, LIFE-005 to LIFE-007: many processes at once never get the same address.
func TestFileStore_processes(t *testing.T) {
	t.Parallel()
	const processes, each = 6, 25
	s, dir := fileStore(t)
	outputs := make([]string, processes)
	var group sync.WaitGroup
	for i := range processes {
		cmd := child(t, filepath.Dir(dir), fmt.Sprintf("many p%d %d", i, each), 0)
		group.Go(func() {
			out, err := cmd.Output()
			if err != nil {
				t.Error(err)
			}
			outputs[i] = string(out)
		})
	}
	group.Go(func() { // and the other implementation
		r := reference{dir}
		for i := range each {
			if _, err := r.add(fmt.Sprint("r-", i), "eth0", "10.0.0.0/24", "2001:db8::/64"); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	seen := map[string]bool{}
	for _, out := range outputs {
		for _, addr := range strings.Fields(out) {
			if seen[addr] {
				t.Errorf("address %s was handed out twice", addr)
			}
			seen[addr] = true
		}
	}
	if len(seen) != 2*processes*each || len(contents(t, s)) != len(seen)+2*each {
		t.Errorf("%d addresses were handed out and %d are reserved, want %d and %d", len(seen), len(contents(t, s)), 2*processes*each, 2*(processes+1)*each)
	}
	wantConsistent(t, s, dir)
}

// GC-028: ADD and DEL of others go on while GC, which lists them, runs.
func TestFileStore_concurrentGC(t *testing.T) {
	t.Parallel()
	s, _ := fileStore(t)
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
	mustAllocate(t, a, "stale", "10.0.0.2/24")
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := a.GC(t.Context(), []types.Attachment{owner("c1"), owner("c2")}); err != nil {
				t.Error(err)
			}
		}
	})
	var loops sync.WaitGroup
	for _, id := range []string{"c1", "c2"} {
		loops.Go(func() {
			for range 50 {
				got, err := a.Allocate(t.Context(), owner(id))
				if err != nil {
					t.Error(err)
					return
				}
				if err := a.Check(t.Context(), owner(id), []netip.Addr{got.IPs[0].Address.Addr()}); err != nil {
					t.Error(err)
				}
				mustRelease(t, a, id)
			}
		})
	}
	loops.Wait()
	close(stop)
	group.Wait()
	wantContents(t, s, map[string]string{})
}

// GC-009: a reservation that cannot be removed does not keep the others.
func TestFileStore_gcGoesOn(t *testing.T) {
	t.Parallel()
	s, _ := fileStore(t)
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
	for i := range 3 {
		mustAllocate(t, a, fmt.Sprint("c", i), fmt.Sprintf("10.0.0.%d/24", i+2))
	}
	n := 0
	a.Store = s.WithHook(func(step string) error {
		if step == "remove" {
			if n++; n == 2 {
				return fmt.Errorf("remove: %w", fs.ErrPermission)
			}
		}
		return nil
	})
	if err := a.GC(t.Context(), nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("GC() = %v, want fs.ErrPermission", err)
	}
	wantContents(t, s, map[string]string{"10.0.0.3": "c1/eth0"})
}

// reference does on a directory what the existing host-local plugin does: its file
// protocol, written anew after its description.
//
// Source: containernetworking/plugins v1.9.1,
// plugins/ipam/host-local/backend/disk/backend.go and allocator/allocator.go.
type reference struct{ dir string }

func (r reference) locked(f func() error) error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	fd, err := syscall.Open(filepath.Join(r.dir, "lock"), syscall.O_CREAT|syscall.O_RDONLY|syscall.O_CLOEXEC, 0o750)
	if err != nil {
		return err
	}
	if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
		return errors.Join(err, syscall.Close(fd))
	}
	return errors.Join(f(), syscall.Close(fd))
}

// walk calls f for each file below the directory with its trimmed content.
func (r reference) walk(f func(path, content string) error) error {
	return filepath.Walk(r.dir, func(path string, info fs.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		return f(path, strings.TrimSpace(string(data)))
	})
}

func (r reference) add(id, ifName string, subnets ...string) ([]netip.Addr, error) {
	var got []netip.Addr
	for i, subnet := range subnets {
		p := netip.MustParsePrefix(subnet)
		err := r.locked(func() error {
			addr, err := r.reserve(id, ifName, i, p)
			got = append(got, addr)
			return err
		})
		if err != nil {
			return nil, errors.Join(err, r.del(id, ifName, i+1))
		}
	}
	return got, nil
}

func (r reference) reserve(id, ifName string, set int, subnet netip.Prefix) (netip.Addr, error) {
	err := r.walk(func(path, content string) error {
		ip := net.ParseIP(filepath.Base(path))
		if content == id+"\r\n"+ifName && ip != nil && subnet.Contains(netip.MustParseAddr(ip.String())) {
			return fmt.Errorf("%s has been allocated to %s, duplicate allocation is not allowed", ip, id)
		}
		return nil
	})
	if err != nil {
		return netip.Addr{}, err
	}
	gateway := subnet.Addr().Next()
	end := netip.MustParseAddr("2001:db8::ffff:ffff:ffff:ffff")
	if subnet.Addr().Is4() {
		end = netip.AddrFrom4([4]byte{10, 0, 0, 254})
	}
	cursorFile := filepath.Join(r.dir, fmt.Sprint("last_reserved_ip.", set))
	cursor := end
	if data, err := os.ReadFile(cursorFile); err == nil {
		if a, err := netip.ParseAddr(string(data)); err == nil && subnet.Contains(a) {
			cursor = a
		}
	}
	for addr := cursor; ; {
		if addr == end {
			addr = gateway
		} else {
			addr = addr.Next()
		}
		if addr != gateway {
			f, err := os.OpenFile(filepath.Join(r.dir, addr.String()), os.O_RDWR|os.O_EXCL|os.O_CREATE, 0o600)
			if err == nil {
				_, err = f.WriteString(id + "\r\n" + ifName)
				return addr, errors.Join(err, f.Close(), os.WriteFile(cursorFile, []byte(addr.String()), 0o600))
			}
			if !errors.Is(err, fs.ErrExist) {
				return netip.Addr{}, err
			}
		}
		if addr == cursor {
			return netip.Addr{}, errors.New("no IP addresses available")
		}
	}
}

func (r reference) del(id, ifName string, sets int) error {
	for range sets {
		err := r.locked(func() error {
			return r.walk(func(path, content string) error {
				if content == id+"\r\n"+ifName {
					return os.Remove(path)
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// The two implementations take turns on one directory: neither loses an address of
// the other, and the order is one.
func TestFileStore_turns(t *testing.T) {
	t.Parallel()
	s, dir := fileStore(t)
	subnets := []string{"10.0.0.0/24", "2001:db8::/64"}
	a := ipam.Allocator{Store: s, Sets: sets(t, subnets...)}
	r := reference{dir}
	random := rand.New(rand.NewPCG(5, 6))
	model := map[string]string{}
	var cursors [2]netip.Addr
	for step := range 600 {
		id := fmt.Sprint("c", random.IntN(40))
		ours := random.IntN(2) == 0
		if random.IntN(2) == 0 {
			var err error
			if ours {
				err = a.Release(t.Context(), owner(id))
			} else {
				err = r.del(id, "eth0", 2)
			}
			if err != nil {
				t.Fatalf("step %d: DEL of %s: %v", step, id, err)
			}
			maps.DeleteFunc(model, func(_, o string) bool { return o == id+"/eth0" })
		} else {
			var got []netip.Addr
			var err error
			held := false
			for _, o := range model {
				held = held || o == id+"/eth0"
			}
			if ours {
				var allocation ipam.Allocation
				allocation, err = a.Allocate(t.Context(), owner(id))
				for _, ip := range allocation.IPs {
					got = append(got, ip.Address.Addr())
				}
			} else if !held { // it would refuse, and release them on the way
				got, err = r.add(id, "eth0", subnets...)
			}
			if err != nil {
				t.Fatalf("step %d: ADD of %s: %v", step, id, err)
			}
			for i, addr := range got {
				if held {
					if model[addr.String()] != id+"/eth0" {
						t.Fatalf("step %d: ADD of %s again = %s, which is %s's", step, id, addr, model[addr.String()])
					}
					continue
				}
				taken := func(a netip.Addr) bool { return model[a.String()] != "" }
				want := addr
				if i == 0 {
					want = slowNext(a.Sets[i], cursors[i], taken)
				}
				if addr != want || taken(addr) {
					t.Fatalf("step %d: ADD of %s = %s, want %s", step, id, addr, want)
				}
				cursors[i] = addr
			}
			for _, addr := range got {
				model[addr.String()] = id + "/eth0"
			}
		}
		if diff := cmp.Diff(model, contents(t, s)); diff != "" {
			t.Fatalf("step %d: store mismatch (-want +got):\n%s", step, diff)
		}
	}
	wantConsistent(t, s, dir)
	for i := range 40 {
		mustRelease(t, a, fmt.Sprint("c", i))
	}
	wantContents(t, s, map[string]string{})
}

// FuzzRecord checks that whatever a file holds is somebody's, nobody's, or blank,
// and that what we write comes back.
func FuzzRecord(f *testing.F) {
	for _, data := range []string{"c1\r\neth0", "c1", "", "\x00\x00", "c1\r\neth0\n", "\r\neth0", "c1\r\n", "a\r\nb\r\nc", " c1 \r\n eth0 ", "c1\neth0"} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, blank := ipam.ParseRecord(data)
		if blank && o != (types.Attachment{}) {
			t.Errorf("ParseRecord(%q) = %+v and blank", data, o)
		}
		if o.ContainerID == "" || strings.TrimSpace(o.ContainerID) != o.ContainerID || strings.TrimSpace(o.IfName) != o.IfName {
			return
		}
		again, blank := ipam.ParseRecord(ipam.FormatRecord(o))
		if again != o || blank {
			t.Errorf("ParseRecord(FormatRecord(%+v)) = %+v, %t", o, again, blank)
		}
	})
}

// benchDir returns a store with n reservations.
func benchStore(b *testing.B, n int) (ipam.Allocator, string) {
	s, dir := fileStore(b)
	a := ipam.Allocator{Store: s, Sets: sets(b, "10.0.0.0/8")}
	err := s.Update(b.Context(), func(tx ipam.Tx) error {
		addr := netip.MustParseAddr("10.0.0.2")
		for i := range n {
			if err := tx.Reserve(addr, owner(fmt.Sprint("x", i))); err != nil {
				return err
			}
			addr = addr.Next()
		}
		return tx.SetCursor(0, addr)
	})
	if err != nil {
		b.Fatal(err)
	}
	return a, dir
}

// The cost of each operation does not grow with the reservations: C5.
func BenchmarkFileStore(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		a, dir := benchStore(b, n)
		benchmarks := []struct {
			name string
			run  func() error
		}{
			{"ADD+DEL", func() error {
				if _, err := a.Allocate(b.Context(), owner("c1")); err != nil {
					return err
				}
				return a.Release(b.Context(), owner("c1"))
			}},
			{"DEL of nothing", func() error { return a.Release(b.Context(), owner("c1")) }},
			{"CHECK", func() error {
				return a.Check(b.Context(), owner("x0"), []netip.Addr{netip.MustParseAddr("10.0.0.2")})
			}},
			{"STATUS", func() error { return a.Status(b.Context()) }},
			{"DEL after another's turn", func() error {
				now := time.Now()
				return errors.Join(os.Chtimes(dir, now, now), a.Release(b.Context(), owner("c1")))
			}},
		}
		for _, bb := range benchmarks {
			b.Run(fmt.Sprintf("%s/%d", bb.name, n), func(b *testing.B) {
				for b.Loop() {
					if err := bb.run(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
