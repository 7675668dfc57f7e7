// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// A trap is something in a data directory that does not belong there.
type trap struct {
	name string
	// lay lays it: dir is the directory of the network, index that of its links and
	// outside one with somebody else's things.
	lay func(dir, index, outside string) error
	// refused is what the error says, empty if all works in spite of it.
	refused string
	// first is the address that the first container gets. Empty: 10.0.0.2.
	first string
	// stays is what is still there afterwards, below dir.
	stays string
}

func pipe(path string) error { return syscall.Mkfifo(path, 0o600) }

func socket(path string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0) }

func full(path string) error {
	return errors.Join(os.MkdirAll(path, 0o755), os.WriteFile(filepath.Join(path, "10.0.0.2"), []byte("theirs"), 0o600))
}

func huge(path string) error {
	return errors.Join(os.WriteFile(path, []byte("10.0.0.3"), 0o600), os.Truncate(path, 1<<40))
}

func traps() []trap {
	at := func(name string, lay func(path string) error) func(string, string, string) error {
		return func(dir, _, _ string) error { return lay(filepath.Join(dir, name)) }
	}
	link := func(name, target string) func(string, string, string) error {
		return func(dir, _, outside string) error {
			return os.Symlink(filepath.Join(outside, target), filepath.Join(dir, name))
		}
	}
	all := []trap{
		{name: "nothing", lay: func(string, string, string) error { return nil }},
		{name: "lock is a link", lay: link("lock", "passwd"), refused: "net/lock: not a regular file"},
		{name: "lock is a link to nothing", lay: link("lock", "none"), refused: "net/lock: not a regular file"},
		{name: "lock is a pipe", lay: at("lock", pipe), refused: "net/lock: not a regular file"},
		{name: "lock is a socket", lay: at("lock", socket), refused: "net/lock: not a regular file"},
		{name: "lock is a directory", lay: at("lock", full), refused: "net/lock: not a regular file"},
		{name: "cursor is a link", lay: link("last_reserved_ip.0", "passwd")},
		{name: "cursor is a pipe", lay: at("last_reserved_ip.0", pipe)},
		{name: "cursor is a directory", lay: at("last_reserved_ip.0", full), stays: "last_reserved_ip.0/10.0.0.2"},
		{name: "cursor is huge", lay: at("last_reserved_ip.0", huge)},
		{name: "draft is a link", lay: link(".new", "passwd")},
		{name: "draft is a pipe", lay: at(".new", pipe)},
		{name: "draft is a directory", lay: at(".new", full), refused: "net/.new: directory not empty", stays: ".new/10.0.0.2"},
		{name: "address is a link", lay: link("10.0.0.2", "passwd"), first: "10.0.0.3", stays: "10.0.0.2"},
		{name: "address is a link to nothing", lay: link("10.0.0.2", "none"), first: "10.0.0.3", stays: "10.0.0.2"},
		{name: "address is a link to a record", lay: link("10.0.0.2", "record"), first: "10.0.0.3", stays: "10.0.0.2"},
		{name: "address is a pipe", lay: at("10.0.0.2", pipe), first: "10.0.0.3", stays: "10.0.0.2"},
		{name: "address is a socket", lay: at("10.0.0.2", socket), first: "10.0.0.3", stays: "10.0.0.2"},
		{name: "address is a directory", lay: at("10.0.0.2", full), first: "10.0.0.3", stays: "10.0.0.2/10.0.0.2"},
		{name: "address is huge", lay: at("10.0.0.2", huge), first: "10.0.0.3", stays: "10.0.0.2"},
		{name: "a directory of the same layout", lay: at("sub", full), stays: "sub/10.0.0.2"},
		{name: "network is a file", refused: "net: not a directory", lay: func(dir, _, _ string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		}},
		{name: "network is a link to nothing", refused: "net: no such file", lay: func(dir, _, outside string) error {
			return errors.Join(os.Remove(dir), os.Symlink(filepath.Join(outside, "none"), dir))
		}},
		{name: "network is a pipe", refused: "net: not a directory", lay: func(dir, _, _ string) error {
			return errors.Join(os.Remove(dir), pipe(dir))
		}},
		{name: "network is our own link", lay: func(dir, _, _ string) error {
			real := filepath.Join(filepath.Dir(dir), "real")
			return errors.Join(os.Rename(dir, real), os.Symlink("real", dir))
		}},
		{name: ".owners is a link", lay: func(_, index, outside string) error {
			return os.Symlink(outside, filepath.Dir(index))
		}},
		{name: ".owners is a link to the like", lay: func(_, index, outside string) error {
			return os.Symlink(filepath.Join(outside, "like"), filepath.Dir(index))
		}},
		{name: ".owners is a file", lay: func(_, index, _ string) error { return os.WriteFile(filepath.Dir(index), nil, 0o600) }},
		{name: ".owners is a pipe", lay: func(_, index, _ string) error { return pipe(filepath.Dir(index)) }},
		{name: "index is a link", lay: func(_, index, outside string) error {
			return errors.Join(os.MkdirAll(filepath.Dir(index), 0o755), os.Symlink(outside, index))
		}},
		{name: "index is a pipe", lay: func(_, index, _ string) error {
			return errors.Join(os.MkdirAll(filepath.Dir(index), 0o755), pipe(index))
		}},
	}
	for name, lay := range map[string]func(path string) error{"pipe": pipe, "directory": full, "huge": huge} {
		link := trap{name: "a link is a " + name, lay: func(_, index, _ string) error {
			return errors.Join(os.MkdirAll(index, 0o755), lay(filepath.Join(index, "d1@eth0#0")))
		}}
		if name == "directory" {
			link.stays = "../.owners/net/d1@eth0#0/10.0.0.2"
		}
		all = append(all, link)
	}
	return append(all, trap{name: "a link leads outside", lay: func(_, index, outside string) error {
		return errors.Join(os.MkdirAll(index, 0o755), os.Symlink(filepath.Join(outside, "10.0.0.2"), filepath.Join(index, "d1@eth0#0")))
	}})
}

