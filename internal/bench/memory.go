// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// peakMemory runs a program to its end and returns the peak of the memory that it had
// resident, in bytes, with that of all processes that it started. The caller's thread is
// its own, for it is the tracer.
//
// What wait4 tells is of no use: a process that was made by vfork has had its parent's
// memory until it executed the program, and its own peak counts only above that. So each
// process is stopped on its way out, and asked; one that never executed a program has no
// memory of its own and does not count, such as the one by which the Go runtime finds out
// what the kernel can do.
func peakMemory(path string, environ []string, stdin []byte) (bytes int, err error) {
	files, err := stdio(stdin)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, files[0].Close(), files[1].Close()) }()
	p, err := os.StartProcess(path, []string{path}, &os.ProcAttr{
		Env: environ, Files: []*os.File{files[0], files[1], files[1]}, Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return 0, err
	}
	peaks, status, err := trace(p.Pid)
	if err = errors.Join(err, p.Release()); err != nil {
		return 0, err
	}
	if status.ExitStatus() != 0 {
		answer, err := os.ReadFile(files[1].Name())
		return 0, errors.Join(fmt.Errorf("%s: exit status %d: %s", path, status.ExitStatus(), answer), err)
	}
	for _, peak := range peaks {
		bytes += peak
	}
	return bytes, nil
}

// stdio returns files for standard input and output, already without names.
func stdio(input []byte) (files [2]*os.File, err error) {
	for i := range files {
		if files[i], err = os.CreateTemp("", "bench"); err != nil {
			return files, err
		}
		if err := os.Remove(files[i].Name()); err != nil {
			return files, err
		}
	}
	if _, err = files[0].Write(input); err == nil {
		_, err = files[0].Seek(0, 0)
	}
	return files, err
}

// Options of ptrace that the syscall package does not have.
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/ptrace.h
const (
	traceExec     = 0x10       // PTRACE_O_TRACEEXEC
	traceExit     = 0x40       // PTRACE_O_TRACEEXIT
	killWithUs    = 0x100000   // PTRACE_O_EXITKILL
	waitAnyThread = 0x40000000 // __WALL; include/uapi/linux/wait.h
)

// trace follows a process, its threads and its children to their ends, and returns the
// peak of each process that executed a program and how the first one ended.
func trace(first int) (peaks map[int]int, end syscall.WaitStatus, err error) {
	peaks = map[int]int{first: 0}
	options := traceExec | traceExit | killWithUs | syscall.PTRACE_O_TRACECLONE | syscall.PTRACE_O_TRACEFORK | syscall.PTRACE_O_TRACEVFORK
	for started := false; ; {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, waitAnyThread, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.ECHILD):
			return peaks, end, nil
		case err != nil:
			return nil, 0, err
		}
		if pid == first && (status.Exited() || status.Signaled()) {
			end = status
		}
		if !status.Stopped() {
			continue
		}
		if !started {
			started = true
			if err := syscall.PtraceSetOptions(pid, options); err != nil {
				return nil, 0, err
			}
		}
		if err := proceed(pid, status, peaks); err != nil {
			return nil, 0, err
		}
	}
}

// proceed lets a thread that has stopped go on, with the signal that it stopped for
// unless that was the tracing.
func proceed(pid int, status syscall.WaitStatus, peaks map[int]int) error {
	signal := 0
	switch s := status.StopSignal(); {
	case s == syscall.SIGTRAP && status.TrapCause() == syscall.PTRACE_EVENT_EXEC:
		peaks[pid] = 0 // its number is that of the process from then on
	case s == syscall.SIGTRAP && status.TrapCause() == syscall.PTRACE_EVENT_EXIT:
		group, peak, err := highWater(pid)
		if err != nil {
			return err
		}
		if before, executed := peaks[group]; executed {
			peaks[group] = max(before, peak)
		}
	case s != syscall.SIGTRAP && s != syscall.SIGSTOP:
		signal = int(s)
	}
	err := syscall.PtraceCont(pid, signal)
	if errors.Is(err, syscall.ESRCH) {
		return nil // it was killed meanwhile, with its group
	}
	return err
}

// highWater returns the process that a thread belongs to and the most memory it has had
// resident.
func highWater(thread int) (process, bytes int, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(thread) + "/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		number, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch key {
		case "Tgid":
			process = number
		case "VmHWM":
			bytes = number << 10
		default:
			continue
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return process, bytes, nil
}
