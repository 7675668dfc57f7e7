// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// ruleMasquerade keeps masquerading in rules of iptables alone, for kernels without
// ipset: one for each address. Each network has, for each family:
//
//	-t nat -A POSTROUTING -j CNIKIT-R-HASH
//	-t nat -A CNIKIT-R-HASH -d 224.0.0.0/4 -j RETURN
//	-t nat -A CNIKIT-R-HASH -d 10.1.2.0/24 -j RETURN
//	-t nat -A CNIKIT-R-HASH -s 10.1.2.2/32 -m comment --comment "net=NET id=ID if=eth0" -j MASQUERADE
//
// One run lists the table, one changes it.
type ruleMasquerade struct {
	host *Host
}

// rulesChain names the chain of a network.
func rulesChain(network string) string { return "CNIKIT-R-" + hash(network)[:18] }

// ensure masquerades addrs for o, and no others of the families of addrs.
func (m ruleMasquerade) ensure(ctx context.Context, o Owner, addrs []netip.Prefix) error {
	m.host.log.InfoContext(ctx, "the kernel has no ipset: each container is a rule of iptables")
	return m.host.alone(ctx, func() error {
		for _, f := range families() {
			own := ofFamily(f, addrs)
			if len(own) == 0 {
				continue
			}
			err := m.host.revise(ctx, iptProgram(f, ""), func(t iptTable) ([]string, error) { return m.lines(t, f, o, own) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ofFamily returns the addresses of a family.
func ofFamily(f family, addrs []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(addrs), func(p netip.Prefix) bool { return !f.has(p.Addr()) })
}

// lines returns the input of iptables-restore that masquerades addrs, given what is there.
func (m ruleMasquerade) lines(t iptTable, f family, o Owner, addrs []netip.Prefix) ([]string, error) {
	chain, mark := rulesChain(o.Network), o.Mark()
	var lines []string
	if !t.has(chain) {
		lines = append(lines, ":"+chain+" - [0:0]")
	}
	if !t.leads("POSTROUTING", chain) {
		lines = append(lines, fmt.Sprintf(`-A POSTROUTING -m comment --comment "%s" -j %s`, masqueradeComment(o.Network), chain))
	}
	for _, p := range m.exempt(f, addrs) {
		if !t.returns(chain, p) {
			lines = append(lines, fmt.Sprintf("-I %s -d %s -j RETURN", chain, p))
		}
	}
	for _, r := range t.in(chain) {
		if r.target() == "MASQUERADE" && (r.option("--comment") == mark || slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return r.isFrom(p.Addr()) })) {
			lines = append(lines, r.deletion())
		}
	}
	for _, p := range addrs {
		l, err := line("-A", chain, "-s", single(p.Addr()).String(), "-m", "comment", "--comment", mark, "-j", "MASQUERADE")
		if err != nil {
			return nil, err
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// exempt returns where packets go unchanged.
func (m ruleMasquerade) exempt(f family, addrs []netip.Prefix) []netip.Prefix {
	return ownSubnets(nil, append(slices.Clone(addrs), f.multicast))
}

// returns reports whether a chain is left by packets to p.
func (t iptTable) returns(chain string, p netip.Prefix) bool {
	return slices.ContainsFunc(t.in(chain), func(r iptRule) bool { return r.target() == "RETURN" && r.option("-d") == p.String() })
}

// isFrom reports whether r is about packets from a.
func (r iptRule) isFrom(a netip.Addr) bool { return r.option("-s") == single(a).String() }

// check compares what is there with what ensure makes.
func (m ruleMasquerade) check(ctx context.Context, o Owner, addrs []netip.Prefix) error {
	var errs []error
	for _, f := range families() {
		own := ofFamily(f, addrs)
		if len(own) == 0 {
			continue
		}
		t, err := m.host.table(ctx, iptProgram(f, ""))
		if err != nil {
			return err
		}
		chain := rulesChain(o.Network)
		missing := !t.leads("POSTROUTING", chain)
		for _, p := range m.exempt(f, own) {
			missing = missing || !t.returns(chain, p)
		}
		if missing {
			errs = append(errs, fmt.Errorf("iptables chain %s: rules missing: %w", chain, errDiffers))
		}
		masqueraded := t.masqueraded(chain)
		for _, p := range own {
			holder := ""
			for _, have := range masqueraded {
				if have.Addr == p.Addr() {
					holder = have.mark
				}
			}
			errs = append(errs, differs(p.Addr(), o, holder))
		}
	}
	return errors.Join(errs...)
}

// masqueraded returns the addresses that a chain masquerades.
func (t iptTable) masqueraded(chain string) []Masqueraded {
	var all []Masqueraded
	for _, r := range t.in(chain) {
		p, err := netip.ParsePrefix(r.option("-s"))
		if err == nil && r.target() == "MASQUERADE" {
			all = append(all, Masqueraded{Addr: p.Addr(), mark: r.option("--comment")})
		}
	}
	return all
}

// list returns the addresses masqueraded for a network, by whichever iptables.
func (m ruleMasquerade) list(ctx context.Context, network string) ([]Masqueraded, error) {
	var all []Masqueraded
	err := m.each(network, func(program string) error {
		t, err := m.host.table(ctx, program)
		all = append(all, t.masqueraded(rulesChain(network))...)
		return err
	})
	return all, err
}

// each calls f with each program that shows a nat table with a chain of the network.
func (m ruleMasquerade) each(network string, f func(program string) error) error {
	var errs []error
	for _, fam := range families() {
		for _, program := range m.host.programsWith(fam, rulesChain(network)) {
			errs = append(errs, f(program))
		}
	}
	return errors.Join(errs...)
}

// collect removes what has not one of the marks, and the chain if nothing is left.
func (m ruleMasquerade) collect(ctx context.Context, network string, marks map[string]bool) error {
	return m.each(network, func(program string) error {
		return m.host.revise(ctx, program, func(t iptTable) ([]string, error) { return t.garbage(rulesChain(network), marks), nil })
	})
}

// garbage returns the lines that remove from a chain what has not one of the marks, and
// the chain if nothing is left.
func (t iptTable) garbage(chain string, marks map[string]bool) []string {
	var lines []string
	left := false
	for _, r := range t.in(chain) {
		if r.target() != "MASQUERADE" {
			continue
		}
		if marks[r.option("--comment")] {
			left = true
		} else {
			lines = append(lines, r.deletion())
		}
	}
	if !left {
		lines = t.removal([]chainAndShared{{chain, "POSTROUTING"}})
	}
	return lines
}

// removal returns the lines that remove what the owner with a mark has.
func (m ruleMasquerade) removal(t iptTable, o Owner) []string {
	var lines []string
	for _, r := range t.in(rulesChain(o.Network)) {
		if r.target() == "MASQUERADE" && r.option("--comment") == o.Mark() {
			lines = append(lines, r.deletion())
		}
	}
	return lines
}

// removalNFT returns the changes for the same, where iptables is a front end of nftables.
func (m ruleMasquerade) removalNFT(o Owner) ([]request, error) {
	var changes []request
	for _, f := range families() {
		rs, err := m.host.conn.rulesOf(table{family: f.proto, name: "nat"}, rulesChain(o.Network), func(r ruleSeen) bool {
			return r.comment == o.Mark() || bytes.Contains(r.exprs, append([]byte(o.Mark()), 0))
		})
		if err != nil {
			return nil, err
		}
		changes = append(changes, rs...)
	}
	return changes, nil
}
