// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"net/netip"

	"github.com/cnikit/cnikit/types"
)

// Store remembers which addresses of one network are reserved, and to whom. An
// owner is an attachment. One without interface name is a container of which a
// very old plugin recorded no more than its ID.
//
// A store may be used by any number of goroutines, and a store that outlives the
// process by any number of processes. Package storetest tests a store.
type Store interface {
	// View calls f with what is reserved. It changes nothing and waits for nobody, so
	// that two answers may be of two different moments.
	View(ctx context.Context, f func(Reader) error) error

	// Update calls f while it has the store to itself, and returns the error of f. It
	// does not take back what f did before it failed. As long as nothing has been
	// done it may call f again, from the beginning; so f keeps nothing from an earlier
	// call. It is the store that f has to itself: memory that it shares with other
	// goroutines needs a lock of its own. When the store cannot be had in time the
	// error is [types.ErrTryAgainLater] and says what was waited for.
	Update(ctx context.Context, f func(Tx) error) error
}

// Reader tells what is reserved.
type Reader interface {
	// Owner returns the owner of an address. The error is [io/fs.ErrNotExist] if the
	// address is free. The zero owner is somebody that the store cannot name.
	Owner(addr netip.Addr) (types.Attachment, error)

	// Taken returns the addresses that are reserved, or may be. It is for a look at
	// all of them; to ask for an address there is Owner.
	Taken() (map[netip.Addr]bool, error)

	// Stale reports whether an address was reserved before the machine started, and
	// not renewed since. The interface that it was for is gone with its namespace. False if
	// the address is free, if the store does not outlive the boot, or if it cannot tell:
	// whoever is told true takes the address away from its owner.
	Stale(addr netip.Addr) (bool, error)

	// Cursor returns the address that was last handed out from a set of ranges, by
	// the position of the set. The zero Addr: it is not known.
	Cursor(set int) (netip.Addr, error)
}

// Tx changes what is reserved. It is valid until f returns.
type Tx interface {
	Reader

	// Addrs returns the addresses of an owner, in any order. Those of the same
	// container with another interface name, or with none, are not among them.
	Addrs(owner types.Attachment) ([]netip.Addr, error)

	// Reserve reserves an address, in one step: it is the owner's, for all that may
	// happen later, or it is free. The error is [io/fs.ErrExist] if it is taken, be
	// it by the same owner.
	Reserve(addr netip.Addr, owner types.Attachment) error

	// Renew says that the owner of an address has it in the running boot: it is not
	// stale thereafter. The error is [io/fs.ErrNotExist] if the address is free.
	Renew(addr netip.Addr) error

	// Release frees an address if it is the owner's, and does nothing otherwise.
	Release(addr netip.Addr, owner types.Attachment) error

	// SetCursor records the address that was last handed out from a set of ranges.
	SetCursor(set int, addr netip.Addr) error
}
