// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// masqueradePrefix begins the names of the tables for masquerading; the name of the
// network follows.
const masqueradePrefix = "cnikit-masq-"

// ownPrefix begins the comment of a rule that exempts a subnet of the network.
const ownPrefix = "own subnet "

// priorityMasquerade is NF_IP_PRI_NAT_SRC, which nft prints as "srcnat".
const priorityMasquerade = 100

// nftMasquerade keeps masquerading in nftables. Each network has a table:
//
//	table inet cnikit-masq-NET {
//		set containers4 { type ipv4_addr; elements = { 10.1.2.2 comment "net=NET id=ID if=eth0" } }
//		map owners4 { type mark . mark . mark : ipv4_addr; elements = { HASH . HASH . 0 : 10.1.2.2 comment … } }
//		set containers6 { … }
//		map owners6 { … }
//		chain postrouting {
//			type nat hook postrouting priority srcnat; policy accept;
//			meta nfproto ipv4 ip saddr @containers4 goto masquerade4
//			meta nfproto ipv6 ip6 saddr @containers6 goto masquerade6
//		}
//		chain masquerade4 {
//			ip daddr 10.1.2.0/24 return
//			ip daddr 224.0.0.0/4 return
//			masquerade
//		}
//		chain masquerade6 { … }
//	}
//
// A packet of somebody else meets two rules. No packet meets the maps of owners: they
// are the index by which DEL finds the addresses of a container without a list of all.
type nftMasquerade struct {
	conn *conn
	log  *slog.Logger
}

// masqueradeTable names the table of a network.
func masqueradeTable(network string) table {
	return table{family: unix.NFPROTO_INET, name: masqueradePrefix + networkName(network)}
}

// containersOf names the set of container addresses of a family.
func containersOf(f family) string { return "containers" + f.name }

// ownersOf names the index of a family: from owner and number to address.
func ownersOf(f family) string { return "owners" + f.name }

