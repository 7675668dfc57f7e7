// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"syscall"
	"unsafe"
)

// readMark returns the boot mark of an open file, the empty string if it has none.
//
// Equivalent to: getfattr -n user.cnikit.boot FILE
func readMark(fd int) (string, error) {
	var boot [longestBoot]byte
	n, err := xattr(syscall.SYS_FGETXATTR, fd, boot[:])
	switch {
	case errors.Is(err, syscall.ENODATA), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ERANGE):
		return "", nil
	case err != nil:
		return "", err
	}
	return string(boot[:n]), nil
}

// writeMark gives an open file a boot mark. A file system without extended
// attributes does not get one.
//
// Equivalent to: setfattr -n user.cnikit.boot -v BOOT FILE
func writeMark(fd int, boot string) error {
	if boot == "" {
		return nil
	}
	_, err := xattr(syscall.SYS_FSETXATTR, fd, []byte(boot))
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return nil
	}
	return err
}

// xattr calls fgetxattr or fsetxattr for the boot mark. Package syscall has neither.
// The flags of the latter are zero: whatever is there is replaced.
func xattr(call uintptr, fd int, value []byte) (int, error) {
	name, err := syscall.BytePtrFromString(bootMark)
	if err != nil {
		return 0, err
	}
	n, _, errno := syscall.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(&value[0])), uintptr(len(value)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
