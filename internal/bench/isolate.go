// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// inside marks the process that runs in namespaces of its own.
const inside = "CNIKIT_BENCH_INSIDE"

// isolate runs the program once more in namespaces of its own and reports whether
// it did; in there it returns false, with a /proc of its own.
//
// A /proc that has shown thousands of network namespaces remembers them after they are
// gone, and takes milliseconds to find a setting of a new one, which would be the better
// part of what is measured.
func isolate() bool {
	if os.Getenv(inside) != "" {
		err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		if err == nil {
			err = syscall.Mount("proc", "/proc", "proc", 0, "")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: mount /proc:", err)
			os.Exit(1)
		}
		return false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	return true
}
