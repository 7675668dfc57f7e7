// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// portsPrefix begins the names of the tables for port maps; the name of the network
// follows.
const (
	portsPrefix = "cnikit-ports-"
	forwardsSet = "owners"
)

// nftPortMap keeps port maps in nftables. Each network has a table:
//
//	table inet cnikit-ports-NET {
//		map dnat4 { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service }  # hostIP given
//		map dnatany4 { type inet_proto . inet_service : ipv4_addr . inet_service }           # all addresses of the host
//		set selves4 { type ipv4_addr . ipv4_addr }                                           # each container and itself
//		set mapped4 { type inet_proto . inet_service . ipv4_addr . inet_service }            # what may need masquerading
//		map owners { … }
//		chain prerouting { type nat hook prerouting priority dstnat; [conditions] fib daddr type local goto ports }
//		chain output { type nat hook output priority dstnat; [conditions] fib daddr type local goto ports }
//		chain ports {
//			dnat ip to meta l4proto . ip daddr . th dport map @dnat4
//			dnat ip to meta l4proto . th dport map @dnatany4
//			…
//		}
//		chain postrouting {
//			type nat hook postrouting priority srcnat
//			ct status dnat tcp dport != 0 meta l4proto . ct original proto-dst . ip daddr . tcp dport @mapped4 goto sources4
//			…
//		}
//		chain sources4 {
//			ip saddr 127.0.0.0/8 masquerade
//			ip saddr . ip daddr @selves4 masquerade
//			ip saddr 10.1.2.0/24 masquerade
//		}
//		chain guard { type filter hook prerouting priority raw; iif != lo ip daddr 127.0.0.0/8 drop }
//	}
//
// and all networks share a table of the ports that are taken; see [claims]. Conditions are
// those of the network.
type nftPortMap struct {
	host *Host
	conn *conn
}

// portsTable names the table of a network.
func portsTable(network string) table {
	return table{family: unix.NFPROTO_INET, name: portsPrefix + networkName(network)}
}

// Names of the sets of a family.
func (f family) dnat() string    { return "dnat" + f.name }
func (f family) dnatAny() string { return "dnatany" + f.name }
func (f family) mapped() string  { return "mapped" + f.name }
func (f family) selves() string  { return "selves" + f.name }

// portSets names the sets of a network that hold containers.
func portSets() []string {
	var names []string
	for _, f := range families() {
		names = append(names, f.dnat(), f.dnatAny(), f.mapped(), f.selves())
	}
	return append(names, forwardsSet)
}

// placed is an element of a set.
type placed struct {
	table table
	set   string
	element
}

// elements returns the elements that stand for a forward of an owner, without those
// of the index.
func (f Forward) elements(network, mark string, claim bool) []placed {
	t, fam := portsTable(network), familyOf(f.Host.Addr())
	proto, to := []byte{byte(f.Protocol)}, pad(f.Container.Addr().AsSlice(), port(f.Container))
	dnat := placed{t, fam.dnat(), element{key: pad(proto, f.Host.Addr().AsSlice(), port(f.Host)), data: to}}
	if f.Host.Addr().IsUnspecified() {
		dnat = placed{t, fam.dnatAny(), element{key: pad(proto, port(f.Host)), data: to}}
	}
	all := []placed{
		dnat,
		{t, fam.mapped(), element{key: pad(proto, port(f.Host), to)}},
		selfOf(network, mark, f.Container.Addr()),
	}
	if claim {
		all = append(all, placed{claims().table, claimsSet, element{key: f.claim(), data: claimedBy(NFTables, mark)}})
	}
	for i := range all {
		all[i].comment = mark
	}
	return all
}

// selfOf returns the element that says that the container with an address may reach itself.
func selfOf(network, mark string, container netip.Addr) placed {
	a := container.AsSlice()
	return placed{portsTable(network), familyOf(container).selves(), element{key: pad(a, a), comment: mark}}
}

