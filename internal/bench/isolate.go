// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/cnikit/cnikit/internal/nstest"
)

// inside marks the process that runs in namespaces of its own.
const inside = "CNIKIT_BENCH_INSIDE"

// isolate runs the program once more in namespaces of its own and returns its exit
// status; in there it returns false, with a /proc of its own.
//
// A /proc that has shown thousands of network namespaces remembers them after they are
// gone, and takes milliseconds to find a setting of a new one, which would be the better
// part of what is measured.
func isolate() (exit int, done bool) {
	if exit, done := nstest.Rerun(inside); done {
		return exit, true
	}
	if os.Getenv(inside) == "" {
		fmt.Fprintln(os.Stderr, "bench: the kernel allows no network namespace")
		return 1, true
	}
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount("proc", "/proc", "proc", 0, "")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: mount /proc:", err)
		return 1, true
	}
	return 0, false
}
