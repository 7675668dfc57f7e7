// SPDX-License-Identifier: Apache-2.0

package skel

// growStack makes the stack of the calling goroutine as deep as a request mostly needs, at
// once and while there is little on it. Otherwise it doubles several times on the way down,
// and each time the Go runtime walks and copies all frames, by tables that a short process
// need not touch otherwise: one in twenty of the microseconds of a bridge CHECK.
//
//go:noinline
func growStack(at int) byte {
	var space [stackDepth]byte
	return space[at] // whatever it is, so that there has to be a stack for it
}

// stackDepth is what decoding a configuration by reflection takes, and some, in bytes.
const stackDepth = 12 << 10