// containers returns the addresses that ports are mapped to, each once.
func (p PortMap) containers() []netip.Addr {
	var addrs []netip.Addr
	for _, f := range p.Forwards {
		if !slices.Contains(addrs, f.Container.Addr()) {
			addrs = append(addrs, f.Container.Addr())
		}
	}
	return addrs
}

// names returns what the index holds of p: its forwards, and the containers that may reach
// themselves.
func (p PortMap) names() [][]byte {
	var names [][]byte
	for _, f := range p.Forwards {
		names = append(names, f.marshal())
	}
	for _, a := range p.containers() {
		names = append(names, marshalSelf(a))
	}
	return names
}

// claims reports whether forwards of f's family take their port for the whole host.
func (p PortMap) claims(f Forward) bool {
	if f.Host.Addr().Is4() {
		return len(p.Conditions[0]) == 0
	}
	return len(p.Conditions[1]) == 0
}

// claimsAll reports whether all forwards take their port for the whole host.
func (p PortMap) claimsAll() bool {
	return !slices.ContainsFunc(p.Forwards, func(f Forward) bool { return !p.claims(f) })
}

// ensure maps ports for o, and no others.
func (m nftPortMap) ensure(ctx context.Context, o Owner, p PortMap) error {
	fresh := false  // whether to make the set of claims
	mapped := false // whether iptables maps ports to o
	// Whether there is something of o already, or of others, as the kernel says by a refusal.
	again, err := m.conn.hasEntry(portsTable(o.Network), forwardsSet, o.Mark())
	if err != nil {
		return err
	}
	err = retry(ctx, func() error {
		err := m.conn.settle(portsTable(o.Network), m.layout(o.Network, p), func(built bool) (changes []request, err error) {
			if fresh || built {
				if changes, err = claims().build(); err != nil {
					return nil, err
				}
			}
			// Without a claim nothing refuses a port that another one leads to the same address.
			if !again && p.claimsAll() {
				left, err := m.inherit(o, p, newPlacedSet())
				return slices.Concat(changes, left, addForwards(o, p)), err
			}
			if again {
				if mapped, err = m.conn.hasEntry(claims().table, claimantsSet, o.Mark()); err != nil {
					return nil, err
				}
			}
			cleared, same, err := m.clear(o, p)
			if err != nil || same {
				return changes, err
			}
			return append(append(changes, cleared...), addForwards(o, p)...), nil
		})
		again = again || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY)
		fresh = fresh || errors.Is(err, unix.ENOENT)
		return changedIfGone(err)
	})
	if err != nil || !mapped {
		return err
	}
	return iptPortMap{host: m.host}.yield(ctx, o, p)
}

// inherit returns the changes that remove what another container left behind that had an
// address of o and got no DEL: that it may reach itself. If it stayed, its DEL or GC would
// take it from o. What is known to be o's is not looked at.
func (m nftPortMap) inherit(o Owner, p PortMap, known *placedSet) ([]request, error) {
	var left []placed
	var holders []string
	for _, a := range p.containers() {
		self := selfOf(o.Network, o.Mark(), a)
		if known.has(self) {
			continue
		}
		there, err := m.conn.element(self.table, self.set, self.key)
		switch {
		case err != nil && !errors.Is(err, unix.ENOENT):
			return nil, err
		case err == nil && there.comment != o.Mark():
			left = append(left, self)
			if !slices.Contains(holders, there.comment) {
				holders = append(holders, there.comment)
			}
		}
	}
	changes := eachSet(left, table.delElements)
	for _, holder := range holders {
		given, err := m.handOver(portsTable(o.Network), holder, p.containers())
		if err != nil {
			return nil, err
		}
		changes = append(changes, given...)
	}
	return changes, nil
}

// handOver returns the changes that take addresses out of the index of the owner with a
// mark, which keeps its ports. Without an entry that it saw, the transaction of a DEL that
// looked before is refused, as with masquerading: see the same there.
func (m nftPortMap) handOver(t table, mark string, addrs []netip.Addr) ([]request, error) {
	entries, err := m.conn.entries(t, forwardsSet, mark)
	if err != nil {
		return nil, err
	}
	var names [][]byte
	for _, e := range entries {
		if a, ok := parseSelf(e.data); !ok || !slices.Contains(addrs, a) {
			names = append(names, e.data)
		}
	}
	return append(t.delElements(forwardsSet, entries), t.addElements(forwardsSet, index(mark, names...))...), nil
}

