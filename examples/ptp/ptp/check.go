// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ptp

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// check compares both ends of the cable with the result of ADD. What other plugins
// added to either is not its business.
func check(ctx context.Context, r *request) error {
	if err := ipam.Check(ctx, r.Call, r.Conf.IPAM.Type); err != nil {
		return err
	}
	position, ok := r.PrevResult.ContainerInterface(r.IfName, r.Netns)
	if !ok {
		return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("prevResult: has no interface %s in a sandbox", r.IfName), nil)
	}
	e, err := open(r)
	if err != nil {
		return err
	}
	defer e.close()
	ips := r.PrevResult.ContainerIPs(r.IfName, r.Netns)
	if err := e.sandbox.Compare(ctx, r.IfName, ips, r.PrevResult.Routes); err != nil {
		return err
	}
	link, err := e.sandbox.Link(ctx, r.IfName)
	if err != nil {
		return err
	}
	if want := r.PrevResult.Interfaces[position].MAC; want != "" && want != link.MAC.String() {
		return fmt.Errorf("interface %s: hardware address %s, want %s", r.IfName, link.MAC, want)
	}
	port, err := e.hostEnd(ctx, r.IfName)
	if err != nil {
		return err
	}
	if err := e.checkHost(ctx, port, ips); err != nil {
		return err
	}
	if !r.Conf.IPMasq || port.Alias == "" {
		return nil // without our mark, another plugin made it, with rules of its own
	}
	m, err := netutil.OpenMasquerade(ctx, firewall(r))
	if err != nil {
		return err
	}
	return errors.Join(m.Check(ctx, owner(r), addresses(ips)), m.Close())
}

// checkHost compares the host's end: up, with the gateway addresses, and with the
// routes to the container.
func (e *ends) checkHost(ctx context.Context, port *netutil.Link, ips []types.IP) error {
	if !port.Up {
		return fmt.Errorf("link %s: is down", port.Name)
	}
	addrs, err := e.host.ListAddrs(ctx, port.Index)
	if err != nil {
		return err
	}
	routes, err := e.host.ListRoutes(ctx, netutil.RouteFilter{Index: port.Index, Table: netutil.MainTable})
	if err != nil {
		return err
	}
	for _, ip := range ips {
		if !ip.Gateway.IsValid() {
			continue // another plugin's address
		}
		if !slices.ContainsFunc(addrs, func(a netutil.Addr) bool { return a.Prefix == single(ip.Gateway) }) {
			return fmt.Errorf("link %s: address %s is missing", port.Name, single(ip.Gateway))
		}
		if !slices.ContainsFunc(routes, func(have netutil.Route) bool { return have.Dst == single(ip.Address.Addr()) }) {
			return fmt.Errorf("link %s: route to %s is missing", port.Name, single(ip.Address.Addr()))
		}
	}
	return nil
}
