// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/cnikit/cnikit/internal/nstest"
)

// inside marks the process that runs in namespaces of its own.
const inside = "CNICHECK_INSIDE"

// isolate runs the program once more in namespaces of its own, where the kernel allows
// that, and returns its exit status; in there it returns false.
func isolate() (exit int, done bool) { return nstest.Rerun(inside) }

// hide puts empty file systems where plugins keep their state, for this process and
// its children, unless the plugin or a directory of the caller is in there. And it
// makes this process the parent of whatever plugins leave behind.
func hide(plugin, keep string) error {
	if os.Getenv(inside) == "" {
		return nil
	}
	const prSetChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER, include/uapi/linux/prctl.h
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("become a subreaper: %w", errno)
	}
	path, err := filepath.Abs(plugin)
	if err != nil {
		return err
	}
	kept, err := filepath.Abs(keep)
	if err != nil {
		return err
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	for _, dir := range []string{"/var/lib", "/run"} {
		used := kept == dir || strings.HasPrefix(kept, dir+"/") || strings.HasPrefix(path, dir+"/") || strings.HasPrefix(os.TempDir()+"/", dir+"/")
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() || used {
			continue
		}
		if err := syscall.Mount("cnicheck", dir, "tmpfs", 0, "size=64m"); err != nil {
			fmt.Fprintf(os.Stderr, "cnicheck: warning: the plugin sees the %s of the machine: mount: %v\n", dir, err)
		}
	}
	return nil
}

// endProcesses ends the processes that plugins have left behind, which are children
// of this one by now.
func endProcesses() {
	if os.Getenv(inside) == "" {
		return
	}
	self := strconv.Itoa(os.Getpid())
	for range 10 { // the children of what is ended come up
		stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
		found := false
		for _, path := range stats {
			data, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended
			}
			// The name, in parentheses, may hold anything; the parent is the second field after it.
			fields := strings.Fields(string(data[strings.LastIndex(string(data), ")")+1:]))
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err == nil && len(fields) > 1 && fields[1] == self {
				found = true
				_ = syscall.Kill(pid, syscall.SIGKILL) // or it has ended
				var status syscall.WaitStatus
				_, _ = syscall.Wait4(pid, &status, 0, nil)
			}
		}
		if !found {
			return
		}
	}
}
