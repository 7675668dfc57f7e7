// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"
	"errors"
	"net/netip"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// check compares the attachment with the result of ADD, while the IPAM plugin
// compares its part. What other plugins added to either is not its business.
func check(ctx context.Context, r *request) error {
	return ipam.With(ctx, r.Call, r.Conf.IPAM.Type, func(ctx context.Context) error {
		ends, err := netutil.OpenEnds(r.Netns)
		if err != nil {
			return err
		}
		defer ends.Close()
		return compare(ctx, r, ends)
	})
}

func compare(ctx context.Context, r *request, ends *netutil.Ends) error {
	if err := ends.CompareResult(ctx, r.PrevResult, r.IfName, r.Conf.DisableContainerInterface); err != nil {
		return err
	}
	br, err := ends.Host.CompareBridge(ctx, r.Conf.bridge(), r.Conf.bridgeConfig())
	if err != nil {
		return err
	}
	veth, err := ends.CompareVeth(ctx, r.IfName, cable(r, br))
	if err != nil {
		return err
	}
	if r.Conf.VLANs.wanted() {
		if err := ends.Host.ComparePortVLANs(ctx, veth.Host, r.Conf.VLANs.port()); err != nil {
			return err
		}
	}
	ips := r.PrevResult.ContainerIPs(r.IfName, r.Netns)
	if err := compareGateways(ctx, r, ends.Host, br, gatewaysOf(ips)); err != nil {
		return err
	}
	return compareRules(ctx, r, veth, ips)
}

// compareGateways compares the addresses of the bridge, or of its link in the VLAN.
func compareGateways(ctx context.Context, r *request, host *netutil.Conn, br *netutil.Link, gateways []netip.Prefix) (err error) {
	if !r.Conf.gateway() {
		return nil
	}
	if r.Conf.Access != 0 {
		if br, err = host.Link(ctx, netutil.VLANGatewayName(br.Name, r.Conf.Access)); err != nil {
			return err
		}
	}
	if err := host.CompareAddrs(ctx, br, gateways...); err != nil {
		return err
	}
	return host.CompareForwarding(gateways...)
}

// compareRules compares the firewall. A veth without our mark was made by the plugin
// that cnikit takes the place of, whose rules are not ours to judge.
func compareRules(ctx context.Context, r *request, veth *netutil.Veth, ips []types.IP) error {
	if veth.Host.Alias == "" {
		return nil
	}
	var errs []error
	if r.Conf.IPMasq && len(ips) > 0 {
		errs = append(errs, netutil.CheckMasquerade(ctx, owner(r), ips, firewall(r)))
	}
	if r.Conf.MACSpoofCheck {
		errs = append(errs, netutil.CheckSpoofFilter(ctx, owner(r), veth.Host.Index, veth.Peer.MAC, firewall(r)))
	}
	return errors.Join(errs...)
}
