// SPDX-License-Identifier: Apache-2.0

package ns_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/ns"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// here is what the kernel calls the namespace of the calling thread.
func here(t *testing.T) string {
	t.Helper()
	s, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustOpen(t *testing.T, path string) *ns.NS {
	t.Helper()
	n, err := ns.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNS(t, n) })
	return n
}

// closeNS closes n unless the test has.
func closeNS(t *testing.T, n *ns.NS) {
	t.Helper()
	if err := n.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	tn := nstest.New(t)
	n := mustOpen(t, tn.Path())
	if n.Path() != tn.Path() {
		t.Errorf("Path() = %q, want %q", n.Path(), tn.Path())
	}
	var want, got string
	tn.Do(t, func() { want = here(t) })
	if err := n.Do(func() error { got = here(t); return nil }); err != nil || got != want {
		t.Errorf("Do ran in %q, %v, want %q", got, err, want)
	}
}

// ADD-012, DEL-006, DEL-007.
func TestOpen_Errors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		want       error
	}{
		{"gone", filepath.Join(dir, "gone"), fs.ErrNotExist},
		{"left-over file", file, ns.ErrNotNamespace},
		{"directory", dir, ns.ErrNotNamespace},
		{"other namespace", "/proc/self/ns/uts", ns.ErrNotNamespace},
	}
	for _, tt := range tests {
		n, err := ns.Open(tt.path)
		if n != nil || !errors.Is(err, tt.want) {
			t.Errorf("Open(%s) = %v, %v, want %v", tt.name, n, err, tt.want)
			continue
		}
		if !strings.Contains(err.Error(), tt.path) {
			t.Errorf("Open(%s) = %q, want an error that names %q", tt.name, err, tt.path)
		}
	}
}

