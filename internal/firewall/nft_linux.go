// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// nftMessage is the type of a message of the nf_tables subsystem.
func nftMessage(command uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | command }

// Data types of nft, which keeps them in sets to print their elements.
//
// Source: https://git.netfilter.org/nftables/tree/include/datatype.h?h=v1.1.1
const (
	typeIPv4    = 7
	typeIPv6    = 8
	typeEther   = 9
	typeProto   = 12
	typeService = 13
	typeMark    = 19
	typeIfName  = 41

	// typeBits is TYPE_BITS: each part of a concatenation takes six bits.
	typeBits = 6
)

// Lengths of data of those types; in a concatenation each starts at a multiple of four.
const (
	registerBytes = 4
	ifNameBytes   = unix.IFNAMSIZ
)

// Attributes that golang.org/x/sys does not define.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netfilter/nf_tables.h
const (
	nftaTableUserdata = 6
	nftaChainUserdata = 12
)

// tableUserdataComment is NFTNL_UDATA_TABLE_COMMENT.
const tableUserdataComment = userdata.Type(0)

// table names a table of nftables.
type table struct {
	family uint8
	name   string
}

// chain is a chain of a table. A base chain has a hook.
type chain struct {
	name     string
	kind     string // "nat" or "filter"; empty for a chain that is only jumped to
	hook     uint32
	priority int32
}

// set is a set, or a map if it has data.
type set struct {
	name    string
	key     []uint32 // types of the parts of the key
	data    []uint32 // types of the parts of the data
	comment string
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
	front   bool // put before the others instead of after them
}

// width returns the length of a datum of a type.
func width(typ uint32) int {
	switch typ {
	case typeIPv6:
		return 16
	case typeEther:
		return 6
	case typeProto:
		return 1
	case typeService:
		return 2
	case typeIfName:
		return ifNameBytes
	}
	return registerBytes
}

// concat returns the type and length of a concatenation. One part alone is not padded.
func concat(types []uint32) (magic, length uint32) {
	for _, t := range types {
		magic = magic<<typeBits | t
		n := width(t)
		if len(types) > 1 {
			n += padding(n)
		}
		length += uint32(n)
	}
	return magic, length
}

// pad returns the concatenation of parts as it stands in registers.
func pad(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
		b = append(b, make([]byte, padding(len(p)))...)
	}
	return b
}

// newTable creates t, or agrees if it is there.
func (t table) newTable(comment string) request {
	a := attrs(nil).str(unix.NFTA_TABLE_NAME, t.name).
		bytes(nftaTableUserdata, userdata.AppendString(nil, tableUserdataComment, comment))
	return request{typ: nftMessage(unix.NFT_MSG_NEWTABLE), flags: unix.NLM_F_CREATE, family: t.family, attrs: a}
}

// delTable removes t with everything in it.
func (t table) delTable() request {
	return request{typ: nftMessage(unix.NFT_MSG_DELTABLE), family: t.family, attrs: attrs(nil).str(unix.NFTA_TABLE_NAME, t.name)}
}

// newChain creates c, or agrees if it is there.
func (t table) newChain(c chain) request {
	a := attrs(nil).str(unix.NFTA_CHAIN_TABLE, t.name).str(unix.NFTA_CHAIN_NAME, c.name)
	if c.kind != "" {
		a = a.nest(unix.NFTA_CHAIN_HOOK, attrs(nil).
			be32(unix.NFTA_HOOK_HOOKNUM, c.hook).
			be32(unix.NFTA_HOOK_PRIORITY, uint32(c.priority)))
		a = a.be32(unix.NFTA_CHAIN_POLICY, 1) // NF_ACCEPT
		a = a.str(unix.NFTA_CHAIN_TYPE, c.kind)
	}
	return request{typ: nftMessage(unix.NFT_MSG_NEWCHAIN), flags: unix.NLM_F_CREATE, family: t.family, attrs: a}
}

