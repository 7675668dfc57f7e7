// SPDX-License-Identifier: Apache-2.0

package bridge_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/types"
)

// sysctl reads a setting of a namespace, by its path below /proc/sys/net.
func sysctl(t *testing.T, in *nstest.NS, name string) string {
	t.Helper()
	return strings.TrimSpace(string(in.Output(t, "cat", "/proc/sys/net/"+name)))
}

// attached is a container that ADD has attached.
type attached struct {
	n        *plugintest.Node
	c        *plugintest.Container
	result   *types.Result
	br, port plugintest.Link
	eth0     plugintest.Link
}

func attach(t *testing.T, n *plugintest.Node, network *types.Network, id string) attached {
	t.Helper()
	a := attached{n: n, c: n.Container(t, id)}
	a.result = n.Add(t, network, a.c)
	a.br = plugintest.FindLink(t, n.Host, a.result.Interfaces[0].Name)
	a.port = plugintest.FindLink(t, n.Host, a.result.Interfaces[1].Name)
	a.eth0 = plugintest.FindLink(t, a.c.NS, "eth0")
	return a
}

// Each key of B1 does what nodes rely on, as ip and the files of /proc show it, and CHECK
// agrees.
func TestKeys(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		keys    string
		subnets []string
		check   func(t *testing.T, a attached)
	}{
		{"defaults", "", []string{subnet4}, func(t *testing.T, a attached) {
			port := a.port.Info.Data
			if port.Hairpin || port.Isolated || a.br.Promisc != 0 || a.port.MTU != 1500 || a.br.MTU != 1500 || a.port.TxQLen == 0 {
				t.Errorf("bridge %+v, port %+v", a.br, a.port)
			}
			if len(a.br.Addresses()) != 0 {
				t.Errorf("addresses of br0 without isGateway = %q, want none", a.br.Addresses())
			}
			for in, want := range map[string]string{
				"ipv4/ip_forward":                         "0", // C-41: it is switched on for gateways only
				"ipv6/conf/" + a.port.Name + "/accept_ra": "0",
				"ipv6/conf/br0/accept_ra":                 "0",
			} {
				if got := sysctl(t, a.n.Host, in); got != want {
					t.Errorf("%s on the host = %s, want %s", in, got, want)
				}
			}
			if got := sysctl(t, a.c.NS, "ipv4/conf/eth0/arp_notify"); got != "1" {
				t.Errorf("arp_notify = %s, want 1", got)
			}
		}},
		{"isGateway", `,"isGateway":true`, []string{subnet4}, func(t *testing.T, a attached) {
			if sysctl(t, a.n.Host, "ipv4/ip_forward") != "1" || sysctl(t, a.n.Host, "ipv6/conf/all/forwarding") != "0" {
				t.Error("want forwarding of IPv4 and not of IPv6")
			}
			if got := plugintest.Routes(t, a.c.NS); len(got) != 1 {
				t.Errorf("routes = %q, want that of the subnet", got)
			}
		}},
		{"isGateway, IPv6", `,"isGateway":true`, []string{subnet6}, func(t *testing.T, a attached) {
			if sysctl(t, a.n.Host, "ipv4/ip_forward") != "0" || sysctl(t, a.n.Host, "ipv6/conf/all/forwarding") != "1" {
				t.Error("want forwarding of IPv6 and not of IPv4")
			}
		}},
		{"several subnets of IPv6", `,"isDefaultGateway":true`, []string{subnet6, "fd00:2::/64"}, func(t *testing.T, a attached) {
			if got := a.br.Addresses(); !slices.Equal(got, []string{"fd00:1::1/64", "fd00:2::1/64"}) {
				t.Errorf("addresses of br0 = %q", got)
			}
			if got := a.eth0.Addresses(); !slices.Equal(got, []string{"fd00:1::2/64", "fd00:2::2/64"}) {
				t.Errorf("addresses of eth0 = %q", got)
			}
		}},
		// C-34: neither the container nor the gateway waits for detection of duplicates.
		{"without enabledad", `,"isGateway":true`, []string{subnet6}, func(t *testing.T, a attached) {
			for _, in := range []*nstest.NS{a.c.NS, a.n.Host} {
				if got := string(in.Output(t, "ip", "-6", "addr", "show", "scope", "global")); !strings.Contains(got, "nodad") || strings.Contains(got, "tentative") {
					t.Errorf("addresses = %s, want nodad", got)
				}
			}
		}},
		// C-35: who asks for it gets it, and addresses that can be used.
		{"enabledad", `,"isGateway":true,"enabledad":true`, []string{subnet6}, func(t *testing.T, a attached) {
			if got := string(a.c.Output(t, "ip", "-6", "addr", "show", "scope", "global")); strings.Contains(got, "nodad") || strings.Contains(got, "tentative") {
				t.Errorf("addresses = %s, want detection of duplicates, over", got)
			}
		}},
		{"mtu", `,"mtu":9000`, []string{subnet4}, func(t *testing.T, a attached) {
			if a.br.MTU != 9000 || a.port.MTU != 9000 || a.eth0.MTU != 9000 {
				t.Errorf("MTU of bridge, port and container = %d, %d, %d, want 9000", a.br.MTU, a.port.MTU, a.eth0.MTU)
			}
			if a.result.Interfaces[1].MTU != 9000 || a.result.Interfaces[2].MTU != 9000 {
				t.Errorf("interfaces = %+v, want MTU 9000", a.result.Interfaces)
			}
		}},
		{"negative mtu", `,"mtu":-1`, []string{subnet4}, func(t *testing.T, a attached) {
			if a.port.MTU != 1500 || a.eth0.MTU != 1500 {
				t.Errorf("MTU = %d and %d, want 1500", a.port.MTU, a.eth0.MTU)
			}
		}},
		{"hairpinMode", `,"hairpinMode":true`, []string{subnet4}, func(t *testing.T, a attached) {
			if !a.port.Info.Data.Hairpin {
				t.Errorf("port = %+v, want hairpin", a.port)
			}
		}},
		{"portIsolation", `,"portIsolation":true`, []string{subnet4}, func(t *testing.T, a attached) {
			if !a.port.Info.Data.Isolated {
				t.Errorf("port = %+v, want isolated", a.port)
			}
		}},
		{"promiscMode", `,"promiscMode":true`, []string{subnet4}, func(t *testing.T, a attached) {
			if a.br.Promisc == 0 {
				t.Errorf("bridge = %+v, want promiscuous", a.br)
			}
			// C-26: somebody who captures packets does not change the answer.
			a.n.Host.Output(t, "ip", "link", "set", a.port.Name, "promisc", "on")
		}},
		{"disableContainerInterface", `,"disableContainerInterface":true`, nil, func(t *testing.T, a attached) {
			if a.eth0.Up() || !a.port.Up() {
				t.Errorf("container %v, port %v, want the container's end down", a.eth0.Flags, a.port.Flags)
			}
		}},
		{"keys in other case", `,"BRIDGE":"br0","IsGateway":true,"HAIRPINMODE":true,"Mtu":1400,"Args":{"CNI":{"Mac":"02:00:00:00:00:0a"}}`, []string{subnet4}, func(t *testing.T, a attached) {
			if !a.port.Info.Data.Hairpin || a.port.MTU != 1400 || a.eth0.MAC != "02:00:00:00:00:0a" || len(a.br.Addresses()) != 1 {
				t.Errorf("port %+v, container %+v, addresses %q", a.port, a.eth0, a.br.Addresses())
			}
		}},
		{"unknown keys", `,"isGatway":true,"x":{"y":[1]}`, []string{subnet4}, func(*testing.T, attached) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			network := n.Network(t, config("1.1.0", tt.keys, tt.subnets...))
			a := attach(t, n, network, "c1")
			tt.check(t, a)
			if err := n.Runtime.Check(t.Context(), network, a.c.Attachment); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			if err := n.Runtime.Del(t.Context(), network, a.c.Attachment); err != nil {
				t.Errorf("DEL: %v", err)
			}
		})
	}
}

