// SPDX-License-Identifier: Apache-2.0

package nsfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cnikit/cnikit/internal/nsfs"
	"github.com/cnikit/cnikit/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }

func TestSelf(t *testing.T) {
	t.Parallel()
	self, err := nsfs.Self()
	if err != nil {
		t.Fatal(err)
	}
	if self.Ino == 0 {
		t.Errorf("Self() = %+v, want an inode", self)
	}
	byPID, err := nsfs.Stat(fmt.Sprintf("/proc/%d/ns/net", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if self != byPID {
		t.Errorf("Self() = %+v, want %+v", self, byPID)
	}
}

// PROTO-044: the identity of the thread, not of the process, is the one to compare with.
func TestSelf_Thread(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	want, err := nsfs.Stat(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	process, err := nsfs.Stat("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	n.Do(t, func() {
		got, err := nsfs.Self()
		if err != nil {
			t.Fatal(err)
		}
		if got != want || got == process {
			t.Errorf("Self() inside = %+v, want %+v; the process has %+v", got, want, process)
		}
	})
}

// Privileged or not, the answer is the same and the descriptor does not leak into
// children.
func TestOpenSelf(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	want, err := nsfs.Stat(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	n.Do(t, func() {
		viaProc, _, err := nsfs.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		fd, id, err := nsfs.OpenSelf()
		if err != nil {
			t.Fatal(err)
		}
		if id != want {
			t.Errorf("OpenSelf() = %+v, want %+v", id, want)
		}
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
			t.Errorf("flags of the descriptor = %#x, %v, want close-on-exec", flags, errno)
		}
		for _, fd := range []int{viaProc, fd} {
			if err := syscall.Close(fd); err != nil {
				t.Error(err)
			}
		}
	})
}

// ADD-012, DEL-006, DEL-007: gone, and not a namespace, can be told apart.
func TestStat_Errors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo") // a blocking open would hang here
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		want       error
	}{
		{"missing", filepath.Join(dir, "missing"), fs.ErrNotExist},
		{"dangling link", dangling, fs.ErrNotExist},
		{"below a file", filepath.Join(file, "x"), fs.ErrNotExist},
		{"empty path", "", fs.ErrNotExist},
		{"no such process", "/proc/999999999/ns/net", fs.ErrNotExist},
		{"empty file", file, nsfs.ErrNotNamespace},
		{"directory", dir, nsfs.ErrNotNamespace},
		{"pipe", fifo, nsfs.ErrNotNamespace},
		{"device", os.DevNull, nsfs.ErrNotNamespace},
		{"procfs file", "/proc/self/status", nsfs.ErrNotNamespace},
		{"mount namespace", "/proc/self/ns/mnt", nsfs.ErrNotNamespace},
		{"user namespace", "/proc/self/ns/user", nsfs.ErrNotNamespace},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if id, err := nsfs.Stat(tt.path); !errors.Is(err, tt.want) || id != (nsfs.ID{}) {
				t.Errorf("Stat(%q) = %+v, %v, want %v", tt.path, id, err, tt.want)
			}
		})
	}
}

// A process that has ended but was not waited for has no namespace either.
func TestStat_Zombie(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Kill); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err == nil {
		t.Fatal("the child wrote something")
	}
	// End of file on the pipe comes before the namespace is dropped, so ask until it is.
	path := fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
	for err = nil; err == nil; _, err = nsfs.Stat(path) {
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat(%s) = %v, want %v", path, err, fs.ErrNotExist)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child was not killed")
	}
}

// AMB-041: several paths may stand for one namespace.
func TestStat_Same(t *testing.T) {
	t.Parallel()
	n, other := nstest.New(t), nstest.New(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(n.Path(), link); err != nil {
		t.Fatal(err)
	}
	want, err := nsfs.Fstat(n.Fd())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{n.Path(), link} {
		if got, err := nsfs.Stat(path); err != nil || got != want {
			t.Errorf("Stat(%s) = %+v, %v, want %+v", path, got, err, want)
		}
	}
	if got, err := nsfs.Stat(other.Path()); err != nil || got == want {
		t.Errorf("Stat(%s) = %+v, %v, want another than %+v", other.Path(), got, err, want)
	}
}

func TestFstat_Errors(t *testing.T) {
	t.Parallel()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nsfs.Fstat(int(f.Fd())); !errors.Is(err, nsfs.ErrNotNamespace) {
		t.Errorf("Fstat(%s) = %v, want %v", os.DevNull, err, nsfs.ErrNotNamespace)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := nsfs.Fstat(-1); !errors.Is(err, syscall.EBADF) {
		t.Errorf("Fstat(-1) = %v, want %v", err, syscall.EBADF)
	}
}

func BenchmarkStat(b *testing.B) {
	for b.Loop() {
		if _, err := nsfs.Self(); err != nil {
			b.Fatal(err)
		}
	}
}
