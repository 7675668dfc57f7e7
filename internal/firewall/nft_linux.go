// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// nftMessage is the type of a message of the nf_tables subsystem.
func nftMessage(command uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | command }

// Lengths of data; in a concatenation each part starts at a multiple of registerBytes.
const (
	registerBytes = 4
	ifNameBytes   = unix.IFNAMSIZ
)

// table names a table of nftables.
type table struct {
	family uint8
	name   string
}

// String returns t as nft names it.
func (t table) String() string {
	family := map[uint8]string{
		unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_BRIDGE: "bridge",
	}[t.family]
	return family + " " + t.name
}

// chain is a chain of a table. A base chain has a hook.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook // nil for a chain that is only jumped to
	priority int32
}

// set is a set, or a map if it has data.
type set struct {
	name string
	key  []nftables.SetDatatype // the parts of the key
	data []nftables.SetDatatype // the parts of the data
}

// element is a member of a set or map.
type element struct {
	key, data []byte
	comment   string
}

// rule is a rule of a chain. Its comment tells it from the others of its chain.
type rule struct {
	chain   string
	comment string
	exprs   []expr.Any
}

// change returns a request that changes t or something in it. All commands of nf_tables
// that change something name the table by their first attribute.
func (t table) change(command, flags uint16, in attrs) request {
	const nameOfTable = unix.NFTA_TABLE_NAME // as NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE and NFTA_SET_ELEM_LIST_TABLE
	return request{
		typ: nftMessage(command), flags: flags, family: t.family,
		attrs: append(attrs(nil).str(nameOfTable, t.name), in...), table: t,
	}
}

// newTable creates t, or agrees if it is there.
func (t table) newTable() request {
	return t.change(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, nil)
}

// delTable removes t with everything in it.
func (t table) delTable() request { return t.change(unix.NFT_MSG_DELTABLE, 0, nil) }

// newChain creates ch, or agrees if it is there.
func (t table) newChain(ch chain) request {
	a := attrs(nil).str(unix.NFTA_CHAIN_NAME, ch.name)
	if ch.hook != nil {
		hook := attrs(nil).be32(unix.NFTA_HOOK_HOOKNUM, uint32(*ch.hook)).be32(unix.NFTA_HOOK_PRIORITY, uint32(ch.priority))
		a = a.nest(unix.NFTA_CHAIN_HOOK, hook).
			be32(unix.NFTA_CHAIN_POLICY, uint32(nftables.ChainPolicyAccept)).
			str(unix.NFTA_CHAIN_TYPE, string(ch.kind))
	}
	return t.change(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, a)
}

// flushChain removes the rules of a chain.
func (t table) flushChain(name string) request {
	return t.change(unix.NFT_MSG_DELRULE, 0, attrs(nil).str(unix.NFTA_RULE_CHAIN, name))
}

// delChain removes a chain that is empty and not used.
func (t table) delChain(name string) request {
	return t.change(unix.NFT_MSG_DELCHAIN, 0, attrs(nil).str(unix.NFTA_CHAIN_NAME, name))
}

// delRule removes the rule with a handle.
func (t table) delRule(chain string, handle uint64) request {
	a := attrs(nil).str(unix.NFTA_RULE_CHAIN, chain).bytes(unix.NFTA_RULE_HANDLE, binary.BigEndian.AppendUint64(nil, handle))
	return t.change(unix.NFT_MSG_DELRULE, 0, a)
}

// newSet creates s, or agrees if it is there. Sets are referred to by name, but have to
// have a number.
func (t table) newSet(s set, number uint32) (request, error) {
	key, err := datatype(s.key)
	if err != nil {
		return request{}, err
	}
	a := attrs(nil).str(unix.NFTA_SET_NAME, s.name).be32(unix.NFTA_SET_ID, number).
		be32(unix.NFTA_SET_KEY_TYPE, key.GetNFTMagic()).be32(unix.NFTA_SET_KEY_LEN, key.Bytes)
	flags := uint32(0)
	if len(s.data) > 0 {
		data, err := datatype(s.data)
		if err != nil {
			return request{}, err
		}
		flags |= unix.NFT_SET_MAP
		a = a.be32(unix.NFTA_SET_DATA_TYPE, data.GetNFTMagic()).be32(unix.NFTA_SET_DATA_LEN, data.Bytes)
	}
	return t.change(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, a.be32(unix.NFTA_SET_FLAGS, flags)), nil
}

