// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command ptp is a CNI plugin that connects each container to the host by a cable
// of its own. What it does is in package ptp beside it.
package main

import (
	"github.com/cnikit/cnikit/examples/ptp/ptp"
	"github.com/cnikit/cnikit/skel"
)

func main() { skel.Main(ptp.Plugin()) }
