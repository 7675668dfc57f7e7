// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// TestPortMap_reference removes the port maps that the reference plugin left for a
// container, of both its backends and both families, and those only: compat B5, part 3. Its
// nftables rules name the container and no network (C-43). Until then CHECK takes them.
func TestPortMap_reference(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ setup, left string }{
		"iptables": {
			setup: `
table ip nat {
	chain CNI-DN-0e9965f3b290e853e3753 { tcp dport 80 dnat to 10.1.2.2:80; }
	chain CNI-SN-0e9965f3b290e853e3753 { masquerade; }
	chain CNI-DN-other { tcp dport 81 dnat to 10.1.2.3:80; }
	chain CNI-HOSTPORT-DNAT { tcp dport 80 jump CNI-DN-0e9965f3b290e853e3753; tcp dport 81 jump CNI-DN-other; }
	chain CNI-HOSTPORT-SNAT { jump CNI-SN-0e9965f3b290e853e3753; }
	chain PREROUTING { type nat hook prerouting priority -100; fib daddr type local jump CNI-HOSTPORT-DNAT; }
}
table ip6 nat {
	chain CNI-DN-0e9965f3b290e853e3753 { tcp dport 80 dnat to [fd00::2]:80; }
	chain CNI-HOSTPORT-DNAT { tcp dport 80 jump CNI-DN-0e9965f3b290e853e3753; }
	chain PREROUTING { type nat hook prerouting priority -100; fib daddr type local jump CNI-HOSTPORT-DNAT; }
}`,
			left: `
table ip nat {
	chain CNI-DN-other { tcp dport 81 dnat to 10.1.2.3:80; }
	chain CNI-HOSTPORT-DNAT { tcp dport 81 jump CNI-DN-other; }
	chain CNI-HOSTPORT-SNAT { }
	chain PREROUTING { type nat hook prerouting priority -100; fib daddr type local jump CNI-HOSTPORT-DNAT; }
}
table ip6 nat {
	chain CNI-HOSTPORT-DNAT { }
	chain PREROUTING { type nat hook prerouting priority -100; fib daddr type local jump CNI-HOSTPORT-DNAT; }
}`,
		},
		"nftables": {
			setup: `
table ip cni_hostport {
	comment "CNI portmap plugin"
	chain hostports { tcp dport 80 dnat to 10.1.2.2:80 comment "c1"
		tcp dport 81 dnat to 10.1.2.3:80 comment "c10"
	}
	chain hostip_hostports { ip daddr 192.0.2.1 tcp dport 82 dnat to 10.1.2.2:80 comment "c1"
	}
	chain prerouting { type nat hook prerouting priority -100; fib daddr type local jump hostports; }
	chain masquerading { type nat hook postrouting priority 100; ip saddr 10.1.2.2 ip daddr 10.1.2.2 masquerade comment "c1"
		ip saddr 10.1.2.3 ip daddr 10.1.2.3 masquerade comment "c10"
	}
}
table ip6 cni_hostport {
	chain hostports { tcp dport 80 dnat to [fd00::2]:80 comment "c1"
	}
	chain masquerading { type nat hook postrouting priority 100; ip6 saddr fd00::2 ip6 daddr fd00::2 masquerade comment "c1"
	}
}`,
			left: `
table ip cni_hostport {
	comment "CNI portmap plugin"
	chain hostports { tcp dport 81 dnat to 10.1.2.3:80 comment "c10"
	}
	chain hostip_hostports { }
	chain prerouting { type nat hook prerouting priority -100; fib daddr type local jump hostports; }
	chain masquerading { type nat hook postrouting priority 100; ip saddr 10.1.2.3 ip daddr 10.1.2.3 masquerade comment "c10"
	}
}
table ip6 cni_hostport {
	chain hostports { }
	chain masquerading { type nat hook postrouting priority 100; }
}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, want := nstest.New(t), nstest.New(t)
			loadRules(t, n, tt.setup)
			loadRules(t, want, tt.left)
			h := open(t, n, firewall.NFTables)
			o := firewall.Owner{Network: "pmnet", ContainerID: "c1", IfName: "eth0"}
			ports := firewall.PortMap{SNAT: true, MarkBit: 13}
			for host, container := range map[string]string{"0.0.0.0:80": "10.1.2.2:80", "[::]:80": "[fd00::2]:80"} {
				ports.Forwards = append(ports.Forwards, firewall.Forward{
					Protocol: firewall.TCP, Host: netip.MustParseAddrPort(host), Container: netip.MustParseAddrPort(container),
				})
			}
			if err := h.CheckPortMap(t.Context(), o, ports); err != nil {
				t.Errorf("CHECK of what the reference plugin mapped: %v", err)
			}
			other := firewall.Owner{Network: "pmnet", ContainerID: "c2", IfName: "eth0"}
			if err := h.CheckPortMap(t.Context(), other, ports); err == nil {
				t.Error("CHECK of a container that it mapped nothing to = nil, want an error")
			}
			for range 2 {
				if err := h.DelPortMap(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(ruleset(t, want), ruleset(t, n)); diff != "" {
					t.Errorf("left behind (-want +got):\n%s", diff)
				}
				if err := h.CheckPortMap(t.Context(), o, ports); err == nil {
					t.Error("CHECK after DEL = nil, want an error")
				}
			}
		})
	}
}
