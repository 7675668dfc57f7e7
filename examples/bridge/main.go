// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command bridge is a CNI plugin that connects containers by a bridge. What it
// does is in package bridge beside it, so that other executables can hold it too.
package main

import (
	"github.com/cnikit/cnikit/examples/bridge/bridge"
	"github.com/cnikit/cnikit/skel"
)

func main() { skel.Main(bridge.Plugin()) }
