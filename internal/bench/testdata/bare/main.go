// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command bare does what a container's network needs and nothing else: a veth
// between the bridge br0 and the namespace of CNI_NETNS, an address and a default
// route. It reads no configuration, keeps no record and answers nothing; what a
// plugin costs beside this is the price of being one.
package main

import (
	"log"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	bridge, err := netlink.LinkByName("br0")
	if err != nil {
		return err
	}
	container, err := netns.GetFromPath(os.Getenv("CNI_NETNS"))
	if err != nil {
		return err
	}
	host := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "bare0", MasterIndex: bridge.Attrs().Index, NumTxQueues: 1, NumRxQueues: 1},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(container),
	}
	if err := netlink.LinkAdd(host); err != nil {
		return err
	}
	inside, err := netlink.NewHandleAt(container)
	if err != nil {
		return err
	}
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 20, 0, 2), Mask: net.CIDRMask(16, 32)}}
	if err := inside.AddrAdd(eth0, address); err != nil {
		return err
	}
	if err := inside.LinkSetUp(eth0); err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: net.IPv4(10, 20, 0, 1)}
	if err := inside.RouteAdd(route); err != nil {
		return err
	}
	return netlink.LinkSetUp(host)
}
