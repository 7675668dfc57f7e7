// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"iter"
	"net/netip"

	"github.com/cnikit/cnikit/types"
)

// Range are the addresses of a subnet between two ends. [NewRange] makes one.
type Range struct {
	// Subnet is the subnet, without host bits.
	Subnet netip.Prefix
	// Start is the first address, and End the last; both belong to the range.
	Start, End netip.Addr
	// Gateway is the gateway of the subnet. It is never handed out.
	Gateway netip.Addr
}

// NewRange checks a range as configured and fills in what is left out: it starts
// with the first address after that of the network, ends with the last one that a
// container can have, and the gateway is the first address. The gateway may lie
// outside the subnet. The error has the code [types.ErrInvalidNetworkConfig].
//
// A start that is the address of the network and an end that is the broadcast
// address are accepted, because existing configurations have them; these two
// addresses are handed out to nobody all the same.
func NewRange(c types.IPRange) (Range, error) {
	r := Range{Subnet: unmap(c.Subnet), Start: c.RangeStart.Unmap(), End: c.RangeEnd.Unmap(), Gateway: c.Gateway.Unmap()}
	if err := validateSubnet(r.Subnet); err != nil {
		return Range{}, err
	}
	first := r.Subnet.Addr().Next()
	if !r.Start.IsValid() {
		r.Start = first
	}
	if !r.End.IsValid() {
		r.End = lastUsable(r.Subnet)
	}
	if !r.Gateway.IsValid() {
		r.Gateway = first
	}
	return r, r.validate()
}

// unmap returns an IPv4 prefix for an IPv4-mapped one.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

func validateSubnet(subnet netip.Prefix) error {
	switch {
	case !subnet.IsValid():
		return invalid("subnet is missing")
	case subnet != subnet.Masked():
		return invalid("subnet %s has host bits; want %s", subnet, subnet.Masked())
	case subnet.Addr().BitLen()-subnet.Bits() < 2:
		return invalid("subnet %s is too small; want at least two bits for hosts", subnet)
	}
	return nil
}

func (r Range) validate() error {
	switch {
	case !r.Subnet.Contains(r.Start):
		return invalid("rangeStart %s is not in subnet %s", r.Start, r.Subnet)
	case !r.Subnet.Contains(r.End):
		return invalid("rangeEnd %s is not in subnet %s", r.End, r.Subnet)
	case r.End.Less(r.Start):
		return invalid("rangeStart %s is after rangeEnd %s", r.Start, r.End)
	case r.Gateway.Is4() != r.Subnet.Addr().Is4():
		return invalid("gateway %s is not of the family of subnet %s", r.Gateway, r.Subnet)
	case r.Gateway.IsUnspecified() || r.Gateway.IsMulticast() || r.Gateway.IsLoopback():
		return invalid("gateway %s cannot be a gateway", r.Gateway)
	case r.Gateway.Is4() && (r.Gateway == r.Subnet.Addr() || r.Gateway == last(r.Subnet)):
		return invalid("gateway %s is the network or broadcast address of subnet %s", r.Gateway, r.Subnet)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return types.Errorf(types.ErrInvalidNetworkConfig, format, args...)
}

// last returns the last address of a subnet.
func last(subnet netip.Prefix) netip.Addr {
	b := subnet.Addr().AsSlice()
	for i := range b {
		for bit := range 8 {
			if i*8+bit >= subnet.Bits() {
				b[i] |= 0x80 >> bit
			}
		}
	}
	a, _ := netip.AddrFromSlice(b) // a slice that was an address
	return a
}

// lastUsable returns the last address that a container can have: in IPv4 the last
// one is for broadcasts.
func lastUsable(subnet netip.Prefix) netip.Addr {
	if subnet.Addr().Is4() {
		return last(subnet).Prev()
	}
	return last(subnet)
}

// Contains reports whether an address is between the ends of the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.Is4() == r.Start.Is4() && !a.Less(r.Start) && !r.End.Less(a)
}

// usable reports whether an address of the range can be handed out.
func (r Range) usable(a netip.Addr) bool {
	return a != r.Gateway && a != r.Subnet.Addr() && !(a.Is4() && a == last(r.Subnet))
}

func (r Range) overlaps(o Range) bool {
	return r.Start.Is4() == o.Start.Is4() && !o.End.Less(r.Start) && !r.End.Less(o.Start)
}

// String returns the ends of the range.
func (r Range) String() string { return r.Start.String() + "-" + r.End.String() }

// RangeSet are ranges of one family that stand in for each other: a container
// gets one address from the set.
type RangeSet []Range

// NewRangeSets checks the pools of a configuration, each of which becomes a set:
// a set has at least one range, its ranges are of one family, and no two ranges
// overlap. The error has the code [types.ErrInvalidNetworkConfig].
func NewRangeSets(pools [][]types.IPRange) ([]RangeSet, error) {
	sets := make([]RangeSet, 0, len(pools))
	var all []Range
	for i, pool := range pools {
		if len(pool) == 0 {
			return nil, invalid("range set %d has no ranges", i)
		}
		set := make(RangeSet, 0, len(pool))
		for _, c := range pool {
			r, err := NewRange(c)
			if err != nil {
				return nil, err
			}
			if len(set) > 0 && set[0].Start.Is4() != r.Start.Is4() {
				return nil, invalid("range set %d has ranges of both families: %s and %s", i, set[0], r)
			}
			for _, o := range all {
				if r.overlaps(o) {
					return nil, invalid("ranges overlap: %s and %s", o, r)
				}
			}
			set, all = append(set, r), append(all, r)
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// Is4 reports whether the set is of IPv4 addresses.
func (s RangeSet) Is4() bool { return len(s) > 0 && s[0].Start.Is4() }

// Find returns the range that an address belongs to.
func (s RangeSet) Find(a netip.Addr) (r Range, ok bool) {
	for _, r := range s {
		if r.Contains(a) {
			return r, true
		}
	}
	return Range{}, false
}

// String returns the ranges.
func (s RangeSet) String() string { return fmt.Sprint([]Range(s)) }

// After returns the addresses of the set that can be handed out, in turn: each
// one once, beginning with the one that follows previous, the next range following
// the last address of a range and the first range the last. If previous is not in
// the set, they begin with the first one.
func (s RangeSet) After(previous netip.Addr) iter.Seq2[netip.Addr, Range] {
	return func(yield func(netip.Addr, Range) bool) {
		if len(s) == 0 {
			return
		}
		at := ring{set: s, addr: s[0].Start}
		for i, r := range s {
			if r.Contains(previous) {
				at = ring{s, i, previous}.next()
				break
			}
		}
		for first := at; ; {
			if r := s[at.index]; r.usable(at.addr) && !yield(at.addr, r) {
				return
			}
			if at = at.next(); at.index == first.index && at.addr == first.addr {
				return
			}
		}
	}
}

// A ring is a place in a set whose end is joined to its beginning.
type ring struct {
	set   RangeSet
	index int
	addr  netip.Addr
}

func (at ring) next() ring {
	if at.addr != at.set[at.index].End {
		return ring{at.set, at.index, at.addr.Next()}
	}
	i := (at.index + 1) % len(at.set)
	return ring{at.set, i, at.set[i].Start}
}
