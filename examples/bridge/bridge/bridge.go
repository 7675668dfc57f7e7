// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Plugin returns the plugin.
func Plugin() skel.Plugin[Config] {
	return skel.Plugin[Config]{
		Name:       "bridge",
		About:      "connects containers by a bridge",
		NeedsNetns: true,
		Add:        add,
		Del:        del,
		Check:      check,
		GC:         gc,
		Status:     status,
	}
}

type request = skel.Request[Config]

// owner is the mark on everything that is made for an attachment.
func owner(r *request) netutil.Owner {
	return netutil.Owner{Network: r.Net.Name, ContainerID: r.ContainerID, IfName: r.IfName}
}

// An attachment is a container on the bridge, as ADD builds it.
type attachment struct {
	*request
	host, sandbox *netutil.Conn
	bridge        *netutil.Link
	veth          *netutil.Veth
	gatewayLink   *netutil.Link // of the VLAN; nil if the bridge itself is it
	result        *types.Result // of the IPAM plugin; empty without one
}

func add(ctx context.Context, r *request) (*types.Result, error) {
	if r.Conf.IPAM.Type == "" && r.CNIVersion < types.V030 {
		// Before any work: these versions cannot say that there is no address.
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "ipam: required in CNI version "+r.CNIVersion.String()+" and missing", nil)
	}
	n, err := ns.Open(r.Netns)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	host, err := netutil.Open(nil)
	if err != nil {
		return nil, err
	}
	defer host.Close()
	sandbox, err := netutil.Open(n)
	if err != nil {
		return nil, err
	}
	defer sandbox.Close()
	a := &attachment{request: r, host: host, sandbox: sandbox, result: &types.Result{}}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return a.plug(ctx, n) },
		a.tag,
		a.address,
		a.gateway,
		a.filter,
		a.masquerade,
		a.configure,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return a.report(), nil
}

// plug makes the bridge, if it is the first container, and the veth.
func (a *attachment) plug(ctx context.Context, n *ns.NS) (err error) {
	c := a.Conf
	address, err := mac(a.request)
	if err != nil {
		return err
	}
	a.bridge, _, err = a.host.EnsureBridge(ctx, c.bridge(), netutil.BridgeConfig{
		MTU:           max(c.MTU, 0),
		Promisc:       c.PromiscMode,
		VLANFiltering: c.VLANs.wanted(),
	})
	if err != nil {
		return err
	}
	o := owner(a.request)
	veth, created, err := a.host.EnsureVeth(ctx, netutil.VethConfig{
		Name:   o.HostName(),
		Alias:  o.Alias(),
		MTU:    max(c.MTU, 0),
		Master: a.bridge.Index,
		Port:   &netutil.PortConfig{Hairpin: c.HairpinMode, Isolated: c.PortIsolation},
		Peer:   netutil.VethPeer{NS: n, Name: a.IfName, MAC: address},
	})
	if err != nil {
		return err
	}
	if !created {
		return fmt.Errorf("interface %s: the container is attached already", a.IfName)
	}
	a.Undo(func(ctx context.Context) error { return unplug(ctx, a.request) })
	a.veth = veth
	return nil
}

// address asks the IPAM plugin for addresses and routes.
func (a *attachment) address(ctx context.Context) (err error) {
	if a.Conf.IPAM.Type == "" {
		return nil
	}
	a.result, err = ipam.Add(ctx, a.Call, a.Conf.IPAM.Type)
	if err != nil {
		return err
	}
	a.Undo(func(ctx context.Context) error { return ipam.Del(ctx, a.Call, a.Conf.IPAM.Type) })
	if !a.Conf.gateway() {
		return nil
	}
	for i := range a.result.IPs {
		if ip := &a.result.IPs[i]; !ip.Gateway.IsValid() {
			ip.Gateway = ip.Address.Masked().Addr().Next()
		}
	}
	if a.Conf.IsDefaultGateway {
		a.result.Routes = withDefaults(a.result.Routes, a.result.IPs)
	}
	return nil
}

// withDefaults adds a default route for each family that has a gateway and no
// default route yet.
func withDefaults(routes []types.Route, ips []types.IP) []types.Route {
	has := map[bool]bool{} // by whether it is IPv4
	for _, r := range routes {
		if r.Dst.Bits() == 0 {
			has[r.Dst.Addr().Is4()] = true
		}
	}
	for _, ip := range ips {
		is4 := ip.Gateway.Is4()
		if has[is4] {
			continue
		}
		has[is4] = true
		any := netip.IPv6Unspecified()
		if is4 {
			any = netip.IPv4Unspecified()
		}
		routes = append(routes, types.Route{Dst: netip.PrefixFrom(any, 0), GW: ip.Gateway})
	}
	return routes
}

