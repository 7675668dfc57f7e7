// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"os"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
)

func TestMain(m *testing.M) {
	playMutant(os.Args[0])
	play()
	nstest.Main(m)
}
