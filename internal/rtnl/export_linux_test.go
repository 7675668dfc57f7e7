// SPDX-License-Identifier: Apache-2.0

package rtnl

import "context"

// ErrMalformed is what a message that lies about its length gives.
var ErrMalformed = errMalformed

// Replay reads lists of links that come as the datagrams that lists returns for each
// attempt, the first of which is number 1.
func Replay(lists func(seq uint32) [][]byte, each func(index int), begin func()) error {
	return ReplayContext(context.Background(), lists, each, begin)
}

// ReplayContext is Replay with a context.
func ReplayContext(ctx context.Context, lists func(seq uint32) [][]byte, each func(index int), begin func()) error {
	seq := uint32(0)
	return untilConsistent(ctx, func() (bool, error) {
		begin()
		seq++
		in := &reader{seq: seq, each: func(m message) error {
			l, err := parseLink(m)
			if err == nil {
				each(l.Index)
			}
			return err
		}}
		for _, datagram := range lists(seq) {
			if err := in.read(datagram); err != nil {
				return false, err
			}
		}
		return in.interrupted, in.err
	})
}

// DecodeAll decodes each message in b in every way there is.
func DecodeAll(b []byte) {
	for len(b) > 0 {
		m, rest, err := split(b)
		if err != nil {
			return
		}
		b = rest
		_ = parseError(m)
		_ = parseDone(m)
		_, _ = parseLink(m)
		_, _ = parseAddr(m)
		_, _ = parseRoute(m)
		_, _ = parseRule(m)
		_, _ = parseNeigh(m)
		_ = parseVLANs(m.body)
	}
}