// flushChain removes the rules of a chain.
func (t table) flushChain(name string) request {
	a := attrs(nil).str(unix.NFTA_RULE_TABLE, t.name).str(unix.NFTA_RULE_CHAIN, name)
	return request{typ: nftMessage(unix.NFT_MSG_DELRULE), family: t.family, attrs: a}
}

// delChain removes a chain that is empty and not used.
func (t table) delChain(name string) request {
	a := attrs(nil).str(unix.NFTA_CHAIN_TABLE, t.name).str(unix.NFTA_CHAIN_NAME, name)
	return request{typ: nftMessage(unix.NFT_MSG_DELCHAIN), family: t.family, attrs: a}
}

// delRule removes the rule with a handle.
func (t table) delRule(chain string, handle []byte) request {
	a := attrs(nil).str(unix.NFTA_RULE_TABLE, t.name).str(unix.NFTA_RULE_CHAIN, chain).
		bytes(unix.NFTA_RULE_HANDLE, handle)
	return request{typ: nftMessage(unix.NFT_MSG_DELRULE), family: t.family, attrs: a}
}

// newSet creates s, or agrees if it is there. id is unique within the transaction.
func (t table) newSet(s set, id uint32) request {
	magic, length := concat(s.key)
	var flags uint32
	if len(s.data) > 0 {
		flags = unix.NFT_SET_MAP
	}
	a := attrs(nil).str(unix.NFTA_SET_TABLE, t.name).str(unix.NFTA_SET_NAME, s.name).
		be32(unix.NFTA_SET_FLAGS, flags).
		be32(unix.NFTA_SET_KEY_TYPE, magic).be32(unix.NFTA_SET_KEY_LEN, length).
		be32(unix.NFTA_SET_ID, id)
	if len(s.data) > 0 {
		magic, length := concat(s.data)
		a = a.be32(unix.NFTA_SET_DATA_TYPE, magic).be32(unix.NFTA_SET_DATA_LEN, length)
	}
	if s.comment != "" {
		a = a.bytes(unix.NFTA_SET_USERDATA, userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_COMMENT, s.comment))
	}
	return request{typ: nftMessage(unix.NFT_MSG_NEWSET), flags: unix.NLM_F_CREATE, family: t.family, attrs: a}
}

// elementsPerMessage keeps a list of elements within the 64 KiB of an attribute.
const elementsPerMessage = 128

// setElements makes the messages of a command about elements of a set.
func (t table) setElements(command, flags uint16, set string, elements []element) []request {
	var rs []request
	for len(elements) > 0 {
		n := min(len(elements), elementsPerMessage)
		var list attrs
		for _, e := range elements[:n] {
			list = list.nest(unix.NFTA_LIST_ELEM, e.marshal())
		}
		a := attrs(nil).str(unix.NFTA_SET_ELEM_LIST_TABLE, t.name).str(unix.NFTA_SET_ELEM_LIST_SET, set).
			nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list)
		rs = append(rs, request{typ: nftMessage(command), flags: flags, family: t.family, attrs: a})
		elements = elements[n:]
	}
	return rs
}

// marshal returns the attributes of an element.
func (e element) marshal() attrs {
	a := attrs(nil).nest(unix.NFTA_SET_ELEM_KEY, attrs(nil).bytes(unix.NFTA_DATA_VALUE, e.key))
	if e.data != nil {
		a = a.nest(unix.NFTA_SET_ELEM_DATA, attrs(nil).bytes(unix.NFTA_DATA_VALUE, e.data))
	}
	if e.comment != "" {
		a = a.bytes(unix.NFTA_SET_ELEM_USERDATA, userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, e.comment))
	}
	return a
}

// addElements adds elements that must not be there: an existing one would keep its
// comment, and so its owner, without a word.
func (t table) addElements(set string, elements []element) []request {
	return t.setElements(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE|unix.NLM_F_EXCL, set, elements)
}

