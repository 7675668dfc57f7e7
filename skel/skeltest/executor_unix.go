// SPDX-License-Identifier: Apache-2.0

//go:build unix

package skeltest

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes the process the leader of a group, which its children are in too.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends the process and those that it started.
func killGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }
