// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// The messages and attributes of nf_tables that a snapshot has.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netfilter/nf_tables.h
const (
	netfilter   = 12 // NETLINK_NETFILTER
	subsystem   = 10 << 8
	getTable    = subsystem | 1
	getChain    = subsystem | 4
	getRule     = subsystem | 7
	getSet      = subsystem | 10
	getElements = subsystem | 13
	nfgenmsg    = 4 // the length of the header
)

// rawNftables reads the tables, chains, rules and sets of nftables from the kernel. An
// expression is its name and its data in hexadecimal; counters are without numbers.
func (n *Namespace) rawNftables() (lines []string, err error) {
	type set struct {
		family      byte
		table, name string
	}
	var sets []set
	ask := func(typ uint16, header []byte, f func(family byte, attrs []attribute)) {
		if err == nil {
			err = dump(netfilter, typ, header, func(_ uint16, body []byte) {
				if len(body) >= nfgenmsg {
					f(body[0], attributes(body[nfgenmsg:]))
				}
			})
		}
	}
	add := func(family byte, table, format string, args ...any) {
		lines = append(lines, "nft table "+familyName(family)+" "+table+fmt.Sprintf(format, args...))
	}
	inside := n.Do(func() error {
		all := make([]byte, nfgenmsg)
		ask(getTable, all, func(family byte, a []attribute) { add(family, text(find(a, 1)), "") })
		ask(getChain, all, func(family byte, a []attribute) {
			add(family, text(find(a, 1)), " chain %s%s", text(find(a, 3)), hookText(a))
		})
		ask(getRule, all, func(family byte, a []attribute) {
			add(family, text(find(a, 1)), " chain %s: %s%s", text(find(a, 2)), expressions(find(a, 4)), commentText(find(a, 7)))
		})
		ask(getSet, all, func(family byte, a []attribute) {
			sets = append(sets, set{family, text(find(a, 1)), text(find(a, 2))})
			add(family, text(find(a, 1)), " set %s", text(find(a, 2)))
		})
		for _, s := range sets {
			header := append([]byte{s.family, 0, 0, 0}, stringAttribute(1, s.table)...)
			ask(getElements, append(header, stringAttribute(2, s.name)...), func(family byte, a []attribute) {
				for _, e := range attributes(find(a, 3)) {
					parts := attributes(e.value)
					line := fmt.Sprintf("%x", find(attributes(find(parts, 1)), 1))
					if data := find(parts, 2); data != nil {
						line += fmt.Sprintf(" : %x", data)
					}
					add(family, s.table, " set %s: %s%s", s.name, line, commentText(find(parts, 6)))
				}
			})
		}
		return nil
	})
	if err == nil {
		err = inside
	}
	if err != nil {
		err = fmt.Errorf("list nftables: %w", err)
	}
	return lines, err
}

// compatTable is a table with rules that have matches and targets of iptables.
type compatTable struct{ family, name string }

// compatTables returns the tables in which iptables made rules, sorted.
func (n *Namespace) compatTables() (tables []compatTable, err error) {
	inside := n.Do(func() error {
		err = dump(netfilter, getRule, make([]byte, nfgenmsg), func(_ uint16, body []byte) {
			if len(body) < nfgenmsg {
				return
			}
			a := attributes(body[nfgenmsg:])
			t := compatTable{familyName(body[0]), text(find(a, 1))}
			if isCompat(find(a, 4)) && !slices.Contains(tables, t) {
				tables = append(tables, t)
			}
		})
		return nil
	})
	if err == nil {
		err = inside
	}
	if err != nil {
		return nil, fmt.Errorf("list nftables: %w", err)
	}
	slices.SortFunc(tables, func(a, b compatTable) int { return strings.Compare(a.family+" "+a.name, b.family+" "+b.name) })
	return tables, nil
}

// isCompat reports whether one of the expressions of a rule is a part of iptables.
func isCompat(list []byte) bool {
	return slices.ContainsFunc(attributes(list), func(e attribute) bool {
		name := text(find(attributes(e.value), 1))
		return name == "match" || name == "target"
	})
}

// hookText says where a chain is hooked in, if it is.
func hookText(chain []attribute) string {
	hook := attributes(find(chain, 4))
	if len(hook) == 0 {
		return ""
	}
	number := func(typ uint16) int32 {
		if v := find(hook, typ); len(v) == 4 {
			return int32(binary.BigEndian.Uint32(v))
		}
		return 0
	}
	line := fmt.Sprintf(": type %s hook %d priority %d", text(find(chain, 7)), number(1), number(2))
	if policy := find(chain, 5); len(policy) == 4 {
		line += fmt.Sprintf(" policy %d", binary.BigEndian.Uint32(policy))
	}
	return line
}

// expressions returns the names and data of the expressions of a rule.
func expressions(list []byte) string {
	var all []string
	for _, e := range attributes(list) {
		parts := attributes(e.value)
		name := text(find(parts, 1))
		if data := find(parts, 2); name != "counter" && len(data) > 0 {
			name += fmt.Sprintf("(%x)", data)
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

// commentText returns the comment in the user data of a rule or element, as nft keeps
// it: a type, a length, and the text.
func commentText(data []byte) string {
	if len(data) < 2 || data[0] != 0 || int(data[1]) > len(data)-2 {
		return ""
	}
	return fmt.Sprintf(" comment %q", text(data[2:2+int(data[1])]))
}

func familyName(family byte) string {
	switch family {
	case 1:
		return "inet"
	case syscall.AF_INET:
		return "ip"
	case 3:
		return "arp"
	case 5:
		return "netdev"
	case 7:
		return "bridge"
	case syscall.AF_INET6:
		return "ip6"
	}
	return fmt.Sprint("family ", family)
}

// stringAttribute encodes an attribute.
func stringAttribute(typ uint16, value string) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)+1))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(append(b, value...), 0)
	return append(b, make([]byte, -len(b)&3)...)
}
