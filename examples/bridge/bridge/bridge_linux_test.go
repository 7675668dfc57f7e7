// SPDX-License-Identifier: Apache-2.0

package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/examples/bridge/bridge"
	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

func TestMain(m *testing.M) { plugintest.Main(m, bridge.Plugin(), hostlocal.Plugin()) }

func newNode(t testing.TB) *plugintest.Node {
	t.Helper()
	return plugintest.NewNode(t, "bridge", "host-local")
}

// config is a network with the bridge br0, further keys, and a range of addresses
// for each subnet.
func config(version, keys string, subnets ...string) string {
	text := fmt.Sprintf(`{"cniVersion":%q,"name":"net","plugins":[{"type":"bridge","bridge":"br0"%s`, version, keys)
	var sets []string
	for _, s := range subnets {
		sets = append(sets, `[{"subnet":"`+s+`"}]`)
	}
	if len(sets) > 0 {
		text += `,"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[` + strings.Join(sets, ",") + `]}`
	}
	return text + `}]}`
}

// suite is what every plugin of this kind has to pass.
var suite = plugintest.Interface{
	Type: "bridge",
	Keys: `"bridge":"br0","isGateway":true,"ipMasq":true,"macspoofchk":true,"hairpinMode":true,"mtu":1400`,
	Drifts: []plugintest.Drift{
		{Name: "no port of the bridge", In: "host", Run: "ip link set $PORT nomaster", Want: "br0"},
		{Name: "hairpin off", In: "host", Run: "ip link set $PORT type bridge_slave hairpin off", Want: "hairpin"},
		{Name: "isolated", In: "host", Run: "ip link set $PORT type bridge_slave isolated on", Want: "isolated"},
		{Name: "bridge down", In: "host", Run: "ip link set br0 down", Want: "br0"},
		{Name: "bridge gone", In: "host", Run: "ip link del br0", Want: "br0"},
		{Name: "gateway gone", In: "host", Run: "ip addr del 10.1.2.1/24 dev br0", Want: "10.1.2.1/24"},
		{Name: "filter gone", In: "host", Run: "nft delete table bridge $(nft list tables bridge | cut -d' ' -f3)", Want: "rules missing"},
	},
	Failures: map[string]string{
		"gateway in the way": `{"cniVersion":"1.1.0","ips":[{"address":"10.5.0.2/24","gateway":"10.5.0.9"}]}`,
	},
}

// Every version: RES-003, RES-004, RES-005, RES-006, RES-007, VER-012.
func TestVersions(t *testing.T) { suite.Versions(t) }

// ADD-009, DLG-010, C-1, C-8: an ADD that fails at any step leaves nothing, and the
// next one succeeds.
func TestFailedAdd(t *testing.T) { suite.FailedAdd(t) }

// ADD-003: an interface of that name stays untouched. ADD-007, DLG-033: a second
// ADD fails and leaves the first attachment working.
func TestTwice(t *testing.T) { suite.Twice(t) }

// DEL-004, DEL-005, DEL-006, DEL-007, DEL-008, DEL-009, DEL-010, DEL-011, LIFE-022,
// C-5: DEL cleans up whatever is missing.
func TestDel(t *testing.T) { suite.Del(t) }

// C-6, C-32: a DEL whose IPAM plugin fails.
func TestDelRetry(t *testing.T) { suite.DelRetry(t) }

// CHK-002, CHK-005, CHK-006, CHK-007, CHK-008, CHK-011, CHK-021, CHK-022, C-24, C-57.
func TestCheck(t *testing.T) { suite.Check(t) }

// CHK-007, CHK-010, CHAIN-013: the result holds the routes of another plugin, too.
func TestSecond(t *testing.T) { suite.Second(t) }

// GC-002, GC-005, GC-006, GC-007, GC-011, GC-018, GC-020, GC-022, GC-024, C-7.
func TestGC(t *testing.T) { suite.GC(t) }

// STA-001, STA-004, STA-005, STA-008, STA-009, STA-012.
func TestStatus(t *testing.T) { suite.Status(t) }

// The configuration of the README, by all commands of a runtime.
func TestExample(t *testing.T) {
	suite.Example(t, "../testdata/10-pods.conflist", "10.22.0.2/16", "fd00:22::2/64")
}

