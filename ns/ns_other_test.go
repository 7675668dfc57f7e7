// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package ns_test

import (
	"errors"
	"testing"

	"github.com/cnikit/cnikit/ns"
)

func TestUnsupported(t *testing.T) {
	t.Parallel()
	_, open := ns.Open("x")
	_, current := ns.Current()
	for name, err := range map[string]error{
		"Open":    open,
		"Current": current,
		"Close":   new(ns.NS).Close(),
		"Do":      new(ns.NS).Do(func() error { return nil }),
	} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s = %v, want %v", name, err, errors.ErrUnsupported)
		}
	}
}
