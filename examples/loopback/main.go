// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command loopback is a CNI plugin that sets up the loopback link of a container.
// What it does is in package loopback beside it.
package main

import (
	"github.com/cnikit/cnikit/examples/loopback/loopback"
	"github.com/cnikit/cnikit/skel"
)

func main() { skel.Main(loopback.Plugin()) }