const subnet4, subnet6 = "10.1.2.0/24", "fd00:1::/64"

// ADD-001, ADD-002, ADD-004, ADD-010, ADD-011, ADD-019, ADD-023, RES-010, RES-012,
// RES-016, DLG-016, DLG-018, CHK-001, DEL-001, DEL-002, DEL-003, C-36.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", `,"isGateway":true,"isDefaultGateway":true`, subnet4, subnet6))
	c := n.Container(t, "c1")
	result := n.Add(t, network, c)

	eth0 := plugintest.FindLink(t, c.NS, "eth0")
	port := plugintest.FindLink(t, n.Host, result.Interfaces[1].Name)
	br := plugintest.FindLink(t, n.Host, "br0")
	want := []types.Interface{
		{Name: "br0", MAC: br.MAC},
		{Name: port.Name, MAC: port.MAC, MTU: 1500},
		{Name: "eth0", MAC: eth0.MAC, MTU: 1500, Sandbox: c.Path()},
	}
	if diff := cmp.Diff(want, result.Interfaces); diff != "" {
		t.Errorf("interfaces (-kernel +result):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"10.1.2.2/24", "fd00:1::2/64"}, eth0.Addresses()); diff != "" {
		t.Errorf("addresses of eth0 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"10.1.2.1/24", "fd00:1::1/64"}, br.Addresses()); diff != "" {
		t.Errorf("addresses of br0 (-want +got):\n%s", diff)
	}
	for _, ip := range result.IPs {
		if ip.Interface != types.Some(2) {
			t.Errorf("address %s refers to %v, want the container's interface", ip.Address, ip.Interface)
		}
	}
	routes := []string{"default via 10.1.2.1 dev eth0", "10.1.2.0/24 dev eth0 proto kernel scope link src 10.1.2.2"}
	if got := plugintest.Routes(t, c.NS); !slices.Equal(got[:2], routes) || !slices.ContainsFunc(got, func(r string) bool { return strings.HasPrefix(r, "default via fd00:1::1 dev eth0") }) {
		t.Errorf("routes = %q", got)
	}
	if port.Master != "br0" || port.State != "UP" || eth0.State != "UP" || port.TxQLen != 1000 {
		t.Errorf("host end %+v and container end %+v, want a port of br0, both up, a queue of 1000", port, eth0)
	}
	for _, a := range eth0.Addrs {
		if a.Tentative && a.Scope != "link" {
			t.Errorf("address %s is tentative when ADD returns", a.Local)
		}
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK after ADD: %v", err)
	}
	for range 2 {
		if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
			t.Errorf("DEL: %v", err)
		}
	}
	left := plugintest.Links(t, n.Host)
	if len(left) != 1 || left[0].Name != "br0" || len(plugintest.Links(t, c.NS)) != 0 || len(n.Reservations(t, "net")) != 0 {
		t.Errorf("after DEL: host %+v, container %+v, reservations %q; want br0 and nothing else", left, plugintest.Links(t, c.NS), n.Reservations(t, "net"))
	}
}

// RES-039, C-26: a network without addresses works, CHECK included. RES-040,
// CONV-012, C-16: except in versions that cannot say so, which change nothing.
func TestLayer2(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", ""))
	c := n.Container(t, "c1")
	if result := n.Add(t, network, c); len(result.IPs) != 0 {
		t.Errorf("ips = %v, want none", result.IPs)
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
		t.Errorf("DEL: %v", err)
	}
	before := n.State(t, c)
	old := n.Network(t, config("0.2.0", ""))
	if _, err := n.Runtime.Add(ctx, old, c.Attachment); !errors.Is(err, types.ErrInvalidNetworkConfig) {
		t.Errorf("ADD without addresses in 0.2.0 = %v, want code 7", err)
	}
	if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
		t.Errorf("the refused ADD left (-before +after):\n%s", diff)
	}
}

// CHK-009, CHK-010, C-26: what others added is fine.
func TestCheckAcceptsOthers(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", `,"isDefaultGateway":true`, subnet4))
	c := n.Container(t, "c1")
	n.Add(t, network, c)
	c.Output(t, "sh", "-ec", "ip addr add 10.77.0.1/32 dev eth0; ip route add 10.88.0.0/16 via 10.1.2.9; ip link add extra type bridge")
	// Another port with a lower address does not change that of the bridge.
	n.Host.Output(t, "sh", "-ec", "ip link add low address 02:00:00:00:00:01 type veth peer name low2; ip link set low master br0")
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK: %v", err)
	}
}

