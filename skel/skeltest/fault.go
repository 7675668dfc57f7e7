// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"fmt"
	"iter"
	"slices"
	"sync"
	"syscall"

	"github.com/cnikit/cnikit/types"
)

// FaultKind is what happens to a plugin.
type FaultKind string

// What can happen.
const (
	// KillBefore kills the plugin and its children, as by kill -9, instead of the call.
	KillBefore FaultKind = "kill before"
	// KillAfter does so after the call, before the plugin sees what came of it.
	KillAfter FaultKind = "kill after"
	// Terminate sends SIGTERM to the plugin, not to its children, just before the call,
	// which then happens.
	Terminate FaultKind = "terminate at"
	// KillAlone kills the plugin, not its children, just before the call, which a child then
	// makes if it can. At counts only the calls of children. [Fault.Start] fails if one
	// changes something after the end of the plugin: that comes behind the DEL with which a
	// runtime cleans up.
	KillAlone FaultKind = "kill alone at"
	// Fail makes the call fail, so that nothing happens.
	Fail FaultKind = "fail"
	// LoseAnswer lets the kernel do what a netlink request asks for, and makes the receiving
	// of its acknowledgement fail. At counts only such requests.
	LoseAnswer FaultKind = "lose the answer to"
)

// A Fault is something bad that happens to a plugin at one of the system calls by
// which it changes something outside of itself: files, locks, mounts, namespaces, and
// what it asks of the kernel by netlink. What reads, or what belongs to the process
// alone, such as its memory, its threads and its pipes, does not count. The plugin's
// children count as the plugin.
//
// A test runs plugins under a Fault by its Start, once for each call that there is, see
// [Faults]:
//
//	for fault := range skeltest.Faults(&skeltest.Fault{Kind: skeltest.KillAfter, Command: types.CommandAdd}) {
//		host, container := skeltest.New(t), skeltest.New(t)
//		runtime := &skeltest.Runtime{Path: path, Start: func(cmd *exec.Cmd) error {
//			return host.Do(func() error { return fault.Start(cmd) })
//		}}
//		_, err := runtime.Add(…) // which calls DEL after a failure
//		… // compare with what was there before; name the fault if something is left
//	}
//
// It needs no privileges: the plugin is traced as by a debugger, on Linux for amd64 and
// arm64. The fields must not be changed after the first Start; the methods may be called
// concurrently.
type Fault struct {
	// Kind is what happens. Empty: nothing does, and calls are listed only.
	Kind FaultKind
	// At is the number of the call, from 1, in the order in which the calls begin, over
	// all executions under this Fault. Where threads of a plugin run side by side, the
	// order may not be the same in each run. Zero or less: nothing happens.
	At int
	// Errno is with what a call fails, for the Kind Fail. Then At counts only the calls
	// that can fail with it: no file system is full when a file is removed. Of a netlink
	// request it is the answer of the kernel, except for EINTR and ENOBUFS, with which
	// sending fails.
	//
	// For the Kind LoseAnswer it is with what receiving fails: EINTR, after which the answer
	// is still there, if who receives waits, or ENOBUFS, the default, after which it is not.
	// The kernel does so when it has no memory for an answer.
	Errno syscall.Errno
	// Command is the only command whose executions are under the Fault, by their
	// CNI_COMMAND; others run undisturbed. Empty: all are.
	Command types.Command

	mu     sync.Mutex
	count  int // calls that count for At
	calls  []SystemCall
	struck *SystemCall

	looked func(leader, tid int) // see letTestAct; nil but in tests
}

// SystemCall is a system call that changes something.
type SystemCall struct {
	// Program is the base name of the executable.
	Program string
	// Name is that of the call, such as "openat".
	Name string
	// On is what it is about: a path, or the messages of a netlink request by name or
	// number. May be empty.
	On string

	netlink bool // it sends a netlink request
	child   bool // a child of the plugin makes it
	waits   bool // it may wait, as far as that is up to its descriptor
}

// String returns all of it in a line.
func (c SystemCall) String() string {
	if c.On == "" {
		return c.Program + ": " + c.Name
	}
	return c.Program + ": " + c.Name + " " + c.On
}

