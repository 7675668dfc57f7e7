// SPDX-License-Identifier: Apache-2.0

package ptp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/types"
)

func sysctl(t *testing.T, in *nstest.NS, name string) string {
	t.Helper()
	return strings.TrimSpace(string(in.Output(t, "cat", "/proc/sys/net/"+name)))
}

// B2: the settings that nodes see. C-34, C-35: nobody waits for detection of duplicates.
// C-41: only the families that have addresses are forwarded.
func TestSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, subnet, forward4, forward6 string }{
		{"IPv4", "10.1.2.0/24", "1", "0"},
		{"IPv6", "fd00:1::/64", "0", "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			text := strings.ReplaceAll(config("1.1.0", "", tt.subnet), `,"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.99.0.0/16","mtu":1400}]`, "")
			network, c := n.Network(t, text), n.Container(t, "c1")
			port := plugintest.FindLink(t, n.Host, n.Add(t, network, c).Interfaces[0].Name)
			if got := sysctl(t, n.Host, "ipv4/ip_forward"); got != tt.forward4 {
				t.Errorf("ip_forward = %s, want %s", got, tt.forward4)
			}
			if got := sysctl(t, n.Host, "ipv6/conf/all/forwarding"); got != tt.forward6 {
				t.Errorf("forwarding of IPv6 = %s, want %s", got, tt.forward6)
			}
			if got := sysctl(t, n.Host, "ipv6/conf/"+port.Name+"/accept_ra"); got != "0" {
				t.Errorf("accept_ra of the host's end = %s, want 0", got)
			}
			if port.MTU != 1500 || port.TxQLen == 0 || port.Master != "" {
				t.Errorf("host's end = %+v, want a cable as the kernel makes it", port)
			}
			if tt.forward6 == "1" {
				if got := sysctl(t, c.NS, "ipv6/conf/eth0/keep_addr_on_down"); got != "1" {
					t.Errorf("keep_addr_on_down = %s, want 1", got)
				}
				for _, in := range []*nstest.NS{n.Host, c.NS} {
					if got := string(in.Output(t, "ip", "-6", "addr", "show", "scope", "global")); !strings.Contains(got, "nodad") {
						t.Errorf("addresses = %s, want nodad", got)
					}
				}
			}
		})
	}
}

// B0: keys in any case, and unknown ones; the configuration's DNS replaces that of the
// IPAM plugin, also by an empty list.
func TestKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ keys, dns string }{
		{`,"MTU":1400,"x":1`, `{"nameservers":["192.0.2.1"]}`},
		{`,"Mtu":1400,"dns":{"nameservers":[]}`, `{}`},
		{`,"mtu":1400,"dns":{"domain":"conf"}`, `{"domain":"conf"}`},
	} {
		t.Run(tt.keys, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			c := n.Container(t, "c1")
			resolv := filepath.Join(n.DataDir, "resolv.conf")
			if err := os.WriteFile(resolv, []byte("nameserver 192.0.2.1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			out, exit := n.Exec(t, "ptp", types.CommandAdd, c, `{"cniVersion":"1.0.0","name":"net","type":"ptp"`+tt.keys+
				`,"ipam":{"type":"host-local","dataDir":"DATADIR","resolvConf":"`+resolv+`","ranges":[[{"subnet":"10.1.2.0/24"}]]}}`)
			var got, want struct{ DNS types.DNS }
			if err := json.Unmarshal([]byte(out), &got); err != nil || exit != 0 {
				t.Fatalf("ADD = exit %d, %s, %v", exit, out, err)
			}
			if err := json.Unmarshal([]byte(`{"dns":`+tt.dns+`}`), &want); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got.DNS) != fmt.Sprint(want.DNS) {
				t.Errorf("dns = %v, want %v", got.DNS, want.DNS)
			}
			if mtu := plugintest.FindLink(t, c.NS, "eth0").MTU; mtu != 1400 {
				t.Errorf("MTU = %d, want 1400", mtu)
			}
		})
	}
}
