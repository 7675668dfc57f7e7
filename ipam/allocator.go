// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/cnikit/cnikit/types"
)

// Allocator hands out the addresses of range sets, one address from each set, in
// turn: an address that was released is handed out again only after all the
// others have been.
type Allocator struct {
	Store Store
	// Sets are the range sets. Their positions are the positions of their cursors in
	// the store. Only Allocate and Status need them.
	Sets []RangeSet
}

// Allocation is what an owner got.
type Allocation struct {
	// IPs are the addresses, in the order of the sets, with their gateways.
	IPs []types.IP
	// New are those of them that the owner did not have before, for
	// [Allocator.Rollback].
	New []netip.Addr
}

// Allocate reserves an address from each set for the owner. An address that the
// owner has already is taken as it is: a runtime that repeats an ADD, because the
// first answer was lost, gets the same addresses and not others beside them.
//
// Requests are addresses that the owner wants. Each one takes the place of the
// next free one of its set, and all are granted or none. Repetitions and zero
// values count for nothing.
//
// When a set has no free address, or a requested one is taken, then what was reserved
// before the machine started is as good as free, as [Reader.Stale] tells: it is
// released, at most 256 addresses at a time, and the log says so. An owner that
// allocates again after such a start keeps what it had.
//
// When Allocate fails, what it took is free again, and what the owner had before
// is still its own. The error is [types.ErrTryAgainLater] if a set has no free
// address or a requested one is taken, and [types.ErrInvalidNetworkConfig] for a
// request that can never be granted.
//
// Spec: checklist DLG-017, DLG-032 to DLG-034, CAP-014, ARG-012.
func (a Allocator) Allocate(ctx context.Context, owner types.Attachment, requests ...netip.Addr) (Allocation, error) {
	if err := validateOwner(owner); err != nil {
		return Allocation{}, err
	}
	plan, err := a.plan(requests)
	if err != nil {
		return Allocation{}, err
	}
	var got Allocation
	err = a.Store.Update(ctx, func(tx Tx) error {
		got = Allocation{}
		err := a.allocate(ctx, tx, owner, plan, &got)
		if err != nil {
			err = errors.Join(err, release(tx, owner, got.New))
		}
		return err
	})
	if err != nil {
		return Allocation{}, err
	}
	return got, nil
}

func validateOwner(owner types.Attachment) error {
	if owner.ContainerID == "" || owner.IfName == "" {
		return types.Errorf(types.ErrInvalidEnvironmentVariables, "owner of addresses: container ID %q and interface name %q must not be empty", owner.ContainerID, owner.IfName)
	}
	return nil
}

// plan returns the requested address of each set, the zero Addr where none is.
func (a Allocator) plan(requests []netip.Addr) ([]netip.Addr, error) {
	plan := make([]netip.Addr, len(a.Sets))
	for _, addr := range requests {
		if addr = addr.Unmap(); !addr.IsValid() {
			continue
		}
		i := slices.IndexFunc(a.Sets, func(s RangeSet) bool { _, ok := s.Find(addr); return ok })
		if i < 0 {
			return nil, invalid("requested address %s is in no range of %v", addr, a.Sets)
		}
		r, _ := a.Sets[i].Find(addr)
		switch {
		case addr == r.Gateway:
			return nil, invalid("requested address %s is the gateway of its range", addr)
		case !r.usable(addr):
			return nil, invalid("requested address %s is the network or broadcast address of %s", addr, r.Subnet)
		case plan[i].IsValid() && plan[i] != addr:
			return nil, invalid("requested addresses %s and %s are in the same range set, which gives one address", plan[i], addr)
		}
		plan[i] = addr
	}
	return plan, nil
}

func (a Allocator) allocate(ctx context.Context, tx Tx, owner types.Attachment, plan []netip.Addr, got *Allocation) error {
	held, err := tx.Addrs(owner)
	if err != nil {
		return err
	}
	nameless, err := tx.Addrs(types.Attachment{ContainerID: owner.ContainerID})
	if err != nil {
		return err
	}
	gone, err := reclaim(ctx, tx, slices.Values(nameless))
	if err != nil {
		return err
	}
	nameless = slices.DeleteFunc(nameless, func(addr netip.Addr) bool { return slices.Contains(gone, addr) })
	for i, set := range a.Sets {
		if addr, ok := within(set, nameless); ok {
			return fmt.Errorf("address %s is reserved to container %s by a plugin that did not record the interface; run DEL first", addr, owner.ContainerID)
		}
		addr, err := pick(ctx, tx, i, set, owner, held, plan[i], got)
		if err != nil {
			return err
		}
		r, _ := set.Find(addr)
		got.IPs = append(got.IPs, types.IP{Address: netip.PrefixFrom(addr, r.Subnet.Bits()), Gateway: r.Gateway})
	}
	return nil
}

