// SPDX-License-Identifier: Apache-2.0

package nstest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// sysSetns is the number of setns(2), which package syscall does not define
// everywhere.
var sysSetns = map[string]uintptr{
	"386": 346, "amd64": 308, "arm": 375, "arm64": 268, "loong64": 268, "ppc64le": 350, "riscv64": 268, "s390x": 339,
}[runtime.GOARCH]

// NS is a network namespace that lives as long as the test it was made for. It has
// no name and no mount, so even a killed test leaves nothing behind.
type NS struct {
	file *os.File
}

// New returns a fresh network namespace, which holds nothing but a loopback link that
// is down. It ends the test if the kernel does not allow one. The namespace is let go
// when the test ends; links in it die with it.
func New(t testing.TB) *NS {
	t.Helper()
	n, err := create()
	if err != nil {
		refuse(t, err)
	}
	t.Cleanup(func() {
		if err := n.file.Close(); err != nil {
			t.Errorf("close namespace: %v", err)
		}
	})
	return n
}

// create makes a namespace on a thread that ends with it.
func create() (*NS, error) {
	var n NS
	err := onThread(func() (err error) {
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return &n, err
}

// Fd returns the descriptor of the namespace, which stays n's.
func (n *NS) Fd() int { return int(n.file.Fd()) }

// Path returns a path of the namespace, good for this process and its children while
// the test runs, and so for CNI_NETNS.
func (n *NS) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
}

// Do runs f in the namespace, on a thread of its own that is thrown away, and returns
// when f does. Inside f, t.Fatal and t.Skip end the test as usual. Goroutines that f
// starts run outside of the namespace; a process that f starts inherits it.
func (n *NS) Do(t testing.TB, f func()) {
	t.Helper()
	returned := false
	err := onThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		f()
		returned = true
		return nil
	})
	if err != nil {
		t.Fatalf("enter namespace: %v", err)
	}
	if !returned {
		// f ended its goroutine by t.FailNow or t.SkipNow, which has marked the test.
		runtime.Goexit()
	}
}

// Start starts cmd in the namespace: a plugin started so has n as its host. The
// caller waits for it, from any goroutine.
func (n *NS) Start(cmd *exec.Cmd) error {
	return onThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return cmd.Start()
	})
}

// Run starts cmd in the namespace and waits for it.
func (n *NS) Run(cmd *exec.Cmd) error {
	if err := n.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Output runs a program in the namespace and returns its standard output. It ends
// the test if the program fails, and skips it if there is no such program.
func (n *NS) Output(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	if errors.Is(cmd.Err, exec.ErrNotFound) {
		Lacks(t, "program "+name, cmd.Err)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := n.Run(cmd); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.Bytes()
}

// enter moves the calling thread, which must be one that is thrown away.
func (n *NS) enter() error {
	if _, _, errno := syscall.RawSyscall(sysSetns, n.file.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
		return fmt.Errorf("setns: %w", errno)
	}
	return nil
}

// onThread runs f on a fresh thread that ends when f does. The main thread cannot
// end, and what happens to it shows in /proc/PID/ns/net, so f never runs on it: while
// this goroutine holds the main thread, the next one gets another.
func onThread(f func() error) error {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		if syscall.Gettid() == syscall.Getpid() {
			errs <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		defer close(errs) // also when f ends the goroutine
		if err := f(); err != nil {
			errs <- err
		}
	}()
	return <-errs
}