// B0: the configuration's DNS replaces that of the IPAM plugin if it has any
// list at all, also an empty one, or a domain.
func TestDNS(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ dns, want string }{
		{``, `{"nameservers":["192.0.2.1"],"domain":"ipam","search":["ipam.example"]}`},
		{`,"dns":{}`, `{"nameservers":["192.0.2.1"],"domain":"ipam","search":["ipam.example"]}`},
		{`,"dns":null`, `{"nameservers":["192.0.2.1"],"domain":"ipam","search":["ipam.example"]}`},
		{`,"dns":{"domain":"conf"}`, `{"domain":"conf"}`},
		{`,"dns":{"nameservers":["192.0.2.9"]}`, `{"nameservers":["192.0.2.9"]}`},
		{`,"dns":{"nameservers":[]}`, `{}`},
		{`,"dns":{"search":[],"options":[]}`, `{}`},
	} {
		t.Run(tt.dns, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			resolv := filepath.Join(n.DataDir, "resolv.conf")
			if err := os.WriteFile(resolv, []byte("nameserver 192.0.2.1\ndomain ipam\nsearch ipam.example\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			out, exit := n.Exec(t, "bridge", types.CommandAdd, n.Container(t, "c1"), `{"cniVersion":"1.0.0","name":"net","type":"bridge"`+tt.dns+
				`,"ipam":{"type":"host-local","dataDir":"DATADIR","resolvConf":"`+resolv+`","ranges":[[{"subnet":"10.1.2.0/24"}]]}}`)
			var document, want struct{ DNS types.DNS }
			if err := json.Unmarshal([]byte(out), &document); err != nil || exit != 0 {
				t.Fatalf("ADD = exit %d, %s, %v", exit, out, err)
			}
			if err := json.Unmarshal([]byte(`{"dns":`+tt.want+`}`), &want); err != nil {
				t.Fatal(err)
			}
			got, wanted := document.DNS, want.DNS
			if fmt.Sprint(got) != fmt.Sprint(wanted) {
				t.Errorf("dns = %v, want %v", got, wanted)
			}
		})
	}
}

