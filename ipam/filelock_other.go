// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package ipam

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// lock fails: there is no flock here that host-local plugins could share.
func lock(_ context.Context, path string, _ time.Duration) (unlock func(), err error) {
	return nil, fmt.Errorf("lock %s: %w", path, errors.ErrUnsupported)
}

func writable(dir string) error {
	return fmt.Errorf("directory %s: %w", dir, errors.ErrUnsupported)
}