// within returns the first of the addresses that is in the set.
func within(set RangeSet, addrs []netip.Addr) (netip.Addr, bool) {
	for _, addr := range addrs {
		if _, ok := set.Find(addr); ok {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// pick returns the owner's address from one set, and reserves it if it is not the
// owner's already.
func pick(ctx context.Context, tx Tx, position int, set RangeSet, owner types.Attachment, held []netip.Addr, want netip.Addr, got *Allocation) (netip.Addr, error) {
	if slices.Contains(held, want) {
		return want, tx.Renew(want)
	}
	if have, ok := within(set, held); ok {
		if want.IsValid() {
			return netip.Addr{}, fmt.Errorf("requested address %s: the container has %s of the same range set already; run DEL first", want, have)
		}
		return have, tx.Renew(have)
	}
	addr, err := want, error(nil)
	if want.IsValid() {
		err = reserveRequested(ctx, tx, want, owner)
	} else {
		addr, err = reserveNext(ctx, tx, position, set, owner)
	}
	if err != nil {
		return netip.Addr{}, err
	}
	got.New = append(got.New, addr)
	// The address is reserved. A cursor that stays behind costs a search, and no
	// more, so it is no reason to fail: C-21 of the reference implementation.
	_ = tx.SetCursor(position, addr)
	return addr, nil
}

func reserveRequested(ctx context.Context, tx Tx, addr netip.Addr, owner types.Attachment) error {
	err := tx.Reserve(addr, owner)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	gone, err := reclaim(ctx, tx, slices.Values([]netip.Addr{addr}))
	if err != nil {
		return err
	}
	if len(gone) == 0 {
		return types.NewError(types.ErrTryAgainLater, "requested address "+addr.String()+" is taken", nil)
	}
	return tx.Reserve(addr, owner)
}

// reclaims is how many addresses are reclaimed at a time: the next one that needs an
// address finds some, and nobody waits long for the store.
const reclaims = 256

// reclaim releases those of the addresses that are stale, and returns them.
func reclaim(ctx context.Context, tx Tx, addrs iter.Seq[netip.Addr]) ([]netip.Addr, error) {
	var gone []netip.Addr
	defer func() {
		if len(gone) > 0 {
			slog.WarnContext(ctx, "released addresses that were reserved before this boot", "count", len(gone), "addresses", fmt.Sprint(gone))
		}
	}()
	for addr := range addrs {
		stale, err := tx.Stale(addr)
		if err == nil && !stale {
			continue
		}
		var owner types.Attachment
		if err == nil {
			owner, err = tx.Owner(addr)
		}
		if err == nil {
			err = tx.Release(addr, owner)
		}
		if err != nil {
			return gone, err
		}
		if gone = append(gone, addr); len(gone) == reclaims {
			break
		}
	}
	return gone, nil
}

// probes is how many addresses are tried before all the taken ones are listed.
// The next address after the cursor is nearly always free; where several are not,
// one listing is cheaper than a try each.
const probes = 4

// reserveNext reserves the first free address after the cursor.
func reserveNext(ctx context.Context, tx Tx, position int, set RangeSet, owner types.Attachment) (netip.Addr, error) {
	for addr, err := range free(ctx, tx, position, set) {
		if err != nil {
			return netip.Addr{}, err
		}
		err := tx.Reserve(addr, owner)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return addr, err
		}
	}
	return reserveStale(ctx, tx, position, set, owner)
}

// reserveStale reserves an address of a full set whose owner is gone with the boot
// before, the one whose turn it is.
func reserveStale(ctx context.Context, tx Tx, position int, set RangeSet, owner types.Attachment) (netip.Addr, error) {
	cursor, err := tx.Cursor(position)
	if err != nil {
		return netip.Addr{}, err
	}
	gone, err := reclaim(ctx, tx, first(set.After(cursor)))
	if err != nil {
		return netip.Addr{}, err
	}
	if len(gone) == 0 {
		return netip.Addr{}, types.NewError(types.ErrTryAgainLater, "no free address in "+set.String(), nil)
	}
	return gone[0], tx.Reserve(gone[0], owner)
}

// first returns the first ones of the pairs.
func first[A, B any](pairs iter.Seq2[A, B]) iter.Seq[A] {
	return func(yield func(A) bool) {
		for a := range pairs {
			if !yield(a) {
				return
			}
		}
	}
}

// free returns the addresses of the set that seem to be free, in turn after the
// cursor. The number of steps is bounded by the number of reserved addresses,
// however large the set is.
func free(ctx context.Context, r Reader, position int, set RangeSet) func(yield func(netip.Addr, error) bool) {
	return func(yield func(netip.Addr, error) bool) {
		cursor, err := r.Cursor(position)
		if err != nil {
			yield(netip.Addr{}, err)
			return
		}
		var taken map[netip.Addr]bool
		n := 0
		for addr := range set.After(cursor) {
			if n++; n == probes+1 {
				taken, err = r.Taken()
			}
			if err == nil && n%(1<<12) == 0 && ctx.Err() != nil {
				err = types.NewError(types.ErrTryAgainLater, "looking for a free address in "+set.String(), context.Cause(ctx))
			}
			if err != nil {
				yield(netip.Addr{}, err)
				return
			}
			if !taken[addr] && !yield(addr, nil) {
				return
			}
		}
	}
}

// Rollback releases the new addresses of an allocation, for an ADD that fails
// after Allocate succeeded. Addresses that the owner had before stay its own.
func (a Allocator) Rollback(ctx context.Context, owner types.Attachment, allocation Allocation) error {
	if len(allocation.New) == 0 {
		return nil
	}
	return a.Store.Update(ctx, func(tx Tx) error { return release(tx, owner, allocation.New) })
}

func release(tx Tx, owner types.Attachment, addrs []netip.Addr) error {
	var errs []error
	for _, addr := range addrs {
		errs = append(errs, tx.Release(addr, owner))
	}
	return errors.Join(errs...)
}

// Release releases all addresses of the owner, from whatever set. Where there are
// none, those go that a very old plugin reserved to the container without an
// interface name. That nothing is there to release is success. It goes on after
// an error.
//
// Spec: checklist DLG-027, DEL-003, DEL-011, LIFE-017.
func (a Allocator) Release(ctx context.Context, owner types.Attachment) error {
	if err := validateOwner(owner); err != nil {
		return err
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		for _, o := range []types.Attachment{owner, {ContainerID: owner.ContainerID}} {
			addrs, err := tx.Addrs(o)
			if err != nil || len(addrs) > 0 {
				return errors.Join(err, release(tx, o, addrs))
			}
		}
		return nil
	})
}

// Check reports whether all the addresses are reserved to the owner, or to its
// container without an interface name. It changes nothing. The error says of
// each address that is not who has it.
//
// Spec: checklist DLG-028, CHK-011, CHK-021, CHK-022.
func (a Allocator) Check(ctx context.Context, owner types.Attachment, addrs []netip.Addr) error {
	return a.Store.View(ctx, func(r Reader) error {
		var errs []error
		for _, addr := range addrs {
			errs = append(errs, checkOne(r, owner, addr.Unmap()))
		}
		return errors.Join(errs...)
	})
}

func checkOne(r Reader, owner types.Attachment, addr netip.Addr) error {
	got, err := r.Owner(addr)
	want := "address " + addr.String() + ": want it reserved to " + describe(owner)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New(want + ", and it is free")
	case err != nil:
		return fmt.Errorf("address %s: %w", addr, err)
	case got != owner && got != (types.Attachment{ContainerID: owner.ContainerID}):
		return errors.New(want + ", and it is " + describe(got) + "'s")
	}
	return nil
}

