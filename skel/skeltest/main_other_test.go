// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package skeltest_test

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	play()
	os.Exit(m.Run())
}