// datatype returns the type of a concatenation. One part alone is not padded.
func datatype(parts []nftables.SetDatatype) (nftables.SetDatatype, error) {
	if len(parts) == 1 {
		return parts[0], nil
	}
	return nftables.ConcatSetType(parts...)
}

// elementsPerMessage keeps a list of elements within the 64 KiB of an attribute.
const elementsPerMessage = 128

// elementChanges returns the requests of one command for elements of a set.
func (t table) elementChanges(command, flags uint16, name string, elements []element) []request {
	var requests []request
	for some := range slices.Chunk(elements, elementsPerMessage) {
		var list attrs
		for _, e := range some {
			list = list.nest(unix.NFTA_LIST_ELEM, e.marshal())
		}
		a := attrs(nil).str(unix.NFTA_SET_ELEM_LIST_SET, name).nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list)
		requests = append(requests, t.change(command, flags, a))
	}
	return requests
}

// marshal returns the attributes of e.
func (e element) marshal() attrs {
	value := func(b []byte) attrs { return attrs(nil).bytes(unix.NFTA_DATA_VALUE, b) }
	a := attrs(nil).nest(unix.NFTA_SET_ELEM_KEY, value(e.key))
	if len(e.data) > 0 {
		a = a.nest(unix.NFTA_SET_ELEM_DATA, value(e.data))
	}
	if e.comment != "" {
		a = a.bytes(unix.NFTA_SET_ELEM_USERDATA, userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, e.comment))
	}
	return a
}

// addElements adds elements. In a set, one that is there keeps its comment, and so its
// owner, without a word, so callers look before; in a map, other data is an error
// (EEXIST, on older kernels EBUSY).
func (t table) addElements(set string, elements []element) []request {
	return t.elementChanges(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, set, elements)
}

// delElements removes elements by their keys.
func (t table) delElements(set string, elements []element) []request {
	keys := make([]element, len(elements))
	for i, e := range elements {
		keys[i].key = e.key
	}
	return t.elementChanges(unix.NFT_MSG_DELSETELEM, 0, set, keys)
}

// newRule adds r behind the others of its chain.
func (t table) newRule(r rule) (request, error) {
	var list attrs
	for _, e := range r.exprs {
		b, err := expr.Marshal(t.family, e)
		if err != nil {
			return request{}, fmt.Errorf("rule %q of chain %s: %w", r.comment, r.chain, err)
		}
		list = list.nest(unix.NFTA_LIST_ELEM, b)
	}
	a := attrs(nil).str(unix.NFTA_RULE_CHAIN, r.chain).nest(unix.NFTA_RULE_EXPRESSIONS, list).
		bytes(unix.NFTA_RULE_USERDATA, userdata.AppendString(nil, userdata.TypeComment, r.comment))
	return t.change(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, a), nil
}

// What follows reads.

// askNFT fails where the kernel has no nf_tables.
func (c *conn) askNFT() error {
	return c.do(request{typ: nftMessage(unix.NFT_MSG_GETGEN)}, nil)
}

// hasTableLike reports whether a table of a family has a name that begins with prefix.
func (c *conn) hasTableLike(family uint8, prefix string) (found bool, err error) {
	err = c.do(request{typ: nftMessage(unix.NFT_MSG_GETTABLE), flags: unix.NLM_F_DUMP, family: family}, func(r reply) error {
		found = found || strings.HasPrefix(attrString(findAttr(r.attrs, unix.NFTA_TABLE_NAME)), prefix)
		return nil
	})
	if err != nil && !(found && errors.Is(err, errChanged)) {
		return false, fmt.Errorf("list nftables tables: %w", err)
	}
	return found, nil
}

