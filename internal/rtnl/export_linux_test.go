// SPDX-License-Identifier: Apache-2.0

package rtnl

import "context"

// UntilConsistent is how a list is asked for until it is right.
func UntilConsistent(ctx context.Context, list func() error) error {
	return untilConsistent(ctx, list)
}

// DecodeAll decodes the body of a message in every way there is.
func DecodeAll(body []byte) {
	_, _ = parseLink(body)
	_, _ = parseAddr(body)
	_, _ = parseRoute(body)
	_, _ = parseRule(body)
	_, _ = parseNeigh(body)
	_ = parseVLANs(body)
}
