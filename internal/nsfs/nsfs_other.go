// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package nsfs

import (
	"errors"
	"fmt"
	"runtime"
)

// errOther says that there are no network namespaces here.
var errOther = fmt.Errorf("network namespaces on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// Self fails with [errors.ErrUnsupported].
func Self() (ID, error) { return ID{}, errOther }

// Stat fails with [errors.ErrUnsupported].
func Stat(string) (ID, error) { return ID{}, errOther }
