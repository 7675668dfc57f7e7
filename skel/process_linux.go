// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"os"
	"syscall"
	"unsafe"
)

// wasClosed reports whether a standard descriptor was closed when the process
// began. The Go runtime then opens the null device on it for reading and
// writing, which nobody else does for a single direction.
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

func dup2(from, to int) error { return syscall.Dup3(from, to, 0) }
