// SPDX-License-Identifier: Apache-2.0

package ptp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// ADD-007, C-4, C-19: a second ADD takes nothing back, and two interfaces of a container do
// not touch each other.
func TestTwice(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", `,"ipMasq":true`, "10.1.2.0/24"))
	c := n.Container(t, "c1")
	n.Add(t, network, c)
	before := n.State(t, c)
	if out, exit := n.Exec(t, "ptp", types.CommandAdd, c, request("1.1.0", `,"ipMasq":true`, "10.1.2.0/24")); exit == 0 || !strings.Contains(out, "attached already") {
		t.Errorf("the second ADD = exit %d, %s", exit, out)
	}
	if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
		t.Errorf("the second ADD changed (-before +after):\n%s", diff)
	}
	second := *c
	second.Attachment.IfName = "eth1"
	// Without its default route, of which there is one.
	bare := n.Network(t, strings.ReplaceAll(config("1.1.0", `,"ipMasq":true`, "10.1.3.0/24"), `,"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.99.0.0/16","mtu":1400}]`, ""))
	n.Add(t, bare, &second)
	if err := n.Runtime.Del(ctx, bare, second.Attachment); err != nil {
		t.Errorf("DEL of eth1: %v", err)
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK of eth0: %v", err)
	}
}

// C-6, C-9, C-32: a DEL whose IPAM plugin fails has removed the cable before, and tells the
// plugin's own code.
func TestDelRetry(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.Script(t, "fake", `cat >/dev/null
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"}]}' ;;
DEL) echo '{"code":123,"msg":"the database is down"}'; exit 1 ;;
esac
`)
	c := n.Container(t, "c1")
	request := `{"cniVersion":"1.1.0","name":"net","type":"ptp","ipMasq":true,"ipam":{"type":"fake"}}`
	if out, exit := n.Exec(t, "ptp", types.CommandAdd, c, request); exit != 0 {
		t.Fatalf("ADD: %s", out)
	}
	if out, exit := n.Exec(t, "ptp", types.CommandDel, c, request); exit == 0 || !strings.Contains(out, `"code":123`) {
		t.Errorf("DEL = exit %d, %s, want code 123", exit, out)
	}
	if links := plugintest.Links(t, c.NS); len(links) != 0 {
		t.Errorf("links after the DEL that failed = %+v", links)
	}
	if rules := string(n.Host.Output(t, "nft", "list", "ruleset")); strings.Contains(rules, "10.1.2.2") {
		t.Errorf("rules after the DEL that failed:\n%s", rules)
	}
}

// The configuration of the README, by all commands of a runtime.
func TestExample(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network, c := n.File(t, "../testdata/10-pods.conflist"), n.Container(t, "c1")
	if err := n.Runtime.Status(ctx, network); err != nil {
		t.Errorf("STATUS: %v", err)
	}
	if got := n.Add(t, network, c).IPs[0].Address.String(); got != "10.22.0.2/16" {
		t.Errorf("address = %s, want 10.22.0.2/16", got)
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	if err := n.Runtime.GC(ctx, network, []types.Attachment{{ContainerID: "c1", IfName: "eth0"}}); err != nil {
		t.Errorf("GC: %v", err)
	}
	if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
		t.Errorf("DEL: %v", err)
	}
	if left := n.Reservations(t, "pods"); len(left) != 0 {
		t.Errorf("reservations after DEL = %q", left)
	}
}
