// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// iptPortMap keeps port maps in the nat table of iptables, which has no maps: a
// container has a chain of its own. For each family:
//
//	-A PREROUTING -m addrtype --dst-type LOCAL -j CNIKIT-HP-NET
//	-A OUTPUT -m addrtype --dst-type LOCAL -j CNIKIT-HP-NET
//	-A POSTROUTING -m mark --mark 0x2000/0x2000 -j MASQUERADE
//	-A CNIKIT-HM-13 -j MARK --set-xmark 0x2000/0x2000
//	-A CNIKIT-HP-NET -p tcp -m multiport --dports 80,443 [conditions] -m comment --comment "net=… id=… if=…" -j CNIKIT-DN-OWNER
//	-A CNIKIT-DN-OWNER -s 10.1.2.0/24 -j CNIKIT-HM-13
//	-A CNIKIT-DN-OWNER -s 127.0.0.0/8 -j CNIKIT-HM-13
//	-A CNIKIT-DN-OWNER -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.2.2:8080
//
// Rules with an address of the host come before those without. One run lists the
// table, one changes it.
type iptPortMap struct {
	host *Host
}

// Names of chains; they have at most 28 bytes (XT_EXTENSION_MAXNAMELEN).
const (
	hostPortsChain = "CNIKIT-HP-"
	portMarkChain  = "CNIKIT-HM-"
	containerChain = "CNIKIT-DN-"
)

// multiport is how many ports a rule can match (XT_MULTI_PORTS).
const multiport = 15

// markComment begins the comment of the rules that masquerade what has a mark.
const markComment = "cnikit host ports, mark bit "

// hostPortsComment is the comment of the rules of a network outside its chain.
func hostPortsComment(network string) string {
	return "cnikit host ports, network " + networkName(network)
}

// portsChain names the chain of a network, ownerChain that of a container.
func portsChain(network string) string { return hostPortsChain + hash(network)[:18] }
func ownerChain(mark string) string    { return containerChain + hash(mark)[:18] }

// iptPorts is what is to be mapped in one family.
type iptPorts struct {
	PortMap
	family   family
	owner    Owner
	words    []string // conditions
	forwards []Forward
}

// of returns the part of p in a family.
func (m iptPortMap) of(f family, o Owner, p PortMap) iptPorts {
	i := iptPorts{PortMap: p, family: f, owner: o, words: p.Conditions[0]}
	if f.proto == unix.NFPROTO_IPV6 {
		i.words = p.Conditions[1]
	}
	for _, fw := range p.Forwards {
		if f.has(fw.Host.Addr()) {
			i.forwards = append(i.forwards, fw)
		}
	}
	return i
}

// ensure maps ports for o, and no others.
func (m iptPortMap) ensure(ctx context.Context, o Owner, p PortMap) error {
	return m.host.alone(ctx, func() error {
		mapped := false // whether nftables maps ports to o
		if m.host.hasNFT {
			var err error
			if mapped, err = m.host.nftPorts().claim(ctx, o, p); err != nil {
				return err
			}
		}
		for _, f := range families() {
			if i := m.of(f, o, p); len(i.forwards) > 0 {
				if err := m.write(ctx, i); err != nil {
					return err
				}
			}
		}
		if !mapped {
			return nil
		}
		gone, err := m.host.nftPorts().yield(ctx, o, p)
		m.host.forget(ctx, without(gone, p.Forwards), true)
		return err
	})
}

// write puts the rules of i in place.
func (m iptPortMap) write(ctx context.Context, i iptPorts) error {
	t, err := m.host.table(ctx, iptProgram(i.family, ""))
	if err != nil {
		return err
	}
	if err := i.conflicts(t); err != nil {
		return err
	}
	lines, err := i.lines(t)
	if err != nil {
		return err
	}
	return m.host.restore(ctx, iptProgram(i.family, "-restore"), append(i.guard(t), section{"nat", lines})...)
}

// yield removes what iptables maps to o, of whichever iptables, when nftables maps p.
func (m iptPortMap) yield(ctx context.Context, o Owner, p PortMap) error {
	gone, err := m.mappedTo(ctx, o)
	if err != nil {
		return err
	}
	if err := m.host.removeChains(ctx, chainAndShared{ownerChain(o.Mark()), portsChain(o.Network)}); err != nil {
		return err
	}
	m.host.forget(ctx, without(gone, p.Forwards), true)
	return m.host.nftPorts().disclaim(ctx, o)
}

// without returns the forwards of a list that are not in another.
func without(list, other []Forward) []Forward {
	return slices.DeleteFunc(slices.Clone(list), func(f Forward) bool { return slices.Contains(other, f) })
}

