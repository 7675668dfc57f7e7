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
	Msg   string // what the kernel adds for humans, often nothing
}

func (e *Error) Error() string {
	if e.Msg == "" {
		return e.Errno.Error()
	}
	return e.Errno.Error() + ": " + e.Msg
}

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

// parseError reads the body of an NLMSG_ERROR, whose errno 0 is an acknowledgement and
// gives nil.
//
// Kernel: NLM_F_CAPPED and NLM_F_ACK_TLVS, since 4.12; include/uapi/linux/netlink.h.
func parseError(m message) error {
	const fixedLen = 4 + headerLen // errno, header of the request
	if len(m.body) < fixedLen {
		return errMalformed
	}
	errno := -value(m.body).index()
	if errno == 0 {
		return nil
	}
	e := &Error{Errno: unix.Errno(errno)}
	if m.Flags&unix.NLM_F_ACK_TLVS != 0 && m.Flags&unix.NLM_F_CAPPED != 0 {
		e.Msg = explanation(m.body[fixedLen:])
	}
	return e
}

// parseDone reads the body of an NLMSG_DONE, which carries the errno of a dump that
// failed on its way.
func parseDone(m message) error {
	errno := -value(m.body).index()
	if errno <= 0 {
		return nil
	}
	e := &Error{Errno: unix.Errno(errno)}
	if m.Flags&unix.NLM_F_ACK_TLVS != 0 {
		e.Msg = explanation(m.body[min(4, len(m.body)):])
	}
	return e
}

func explanation(a attrs) string {
	for typ, v := range a.all() {
		if typ == unix.NLMSGERR_ATTR_MSG {
			return v.str()
		}
	}
	return ""
}

func isErrno(err error, errno unix.Errno) bool {
	var e *Error
	return errors.As(err, &e) && e.Errno == errno
}
