// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command portmap is a CNI plugin that leads ports of the host to a container. What
// it does is in package portmap beside it.
package main

import (
	"github.com/cnikit/cnikit/examples/portmap/portmap"
	"github.com/cnikit/cnikit/skel"
)

func main() { skel.Main(portmap.Plugin()) }
