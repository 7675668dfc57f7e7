// SPDX-License-Identifier: Apache-2.0

// Command host-local is a CNI plugin that hands out addresses from ranges, and
// keeps track of them in a directory of the node. What it does is in package
// hostlocal beside it.
package main

import (
	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/skel"
)

func main() { skel.Main(hostlocal.Plugin()) }