// B1: the bridge's hardware address is the same whoever becomes a port of it later,
// though nobody gave it an address. An index and addresses of an existing bridge stay.
func TestBridgeStays(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]string{"gateway": `,"isGateway":true`, "no gateway": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			network := n.Network(t, config("1.1.0", keys, subnet4))
			first := attach(t, n, network, "c1")
			n.Host.Output(t, "sh", "-ec", "ip link add low address 02:00:00:00:00:01 type veth peer name low2; ip link set low master br0")
			second := attach(t, n, network, "c2")
			if second.br.MAC != first.br.MAC || second.br.Index != first.br.Index {
				t.Errorf("bridge = %+v, before %+v", second.br, first.br)
			}
		})
	}
	t.Run("existing", func(t *testing.T) {
		t.Parallel()
		n := newNode(t)
		n.Host.Output(t, "sh", "-ec", "ip link add br0 type bridge; ip addr add 192.0.2.1/24 dev br0")
		before := plugintest.FindLink(t, n.Host, "br0")
		a := attach(t, n, n.Network(t, config("1.1.0", `,"isGateway":true`, subnet4)), "c1")
		if a.br.Index != before.Index || a.br.MAC != before.MAC || !slices.Equal(a.br.Addresses(), []string{"10.1.2.1/24", "192.0.2.1/24"}) {
			t.Errorf("bridge = %+v, before %+v", a.br, before)
		}
	})
}

