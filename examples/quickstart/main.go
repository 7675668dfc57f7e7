// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command quickstart shows cnikit's main job: it plays the container runtime for
// two containers on a private host, with the bridge and host-local plugins, and
// tells what happens. It needs neither root nor anything installed, and leaves
// nothing behind.
//
//	go run ./examples/quickstart           the network in testdata/demo.conflist
//	go run ./examples/quickstart FILE      another network configuration
//
// The executable is the plugins too: as "bridge" and as "host-local", which is how
// the runtime finds it.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/cnikit/cnikit/examples/bridge/bridge"
	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// demo is a network of today.
//
//go:embed testdata/demo.conflist
var demo []byte

// tutorial is the configuration of a tutorial of 2020, which still works.
//
//go:embed testdata/tutorial-2020.conf
var tutorial []byte

func main() {
	switch {
	case os.Getenv("CNI_COMMAND") != "":
		skel.Main(bridge.Plugin(), hostlocal.Plugin())
	case os.Getenv(inside) == "":
		os.Exit(isolate())
	}
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: quickstart [FILE]")
	}
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run shows the network in a file, or the two that the program holds.
func run(ctx context.Context, files []string) error {
	if len(files) > 1 {
		return fmt.Errorf("want one file, not %d", len(files))
	}
	var networks []*types.Network
	for _, text := range [][]byte{demo, tutorial} {
		n, err := types.ParseNetwork(text)
		if err != nil {
			return err
		}
		networks = append(networks, n)
	}
	if len(files) == 1 {
		n, err := types.LoadNetwork(files[0])
		if err != nil {
			return err
		}
		networks = []*types.Network{n}
	}
	if err := hideState(); err != nil {
		return err
	}
	for _, n := range networks {
		if err := show(ctx, n); err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
	}
	fmt.Println("All done, and nothing is left.")
	return nil
}
