// SPDX-License-Identifier: Apache-2.0

// Package skeltest is a runtime in a test: it runs the plugins of a network
// configuration as a container runtime does, in-process or as executables, and
// records what each was sent and what it said.
//
//	runtime := &skeltest.Runtime{Plugins: []skel.Runner{plugin()}}
//	network, err := types.ParseNetwork([]byte(`{ … }`))
//	result, err := runtime.Add(ctx, network, skeltest.Attachment{ContainerID: "c1", Netns: path, IfName: "eth0"})
//
// Programs that play a runtime by hand use it too.
package skeltest