// C-38: an existing bridge that cannot carry what is asked for is refused, by a word that
// names it.
func TestBridgeMismatch(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	attach(t, n, n.Network(t, config("1.1.0", `,"mtu":1400`, subnet4)), "c1")
	c := n.Container(t, "c2")
	before := n.State(t, c)
	_, err := n.Runtime.Add(t.Context(), n.Network(t, config("1.1.0", `,"mtu":9000`, subnet4)), c.Attachment)
	if err == nil || !strings.Contains(err.Error(), "bridge br0: mtu is 1400, want 9000") {
		t.Errorf("ADD = %v, want an error that names bridge and MTU", err)
	}
	if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}

// C-4: two interfaces of a container on one network have each their own rules.
func TestTwoInterfaces(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", `,"isGateway":true,"ipMasq":true,"macspoofchk":true`, subnet4))
	c := n.Container(t, "c1")
	second := *c
	second.Attachment.IfName = "eth1"
	n.Add(t, network, c)
	n.Add(t, network, &second)
	if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
		t.Errorf("DEL of eth0: %v", err)
	}
	if err := n.Runtime.Check(ctx, network, second.Attachment); err != nil {
		t.Errorf("CHECK of eth1: %v", err)
	}
	if err := n.Runtime.Del(ctx, network, second.Attachment); err != nil {
		t.Errorf("DEL of eth1: %v", err)
	}
	if rules := n.Ruleset(t); strings.Contains(rules, "10.1.2.") && strings.Contains(rules, "c1") {
		t.Errorf("rules left behind:\n%s", rules)
	}
}

// C-32, DLG-008: an exhausted pool is code 11, as the IPAM plugin says it.
func TestCodes(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	network := n.Network(t, config("1.1.0", "", "10.1.2.0/30"))
	n.Add(t, network, n.Container(t, "c1"))
	c := n.Container(t, "c2")
	before := n.State(t, c)
	request := strings.TrimSuffix(strings.Replace(config("1.1.0", "", "10.1.2.0/30"), `"plugins":[{`, "", 1), "]}")
	if out, exit := n.Exec(t, "bridge", types.CommandAdd, c, request); exit == 0 || !strings.Contains(out, `"code":11`) {
		t.Errorf("ADD without a free address = exit %d, %s; want code 11", exit, out)
	}
	if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
		t.Errorf("left behind, C-1 (-before +after):\n%s", diff)
	}
}

// C-56, ADD-026: a runtime that loses patience sends SIGTERM, and ADD takes back what it
// did.
func TestTerminated(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.Script(t, "slow", `cat >/dev/null
echo $CNI_COMMAND >>`+n.DataDir+`/log
if [ $CNI_COMMAND = ADD ]; then exec sleep 60; fi
`)
	n.Add(t, n.Network(t, config("1.1.0", `,"isGateway":true`, subnet4)), n.Container(t, "other"))
	c := n.Container(t, "c1")
	log := filepath.Join(n.DataDir, "log")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := n.State(t, c)
	cmd := exec.Command(filepath.Join(n.Runtime.Path[0], "bridge"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_PATH="+n.Runtime.Path[0], "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS="+c.Path())
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","ipam":{"type":"slow"}}`)
	var out strings.Builder
	cmd.Stdout = &out
	if err := n.Host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if got, err := os.ReadFile(log); err == nil && string(got) == "ADD\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the IPAM plugin was not asked")
		}
	}
	if len(plugintest.Links(t, c.NS)) != 1 {
		t.Error("there is no eth0 yet, so that nothing is shown")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out.String(), `"code":11`) {
		t.Errorf("ADD after SIGTERM: %v, %s; want exit status 1 and code 11", err, out.String())
	}
	if got, err := os.ReadFile(log); err != nil || string(got) != "ADD\nDEL\n" {
		t.Errorf("the IPAM plugin saw %q, %v, want ADD and then DEL", got, err)
	}
	if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}

