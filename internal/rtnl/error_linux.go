// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Error is the kernel's refusal of a request.
type Error struct {
	Errno unix.Errno
	err   error // the same with the kernel's explanation
}

// Error returns the words for the number, and the kernel's explanation if it gave one.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the errno, which knows most of the standard errors itself.
func (e *Error) Unwrap() error { return e.Errno }

// Is adds the numbers by which rtnetlink means a standard error: a link that is not
// there is ENODEV, a route that is not ESRCH, an address that is not EADDRNOTAVAIL, and
// an address family that is switched off EAFNOSUPPORT.
func (e *Error) Is(target error) bool {
	switch e.Errno {
	case unix.ENODEV, unix.ESRCH, unix.EADDRNOTAVAIL:
		return target == fs.ErrNotExist
	case unix.EAFNOSUPPORT:
		return target == errors.ErrUnsupported
	}
	return false
}

func isErrno(err error, errno unix.Errno) bool { return errors.Is(err, errno) }
