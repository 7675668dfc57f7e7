// SPDX-License-Identifier: Apache-2.0

//go:build unix

package skel

import (
	"os"
	"syscall"
)

// takeStdout moves standard output to a descriptor of its own, which no child
// process inherits, and puts standard error in its place. It returns nil if
// standard output is closed. Where the system has no descriptor left, standard
// output stays where it is: an answer without protection is better than none.
func takeStdout() *os.File {
	if wasClosed(os.Stdout) {
		return nil
	}
	fd, err := syscall.Dup(1)
	if err != nil {
		return os.Stdout
	}
	syscall.CloseOnExec(fd)
	if err := dup2(2, 1); err != nil {
		return os.Stdout
	}
	return os.NewFile(uintptr(fd), "stdout")
}
