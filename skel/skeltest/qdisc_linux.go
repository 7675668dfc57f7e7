// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"syscall"
)

// A qdiscState is a queueing discipline of a link.
type qdiscState struct {
	link, kind     string
	handle, parent uint32
	rate           uint64 // bytes a second; zero if it has none that the kit can read
}

// qdiscs returns the queueing disciplines of the links of a namespace, without those
// that the kernel gives to every link.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/rtnetlink.h (struct tcmsg)
// and https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/pkt_sched.h (struct tc_tbf_qopt)
func (n *Namespace) qdiscs(links []linkState) (all []qdiscState, err error) {
	const getQdisc, headerLen, kind, options, tbfParms, tbfRate64 = 38, 20, 1, 2, 1, 4
	err = n.Do(func() error {
		return dump(syscall.NETLINK_ROUTE, getQdisc, make([]byte, headerLen), func(_ uint16, body []byte) {
			if len(body) < headerLen {
				return
			}
			index := int(int32(binary.NativeEndian.Uint32(body[4:])))
			attrs := attributes(body[headerLen:])
			q := qdiscState{kind: text(find(attrs, kind)), handle: binary.NativeEndian.Uint32(body[8:]), parent: binary.NativeEndian.Uint32(body[12:])}
			if i := slices.IndexFunc(links, func(l linkState) bool { return l.index == index }); i >= 0 {
				q.link = links[i].name
			}
			if q.handle == 0 || q.kind == "noqueue" {
				return // of the kernel's own
			}
			if inner := attributes(find(attrs, options)); q.kind == "tbf" {
				if p := find(inner, tbfParms); len(p) >= 12 {
					q.rate = uint64(binary.NativeEndian.Uint32(p[8:])) // the last member of struct tc_ratespec
				}
				if r := find(inner, tbfRate64); len(r) == 8 {
					q.rate = binary.NativeEndian.Uint64(r)
				}
			}
			all = append(all, q)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	return all, nil
}

func (q qdiscState) String() string {
	line := fmt.Sprintf("qdisc %s dev %s parent %x:%x", q.kind, q.link, q.parent>>16, q.parent&0xffff)
	if q.rate != 0 {
		line += fmt.Sprintf(" rate %d bytes/s", q.rate)
	}
	return line
}

// shapers returns the qdiscs with a rate of the host and of the container, each link
// with the word for its namespace.
func (t *trial) shapers() []qdiscState {
	var all []qdiscState
	for word, n := range map[string]*Namespace{"host ": t.host, "container ": t.box()} {
		links, err := n.links()
		t.must(err)
		these, err := n.qdiscs(links)
		t.must(err)
		for _, q := range these {
			if q.rate != 0 {
				q.link = word + q.link
				all = append(all, q)
			}
		}
	}
	return all
}
