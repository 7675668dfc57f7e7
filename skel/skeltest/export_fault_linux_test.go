// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package skeltest

import "golang.org/x/sys/unix"

// KillMakerOfThread makes a traced process and its child die when the child has made a
// thread and the tracer has not been told of that yet. killed reports whether they did; it
// may be called when Start has returned.
//
// Kernel: a process that is killed takes back the news of its stop; the end of an own child
// comes before that of others that are traced (do_wait, kernel/exit.c).
func (f *Fault) KillMakerOfThread() (killed func() bool) {
	done := false
	f.looked = func(leader, tid int) {
		if done || tid == leader {
			return
		}
		_, status, ended, err := wait(unix.P_PID, tid, unix.WSTOPPED|unix.WNOWAIT|unix.WNOHANG)
		if err != nil || ended || status.TrapCause() != unix.PTRACE_EVENT_CLONE {
			return
		}
		for _, pid := range []int{tid, leader} {
			if unix.Kill(pid, unix.SIGKILL) != nil {
				return
			}
		}
		_, _, ended, err = wait(unix.P_PID, leader, unix.WEXITED|unix.WNOWAIT)
		done = ended && err == nil
	}
	return func() bool { return done }
}
