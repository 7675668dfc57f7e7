// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package ipam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// lock fails: there is no flock here that host-local plugins could share. So nothing
// is ever written.
func lock(_ context.Context, path string, _ time.Duration) (unlock func(), err error) {
	return nil, fmt.Errorf("lock %s: %w", path, errors.ErrUnsupported)
}

func writable(dir string) error {
	return fmt.Errorf("directory %s: %w", dir, errors.ErrUnsupported)
}

func readRecord(path string, _ func(int, []byte) error) ([]byte, error) {
	info, err := os.Lstat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > mostRecord) {
		return []byte(noRecord), nil
	}
	return os.ReadFile(path)
}

func newFile(path string, _ []byte, _ string, _ func(string) error) error {
	return fmt.Errorf("write %s: %w", path, errors.ErrUnsupported)
}

func readBoot() string { return "" }

func trusted(fs.FileInfo) bool { return false }
