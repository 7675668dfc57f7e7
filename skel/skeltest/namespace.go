// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"net/netip"
)

// linkState is a link of a namespace with what is on it.
type linkState struct {
	name, kind, alias, mac string
	index, mtu             int
	up                     bool
	master                 int
	addrs                  []addrState
	routes                 []routeState
}

type addrState struct {
	prefix    netip.Prefix
	tentative bool
}

type routeState struct {
	dst                          netip.Prefix
	gateway                      netip.Addr
	priority, table, mtu, advmss uint32
	kernel                       bool
}

func (l *linkState) has(p netip.Prefix) bool {
	for _, a := range l.addrs {
		if a.prefix == p {
			return true
		}
	}
	return false
}

// hasDefault reports whether a default route leaves by the link.
func (l *linkState) hasDefault() bool {
	for _, r := range l.routes {
		if r.dst.Bits() == 0 {
			return true
		}
	}
	return false
}
