// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/types"
)

// What ADD of a bridge plugin does in the kernel, after IPAM has answered.
func Example() {
	add := func(ctx context.Context, o netutil.Owner, netns string, ipam *types.Result) (err error) {
		n, err := ns.Open(netns)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, n.Close()) }()
		host, err := netutil.Open(nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, host.Close()) }()
		sandbox, err := netutil.Open(n)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sandbox.Close()) }()

		br, _, err := host.EnsureBridge(ctx, "cni0", netutil.BridgeConfig{})
		if err != nil {
			return err
		}
		var gateways []netip.Prefix
		for _, ip := range ipam.IPs {
			gateways = append(gateways, netip.PrefixFrom(ip.Gateway, ip.Address.Bits()))
		}
		if _, err := host.EnsureGateways(ctx, br, gateways, false); err != nil {
			return err
		}
		veth, _, err := host.EnsureVeth(ctx, netutil.VethConfig{
			Name: o.HostName(), Alias: o.Alias(), Master: br.Index,
			Peer: netutil.VethPeer{NS: n, Name: o.IfName},
		})
		if err != nil {
			return err
		}
		if err := sandbox.Apply(ctx, veth.Peer, ipam.IPs, ipam.Routes, netutil.ApplyConfig{}); err != nil {
			return errors.Join(err, host.DelOwned(ctx, o))
		}
		return host.SetUp(ctx, veth.Host.Index) // last: from here on packets pass
	}
	_ = add
}

// DEL needs neither the sandbox nor what ADD said, only whose link it is.
func ExampleConn_DelOwned() {
	del := func(ctx context.Context, o netutil.Owner) (err error) {
		host, err := netutil.Open(nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, host.Close()) }()
		return host.DelOwned(ctx, o)
	}
	_ = del
}

func ExampleOwner() {
	o := netutil.Owner{Network: "mynet", ContainerID: "c1", IfName: "eth0"}
	fmt.Println(o.HostName())
	fmt.Println(o.Alias())
	// Output:
	// cnikbtuj7obbpfg
	// cnikit:mynet/c1/eth0
}

// A difference says what to look at.
func ExampleMismatchError() {
	var err error = &netutil.MismatchError{
		Object:      "bridge cni0",
		Differences: []netutil.Difference{{What: "mtu", Have: "1500", Want: "9000"}},
	}
	if m := new(netutil.MismatchError); errors.As(err, &m) {
		fmt.Println(m)
	}
	// Output: bridge cni0: mtu is 1500, want 9000
}
