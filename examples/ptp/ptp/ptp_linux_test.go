// SPDX-License-Identifier: Apache-2.0

package ptp_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/examples/ptp/ptp"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

func TestMain(m *testing.M) { plugintest.Main(m, ptp.Plugin(), hostlocal.Plugin()) }

func newNode(t testing.TB) *plugintest.Node {
	t.Helper()
	return plugintest.NewNode(t, "ptp", "host-local")
}

// request is a request with further keys, and a range of addresses for each
// subnet.
func request(version, keys string, subnets ...string) string {
	var sets []string
	for _, s := range subnets {
		sets = append(sets, `[{"subnet":"`+s+`"}]`)
	}
	return fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"ptp"%s,"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[%s],"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.99.0.0/16","mtu":1400}]}}`,
		version, keys, strings.Join(sets, ","))
}

func config(version, keys string, subnets ...string) string {
	return fmt.Sprintf(`{"cniVersion":%q,"name":"net","plugins":[%s]}`, version, request(version, keys, subnets...))
}

// trim returns lines without the name of the host end, which differs.
func trim(lines []string, port string) []string {
	var all []string
	for _, line := range lines {
		all = append(all, strings.ReplaceAll(line, port, "PORT"))
	}
	return all
}

// What nodes see today, B2 of the compatibility notes: addresses and routes on
// both ends. ADD-001, ADD-010, ADD-019, ADD-022, C-34, CHK-001, DEL-001, DEL-003.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", `,"mtu":1450`, "10.1.2.0/24", "fd00:1::/64"))
	c := n.Container(t, "c1")
	result := n.Add(t, network, c)
	port := result.Interfaces[0].Name
	if diff := cmp.Diff([]string{"10.1.2.1/32", "fd00:1::1/128"}, plugintest.FindLink(t, n.Host, port).Addresses()); diff != "" {
		t.Errorf("addresses of the host end (-want +got):\n%s", diff)
	}
	wantHost := []string{"10.1.2.2 dev PORT scope host", "fd00:1::1 dev PORT proto kernel metric 256 pref medium", "fd00:1::2 dev PORT metric 1024 pref medium"}
	if diff := cmp.Diff(wantHost, trim(plugintest.Routes(t, n.Host), port)); diff != "" {
		t.Errorf("routes of the host (-want +got):\n%s", diff)
	}
	eth0 := plugintest.FindLink(t, c.NS, "eth0")
	if diff := cmp.Diff([]string{"10.1.2.2/24", "fd00:1::2/64"}, eth0.Addresses()); diff != "" || eth0.State != "UP" || eth0.MTU != 1450 {
		t.Errorf("eth0 = %+v, addresses (-want +got):\n%s", eth0, diff)
	}
	want := []string{
		"default via 10.1.2.1 dev eth0",
		"10.1.2.0/24 via 10.1.2.1 dev eth0 src 10.1.2.2",
		"10.1.2.1 dev eth0 scope link src 10.1.2.2",
		"10.99.0.0/16 via 10.1.2.1 dev eth0 mtu 1400",
		"fd00:1::1 dev eth0 src fd00:1::2 metric 1024 pref medium",
		"fd00:1::/64 via fd00:1::1 dev eth0 src fd00:1::2 metric 1024 pref medium",
	}
	if diff := cmp.Diff(want, plugintest.Routes(t, c.NS)); diff != "" {
		t.Errorf("routes of the container (-want +got):\n%s", diff)
	}
	for _, a := range append(eth0.Addrs, plugintest.FindLink(t, n.Host, port).Addrs...) {
		if a.Tentative && a.Scope != "link" {
			t.Errorf("address %s is tentative when ADD returns", a.Local)
		}
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	for range 2 {
		if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
			t.Errorf("DEL: %v", err)
		}
	}
	if left := plugintest.Links(t, n.Host); len(left) != 0 || len(n.Reservations(t, "net")) != 0 || len(plugintest.Routes(t, n.Host)) != 0 {
		t.Errorf("after DEL: links %+v, routes %q, reservations %q", left, plugintest.Routes(t, n.Host), n.Reservations(t, "net"))
	}
}

// VER-012, in every version.
func TestVersions(t *testing.T) {
	t.Parallel()
	for _, v := range types.Versions() {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			n, ctx := newNode(t), t.Context()
			network := n.Network(t, config(v.String(), "", "10.1.2.0/24"))
			c := n.Container(t, "c1")
			n.Add(t, network, c)
			if stdout := n.Runtime.Executions()[0].Stdout; !strings.Contains(string(stdout), `"cniVersion":"`+v.String()+`"`) {
				t.Errorf("result = %s, want version %s", stdout, v)
			}
			if v >= types.V040 {
				if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
					t.Errorf("CHECK: %v", err)
				}
			}
			if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
				t.Errorf("DEL: %v", err)
			}
		})
	}
}

