// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command all is the example plugins in one executable, chosen by the name that it is
// called by, or by the type of the configuration:
//
//	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" ./examples/all
//	for name in bridge host-local loopback portmap ptp; do ln all /opt/cni/bin/$name; done
//
// A plugin that delegates to another one of them, as bridge and ptp do to host-local,
// then calls it inside the same process, which saves more than a third of an ADD.
package main

import (
	"github.com/cnikit/cnikit/examples/bridge/bridge"
	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/examples/loopback/loopback"
	"github.com/cnikit/cnikit/examples/portmap/portmap"
	"github.com/cnikit/cnikit/examples/ptp/ptp"
	"github.com/cnikit/cnikit/skel"
)

func main() {
	skel.Main(bridge.Plugin(), hostlocal.Plugin(), loopback.Plugin(), portmap.Plugin(), ptp.Plugin())
}
