// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"testing"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// A container with a range of ports, as media servers have, needs a transaction larger than
// what a socket takes by default. That is one transaction all the same.
func TestPortMap_many(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.NFTables)
	o, addrs := numbered(1)
	ports := make([]uint16, 1000)
	for i := range ports {
		ports[i] = uint16(20000 + i)
	}
	p := portMap(&container{owner: o, addrs: addrs}, firewall.UDP, ports...)
	if err := h.EnsurePortMap(t.Context(), o, p); err != nil {
		t.Fatal(err)
	}
	if err := h.CheckPortMap(t.Context(), o, p); err != nil {
		t.Error(err)
	}
	if err := h.DelPortMap(t.Context(), o); err != nil {
		t.Error(err)
	}
	if left, err := h.ListPortMap(t.Context(), o.Network); err != nil || len(left) > 0 {
		t.Errorf("%d ports are left, %v; want none", len(left), err)
	}
}
