// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"os"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
)

func TestMain(m *testing.M) {
	play(os.Args[0])
	nstest.Main(m)
}
