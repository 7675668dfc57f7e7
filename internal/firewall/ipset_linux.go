// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Commands, attributes and errors of ipset.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netfilter/ipset/ip_set.h
const (
	ipsetProtocol = 6 // the least that kernels accept

	ipsetCreate  = 2
	ipsetDestroy = 3
	ipsetList    = 7
	ipsetAdd     = 9
	ipsetDel     = 10

	ipsetAttrProtocol = 1
	ipsetAttrName     = 2
	ipsetAttrType     = 3
	ipsetAttrRevision = 4
	ipsetAttrFamily   = 5
	ipsetAttrFlags    = 6
	ipsetAttrData     = 7
	ipsetAttrElements = 8

	ipsetAttrIP         = 1
	ipsetAttrPrefix     = 3
	ipsetAttrElemFlags  = 8
	ipsetAttrLine       = 9
	ipsetAttrReferences = 25
	ipsetAttrComment    = 26

	ipsetIPv4 = 1
	ipsetIPv6 = 2

	ipsetHeaderOnly  = 1 << 2 // IPSET_FLAG_LIST_HEADER
	ipsetWithComment = 1 << 4 // IPSET_FLAG_WITH_COMMENT

	ipsetErrFindType = unix.Errno(4098)
	ipsetErrBusy     = unix.Errno(4100)
	ipsetErrExist    = unix.Errno(4103)
)

// ipset names a set that iptables rules can match, and how to make it.
type ipset struct {
	name   string
	kind   string // "hash:ip" or "hash:net"
	family uint8
}

// member is an element of an ipset.
type member struct {
	prefix  netip.Prefix // of one address, in a hash:ip
	comment string
}

// revision returns the first revision of the kind that takes comments.
func (s ipset) revision() uint8 {
	if s.kind == "hash:net" {
		return 4
	}
	return 2
}

// request makes a message about s.
func (s ipset) request(command uint16, flags uint16, a attrs) request {
	head := attrs(nil).u8(ipsetAttrProtocol, ipsetProtocol).str(ipsetAttrName, s.name)
	return request{typ: unix.NFNL_SUBSYS_IPSET<<8 | command, flags: flags, family: s.family, attrs: append(head, a...)}
}

// createSet makes s, or agrees if it is there.
func (c *conn) createSet(s ipset) error {
	a := attrs(nil).str(ipsetAttrType, s.kind).u8(ipsetAttrRevision, s.revision()).u8(ipsetAttrFamily, s.family).
		nest(ipsetAttrData, attrs(nil).be32(ipsetAttrElemFlags|attrNetwork, ipsetWithComment))
	return ipsetError("create", s, c.do(s.request(ipsetCreate, unix.NLM_F_CREATE, a), nil))
}

// destroySet removes s with its members, and agrees if it is gone.
func (c *conn) destroySet(s ipset) error {
	err := c.do(s.request(ipsetDestroy, 0, nil), nil)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return ipsetError("destroy", s, err)
}

// addMember makes m a member of s. One that is there gets the comment of m.
func (c *conn) addMember(s ipset, m member) error {
	return ipsetError("add to", s, c.do(s.request(ipsetAdd, 0, m.marshal()), nil))
}

// addNewMember makes m a member of s. The error is ipsetErrExist if it is one.
func (c *conn) addNewMember(s ipset, m member) error {
	return ipsetError("add to", s, c.do(s.request(ipsetAdd, unix.NLM_F_EXCL, m.marshal()), nil))
}

// delMember removes m from s, and agrees if it is gone.
func (c *conn) delMember(s ipset, m member) error {
	m.comment = ""
	err := c.do(s.request(ipsetDel, 0, m.marshal()), nil)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return ipsetError("remove from", s, err)
}

// marshal returns the attributes of a member.
func (m member) marshal() attrs {
	typ := uint16(ipsetIPv4)
	if m.prefix.Addr().Is6() {
		typ = ipsetIPv6
	}
	a := attrs(nil).nest(ipsetAttrIP, attrs(nil).bytes(typ|attrNetwork, m.prefix.Addr().AsSlice()))
	if !m.prefix.IsSingleIP() {
		a = a.u8(ipsetAttrPrefix, uint8(m.prefix.Bits()))
	}
	if m.comment != "" {
		a = a.str(ipsetAttrComment, m.comment)
	}
	return attrs(nil).nest(ipsetAttrData, a.be32(ipsetAttrLine|attrNetwork, 0))
}

// references returns how many rules match s. The error is ENOENT if there is no s.
func (c *conn) references(s ipset) (int, error) {
	n := 0
	a := attrs(nil).be32(ipsetAttrFlags|attrNetwork, ipsetHeaderOnly)
	err := insist(func() error {
		return c.do(s.request(ipsetList, unix.NLM_F_DUMP, a), func(r reply) error {
			n = int(attrUint32(findAttr(r.attrs, ipsetAttrData, ipsetAttrReferences)))
			return nil
		})
	})
	return n, ipsetError("look at", s, err)
}

// members lists s. The error is ENOENT if there is no s.
func (c *conn) members(s ipset) ([]member, error) {
	var all []member
	err := insist(func() error {
		all = nil
		return c.do(s.request(ipsetList, unix.NLM_F_DUMP, nil), func(r reply) error {
			return eachAttr(findAttr(r.attrs, ipsetAttrElements), func(_ uint16, item []byte) error {
				m, err := parseMember(item)
				all = append(all, m)
				return err
			})
		})
	})
	return all, ipsetError("list", s, err)
}

// parseMember reads the attributes of a member.
func parseMember(b []byte) (member, error) {
	ip := findAttr(b, ipsetAttrIP, ipsetIPv4)
	if ip == nil {
		ip = findAttr(b, ipsetAttrIP, ipsetIPv6)
	}
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return member{}, fmt.Errorf("ipset member without address: %w", errTruncated)
	}
	bits := a.BitLen()
	if p := findAttr(b, ipsetAttrPrefix); len(p) == 1 {
		bits = int(p[0])
	}
	return member{prefix: netip.PrefixFrom(a, bits), comment: attrString(findAttr(b, ipsetAttrComment))}, nil
}

// ipsetError says what was done to which set.
func ipsetError(what string, s ipset, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s ipset %s: %w", what, s.name, err)
}

// hasIPSet reports whether the kernel has ip_set loaded. To ask the kernel itself
// would make it look for the module.
func hasIPSet() bool {
	if _, err := os.Stat("/sys/module/ip_set"); err == nil {
		return true
	}
	_, err := os.Stat("/sys/module")
	return err != nil // not to be seen here: ask
}

// noIPSet reports whether err says that the kernel has no ip_set, or not the set types needed.
func noIPSet(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, ipsetErrFindType)
}