// An address that is a subnet of its own, C-22 as well.
func TestSingleAddress(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	n.Script(t, "fake", `cat >/dev/null
[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/32","gateway":"169.254.1.1"}],"routes":[{"dst":"0.0.0.0/0"}]}'
exit 0
`)
	network := n.Network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"ptp","ipam":{"type":"fake"}}]}`)
	c := n.Container(t, "c1")
	n.Add(t, network, c)
	want := []string{"default via 169.254.1.1 dev eth0 onlink", "169.254.1.1 dev eth0 scope link src 10.1.2.2"}
	if diff := cmp.Diff(want, plugintest.Routes(t, c.NS)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK: %v", err)
	}
}

// C-2: the route of a dead container does not catch the packets of the one that
// gets its address.
func TestStaleRoute(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	network := n.Network(t, config("1.1.0", "", "10.1.2.0/24"))
	n.Host.Output(t, "sh", "-ec", "ip link add stale type bridge; ip link set stale up; ip route add 10.1.2.2/32 dev stale scope host")
	c := n.Container(t, "c1")
	port := n.Add(t, network, c).Interfaces[0].Name
	if diff := cmp.Diff([]string{"10.1.2.2 dev PORT scope host"}, trim(plugintest.Routes(t, n.Host), port)); diff != "" {
		t.Errorf("routes of the host (-want +got):\n%s", diff)
	}
}

// ADD-009, C-10, DLG-010: an ADD that fails leaves nothing. DLG-022: the IPAM
// plugin has to give an address and its gateway.
func TestFailedAdd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, answer, want string }{
		{"no gateway", `{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24"}]}`, "gateway"},
		{"no address", `{"cniVersion":"1.1.0"}`, "address"},
		{"route without way", `{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"}],"routes":[{"dst":"10.9.0.0/16","gw":"10.1.2.7","scope":254}]}`, "10.9.0.0/16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			log := n.DataDir + "/log"
			n.Script(t, "fake", "cat >/dev/null; echo $CNI_COMMAND >>"+log+"\n[ $CNI_COMMAND = ADD ] && echo '"+tt.answer+"'\nexit 0\n")
			c := n.Container(t, "c1")
			if err := os.WriteFile(log, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			before := n.State(t, c)
			out, exit := n.Exec(t, "ptp", types.CommandAdd, c, `{"cniVersion":"1.1.0","name":"net","type":"ptp","ipMasq":true,"ipam":{"type":"fake"}}`)
			if exit == 0 || !strings.Contains(out, tt.want) {
				t.Errorf("ADD = exit %d, %s; want an error with %q", exit, out, tt.want)
			}
			if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
				t.Errorf("left behind (-before +after):\n%s", diff)
			}
			if got, err := os.ReadFile(log); err != nil || string(got) != "ADD\nDEL\n" {
				t.Errorf("the IPAM plugin saw %q, %v, want ADD and then DEL", got, err)
			}
		})
	}
}

// DEL-004, DEL-005, DEL-006, DEL-009, C-5, C-9: DEL cleans up whatever is missing.
func TestDel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, environ, prev, run string }{
		{"plain", "A=1", "", "true"},
		{"interface gone", "A=1", "", "ip link del eth0"},
		{"no CNI_NETNS", "CNI_NETNS=", "", "true"},
		{"namespace gone", "CNI_NETNS=/run/netns/gone", "", "true"},
		{"prevResult unreadable", "A=1", `,"prevResult":7`, "true"},
		{"without a gateway or ranges", "A=1", `,"mtu":"x"`, "true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			c, other := n.Container(t, "c1"), n.Container(t, "c2")
			network := n.Network(t, config("1.1.0", `,"ipMasq":true`, "10.1.2.0/24"))
			n.Add(t, network, other)
			rules := string(n.Host.Output(t, "nft", "list", "ruleset"))
			n.Add(t, network, c)
			c.Output(t, "sh", "-ec", tt.run)
			for i := range 2 {
				if out, exit := n.Exec(t, "ptp", types.CommandDel, c, request("1.1.0", `,"ipMasq":true`+tt.prev, "10.1.2.0/24"), tt.environ); exit != 0 || out != "" {
					t.Errorf("DEL %d = exit %d, %s", i+1, exit, out)
				}
			}
			if got := n.Reservations(t, "net"); !slices.Equal(got, []string{"10.1.2.2"}) {
				t.Errorf("reservations = %q, want that of the other container", got)
			}
			if diff := cmp.Diff(rules, string(n.Host.Output(t, "nft", "list", "ruleset"))); diff != "" {
				t.Errorf("rules left behind (-before +after):\n%s", diff)
			}
			if err := n.Runtime.Check(t.Context(), network, other.Attachment); err != nil {
				t.Errorf("CHECK of the other container: %v", err)
			}
		})
	}
}

