// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ptp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Config is the plugin's own part of the configuration.
type Config struct {
	// IPMasq gives packets that leave the network the address of the host.
	IPMasq bool `json:"ipMasq"`
	// IPMasqBackend is "nftables" or "iptables". Empty: what the host has.
	IPMasqBackend string `json:"ipMasqBackend"`
	// MTU is that of both ends of the veth, in bytes. Zero or less: the kernel's
	// default.
	MTU int `json:"mtu"`
	// IPAM is read here only to tell who chooses the addresses.
	IPAM struct {
		Type string `json:"type"`
	} `json:"ipam"`
}

// Validate refuses a network without addresses.
func (c *Config) Validate() error {
	if c.IPAM.Type == "" {
		return errors.New("ipam.type: required and missing; a point-to-point link is nothing without addresses")
	}
	if c.MTU > 0 {
		if err := netutil.ValidateMTU(c.MTU); err != nil {
			return fmt.Errorf("mtu: %w", err)
		}
	}
	if err := (netutil.FirewallConfig{Backend: c.IPMasqBackend}).Validate(); err != nil {
		return fmt.Errorf("ipMasqBackend: %w", err)
	}
	return nil
}

// Plugin returns the plugin.
func Plugin() skel.Plugin[Config] {
	return skel.Plugin[Config]{
		Name:       "ptp",
		About:      "connects each container to the host by a cable of its own",
		NeedsNetns: true,
		Add:        add,
		Del:        del,
		Check:      check,
		GC:         gc,
		Status:     status,
		Timeout:    40 * time.Second, // more than any lock takes, and well under a minute: ADD-026
	}
}

type request = skel.Request[Config]

// owner is the mark on everything that is made for an attachment.
func owner(r *request) netutil.Owner {
	return netutil.Owner{Network: r.Net.Name, ContainerID: r.ContainerID, IfName: r.IfName}
}

func firewall(r *request) netutil.FirewallConfig {
	return netutil.FirewallConfig{Backend: r.Conf.IPMasqBackend, Log: r.Log}
}

// cable is the veth of a container.
func cable(r *request) netutil.VethConfig { return netutil.VethConfig{MTU: max(r.Conf.MTU, 0)} }

func add(ctx context.Context, r *request) (*types.Result, error) {
	e, err := netutil.OpenEnds(r.Netns)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	o := owner(r)
	if err := e.Vacant(ctx, o); err != nil {
		return nil, err
	}
	// The IPAM plugin comes up while the veth is made.
	delegate := ipam.Start(ctx, r.Call, r.Conf.IPAM.Type)
	defer delegate.Abandon()
	veth, err := e.AddVeth(ctx, o, cable(r))
	if err != nil {
		return nil, err
	}
	r.Undo(func(ctx context.Context) error { return netutil.Detach(ctx, o, left(r)) })

	result, err := delegate.Finish()
	if err != nil {
		return nil, err
	}
	r.Undo(delegate.Undo)
	for i, ip := range result.IPs {
		if !ip.Gateway.IsValid() {
			return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("ips[%d].gateway: the IPAM plugin gave none for %s, and a point-to-point link needs one", i, ip.Address), nil)
		}
	}
	if r.Conf.IPMasq {
		if err := netutil.EnsureMasquerade(ctx, o, result.IPs, firewall(r)); err != nil {
			return nil, err
		}
	}
	switch err := configure(ctx, e, veth, result); {
	case errors.Is(err, netutil.ErrUnfit):
		return nil, types.NewError(types.ErrInvalidNetworkConfig, err.Error(), nil)
	case err != nil:
		return nil, err
	}
	return report(r, veth, result), nil
}

// single is the prefix of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// gatewaysOf returns the addresses that the host's end has.
func gatewaysOf(ips []types.IP) []netip.Prefix {
	var gateways []netip.Prefix
	for _, ip := range ips {
		if ip.Gateway.IsValid() { // else another plugin's address
			gateways = append(gateways, single(ip.Gateway))
		}
	}
	return gateways
}

// configure gives both ends their addresses and routes. The host's end is set up
// last: from then on packets flow.
func configure(ctx context.Context, e *netutil.Ends, veth *netutil.Veth, result *types.Result) error {
	if err := configureSandbox(ctx, e.Sandbox, veth.Peer, result); err != nil {
		return err
	}
	for _, ip := range result.IPs {
		if _, err := e.Host.EnsureAddr(ctx, veth.Host.Index, single(ip.Gateway), netutil.AddrConfig{}); err != nil {
			return err
		}
	}
	if err := e.Host.SetForwarding(gatewaysOf(result.IPs)...); err != nil {
		return err
	}
	if err := e.Host.SetUp(ctx, veth.Host.Index); err != nil {
		return err
	}
	for _, ip := range result.IPs {
		if err := e.Host.SetRoute(ctx, hostRoute(veth.Host.Index, ip)); err != nil {
			return err
		}
	}
	return e.WaitRunning(ctx, veth)
}

// hostRoute is the route from the host to the container. It takes the place of one
// that a container left, which had the address before.
func hostRoute(link int, ip types.IP) netutil.Route {
	r := netutil.Route{Dst: single(ip.Address.Addr()), Index: link}
	if r.Dst.Addr().Is4() {
		r.Scope = types.Some[uint8](scopeHost)
	}
	return r
}

// The scopes of routes.
//
// Kernel: RT_SCOPE_LINK and RT_SCOPE_HOST; include/uapi/linux/rtnetlink.h.
const (
	scopeLink = 253
	scopeHost = 254
)

// configureSandbox gives the container its addresses, the way to the gateway, and
// through that the way to its own subnet and everything else.
func configureSandbox(ctx context.Context, sandbox *netutil.Conn, link *netutil.Link, result *types.Result) error {
	cfg := netutil.ApplyConfig{NoPrefixRoute: true}
	if err := sandbox.Apply(ctx, link, result.IPs, nil, cfg); err != nil {
		return err
	}
	for _, ip := range result.IPs {
		for _, route := range gatewayRoutes(link.Index, ip) {
			if err := sandbox.PrependRoute(ctx, route); err != nil {
				return err
			}
		}
	}
	return sandbox.Apply(ctx, link, result.IPs, result.Routes, cfg)
}

// gatewayRoutes are the routes of a container to the gateway of an address, and to
// the subnet of the address if that is more than the address.
func gatewayRoutes(link int, ip types.IP) []netutil.Route {
	source := ip.Address.Addr()
	toGateway := netutil.Route{Dst: single(ip.Gateway), Index: link, Source: source}
	if source.Is4() {
		toGateway.Scope = types.Some[uint8](scopeLink)
	}
	routes := []netutil.Route{toGateway}
	if !ip.Address.IsSingleIP() {
		routes = append(routes, netutil.Route{Dst: ip.Address.Masked(), Gateway: ip.Gateway, Index: link, Source: source})
	}
	return routes
}

// report returns the result: what was before, and what this plugin added.
func report(r *request, veth *netutil.Veth, result *types.Result) *types.Result {
	own := &types.Result{Routes: result.Routes, DNS: result.DNS}
	own.AddInterface(veth.Host.Interface(""))
	own.AddInterface(veth.Peer.Interface(r.Netns), result.IPs...)
	return r.Extend(own)
}
