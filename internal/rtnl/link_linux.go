// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// extSkipStats is RTEXT_FILTER_SKIP_STATS: leave the counters out of the answer, which
// are a third of it. Since Linux 4.13.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/rtnetlink.h
const extSkipStats = 1 << 3

// Flag is something to switch.
type Flag uint8

// What to do with a Flag. The zero value leaves it as it is.
const (
	Keep Flag = iota
	On
	Off
)

// Link is a link as the kernel describes it.
type Link struct {
	Index     int
	Name      string
	AltNames  []string
	Alias     string
	Kind      string // "veth", "bridge", …; empty for hardware and loopback
	MAC       net.HardwareAddr
	MTU       int
	Flags     uint32 // IFF_…
	OperState uint8  // IF_OPER_…
	Master    int    // index of the link it is a port of; 0 if none
	Parent    int    // index of the link below, or of the peer of a veth; 0 if none
	ParentNS  int    // id of the namespace of Parent; -1 if it is the link's own, or has none
	TxQueue   int    // length of the transmit queue in packets
	Queues    int    // number of transmit queues

	Bridge  *Bridge  // of a bridge
	Port    *Port    // of a port of a bridge
	Macvlan *Macvlan // of a macvlan
	Vxlan   *Vxlan   // of a vxlan
}

// LinkSpec is what to send of a link: to name one, to make one, or to change one.
// Zero values are not sent.
type LinkSpec struct {
	Index   int
	Name    string
	NewName string // renames the link of Index
	Alias   string
	Kind    string
	MAC     net.HardwareAddr
	MTU     int
	Up      Flag // not for a Peer, which the kernel cannot set up before its veth is whole
	Promisc Flag
	Master  int  // index; -1 releases the link
	Parent  int  // index in the namespace of the socket
	NetNS   int  // descriptor of a namespace to make the link in, or to move it to
	TxQueue int  // length of the transmit queue in packets
	Queues  int  // of each direction
	GenMode Flag // On: a link-local address made by the kernel; Off: none

	// ARPNotify is whether the link announces its IPv4 addresses when it is set up and
	// when its hardware address is set. Not for a link that is being made, for which the
	// kernel does not look at it.
	ARPNotify Flag

	Peer    *LinkSpec // of a veth
	Bridge  *BridgeSpec
	Port    *PortSpec
	Macvlan *Macvlan
	Vxlan   *Vxlan
}

// LinkByName asks for the link of a name or an alternative name.
func (c *Conn) LinkByName(ctx context.Context, name string) (*Link, error) {
	l, err := c.getLink(ctx, LinkSpec{}, func(r *request) {
		if len(name) < unix.IFNAMSIZ {
			r.str(unix.IFLA_IFNAME, name)
		} else {
			r.str(unix.IFLA_ALT_IFNAME, name) // since 5.5
		}
	})
	return named(l, err, "link", name)
}

// LinkByIndex asks for the link of an index.
func (c *Conn) LinkByIndex(ctx context.Context, index int) (*Link, error) {
	l, err := c.getLink(ctx, LinkSpec{Index: index}, func(*request) {})
	return named(l, err, "link with index", index)
}

// named adds what was asked for to an error.
func named[T any](v *T, err error, what string, which any) (*T, error) {
	if err != nil {
		return nil, fmt.Errorf("%s %v: %w", what, which, err)
	}
	return v, nil
}

func (c *Conn) getLink(ctx context.Context, s LinkSpec, more func(*request)) (*Link, error) {
	r := newRequest(unix.RTM_GETLINK, 0, s.header())
	r.u32(unix.IFLA_EXT_MASK, extSkipStats)
	more(r)
	var l *Link
	err := c.get(ctx, r, func(body []byte) (err error) {
		l, err = parseLink(body)
		return err
	})
	return l, err
}

// LinkFilter says which links to list. Zero values do not restrict.
type LinkFilter struct {
	Kind   string
	Master int // index
}

// Links lists links. The kernel filters; what a filter selects that it does not know
// is sorted out here.
func (c *Conn) Links(ctx context.Context, f LinkFilter) ([]Link, error) {
	r := newRequest(unix.RTM_GETLINK, 0, (&LinkSpec{}).header())
	r.u32(unix.IFLA_EXT_MASK, extSkipStats)
	r.u32nz(unix.IFLA_MASTER, uint32(f.Master))
	if f.Kind != "" {
		r.nest(unix.IFLA_LINKINFO, func() { r.str(unix.IFLA_INFO_KIND, f.Kind) })
	}
	var links []Link
	err := c.dump(ctx, r, func() { links = nil }, func(body []byte) error {
		l, err := parseLink(body)
		if err != nil {
			return err
		}
		if (f.Kind == "" || f.Kind == l.Kind) && (f.Master == 0 || f.Master == l.Master) {
			links = append(links, *l)
		}
		return nil
	})
	return links, err
}