// CHAIN-013, CHAIN-016, CHAIN-018, RES-037: what was before stays, in its place.
func TestChained(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := n.Container(t, "c1")
	out, exit := n.Exec(t, "bridge", types.CommandAdd, c, `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0",
		"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"first"},{"name":"second","sandbox":"/x"}],"ips":[{"address":"192.0.2.5/24","interface":1}],
		"routes":[{"dst":"192.0.2.128/25"}],"dns":{"domain":"example"},"x-unknown":true},
		"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.1.2.0/24"}]]}}`)
	if exit != 0 {
		t.Fatalf("ADD: %s", out)
	}
	result, err := types.DecodeResult([]byte(out), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Interfaces) != 5 || result.Interfaces[0].Name != "first" || result.IPs[0].Interface != types.Some(1) ||
		result.IPs[1].Interface != types.Some(4) || len(result.Routes) != 1 || result.DNS.Domain != "example" || result.Extra["x-unknown"] == nil {
		t.Errorf("result = %s", out)
	}
}

// C-3: a default route of the IPAM plugin without gateway, beside isDefaultGateway.
// ADD-022, C-37: all fields of a route.
func TestRoutes(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"bridge","bridge":"br0","isDefaultGateway":true,
		"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.1.2.0/24"}]],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.9.0.0/16","gw":"10.1.2.9","mtu":1400,"advmss":1300,"priority":7,"table":100},{"dst":"10.8.0.0/16","scope":253}]}}]}`)
	c := n.Container(t, "c1")
	n.Add(t, network, c)
	if got, want := plugintest.Routes(t, c.NS), "default via 10.1.2.1 dev eth0"; got[0] != want {
		t.Errorf("first route = %q, want %q", got[0], want)
	}
	got := strings.TrimSpace(string(c.Output(t, "ip", "route", "show", "table", "100")))
	if want := "10.9.0.0/16 via 10.1.2.9 dev eth0 metric 7 mtu 1400 advmss 1300"; strings.Join(strings.Fields(got), " ") != want {
		t.Errorf("route of table 100 = %q, want %q", got, want)
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK, C-22 and C-23: %v", err)
	}
}

// C-40: several gateways of a family on one bridge. C-42: forceAddress replaces the
// one that is in the way, and leaves those of other networks.
func TestGateways(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	two := n.Network(t, config("1.1.0", `,"isGateway":true`, "10.1.2.0/24", "10.1.3.0/24", subnet6))
	c := n.Container(t, "c1")
	n.Add(t, two, c)
	if got := plugintest.FindLink(t, n.Host, "br0").Addresses(); !slices.Equal(got, []string{"10.1.2.1/24", "10.1.3.1/24", "fd00:1::1/64"}) {
		t.Errorf("addresses of br0 = %q", got)
	}
	if err := n.Runtime.Check(ctx, two, c.Attachment); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	wider := func(force string) string {
		return `{"cniVersion":"1.1.0","name":"other","type":"bridge","bridge":"br0","isGateway":true` + force +
			`,"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.1.2.0/25","rangeStart":"10.1.2.50","gateway":"10.1.2.5"}]]}}`
	}
	c2 := n.Container(t, "c2")
	if out, exit := n.Exec(t, "bridge", types.CommandAdd, c2, wider("")); exit == 0 || !strings.Contains(out, "10.1.2.1/24") {
		t.Errorf("ADD with a gateway in the way = exit %d, %s; want an error that names 10.1.2.1/24", exit, out)
	}
	if out, exit := n.Exec(t, "bridge", types.CommandAdd, c2, wider(`,"forceAddress":true`)); exit != 0 {
		t.Errorf("ADD with forceAddress: %s", out)
	}
	if got := plugintest.FindLink(t, n.Host, "br0").Addresses(); !slices.Equal(got, []string{"10.1.2.5/25", "10.1.3.1/24", "fd00:1::1/64"}) {
		t.Errorf("addresses of br0 with forceAddress = %q", got)
	}
}