func TestOpenPID(t *testing.T) {
	t.Parallel()
	tn := nstest.New(t)
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tn.Start(cmd); err != nil {
		t.Fatal(err)
	}
	n, err := ns.OpenPID(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer closeNS(t, n)
	if !n.Equal(mustOpen(t, tn.Path())) {
		t.Errorf("OpenPID opened %s, want the namespace of the process", n.Path())
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := ns.OpenPID(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenPID of an ended process = %v, want %v", err, fs.ErrNotExist)
	}
}

func TestCurrent(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	own, err := ns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer closeNS(t, own)
	if !own.Equal(mustOpen(t, own.Path())) {
		t.Errorf("Path() = %q, want a path of the namespace", own.Path())
	}
	err = n.Do(func() error {
		in, err := ns.Current()
		if err != nil {
			return err
		}
		defer closeNS(t, in)
		if !in.Equal(n) || in.Equal(own) {
			t.Errorf("Current() inside = %s, want %s", in.Path(), n.Path())
		}
		if is, err := n.IsCurrent(); !is || err != nil {
			t.Errorf("IsCurrent() inside = %v, %v, want true", is, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if is, err := n.IsCurrent(); is || err != nil {
		t.Errorf("IsCurrent() outside = %v, %v, want false", is, err)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	nstest.New(t) // the gate
	n, err := ns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer closeNS(t, n)
	own, err := ns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer closeNS(t, own)
	if n.Equal(own) {
		t.Error("New() = the namespace of the caller, want another")
	}
	if again := mustOpen(t, n.Path()); !again.Equal(n) {
		t.Errorf("Open(%q) = another namespace", n.Path())
	}
	err = n.Do(func() error {
		links, err := net.Interfaces()
		if err == nil && len(links) != 1 {
			t.Errorf("links of a new namespace = %v, want lo alone", links)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// AMB-041: names do not matter.
func TestNS_Equal(t *testing.T) {
	t.Parallel()
	tn := nstest.New(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(tn.Path(), link); err != nil {
		t.Fatal(err)
	}
	a, b, c := mustOpen(t, tn.Path()), mustOpen(t, link), mustOpen(t, nstest.New(t).Path())
	if !a.Equal(b) || !b.Equal(a) || !a.Equal(a) {
		t.Error("Equal of two paths of one namespace = false, want true")
	}
	if a.Equal(c) || c.Equal(a) {
		t.Error("Equal of two namespaces = true, want false")
	}
}

func TestNS_Do_Result(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	want := errors.New("from inside")
	if err := n.Do(func() error { return want }); err != want { //nolint:errorlint // the very error
		t.Errorf("Do = %v, want %v as it is", err, want)
	}
}

// PROTO-046: nesting goes where it says, and the outer function stays where it was.
func TestNS_Do_Nested(t *testing.T) {
	t.Parallel()
	a, b := mustOpen(t, nstest.New(t).Path()), mustOpen(t, nstest.New(t).Path())
	var path []string
	note := func() error { path = append(path, here(t)); return nil }
	err := a.Do(func() error {
		return errors.Join(note(), b.Do(func() error {
			return errors.Join(note(), a.Do(note), b.Do(note), note())
		}), note())
	})
	if err != nil {
		t.Fatal(err)
	}
	inA, inB := path[0], path[1]
	if want := []string{inA, inB, inA, inB, inB, inA}; inA == inB || !equal(path, want) {
		t.Errorf("namespaces along the way = %v, want %v", path, want)
	}
}

func equal(a, b []string) bool { return strings.Join(a, " ") == strings.Join(b, " ") }

// What the caller has done to its own thread does not matter.
func TestNS_Do_LockedCaller(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := here(t)
	var in string
	if err := n.Do(func() error { in = here(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if after := here(t); after != before || in == before {
		t.Errorf("namespaces before, in and after Do = %s, %s, %s", before, in, after)
	}
}

// Goroutines started inside run outside: the contract, not an accident.
func TestNS_Do_Goroutine(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	want := here(t)
	err := n.Do(func() error {
		for range 50 {
			got := make(chan string)
			go func() { s, _ := os.Readlink("/proc/thread-self/ns/net"); got <- s }()
			if s := <-got; s != want {
				t.Errorf("a goroutine started inside runs in %s, want %s", s, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNS_Do_Process(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	err := n.Do(func() error {
		want := here(t)
		out, err := exec.Command("readlink", "/proc/self/ns/net").Output()
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("a process started inside runs in %s, want %s", got, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNS_Do_Panic(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	cause := errors.New("deep down")
	defer func() {
		err, ok := recover().(error)
		if !ok || !errors.Is(err, cause) {
			t.Errorf("recovered %v, want a panic with %v", err, cause)
			return
		}
		if !strings.Contains(err.Error(), "TestNS_Do_Panic") {
			t.Errorf("the panic reads %q, want the stack of where it began", err)
		}
	}()
	err := n.Do(func() error { panic(cause) })
	t.Errorf("Do went on with %v after a panic", err)
}

func TestNS_Do_Goexit(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	done := make(chan bool)
	go func() {
		after := false
		defer func() { done <- after }()
		err := n.Do(func() error { runtime.Goexit(); return nil })
		after = true
		t.Error("Do returned", err)
	}()
	if <-done {
		t.Error("Do went on after Goexit, want the caller to end too")
	}
}

func TestNS_Close(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	inside, closed := make(chan bool), make(chan bool)
	done := make(chan error)
	go func() {
		done <- n.Do(func() error { inside <- true; <-closed; return nil })
	}()
	<-inside
	if err := n.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	close(closed)
	if err := <-done; err != nil {
		t.Errorf("a Do that had begun = %v", err)
	}
	if fd := n.Fd(); fd != -1 {
		t.Errorf("Fd() after Close = %d, want -1", fd)
	}
	_, socket := n.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	for name, err := range map[string]error{
		"Close":  n.Close(),
		"Do":     n.Do(func() error { t.Error("ran in a closed namespace"); return nil }),
		"Socket": socket,
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close = %v, want %v", name, err, os.ErrClosed)
		}
	}
}

// A socket stays in the namespace it was made in, and holds it.
func TestNS_Socket(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	fd, err := n.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}()
	// SIOCGSKNS opens the namespace of a socket, since Linux 4.9; include/uapi/linux/sockios.h.
	nsfd, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		t.Fatal(err)
	}
	of := os.NewFile(uintptr(nsfd), "namespace of the socket")
	defer func() {
		if err := of.Close(); err != nil {
			t.Error(err)
		}
	}()
	var got, want unix.Stat_t
	if err := errors.Join(unix.Fstat(nsfd, &got), unix.Fstat(n.Fd(), &want)); err != nil {
		t.Fatal(err)
	}
	if got.Dev != want.Dev || got.Ino != want.Ino {
		t.Errorf("Socket made one in namespace %d, want %d", got.Ino, want.Ino)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags = %#x, %v, want close-on-exec", flags, err)
	}
}

func TestNS_Socket_Error(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	fd, err := n.Socket(-1, unix.SOCK_DGRAM, 0)
	if fd != -1 || !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("Socket(-1) = %d, %v, want %v", fd, err, unix.EAFNOSUPPORT)
	}
}

func BenchmarkNS_Do(b *testing.B) {
	n, err := ns.Open(nstest.New(b).Path())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := n.Do(func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkOpen(b *testing.B) {
	path := nstest.New(b).Path()
	for b.Loop() {
		n, err := ns.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
