// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A transaction is one message to the kernel, of which only the last request is
// acknowledged: what the kernel refuses it says in any case, and each answer is one more
// to read. It goes over the socket that reads, so that an execution opens no other.

// The kernel counts transactions, and takes one that names a generation only if no other
// came after it. So what was found to be nobody's can be removed without taking with it
// what somebody adds between the look and the removal, as GC has to that runs beside ADD.
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

// batch makes requests one transaction: all happen or none.
func (c *conn) batch(requests []request) error {
	if len(requests) == 0 {
		return nil
	}
	return c.transaction(nil, requests)
}

// unchanged makes requests one transaction, which happens only if there was none since a
// generation. The error is errChanged if there was.
func (c *conn) unchanged(generation uint32, requests []request) error {
	return changedIfGone(c.transaction(attrs(nil).be32(unix.NFNL_BATCH_GENID, generation), requests))
}

// transaction sends requests, at least one, between a beginning with some attributes and
// an end.
func (c *conn) transaction(begin attrs, requests []request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var message []byte
	add := func(r request) {
		c.seq++
		message = append(message, r.marshal(c.seq)...)
	}
	border := func(typ uint16, a attrs) {
		at := len(message)
		add(request{typ: typ, attrs: a})
		binary.BigEndian.PutUint16(message[at+unix.SizeofNlMsghdr+2:], unix.NFNL_SUBSYS_NFTABLES)
	}
	border(unix.NFNL_MSG_BATCH_BEGIN, begin)
	first := c.seq
	for i, r := range requests {
		if i == len(requests)-1 {
			r.flags |= unix.NLM_F_ACK
		}
		add(r)
	}
	last := c.seq
	border(unix.NFNL_MSG_BATCH_END, nil)
	refused, err := 0, c.sendAll(message)
	if err == nil {
		refused, err = c.settled(first, last)
	}
	if err != nil {
		return fmt.Errorf("change nftables table %s: %w", requests[refused].table, err)
	}
	return nil
}

// sendAll sends a message that may be larger than what a socket takes by default.
func (c *conn) sendAll(message []byte) error {
	err := c.send(message)
	if !errors.Is(err, unix.EMSGSIZE) {
		return err
	}
	// The kernel doubles the number, so there is room for what it adds to the message.
	if unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, len(message)) != nil {
		// Not root of the machine: as much as everybody may have.
		err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, len(message))
		if err != nil {
			return err
		}
	}
	return c.send(message)
}

// settled reads the answers to the messages of a transaction, from that to its beginning,
// which is answered only if it is refused as a whole, to the last one. The error is that
// of the first message refused, and errLost if the kernel could not tell. It returns which
// request that is, and 0 if it is none.
func (c *conn) settled(first, last uint32) (request int, err error) {
	var refused error
	in := inbox{conn: c}
	for {
		b, err := in.read()
		if err != nil {
			return 0, err
		}
		end := false
		err = eachMessage(b, func(h unix.NlMsghdr, payload []byte) error {
			if h.Type != unix.NLMSG_ERROR || h.Seq < first || h.Seq > last {
				return nil // the rest of an answer that was given up
			}
			end = end || h.Seq == first || h.Seq == last
			if refused == nil {
				request, refused = max(int(h.Seq-first)-1, 0), errnoOf(payload)
			}
			return nil
		})
		switch {
		case err != nil:
			return 0, err
		case end && errors.Is(refused, unix.ERESTART):
			return request, errChanged
		case end:
			return request, refused
		}
	}
}
