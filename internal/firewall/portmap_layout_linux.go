// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// portLayout is the table of a network.
func portLayout(network string, p PortMap, sources []netip.Prefix) (layout, error) {
	l := layout{
		table: portsTable(network),
		sets: []set{{
			name: forwardsSet, key: indexKey(),
			data: []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeIP6Addr, nftables.TypeInetService, nftables.TypeIP6Addr, nftables.TypeInetService},
		}},
		chains: []chain{
			{name: "ports"},
			{name: "prerouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPrerouting, priority: -priorityMasquerade},
			{name: "output", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookOutput, priority: -priorityMasquerade},
			{name: "postrouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, priority: priorityMasquerade},
		},
	}
	for i, f := range families() {
		l.chains = append(l.chains, chain{name: f.sources()})
		to := []nftables.SetDatatype{f.typ, nftables.TypeInetService}
		l.sets = append(l.sets,
			set{name: f.dnat(), key: []nftables.SetDatatype{nftables.TypeInetProto, f.typ, nftables.TypeInetService}, data: to},
			set{name: f.dnatAny(), key: []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService}, data: to},
			set{name: f.mapped(), key: []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService, f.typ, nftables.TypeInetService}},
			set{name: f.selves(), key: []nftables.SetDatatype{f.typ, f.typ}})
		entries, err := f.entryRules(p.Conditions[i], p.SNAT)
		if err != nil {
			return layout{}, err
		}
		l.rules = append(l.rules, entries...)
		l.rules = append(l.rules, f.dnatRules()...)
		l.rules = append(l.rules, f.sourceRules(p, sources)...)
	}
	if p.SNAT {
		l.chains = append(l.chains, chain{name: "guard", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, priority: prioritySpoof})
		l.rules = append(l.rules, guardRule())
	}
	return l, nil
}

// loopback4 is the addresses that mean the host itself.
func loopback4() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8) }

// guardRule drops what comes from outside for a loopback address. The kernel does so
// by itself, until route_localnet is set, which connections from 127.0.0.1 to a
// container need; then containers could reach services that listen on 127.0.0.1 only.
func guardRule() rule {
	const loopbackIndex = 1 // of lo, in every network namespace
	f := families()[0]
	es := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIF, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: binary.NativeEndian.AppendUint32(nil, loopbackIndex)},
	}
	es = append(es, f.inPrefix(f.dest, loopback4())...)
	return rule{chain: "guard", comment: "loopback addresses from outside", exprs: append(es, verdict(expr.VerdictDrop, ""))}
}

// unreachable returns the addresses of the host from which no way leads to a
// container, whose ports are left alone, so that who asks there is refused at once and who
// listens there is reached. To 127.0.0.0/8 the kernel routes answers only with
// route_localnet and masquerading. For ::1 there is no such setting: a route to a loopback
// address is looked up strictly on the link that the packet came in by, and a local
// route to ::1 on that link does not help.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/net/ipv6/route.c (ip6_route_input_lookup)
func (f family) unreachable(snat bool) []netip.Prefix {
	switch {
	case f.proto == unix.NFPROTO_IPV6:
		return []netip.Prefix{netip.PrefixFrom(netip.IPv6Loopback(), 128)}
	case !snat:
		return []netip.Prefix{loopback4()}
	}
	return nil
}

// entryRules lead packets for the host that fulfil the conditions to the map.
func (f family) entryRules(words []string, snat bool) ([]rule, error) {
	conditions, err := parseConditions(words, f.proto == unix.NFPROTO_IPV4)
	if err != nil {
		return nil, err
	}
	name := "host ports, IPv" + f.name
	if len(words) > 0 {
		name += ", if " + strings.Join(words, " ")
	}
	conditions = append(conditions, condition{field: "daddr", values: f.unreachable(snat), negate: true})
	if !snat {
		name += ", not loopback"
	}
	if len(name) > maxMark {
		name = name[:maxMark/2] + shorten(name)
	}
	name = strings.ReplaceAll(name, `"`, "")
	var rules []rule
	for _, chain := range []string{"prerouting", "output"} {
		for _, alternative := range alternatives(conditions) {
			es := f.isFamily()
			for _, c := range alternative {
				es = append(es, f.matches(c)...)
			}
			es = append(es,
				&expr.Fib{Register: unix.NFT_REG_1, ResultADDRTYPE: true, FlagDADDR: true},
				&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)},
				verdict(expr.VerdictGoto, "ports"))
			rules = append(rules, rule{chain: chain, comment: name, exprs: es})
		}
	}
	return rules, nil
}

