// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package skel_test

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	play(os.Args[0])
	os.Exit(m.Run())
}
