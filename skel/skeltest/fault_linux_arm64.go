// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The sets of registers, which on this architecture hold the number of the system call
// apart from all others.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/elf.h
const (
	noteStatus  = 1     // NT_PRSTATUS
	noteSyscall = 0x404 // NT_ARM_SYSTEM_CALL
)

// skipCall makes a thread that begins a system call make none.
func skipCall(tid int) error {
	number := int32(-1)
	v := unix.Iovec{Base: (*byte)(unsafe.Pointer(&number))}
	v.SetLen(int(unsafe.Sizeof(number)))
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SETREGSET, uintptr(tid), noteSyscall, uintptr(unsafe.Pointer(&v)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// setReturn sets what a system call returns that is over.
func setReturn(tid int, value int64) error {
	var r unix.PtraceRegsArm64
	if err := unix.PtraceGetRegSetArm64(tid, noteStatus, &r); err != nil {
		return err
	}
	r.Regs[0] = uint64(value)
	return unix.PtraceSetRegSetArm64(tid, noteStatus, &r)
}

// oldChanges are the system calls that newer architectures do not have.
func oldChanges() map[uint64]changeRule { return nil }
