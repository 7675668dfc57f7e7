// SPDX-License-Identifier: Apache-2.0

//go:build unix

package skeltest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cnikit/cnikit/types"
)

// holdLocks takes the locks that a plugin keeps below a directory, which are the files
// with "lock" in their names. It returns how many there are, and how to let go of them.
func holdLocks(dir string) (release func(), n int, err error) {
	var held []*os.File
	release = func() {
		for _, f := range held {
			_ = f.Close() // it was opened to be locked
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!d.Type().IsRegular() || !strings.Contains(d.Name(), "lock")) {
			return nil
		}
		if err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		held = append(held, f)
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	return release, len(held), err
}

// hold makes the delegate wait with its answer for one container until somebody writes
// it into a pipe, whose path is returned.
func (d *Delegate) hold(command types.Command, containerID string) (pipe string, err error) {
	if err := d.Answer(command, containerID, Answer{}); err != nil {
		return "", err
	}
	pipe = filepath.Join(d.records(), string(command)+"."+containerID, "stdout")
	if err := os.Remove(pipe); err != nil {
		return "", err
	}
	return pipe, syscall.Mkfifo(pipe, 0o600)
}

// openWhenRead opens a pipe for writing as soon as somebody reads it.
func openWhenRead(pipe string, limit time.Duration) (*os.File, error) {
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if !errors.Is(err, syscall.ENXIO) || time.Now().After(end) {
			return f, err
		}
	}
}
