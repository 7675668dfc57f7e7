// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// check compares the attachment with the result of ADD, while the IPAM plugin
// compares its part. What other plugins added to either is not its business.
func check(ctx context.Context, r *request) error {
	if r.Conf.IPAM.Type == "" {
		return checkLink(ctx, r)
	}
	delegate := ipam.Start(ctx, r.Call, r.Conf.IPAM.Type)
	delegate.Release()
	err := checkLink(ctx, r)
	_, ipamErr := delegate.Finish()
	return errors.Join(ipamErr, err)
}

func checkLink(ctx context.Context, r *request) error {
	ends, err := netutil.OpenEnds(r.Netns)
	if err != nil {
		return err
	}
	defer ends.Close()
	veth, ips, err := ends.Compare(ctx, r.PrevResult, r.IfName, r.Netns, r.Conf.DisableContainerInterface)
	if err != nil {
		return err
	}
	if err := checkHost(ctx, r, ends.Host, veth.Host, ips); err != nil {
		return err
	}
	return checkRules(ctx, r, veth, ips)
}

// checkHost compares the bridge and the host end of the veth.
func checkHost(ctx context.Context, r *request, host *netutil.Conn, port *netutil.Link, ips []types.IP) error {
	br, err := host.Link(ctx, r.Conf.bridge())
	if err != nil {
		return err
	}
	switch {
	case br.Kind != "bridge":
		return fmt.Errorf("link %s: is a %s, want a bridge", br.Name, br.Kind)
	case !br.Up:
		return fmt.Errorf("bridge %s: is down", br.Name)
	case r.Conf.PromiscMode && !br.Promisc:
		return fmt.Errorf("bridge %s: is not promiscuous", br.Name)
	case port.Master != br.Index:
		return fmt.Errorf("link %s: is no port of %s", port.Name, br.Name)
	case !port.Up:
		return fmt.Errorf("link %s: is down", port.Name)
	case r.Conf.MTU > 0 && port.MTU != r.Conf.MTU:
		return fmt.Errorf("link %s: mtu %d, want %d", port.Name, port.MTU, r.Conf.MTU)
	case port.Port != nil && (port.Port.Hairpin != r.Conf.HairpinMode || port.Port.Isolated != r.Conf.PortIsolation):
		return fmt.Errorf("link %s: hairpin %t and isolated %t, want %t and %t", port.Name,
			port.Port.Hairpin, port.Port.Isolated, r.Conf.HairpinMode, r.Conf.PortIsolation)
	}
	if err := host.CompareSysctl(netutil.Sysctl{Name: "ipv6/conf/" + port.Name + "/accept_ra", Value: "0"}); err != nil {
		return err
	}
	if err := checkVLANs(ctx, r, host, port); err != nil || !r.Conf.gateway() {
		return err
	}
	if r.Conf.Access != 0 {
		br, err = host.Link(ctx, netutil.VLANGatewayName(br.Name, r.Conf.Access))
		if err != nil {
			return err
		}
	}
	gateways, is4, is6 := gatewaysOf(ips)
	if err := host.CompareAddrs(ctx, br, gateways...); err != nil {
		return err
	}
	return host.CompareForwarding(is4, is6)
}

// checkRules compares the firewall. A veth without our mark was made by the plugin
// that cnikit takes the place of, whose rules are not ours to judge.
func checkRules(ctx context.Context, r *request, veth *netutil.Veth, ips []types.IP) error {
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
