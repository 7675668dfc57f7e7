// SPDX-License-Identifier: Apache-2.0

package oneproc

import (
	"runtime"
	"syscall"
)

func init() {
	if procs, _ := syscall.Getenv("GOMAXPROCS"); procs != "" {
		return
	}
	switch command, _ := syscall.Getenv("CNI_COMMAND"); command {
	case "ADD", "CHECK", "STATUS":
		runtime.GOMAXPROCS(1)
	}
}
