// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package nsfs_test

import (
	"errors"
	"testing"

	"github.com/cnikit/cnikit/internal/nsfs"
)

func TestUnsupported(t *testing.T) {
	t.Parallel()
	if _, err := nsfs.Self(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Self() = %v, want errors.ErrUnsupported", err)
	}
	if _, err := nsfs.Stat("x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Stat(x) = %v, want errors.ErrUnsupported", err)
	}
}
