// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package skeltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/types"
)

// orphanLimit is how long the children of a plugin may go on after its end, and aloneLimit
// that of [KillAlone], which wants to see what they do.
const (
	orphanLimit = 2 * time.Second
	aloneLimit  = 30 * time.Second
)

// Start runs a process under the Fault, for [Runtime.Start]. Unlike cmd.Start it returns
// when the process and its children have ended; cmd.Wait then returns at once. Children
// that go on two seconds longer than the process are killed, with [KillAlone] half a minute.
//
// The process has the namespaces of the calling thread, so that a caller which has entered
// some calls Start there.
//
// Kernel: ptrace(2), PTRACE_GET_SYSCALL_INFO, since Linux 5.3. The error is
// [errors.ErrUnsupported] where there is none.
func (f *Fault) Start(cmd *exec.Cmd) error {
	if f.over() || f.Command != "" && commandOf(cmd) != f.Command {
		return cmd.Start()
	}
	// A tracer is a thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Ptrace = true
	cmd.SysProcAttr = &attr
	if err := cmd.Start(); err != nil {
		return err
	}
	t := &tracer{
		fault: f, leader: cmd.Process.Pid,
		threads: map[int]*thread{cmd.Process.Pid: {started: true}},
		sockets: map[string]int{},
	}
	if err := t.run(); err != nil {
		t.kill()
		t.finish()
		return errors.Join(fmt.Errorf("trace %s: %w", cmd.Path, err), cmd.Wait())
	}
	if len(t.late) > 0 {
		return errors.Join(fmt.Errorf("%v: the plugin has ended, and yet %v", f, t.late), cmd.Wait())
	}
	return nil
}

// commandOf returns what a plugin is asked to do.
func commandOf(cmd *exec.Cmd) (command types.Command) {
	for _, pair := range cmd.Environ() {
		if value, ok := strings.CutPrefix(pair, "CNI_COMMAND="); ok {
			command = types.Command(value)
		}
	}
	return command
}

// A tracer follows a process and its children from the thread that started it.
type tracer struct {
	fault   *Fault
	leader  int
	threads map[int]*thread // by their number
	sockets map[string]int  // protocols of netlink sockets, by what /proc calls these
	refused *refusal
	lost    string       // the socket whose next answer is lost
	ended   bool         // the process has, which was killed alone
	late    []SystemCall // what children changed after that
}

// A thread is one that is followed.
type thread struct {
	started bool   // it has got over its first stop
	program string // empty: not known yet
	call    call6  // the call that it is in
	restart bool   // the kernel begins that call again
	// after is done when the call is over.
	after func() error
}

// call6 is a system call with its arguments.
type call6 struct {
	number uint64
	args   [6]uint64
}

// syscallInfo is struct ptrace_syscall_info.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/ptrace.h
type syscallInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	_    [2]uint64
	data [8]uint64 // of an entry: number and arguments; of an exit: what it returns
}

const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
	unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

