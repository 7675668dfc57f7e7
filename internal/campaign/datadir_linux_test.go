// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// mountMemory mounts a file system on a directory of its own, in the mount namespace of the
// tests, until the test ends. Whoever calls it has asked nstest for a namespace: without
// those there is no mount that is ours alone.
func mountMemory(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("cnikit", dir, "tmpfs", 0, options); err != nil {
		nstest.Lacks(t, "tmpfs with "+options, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// C-20, C-21: on a disk that is full after any number of files, ADD either succeeds or
// says so and takes nothing; DEL succeeds, and once there is room again everything
// does.
func TestDataDir_fullDisk(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	refused := 0
	for inodes := 2; inodes < 32; inodes++ {
		dir := mountMemory(t, fmt.Sprintf("size=64k,nr_inodes=%d", inodes))
		s := ipam.FileStore{Dir: dir, Network: "net"}
		held := map[string]bool{}
		for i := range 12 {
			id := fmt.Sprint("c", i)
			got, err := apply(t.Context(), s, op{do: "add", plan: 1, owner: types.Attachment{ContainerID: id, IfName: "eth0"}})
			switch {
			case err != nil:
				t.Fatal(err)
			case got.err == 0 && held[got.addrs]:
				t.Errorf("%d inodes: %s was given %s, which is taken", inodes, id, got.addrs)
			case got.err == 0:
				held[got.addrs] = true
			case got.err == 999:
				refused++
			}
		}
		if n := len(holders(t, s)); n != 2*len(held) {
			t.Errorf("%d inodes: %d addresses are reserved, want %d", inodes, n, 2*len(held))
		}
		for i := range 12 {
			if got, err := apply(t.Context(), s, op{do: "del", owner: types.Attachment{ContainerID: fmt.Sprint("c", i), IfName: "eth0"}}); err != nil || got.err != 0 && inodes > 4 {
				t.Errorf("%d inodes: DEL = %+v, %v", inodes, got, err)
			}
		}
		if err := syscall.Mount("cnikit", dir, "tmpfs", syscall.MS_REMOUNT, "size=1m,nr_inodes=1000"); err != nil {
			t.Fatal(err)
		}
		if left := holders(t, s); len(left) > 0 {
			t.Errorf("%d inodes: %v is left", inodes, left)
		}
		for i := range 5 {
			if got, err := apply(t.Context(), s, op{do: "add", plan: 1, owner: types.Attachment{ContainerID: fmt.Sprint("d", i), IfName: "eth0"}}); err != nil || got.err != 0 {
				t.Errorf("%d inodes, and room again: ADD = %+v, %v", inodes, got, err)
			}
		}
	}
	if refused == 0 {
		t.Error("no ADD was refused for lack of room")
	}
	t.Logf("%d refusals", refused)
}

// The content of a file does not fit: the error says so and names the path, and the
// address is free.
func TestDataDir_noBlocks(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	dir := mountMemory(t, "size=16k,nr_inodes=1000")
	s := ipam.FileStore{Dir: dir, Network: "net"}
	if err := os.Mkdir(filepath.Join(dir, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	fill, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := fill.Close(); err != nil {
		t.Fatal(err)
	}
	sets, err := ipam.NewRangeSets(plans[0])
	if err != nil {
		t.Fatal(err)
	}
	a, owner := ipam.Allocator{Store: s, Sets: sets}, types.Attachment{ContainerID: "c1", IfName: "eth0"}
	if _, err := a.Allocate(t.Context(), owner); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir+"/net/") {
		t.Errorf("Allocate() = %v, want ENOSPC with the path", err)
	}
	if left := holders(t, s); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	if err := os.Remove(filepath.Join(dir, "fill")); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Allocate(t.Context(), owner); err != nil || got.IPs[0].Address.Addr() != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("Allocate() = %v, %v; want 10.0.0.2", got, err)
	}
}

// On a file system that is read-only, what writes says so and names the path, what
// only looks works, and nothing changes.
func TestDataDir_readOnly(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	for _, before := range []bool{false, true} {
		dir := mountMemory(t, "size=1m")
		s := ipam.FileStore{Dir: dir, Network: "net"}
		sets, err := ipam.NewRangeSets(plans[0])
		if err != nil {
			t.Fatal(err)
		}
		a, owner := ipam.Allocator{Store: s, Sets: sets}, types.Attachment{ContainerID: "c1", IfName: "eth0"}
		if before {
			if _, err := a.Allocate(t.Context(), owner); err != nil {
				t.Fatal(err)
			}
		}
		held := holders(t, s)
		if err := syscall.Mount("cnikit", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		_, err = a.Allocate(t.Context(), types.Attachment{ContainerID: "c2", IfName: "eth0"})
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), dir+"/net") {
			t.Errorf("Allocate() = %v, want EROFS with the path", err)
		}
		if err := a.Release(t.Context(), types.Attachment{ContainerID: "c2", IfName: "eth0"}); err != nil {
			t.Errorf("Release(unknown) = %v, want success", err)
		}
		if err := a.Release(t.Context(), owner); before && !errors.Is(err, syscall.EROFS) {
			t.Errorf("Release() = %v, want EROFS", err)
		}
		if err := s.Ready(); !errors.Is(err, types.ErrPluginNotAvailable) || !errors.Is(err, syscall.EROFS) {
			t.Errorf("Ready() = %v, want error 50 that is EROFS", err)
		}
		if err := a.Status(t.Context()); err != nil {
			t.Errorf("Status() = %v", err)
		}
		if before {
			if err := a.Check(t.Context(), owner, []netip.Addr{netip.MustParseAddr("10.0.0.2")}); err != nil {
				t.Errorf("Check() = %v", err)
			}
		}
		if got := holders(t, s); fmt.Sprint(got) != fmt.Sprint(held) {
			t.Errorf("%v is reserved, want %v as before", got, held)
		}
	}
}

// LIFE-013: the plugin on a machine that was started again: a full range has addresses
// once more, the log says which were taken back, and who came back keeps his.
func TestDataDir_reboot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "host-local")
	if err := os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	nstest.New(t)
	boot := func(n int) string {
		path := filepath.Join(dir, fmt.Sprint("boot", n))
		if err := os.WriteFile(path, fmt.Appendf(nil, "00000000-0000-0000-0000-%012d\n", n), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var log string
	call := func(n int, command, id string) (code types.Code, stdout string) {
		t.Helper()
		var out, errs bytes.Buffer
		cmd := pluginCommand(bin, dir, command, id)
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := startIn(cmd, boot(n)); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		log = errs.String()
		if err == nil {
			return 0, out.String()
		}
		var failed types.Error
		if _, scan := fmt.Sscanf(out.String()[strings.Index(out.String(), `"code":`):], `"code":%d`, &failed.Code); scan != nil {
			t.Fatalf("%v: %s", scan, out.String())
		}
		return failed.Code, out.String()
	}
	if probe := filepath.Join(dir, "probe"); os.WriteFile(probe, nil, 0o600) != nil || syscall.Setxattr(probe, "user.cnikit.boot", []byte("x"), 0) != nil {
		nstest.Lacks(t, "extended attributes", fs.ErrInvalid)
	}
	for i := range 5 {
		if code, out := call(1, "ADD", fmt.Sprint("c", i)); code != 0 {
			t.Fatalf("ADD = %s", out)
		}
	}
	if code, out := call(1, "ADD", "d1"); code != types.ErrTryAgainLater {
		t.Errorf("ADD to a full range = %s, want error 11", out)
	}
	if code, out := call(2, "ADD", "c1"); code != 0 || !strings.Contains(out, `"10.0.0.3/29"`) {
		t.Errorf("ADD of one that came back = %s, want 10.0.0.3", out)
	}
	if code, out := call(2, "ADD", "d1"); code != 0 || !strings.Contains(out, `"10.0.0.2/29"`) {
		t.Errorf("ADD after a reboot = %s, want 10.0.0.2", out)
	}
	if !strings.Contains(log, "before this boot") || !strings.Contains(log, "[10.0.0.2 10.0.0.4 10.0.0.5 10.0.0.6]") || !strings.Contains(log, "d1") {
		t.Errorf("log = %s, want what was taken back", log)
	}
}

// startIn starts a command on a machine that says it is of another boot: in a mount
// namespace where path is in the place of the boot's identity.
func startIn(cmd starter, path string) error {
	done := make(chan error, 1)
	go func() {
		// The thread is not given back, so that nobody else gets into its namespace.
		runtime.LockOSThread()
		err := syscall.Unshare(syscall.CLONE_FS | syscall.CLONE_NEWNS)
		if err == nil {
			err = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		}
		if err == nil {
			err = syscall.Mount(path, "/proc/sys/kernel/random/boot_id", "", syscall.MS_BIND, "")
		}
		if err == nil {
			err = cmd.Start()
		}
		done <- err
	}()
	return <-done
}

type starter interface{ Start() error }

// pluginCommand is a call of the host-local plugin with a range of five addresses.
func pluginCommand(bin, dataDir, command, id string) *exec.Cmd {
	cmd := exec.Command(bin)
	cmd.Env = []string{"CNI_COMMAND=" + command, "CNI_PATH=/x", "CNI_CONTAINERID=" + id, "CNI_IFNAME=eth0", "CNI_NETNS=/proc/1/ns/none"}
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"net","type":"any","ipam":{"type":"host-local","dataDir":"` + dataDir + `","subnet":"10.0.0.0/29"}}`)
	return cmd
}