// masqueradeLayout is the table of a network with its own subnets.
func masqueradeLayout(network string, own []netip.Prefix) layout {
	l := layout{
		table:  masqueradeTable(network),
		chains: []chain{{name: "postrouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, priority: priorityMasquerade}},
	}
	for _, f := range families() {
		name := "masquerade" + f.name
		l.sets = append(l.sets,
			set{name: containersOf(f), key: []nftables.SetDatatype{f.typ}},
			set{name: ownersOf(f), key: indexKey(), data: []nftables.SetDatatype{f.typ}})
		l.chains = append(l.chains, chain{name: name})
		l.rules = append(l.rules, rule{
			chain: "postrouting", comment: "containers, IPv" + f.name,
			exprs: append(f.inSet(f.source, containersOf(f)), verdict(expr.VerdictGoto, name)),
		})
		l.rules = append(l.rules, masqueradeRules(f, name, own)...)
	}
	return l
}

// masqueradeRules are the rules that packets of containers go through.
func masqueradeRules(f family, chain string, own []netip.Prefix) []rule {
	var rules []rule
	for _, p := range own {
		if f.has(p.Addr()) {
			rules = append(rules, rule{
				chain: chain, comment: ownPrefix + p.String(),
				exprs: append(f.inPrefix(f.dest, p), verdict(expr.VerdictReturn, "")),
			})
		}
	}
	return append(rules,
		rule{
			chain: chain, comment: "multicast",
			exprs: append(f.inPrefix(f.dest, f.multicast), verdict(expr.VerdictReturn, "")),
		},
		rule{chain: chain, comment: "everything else", exprs: []expr.Any{&expr.Masq{}}},
	)
}

// ownSubnets returns the subnets that rules seen are about, and those of addrs, in a
// fixed order. A subnet of one address has nobody to speak with and is left out.
func ownSubnets(seen []ruleSeen, addrs []netip.Prefix) []netip.Prefix {
	var own []netip.Prefix
	for _, r := range seen {
		text, ok := strings.CutPrefix(r.comment, ownPrefix)
		p, err := netip.ParsePrefix(text)
		if ok && err == nil && !slices.Contains(own, p) {
			own = append(own, p)
		}
	}
	for _, p := range addrs {
		if p = p.Masked(); !slices.Contains(own, p) && !p.IsSingleIP() {
			own = append(own, p)
		}
	}
	return own
}

// layout returns what makes the table of a network of the rules seen there.
func (m nftMasquerade) layout(network string, addrs []netip.Prefix) func(seen []ruleSeen) (layout, error) {
	return func(seen []ruleSeen) (layout, error) {
		return masqueradeLayout(network, ownSubnets(seen, addrs)), nil
	}
}

// ensure masquerades addrs for o.
func (m nftMasquerade) ensure(ctx context.Context, o Owner, addrs []netip.Prefix) error {
	return retry(ctx, func() error {
		return changedIfGone(m.conn.settle(masqueradeTable(o.Network), m.layout(o.Network, addrs),
			func(bool) ([]request, error) { return m.missing(o, addrs) }))
	})
}

// missing returns the changes that make addrs, and no others, elements of o.
func (m nftMasquerade) missing(o Owner, addrs []netip.Prefix) ([]request, error) {
	t := masqueradeTable(o.Network)
	var changes []request
	for _, f := range families() {
		var wanted []netip.Addr
		for _, p := range ofFamily(f, addrs) {
			wanted = append(wanted, p.Addr())
		}
		cleared, same, err := m.clear(t, f, o, wanted)
		if err != nil {
			return nil, err
		}
		if !same {
			changes = append(append(changes, cleared...), addOwned(t, f, o.Mark(), wanted)...)
		}
	}
	return changes, nil
}

// addOwned returns the changes that add addresses of an owner.
func addOwned(t table, f family, mark string, addrs []netip.Addr) []request {
	var containers []element
	var names [][]byte
	for _, a := range addrs {
		containers = append(containers, element{key: a.AsSlice(), comment: mark})
		names = append(names, a.AsSlice())
	}
	return append(t.addElements(containersOf(f), containers), t.addElements(ownersOf(f), index(mark, names...))...)
}

// clear returns the changes that make room for addresses of o: they remove what o
// has, and the addresses of others. If o has these addresses and no others it says so.
func (m nftMasquerade) clear(t table, f family, o Owner, addrs []netip.Addr) (changes []request, same bool, err error) {
	containers, owners, err := m.owned(t, f, o.Mark())
	if err != nil {
		return nil, false, err
	}
	if sameAddrs(containers, addrs) && len(owners) == len(addrs) {
		return nil, true, nil
	}
	var rest []element
	for _, a := range addrs {
		holder, err := m.holder(t, f, a)
		if err != nil {
			return nil, false, err
		}
		if holder == "" || slices.ContainsFunc(containers, func(e element) bool { return bytes.Equal(e.key, a.AsSlice()) }) {
			continue
		}
		containers = append(containers, element{key: a.AsSlice()})
		if holder == o.Mark() {
			continue
		}
		m.log.Info("masqueraded address changes hands", "address", a, "from", holder, "to", o.Mark())
		given, kept, err := m.handOver(t, f, holder, addrs)
		if err != nil {
			return nil, false, err
		}
		if !slices.ContainsFunc(owners, func(e element) bool { return e.comment == holder }) {
			owners, rest = append(owners, given...), append(rest, kept...)
		}
	}
	changes = append(t.delElements(containersOf(f), containers), t.delElements(ownersOf(f), owners)...)
	return append(changes, t.addElements(ownersOf(f), rest)...), false, nil
}

// handOver returns the index of an owner some of whose addresses become another's: what
// is in it, and what is to be in it then.
//
// The former owner's DEL may have looked, and be about to remove what it saw, the address
// included: nothing tells it but that an entry of its index is gone, for which its
// transaction is refused. It looks again then, and finds what is left.
func (m nftMasquerade) handOver(t table, f family, mark string, addrs []netip.Addr) (given, kept []element, err error) {
	if given, err = m.conn.entries(t, ownersOf(f), mark); err != nil {
		return nil, nil, err
	}
	var names [][]byte
	for _, e := range given {
		if !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return bytes.Equal(e.data, a.AsSlice()) }) {
			names = append(names, e.data)
		}
	}
	return given, index(mark, names...), nil
}