// AddLink makes a link, and fails if it is there. It returns what the kernel made. For
// a link made in another namespace that is nil if the kernel does not say, which is so
// before Linux 6.2 and for some kinds. After a lost answer, a link that exists is taken for
// the one made if it has the hardware address of s, which should be a random one. In another
// namespace, which this socket does not see, it just exists: callers look there.
func (c *Conn) AddLink(ctx context.Context, s *LinkSpec) (*Link, error) {
	r := newRequest(unix.RTM_NEWLINK, 0, s.header())
	s.encode(r)
	var made *Link
	again, err := c.create(ctx, r, func(body []byte) (err error) {
		made, err = parseLink(body)
		return err
	})
	switch {
	case again && errors.Is(err, fs.ErrExist):
		return c.madeBefore(ctx, s, made, err)
	case err != nil:
		return nil, err // although the kernel may have told what it made, and unmade
	case made == nil && s.NetNS == 0:
		// It is made, and who asked has to know it to remove it.
		return c.LinkByName(context.WithoutCancel(ctx), s.Name)
	}
	return made, nil
}

// madeBefore returns the link that exists, if it is the one that an earlier sending of
// the request made, whose answer got lost, and else the error that it exists. made is what
// the kernel has told all the same, and may have unmade.
func (c *Conn) madeBefore(ctx context.Context, s *LinkSpec, made *Link, exists error) (*Link, error) {
	l := made
	if s.NetNS == 0 {
		l, _ = c.LinkByName(context.WithoutCancel(ctx), s.Name) // nil: another name is taken, that of a peer
	}
	if l == nil || !l.isOf(s) {
		return nil, exists
	}
	return l, nil
}

// SetLink changes the link that s names by index, or else by name.
func (c *Conn) SetLink(ctx context.Context, s *LinkSpec) error {
	r := newRequest(unix.RTM_NEWLINK, 0, s.header())
	s.encode(r)
	r.moves = s.NetNS != 0
	return c.execute(ctx, r)
}

// DelLink removes the link of an index.
func (c *Conn) DelLink(ctx context.Context, index int) error {
	return c.execute(ctx, newRequest(unix.RTM_DELLINK, 0, (&LinkSpec{Index: index}).header()))
}

// mostAtOnce is how many links one message removes at most. The kernel holds the lock of
// all links meanwhile, and nothing stops it; what was done remains when the time is over.
// Where a link takes long, as one does that has the kernel walk thousands of routes,
// there are fewer at once, so that others get their turn.
const (
	mostAtOnce  = 64
	firstAtOnce = 8
	longAtOnce  = time.Second
)

// DelLinks removes links, in much less time than [Conn.DelLink] does: each removal makes the
// kernel wait for a grace period, some 30 ms, and here many share one. The links become
// members of a group that nobody else has, and the group is removed. Links that are gone are
// passed over; all are tried until ctx ends.
//
// Equivalent to: ip link set dev … group N; ip link delete group N
// Kernel: net/core/rtnetlink.c (rtnl_group_dellink), since 3.10.
func (c *Conn) DelLinks(ctx context.Context, indexes []int) error {
	var errs []error
	for atOnce := firstAtOnce; len(indexes) > 0 && ctx.Err() == nil; {
		n := min(atOnce, len(indexes))
		start := time.Now()
		errs = append(errs, c.delGroup(ctx, indexes[:n]))
		indexes = indexes[n:]
		atOnce = nextAtOnce(atOnce, time.Since(start))
	}
	err := errors.Join(errs...)
	if err == nil && len(indexes) > 0 {
		err = fmt.Errorf("%d links are left: %w", len(indexes), context.Cause(ctx))
	}
	return err
}

// nextAtOnce returns how many links to remove at once after so many took so long.
func nextAtOnce(atOnce int, took time.Duration) int {
	if took > longAtOnce {
		return max(1, atOnce/2)
	}
	return min(mostAtOnce, 2*atOnce)
}

