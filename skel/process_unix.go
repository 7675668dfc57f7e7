// SPDX-License-Identifier: Apache-2.0

//go:build unix

package skel

import (
	"os"
	"os/signal"
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
	as := *os.Stdout // os.Stdout itself is about to become standard error
	out, err := dup(1, "stdout")
	if err != nil {
		return &as
	}
	if err := dup2(2, 1); err != nil {
		return &as
	}
	return out
}

// dup returns a file with a descriptor of its own for what fd is, which no child process
// inherits.
func dup(fd int, name string) (*os.File, error) {
	other, err := syscall.Dup(fd)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(other)
	return os.NewFile(uintptr(other), name), nil
}

// outlivePipe makes os.Stdout and os.Stderr return an error for a pipe that nobody reads
// any more. Package os ends the process by SIGPIPE for descriptors 1 and 2, and for those
// alone, so both write by another one from then on. That is done inside the files, since
// loggers hold the pointers that they found when they were initialized. It returns the files as
// they were, which the caller keeps alive: the garbage collector would close their descriptors.
//
// To ask for the signal costs one in twenty of the microseconds of a CHECK, and to ignore it would
// be inherited by child processes. It is asked for where the system has no descriptor left.
//
// Source: https://pkg.go.dev/os/signal#hdr-SIGPIPE
func outlivePipe() (before []os.File) {
	before = []os.File{*os.Stdout, *os.Stderr}
	if stderr, err := dup(2, os.Stderr.Name()); err == nil {
		*os.Stderr = *stderr
	} else {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	}
	*os.Stdout = *os.Stderr
	return before
}