func describe(owner types.Attachment) string {
	switch {
	case owner == types.Attachment{}:
		return "an unknown owner"
	case owner.IfName == "":
		return "container " + owner.ContainerID
	}
	return "container " + owner.ContainerID + ", interface " + owner.IfName
}

// GC releases the addresses whose owner is not among the valid attachments. One
// without interface name is valid if its container is, with whatever interface.
// What the store cannot read is left alone. It goes on after an error and joins
// them.
//
// Spec: checklist GC-005 to GC-010, GC-022 to GC-024, GC-026.
func (a Allocator) GC(ctx context.Context, valid []types.Attachment) error {
	keep := make(map[types.Attachment]bool, 2*len(valid))
	for _, v := range valid {
		keep[v] = true
		keep[types.Attachment{ContainerID: v.ContainerID}] = true
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		taken, err := tx.Taken()
		if err != nil {
			return err
		}
		var errs []error
		for _, addr := range sorted(taken) {
			owner, err := tx.Owner(addr)
			switch {
			case errors.Is(err, fs.ErrNotExist) || err == nil && owner == (types.Attachment{}):
			case err != nil:
				errs = append(errs, err)
			case !keep[owner]:
				errs = append(errs, tx.Release(addr, owner))
			}
		}
		return errors.Join(errs...)
	})
}

func sorted(set map[netip.Addr]bool) []netip.Addr {
	all := make([]netip.Addr, 0, len(set))
	for addr := range set {
		all = append(all, addr)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// Status reports whether each set has a free address. The error for one that has
// none is [types.ErrPluginNotAvailable]. It changes nothing.
//
// Spec: checklist STA-004, STA-012, DLG-029.
func (a Allocator) Status(ctx context.Context) error {
	return a.Store.View(ctx, func(r Reader) error {
		for i, set := range a.Sets {
			ok, err := hasFree(ctx, r, i, set)
			if err != nil {
				return err
			}
			if !ok {
				return types.NewError(types.ErrPluginNotAvailable, "no free address in "+set.String(), nil)
			}
		}
		return nil
	})
}

func hasFree(ctx context.Context, r Reader, position int, set RangeSet) (bool, error) {
	for addr, err := range free(ctx, r, position, set) {
		if err != nil {
			return false, err
		}
		switch _, err := r.Owner(addr); {
		case errors.Is(err, fs.ErrNotExist):
			return true, nil
		case err != nil:
			return false, err
		}
	}
	// An address may be taken in name only: by a record that was never written and
	// that the next Update clears away, or one of the boot before.
	taken, err := r.Taken()
	if err != nil {
		return false, err
	}
	for addr := range taken {
		if _, ok := set.Find(addr); !ok {
			continue
		}
		if _, err := r.Owner(addr); errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if stale, err := r.Stale(addr); stale || err != nil {
			return stale, err
		}
	}
	return false, nil
}
