// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"os"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel/skeltest"
)

func TestMain(m *testing.M) {
	playMutant(os.Args[0])
	skeltest.PlayIfRecorder()
	play()
	nstest.Main(m)
}
