// SPDX-License-Identifier: Apache-2.0

package early

import (
	"runtime"
	"syscall"
)

func init() {
	switch command, _ := syscall.Getenv("CNI_COMMAND"); command {
	case "", "VERSION":
		return
	case "ADD", "CHECK", "STATUS":
		if procs, _ := syscall.Getenv("GOMAXPROCS"); procs == "" {
			runtime.GOMAXPROCS(1)
		}
	}
	GrowStack()
}

// GrowStack makes the stack of the calling goroutine as deep as a request mostly needs, at
// once and while there is little on it. Otherwise it doubles several times on the way down,
// and each time the Go runtime walks and copies all frames, by tables that a short process
// need not touch otherwise: one in twenty of the microseconds of a bridge CHECK.
func GrowStack() { touch(0) }

// touch has a frame of so many bytes: what decoding a configuration by reflection takes, and
// some. It returns one of them, whatever that is, so that there has to be a stack for it.
//
//go:noinline
func touch(at int) byte {
	var space [12 << 10]byte
	return space[at]
}