// run follows the process until it ends, and leaves its exit status to be waited for.
func (t *tracer) run() error {
	first := true
	for {
		tid, ended, err := t.next()
		if err != nil {
			return err
		}
		t.fault.letTestAct(t.leader, tid)
		if first && tid != t.leader {
			// A child of one that was killed while it made that: nobody has told of it.
			if err := bury(tid); err != nil {
				return err
			}
			continue
		}
		if ended && tid == t.leader {
			t.finish()
			return nil
		}
		if ended {
			if _, err := unix.Wait4(tid, nil, unix.WALL|unix.WNOTHREAD|unix.WNOHANG, nil); err != nil {
				return err
			}
			delete(t.threads, tid)
			continue
		}
		// Whoever is killed meanwhile has not stopped any more. To wait for that one may take
		// for ever: a process ends after its threads, and those are for this thread to fetch.
		got, status, _, err := wait(unix.P_PID, tid, unix.WSTOPPED|unix.WNOHANG)
		if errors.Is(err, unix.ECHILD) || err == nil && got == 0 {
			continue
		}
		if err != nil {
			return err
		}
		if first {
			first = false
			if err := unix.PtraceSetOptions(tid, options); err != nil {
				return err
			}
			if err := t.resume(tid, 0); err != nil {
				return err
			}
			continue
		}
		signal, err := t.stopped(tid, status)
		if err == nil {
			err = t.resume(tid, signal)
		}
		// Whoever was killed meanwhile is no longer there to be looked at.
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
}

// next waits for news of a thread and leaves them to be fetched: only who started the
// process may fetch its end.
func (t *tracer) next() (tid int, ended bool, err error) {
	for {
		tid, _, ended, err := wait(unix.P_ALL, 0, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT)
		if err != nil || t.follows(tid) {
			return tid, ended, err
		}
		// The end of a process that another thread started and left to this one when it
		// ended itself. It is in the way until it is fetched by whom it concerns.
		time.Sleep(100 * time.Microsecond)
	}
}

// wait is waitid for what this thread has started and follows.
func wait(which, id, options int) (tid int, status unix.WaitStatus, ended bool, err error) {
	var info [128]byte // siginfo_t
	for {
		err = unix.Waitid(which, id, (*unix.Siginfo)(unsafe.Pointer(&info)), options|unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	const (
		codeAt, pidAt, statusAt = 8, 16, 24 // si_code, si_pid, si_status
		killed                  = 3         // CLD_EXITED, CLD_KILLED and CLD_DUMPED are 1 to 3
		stopped                 = 0x7f      // how wait4 says it
	)
	field := func(at int) uint32 { return binary.NativeEndian.Uint32(info[at:]) }
	return int(field(pidAt)), unix.WaitStatus(field(statusAt)<<8 | stopped), field(codeAt) <= killed, err
}

// follows reports whether a thread is one of the process or its children.
func (t *tracer) follows(tid int) bool {
	if t.threads[tid] != nil {
		return true
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	return err == nil && strings.Contains(string(status), fmt.Sprintf("\nTracerPid:\t%d\n", unix.Gettid()))
}

// finish waits for those that outlive the process.
func (t *tracer) finish() {
	delete(t.threads, t.leader)
	limit := orphanLimit
	if t.fault.Kind == KillAlone && t.fault.over() {
		t.ended, limit = true, aloneLimit
	}
	deadline := time.Now().Add(limit)
	for len(t.threads) > 0 {
		news := false
		for tid := range t.threads {
			var status unix.WaitStatus
			got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOTHREAD|unix.WNOHANG, nil)
			switch {
			case err != nil || got == tid && !status.Stopped():
				delete(t.threads, tid)
			case got == tid:
				news = true
				if signal, err := t.stopped(tid, status); err == nil {
					_ = t.resume(tid, signal) // gone if not
				}
			}
		}
		if time.Now().After(deadline) {
			t.kill()
		}
		if !news {
			t.discover()
			time.Sleep(200 * time.Microsecond)
		}
	}
}

// discover finds the threads of children of which nobody has told, since the one that made
// them was killed meanwhile: until they are waited for their process does not end.
func (t *tracer) discover() {
	for tid := range maps.Clone(t.threads) {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", tid))
		if err != nil {
			continue // gone
		}
		for _, task := range tasks {
			if id, err := strconv.Atoi(task.Name()); err == nil && id != t.leader {
				t.thread(id)
			}
		}
	}
}

// bury ends a thread that an earlier execution on this thread has left, and waits for it.
func bury(tid int) error {
	_ = unix.Kill(tid, unix.SIGKILL) // gone if not
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, unix.ECHILD) || err == nil && !status.Stopped():
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		}
	}
}

// kill kills the process and its children.
func (t *tracer) kill() {
	for tid := range t.threads {
		_ = unix.Kill(tid, unix.SIGKILL) // gone if not
	}
}

// resume lets a thread go on, with a signal if that is not zero, to its next system call
// as long as these matter.
func (t *tracer) resume(tid int, signal unix.Signal) error {
	if t.fault.over() && t.fault.Kind != KillAlone && t.refused == nil && t.lost == "" && t.thread(tid).after == nil {
		return unix.PtraceCont(tid, int(signal))
	}
	return unix.PtraceSyscall(tid, int(signal))
}

// thread returns what is known of a thread, which may be a new one.
func (t *tracer) thread(tid int) *thread {
	if t.threads[tid] == nil {
		t.threads[tid] = &thread{}
	}
	return t.threads[tid]
}

// stopped deals with a thread that has stopped, and returns the signal to go on with.
func (t *tracer) stopped(tid int, status unix.WaitStatus) (unix.Signal, error) {
	th := t.thread(tid)
	signal := status.StopSignal()
	switch {
	case signal == unix.SIGTRAP|0x80:
		return 0, t.syscall(tid, th)
	case signal == unix.SIGTRAP && status.TrapCause() > 0:
		return 0, t.event(tid, th, status.TrapCause())
	case signal == unix.SIGSTOP && !th.started:
		th.started = true // how a new thread begins under a tracer
		return 0, nil
	}
	return signal, nil
}

// event deals with a new child, a new thread or a new program.
func (t *tracer) event(tid int, th *thread, event int) error {
	message, err := unix.PtraceGetEventMsg(tid)
	if err != nil {
		return err
	}
	if event != unix.PTRACE_EVENT_EXEC {
		t.thread(int(message))
		return nil
	}
	th.program = ""
	if int(message) != tid {
		delete(t.threads, int(message)) // it has become the process
	}
	return nil
}

