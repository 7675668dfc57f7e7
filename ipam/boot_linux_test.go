// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// markable skips the test if files below dir cannot have a boot mark.
func markable(t testing.TB, dir string) {
	t.Helper()
	path := filepath.Join(dir, "markable")
	write(t, path, "")
	if err := syscall.Setxattr(path, "user.cnikit.boot", []byte("x"), 0); err != nil {
		t.Skipf("lacks extended attributes in %s: %v", dir, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// rebooter is a store on a machine that can be started anew.
type rebooter struct {
	ipam.FileStore
	dir   string
	boots int
}

func newRebooter(t testing.TB) *rebooter {
	s, dir := fileStore(t)
	markable(t, filepath.Dir(dir))
	r := &rebooter{FileStore: s, dir: dir}
	r.reboot()
	return r
}

func (r *rebooter) reboot() {
	r.boots++
	r.FileStore = r.WithBoot(fmt.Sprint("boot-", r.boots))
}

func mark(t testing.TB, path string) string {
	t.Helper()
	var value [100]byte
	n, err := syscall.Getxattr(path, "user.cnikit.boot", value[:])
	if errors.Is(err, syscall.ENODATA) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(value[:n])
}

// LIFE-013: after a reboot, what was reserved before it is handed out once there is
// nothing else, in turn, and an owner who came back keeps what it has.
func TestFileStore_stale(t *testing.T) {
	t.Parallel()
	r := newRebooter(t)
	a := ipam.Allocator{Store: r.FileStore, Sets: sets(t, "10.0.0.0/29")}
	for i := range 4 {
		mustAllocate(t, a, fmt.Sprint("c", i), fmt.Sprintf("10.0.0.%d/29", 2+i))
	}
	write(t, filepath.Join(r.dir, "10.0.0.6"), "kept for the router")
	if _, err := a.Allocate(t.Context(), owner("d1")); !errors.Is(err, types.ErrTryAgainLater) {
		t.Fatalf("Allocate() in the same boot = %v, want error 11", err)
	}
	if err := a.Status(t.Context()); !errors.Is(err, types.ErrPluginNotAvailable) {
		t.Errorf("Status() in the same boot = %v, want error 50", err)
	}
	r.reboot()
	a.Store = r.FileStore
	before := tree(t, r.dir)
	if err := a.Status(t.Context()); err != nil {
		t.Errorf("Status() after a reboot = %v, want success", err)
	}
	wantTree(t, r.dir, before)
	mustAllocate(t, a, "c1", "10.0.0.3/29") // it is back
	mustAllocate(t, a, "d1", "10.0.0.2/29")
	wantContents(t, r.FileStore, map[string]string{"10.0.0.2": "d1/eth0", "10.0.0.3": "c1/eth0", "10.0.0.6": "/"})
	mustAllocate(t, a, "d2", "10.0.0.4/29")
	mustAllocate(t, a, "d3", "10.0.0.5/29")
	if _, err := a.Allocate(t.Context(), owner("d4")); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("Allocate() = %v, want error 11", err)
	}
}

// While there are free addresses, nobody loses one.
func TestFileStore_staleIsLast(t *testing.T) {
	t.Parallel()
	r := newRebooter(t)
	a := ipam.Allocator{Store: r.FileStore, Sets: sets(t, "10.0.0.0/29")}
	mustAllocate(t, a, "c1", "10.0.0.2/29")
	r.reboot()
	a.Store = r.FileStore
	for i := range 4 {
		mustAllocate(t, a, fmt.Sprint("d", i), fmt.Sprintf("10.0.0.%d/29", 3+i))
	}
	wantContents(t, r.FileStore, map[string]string{
		"10.0.0.2": "c1/eth0", "10.0.0.3": "d0/eth0", "10.0.0.4": "d1/eth0", "10.0.0.5": "d2/eth0", "10.0.0.6": "d3/eth0",
	})
	// GC needs no lack of addresses, and leaves to the valid what is theirs.
	if err := a.GC(t.Context(), []types.Attachment{owner("c1"), owner("d0")}); err != nil {
		t.Error(err)
	}
	wantContents(t, r.FileStore, map[string]string{"10.0.0.2": "c1/eth0", "10.0.0.3": "d0/eth0"})
	if err := a.GC(t.Context(), []types.Attachment{owner("d0")}); err != nil {
		t.Error(err)
	}
	wantContents(t, r.FileStore, map[string]string{"10.0.0.3": "d0/eth0"})
}

// What another program reserved counts as made when it was first seen: it is stale
// after the reboot that follows.
func TestFileStore_staleForeign(t *testing.T) {
	t.Parallel()
	r := newRebooter(t)
	a := ipam.Allocator{Store: r.FileStore, Sets: sets(t, "10.0.0.0/30 gw 10.0.0.1")}
	path := filepath.Join(r.dir, "10.0.0.2")
	write(t, path, "c1\r\neth0")
	for range 2 {
		if _, err := a.Allocate(t.Context(), owner("d1")); !errors.Is(err, types.ErrTryAgainLater) {
			t.Errorf("Allocate() = %v, want error 11", err)
		}
	}
	if got := mark(t, path); got != "boot-1" {
		t.Errorf("mark = %q, want that of the boot that saw it", got)
	}
	r.reboot()
	a.Store = r.FileStore.WithBoot("") // a machine that does not say which boot it is
	if _, err := a.Allocate(t.Context(), owner("d1")); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("Allocate() without a boot = %v, want error 11", err)
	}
	if _, err := a.Allocate(t.Context(), owner("c1")); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("Allocate(held) without a boot = %v, want an error: it would stay stale", err)
	}
	a.Store = r.FileStore
	mustAllocate(t, a, "d1", "10.0.0.2/30")
	if got := mark(t, path); got != "boot-2" {
		t.Errorf("mark = %q, want that of the running boot", got)
	}
}