// within runs f, and ends the test if that takes for ever.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it hangs")
	}
}

// modes lists everything below a directory with mode, size and time, without
// following anything.
func modes(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, strings.TrimPrefix(path, dir), info.Mode(), info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whatever is in the data directory, nothing outside is touched, nothing is waited
// for, no address is handed out twice, and an error names the path.
func TestFileStore_hostile(t *testing.T) {
	t.Parallel()
	for _, tt := range traps() {
		for _, when := range []string{"before", "after"} {
			t.Run(tt.name+"/"+when, func(t *testing.T) {
				t.Parallel()
				s, dir := fileStore(t)
				a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
				if when == "after" { // somebody has been there
					mustAllocate(t, a, "c0", "10.0.0.2/24")
					mustRelease(t, a, "c0")
					for _, name := range []string{"lock", "last_reserved_ip.0"} {
						if err := os.Remove(filepath.Join(dir, name)); err != nil {
							t.Fatal(err)
						}
					}
					if err := os.RemoveAll(filepath.Join(dir, "../.owners")); err != nil {
						t.Fatal(err)
					}
				} else if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				testTrap(t, tt, a, dir)
			})
		}
	}
}

func testTrap(t *testing.T, tt trap, a ipam.Allocator, dir string) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "passwd"), "root:x:0:0::/root:/bin/sh\n")
	write(t, filepath.Join(outside, "record"), "d1\r\neth0")
	write(t, filepath.Join(outside, "10.0.0.2"), "d1\r\neth0")
	write(t, filepath.Join(outside, "net/file"), "precious")
	write(t, filepath.Join(outside, "like/net/d1@eth0#0"), "precious")
	if err := tt.lay(dir, filepath.Join(dir, "../.owners/net"), outside); err != nil {
		t.Fatal(err)
	}
	before, beforeModes := tree(t, outside), modes(t, outside)
	within(t, func() {
		got, err := a.Allocate(t.Context(), owner("d1"))
		if tt.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("Allocate() = %v, %v; want an error with %q", short(got), err, tt.refused)
			}
			return
		}
		want := "10.0.0.2"
		if tt.first != "" {
			want = tt.first
		}
		if err != nil || short(got) != want+"/24" {
			t.Fatalf("Allocate(d1) = %v, %v; want %s", short(got), err, want)
		}
		for range 2 {
			if again, err := a.Allocate(t.Context(), owner("d1")); err != nil || short(again) != short(got) {
				t.Errorf("Allocate(d1) again = %v, %v; want %v", short(again), err, short(got))
			}
		}
		other, err := a.Allocate(t.Context(), owner("d2"))
		if err != nil || short(other) == short(got) {
			t.Errorf("Allocate(d2) = %v, %v; want another than %v", short(other), err, short(got))
		}
		held := []netip.Addr{netip.MustParseAddr(want)}
		err = errors.Join(a.Status(t.Context()), a.Check(t.Context(), owner("d1"), held), a.GC(t.Context(), []types.Attachment{owner("d1")}))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff("d1/eth0", contents(t, a.Store)[want]); diff != "" {
			t.Errorf("owner of %s mismatch (-want +got):\n%s", want, diff)
		}
		mustRelease(t, a, "d1")
		if got, ok := contents(t, a.Store)[want]; ok {
			t.Errorf("after DEL %s is %s's, want it free", want, got)
		}
	})
	if diff := cmp.Diff(before, tree(t, outside)); diff != "" {
		t.Errorf("outside mismatch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(beforeModes, modes(t, outside)); diff != "" {
		t.Errorf("outside mismatch (-want +got):\n%s", diff)
	}
	if _, err := os.Lstat(filepath.Join(dir, tt.stays)); err != nil {
		t.Errorf("what was there is gone: %v", err)
	}
}

