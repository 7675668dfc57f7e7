// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
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

func firewall(r *request) netutil.FirewallConfig {
	return netutil.FirewallConfig{Backend: r.Conf.IPMasqBackend, Log: r.Log}
}

// left is what DEL and GC look for.
func left(r *request) netutil.DetachConfig {
	return netutil.DetachConfig{Firewall: firewall(r), SpoofFilter: true, Netns: r.Netns, Bridge: r.Conf.bridge()}
}

// An attachment is a container on the bridge, as ADD builds it.
type attachment struct {
	*request
	*netutil.Ends
	ipam        *ipam.Started // nil without an IPAM plugin
	bridge      *netutil.Link
	veth        *netutil.Veth
	gatewayLink *netutil.Link // of the VLAN; nil if the bridge itself is it
	result      *types.Result // of the IPAM plugin; empty without one
}

func add(ctx context.Context, r *request) (*types.Result, error) {
	if r.Conf.IPAM.Type == "" && r.CNIVersion < types.V030 {
		// Before any work: these versions cannot say that there is no address.
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "ipam: required in CNI version "+r.CNIVersion.String()+" and missing", nil)
	}
	ends, err := netutil.OpenEnds(r.Netns)
	if err != nil {
		return nil, err
	}
	defer ends.Close()
	a := &attachment{request: r, Ends: ends, result: &types.Result{}}
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	if a.ipam != nil {
		defer a.ipam.Abandon()
	}
	for _, step := range []func(context.Context) error{
		a.plug,
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

// begin starts the IPAM plugin, which comes up while the veth is made, unless the
// container is attached already: then nothing is to be asked or taken back.
func (a *attachment) begin(ctx context.Context) error {
	if a.Conf.IPAM.Type == "" {
		return nil
	}
	switch l, err := a.Host.Link(ctx, owner(a.request).HostName()); {
	case errors.Is(err, fs.ErrNotExist):
		a.ipam = ipam.Start(ctx, a.Call, a.Conf.IPAM.Type)
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("interface %s: the container is attached already, by %s", a.IfName, l.Name)
	}
}

// plug makes the bridge, if it is the first container, and the veth.
func (a *attachment) plug(ctx context.Context) (err error) {
	c := a.Conf
	address, err := mac(a.request)
	if err != nil {
		return err
	}
	a.bridge, _, err = a.Host.EnsureBridge(ctx, c.bridge(), netutil.BridgeConfig{
		MTU:           max(c.MTU, 0),
		Promisc:       c.PromiscMode,
		VLANFiltering: c.VLANs.wanted(),
	})
	if err != nil {
		return err
	}
	o := owner(a.request)
	veth, created, err := a.Host.EnsureVeth(ctx, netutil.VethConfig{
		Name:   o.HostName(),
		Alias:  o.Alias(),
		MTU:    max(c.MTU, 0),
		Master: a.bridge.Index,
		Port:   &netutil.PortConfig{Hairpin: c.HairpinMode, Isolated: c.PortIsolation},
		Peer:   netutil.VethPeer{NS: a.NS, Name: a.IfName, MAC: address},
	})
	if err != nil {
		return err
	}
	if !created {
		return fmt.Errorf("interface %s: the container is attached already", a.IfName)
	}
	a.Undo(func(ctx context.Context) error { return netutil.Detach(ctx, o, left(a.request)) })
	a.veth = veth
	return nil
}

// address asks the IPAM plugin for addresses and routes.
func (a *attachment) address(ctx context.Context) (err error) {
	if a.ipam == nil {
		return nil
	}
	a.result, err = a.ipam.Finish()
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
		if link, _, err = a.Host.EnsureVLANGateway(ctx, a.bridge, a.Conf.Access, max(a.Conf.MTU, 0)); err != nil {
			return err
		}
		a.gatewayLink = link
	}
	gateways, is4, is6 := gatewaysOf(a.result.IPs)
	if _, err := a.Host.EnsureGateways(ctx, link, gateways, a.Conf.ForceAddress); err != nil {
		return err
	}
	return a.Host.SetForwarding(is4, is6)
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
	return netutil.EnsureSpoofFilter(ctx, owner(a.request), a.veth.Host.Index, a.veth.Peer.MAC, firewall(a.request))
}

// masquerade gives packets that leave the network the address of the host.
func (a *attachment) masquerade(ctx context.Context) error {
	if !a.Conf.IPMasq || len(a.result.IPs) == 0 {
		return nil
	}
	return netutil.EnsureMasquerade(ctx, owner(a.request), a.result.IPs, firewall(a.request))
}

// configure sets up the container's end, and the host's end last, since packets
// flow from then on. Who remembers the last container that had the address is told.
func (a *attachment) configure(ctx context.Context) error {
	if a.Conf.EnableDAD {
		// Nobody can be asked over a cable that ends in the air.
		if err := a.Host.SetUp(ctx, a.veth.Host.Index); err != nil {
			return err
		}
	}
	if a.Conf.DisableContainerInterface {
		return a.Host.SetUp(ctx, a.veth.Host.Index)
	}
	err := a.Sandbox.Apply(ctx, a.veth.Peer, a.result.IPs, a.result.Routes, netutil.ApplyConfig{
		DetectDuplicates: a.Conf.EnableDAD,
		ARPNotify:        true,
	})
	if err != nil {
		return err
	}
	if err := a.Host.SetUp(ctx, a.veth.Host.Index); err != nil {
		return err
	}
	if err := a.WaitRunning(ctx, a.veth); err != nil {
		return err
	}
	return a.Sandbox.Readvertise(ctx, a.veth.Peer)
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