// CAP-005, ARG-013, ARG-014: the runtime's address wins over args, and that over
// CNI_ARGS. RES-011.
func TestMAC(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, keys, args, want string
	}{
		{"all three", `,"runtimeConfig":{"mac":"02:00:00:00:00:0A"},"args":{"cni":{"mac":"02:00:00:00:00:0b"}}`, "MAC=02:00:00:00:00:0c", "02:00:00:00:00:0a"},
		{"args and CNI_ARGS", `,"args":{"cni":{"mac":"02:00:00:00:00:0b"}}`, "MAC=02:00:00:00:00:0c", "02:00:00:00:00:0b"},
		{"CNI_ARGS", ``, "IgnoreUnknown=1;X=1;MAC=02:00:00:00:00:0c", "02:00:00:00:00:0c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			c := n.Container(t, "c1")
			if out, exit := n.Exec(t, "bridge", types.CommandAdd, c, `{"cniVersion":"1.1.0","name":"net","type":"bridge"`+tt.keys+`}`, "CNI_ARGS="+tt.args); exit != 0 {
				t.Fatalf("ADD: %s", out)
			}
			if got := plugintest.FindLink(t, c.NS, "eth0").MAC; got != tt.want {
				t.Errorf("address of eth0 = %s, want %s", got, tt.want)
			}
			plugintest.FindLink(t, n.Host, "cni0") // the name that is meant without one
		})
	}
}

// RES-010, ADD-023: a bridge that was there may take another hardware address with its
// next port, and has none after its last one has gone.
func TestAdoptedBridge(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]string{
		"new":              "ip link add br0 type bridge",
		"its port is gone": "ip link add br0 type bridge; ip link add low type veth peer name low2; ip link set low master br0; ip link del low",
		"has a port":       "ip link add br0 type bridge; ip link add low address fe:ff:ff:ff:ff:ff type veth peer name low2; ip link set low master br0",
	} {
		for _, keys := range []string{"", `,"isGateway":true`} {
			t.Run(name+keys, func(t *testing.T) {
				t.Parallel()
				n, ctx := newNode(t), t.Context()
				n.Host.Output(t, "sh", "-ec", setup)
				network, c := n.Network(t, config("1.1.0", keys, subnet4)), n.Container(t, "c1")
				result := n.Add(t, network, c)
				if got, want := result.Interfaces[0].MAC, plugintest.FindLink(t, n.Host, "br0").MAC; got != want {
					t.Errorf("address of the bridge in the result = %s, want %s, which it has", got, want)
				}
				n.Add(t, network, n.Container(t, "c2"))
				if got := plugintest.FindLink(t, n.Host, "br0").MAC; keys != "" && got != result.Interfaces[0].MAC {
					t.Errorf("address of the gateway with another port = %s, want %s as before", got, result.Interfaces[0].MAC)
				}
				if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
					t.Errorf("CHECK: %v", err)
				}
			})
		}
	}
}

// CONF-031, ERR-015, C-33: configurations that are refused, before any work.
func TestRefused(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := n.Container(t, "c1")
	before := n.State(t, c)
	for _, tt := range []struct{ keys, want string }{
		{`,"hairpinMode":true,"promiscMode":true`, "promiscMode"},
		{`,"disableContainerInterface":true,"ipam":{"type":"host-local"}`, "disableContainerInterface"},
		{`,"ipMasqBackend":"ebpf"`, "ebpf"},
		{`,"bridge":"a-name-that-is-too-long"`, "bridge"},
		{`,"mtu":67`, "mtu: 67"},
		{`,"mtu":65536`, "mtu: 65536"},
		{`,"mtu":1099511627776`, "mtu: 1099511627776"},
		{`,"vlan":4095`, "4095"},
		{`,"vlan":-1`, "vlan"},
		{`,"vlanTrunk":[null]`, "vlanTrunk[0]"},
		{`,"vlanTrunk":[{}]`, "vlanTrunk[0]"},
		{`,"vlanTrunk":[{"id":5},{"minID":9}]`, "vlanTrunk[1]"},
		{`,"vlanTrunk":[{"minID":9,"maxID":8}]`, "vlanTrunk[0]"},
		{`,"vlanTrunk":[{"id":0}]`, "vlanTrunk[0]"},
		{`,"runtimeConfig":{"mac":"zz"}`, "runtimeConfig.mac"},
		{`,"ipam":{"type":"../host-local"}`, "ipam.type"},
		{`,"ipam":{"type":"missing"}`, "missing"},
	} {
		out, exit := n.Exec(t, "bridge", types.CommandAdd, c, `{"cniVersion":"1.1.0","name":"net","type":"bridge"`+tt.keys+`}`)
		var document struct{ Code types.Code }
		if err := json.Unmarshal([]byte(out), &document); err != nil || exit != 1 || document.Code != types.ErrInvalidNetworkConfig || !strings.Contains(out, tt.want) {
			t.Errorf("ADD with %s = exit %d, %s; want code 7 and %q", tt.keys, exit, out, tt.want)
		}
		if tt.want == "missing" {
			continue // the bridge was made by then, and stays
		}
		if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
			t.Errorf("ADD with %s left (-before +after):\n%s", tt.keys, diff)
		}
	}
}

