// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ptp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// check compares both ends of the cable with the result of ADD, while the IPAM plugin
// compares its part. What other plugins added to either is not its business.
func check(ctx context.Context, r *request) error {
	delegate := ipam.Start(ctx, r.Call, r.Conf.IPAM.Type)
	delegate.Release()
	err := checkCable(ctx, r)
	_, ipamErr := delegate.Finish()
	return errors.Join(ipamErr, err)
}

func checkCable(ctx context.Context, r *request) error {
	e, err := netutil.OpenEnds(r.Netns)
	if err != nil {
		return err
	}
	defer e.Close()
	veth, ips, err := e.Compare(ctx, r.PrevResult, r.IfName, r.Netns, false)
	if err != nil {
		return err
	}
	if err := checkHost(ctx, r, e.Host, veth.Host, ips); err != nil {
		return err
	}
	if !r.Conf.IPMasq || veth.Host.Alias == "" {
		return nil // without our mark, another plugin made it, with rules of its own
	}
	return netutil.CheckMasquerade(ctx, owner(r), ips, firewall(r))
}

// checkHost compares the host's end: up, with the gateway addresses, and with the
// routes to the container.
func checkHost(ctx context.Context, r *request, host *netutil.Conn, port *netutil.Link, ips []types.IP) error {
	switch {
	case !port.Up:
		return fmt.Errorf("link %s: is down", port.Name)
	case r.Conf.MTU > 0 && port.MTU != r.Conf.MTU:
		return fmt.Errorf("link %s: mtu %d, want %d", port.Name, port.MTU, r.Conf.MTU)
	}
	is4, is6 := false, false
	var gateways []netip.Prefix
	var routes []netutil.Route
	for _, ip := range ips {
		if ip.Gateway.IsValid() { // else another plugin's address
			gateways = append(gateways, single(ip.Gateway))
			routes = append(routes, hostRoute(port.Index, ip))
			is4, is6 = is4 || ip.Gateway.Is4(), is6 || ip.Gateway.Is6()
		}
	}
	return errors.Join(
		host.CompareAddrs(ctx, port, gateways...),
		host.CompareRoutes(ctx, port, routes...),
		host.CompareForwarding(is4, is6),
		host.CompareSysctl(netutil.Sysctl{Name: "ipv6/conf/" + port.Name + "/accept_ra", Value: "0"}),
	)
}
