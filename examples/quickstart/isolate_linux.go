// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// inside marks the process that runs in namespaces of its own.
const inside = "QUICKSTART_INSIDE"

// isolate runs the program once more in a network and a mount namespace of its
// own, and returns its exit status. There it may do what it likes to "the host",
// and nothing of it is left when it ends. An ordinary user gets a user namespace
// too, if the kernel allows that.
func isolate() (exit int) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Unshareflags, unlike Cloneflags, make all mounts private first.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:    syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, `quickstart: the kernel does not allow a network namespace: %v
Run it as root, or allow user namespaces: sysctl -w user.max_user_namespaces=10000,
on Debian kernel.unprivileged_userns_clone=1, on Ubuntu
kernel.apparmor_restrict_unprivileged_userns=0.
`, err)
		return 1
	}
	err := cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// hideState puts an empty file system where the host-local plugin keeps its
// reservations, for this process and its children only.
func hideState() error {
	if err := syscall.Mount("quickstart", "/var/lib", "tmpfs", 0, "size=16m"); err != nil {
		return fmt.Errorf("mount an empty /var/lib: %w", err)
	}
	return nil
}
