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
	beLoader()
	plugintest.Main(m, hurried(bridge.Plugin()), hurried(ptp.Plugin()), hurried(hostlocal.Plugin()), hurried(portmap.Plugin()), loopback.Plugin())
}
