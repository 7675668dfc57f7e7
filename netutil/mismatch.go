// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"errors"
	"strings"
)

// ErrForeign says that a link was not touched because it belongs to someone else.
var ErrForeign = errors.New("belongs to someone else")

// ErrDuplicate says that another machine on the link has the address.
var ErrDuplicate = errors.New("address is in use by another machine")

// ErrBridgeFull says that a bridge has no free port: the kernel numbers its ports from 1
// to 1,023. It has one again once somebody leaves.
//
// Kernel: BR_PORT_BITS, https://github.com/torvalds/linux/blob/v6.12/net/bridge/br_private.h,
// and find_portno in br_if.c, which keeps the number 0 for no port.
var ErrBridgeFull = errors.New("all 1023 ports are taken")

// ErrUnfit says that a link cannot have an address or a route because of something else that
// the configuration asks for, or lacks: the mtu is too small for IPv6, there is no address
// of the family of a route, or an IPv6 route has an IPv4 gateway. The text says which.
var ErrUnfit = errors.New("does not fit")

// MismatchError says that something exists, but is not what it should be.
type MismatchError struct {
	Object      string // such as "bridge cni0"
	Differences []Difference
}

// Difference is one way in which a thing is not what it should be.
type Difference struct {
	What string // such as "mtu"
	Have string // empty: there is none
	Want string // empty: there should be none
}

// Error lists the differences on one line.
func (e *MismatchError) Error() string {
	parts := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		parts[i] = d.String()
	}
	return e.Object + ": " + strings.Join(parts, "; ")
}

// String returns the difference in words.
func (d Difference) String() string {
	switch {
	case d.Have == "" && d.Want == "":
		return d.What
	case d.Have == "":
		return d.What + " " + d.Want + " is missing"
	case d.Want == "":
		return d.What + " " + d.Have + " is in the way"
	}
	return d.What + " is " + d.Have + ", want " + d.Want
}

// mismatch collects differences.
type mismatch []Difference

// add notes a difference if there is one.
func (m *mismatch) add(differs bool, what, have, want string) {
	if differs {
		*m = append(*m, Difference{What: what, Have: have, Want: want})
	}
}

// err is a MismatchError about object, or nil if there is no difference.
func (m mismatch) err(object string) error {
	if len(m) == 0 {
		return nil
	}
	return &MismatchError{Object: object, Differences: m}
}