// Neighbours that remember the last container with an address learn of the new one when
// ADD returns, not when their memory fades.
func TestReusedAddress(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	nstest.NeedSysctl(t, n.Host)
	network := n.Network(t, config("1.1.0", `,"isGateway":true`, subnet4, subnet6))
	neighbour := attach(t, n, network, "neighbour").c
	c := n.Container(t, "c1")
	addresses := []string{"10.1.2.3", "fd00:1::3"}
	for _, a := range addresses {
		neighbour.Output(t, "ip", "neigh", "replace", a, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale")
		n.Host.Output(t, "ip", "neigh", "replace", a, "lladdr", "02:00:00:00:00:99", "dev", "br0", "nud", "stale")
	}
	result := n.Add(t, network, c)
	for i, a := range addresses {
		if got := result.IPs[i].Address.Addr().String(); got != a {
			t.Fatalf("address = %s, want %s", got, a)
		}
		for in, ns := range map[string]*nstest.NS{"neighbour": neighbour.NS, "host": n.Host} {
			got := ""
			for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				if got = string(ns.Output(t, "ip", "neigh", "show", a)); strings.Contains(got, result.Interfaces[2].MAC) {
					break
				}
			}
			if !strings.Contains(got, result.Interfaces[2].MAC) {
				t.Errorf("the %s knows %q of %s, want %s", in, got, a, result.Interfaces[2].MAC)
			}
		}
	}
}

// The keys about VLANs, as "bridge vlan" shows the port. C-57: CHECK sees one that is gone.
func TestVLANKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, keys string
		want       []string // number, and p for PVID and u for untagged
		del        string   // a VLAN to take the port out of; CHECK tells
	}{
		{"access", `,"vlan":100`, []string{"100pu"}, "100"},
		{"access and the default one", `,"vlan":100,"preserveDefaultVlan":true`, []string{"1u", "100pu"}, "100"},
		{"trunk", `,"vlanTrunk":[{"id":200},{"minID":300,"maxID":301}]`, []string{"1pu", "200", "300", "301"}, "301"},
		{"access in the trunk", `,"vlan":100,"vlanTrunk":[{"minID":99,"maxID":101}]`, []string{"99", "100pu", "101"}, "99"},
		{"empty trunk", `,"vlanTrunk":[]`, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, ctx := newNode(t), t.Context()
			network, c := n.Network(t, config("1.1.0", tt.keys, subnet4)), n.Container(t, "c1")
			result, err := n.Runtime.Add(ctx, network, c.Attachment)
			if err != nil && strings.Contains(err.Error(), "vlan filtering: operation not supported") {
				nstest.Lacks(t, "bridge VLAN filtering", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			port := result.Interfaces[1].Name
			if got := portVLANs(t, n, port); tt.want != nil && !slices.Equal(got, tt.want) {
				t.Errorf("VLANs of the port = %q, want %q", got, tt.want)
			}
			if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			if tt.del != "" {
				n.Host.Output(t, "bridge", "vlan", "del", "dev", port, "vid", tt.del)
				if err := n.Runtime.Check(ctx, network, c.Attachment); err == nil || !strings.Contains(err.Error(), "vlan "+tt.del+" is missing") {
					t.Errorf("CHECK without VLAN %s = %v, want an error that says so", tt.del, err)
				}
			}
			if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
				t.Errorf("DEL: %v", err)
			}
		})
	}
}

// portVLANs returns the VLANs of a port, one by one.
func portVLANs(t *testing.T, n *plugintest.Node, port string) []string {
	t.Helper()
	var ports []struct {
		VLANs []struct {
			VLAN  int      `json:"vlan"`
			End   int      `json:"vlanEnd"`
			Flags []string `json:"flags"`
		} `json:"vlans"`
	}
	if err := json.Unmarshal(n.Host.Output(t, "bridge", "-j", "vlan", "show", "dev", port), &ports); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range ports {
		for _, v := range p.VLANs {
			for id := v.VLAN; id <= max(v.VLAN, v.End); id++ {
				text := fmt.Sprint(id)
				if slices.Contains(v.Flags, "PVID") {
					text += "p"
				}
				if slices.Contains(v.Flags, "Egress Untagged") {
					text += "u"
				}
				all = append(all, text)
			}
		}
	}
	return all
}