// What is in the place of a link is seen to be none, even if the directories are
// signed.
func TestFileStore_noLink(t *testing.T) {
	t.Parallel()
	for name, lay := range map[string]func(path string) error{"pipe": pipe, "directory": full, "huge": huge} {
		s, dir := fileStore(t)
		a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
		mustAllocate(t, a, "c1", "10.0.0.2/24")
		index := filepath.Join(dir, "../.owners/net")
		info, err := os.Stat(index)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(index, "c1@eth0#0")
		if err := errors.Join(os.Remove(path), lay(path), os.Chtimes(index, time.Time{}, info.ModTime())); err != nil {
			t.Fatal(err)
		}
		if !s.Signed() {
			t.Fatalf("%s: the directory is not signed", name)
		}
		mustAllocate(t, a, "c1", "10.0.0.2/24")
		mustRelease(t, a, "c1")
		wantContents(t, s, map[string]string{})
	}
}

// A link in the place of the directory that another user made is not followed.
func TestFileStore_foreignLink(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give a link away")
	}
	s, dir := fileStore(t)
	outside := t.TempDir()
	if err := errors.Join(os.Symlink(outside, dir), os.Lchown(dir, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	_, err := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}.Allocate(t.Context(), owner("c1"))
	if err == nil || !strings.Contains(err.Error(), dir+": a link that neither root nor this user made") {
		t.Errorf("Allocate() = %v, want the link refused", err)
	}
	wantTree(t, outside, map[string]string{})
	if err := os.Lchown(dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	mustAllocate(t, ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}, "c1", "10.0.0.2/24")
}

// A directory that everybody can write to is used, and the log says what that means.
func TestFileStore_writableByOthers(t *testing.T) {
	s, dir := fileStore(t)
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/24")}
	mustAllocate(t, a, "c1", "10.0.0.2/24")
	var log bytes.Buffer
	old := slog.Default() // the parallel tests wait for this one
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(old)
	for mode, want := range map[os.FileMode]bool{0o755: false, 0o775: false, 0o777: true, 0o777 | os.ModeSticky: true} {
		log.Reset()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		mustAllocate(t, a, "c1", "10.0.0.2/24")
		if got := strings.Contains(log.String(), "everybody on this machine can write") && strings.Contains(log.String(), dir); got != want {
			t.Errorf("mode %v: log = %q, want a warning %t", mode, log.String(), want)
		}
	}
}

// A file that cannot be read keeps its address and nobody else's; GC says which.
func TestFileStore_unreadable(t *testing.T) {
	t.Parallel()
	s, dir := fileStore(t)
	write(t, filepath.Join(dir, "10.0.0.2"), "c1\r\neth0")
	write(t, filepath.Join(dir, "10.0.0.3"), "c2\r\neth0")
	path := filepath.Join(dir, "10.0.0.2")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(path); err == nil {
		t.Skip("this user can read everything: ", f.Close())
	}
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/29")}
	mustAllocate(t, a, "c3", "10.0.0.4/29")
	if err := a.GC(t.Context(), []types.Attachment{owner("c3")}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) {
		t.Errorf("GC() = %v, want fs.ErrPermission with the path", err)
	}
	mustRelease(t, a, "c1")
	for i, want := range []string{"5", "6", "3"} {
		mustAllocate(t, a, fmt.Sprint("d", i), "10.0.0."+want+"/29")
	}
	if _, err := a.Allocate(t.Context(), owner("d9")); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("Allocate() = %v, want error 11", err)
	}
}
