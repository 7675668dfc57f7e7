// SPDX-License-Identifier: Apache-2.0

//go:build !linux || !(amd64 || arm64)

package skeltest

import (
	"errors"
	"fmt"
	"os/exec"
)

// Start fails with an error that is [errors.ErrUnsupported].
func (f *Fault) Start(*exec.Cmd) error {
	return fmt.Errorf("trace the plugin: %w", errors.ErrUnsupported)
}