// layout returns what makes the table of a network of the rules seen there.
func (m nftPortMap) layout(network string, p PortMap) func(seen []ruleSeen) (layout, error) {
	return func(seen []ruleSeen) (layout, error) {
		return portLayout(network, p, ownSubnets(seen, p.Subnets))
	}
}

// addForwards returns the changes that add the forwards of p.
func addForwards(o Owner, p PortMap) []request {
	mark := o.Mark()
	var all []placed
	for _, f := range p.Forwards {
		all = append(all, f.elements(o.Network, mark, p.claims(f))...)
	}
	changes := eachSet(all, table.addElements)
	return append(changes, portsTable(o.Network).addElements(forwardsSet, index(mark, p.names()...))...)
}

// eachSet calls f for each set with its elements.
func eachSet(all []placed, f func(t table, set string, elements []element) []request) []request {
	var changes []request
	for len(all) > 0 {
		first := all[0]
		var same []element
		var others []placed
		for _, p := range all {
			if p.table == first.table && p.set == first.set {
				same = append(same, p.element)
			} else {
				others = append(others, p)
			}
		}
		changes = append(changes, f(first.table, first.set, same)...)
		all = others
	}
	return changes
}

// clear returns the changes that remove what o has, and whether that is what p wants.
// The error is a ConflictError if somebody else has what p wants.
func (m nftPortMap) clear(o Owner, p PortMap) (changes []request, same bool, err error) {
	has, entries, err := m.owned(o)
	if err != nil {
		return nil, false, err
	}
	mark, gone := o.Mark(), newPlacedSet()
	if err := m.present(gone, o, has, func(Forward) bool { return true }, nil); err != nil {
		return nil, false, err
	}
	same = slices.Equal(has, p.Forwards)
	wants := newPlacedSet()
	for _, f := range p.Forwards {
		for _, e := range f.elements(o.Network, mark, p.claims(f)) {
			wants.add(e)
		}
	}
	same = same && len(wants.list) == len(gone.list) && len(entries) == len(p.names())
	err = m.present(gone, o, p.Forwards, p.claims, func(f Forward, holder string) error { return newConflict(f, holder) })
	if err != nil {
		return nil, false, err
	}
	left, err := m.inherit(o, p, gone)
	changes = append(left, eachSet(gone.list, table.delElements)...)
	return append(changes, portsTable(o.Network).delElements(forwardsSet, entries)...), same, err
}

// remove returns the changes that remove what o has, and what that is.
func (m nftPortMap) remove(o Owner) ([]request, []Forward, error) {
	has, entries, err := m.owned(o)
	if err != nil {
		return nil, nil, err
	}
	gone := newPlacedSet()
	if err := m.present(gone, o, has, func(Forward) bool { return true }, nil); err != nil {
		return nil, nil, err
	}
	claimed, claimants, err := m.claimed(o.Mark())
	if err != nil {
		return nil, nil, err
	}
	for _, c := range claimed {
		gone.add(c)
	}
	changes := append(eachSet(gone.list, table.delElements), portsTable(o.Network).delElements(forwardsSet, entries)...)
	return append(changes, claims().table.delElements(claimantsSet, claimants)...), has, nil
}

// owned returns what the index says that o has, and its entries there.
func (m nftPortMap) owned(o Owner) (has []Forward, entries []element, err error) {
	entries, err = m.conn.entries(portsTable(o.Network), forwardsSet, o.Mark())
	for _, e := range entries {
		if f, ok := parseForward(e.data); ok {
			has = append(has, f)
		}
	}
	return has, entries, err
}