// A requested address that nobody can have any more is granted, and so is one of a
// container that a very old plugin knew without interface.
func TestFileStore_staleRequest(t *testing.T) {
	t.Parallel()
	r := newRebooter(t)
	a := ipam.Allocator{Store: r.FileStore, Sets: sets(t, "10.0.0.0/24")}
	addr := netip.MustParseAddr("10.0.0.9")
	mustAllocate(t, a, "c1", "10.0.0.9/24", addr)
	if _, err := a.Allocate(t.Context(), owner("c2"), addr); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("Allocate(taken) = %v, want error 11", err)
	}
	err := r.Update(t.Context(), func(tx ipam.Tx) error {
		return tx.Reserve(netip.MustParseAddr("10.0.0.100"), types.Attachment{ContainerID: "c3"})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Allocate(t.Context(), owner("c3")); err == nil {
		t.Error("Allocate(c3) succeeded, want the address without interface in the way")
	}
	r.reboot()
	a.Store = r.FileStore
	mustAllocate(t, a, "c2", "10.0.0.9/24", addr)
	mustAllocate(t, a, "c3", "10.0.0.10/24")
	wantContents(t, r.FileStore, map[string]string{"10.0.0.9": "c2/eth0", "10.0.0.10": "c3/eth0"})
	wantConsistent(t, r.FileStore, r.dir)
}

// Who comes back after a reboot with the address that it had is safe, whether or not
// it asks for the address.
func TestFileStore_renewed(t *testing.T) {
	t.Parallel()
	for _, request := range []netip.Addr{{}, netip.MustParseAddr("10.0.0.2")} {
		r := newRebooter(t)
		a := ipam.Allocator{Store: r.FileStore, Sets: sets(t, "10.0.0.0/30 gw 10.0.0.1")}
		mustAllocate(t, a, "c1", "10.0.0.2/30")
		r.reboot()
		a.Store = r.FileStore
		mustAllocate(t, a, "c1", "10.0.0.2/30", request)
		for _, want := range []netip.Addr{{}, netip.MustParseAddr("10.0.0.2")} {
			if got, err := a.Allocate(t.Context(), owner("d1"), want); !errors.Is(err, types.ErrTryAgainLater) {
				t.Errorf("Allocate(%v) = %v, %v; want error 11: c1 has it since the reboot", want, short(got), err)
			}
		}
		// Where it cannot be renewed, it must not be handed out.
		r.reboot()
		a.Store = r.WithHook(func(step string) error {
			if step == "mark" {
				return syscall.EROFS
			}
			return nil
		})
		if _, err := a.Allocate(t.Context(), owner("c1"), request); !errors.Is(err, syscall.EROFS) {
			t.Errorf("Allocate() = %v, want EROFS", err)
		}
	}
}

// A large set is reclaimed in parts, and the log says what.
func TestFileStore_reclaimLog(t *testing.T) {
	r := newRebooter(t)
	a := ipam.Allocator{Store: r.FileStore, Sets: sets(t, "10.0.0.0/23 10.0.0.2-")}
	err := r.Update(t.Context(), func(tx ipam.Tx) error {
		for addr := range a.Sets[0].After(netip.Addr{}) {
			if err := tx.Reserve(addr, owner("c-"+addr.String())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.reboot()
	a.Store = r.FileStore
	var log bytes.Buffer
	old := slog.Default() // the parallel tests wait for this one
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	mustAllocate(t, a, "d1", "10.0.0.2/23")
	slog.SetDefault(old)
	for _, want := range []string{"level=WARN", "before this boot", "count=256", "10.0.0.2 10.0.0.3 ", " 10.0.1.1]"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log = %s, want %q in it", log.String(), want)
		}
	}
	if got := len(contents(t, r.FileStore)); got != 509-256+1 {
		t.Errorf("%d addresses are reserved, want %d", got, 509-256+1)
	}
	wantConsistent(t, r.FileStore, r.dir)
}

// Stale says no when it cannot tell.
func TestFileStore_staleUnknown(t *testing.T) {
	t.Parallel()
	r := newRebooter(t)
	a := ipam.Allocator{Store: r.FileStore, Sets: sets(t, "10.0.0.0/24")}
	mustAllocate(t, a, "c1", "10.0.0.2/24")
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, "c1\r\neth0")
	if err := syscall.Setxattr(outside, "user.cnikit.boot", []byte("boot-0"), 0); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(os.Symlink(outside, filepath.Join(r.dir, "10.0.0.3")), os.Mkdir(filepath.Join(r.dir, "10.0.0.4"), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(r.dir, "10.0.0.5"), "kept for the router")
	for _, name := range []string{"10.0.0.4", "10.0.0.5"} {
		if err := syscall.Setxattr(filepath.Join(r.dir, name), "user.cnikit.boot", []byte("boot-0"), 0); err != nil {
			t.Fatal(err)
		}
	}
	for boot, want := range map[string]bool{"boot-1": false, "boot-2": true, "": false} {
		err := r.WithBoot(boot).View(context.Background(), func(reader ipam.Reader) error {
			for name, want := range map[string]bool{"10.0.0.2": want, "10.0.0.3": false, "10.0.0.4": false, "10.0.0.5": false, "10.0.0.6": false} {
				if got, err := reader.Stale(netip.MustParseAddr(name)); got != want || err != nil {
					t.Errorf("Stale(%s) in boot %q = %t, %v; want %t", name, boot, got, err, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