// Faults returns a copy of f for each system call: with At from f.At, or 1, until one
// did not happen because there are not so many calls. That last one is yielded too, and
// its run is undisturbed.
func Faults(f *Fault) iter.Seq[*Fault] {
	return func(yield func(*Fault) bool) {
		for at := max(f.At, 1); ; at++ {
			one := &Fault{Kind: f.Kind, At: at, Errno: f.Errno, Command: f.Command}
			if !yield(one) {
				return
			}
			if _, ok := one.Struck(); !ok {
				return
			}
		}
	}
}

// Struck returns the system call at which the Fault happened, and false if it has not.
func (f *Fault) Struck() (SystemCall, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.struck == nil {
		return SystemCall{}, false
	}
	return *f.struck, true
}

// Calls returns the system calls that have begun, in their order, up to that at which the
// plugin was killed.
func (f *Fault) Calls() []SystemCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// String names the Fault, with the system call if it has happened.
func (f *Fault) String() string {
	what := string(f.Kind)
	if f.Errno != 0 {
		what = fmt.Sprintf("%s with %q", f.Kind, f.Errno)
	}
	if c, ok := f.Struck(); ok {
		return fmt.Sprintf("%s call %d, %v", what, f.At, c)
	}
	return fmt.Sprintf("%s call %d", what, f.At)
}

// begins notes a call, and reports whether the Fault is to happen at it.
func (f *Fault) begins(c SystemCall) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, c)
	if f.struck != nil || !f.counts(c) {
		return false
	}
	if f.count++; f.count != f.At || f.Kind == "" {
		return false
	}
	f.struck = &c
	return true
}

// counts reports whether a call counts for At.
func (f *Fault) counts(c SystemCall) bool {
	switch f.Kind {
	case Fail:
		return c.CanFail(f.Errno)
	case KillAlone:
		return c.child
	case LoseAnswer:
		return c.CanLose(f.Errno)
	}
	return true
}

// letTestAct lets a test do something behind the back of the tracer of leader, which has just
// seen news of a thread and not fetched them.
func (f *Fault) letTestAct(leader, tid int) {
	if f.looked != nil {
		f.looked(leader, tid)
	}
}

// over reports whether there is nothing left to happen.
func (f *Fault) over() bool {
	_, ok := f.Struck()
	return ok
}

// ByChild reports whether a child of the plugin makes the call, not the plugin itself.
func (c SystemCall) ByChild() bool { return c.child }

// CanLose reports whether the call is a netlink request, whose answer can be lost with an
// error; see [Fault.Errno].
func (c SystemCall) CanLose(errno syscall.Errno) bool {
	return c.netlink && (errno != syscall.EINTR || c.waits)
}

// CanFail reports whether the call may fail with an error, by its manual page or in a
// file system that is on a network or full; see [Fault.Errno]. Of errors that are not
// particular to some calls, all may fail with them.
func (c SystemCall) CanFail(errno syscall.Errno) bool {
	name := c.Name
	if c.netlink {
		name = "sendto" // whichever it is
	}
	var calls []string
	switch errno {
	case syscall.EINTR:
		if c.netlink && !c.waits {
			return false
		}
		calls = []string{"open", "openat", "creat", "flock", "fcntl", "write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "sendto"}
	case syscall.EBUSY:
		calls = []string{"unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "mount", "umount2", "sendto", "setsockopt"}
	case syscall.ENOSPC, syscall.EDQUOT:
		calls = []string{"open", "openat", "creat", "mkdir", "mkdirat", "write", "pwrite64", "writev", "link", "linkat", "symlink", "symlinkat", "rename", "renameat", "renameat2", "ftruncate", "fsync", "fdatasync", "fallocate", "sendto"}
	case syscall.EMFILE, syscall.ENFILE:
		calls = []string{"open", "openat", "creat"}
	case syscall.ENOBUFS:
		calls = []string{"sendto"}
	case syscall.ETIMEDOUT:
		calls = []string{"open", "openat", "creat", "mkdir", "mkdirat", "write", "pwrite64", "writev", "link", "linkat", "symlink", "symlinkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "fsync", "fdatasync", "flock", "fcntl"}
	case syscall.EPERM, syscall.EACCES:
		return !slices.Contains([]string{"flock", "fcntl", "fsync", "fdatasync"}, name)
	default:
		return true
	}
	return slices.Contains(calls, name)
}
