// SPDX-License-Identifier: Apache-2.0

package skeltest

import "golang.org/x/sys/unix"

// skipCall makes a thread that begins a system call make none.
func skipCall(tid int) error {
	return changeRegisters(tid, func(r *unix.PtraceRegsAmd64) { r.Orig_rax = ^uint64(0) })
}

// setReturn sets what a system call returns that is over.
func setReturn(tid int, value int64) error {
	return changeRegisters(tid, func(r *unix.PtraceRegsAmd64) { r.Rax = uint64(value) })
}

func changeRegisters(tid int, change func(*unix.PtraceRegsAmd64)) error {
	var r unix.PtraceRegsAmd64
	if err := unix.PtraceGetRegsAmd64(tid, &r); err != nil {
		return err
	}
	change(&r)
	return unix.PtraceSetRegsAmd64(tid, &r)
}

// oldChanges are the system calls that newer architectures do not have.
func oldChanges() map[uint64]changeRule {
	return map[uint64]changeRule{
		unix.SYS_OPEN:      {"open", creates(0, 1)},
		unix.SYS_CREAT:     {"creat", paths(0)},
		unix.SYS_RENAME:    {"rename", paths(0, 1)},
		unix.SYS_LINK:      {"link", paths(0, 1)},
		unix.SYS_SYMLINK:   {"symlink", paths(0, 1)},
		unix.SYS_UNLINK:    {"unlink", paths(0)},
		unix.SYS_MKDIR:     {"mkdir", paths(0)},
		unix.SYS_RMDIR:     {"rmdir", paths(0)},
		unix.SYS_MKNOD:     {"mknod", paths(0)},
		unix.SYS_CHMOD:     {"chmod", paths(0)},
		unix.SYS_CHOWN:     {"chown", paths(0)},
		unix.SYS_LCHOWN:    {"lchown", paths(0)},
		unix.SYS_UTIME:     {"utime", paths(0)},
		unix.SYS_UTIMES:    {"utimes", paths(0)},
		unix.SYS_FUTIMESAT: {"futimesat", paths(1)},
	}
}
