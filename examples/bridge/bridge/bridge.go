// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"
	"errors"
	"net/netip"
	"time"

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
func cable(r *request, br *netutil.Link) netutil.VethConfig {
	return netutil.VethConfig{
		MTU:    max(r.Conf.MTU, 0),
		Master: br.Index,
		Port:   &netutil.PortConfig{Hairpin: r.Conf.HairpinMode, Isolated: r.Conf.PortIsolation},
	}
}

// An attachment is a container on the bridge, as ADD builds it.
type attachment struct {
	*request
	*netutil.Ends
	ipam        *ipam.Started
	bridge      *netutil.Link
	adopted     bool // the bridge was there before
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
	if err := ends.Vacant(ctx, owner(r)); err != nil {
		return nil, err
	}
	// The IPAM plugin comes up while the veth is made.
	a := &attachment{request: r, Ends: ends, ipam: ipam.Start(ctx, r.Call, r.Conf.IPAM.Type)}
	defer a.ipam.Abandon()
	for _, step := range []func(context.Context) error{
		a.plug,
		a.tag,
		a.address,
		a.gateway,
		a.look,
		a.filter,
		a.masquerade,
		a.configure,
	} {
		if err := step(ctx); err != nil {
			return nil, coded(err)
		}
	}
	return a.report(), nil
}

// coded returns err with the code for what the configuration cannot have: ERR-015.
func coded(err error) error {
	if errors.Is(err, netutil.ErrUnfit) {
		return types.NewError(types.ErrInvalidNetworkConfig, err.Error(), nil)
	}
	return err
}

// plug makes the bridge, if it is the first container, and the veth.
func (a *attachment) plug(ctx context.Context) (err error) {
	address, err := mac(a.request)
	if err != nil {
		return err
	}
	var made bool
	if a.bridge, made, err = a.Host.EnsureBridge(ctx, a.Conf.bridge(), a.Conf.bridgeConfig()); err != nil {
		return err
	}
	a.adopted = !made
	o, c := owner(a.request), cable(a.request, a.bridge)
	c.Peer.MAC = address
	if a.veth, err = a.AddVeth(ctx, o, c); errors.Is(err, netutil.ErrBridgeFull) {
		return types.NewError(types.ErrTryAgainLater, "no free port on bridge "+a.bridge.Name, err)
	} else if err != nil {
		return err
	}
	a.Undo(func(ctx context.Context) error { return netutil.Detach(ctx, o, left(a.request)) })
	return nil
}

// tag puts the port into its VLANs.
func (a *attachment) tag(ctx context.Context) error {
	if !a.Conf.VLANs.wanted() {
		return nil
	}
	return a.Host.SetPortVLANs(ctx, a.veth.Host.Index, a.Conf.VLANs.port())
}

// address asks the IPAM plugin for addresses and routes.
func (a *attachment) address(context.Context) (err error) {
	if a.result, err = a.ipam.Finish(); err != nil {
		return err
	}
	a.Undo(a.ipam.Undo)
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
	gateways := gatewaysOf(a.result.IPs)
	if _, err := a.Host.EnsureGateways(ctx, link, gateways, a.Conf.ForceAddress); err != nil {
		return err
	}
	return a.Host.SetForwarding(gateways...)
}

// look reads a bridge again that another made, whose hardware address may change with
// its ports.
func (a *attachment) look(ctx context.Context) (err error) {
	if a.adopted {
		a.bridge, err = a.Host.LinkByIndex(ctx, a.bridge.Index)
	}
	return err
}

// gatewaysOf returns the addresses that a bridge has as the gateway of others.
func gatewaysOf(ips []types.IP) []netip.Prefix {
	var gateways []netip.Prefix
	for _, ip := range ips {
		if ip.Gateway.IsValid() {
			gateways = append(gateways, netip.PrefixFrom(ip.Gateway, ip.Address.Bits()))
		}
	}
	return gateways
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
		Notify:           true,
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
	own.AddInterface(types.Interface{Name: a.bridge.Name, MAC: a.bridge.MAC.String()}) // its MTU may change
	own.AddInterface(a.veth.Host.Interface(""))
	own.AddInterface(a.veth.Peer.Interface(a.Netns), a.result.IPs...)
	if a.gatewayLink != nil {
		own.AddInterface(a.gatewayLink.Interface(""))
	}
	return a.Extend(own)
}
