// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/coreos/go-iptables/iptables"
	"golang.org/x/sys/unix"
)

// iptMasquerade keeps masquerading in ipsets that constant rules of iptables match.
// Each network has, for each family:
//
//	ipset cnikit4-HASH hash:ip    10.1.2.2 comment "net=NET id=ID if=eth0"
//	ipset cnikit4o-HASH hash:net  10.1.2.0/24, 224.0.0.0/4
//	-t nat -A POSTROUTING -m set --match-set cnikit4-HASH src -j CNIKIT-HASH
//	-t nat -A CNIKIT-HASH -m set --match-set cnikit4o-HASH dst -j RETURN
//	-t nat -A CNIKIT-HASH -m set --match-set cnikit4-HASH src -j MASQUERADE
//
// The second match of the last rule is always true. It is there to be counted: the
// kernel says how many rules refer to a set, so one read without a program tells
// whether the rules are in place.
type iptMasquerade struct {
	host *Host
	log  *slog.Logger
}

// Rules that refer to the sets of a network.
const (
	containerReferences = 2
	ownReferences       = 1
)

// iptNetwork is the names of a network in one family.
type iptNetwork struct {
	network    string
	family     family
	containers ipset
	own        ipset
	chain      string
}

// iptNames returns the names of a network. Sets have at most 31 bytes
// (IPSET_MAXNAMELEN), chains 28 (XT_EXTENSION_MAXNAMELEN).
func iptNames(network string, f family) iptNetwork {
	const digits = 20
	h := hash(network)[:digits]
	return iptNetwork{
		network:    network,
		family:     f,
		containers: ipset{name: "cnikit" + f.name + "-" + h, kind: "hash:ip", family: f.proto},
		own:        ipset{name: "cnikit" + f.name + "o-" + h, kind: "hash:net", family: f.proto},
		chain:      "CNIKIT-" + h,
	}
}

// masqueradeComment is the comment of the rules that lead to the chain of a network.
func masqueradeComment(network string) string {
	return "cnikit masquerade, network " + networkName(network)
}

// entry is the rule that leads packets of containers to the chain of the network.
func (n iptNetwork) entry() []string {
	return []string{
		"-m", "set", "--match-set", n.containers.name, "src",
		"-m", "comment", "--comment", masqueradeComment(n.network), "-j", n.chain,
	}
}

// body is the rules of the chain of the network.
func (n iptNetwork) body() [][]string {
	return [][]string{
		{"-m", "set", "--match-set", n.own.name, "dst", "-j", "RETURN"},
		{"-m", "set", "--match-set", n.containers.name, "src", "-j", "MASQUERADE"},
	}
}

// ensure masquerades addrs for o. The address comes last, so that a half-way failure
// masquerades nothing wrongly, and is added again by the next ADD.
func (m iptMasquerade) ensure(ctx context.Context, o Owner, addrs []netip.Prefix) error {
	for _, f := range families() {
		var members, own []member
		for _, p := range addrs {
			if !f.has(p.Addr()) {
				continue
			}
			members = append(members, member{prefix: single(p.Addr()), comment: o.Mark()})
			if !p.IsSingleIP() {
				own = append(own, member{prefix: p.Masked()})
			}
		}
		if len(members) == 0 {
			continue
		}
		err := retry(ctx, func() error { return m.add(ctx, iptNames(o.Network, f), own, members) })
		if err != nil {
			return err
		}
	}
	return nil
}

// add adds addresses and the subnets they are in. One that another container has is taken
// over under the lock, which a DEL of the other one holds from its look to its end. It
// looks at the rules once more when they are in the sets: a GC that found nobody there may
// have taken the rules away since, and else sees the addresses before it removes the sets;
// see demolish.
func (m iptMasquerade) add(ctx context.Context, n iptNetwork, own, members []member) error {
	if err := m.ready(ctx, n); err != nil {
		return err
	}
	m.host.conn.letTestAct()
	for _, e := range own {
		if err := m.host.conn.addMember(n.own, e); err != nil {
			return changedIfGone(err)
		}
	}
	for _, e := range members {
		err := m.host.conn.addNewMember(n.containers, e)
		if errors.Is(err, ipsetErrExist) {
			err = m.host.alone(ctx, func() error { return m.host.conn.addMember(n.containers, e) })
		}
		if err != nil {
			return changedIfGone(err)
		}
	}
	ok, err := m.intact(n)
	if err == nil && !ok {
		return errChanged
	}
	return err
}

