// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ptp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
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
	switch c.IPMasqBackend {
	case "", netutil.NFTables, netutil.IPTables:
		return nil
	}
	return fmt.Errorf("ipMasqBackend: %q is not valid; want %q or %q", c.IPMasqBackend, netutil.NFTables, netutil.IPTables)
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

// ends are both sides of a cable.
type ends struct {
	sandboxNS     *ns.NS
	host, sandbox *netutil.Conn
}

func open(r *request) (e *ends, err error) {
	e = &ends{}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	if e.sandboxNS, err = ns.Open(r.Netns); err != nil {
		return e, err
	}
	if e.host, err = netutil.Open(nil); err != nil {
		return e, err
	}
	e.sandbox, err = netutil.Open(e.sandboxNS)
	return e, err
}

func (e *ends) close() {
	if e.sandbox != nil {
		e.sandbox.Close()
	}
	if e.host != nil {
		e.host.Close()
	}
	if e.sandboxNS != nil {
		e.sandboxNS.Close()
	}
}

func add(ctx context.Context, r *request) (*types.Result, error) {
	e, err := open(r)
	if err != nil {
		return nil, err
	}
	defer e.close()
	o := owner(r)
	veth, created, err := e.host.EnsureVeth(ctx, netutil.VethConfig{
		Name:  o.HostName(),
		Alias: o.Alias(),
		MTU:   max(r.Conf.MTU, 0),
		Peer:  netutil.VethPeer{NS: e.sandboxNS, Name: r.IfName},
	})
	if err != nil {
		return nil, err
	}
	if !created {
		return nil, fmt.Errorf("interface %s: the container is attached already", r.IfName)
	}
	// The undoing may come when this function has returned.
	r.Undo(func(ctx context.Context) error { return unplug(ctx, r) })

	result, err := ipam.Add(ctx, r.Call, r.Conf.IPAM.Type)
	if err != nil {
		return nil, err
	}
	r.Undo(func(ctx context.Context) error { return ipam.Del(ctx, r.Call, r.Conf.IPAM.Type) })
	for i, ip := range result.IPs {
		if !ip.Gateway.IsValid() {
			return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("ips[%d].gateway: the IPAM plugin gave none for %s, and a point-to-point link needs one", i, ip.Address), nil)
		}
	}
	if r.Conf.IPMasq {
		if err := masquerade(ctx, r, result.IPs); err != nil {
			return nil, err
		}
	}
	if err := e.configure(ctx, veth, result); err != nil {
		return nil, err
	}
	return report(r, veth, result), nil
}

func masquerade(ctx context.Context, r *request, ips []types.IP) error {
	m, err := netutil.OpenMasquerade(ctx, firewall(r))
	if err != nil {
		return err
	}
	defer m.Close()
	r.Undo(func(ctx context.Context) error { return removeMasquerade(ctx, r) })
	return m.Ensure(ctx, owner(r), addresses(ips))
}

func addresses(ips []types.IP) []netip.Prefix {
	all := make([]netip.Prefix, len(ips))
	for i, ip := range ips {
		all[i] = ip.Address
	}
	return all
}

