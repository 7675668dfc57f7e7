// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package skeltest

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sends reports whether a call sends to a netlink socket, and of which protocol that is.
func (t *tracer) sends(tid int, c call6) (protocol int, ok bool) {
	switch c.number {
	case unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_WRITE, unix.SYS_WRITEV:
		protocol, ok = t.sockets[target(tid, c.args[0])]
	}
	return protocol, ok
}

// request names the messages of a request that change something. Empty: none does.
func request(protocol, tid int, c call6) string {
	var names []string
	for m := range messages(tid, c) {
		if name := changing(protocol, m.kind); name != "" {
			names = append(names, name)
		}
	}
	return strings.Join(slices.Compact(names), " ")
}

// waits reports whether a call that sends or receives may wait.
func waits(tid int, c call6) bool {
	flags := uint64(0)
	switch c.number {
	case unix.SYS_SENDTO, unix.SYS_RECVFROM:
		flags = c.args[3]
	case unix.SYS_SENDMSG, unix.SYS_RECVMSG:
		flags = c.args[2]
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", tid, int32(c.args[0])))
	if err != nil || flags&unix.MSG_DONTWAIT != 0 {
		return false
	}
	_, text, _ := strings.Cut(string(info), "flags:\t")
	text, _, _ = strings.Cut(text, "\n")
	mode, err := strconv.ParseUint(text, 8, 64)
	return err == nil && mode&unix.O_NONBLOCK == 0
}

// message is a message of netlink in the memory of a thread.
type message struct {
	at   uint64
	kind uint16
	seq  uint32
	size int
}

// messages are those that a thread sends or has received.
func messages(tid int, c call6) func(yield func(message) bool) {
	return func(yield func(message) bool) {
		for _, b := range buffers(tid, c) {
			for at, rest := b.at, b.n; rest >= unix.SizeofNlMsghdr; {
				h := peek(tid, at, unix.SizeofNlMsghdr)
				if len(h) < unix.SizeofNlMsghdr {
					break
				}
				n := uint64(binary.NativeEndian.Uint32(h))
				if n < unix.SizeofNlMsghdr || n > rest {
					break
				}
				if !yield(message{at, binary.NativeEndian.Uint16(h[4:]), binary.NativeEndian.Uint32(h[8:]), int(n)}) {
					return
				}
				n = min((n+3)&^3, rest)
				at, rest = at+n, rest-n
			}
		}
	}
}

// A buffer is a part of the memory of a thread.
type buffer struct{ at, n uint64 }

// buffers are those of sendto, sendmsg, write, writev and what receives.
//
// Kernel: struct msghdr, sendmsg(2).
func buffers(tid int, c call6) []buffer {
	const vectorAt, countAt, headerSize, vectorSize, most = 16, 24, 32, 16, 1024
	at, count := c.args[1], c.args[2]
	switch c.number {
	case unix.SYS_SENDMSG, unix.SYS_RECVMSG:
		h := peek(tid, at, headerSize)
		if len(h) < headerSize {
			return nil
		}
		at, count = binary.NativeEndian.Uint64(h[vectorAt:]), binary.NativeEndian.Uint64(h[countAt:])
	case unix.SYS_WRITEV, unix.SYS_READV:
	default:
		return []buffer{{at, count}}
	}
	v := peek(tid, at, int(min(count, most))*vectorSize)
	var all []buffer
	for ; len(v) >= vectorSize; v = v[vectorSize:] {
		all = append(all, buffer{binary.NativeEndian.Uint64(v), binary.NativeEndian.Uint64(v[8:])})
	}
	return all
}

// changing returns the name of a message if that changes something.
func changing(protocol int, kind uint16) string {
	switch protocol {
	case unix.NETLINK_ROUTE:
		return changingRoute(kind)
	case unix.NETLINK_NETFILTER:
		return changingFilter(kind>>8, kind&0xff)
	case unix.NETLINK_SOCK_DIAG, unix.NETLINK_KOBJECT_UEVENT:
		return ""
	}
	if kind < unix.NLMSG_MIN_TYPE {
		return ""
	}
	return fmt.Sprintf("netlink %d message %d", protocol, kind)
}

// changingRoute is changing for NETLINK_ROUTE, whose messages come in groups of four:
// new, delete, get and set.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/rtnetlink.h
func changingRoute(kind uint16) string {
	if kind < unix.RTM_NEWLINK || kind%4 == unix.RTM_GETLINK%4 {
		return ""
	}
	verb := map[uint16]string{0: "NEW", 1: "DEL", 3: "SET"}[kind%4]
	if nouns := []string{"LINK", "ADDR", "ROUTE", "NEIGH", "RULE", "QDISC", "TCLASS", "TFILTER"}; int(kind-unix.RTM_NEWLINK)/4 < len(nouns) {
		return "RTM_" + verb + nouns[(kind-unix.RTM_NEWLINK)/4]
	}
	return fmt.Sprintf("RTM_%s… %d", verb, kind)
}

// changingFilter is changing for NETLINK_NETFILTER.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netfilter/nfnetlink.h,
// nf_tables.h (nf_tables_msg_types), ipset/ip_set.h (ipset_cmd) and nfnetlink_conntrack.h
func changingFilter(subsystem, kind uint16) string {
	switch subsystem {
	case unix.NFNL_SUBSYS_NONE: // the ends of a batch
		return ""
	case unix.NFNL_SUBSYS_CTNETLINK, unix.NFNL_SUBSYS_CTNETLINK_EXP:
		return map[uint16]string{0: "CT_NEW", 2: "CT_DELETE"}[kind]
	case unix.NFNL_SUBSYS_IPSET:
		return map[uint16]string{2: "IPSET_CREATE", 3: "IPSET_DESTROY", 4: "IPSET_FLUSH", 5: "IPSET_RENAME", 6: "IPSET_SWAP", 9: "IPSET_ADD", 10: "IPSET_DEL"}[kind]
	case unix.NFNL_SUBSYS_NFT_COMPAT:
		return ""
	case unix.NFNL_SUBSYS_NFTABLES:
		gets := []uint16{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE, unix.NFT_MSG_GETSET, unix.NFT_MSG_GETSETELEM,
			unix.NFT_MSG_GETGEN, unix.NFT_MSG_GETOBJ, unix.NFT_MSG_GETOBJ_RESET, unix.NFT_MSG_GETFLOWTABLE, unix.NFT_MSG_GETRULE_RESET}
		if slices.Contains(gets, kind) {
			return ""
		}
		if name := map[uint16]string{0: "NEWTABLE", 2: "DELTABLE", 3: "NEWCHAIN", 5: "DELCHAIN", 6: "NEWRULE", 8: "DELRULE", 9: "NEWSET", 11: "DELSET", 12: "NEWSETELEM", 14: "DELSETELEM"}[kind]; name != "" {
			return "NFT_" + name
		}
		return fmt.Sprintf("NFT_%d", kind)
	}
	return fmt.Sprintf("netfilter %d message %d", subsystem, kind)
}

// A refusal is a request that the kernel is made to refuse: what it is asked for does
// not exist, and its answer gets another error than that.
type refusal struct {
	socket   string
	seq      uint32
	at       uint64
	original []byte // of the message, from at
}

// refuse spoils the first message of a request that changes something. Nil: it is none.
func (t *tracer) refuse(tid int, c call6) (*refusal, error) {
	if _, ok := t.sends(tid, c); !ok {
		return nil, nil
	}
	socket := target(tid, c.args[0])
	for m := range messages(tid, c) {
		if changing(t.sockets[socket], m.kind) == "" {
			continue
		}
		const kindAt = 4
		r := &refusal{socket: socket, seq: m.seq, at: m.at + kindAt, original: binary.NativeEndian.AppendUint16(nil, m.kind)}
		// No family of NETLINK_ROUTE and no subsystem of netfilter has such a message.
		unknown := m.kind | 0xff
		if t.sockets[socket] == unix.NETLINK_ROUTE {
			unknown = 0x7fff
		}
		return r, poke(tid, r.at, binary.NativeEndian.AppendUint16(nil, unknown))
	}
	return nil, nil
}

// answer writes the wanted error into the answer to the refused request.
//
// Kernel: struct nlmsgerr, netlink(7).
func (t *tracer) answer(tid int, c call6, received int) error {
	if target(tid, c.args[0]) != t.refused.socket {
		return nil
	}
	for m := range messages(tid, c) {
		if m.kind != unix.NLMSG_ERROR || m.seq != t.refused.seq || m.size < unix.SizeofNlMsghdr+4 || received <= 0 {
			continue
		}
		at := m.at + unix.SizeofNlMsghdr
		if old := peek(tid, at, 4); len(old) == 4 && binary.NativeEndian.Uint32(old) != 0 {
			return poke(tid, at, binary.NativeEndian.AppendUint32(nil, uint32(-int32(t.fault.Errno))))
		}
	}
	return nil
}

// interrupts reports whether a thread begins to wait for the answer to be lost, and a
// signal is to come in between.
func (t *tracer) interrupts(tid int, th *thread) bool {
	if t.lost == "" || t.fault.Errno != unix.EINTR {
		return false
	}
	switch th.call.number {
	case unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_READ, unix.SYS_READV:
		return target(tid, th.call.args[0]) == t.lost && waits(tid, th.call)
	}
	return false
}

// interrupt makes a call fail with EINTR instead of being made.
func (t *tracer) interrupt(tid int, th *thread) error {
	t.lost = ""
	if err := skipCall(tid); err != nil {
		return err
	}
	th.after = func() error { return setReturn(tid, -int64(unix.EINTR)) }
	return nil
}

// lose makes a call fail that has received an acknowledgement, as if there had been no
// memory for that.
func (t *tracer) lose(tid int, c call6, received int) error {
	if t.fault.Errno == unix.EINTR || target(tid, c.args[0]) != t.lost {
		return nil
	}
	for m := range messages(tid, c) {
		if m.kind == unix.NLMSG_ERROR {
			t.lost = ""
			return setReturn(tid, -int64(unix.ENOBUFS))
		}
		if received -= (m.size + 3) &^ 3; received <= 0 {
			return nil
		}
	}
	return nil
}
