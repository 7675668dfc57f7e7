// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package skel

import (
	"io"
	"os"
)

// stdin returns standard input.
func stdin() io.Reader { return os.Stdin }

// wasClosed reports whether a standard descriptor was closed when the process
// began. Only Linux has a way to tell.
func wasClosed(f *os.File) bool {
	_, err := f.Stat()
	return err != nil
}

// isTerminal reports whether f is a device for characters, other than the null
// device.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && !os.SameFile(info, null)
}