// single returns the prefix of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// ready makes the sets and the rules of a network, unless they are there.
func (m iptMasquerade) ready(ctx context.Context, n iptNetwork) error {
	ok, err := m.intact(n)
	if ok || err != nil {
		return err
	}
	return m.host.alone(ctx, func() error {
		if ok, err := m.intact(n); ok || err != nil {
			return err // somebody else did it meanwhile
		}
		return m.build(n)
	})
}

// intact reports whether the rules of a network are in place.
func (m iptMasquerade) intact(n iptNetwork) (bool, error) {
	for _, want := range []struct {
		set        ipset
		references int
	}{{n.containers, containerReferences}, {n.own, ownReferences}} {
		got, err := m.host.conn.references(want.set)
		switch {
		case errors.Is(err, unix.ENOENT):
			return false, nil
		case noIPSet(err):
			return false, unsupported("ipset", err)
		case err != nil || got < want.references:
			return false, err
		}
	}
	return true, nil
}

// build makes the sets and the rules of a network, agreeing with those that are there.
func (m iptMasquerade) build(n iptNetwork) error {
	m.log.Info("masquerade rules are put in place", "network", n.network, "family", "IPv"+n.family.name, "backend", IPTables)
	c := m.host.conn
	err := c.createSet(n.containers)
	if noIPSet(err) {
		return unsupported("ipset", err)
	}
	if err := errors.Join(err, c.createSet(n.own), c.addMember(n.own, member{prefix: n.family.multicast})); err != nil {
		return err
	}
	return m.host.lockHeld(m.host.inside(func() error {
		t, err := m.host.iptablesFor(n.family)
		if err != nil {
			return err
		}
		if why := t.NewChain("nat", n.chain); why != nil {
			// It exists, most often. What else it may be only iptables can say, in words, which
			// would be lost when emptying the chain fails because there is none.
			if err := t.ClearChain("nat", n.chain); err != nil {
				return fmt.Errorf("make chain %s: %w", n.chain, errors.Join(why, err))
			}
		}
		for _, r := range n.body() {
			if err := t.Append("nat", n.chain, r...); err != nil {
				return fmt.Errorf("append to chain %s: %w", n.chain, err)
			}
		}
		if err := t.AppendUnique("nat", "POSTROUTING", n.entry()...); err != nil {
			return fmt.Errorf("append to chain POSTROUTING: %w", err)
		}
		return nil
	}))
}

// iptablesFor finds the program of a family and asks for its version.
func (h *Host) iptablesFor(f family) (*iptables.IPTables, error) {
	proto := iptables.ProtocolIPv4
	if f.proto == unix.NFPROTO_IPV6 {
		proto = iptables.ProtocolIPv6
	}
	t, err := iptables.New(iptables.IPFamily(proto), iptables.Timeout(h.lockSeconds()))
	if err != nil {
		return nil, unsupported(IPTables, err)
	}
	return t, nil
}

// check compares what is there with what ensure makes.
func (m iptMasquerade) check(_ context.Context, o Owner, addrs []netip.Prefix) error {
	var errs []error
	for _, f := range families() {
		for _, p := range addrs {
			if !f.has(p.Addr()) {
				continue
			}
			n := iptNames(o.Network, f)
			ok, err := m.intact(n)
			if err != nil {
				return err
			}
			if !ok {
				errs = append(errs, fmt.Errorf("iptables chain %s: rules missing: %w", n.chain, errDiffers))
				continue
			}
			all, err := m.host.conn.members(n.containers)
			if err != nil {
				return err
			}
			holder := ""
			for _, e := range all {
				if e.prefix.Addr() == p.Addr() {
					holder = e.comment
				}
			}
			errs = append(errs, differs(p.Addr(), o, holder))
		}
	}
	return errors.Join(errs...)
}

