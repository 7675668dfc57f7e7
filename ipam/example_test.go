// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// An interface plugin that gets its addresses from the IPAM plugin of the
// configuration.
func ExampleAdd() {
	type Conf struct{}
	_ = skel.Plugin[Conf]{
		Add: func(ctx context.Context, r *skel.Request[Conf]) (*types.Result, error) {
			result, err := ipam.Add(ctx, r.Call, r.Net.IPAM.Type)
			if err != nil {
				return nil, err
			}
			r.Undo(func(ctx context.Context) error { return ipam.Del(ctx, r.Call, r.Net.IPAM.Type) })
			// Make the interface, and give it result.IPs and result.Routes.
			return result, nil
		},
	}
}

// A plugin that wraps another one changes the copy of its call.
func ExampleDelegate() {
	wrap := func(ctx context.Context, call types.Call, config []byte) (*types.Result, error) {
		call.Stdin = config
		call.Environ = ipam.Setenv(call.Environ, "CNI_IFNAME", "net1")
		return ipam.Delegate(ctx, call, "bridge")
	}
	_, err := wrap(context.Background(), types.Call{Command: types.CommandAdd, Path: []string{"/no/such/dir"}}, nil)
	fmt.Println(err)
	// Output: plugin bridge is not installed: not in CNI_PATH /no/such/dir
}

// Addresses from two pools: one address from each.
func ExampleAllocator() {
	sets, err := ipam.NewRangeSets([][]types.IPRange{
		{{Subnet: netip.MustParsePrefix("10.1.2.0/24")}},
		{{Subnet: netip.MustParsePrefix("2001:db8::/64"), RangeStart: netip.MustParseAddr("2001:db8::100")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	a := ipam.Allocator{Store: &ipam.MemoryStore{}, Sets: sets}
	ctx := context.Background()
	for _, id := range []string{"c1", "c2", "c1"} {
		got, err := a.Allocate(ctx, types.Attachment{ContainerID: id, IfName: "eth0"})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(id, got.IPs[0].Address, got.IPs[1].Address, len(got.New))
	}
	// Output:
	// c1 10.1.2.2/24 2001:db8::100/64 2
	// c2 10.1.2.3/24 2001:db8::101/64 2
	// c1 10.1.2.2/24 2001:db8::100/64 0
}
