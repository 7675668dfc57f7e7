// SPDX-License-Identifier: Apache-2.0

package ipam

const (
	// bootFile has the identity of the running boot.
	//
	// Kernel: Documentation/admin-guide/sysctl/kernel.rst, "random"; since 2.3.
	bootFile = "/proc/sys/kernel/random/boot_id"

	// longestBoot is the longest identity of a boot in bytes: a UUID and a line feed
	// take 37.
	longestBoot = 64

	// bootMark is the extended attribute of a reservation that says in which boot it was
	// made, or, if somebody else made it, in which one it was first seen.
	bootMark = "user.cnikit.boot"
)
