// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
)

// FullDisk returns a directory on a file system of its own on which little more can be
// written than so many bytes, in whole pages; zero bytes still allow an empty file. It
// goes when the test ends. It takes [Main]; without, or where the kernel allows no mount,
// the test is skipped, and fails with REQUIRE_KERNEL_TESTS=1 in the environment.
//
// Equivalent to: mount -t tmpfs -o size=SIZE tmpfs DIR
func FullDisk(t testing.TB, free int64) (dir string) {
	t.Helper()
	if !nstest.OwnMounts() {
		nstest.New(t) // the gate, which skips where there can be no namespaces
		t.Fatal("a full disk takes a mount namespace: call skeltest.Main in TestMain")
	}
	page := int64(os.Getpagesize())
	pages := (free+page-1)/page + 1 // a size of zero is no limit
	dir = t.TempDir()
	if err := syscall.Mount("skeltest", dir, "tmpfs", 0, "size="+strconv.FormatInt(pages*page, 10)); err != nil {
		nstest.Lacks(t, "a mount of tmpfs", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, ".full"), make([]byte, page), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
