// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"os/exec"
	"runtime"
	"syscall"
)

// bind ties a delegate to this process: it dies when this process does, lest it go on
// behind the DEL that comes next, and it leads a group of its own, so that it can be killed
// with the processes that it started. What returns when it has ended is to call free.
//
// Kernel: PR_SET_PDEATHSIG, which comes when the thread that started the child ends; so
// the thread is kept.
func bind(cmd *exec.Cmd) (free func()) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return runtime.UnlockOSThread
}

// killFamily kills what is left of the group of a delegate that has been waited for. The
// number of a group is not given to anybody else while it has members, and not soon when it
// has none.
func killFamily(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // most often nobody is left
}
