// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ptp

import (
	"context"
	"errors"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
)

// check compares both ends of the cable with the result of ADD, while the IPAM plugin
// compares its part. What other plugins added to either is not its business.
func check(ctx context.Context, r *request) error {
	return ipam.With(ctx, r.Call, r.Conf.IPAM.Type, func(ctx context.Context) error {
		e, err := netutil.OpenEnds(r.Netns)
		if err != nil {
			return err
		}
		defer e.Close()
		return compare(ctx, r, e)
	})
}

func compare(ctx context.Context, r *request, e *netutil.Ends) error {
	if err := e.CompareResult(ctx, r.PrevResult, r.IfName, false); err != nil {
		return err
	}
	veth, err := e.CompareVeth(ctx, r.IfName, cable(r))
	if err != nil {
		return err
	}
	ips := r.PrevResult.ContainerIPs(r.IfName, r.Netns)
	var routes []netutil.Route
	for _, ip := range ips {
		if ip.Gateway.IsValid() {
			routes = append(routes, hostRoute(veth.Host.Index, ip))
		}
	}
	gateways := gatewaysOf(ips)
	err = errors.Join(
		e.Host.CompareAddrs(ctx, veth.Host, gateways...),
		e.Host.CompareRoutes(ctx, veth.Host, routes...),
		e.Host.CompareForwarding(gateways...),
	)
	if err != nil || !r.Conf.IPMasq || veth.Host.Alias == "" {
		return err // without our mark, another plugin made it, with rules of its own
	}
	return netutil.CheckMasquerade(ctx, owner(r), ips, firewall(r))
}
