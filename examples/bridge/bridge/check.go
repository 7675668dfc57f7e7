// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/types"
)

// check compares the attachment with the result of ADD. What other plugins added
// to either is not its business.
func check(ctx context.Context, r *request) error {
	if r.Conf.IPAM.Type != "" {
		if err := ipam.Check(ctx, r.Call, r.Conf.IPAM.Type); err != nil {
			return err
		}
	}
	position, ok := r.PrevResult.ContainerInterface(r.IfName, r.Netns)
	if !ok {
		return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("prevResult: has no interface %s in a sandbox", r.IfName), nil)
	}
	n, err := ns.Open(r.Netns)
	if err != nil {
		return err
	}
	defer n.Close()
	host, err := netutil.Open(nil)
	if err != nil {
		return err
	}
	defer host.Close()
	sandbox, err := netutil.Open(n)
	if err != nil {
		return err
	}
	defer sandbox.Close()
	ips := r.PrevResult.ContainerIPs(r.IfName, r.Netns)
	if !r.Conf.DisableContainerInterface {
		if err := sandbox.Compare(ctx, r.IfName, ips, r.PrevResult.Routes); err != nil {
			return err
		}
	}
	link, err := sandbox.Link(ctx, r.IfName)
	if err != nil {
		return err
	}
	if want := r.PrevResult.Interfaces[position].MAC; want != "" && want != link.MAC.String() {
		return fmt.Errorf("interface %s: hardware address %s, want %s", r.IfName, link.MAC, want)
	}
	port, err := checkHost(ctx, r, host, sandbox, link, ips)
	if err != nil {
		return err
	}
	return checkRules(ctx, r, port, link, ips)
}

// checkHost compares the bridge and the host end of the veth.
func checkHost(ctx context.Context, r *request, host, sandbox *netutil.Conn, link *netutil.Link, ips []types.IP) (*netutil.Link, error) {
	br, err := host.Link(ctx, r.Conf.bridge())
	if err != nil {
		return nil, err
	}
	port, err := sandbox.Peer(ctx, link, host)
	if err != nil {
		return nil, fmt.Errorf("interface %s: host end: %w", r.IfName, err)
	}
	switch {
	case br.Kind != "bridge":
		return nil, fmt.Errorf("link %s: is a %s, want a bridge", br.Name, br.Kind)
	case !br.Up:
		return nil, fmt.Errorf("bridge %s: is down", br.Name)
	case r.Conf.PromiscMode && !br.Promisc:
		return nil, fmt.Errorf("bridge %s: is not promiscuous", br.Name)
	case port.Master != br.Index:
		return nil, fmt.Errorf("link %s: is no port of %s", port.Name, br.Name)
	case !port.Up:
		return nil, fmt.Errorf("link %s: is down", port.Name)
	case port.Port != nil && (port.Port.Hairpin != r.Conf.HairpinMode || port.Port.Isolated != r.Conf.PortIsolation):
		return nil, fmt.Errorf("link %s: hairpin %t and isolated %t, want %t and %t", port.Name,
			port.Port.Hairpin, port.Port.Isolated, r.Conf.HairpinMode, r.Conf.PortIsolation)
	}
	if err := checkVLANs(ctx, r, host, port); err != nil || !r.Conf.gateway() {
		return port, err
	}
	if r.Conf.Access != 0 {
		br, err = host.Link(ctx, netutil.VLANGatewayName(br.Name, r.Conf.Access))
		if err != nil {
			return nil, err
		}
	}
	return port, checkGateways(ctx, host, br, ips)
}

func checkGateways(ctx context.Context, host *netutil.Conn, br *netutil.Link, ips []types.IP) error {
	have, err := host.ListAddrs(ctx, br.Index)
	if err != nil {
		return err
	}
	gateways, _, _ := gatewaysOf(ips)
	for _, want := range gateways {
		if !slices.ContainsFunc(have, func(a netutil.Addr) bool { return a.Prefix == want }) {
			return fmt.Errorf("link %s: gateway address %s is missing", br.Name, want)
		}
	}
	return nil
}

// checkRules compares the firewall. A veth without our mark was made by the plugin
// that cnikit takes the place of, whose rules are not ours to judge.
func checkRules(ctx context.Context, r *request, port, link *netutil.Link, ips []types.IP) error {
	if port.Alias == "" {
		return nil
	}
	var errs []error
	if r.Conf.IPMasq && len(ips) > 0 {
		errs = append(errs, checkMasquerade(ctx, r, addresses(ips)))
	}
	if r.Conf.MACSpoofCheck {
		f, err := openFilter(ctx, r)
		if err != nil {
			return err
		}
		errs = append(errs, f.Check(ctx, owner(r), port.Index, link.MAC), f.Close())
	}
	return errors.Join(errs...)
}

func checkMasquerade(ctx context.Context, r *request, ips []netip.Prefix) error {
	m, err := openMasquerade(ctx, r)
	if err != nil {
		return err
	}
	return errors.Join(m.Check(ctx, owner(r), ips), m.Close())
}
