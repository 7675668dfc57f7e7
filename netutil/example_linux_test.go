// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// What ADD of a bridge plugin does in the kernel, after IPAM has answered.
func Example() {
	add := func(ctx context.Context, o netutil.Owner, netns string, ipam *types.Result) (err error) {
		ends, err := netutil.OpenEnds(netns)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ends.Close()) }()

		br, _, err := ends.Host.EnsureBridge(ctx, "cni0", netutil.BridgeConfig{})
		if err != nil {
			return err
		}
		var gateways []netip.Prefix
		for _, ip := range ipam.IPs {
			gateways = append(gateways, netip.PrefixFrom(ip.Gateway, ip.Address.Bits()))
		}
		if _, err := ends.Host.EnsureGateways(ctx, br, gateways, false); err != nil {
			return err
		}
		veth, err := ends.AddVeth(ctx, o, netutil.VethConfig{Master: br.Index})
		if err != nil {
			return err
		}
		if err := ends.Sandbox.Apply(ctx, veth.Peer, ipam.IPs, ipam.Routes, netutil.ApplyConfig{}); err != nil {
			return errors.Join(err, ends.Host.DelOwned(ctx, o))
		}
		return ends.Host.SetUp(ctx, veth.Host.Index) // last: from here on packets pass
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
	// vethanjkbtuj7ob
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
