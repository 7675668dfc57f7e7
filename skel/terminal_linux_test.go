// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cnikit/cnikit/internal/nstest"
)

// openTerminal returns both ends of a pseudo-terminal.
//
// Kernel: Documentation/filesystems/devpts.rst; pty(7).
func openTerminal(t *testing.T) (control, terminal *os.File) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		nstest.Lacks(t, "pseudo-terminals", err)
	}
	t.Cleanup(func() { control.Close() })
	var number, unlock int32
	for request, arg := range map[uintptr]*int32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &unlock} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, control.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			nstest.Lacks(t, "pseudo-terminals", errno)
		}
	}
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		nstest.Lacks(t, "pseudo-terminals", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return control, terminal
}