// sameAddrs reports whether elements are those of addrs, in that order.
func sameAddrs(es []element, addrs []netip.Addr) bool {
	return slices.EqualFunc(es, addrs, func(e element, a netip.Addr) bool { return bytes.Equal(e.key, a.AsSlice()) })
}

// owned returns what the owner with a mark has: its addresses and its entries of the
// index. An address that another owner took over is not among them.
func (m nftMasquerade) owned(t table, f family, mark string) (containers, owners []element, err error) {
	owners, err = m.conn.entries(t, ownersOf(f), mark)
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range owners {
		e, err := m.conn.element(t, containersOf(f), entry.data)
		switch {
		case err == nil && e.comment == mark:
			containers = append(containers, e)
		case err != nil && !errors.Is(err, unix.ENOENT):
			return nil, nil, err
		}
	}
	return containers, owners, nil
}

// holder returns the ownership mark of an address, "?" for an element without one, and
// the empty string if there is none.
func (m nftMasquerade) holder(t table, f family, a netip.Addr) (string, error) {
	e, err := m.conn.element(t, containersOf(f), a.AsSlice())
	switch {
	case errors.Is(err, unix.ENOENT):
		return "", nil
	case err == nil && e.comment == "":
		return "?", nil
	}
	return e.comment, err
}

// check compares what is there with what ensure makes.
func (m nftMasquerade) check(ctx context.Context, o Owner, addrs []netip.Prefix) error {
	return retry(ctx, func() error {
		t := masqueradeTable(o.Network)
		_, intact, err := m.conn.compare(t, m.layout(o.Network, addrs))
		if err != nil {
			return err
		}
		var errs []error
		if !intact {
			errs = append(errs, fmt.Errorf("nftables table %s: rules missing or changed: %w", t, errDiffers))
		}
		for _, f := range families() {
			_, entries, err := m.owned(t, f, o.Mark())
			if err != nil {
				return err
			}
			for _, p := range addrs {
				if !f.has(p.Addr()) {
					continue
				}
				holder, err := m.holder(t, f, p.Addr())
				if err != nil {
					return err
				}
				if err := differs(p.Addr(), o, holder); err != nil {
					errs = append(errs, err)
				} else if !slices.ContainsFunc(entries, func(e element) bool { return bytes.Equal(e.data, p.Addr().AsSlice()) }) {
					errs = append(errs, fmt.Errorf("masquerade %s: not in the index: %w", p.Addr(), errDiffers))
				}
			}
		}
		return errors.Join(errs...)
	})
}

// errDiffers is in errors of a check: the firewall is not as it should be.
var errDiffers = errors.New("differs from what was set up")

// differs returns an error unless the holder of a is o.
func differs(a netip.Addr, o Owner, holder string) error {
	switch holder {
	case o.Mark():
		return nil
	case "":
		return fmt.Errorf("masquerade %s: not there: %w", a, errDiffers)
	}
	return fmt.Errorf("masquerade %s: belongs to %q: %w", a, holder, errDiffers)
}

// list returns the addresses masqueraded for a network.
func (m nftMasquerade) list(ctx context.Context, network string) ([]Masqueraded, error) {
	var all []Masqueraded
	err := retry(ctx, func() error {
		all = nil
		for _, f := range families() {
			es, err := m.conn.elements(masqueradeTable(network), containersOf(f))
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
			for _, e := range es {
				if a, ok := netip.AddrFromSlice(e.key); ok {
					all = append(all, Masqueraded{Addr: a, mark: e.comment})
				}
			}
		}
		return nil
	})
	return all, err
}

// remove returns the changes that remove what o has.
func (m nftMasquerade) remove(o Owner) ([]request, error) {
	t := masqueradeTable(o.Network)
	var changes []request
	for _, f := range families() {
		containers, owners, err := m.owned(t, f, o.Mark())
		if err != nil {
			return nil, err
		}
		changes = append(changes, t.delElements(containersOf(f), containers)...)
		changes = append(changes, t.delElements(ownersOf(f), owners)...)
	}
	return changes, nil
}

// allSets names the sets that hold containers.
func (m nftMasquerade) allSets() []string {
	var names []string
	for _, f := range families() {
		names = append(names, containersOf(f), ownersOf(f))
	}
	return names
}
