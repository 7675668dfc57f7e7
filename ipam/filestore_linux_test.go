// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
		"10.0.0.7":            "c1\x01\r\neth0",
		"10.0.0.14":           "c1\x00\x00\x00\x00\x00\x00", // a power cut, between two pages
		"010.0.0.8":           "c1\r\neth0",                 // not the usual spelling
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
	for _, gone := range []string{"10.0.0.5", "10.0.0.6", "10.0.0.14", ".new"} {
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

// LIFE-024: another process makes the directories of a fresh node at the same moment.
func TestFileStore_madeMeanwhile(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"mkdir", "index"} {
		s := ipam.FileStore{Dir: filepath.Join(t.TempDir(), "networks"), Network: "net"}
		made := false
		hooked := s.WithHook(func(before string) error {
			if before != step || made {
				return nil
			}
			made = true
			return errors.Join(os.MkdirAll(filepath.Join(s.Dir, "net"), 0o755), os.MkdirAll(filepath.Join(s.Dir, ".owners/net"), 0o755))
		})
		a := ipam.Allocator{Store: hooked, Sets: sets(t, "10.0.0.0/29")}
		if _, err := a.Allocate(t.Context(), owner("c1")); err != nil || !made {
			t.Errorf("%s: Allocate() = %v, the directories were made meanwhile: %t; want nil, true", step, err, made)
		}
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

// No operation leaves a descriptor open. The parallel tests wait for this one.
func TestFileStore_descriptors(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("no list of descriptors: ", err)
		}
		return len(entries)
	}
	s, dir := fileStore(t)
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/29")}
	mustAllocate(t, a, "c0", "10.0.0.2/29")
	before := open()
	for i := range 20 {
		id := fmt.Sprint("c", i%8)
		if _, err := a.Allocate(t.Context(), owner(id)); err != nil && !errors.Is(err, types.ErrTryAgainLater) {
			t.Error(err)
		}
		err := errors.Join(a.Check(t.Context(), owner("c0"), []netip.Addr{netip.MustParseAddr("10.0.0.2")}),
			a.GC(t.Context(), []types.Attachment{owner("c0"), owner("c1")}), os.Chtimes(dir, time.Time{}, time.Now()))
		if err != nil {
			t.Error(err)
		}
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors are open, want %d as before", after, before)
	}
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

// LIFE-013: after a power cut both directories may be signed, by the boot before,
// and a reservation may have lost its content. It is not lost for ever, and what
// kept its content is still reserved.
func TestFileStore_powerCut(t *testing.T) {
	t.Parallel()
	s, dir := fileStore(t)
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/29")}
	mustAllocate(t, a, "c1", "10.0.0.2/29")
	mustAllocate(t, a, "c2", "10.0.0.3/29")
	write(t, filepath.Join(dir, "10.0.0.2"), "")
	before := time.Date(1983, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, d := range []string{dir, filepath.Join(dir, "../.owners/net")} {
		if err := os.Chtimes(d, time.Time{}, before); err != nil {
			t.Fatal(err)
		}
	}
	mustRelease(t, a, "c1")
	wantContents(t, s, map[string]string{"10.0.0.3": "c2/eth0"})
	wantConsistent(t, s, dir)
	for i, want := range []string{"4", "5", "6", "2"} {
		mustAllocate(t, a, fmt.Sprint("d", i), "10.0.0."+want+"/29")
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
