// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The kernel counts transactions, and takes one that names a generation only if no other
// came after it. So what was found to be nobody's can be removed without taking with it
// what somebody adds between the look and the removal, as GC has to that runs beside ADD:
// the library cannot say so, hence the messages are made here.
//
// Kernel: NFNL_BATCH_GENID, since 4.11.
// Source: https://github.com/torvalds/linux/blob/v6.12/net/netfilter/nfnetlink.c (nfnetlink_rcv_batch)

// generation returns the number of the last transaction.
func (c *conn) generation() (uint32, error) {
	var id []byte
	err := c.do(request{typ: nftMessage(unix.NFT_MSG_GETGEN)}, func(r reply) error {
		id = append(id, findAttr(r.attrs, unix.NFTA_GEN_ID)...)
		return nil
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the generation of the ruleset: %w", err)
	case len(id) < 4:
		return 0, fmt.Errorf("read the generation of the ruleset: %w", errTruncated)
	}
	return binary.BigEndian.Uint32(id), nil
}

// mostDeleted is how many elements one transaction removes: its messages are sent at
// once, for which a socket has room for some 200 KiB.
const mostDeleted = 1024

// unchanged makes requests one transaction, which happens only if there was none since a
// generation. The error is errChanged if there was.
func (c *conn) unchanged(generation uint32, requests []request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	border := func(typ uint16, a attrs) []byte {
		c.seq++
		b := (&request{typ: typ, attrs: a}).marshal(c.seq)
		binary.BigEndian.PutUint16(b[unix.SizeofNlMsghdr+2:], unix.NFNL_SUBSYS_NFTABLES)
		return b
	}
	message := border(unix.NFNL_MSG_BATCH_BEGIN, attrs(nil).be32(unix.NFNL_BATCH_GENID, generation))
	first := c.seq
	for _, r := range requests {
		c.seq++
		r.flags |= unix.NLM_F_ACK
		message = append(message, r.marshal(c.seq)...)
	}
	last := c.seq
	message = append(message, border(unix.NFNL_MSG_BATCH_END, nil)...)
	if err := c.send(message); err != nil {
		return err
	}
	return c.settled(first, last)
}

// settled reads the answers to the messages of a transaction, from that to its beginning,
// which is answered only if it is refused as a whole, to the last one.
func (c *conn) settled(first, last uint32) error {
	var refused error
	for {
		b, err := c.read()
		if err != nil {
			return err
		}
		end := false
		err = eachMessage(b, func(h unix.NlMsghdr, payload []byte) error {
			if h.Type != unix.NLMSG_ERROR || h.Seq < first || h.Seq > last {
				return nil // the rest of an answer that was given up
			}
			end = end || h.Seq == first || h.Seq == last
			if refused == nil {
				refused = errnoOf(payload)
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case end && errors.Is(refused, unix.ERESTART):
			return errChanged
		case end:
			return changedIfGone(refused)
		}
	}
}

// deletion returns the request that removes a table with everything in it.
func (t table) deletion() request {
	return request{typ: nftMessage(unix.NFT_MSG_DELTABLE), family: t.family, attrs: attrs(nil).str(unix.NFTA_TABLE_NAME, t.name)}
}

// A doomed is an element that is to go.
type doomed struct {
	table table
	set   string
	key   []byte
}

// deletions returns the requests that remove elements.
func deletions(all []doomed) []request {
	var requests []request
	for len(all) > 0 {
		first := all[0]
		n := 1
		for n < len(all) && n < elementsPerMessage && all[n].table == first.table && all[n].set == first.set {
			n++
		}
		var list attrs
		for _, d := range all[:n] {
			key := attrs(nil).nest(unix.NFTA_SET_ELEM_KEY, attrs(nil).bytes(unix.NFTA_DATA_VALUE, d.key))
			list = list.nest(unix.NFTA_LIST_ELEM, key)
		}
		requests = append(requests, request{
			typ: nftMessage(unix.NFT_MSG_DELSETELEM), family: first.table.family,
			attrs: attrs(nil).str(unix.NFTA_SET_ELEM_LIST_TABLE, first.table.name).
				str(unix.NFTA_SET_ELEM_LIST_SET, first.set).nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list),
		})
		all = all[n:]
	}
	return requests
}

// collect removes from the sets of a table the elements whose mark is gone, and then the
// table if nothing is left in them. Nothing goes that somebody adds meanwhile.
func (c *conn) collect(ctx context.Context, t table, sets []string, gone func(mark string) bool) error {
	for done := false; !done; {
		err := retry(ctx, func() (err error) {
			done, err = c.collectSome(t, sets, gone)
			return err
		})
		if err != nil {
			return fmt.Errorf("collect garbage in nftables table inet %s: %w", t.name, err)
		}
	}
	return nil
}

// collectSome removes as much as one transaction does, and reports whether that is all.
func (c *conn) collectSome(t table, sets []string, gone func(mark string) bool) (done bool, err error) {
	generation, err := c.generation()
	if err != nil {
		return false, err
	}
	garbage, left, err := c.garbage(t, sets, gone)
	switch {
	case err != nil:
		return false, err
	case len(garbage) > 0:
		return false, c.unchanged(generation, deletions(garbage[:min(len(garbage), mostDeleted)]))
	case left > 0:
		return true, nil
	}
	return true, c.unchanged(generation, []request{t.deletion()})
}

// garbage lists the elements whose mark is gone, and counts the others. A set that a
// table lacks counts for one: there is no table, or the next ADD repairs it.
func (c *conn) garbage(t table, sets []string, gone func(mark string) bool) (found []doomed, left int, err error) {
	for _, set := range sets {
		all, err := c.elements(t, set)
		if errors.Is(err, unix.ENOENT) {
			left++
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		for _, e := range all {
			if gone(e.comment) {
				found = append(found, doomed{t, set, e.key})
			} else {
				left++
			}
		}
	}
	return found, left, nil
}