// delElements removes elements by their keys.
func (t table) delElements(set string, elements []element) []request {
	keys := make([]element, len(elements))
	for i, e := range elements {
		keys[i].key = e.key
	}
	return t.setElements(unix.NFT_MSG_DELSETELEM, 0, set, keys)
}

// newRule adds r.
func (t table) newRule(r rule) (request, error) {
	var list attrs
	for _, e := range r.exprs {
		b, err := expr.Marshal(t.family, e)
		if err != nil {
			return request{}, fmt.Errorf("rule %q: %w", r.comment, err)
		}
		list = list.nest(unix.NFTA_LIST_ELEM, b)
	}
	a := attrs(nil).str(unix.NFTA_RULE_TABLE, t.name).str(unix.NFTA_RULE_CHAIN, r.chain).
		nest(unix.NFTA_RULE_EXPRESSIONS, list).
		bytes(unix.NFTA_RULE_USERDATA, userdata.AppendString(nil, userdata.TypeComment, r.comment))
	flags := uint16(unix.NLM_F_CREATE | unix.NLM_F_APPEND)
	if r.front {
		flags = unix.NLM_F_CREATE
	}
	return request{typ: nftMessage(unix.NFT_MSG_NEWRULE), flags: flags, family: t.family, attrs: a}, nil
}

// generation returns the generation of the ruleset. It fails where the kernel has no nf_tables.
func (c *conn) generation() (uint32, error) {
	var id uint32
	err := c.do(request{typ: nftMessage(unix.NFT_MSG_GETGEN)}, func(r reply) error {
		id = attrUint32(findAttr(r.attrs, unix.NFTA_GEN_ID))
		return nil
	})
	return id, err
}

// ruleSeen is a rule as the kernel lists it.
type ruleSeen struct {
	chain, comment string
	handle         []byte
	exprs          []byte
}

// rules lists the rules of t in their order, or of one chain if chain is not empty.
// There are none if there is no such table or chain.
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
				s.handle = append([]byte(nil), value...)
			case unix.NFTA_RULE_EXPRESSIONS:
				s.exprs = append([]byte(nil), value...)
			case unix.NFTA_RULE_USERDATA:
				s.comment = commentOf(value, byte(userdata.TypeComment))
			}
			return nil
		})
		// Kernels before 4.17 do not filter by table.
		if name == t.name && r.family == t.family && (chain == "" || chain == s.chain) {
			seen = append(seen, s)
		}
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return seen, err
}

// elements lists a set. The error is ENOENT if there is none.
func (c *conn) elements(t table, set string) ([]element, error) {
	a := attrs(nil).str(unix.NFTA_SET_ELEM_LIST_TABLE, t.name).str(unix.NFTA_SET_ELEM_LIST_SET, set)
	var all []element
	err := c.do(request{typ: nftMessage(unix.NFT_MSG_GETSETELEM), flags: unix.NLM_F_DUMP, family: t.family, attrs: a}, func(r reply) error {
		return appendElements(&all, r.attrs)
	})
	return all, err
}

// element reads one element. The error is ENOENT if it, or the set, is not there.
func (c *conn) element(t table, set string, key []byte) (element, error) {
	rs := t.setElements(unix.NFT_MSG_GETSETELEM, 0, set, []element{{key: key}})
	var found []element
	err := c.do(rs[0], func(r reply) error { return appendElements(&found, r.attrs) })
	if err == nil && len(found) == 0 {
		err = unix.ENOENT
	}
	if err != nil {
		return element{}, err
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
	typ          uint32 // of an address
	source, dest uint32 // offsets of addresses in the network header
	bytes        uint32 // of an address
	multicast    netip.Prefix
}

// families are the two that NAT knows.
func families() []family {
	return []family{
		{
			proto: unix.NFPROTO_IPV4, name: "4", typ: typeIPv4, source: 12, dest: 16, bytes: 4,
			multicast: netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4),
		},
		{
			proto: unix.NFPROTO_IPV6, name: "6", typ: typeIPv6, source: 8, dest: 24, bytes: 16,
			multicast: netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8),
		},
	}
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