// ruleSeen is a rule as the kernel lists it.
type ruleSeen struct {
	chain, comment string
	handle         uint64
	exprs          []byte
}

// rules lists the rules of t in their order, or of one chain if chain is not empty.
// There are none if there is no such table or chain.
//
// A rule counts once. The kernel goes on with a list by the number of rules passed, and
// counts those of a transaction that it has not taken in yet: rules seen come again,
// and no mark says that the list was interrupted.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/net/netfilter/nf_tables_api.c (__nf_tables_dump_rules)
func (c *conn) rules(t table, chain string) ([]ruleSeen, error) {
	a := attrs(nil).str(unix.NFTA_RULE_TABLE, t.name)
	if chain != "" {
		a = a.str(unix.NFTA_RULE_CHAIN, chain)
	}
	var seen []ruleSeen
	err := c.do(request{typ: nftMessage(unix.NFT_MSG_GETRULE), flags: unix.NLM_F_DUMP, family: t.family, attrs: a}, func(r reply) error {
		var s ruleSeen
		name := ""
		err := eachAttr(r.attrs, func(typ uint16, value []byte) error {
			switch typ {
			case unix.NFTA_RULE_TABLE:
				name = attrString(value)
			case unix.NFTA_RULE_CHAIN:
				s.chain = attrString(value)
			case unix.NFTA_RULE_HANDLE:
				s.handle = attrUint64(value)
			case unix.NFTA_RULE_EXPRESSIONS:
				s.exprs = append([]byte(nil), value...)
			case unix.NFTA_RULE_USERDATA:
				s.comment = commentOf(value, byte(userdata.TypeComment))
			}
			return nil
		})
		// Kernels before 4.17 do not filter by table.
		again := slices.ContainsFunc(seen, func(b ruleSeen) bool { return b.handle == s.handle })
		if name == t.name && r.family == t.family && (chain == "" || chain == s.chain) && !again {
			seen = append(seen, s)
		}
		return err
	})
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list the rules of nftables table %s: %w", t, err)
	}
	return seen, nil
}

// elements lists a set. The error is ENOENT if there is none, and errChanged if an
// element came twice: the kernel goes on with a list by the number of elements passed, and
// when it makes the hash table larger meanwhile, which is no change of the ruleset, some
// come again and as many are left out.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/net/netfilter/nft_set_hash.c (nft_rhash_walk)
func (c *conn) elements(t table, set string) ([]element, error) {
	a := attrs(nil).str(unix.NFTA_SET_ELEM_LIST_TABLE, t.name).str(unix.NFTA_SET_ELEM_LIST_SET, set)
	var all []element
	err := c.do(request{typ: nftMessage(unix.NFT_MSG_GETSETELEM), flags: unix.NLM_F_DUMP, family: t.family, attrs: a}, func(r reply) error {
		return appendElements(&all, r.attrs)
	})
	if err == nil && repeated(all) {
		err = errChanged
	}
	if err != nil {
		return nil, fmt.Errorf("list set %s of nftables table %s: %w", set, t, err)
	}
	return all, nil
}

// repeated reports whether elements have one key.
func repeated(es []element) bool {
	seen := make(map[string]bool, len(es))
	for _, e := range es {
		seen[string(e.key)] = true
	}
	return len(seen) < len(es)
}

// element reads one element. The error is ENOENT if it, or the set, is not there.
func (c *conn) element(t table, set string, key []byte) (element, error) {
	wanted := attrs(nil).nest(unix.NFTA_SET_ELEM_KEY, attrs(nil).bytes(unix.NFTA_DATA_VALUE, key))
	a := attrs(nil).str(unix.NFTA_SET_ELEM_LIST_TABLE, t.name).str(unix.NFTA_SET_ELEM_LIST_SET, set).
		nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, attrs(nil).nest(unix.NFTA_LIST_ELEM, wanted))
	var found []element
	err := c.do(request{typ: nftMessage(unix.NFT_MSG_GETSETELEM), family: t.family, attrs: a}, func(r reply) error {
		return appendElements(&found, r.attrs)
	})
	switch {
	case errors.Is(err, unix.ENOENT) || err == nil && len(found) == 0:
		return element{}, unix.ENOENT // most often nobody hears of it
	case err != nil:
		return element{}, fmt.Errorf("look into set %s of nftables table %s: %w", set, t, err)
	}
	return found[0], nil
}

