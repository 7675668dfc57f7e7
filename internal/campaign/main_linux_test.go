// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"testing"

	"github.com/cnikit/cnikit/examples/bridge/bridge"
	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/examples/loopback/loopback"
	"github.com/cnikit/cnikit/examples/portmap/portmap"
	"github.com/cnikit/cnikit/examples/ptp/ptp"
	"github.com/cnikit/cnikit/internal/plugintest"
)

func TestMain(m *testing.M) {
	plugintest.Main(m, bridge.Plugin(), ptp.Plugin(), hostlocal.Plugin(), portmap.Plugin(), loopback.Plugin())
}