// syscall deals with a thread that begins or ends a system call.
func (t *tracer) syscall(tid int, th *thread) error {
	var info syscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	switch {
	case errno == unix.EIO || errno == unix.EINVAL:
		return fmt.Errorf("PTRACE_GET_SYSCALL_INFO: %w", errors.ErrUnsupported)
	case errno != 0:
		return errno
	}
	const entry, exit = 1, 2 // PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_EXIT
	switch info.op {
	case entry:
		before := th.call
		th.call = call6{info.data[0], [6]uint64(info.data[1:7])}
		if th.restart && th.call == before {
			return nil
		}
		return t.begins(tid, th)
	case exit:
		return t.ends(tid, th, int64(info.data[0]))
	}
	return nil
}

// begins deals with a system call that has not begun yet.
func (t *tracer) begins(tid int, th *thread) error {
	if t.interrupts(tid, th) {
		return t.interrupt(tid, th)
	}
	c, ok := t.changes(tid, th.call)
	if !ok {
		return nil
	}
	if th.program == "" {
		path, err := os.Readlink("/proc/" + strconv.Itoa(tid) + "/exe")
		if err != nil {
			return unix.ESRCH
		}
		th.program = filepath.Base(path)
		if line, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/cmdline"); err == nil {
			name, _, _ := strings.Cut(string(line), "\x00")
			th.program = filepath.Base(name) // of many plugins in one executable
		}
	}
	c.Program, c.child = th.program, t.isChild(tid)
	if t.ended {
		t.late = append(t.late, c)
	}
	if !t.fault.begins(c) {
		return nil
	}
	switch t.fault.Kind {
	case KillBefore:
		t.kill() // who dies while it begins a call never makes it
	case KillAfter:
		th.after = func() error { t.kill(); return nil }
	case Terminate:
		return unix.Kill(t.leader, unix.SIGTERM)
	case KillAlone:
		return unix.Kill(t.leader, unix.SIGKILL)
	case Fail:
		return t.fail(tid, th)
	case LoseAnswer:
		socket := target(tid, th.call.args[0])
		th.after = func() error { t.lost = socket; return nil }
	}
	return nil
}

// isChild reports whether a thread is one of a child of the process.
func (t *tracer) isChild(tid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", t.leader, tid))
	return err != nil
}

// fail makes the call of a thread fail.
func (t *tracer) fail(tid int, th *thread) error {
	errno := t.fault.Errno
	if errno != unix.EINTR && errno != unix.ENOBUFS {
		refused, err := t.refuse(tid, th.call)
		if err != nil {
			return err
		}
		if refused != nil {
			t.refused = refused
			th.after = func() error { return poke(tid, refused.at, refused.original) }
			return nil
		}
	}
	if err := skipCall(tid); err != nil {
		return err
	}
	th.after = func() error { return setReturn(tid, -int64(errno)) }
	return nil
}

// ends deals with a system call that is over.
func (t *tracer) ends(tid int, th *thread, returned int64) error {
	// ERESTARTSYS to ERESTART_RESTARTBLOCK, which no program sees. It is how the kernel
	// waits for the lock of its links when a sysctl is written.
	const restartFirst, restartLast = -516, -512
	th.restart = returned >= restartFirst && returned <= restartLast
	if after := th.after; after != nil {
		th.after = nil
		return after()
	}
	switch th.call.number {
	case unix.SYS_SOCKET:
		if th.call.args[0] == unix.AF_NETLINK && returned >= 0 {
			t.sockets[target(tid, uint64(returned))] = int(th.call.args[2])
		}
	case unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_READ, unix.SYS_READV:
		if t.lost != "" && returned > 0 {
			return t.lose(tid, th.call, int(returned))
		}
		if t.refused != nil && returned > 0 {
			return t.answer(tid, th.call, int(returned))
		}
	}
	return nil
}

// target returns what /proc says a descriptor leads to.
func target(tid int, fd uint64) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(fd)))
	if err != nil {
		return ""
	}
	return path
}

// peek reads memory of a thread, less than asked for if there is no more.
func peek(tid int, at uint64, n int) []byte {
	if n <= 0 {
		return nil
	}
	data := make([]byte, n)
	local := unix.Iovec{Base: &data[0]}
	local.SetLen(n)
	got, err := unix.ProcessVMReadv(tid, []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(at), Len: n}}, 0)
	if err != nil {
		return nil
	}
	return data[:got]
}

// peekString reads a string of C.
func peekString(tid int, at uint64) string {
	const page, longest = 4096, 4096
	var text []byte
	for at != 0 && len(text) < longest {
		part := peek(tid, at, int(page-at%page))
		if end := strings.IndexByte(string(part), 0); end >= 0 {
			return string(append(text, part[:end]...))
		}
		if len(part) == 0 {
			break
		}
		text, at = append(text, part...), at+uint64(len(part))
	}
	return string(text)
}

// poke writes memory of a thread that has stopped.
func poke(tid int, at uint64, data []byte) error {
	_, err := unix.PtracePokeData(tid, uintptr(at), data)
	return err
}