// list returns the addresses masqueraded for a network.
func (m iptMasquerade) list(network string) ([]Masqueraded, error) {
	if !hasIPSet() {
		return nil, nil
	}
	var list []Masqueraded
	for _, f := range families() {
		all, err := m.host.conn.members(iptNames(network, f).containers)
		if errors.Is(err, unix.ENOENT) || noIPSet(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			list = append(list, Masqueraded{Addr: e.prefix.Addr(), mark: e.comment})
		}
	}
	return list, nil
}

// remove removes the addresses of a network whose marks are gone, and takes the lock if
// there are any: else one could be another container's between the look and the removal,
// which names the address alone.
func (m iptMasquerade) remove(ctx context.Context, network string, gone func(mark string) bool) error {
	some := func(all []Masqueraded) bool {
		return slices.ContainsFunc(all, func(e Masqueraded) bool { return gone(e.mark) })
	}
	if all, err := m.list(network); err != nil || !some(all) {
		return err
	}
	return m.host.alone(ctx, func() error {
		all, err := m.list(network)
		errs := []error{err}
		for _, e := range all {
			if gone(e.mark) {
				n := iptNames(network, familyOf(e.Addr))
				errs = append(errs, m.host.conn.delMember(n.containers, member{prefix: single(e.Addr)}))
			}
		}
		return errors.Join(errs...)
	})
}

// removeEmpty removes the rules and sets of a network if no address is left.
func (m iptMasquerade) removeEmpty(ctx context.Context, network string) error {
	if !hasIPSet() {
		return nil
	}
	return m.host.alone(ctx, func() error {
		var errs []error
		for _, f := range families() {
			n := iptNames(network, f)
			left, err := m.host.conn.members(n.containers)
			if errors.Is(err, unix.ENOENT) || noIPSet(err) {
				continue
			}
			if err == nil && len(left) == 0 {
				err = m.demolish(ctx, n)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// demolish removes rules, chain and sets of a network, under the lock. An address that
// somebody adds before the rules are gone is seen when they are, and they are made again;
// who adds one later sees that they are gone.
//
// Spec: checklist GC-028.
func (m iptMasquerade) demolish(ctx context.Context, n iptNetwork) error {
	err := m.host.inside(func() error {
		t, err := m.host.iptablesFor(n.family)
		if err != nil {
			return err
		}
		// Without the chain no rule leads to it, and to ask for one is an error: who made
		// the sets was killed before he made the chain.
		if there, err := t.ChainExists("nat", n.chain); err != nil || !there {
			return err
		}
		if err := t.DeleteIfExists("nat", "POSTROUTING", n.entry()...); err != nil {
			return fmt.Errorf("remove from chain POSTROUTING: %w", err)
		}
		return t.ClearAndDeleteChain("nat", n.chain)
	})
	if err != nil {
		return m.host.lockHeld(err)
	}
	if err := m.released(ctx, n.containers); err != nil {
		return err
	}
	if left, err := m.host.conn.members(n.containers); err != nil || len(left) > 0 {
		return errors.Join(err, m.build(n))
	}
	m.host.conn.letTestAct()
	// By the set of the containers the rest is found, so it goes last.
	if err := m.destroy(ctx, n.own); err != nil {
		return err
	}
	return m.destroy(ctx, n.containers)
}

// released waits until no rule refers to a set: with nft behind iptables the kernel lets
// go of a rule's sets a grace period after the rule.
func (m iptMasquerade) released(ctx context.Context, s ipset) error {
	return retry(ctx, func() error {
		n, err := m.host.conn.references(s)
		if err == nil && n > 0 {
			return fmt.Errorf("ipset %s: %w", s.name, errChanged)
		}
		return err
	})
}

// destroy removes a set that no rule refers to any longer, or soon.
func (m iptMasquerade) destroy(ctx context.Context, s ipset) error {
	return retry(ctx, func() error {
		err := m.host.conn.destroySet(s)
		if errors.Is(err, ipsetErrBusy) {
			return errors.Join(errChanged, err)
		}
		return err
	})
}