// delGroup removes links by one message.
func (c *Conn) delGroup(ctx context.Context, indexes []int) error {
	// Groups are small numbers that administrators choose; 0 is everybody's.
	group := rand.Uint32() | 1<<31
	var errs []error
	members := 0
	for _, index := range indexes {
		r := newRequest(unix.RTM_NEWLINK, 0, (&LinkSpec{Index: index}).header())
		r.u32(unix.IFLA_GROUP, group)
		switch err := c.execute(ctx, r); {
		case err == nil:
			members++
		case ctx.Err() != nil:
			return errors.Join(append(errs, err)...)
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	if members > 0 {
		r := newRequest(unix.RTM_DELLINK, 0, (&LinkSpec{}).header())
		r.u32(unix.IFLA_GROUP, group)
		if err := c.execute(ctx, r); !errors.Is(err, fs.ErrNotExist) { // all went by themselves
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// header is the fixed header that goes with s.
func (s *LinkSpec) header() *nl.IfInfomsg {
	h := nl.NewIfInfomsg(unix.AF_UNSPEC)
	h.Index = int32(s.Index)
	for _, f := range []struct {
		flag Flag
		bit  uint32
	}{{s.Up, unix.IFF_UP}, {s.Promisc, unix.IFF_PROMISC}} {
		if f.flag != Keep {
			h.Change |= f.bit
		}
		if f.flag == On {
			h.Flags |= f.bit
		}
	}
	return h
}

// encode writes the attributes of s.
func (s *LinkSpec) encode(r *request) {
	s.encodeIdentity(r)
	r.u32nz(unix.IFLA_MTU, uint32(s.MTU))
	r.u32nz(unix.IFLA_TXQLEN, uint32(s.TxQueue))
	r.u32nz(unix.IFLA_NUM_TX_QUEUES, uint32(s.Queues))
	r.u32nz(unix.IFLA_NUM_RX_QUEUES, uint32(s.Queues))
	r.u32nz(unix.IFLA_LINK, uint32(s.Parent))
	r.u32nz(unix.IFLA_NET_NS_FD, uint32(s.NetNS))
	switch {
	case s.Master > 0:
		r.u32(unix.IFLA_MASTER, uint32(s.Master))
	case s.Master < 0:
		r.u32(unix.IFLA_MASTER, 0)
	}
	s.encodeInfo(r)
	if s.GenMode != Keep || s.ARPNotify != Keep {
		r.nest(unix.IFLA_AF_SPEC, func() { s.encodeFamilies(r) })
	}
}

func (s *LinkSpec) encodeIdentity(r *request) {
	name := s.Name
	if s.Index != 0 {
		name = s.NewName // the index says which link is meant
	}
	r.strnz(unix.IFLA_IFNAME, name)
	if s.Alias != "" {
		r.attr(unix.IFLA_IFALIAS, []byte(s.Alias))
	}
	if len(s.MAC) != 0 {
		r.attr(unix.IFLA_ADDRESS, s.MAC)
	}
}

// encodeInfo writes what depends on the kind of the link, or of its master.
func (s *LinkSpec) encodeInfo(r *request) {
	if s.Kind == "" && s.Port == nil {
		return
	}
	r.nest(unix.IFLA_LINKINFO, func() {
		if s.Kind != "" {
			r.str(unix.IFLA_INFO_KIND, s.Kind)
			s.encodeData(r)
		}
		if s.Port != nil {
			r.str(unix.IFLA_INFO_SLAVE_KIND, "bridge")
			r.nest(unix.IFLA_INFO_SLAVE_DATA, func() { s.Port.encode(r) })
		}
	})
}

func (s *LinkSpec) encodeData(r *request) {
	var data func()
	switch {
	case s.Peer != nil:
		data = func() { s.encodePeer(r) }
	case s.Bridge != nil:
		data = func() { s.Bridge.encode(r) }
	case s.Macvlan != nil:
		data = func() { s.Macvlan.encode(r) }
	case s.Vxlan != nil:
		data = func() { s.Vxlan.encode(r) }
	default:
		return
	}
	r.nest(unix.IFLA_INFO_DATA, data)
}

// encodePeer writes the other end of a veth: a whole message inside of an attribute.
// The library's Veth has no place for its master and queues, nor for where both ends go.
func (s *LinkSpec) encodePeer(r *request) {
	r.nest(nl.VETH_INFO_PEER, func() {
		r.add(s.Peer.header())
		s.Peer.encode(r)
	})
}

// Values of IFLA_INET6_ADDR_GEN_MODE.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/if_link.h (in6_addr_gen_mode)
const (
	genModeEUI64 = 0
	genModeNone  = 1
)

// devconfARPNotify is IPV4_DEVCONF_ARP_NOTIFY: net.ipv4.conf.NAME.arp_notify as an
// attribute of IFLA_INET_CONF, which is less work than a file in another namespace.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/ip.h
const devconfARPNotify = 22

// encodeFamilies writes what IPv4 and IPv6 each have of their own in a link.
func (s *LinkSpec) encodeFamilies(r *request) {
	if s.ARPNotify != Keep {
		on := uint32(0)
		if s.ARPNotify == On {
			on = 1
		}
		r.nest(unix.AF_INET, func() {
			r.nest(inetConf, func() { r.u32(devconfARPNotify, on) })
		})
	}
	if s.GenMode != Keep {
		mode := uint8(genModeEUI64)
		if s.GenMode == Off {
			mode = genModeNone
		}
		r.nest(unix.AF_INET6, func() { r.u8(unix.IFLA_INET6_ADDR_GEN_MODE, mode) })
	}
}

// inetConf is IFLA_INET_CONF, settings of IPv4 by their numbers.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/if_link.h
const inetConf = 1

// parseLink reads an RTM_NEWLINK.
func parseLink(body []byte) (*Link, error) {
	h, attrs, err := cut(body, unix.SizeofIfInfomsg, nl.DeserializeIfInfomsg)
	if err != nil {
		return nil, err
	}
	l := &Link{Index: int(h.Index), Flags: h.Flags, ParentNS: -1}
	for typ, v := range attrs.all() {
		l.attribute(typ, v)
	}
	if l.Parent == l.Index && l.ParentNS < 0 {
		l.Parent = 0 // how some kinds say that nothing is below
	}
	return l, nil
}

func (l *Link) attribute(typ int, v value) {
	switch typ {
	case unix.IFLA_IFNAME:
		l.Name = v.str()
	case unix.IFLA_IFALIAS:
		l.Alias = v.str()
	case unix.IFLA_ADDRESS:
		l.MAC = v.clone()
	case unix.IFLA_MTU:
		l.MTU = int(v.u32())
	case unix.IFLA_OPERSTATE:
		l.OperState = v.u8()
	case unix.IFLA_MASTER:
		l.Master = v.index()
	case unix.IFLA_LINK:
		l.Parent = v.index()
	case unix.IFLA_LINK_NETNSID:
		l.ParentNS = v.index()
	case unix.IFLA_TXQLEN:
		l.TxQueue = int(v.u32())
	case unix.IFLA_NUM_TX_QUEUES:
		l.Queues = int(v.u32())
	case unix.IFLA_PROP_LIST:
		l.properties(attrs(v))
	case unix.IFLA_LINKINFO:
		l.info(attrs(v))
	}
}

func (l *Link) properties(a attrs) {
	for typ, v := range a.all() {
		if typ == unix.IFLA_ALT_IFNAME {
			l.AltNames = append(l.AltNames, v.str())
		}
	}
}

// info reads what depends on the kind, which the kernel names before it.
func (l *Link) info(a attrs) {
	master := ""
	for typ, v := range a.all() {
		switch typ {
		case unix.IFLA_INFO_KIND:
			l.Kind = v.str()
		case unix.IFLA_INFO_DATA:
			l.data(attrs(v))
		case unix.IFLA_INFO_SLAVE_KIND:
			master = v.str()
		case unix.IFLA_INFO_SLAVE_DATA:
			if master == "bridge" {
				l.Port = parsePort(attrs(v))
			}
		}
	}
}

func (l *Link) data(a attrs) {
	switch l.Kind {
	case "bridge":
		l.Bridge = parseBridge(a)
	case "macvlan":
		l.Macvlan = parseMacvlan(a)
	case "vxlan":
		l.Vxlan = parseVxlan(a)
	}
}

// Flags and states of links.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/if.h and if_bridge.h
const (
	FlagUp      = unix.IFF_UP
	FlagPromisc = unix.IFF_PROMISC
	FlagLowerUp = 1 << 16 // IFF_LOWER_UP: the other end, or the cable, is there

	OperUnknown = 0 // IF_OPER_UNKNOWN
	OperUp      = 6 // IF_OPER_UP

	PortForwarding = 3 // BR_STATE_FORWARDING
)
