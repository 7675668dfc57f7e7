// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package ns

import (
	"errors"
	"fmt"
	"runtime"
)

// errOther says that there are no network namespaces here.
var errOther = fmt.Errorf("network namespaces on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// NS is a network namespace, of which there are none on this system.
type NS struct{}

// Open fails with [errors.ErrUnsupported].
func Open(string) (*NS, error) { return nil, errOther }

// Current fails with [errors.ErrUnsupported].
func Current() (*NS, error) { return nil, errOther }

// Close fails with [errors.ErrUnsupported].
func (n *NS) Close() error { return errOther }

// Do fails with [errors.ErrUnsupported] and does not call the function.
func (n *NS) Do(func() error) error { return errOther }