// conflicts returns a ConflictError if another owner has a port of i.
func (i iptPorts) conflicts(t iptTable) error {
	if len(i.words) > 0 {
		return nil
	}
	for _, r := range t.rules {
		mark := r.option("--comment")
		if !strings.HasPrefix(r.chain(), hostPortsChain) || mark == i.owner.Mark() {
			continue
		}
		for _, f := range i.forwards {
			if r.takes(f) {
				return newConflict(f, mark)
			}
		}
	}
	return nil
}

// takes reports whether r, of a chain of a network, leads f's port somewhere.
func (r iptRule) takes(f Forward) bool {
	host := unspecifiedLike(f.Host.Addr())
	if d, err := netip.ParsePrefix(r.option("-d")); err == nil {
		host = d.Addr()
	}
	ports := strings.Split(r.option("--dports"), ",")
	return r.option("-p") == f.Protocol.String() && host == f.Host.Addr() && slices.Contains(ports, strconv.Itoa(int(f.Host.Port())))
}

// unspecifiedLike returns the unspecified address of a's family.
func unspecifiedLike(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// lines returns the input of iptables-restore that maps the ports of i, given what is
// there.
func (i iptPorts) lines(t iptTable) ([]string, error) {
	mark, network := i.owner.Mark(), portsChain(i.owner.Network)
	chain := ownerChain(mark)
	var lines []string
	var errs []error
	add := func(words ...string) {
		l, err := line(words...)
		lines, errs = append(lines, l), append(errs, err)
	}
	if !t.has(network) {
		lines = append(lines, ":"+network+" - [0:0]")
	}
	lines = append(lines, ":"+chain+" - [0:0]") // empties one that is there
	for _, r := range t.in(network) {
		if r.target() == chain {
			lines = append(lines, r.deletion())
		}
	}
	i.base(t, add)
	for _, e := range i.entries() {
		where := "-A"
		if slices.Contains(e, "-d") {
			where = "-I"
		}
		add(slices.Concat([]string{where, network}, e, i.words, []string{"-m", "comment", "--comment", mark, "-j", chain})...)
	}
	for _, r := range i.body() {
		add(append([]string{"-A", chain}, r...)...)
	}
	return lines, errors.Join(errs...)
}

// markChain names the chain that marks what is to be masqueraded.
func (i iptPorts) markChain() string {
	if i.MarkChain != "" {
		return i.MarkChain
	}
	return portMarkChain + strconv.Itoa(i.MarkBit)
}

// base adds the rules that are constant, as far as they are not there.
func (i iptPorts) base(t iptTable, add func(words ...string)) {
	network := portsChain(i.owner.Network)
	if len(t.in(i.markChain())) == 0 && i.MarkChain == "" {
		if !t.has(i.markChain()) {
			add(":"+i.markChain(), "-", "[0:0]")
		}
		add("-A", i.markChain(), "-j", "MARK", "--set-xmark", i.markValue())
	}
	for _, hook := range []string{"PREROUTING", "OUTPUT"} {
		if !t.leads(hook, network) {
			words := []string{"-A", hook, "-m", "addrtype", "--dst-type", "LOCAL"}
			for _, p := range i.family.unreachable(i.SNAT) {
				words = append(words, "!", "-d", p.String())
			}
			add(append(words, "-m", "comment", "--comment", hostPortsComment(i.owner.Network), "-j", network)...)
		}
	}
	if i.MarkChain == "" && !t.masquerades(i.markComment()) {
		add("-A", "POSTROUTING", "-m", "mark", "--mark", i.markValue(), "-m", "comment", "--comment", i.markComment(), "-j", "MASQUERADE")
	}
}

// guard returns what makes the rule of the raw table that drops what comes from outside for
// loopback addresses. It is there before the first port is mapped, and the chain of the
// network before it: by that, GC finds the rule if ADD was killed in between.
func (i iptPorts) guard(t iptTable) []section {
	if !i.SNAT || i.family.proto != unix.NFPROTO_IPV4 || t.leads("PREROUTING", portsChain(i.owner.Network)) {
		return nil
	}
	var chain []string
	if network := portsChain(i.owner.Network); !t.has(network) { // one that is there would be emptied
		chain = []string{":" + network + " - [0:0]"}
	}
	return []section{{"nat", chain}, {"raw", []string{"-A " + guardSpec(i.owner.Network)}}}
}

// guardSpec is the rule of guard without the command.
func guardSpec(network string) string {
	return fmt.Sprintf(`PREROUTING ! -i lo -d %s -m comment --comment "%s" -j DROP`, loopback4(), hostPortsComment(network))
}

// markValue returns the mark and its mask.
func (i iptPorts) markValue() string {
	bit := fmt.Sprintf("%#x", uint32(1)<<i.MarkBit)
	return bit + "/" + bit
}

// markComment tells the rule that masquerades what is marked.
func (i iptPorts) markComment() string {
	return markComment + strconv.Itoa(i.MarkBit)
}

// leads reports whether a rule of one chain leads to another.
func (t iptTable) leads(from, to string) bool {
	return slices.ContainsFunc(t.in(from), func(r iptRule) bool { return r.target() == to })
}

// masquerades reports whether the rule with a comment masquerades.
func (t iptTable) masquerades(comment string) bool {
	return slices.ContainsFunc(t.in("POSTROUTING"), func(r iptRule) bool {
		return r.target() == "MASQUERADE" && r.option("--comment") == comment
	})
}

// entries returns the matches of the rules that lead to the chain of the container:
// ports of one protocol and address of the host together.
func (i iptPorts) entries() [][]string {
	type group struct {
		protocol Protocol
		host     netip.Addr
	}
	var order []group
	ports := map[group][]string{}
	for _, f := range i.forwards {
		g := group{f.Protocol, f.Host.Addr()}
		if ports[g] == nil {
			order = append(order, g)
		}
		ports[g] = append(ports[g], strconv.Itoa(int(f.Host.Port())))
	}
	var entries [][]string
	for _, g := range order {
		for some := range slices.Chunk(ports[g], multiport) {
			var words []string
			if !g.host.IsUnspecified() {
				words = append(words, "-d", g.host.String())
			}
			words = append(words, "-p", g.protocol.String(), "-m", "multiport", "--dports", strings.Join(some, ","))
			entries = append(entries, words)
		}
	}
	return entries
}

// body returns the rules of the chain of the container.
func (i iptPorts) body() [][]string {
	var rules [][]string
	if i.MasqueradeAll {
		rules = append(rules, []string{"-j", i.markChain()})
	} else if i.SNAT {
		for _, s := range i.Subnets {
			if i.family.has(s.Addr()) {
				rules = append(rules, []string{"-s", s.String(), "-j", i.markChain()})
			}
		}
		if i.family.proto == unix.NFPROTO_IPV4 {
			rules = append(rules, []string{"-s", loopback4().String(), "-j", i.markChain()})
		}
	}
	for _, f := range i.forwards {
		words := []string{}
		if !f.Host.Addr().IsUnspecified() {
			words = append(words, "-d", f.Host.Addr().String())
		}
		rules = append(rules, append(words, "-p", f.Protocol.String(), "-m", f.Protocol.String(),
			"--dport", strconv.Itoa(int(f.Host.Port())), "-j", "DNAT", "--to-destination", f.Container.String()))
	}
	return rules
}

// check compares what is there with what ensure makes.
func (m iptPortMap) check(ctx context.Context, o Owner, p PortMap) error {
	var errs []error
	for _, f := range families() {
		i := m.of(f, o, p)
		if len(i.forwards) == 0 {
			continue
		}
		t, err := m.host.table(ctx, iptProgram(f, ""))
		if err != nil {
			return err
		}
		errs = append(errs, i.differences(t)...)
	}
	return errors.Join(errs...)
}

// differences returns what t lacks of i.
func (i iptPorts) differences(t iptTable) []error {
	var errs []error
	i.base(t, func(words ...string) {
		errs = append(errs, fmt.Errorf("iptables rule %q: not there: %w", strings.Join(words, " "), errDiffers))
	})
	chain, network := ownerChain(i.owner.Mark()), portsChain(i.owner.Network)
	if got, want := len(t.in(chain)), len(i.body()); got != want {
		errs = append(errs, fmt.Errorf("iptables chain %s: %d rules, not %d: %w", chain, got, want, errDiffers))
	}
	mapped := t.mapped(network)
	for _, f := range i.forwards {
		if !slices.Contains(mapped, Mapped{Forward: f, Owner: i.owner}) {
			errs = append(errs, fmt.Errorf("map %s: not in iptables: %w", f, errDiffers))
		}
	}
	return errs
}

// mapped returns the ports that the rules of a network map.
func (t iptTable) mapped(network string) []Mapped {
	var all []Mapped
	seen := map[string]bool{}
	for _, entry := range t.in(network) {
		o, ok := ParseMark(entry.option("--comment"))
		if !ok || seen[entry.target()] {
			continue
		}
		seen[entry.target()] = true
		for _, r := range t.in(entry.target()) {
			if f, ok := r.forward(); ok {
				all = append(all, Mapped{Forward: f, Owner: o})
			}
		}
	}
	return all
}

// forward reads a rule that changes the destination.
func (r iptRule) forward() (Forward, bool) {
	protocol, err := ParseProtocol(r.option("-p"))
	if err != nil {
		return Forward{}, false
	}
	to, err := netip.ParseAddrPort(r.option("--to-destination"))
	if err != nil {
		return Forward{}, false
	}
	host := unspecifiedLike(to.Addr())
	if d, err := netip.ParsePrefix(r.option("-d")); err == nil {
		host = d.Addr()
	}
	port, err := strconv.ParseUint(r.option("--dport"), 10, 16)
	return Forward{Protocol: protocol, Host: netip.AddrPortFrom(host, uint16(port)), Container: to}, err == nil
}

// chains names what a container may have: a chain of ours, and those of the reference
// plugin.
func (m iptPortMap) chains(o Owner) []chainAndShared {
	return append(referencePortChains(o), chainAndShared{ownerChain(o.Mark()), portsChain(o.Network)})
}

// list returns the ports mapped for a network, by whichever iptables.
func (m iptPortMap) list(ctx context.Context, network string) ([]Mapped, error) {
	var all []Mapped
	for _, f := range families() {
		for _, program := range m.host.programsWith(f, portsChain(network)) {
			t, err := m.host.table(ctx, program)
			if err != nil {
				return nil, err
			}
			all = append(all, t.mapped(portsChain(network))...)
		}
	}
	return all, nil
}

// mappedTo returns the ports mapped to o, by whichever iptables. Without the program that
// shows them there are none: their chains go all the same where they are nftables, only what
// they said is not known.
func (m iptPortMap) mappedTo(ctx context.Context, o Owner) ([]Forward, error) {
	all, err := m.list(ctx, o.Network)
	if errors.Is(err, exec.ErrNotFound) {
		m.host.log.WarnContext(ctx, "stale UDP connections may go on for a while", "error", err)
		err = nil
	}
	var forwards []Forward
	for _, a := range all {
		if a.Owner.Mark() == o.Mark() {
			forwards = append(forwards, a.Forward)
		}
	}
	return forwards, err
}

// removeEmpty removes the chain of a network, of whichever iptables, if nothing is
// mapped, and after the last network the rules about marks, which serve all of them.
func (m iptPortMap) removeEmpty(ctx context.Context, network string) error {
	return m.host.alone(ctx, func() error {
		left, err := m.list(ctx, network)
		if err != nil || len(left) > 0 {
			return err
		}
		var programs []string
		for _, f := range families() {
			programs = append(programs, m.host.programsWith(f, portsChain(network))...)
		}
		// The chain goes last, since a GC that was killed finds the rest by it.
		chain := portsChain(network)
		var errs []error
		for _, p := range programs {
			errs = append(errs, m.removeMarks(ctx, p, chain), m.removeGuard(ctx, p, network))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return m.host.removeChains(ctx, chainAndShared{chain, "PREROUTING"}, chainAndShared{chain, "OUTPUT"})
	})
}

// removeGuard removes the guard of a network, however often it is there.
func (m iptPortMap) removeGuard(ctx context.Context, program, network string) error {
	text, err := m.host.run(ctx, "", program, "-t", "raw", "-S", "PREROUTING")
	if err != nil {
		return err
	}
	var lines []string
	for _, r := range parseTable(text).in("PREROUTING") {
		if r.target() == "DROP" && r.option("--comment") == hostPortsComment(network) {
			lines = append(lines, r.deletion())
		}
	}
	return m.host.restore(ctx, restoreOf(program), section{"raw", lines})
}

// removeMarks removes the rules about marks if no network has a chain but this one.
func (m iptPortMap) removeMarks(ctx context.Context, program, chain string) error {
	t, err := m.host.table(ctx, program)
	others := func(c string) bool { return c != chain && strings.HasPrefix(c, hostPortsChain) }
	if err != nil || slices.ContainsFunc(t.chains, others) {
		return err
	}
	var lines []string
	for _, r := range t.in("POSTROUTING") {
		if strings.HasPrefix(r.option("--comment"), markComment) {
			lines = append(lines, r.deletion())
		}
	}
	for _, c := range t.chains {
		if strings.HasPrefix(c, portMarkChain) {
			lines = append(lines, "-F "+c, "-X "+c)
		}
	}
	return m.host.restore(ctx, restoreOf(program), section{"nat", lines})
}

// restoreOf names the program that changes what another shows: iptables-restore for
// iptables, iptables-nft-restore for iptables-nft.
func restoreOf(program string) string { return program + "-restore" }
