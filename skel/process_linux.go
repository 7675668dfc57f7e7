// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// wasClosed reports whether a standard descriptor was closed when the process
// began. The Go runtime then opens the null device on it for reading and writing. A
// parent that opens it so itself cannot be told from that, and its plugin is as
// unable to be heard.
//
// Source: https://github.com/golang/go/blob/go1.25.0/src/runtime/fds_unix.go
func wasClosed(f *os.File) bool {
	var st syscall.Stat_t
	if syscall.Fstat(int(f.Fd()), &st) != nil {
		return true
	}
	const null = 1<<8 | 3 // the null device; Documentation/admin-guide/devices.txt
	if st.Mode&syscall.S_IFMT != syscall.S_IFCHR || st.Rdev != null {
		return false
	}
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_GETFL, 0)
	return errno == 0 && flags&syscall.O_ACCMODE == syscall.O_RDWR
}

// isTerminal reports whether f has the modes of a terminal.
func isTerminal(f *os.File) bool {
	var modes syscall.Termios
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&modes)))
	return errno == 0
}

// stdin returns standard input.
func stdin() io.Reader { return polledFile{os.Stdin} }

// A polledFile is a file that can be asked whether there is something to read.
type polledFile struct{ *os.File }

// readable waits until a read would return at once.
//
// Kernel: ppoll(2), which is poll(2) on the architectures that lack it; POLLIN is
// include/uapi/asm-generic/poll.h.
func (f polledFile) readable(wait time.Duration) bool {
	const pollIn = 1
	poll := struct {
		fd              int32
		events, revents int16
	}{int32(f.Fd()), pollIn, 0}
	timeout := syscall.NsecToTimespec(max(0, wait.Nanoseconds()))
	for {
		n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
		if errno != syscall.EINTR { // ppoll leaves in timeout what is left of it
			return errno == 0 && n > 0
		}
	}
}

func dup2(from, to int) error { return syscall.Dup3(from, to, 0) }
