// SPDX-License-Identifier: Apache-2.0

package nstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// childEnv marks the process that [Main] started in namespaces of its own.
const childEnv = "CNIKIT_NSTEST_CHILD"

// Main runs the tests of a package in network and mount namespaces of their own, and
// exits. For that the test binary starts itself once more; an ordinary user gets a
// user namespace too, where the kernel allows it, and is root in it. So no test can
// touch the links or mounts of the machine, whatever its bugs. Where the kernel allows
// none of this the tests run in place, and those that call [New] are skipped.
func Main(m *testing.M) {
	exit, done := Rerun(childEnv)
	if done {
		os.Exit(exit)
	}
	if OwnMounts() {
		if err := ownRun(); err != nil {
			fmt.Fprintln(os.Stderr, "nstest:", err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

// OwnMounts reports whether the program runs in a mount namespace that [Main] made.
func OwnMounts() bool { return os.Getenv(childEnv) != "" }

// ownRun gives a user who is root in a user namespace only a /run of his own, since
// programs such as iptables want to write there.
func ownRun() error {
	if syscall.Access("/run", 2) == nil { // W_OK
		return nil
	}
	if err := syscall.Mount("nstest", "/run", "tmpfs", 0, "size=16m"); err != nil {
		return fmt.Errorf("mount an empty /run: %w", err)
	}
	return nil
}

// Rerun runs the program once more in network and mount namespaces of its own, which are
// gone when it ends, and returns its exit status. An ordinary user gets a user namespace
// too. In there, which the environment variable mark tells, and where the kernel allows no
// way, Rerun returns false.
func Rerun(mark string) (exit int, done bool) {
	if os.Getenv(mark) != "" {
		return 0, false
	}
	for _, attr := range attributes() {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), mark+"=1")
		cmd.SysProcAttr = attr
		if cmd.Start() != nil {
			continue // not allowed in this way
		}
		return status(cmd.Wait()), true
	}
	return 0, false
}

// attributes lists the ways into new namespaces, the more capable first. Unshareflags
// with CLONE_NEWNS make all mounts private, which Cloneflags do not.
func attributes() []*syscall.SysProcAttr {
	return []*syscall.SysProcAttr{
		{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL},
		{
			Cloneflags:   syscall.CLONE_NEWUSER,
			Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
			Pdeathsig:    syscall.SIGKILL,
			UidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		},
	}
}

// status is the exit status that stands for err, as a shell would give it.
func status(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		return 1
	case exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
	return 2
}

// NeedSysctl skips the test unless it may write below /proc/sys/net in n. A container
// usually has /proc/sys mounted read-only, whatever the owner of the namespace may do.
func NeedSysctl(t testing.TB, n *NS) {
	t.Helper()
	const probe = "/proc/sys/net/ipv4/ip_forward"
	n.Do(t, func() {
		f, err := os.OpenFile(probe, os.O_WRONLY, 0)
		if err != nil {
			Lacks(t, "a writable "+probe, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