// matches returns the expressions for a condition with one value.
func (f family) matches(c condition) []expr.Any {
	op := expr.CmpOpEq
	if c.negate {
		op = expr.CmpOpNeq
	}
	if c.field == "iifname" {
		name, wild := strings.CutSuffix(c.names[0], "*")
		data := []byte(name)
		if !wild {
			data = append(data, make([]byte, ifNameBytes-len(name))...)
		}
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
			&expr.Cmp{Op: op, Register: unix.NFT_REG_1, Data: data},
		}
	}
	offset := f.source
	if c.field == "daddr" {
		offset = f.dest
	}
	es := f.inPrefix(offset, c.values[0])
	es[len(es)-1].(*expr.Cmp).Op = op
	return es
}

// Registers of four bytes, in which the parts of a key or of data stand one after another.
const firstRegister = unix.NFT_REG32_00

// dnatRules send packets to containers: by address and port, else by port.
func (f family) dnatRules() []rule {
	words := f.bytes / registerBytes
	load := func(register uint32) expr.Any {
		return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	}
	proto := &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstRegister}
	to := func(name string) []expr.Any {
		return []expr.Any{
			&expr.Lookup{SourceRegister: firstRegister, DestRegister: unix.NFT_REG_1, IsDestRegSet: true, SetName: name},
			&expr.NAT{
				Type: expr.NATTypeDestNAT, Family: uint32(f.proto),
				RegAddrMin: unix.NFT_REG_1, RegProtoMin: firstRegister + words, Specified: true,
			},
		}
	}
	byAddr := append(f.isFamily(), proto, f.load(f.dest, firstRegister+1), load(firstRegister+1+words))
	byPort := append(f.isFamily(), proto, load(firstRegister+1))
	return []rule{
		{chain: "ports", comment: "address and port, IPv" + f.name, exprs: append(byAddr, to(f.dnat())...)},
		{chain: "ports", comment: "port, IPv" + f.name, exprs: append(byPort, to(f.dnatAny())...)},
	}
}

// sources names the chain for connections that came through a map.
func (f family) sources() string { return "sources" + f.name }

// sourceRules masquerade the connections that would not find back.
func (f family) sourceRules(p PortMap, sources []netip.Prefix) []rule {
	if !p.SNAT && !p.MasqueradeAll {
		return nil
	}
	rules := f.mappedRules()
	masquerade := func(comment string, from []expr.Any) {
		rules = append(rules, rule{chain: f.sources(), comment: comment, exprs: append(from, &expr.Masq{})})
	}
	if p.MasqueradeAll {
		masquerade("all", nil)
		return rules
	}
	if f.proto == unix.NFPROTO_IPV4 {
		masquerade("loopback", f.inPrefix(f.source, loopback4()))
	}
	masquerade("itself", f.isItself())
	for _, s := range sources {
		if f.has(s.Addr()) {
			masquerade(ownPrefix+s.String(), f.inPrefix(f.source, s))
		}
	}
	return rules
}

// isItself matches packets that a container sends to itself. Those from the subnets of
// the network would do, were there not networks where each container has its own.
func (f family) isItself() []expr.Any {
	return append(f.isFamily(),
		f.load(f.source, firstRegister), f.load(f.dest, firstRegister+f.bytes/registerBytes),
		&expr.Lookup{SourceRegister: firstRegister, SetName: f.selves()})
}

// statusDNAT is IPS_DST_NAT: the destination of the connection was changed.
const statusDNAT = 1 << 5

// mappedRules lead connections that came through a map to the chain about their
// sources. They were for the port of the host and are for the container's; who asks the
// container itself, with the same port by chance, was not sent elsewhere. There is a rule
// for each protocol, and a match that is always true, because nft reads a port of
// connection tracking only behind a match that shows the protocol, and a saved ruleset has to
// be read.
func (f family) mappedRules() []rule {
	words := f.bytes / registerBytes
	var rules []rule
	for _, p := range []Protocol{TCP, UDP, SCTP} {
		es := append(f.isFamily(),
			&expr.Ct{Key: expr.CtKeySTATUS, Register: unix.NFT_REG_1},
			&expr.Bitwise{
				SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: 4,
				Mask: binary.NativeEndian.AppendUint32(nil, statusDNAT), Xor: make([]byte, 4),
			},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: make([]byte, 4)},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG_1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: []byte{byte(p)}},
			&expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: []byte{0, 0}},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstRegister},
			&expr.Ct{Key: expr.CtKeyPROTODST, Register: firstRegister + 1}, // of the original direction: 0
			f.load(f.dest, firstRegister+2),
			&expr.Payload{DestRegister: firstRegister + 2 + words, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Lookup{SourceRegister: firstRegister, SetName: f.mapped()},
			verdict(expr.VerdictGoto, f.sources()))
		rules = append(rules, rule{chain: "postrouting", comment: "mapped, IPv" + f.name + ", " + p.String(), exprs: es})
	}
	return rules
}