// gateway makes the bridge the gateway of the addresses.
func (a *attachment) gateway(ctx context.Context) error {
	if !a.Conf.gateway() || len(a.result.IPs) == 0 {
		return nil
	}
	link := a.bridge
	if a.Conf.Access != 0 {
		var err error
		if link, _, err = a.host.EnsureVLANGateway(ctx, a.bridge, a.Conf.Access, max(a.Conf.MTU, 0)); err != nil {
			return err
		}
		a.gatewayLink = link
	}
	gateways, is4, is6 := gatewaysOf(a.result.IPs)
	if _, err := a.host.EnsureGateways(ctx, link, gateways, a.Conf.ForceAddress); err != nil {
		return err
	}
	return a.host.SetForwarding(is4, is6)
}

// gatewaysOf returns the addresses that a bridge has as the gateway of others, and
// of which families they are.
func gatewaysOf(ips []types.IP) (gateways []netip.Prefix, is4, is6 bool) {
	for _, ip := range ips {
		if !ip.Gateway.IsValid() {
			continue
		}
		gateways = append(gateways, netip.PrefixFrom(ip.Gateway, ip.Address.Bits()))
		is4, is6 = is4 || ip.Gateway.Is4(), is6 || ip.Gateway.Is6()
	}
	return gateways, is4, is6
}

// filter keeps the container from sending with the address of another.
func (a *attachment) filter(ctx context.Context) error {
	if !a.Conf.MACSpoofCheck {
		return nil
	}
	f, err := openFilter(ctx, a.request)
	if err != nil {
		return err
	}
	defer f.Close()
	a.Undo(func(ctx context.Context) error { return removeFilter(ctx, a.request) })
	return f.Ensure(ctx, owner(a.request), a.veth.Host.Index, a.veth.Peer.MAC)
}

// masquerade gives packets that leave the network the address of the host.
func (a *attachment) masquerade(ctx context.Context) error {
	if !a.Conf.IPMasq || len(a.result.IPs) == 0 {
		return nil
	}
	m, err := openMasquerade(ctx, a.request)
	if err != nil {
		return err
	}
	defer m.Close()
	a.Undo(func(ctx context.Context) error { return removeMasquerade(ctx, a.request) })
	return m.Ensure(ctx, owner(a.request), addresses(a.result.IPs))
}

func addresses(ips []types.IP) []netip.Prefix {
	all := make([]netip.Prefix, len(ips))
	for i, ip := range ips {
		all[i] = ip.Address
	}
	return all
}

// configure sets up the container's end, and the host's end last, since packets
// flow from then on.
func (a *attachment) configure(ctx context.Context) error {
	if a.Conf.EnableDAD {
		// Nobody can be asked over a cable that ends in the air.
		if err := a.host.SetUp(ctx, a.veth.Host.Index); err != nil {
			return err
		}
	}
	if !a.Conf.DisableContainerInterface {
		err := a.sandbox.Apply(ctx, a.veth.Peer, a.result.IPs, a.result.Routes, netutil.ApplyConfig{
			DetectDuplicates: a.Conf.EnableDAD,
			Sysctls:          []netutil.Sysctl{{Name: "ipv4/conf/" + a.IfName + "/arp_notify", Value: "1"}},
		})
		if err != nil {
			return err
		}
	}
	return a.host.SetUp(ctx, a.veth.Host.Index)
}

// report returns the result: what was before, and what this plugin added.
func (a *attachment) report() *types.Result {
	own := &types.Result{Routes: a.result.Routes, DNS: a.result.DNS}
	own.AddInterface(types.Interface{Name: a.bridge.Name, MAC: a.bridge.MAC.String()})
	own.AddInterface(types.Interface{Name: a.veth.Host.Name, MAC: a.veth.Host.MAC.String(), MTU: uint32(a.veth.Host.MTU)})
	own.AddInterface(types.Interface{Name: a.IfName, MAC: a.veth.Peer.MAC.String(), MTU: uint32(a.veth.Peer.MTU), Sandbox: a.Netns}, a.result.IPs...)
	if a.gatewayLink != nil {
		own.AddInterface(types.Interface{Name: a.gatewayLink.Name, MAC: a.gatewayLink.MAC.String()})
	}
	if !a.Net.DNS.IsZero() {
		own.DNS = a.Net.DNS
	}
	result := a.PrevResult.Clone()
	result.Merge(own)
	return result
}