// CHK-005, CHK-006, CHK-007, CHK-008, CHK-011, C-57.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, run, want string }{
		{"interface gone", "container", "ip link del eth0", "eth0"},
		{"address gone", "container", "ip addr del 10.1.2.2/24 dev eth0", "10.1.2.2/24"},
		{"route gone", "container", "ip route del 10.99.0.0/16", "10.99.0.0/16"},
		{"mtu of a route", "container", "ip route change 10.99.0.0/16 via 10.1.2.1 mtu 1300", "1400"},
		{"host end down", "host", "ip link set $PORT down", "$PORT"},
		{"gateway gone", "host", "ip addr del 10.1.2.1/32 dev $PORT", "10.1.2.1/32"},
		{"another mtu", "host", "ip link set $PORT mtu 1300", "1300"},
		{"not forwarding", "host", "echo 0 >/proc/sys/net/ipv4/ip_forward", "ip_forward"},
		{"listening to routers", "host", "echo 2 >/proc/sys/net/ipv6/conf/$PORT/accept_ra", "accept_ra"},
		{"host route by another link", "host", "ip route del 10.1.2.2; ip route add 10.1.2.2 dev lo", "10.1.2.2/32"},
		{"host route gone", "host", "ip route del 10.1.2.2", "10.1.2.2/32"},
		{"rules flushed", "host", "nft flush ruleset", "masquerade"},
		{"reservation gone", "host", "rm DATADIR/net/10.1.2.2", "10.1.2.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			network := n.Network(t, config("1.1.0", `,"ipMasq":true,"mtu":1400`, "10.1.2.0/24"))
			c := n.Container(t, "c1")
			port := n.Add(t, network, c).Interfaces[0].Name
			fill := strings.NewReplacer("$PORT", port, "DATADIR", n.DataDir)
			if tt.in == "host" {
				n.Host.Output(t, "sh", "-ec", fill.Replace(tt.run))
			} else {
				c.Output(t, "sh", "-ec", fill.Replace(tt.run))
			}
			if err := n.Runtime.Check(t.Context(), network, c.Attachment); err == nil || !strings.Contains(err.Error(), fill.Replace(tt.want)) {
				t.Errorf("CHECK = %v, want %q in it", err, fill.Replace(tt.want))
			}
		})
	}
}

// GC-005, GC-006, GC-024, C-7.
func TestGC(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", `,"ipMasq":true`, "10.1.2.0/24"))
	valid, stale := n.Container(t, "c1"), n.Container(t, "c2")
	n.Add(t, network, valid)
	n.Add(t, network, stale)
	other := &skeltest.Runtime{Path: n.Runtime.Path, Start: n.Runtime.Start}
	for range 2 {
		if err := other.GC(ctx, network, []types.Attachment{{ContainerID: "c1", IfName: "eth0"}}); err != nil {
			t.Error(err)
		}
	}
	if err := n.Runtime.Check(ctx, network, valid.Attachment); err != nil {
		t.Errorf("CHECK of the valid container: %v", err)
	}
	if rules := string(n.Host.Output(t, "nft", "list", "ruleset")); len(plugintest.Links(t, stale.NS)) != 0 || len(n.Reservations(t, "net")) != 1 || strings.Contains(rules, "10.1.2.3") {
		t.Errorf("left of the stale container: links %+v, reservations %q, rules\n%s", plugintest.Links(t, stale.NS), n.Reservations(t, "net"), rules)
	}
}

// STA-017: what ADD would refuse. STA-008, STA-009.
func TestStatus(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	if err := n.Runtime.Status(ctx, n.Network(t, config("1.1.0", "", "10.1.2.0/24"))); err != nil {
		t.Errorf("STATUS: %v", err)
	}
	if err := n.Runtime.Status(ctx, n.Network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"ptp"}]}`)); !errors.Is(err, types.ErrInvalidNetworkConfig) {
		t.Errorf("STATUS without ipam = %v, want code 7", err)
	}
	n.Script(t, "down", "cat >/dev/null\necho '{\"code\":51,\"msg\":\"down\"}'\nexit 1\n")
	if err := n.Runtime.Status(ctx, n.Network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"ptp","ipam":{"type":"down"}}]}`)); !errors.Is(err, types.ErrLimitedConnectivity) {
		t.Errorf("STATUS with an IPAM plugin that is down = %v, want code 51", err)
	}
}
