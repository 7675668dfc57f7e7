// SPDX-License-Identifier: Apache-2.0

package ptp_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/examples/ptp/ptp"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/types"
)

func TestMain(m *testing.M) { plugintest.Main(m, ptp.Plugin(), hostlocal.Plugin()) }

func newNode(t testing.TB) *plugintest.Node {
	t.Helper()
	return plugintest.NewNode(t, "ptp", "host-local")
}

// suite is what every plugin of this kind has to pass.
var suite = plugintest.Interface{
	Type: "ptp",
	Keys: `"ipMasq":true,"mtu":1400`,
	Drifts: []plugintest.Drift{
		{Name: "gateway gone", In: "host", Run: "ip addr del 10.1.2.1/32 dev $PORT", Want: "10.1.2.1/32"},
		{Name: "host route by another link", In: "host", Run: "ip route del 10.1.2.2; ip route add 10.1.2.2 dev lo", Want: "10.1.2.2/32"},
		{Name: "host route gone", In: "host", Run: "ip route del 10.1.2.2", Want: "10.1.2.2/32"},
	},
	Failures: map[string]string{
		"no gateway": `{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24"}]}`,
	},
}

// VER-012, in every version.
func TestVersions(t *testing.T) { suite.Versions(t) }

// ADD-009, C-10, DLG-010: an ADD that fails leaves nothing. DLG-022: the IPAM
// plugin has to give an address and its gateway.
func TestFailedAdd(t *testing.T) { suite.FailedAdd(t) }

// ERR-015, ADD-009: what does not go together is the configuration's fault.
func TestUnfit(t *testing.T) { suite.Unfit(t) }

// ADD-007, C-4, C-19: a second ADD takes nothing back, and two interfaces of a container do
// not touch each other.
func TestTwice(t *testing.T) { suite.Twice(t) }

// DEL-004, DEL-005, DEL-006, DEL-009, C-5, C-9: DEL cleans up whatever is missing.
func TestDel(t *testing.T) { suite.Del(t) }

// C-6, C-9, C-32: a DEL whose IPAM plugin fails.
func TestDelRetry(t *testing.T) { suite.DelRetry(t) }

// CHK-005, CHK-006, CHK-007, CHK-008, CHK-011, C-57.
func TestCheck(t *testing.T) { suite.Check(t) }

// CHK-007, CHK-010, CHAIN-013: the result holds the routes of another plugin, too.
func TestSecond(t *testing.T) { suite.Second(t) }

// A route of the configuration may name any gateway, as with the reference plugin,
// although nobody but the host is on the cable.
func TestGateways(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"ptp","ipam":{"type":"host-local","dataDir":"DATADIR",
		"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"fd00:1::/64"}]],
		"routes":[{"dst":"10.9.0.0/16"},{"dst":"10.8.0.0/16","gw":"10.1.2.7"},{"dst":"fd08::/64","gw":"fd00:1::7"}]}}]}`)
	c := n.Container(t, "c1")
	n.Add(t, network, c)
	got := plugintest.Routes(t, c.NS)
	for _, want := range []string{"10.9.0.0/16 via 10.1.2.1 dev eth0", "10.8.0.0/16 via 10.1.2.7 dev eth0 onlink", "fd08::/64 via fd00:1::7 dev eth0 metric 1024 onlink pref medium"} {
		if !slices.Contains(got, want) {
			t.Errorf("routes of the container = %q, want %q among them", got, want)
		}
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK: %v", err)
	}
}

// ADD-008, ADD-020: a container may be in the network twice, and either interface goes
// without the other.
func TestSecondInterface(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", "", "10.1.2.0/24", "fd00:1::/64"))
	c := n.Container(t, "c1")
	n.Add(t, network, c)
	before := plugintest.Routes(t, c.NS)
	more := c.Attachment
	more.IfName = "eth1"
	if _, err := n.Runtime.Add(ctx, network, more); err != nil {
		t.Fatalf("ADD of a second interface = %v", err)
	}
	if err := errors.Join(n.Runtime.Check(ctx, network, c.Attachment), n.Runtime.Check(ctx, network, more), n.Runtime.Del(ctx, network, more)); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, plugintest.Routes(t, c.NS)); diff != "" {
		t.Errorf("routes after DEL of the second interface (-want +got):\n%s", diff)
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK of the first interface after DEL of the second: %v", err)
	}
}

// GC-005, GC-006, GC-024, C-7.
func TestGC(t *testing.T) { suite.GC(t) }

// STA-004, STA-008, STA-009.
func TestStatus(t *testing.T) { suite.Status(t) }

// The configuration of the README, by all commands of a runtime.
func TestExample(t *testing.T) { suite.Example(t, "../testdata/10-pods.conflist", "10.22.0.2/16") }

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

// STA-017: what ADD would refuse.
func TestStatus_refused(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	if err := n.Runtime.Status(ctx, n.Network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"ptp"}]}`)); !errors.Is(err, types.ErrInvalidNetworkConfig) {
		t.Errorf("STATUS without ipam = %v, want code 7", err)
	}
	// A number that means nothing in 32 bits is not cut off.
	for _, mtu := range []string{"67", "65536", "1099511627776"} {
		err := n.Runtime.Status(ctx, n.Network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"ptp","mtu":`+mtu+`,"ipam":{"type":"host-local","subnet":"10.1.2.0/24","dataDir":"DATADIR"}}]}`))
		if !errors.Is(err, types.ErrInvalidNetworkConfig) || !strings.Contains(err.Error(), "mtu: "+mtu) {
			t.Errorf("STATUS with mtu %s = %v, want code 7 and the number", mtu, err)
		}
	}
}