// single is the prefix of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// configure gives both ends their addresses and routes. The host's end is set up
// last: from then on packets flow.
func (e *ends) configure(ctx context.Context, veth *netutil.Veth, result *types.Result) error {
	if err := e.configureSandbox(ctx, veth.Peer, result); err != nil {
		return err
	}
	is4, is6 := false, false
	for _, ip := range result.IPs {
		is4, is6 = is4 || ip.Gateway.Is4(), is6 || ip.Gateway.Is6()
		if _, err := e.host.EnsureAddr(ctx, veth.Host.Index, single(ip.Gateway), netutil.AddrConfig{}); err != nil {
			return err
		}
	}
	if err := e.host.SetForwarding(is4, is6); err != nil {
		return err
	}
	if err := e.host.SetUp(ctx, veth.Host.Index); err != nil {
		return err
	}
	for _, ip := range result.IPs {
		if err := e.host.SetRoute(ctx, hostRoute(veth.Host.Index, ip)); err != nil {
			return err
		}
	}
	return nil
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
func (e *ends) configureSandbox(ctx context.Context, link *netutil.Link, result *types.Result) error {
	cfg := netutil.ApplyConfig{NoPrefixRoute: true}
	if err := e.sandbox.Apply(ctx, link, result.IPs, nil, cfg); err != nil {
		return err
	}
	for _, ip := range result.IPs {
		for _, route := range gatewayRoutes(link.Index, ip) {
			if _, err := e.sandbox.EnsureRoute(ctx, route); err != nil {
				return err
			}
		}
	}
	return e.sandbox.Apply(ctx, link, result.IPs, result.Routes, cfg)
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
	own.AddInterface(types.Interface{Name: veth.Host.Name, MAC: veth.Host.MAC.String(), MTU: uint32(veth.Host.MTU)})
	own.AddInterface(types.Interface{Name: r.IfName, MAC: veth.Peer.MAC.String(), MTU: uint32(veth.Peer.MTU), Sandbox: r.Netns}, result.IPs...)
	if !r.Net.DNS.IsZero() {
		own.DNS = r.Net.DNS
	}
	all := r.PrevResult.Clone()
	all.Merge(own)
	return all
}

// del removes the link and the rules at once, since the kernel makes each of them
// wait, and gives the address back last: until then nobody else may get it.
func del(ctx context.Context, r *request) error {
	var unplugged, removed error
	var both sync.WaitGroup
	both.Go(func() { unplugged = unplug(ctx, r) })
	both.Go(func() { removed = removeMasquerade(ctx, r) })
	both.Wait()
	err := errors.Join(unplugged, removed)
	if r.Conf.IPAM.Type == "" {
		return err
	}
	return errors.Join(err, ipam.Del(ctx, r.Call, r.Conf.IPAM.Type))
}

// unplug removes the veth, found by the mark on its host end. One without any mark,
// whose other end is on this host, was made by the ptp plugin that cnikit takes
// the place of.
func unplug(ctx context.Context, r *request) error {
	host, err := netutil.Open(nil)
	if err != nil {
		return err
	}
	defer host.Close()
	if err := host.DelOwned(ctx, owner(r)); err != nil || r.Netns == "" {
		return err
	}
	return unplugUnmarked(ctx, r, host)
}

func unplugUnmarked(ctx context.Context, r *request, host *netutil.Conn) error {
	e, err := open(r)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ns.ErrNotNamespace) {
		return nil
	}
	if err != nil {
		return err
	}
	defer e.close()
	port, err := e.hostEnd(ctx, r.IfName)
	if errors.Is(err, fs.ErrNotExist) || err == nil && port.Alias != "" {
		return nil
	}
	if err != nil {
		return err
	}
	return host.DelLink(ctx, port.Name, "veth")
}

// hostEnd returns the host's end of the veth that a container has by some name. The
// error is fs.ErrNotExist if the container has no such veth, or its other end is
// elsewhere.
func (e *ends) hostEnd(ctx context.Context, name string) (*netutil.Link, error) {
	link, err := e.sandbox.Link(ctx, name)
	if err != nil {
		return nil, err
	}
	if link.Kind != "veth" {
		return nil, fmt.Errorf("link %s: is a %q, not a veth: %w", name, link.Kind, fs.ErrNotExist)
	}
	return e.sandbox.Peer(ctx, link, e.host)
}

func removeMasquerade(ctx context.Context, r *request) error {
	m, err := netutil.OpenMasquerade(ctx, firewall(r))
	if errors.Is(err, errors.ErrUnsupported) {
		return nil // nor can there be anything to remove
	}
	if err != nil {
		return err
	}
	return errors.Join(m.Del(ctx, owner(r)), m.Close())
}

// gc removes what bears the mark of an attachment of this network that is not
// valid any more.
func gc(ctx context.Context, r *request) error {
	keep := make([]netutil.Owner, 0, len(r.ValidAttachments))
	for _, a := range r.ValidAttachments {
		keep = append(keep, netutil.Owner{Network: r.Net.Name, ContainerID: a.ContainerID, IfName: a.IfName})
	}
	err := errors.Join(collectLinks(ctx, r, keep), collectRules(ctx, r, keep))
	if r.Conf.IPAM.Type == "" {
		return err
	}
	return errors.Join(err, ipam.GC(ctx, r.Call, r.Conf.IPAM.Type))
}

func collectLinks(ctx context.Context, r *request, keep []netutil.Owner) error {
	host, err := netutil.Open(nil)
	if err != nil {
		return err
	}
	defer host.Close()
	return host.CollectOwned(ctx, r.Net.Name, keep)
}

func collectRules(ctx context.Context, r *request, keep []netutil.Owner) error {
	m, err := netutil.OpenMasquerade(ctx, firewall(r))
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(m.Collect(ctx, r.Net.Name, keep), m.Close())
}

func status(ctx context.Context, r *request) error {
	if r.Conf.IPMasq {
		m, err := netutil.OpenMasquerade(ctx, firewall(r))
		if err != nil {
			return types.NewError(types.ErrPluginNotAvailable, "ipMasq: the host cannot masquerade", err)
		}
		if err := m.Close(); err != nil {
			return err
		}
	}
	return ipam.Status(ctx, r.Call, r.Conf.IPAM.Type)
}
