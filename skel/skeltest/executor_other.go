// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package skeltest

import (
	"os"
	"os/exec"
)

func ownGroup(*exec.Cmd) {}

func killGroup(p *os.Process) error { return p.Kill() }