// appendElements adds the elements of one message to a list.
func appendElements(list *[]element, message []byte) error {
	return eachAttr(findAttr(message, unix.NFTA_SET_ELEM_LIST_ELEMENTS), func(_ uint16, item []byte) error {
		e, err := parseElement(item)
		*list = append(*list, e)
		return err
	})
}

// parseElement reads the attributes of an element into memory of its own.
func parseElement(b []byte) (element, error) {
	var e element
	err := eachAttr(b, func(typ uint16, value []byte) error {
		switch typ {
		case unix.NFTA_SET_ELEM_KEY:
			e.key = append([]byte(nil), findAttr(value, unix.NFTA_DATA_VALUE)...)
		case unix.NFTA_SET_ELEM_DATA:
			e.data = append([]byte(nil), findAttr(value, unix.NFTA_DATA_VALUE)...)
		case unix.NFTA_SET_ELEM_USERDATA:
			e.comment = commentOf(value, byte(userdata.NFTNL_UDATA_SET_ELEM_COMMENT))
		}
		return nil
	})
	return e, err
}

// commentOf returns the text of one type in user data, which is a sequence of type,
// length and value, each of a byte.
func commentOf(b []byte, want byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		value := b[2 : 2+int(b[1])]
		if b[0] == want {
			return attrString(value)
		}
		b = b[2+len(value):]
	}
	return ""
}

// family is what nftables needs to know of a family of addresses.
type family struct {
	proto        byte // NFPROTO_*
	name         string
	typ          nftables.SetDatatype // of an address
	source, dest uint32               // offsets of addresses in the network header
	bytes        uint32               // of an address
	multicast    netip.Prefix
}

// families are the two that NAT knows.
func families() []family {
	return []family{
		{
			proto: unix.NFPROTO_IPV4, name: "4", typ: nftables.TypeIPAddr, source: 12, dest: 16, bytes: 4,
			multicast: netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4),
		},
		{
			proto: unix.NFPROTO_IPV6, name: "6", typ: nftables.TypeIP6Addr, source: 8, dest: 24, bytes: 16,
			multicast: netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8),
		},
	}
}

// familyOf returns the family of an address.
func familyOf(a netip.Addr) family {
	if a.Is4() {
		return families()[0]
	}
	return families()[1]
}

// has reports whether a is an address of f.
func (f family) has(a netip.Addr) bool { return a.Is4() == (f.proto == unix.NFPROTO_IPV4) }

// isFamily matches packets of f, in a table of family inet.
func (f family) isFamily() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: []byte{f.proto}},
	}
}

// load reads an address of the packet into a register.
func (f family) load(offset uint32, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.bytes}
}

// inPrefix matches packets with an address, at an offset, within p.
func (f family) inPrefix(offset uint32, p netip.Prefix) []expr.Any {
	es := append(f.isFamily(), f.load(offset, unix.NFT_REG_1))
	if p.Bits() < p.Addr().BitLen() {
		es = append(es, &expr.Bitwise{
			SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: f.bytes,
			Mask: maskOf(p), Xor: make([]byte, f.bytes),
		})
	}
	return append(es, &expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: p.Masked().Addr().AsSlice()})
}

// inSet matches packets with an address, at an offset, in a set.
func (f family) inSet(offset uint32, set string) []expr.Any {
	return append(f.isFamily(), f.load(offset, unix.NFT_REG_1),
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: set})
}

// maskOf returns the netmask of p.
func maskOf(p netip.Prefix) []byte {
	mask := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}

// verdict ends or redirects the walk through a chain.
func verdict(kind expr.VerdictKind, chain string) expr.Any {
	return &expr.Verdict{Kind: kind, Chain: chain}
}