// ERR-015, ADD-009: addresses and routes that do not go with the rest of the configuration
// are the configuration's fault, and nothing is left of the container.
func TestUnfit(t *testing.T) { suite.Unfit(t) }

// ADD-012, PROTO-044, PROTO-045, C-18, C-32: what is no namespace of a container is refused,
// before any work.
func TestBadNamespace(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := n.Container(t, "c1")
	before := n.State(t, c)
	for _, path := range []string{"/run/netns/gone", "/etc/passwd", "/etc", "/proc/self/ns/net", "/proc/self/ns/mnt", "/dev/null"} {
		out, exit := n.Exec(t, "bridge", types.CommandAdd, c, `{"cniVersion":"1.1.0","name":"net","type":"bridge"}`, "CNI_NETNS="+path)
		if exit != 1 || !strings.Contains(out, `"code":4`) || !strings.Contains(out, "CNI_NETNS") {
			t.Errorf("ADD with CNI_NETNS=%s = exit %d, %s; want code 4", path, exit, out)
		}
	}
	if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}

// LIFE-005, LIFE-006, LIFE-007, DEL-024, PROTO-046: many at once, on a fresh node.
func TestParallel(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", `,"isDefaultGateway":true,"ipMasq":true`, subnet4, subnet6))
	const count = 16
	containers := make([]*plugintest.Container, count)
	for i := range containers {
		containers[i] = n.Container(t, fmt.Sprintf("c%d", i))
	}
	each := func(what string, f func(context.Context, skeltest.Attachment) error) {
		errs := make([]error, count)
		var all sync.WaitGroup
		for i, c := range containers {
			all.Go(func() { errs[i] = f(ctx, c.Attachment) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	each("ADD", func(ctx context.Context, a skeltest.Attachment) error {
		_, err := n.Runtime.Add(ctx, network, a)
		return err
	})
	if got := n.Reservations(t, "net"); len(got) != 2*count {
		t.Errorf("%d reservations, want %d", len(got), 2*count)
	}
	each("CHECK", func(ctx context.Context, a skeltest.Attachment) error { return n.Runtime.Check(ctx, network, a) })
	each("DEL", func(ctx context.Context, a skeltest.Attachment) error { return n.Runtime.Del(ctx, network, a) })
	if left := plugintest.Links(t, n.Host); len(left) != 1 || len(n.Reservations(t, "net")) != 0 {
		t.Errorf("after DEL: links %+v, reservations %q", left, n.Reservations(t, "net"))
	}
}

// DEL-025, C-55: a link that is somebody else's stays.
func TestDelLeavesForeignLinks(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	network := n.Network(t, config("1.1.0", `,"isGateway":true`, subnet4))
	c := n.Container(t, "c1")
	n.Add(t, network, c)
	c.Output(t, "sh", "-ec", "ip link del eth0; ip link add eth0 type bridge")
	if err := n.Runtime.Del(t.Context(), network, c.Attachment); err != nil {
		t.Errorf("DEL: %v", err)
	}
	if got := plugintest.FindLink(t, c.NS, "eth0").Info.Kind; got != "bridge" {
		t.Errorf("eth0 is a %s, want the foreign bridge", got)
	}
	// A cable of the container to itself, which nobody marked.
	c.Output(t, "sh", "-ec", "ip link del eth0; ip link add eth0 type veth peer name other")
	if err := n.Runtime.Del(t.Context(), network, c.Attachment); err != nil {
		t.Errorf("DEL: %v", err)
	}
	plugintest.FindLink(t, c.NS, "eth0")
}

// A container that the reference plugin attached: it made a veth with a random
// name and without a mark, on the bridge.
func TestDelOfUnmarked(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	network := n.Network(t, config("1.1.0", `,"isGateway":true`, subnet4))
	c := n.Container(t, "c1")
	n.Add(t, network, n.Container(t, "first"))
	// The peer goes into the container by its process-wide descriptor.
	n.Host.Output(t, "sh", "-ec", "ip link add veth12345678 type veth peer name eth0 && ip link set veth12345678 master br0 && ip link set eth0 netns "+c.Path())
	if err := n.Runtime.Del(t.Context(), network, c.Attachment); err != nil {
		t.Errorf("DEL: %v", err)
	}
	if left := plugintest.Links(t, c.NS); len(left) != 0 {
		t.Errorf("links of the container = %+v, want none", left)
	}
}

// VLANs of a port, where the kernel can filter them, and else a clear word. C-38.
func TestVLAN(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", `,"isGateway":true,"vlan":100,"vlanTrunk":[{"id":200},{"minID":300,"maxID":302}]`, subnet4))
	c := n.Container(t, "c1")
	result, err := n.Runtime.Add(ctx, network, c.Attachment)
	if err != nil && strings.Contains(err.Error(), "vlan filtering: operation not supported") {
		nstest.Lacks(t, "bridge VLAN filtering", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Interfaces) != 4 || result.Interfaces[3].Name != "br0.100" {
		t.Errorf("interfaces = %+v, want br0.100 as the fourth", result.Interfaces)
	}
	port := result.Interfaces[1].Name
	var vlans []struct {
		Name  string `json:"ifname"`
		VLANs []struct {
			VLAN  int      `json:"vlan"`
			End   int      `json:"vlanEnd"`
			Flags []string `json:"flags"`
		} `json:"vlans"`
	}
	if err := json.Unmarshal(n.Host.Output(t, "bridge", "-j", "vlan", "show", "dev", port), &vlans); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(vlans); got != fmt.Sprintf("[{%s [{100 0 [PVID Egress Untagged]} {200 0 []} {300 302 []}]}]", port) &&
		got != fmt.Sprintf("[{%s [{100 0 [PVID Egress Untagged]} {200 0 []} {300 0 []} {301 0 []} {302 0 []}]}]", port) {
		t.Errorf("VLANs of the port = %s", got)
	}
	if got := plugintest.FindLink(t, n.Host, "br0.100").Addresses(); !slices.Equal(got, []string{"10.1.2.1/24"}) {
		t.Errorf("addresses of br0.100 = %q", got)
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
		t.Errorf("DEL: %v", err)
	}
}

// ADD-009, ERR-019: a bridge takes 1,023 ports. The ADD of the next container says so and
// to come again, leaves nothing, and once a port is free it succeeds.
func TestFullBridge(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	network := n.Network(t, config("1.1.0", `,"isGateway":true`, "10.1.0.0/16", "2001:db8:1::/64"))
	first, next := n.Container(t, "first"), n.Container(t, "next")
	n.Add(t, network, first)
	// Both ends of each cable are ports.
	var cables strings.Builder
	for i := range 511 {
		fmt.Fprintf(&cables, "link add a%[1]d type veth peer name b%[1]d\nlink set a%[1]d master br0\nlink set b%[1]d master br0\n", i)
	}
	batch := filepath.Join(t.TempDir(), "cables")
	if err := os.WriteFile(batch, []byte(cables.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	n.Host.Output(t, "ip", "-batch", batch)

	before := n.State(t, first, next)
	_, err := n.Runtime.Add(t.Context(), network, next.Attachment)
	if !errors.Is(err, types.ErrTryAgainLater) || !strings.Contains(err.Error(), "no free port on bridge br0") || !strings.Contains(err.Error(), "1023") {
		t.Errorf("ADD with 1,023 ports = %v, want code 11 and that there is no free port", err)
	}
	if diff := cmp.Diff(before, n.State(t, first, next)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
	if err := n.Runtime.Check(t.Context(), network, first.Attachment); err != nil {
		t.Errorf("CHECK of the first container: %v", err)
	}
	n.Host.Output(t, "ip", "link", "set", "b0", "nomaster")
	n.Add(t, network, next)
}