// present adds to a list the elements for forwards that are there and are o's. Those
// of others are passed to taken, if not nil, but for those that o may inherit.
func (m nftPortMap) present(list *placedSet, o Owner, forwards []Forward, claim func(Forward) bool, taken func(f Forward, holder string) error) error {
	mark := o.Mark()
	for _, f := range forwards {
		for _, e := range f.elements(o.Network, mark, claim(f)) {
			if list.has(e) {
				continue // of several ports
			}
			there, err := m.conn.element(e.table, e.set, e.key)
			switch {
			case errors.Is(err, unix.ENOENT):
			case err != nil:
				return err
			case there.comment == mark:
				list.add(e)
			case taken != nil && !e.isSelf():
				return taken(f, there.comment)
			}
		}
	}
	return nil
}

// isSelf reports whether e comes from [selfOf].
func (e placed) isSelf() bool {
	return slices.ContainsFunc(families(), func(f family) bool { return e.set == f.selves() })
}

// placedSet is a list of elements without duplicates.
type placedSet struct {
	list []placed
	seen map[string]bool
}

func newPlacedSet() *placedSet { return &placedSet{seen: map[string]bool{}} }

// add adds e, unless it is there.
func (s *placedSet) add(e placed) {
	if !s.has(e) {
		s.seen[e.id()] = true
		s.list = append(s.list, e)
	}
}

// has reports whether e is there.
func (s *placedSet) has(e placed) bool { return s.seen[e.id()] }

// id tells e from other elements.
func (e placed) id() string { return e.table.name + "/" + e.set + "/" + string(e.key) }

// check compares what is there with what ensure makes.
func (m nftPortMap) check(ctx context.Context, o Owner, p PortMap) error {
	return retry(ctx, func() error {
		t, mark := portsTable(o.Network), o.Mark()
		_, intact, err := m.conn.compare(t, m.layout(o.Network, p))
		if err != nil {
			return err
		}
		var errs []error
		if !intact {
			errs = append(errs, fmt.Errorf("nftables table %s: rules missing or changed: %w", t, errDiffers))
		}
		has, _, err := m.owned(o)
		if err != nil {
			return err
		}
		if !slices.Equal(has, p.Forwards) {
			errs = append(errs, fmt.Errorf("the index has %v, not %v: %w", has, p.Forwards, errDiffers))
		}
		for _, f := range p.Forwards {
			for _, want := range f.elements(o.Network, mark, p.claims(f)) {
				got, err := m.conn.element(want.table, want.set, want.key)
				if err != nil && !errors.Is(err, unix.ENOENT) {
					return err
				}
				if got.comment != mark || !bytes.Equal(got.data, want.data) {
					errs = append(errs, fmt.Errorf("map %s: not in set %s: %w", f, want.set, errDiffers))
				}
			}
		}
		return errors.Join(errs...)
	})
}

// list returns the ports mapped for a network.
func (m nftPortMap) list(ctx context.Context, network string) ([]Mapped, error) {
	var all []Mapped
	err := retry(ctx, func() error {
		all = nil
		entries, err := m.conn.elements(portsTable(network), forwardsSet)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		for _, e := range entries {
			if f, ok := parseForward(e.data); ok {
				o, _ := ParseMark(e.comment)
				all = append(all, Mapped{Forward: f, Owner: o})
			}
		}
		return err
	})
	return all, err
}

// collect removes what belongs to a network and has not one of the marks, the tables too
// when nothing is left in them. The index goes last, and nothing goes with it when
// something before could not: without it, DEL finds nothing of what is left.
func (m nftPortMap) collect(ctx context.Context, network string, marks map[string]bool) error {
	inNetwork := marksOfNetwork(network)
	err := m.conn.collect(ctx, claims().table, []string{claimsSet, claimantsSet}, func(mark string) bool { return !marks[mark] && inNetwork(mark) })
	if err != nil {
		return err
	}
	return m.conn.collect(ctx, portsTable(network), portSets(), func(mark string) bool { return !marks[mark] })
}

// marksOfNetwork tells the marks of the owners in a network.
func marksOfNetwork(network string) func(mark string) bool {
	short := shorten(network)
	return func(mark string) bool {
		o, ok := ParseMark(mark)
		return ok && (o.Network == network || o.Network == short)
	}
}
