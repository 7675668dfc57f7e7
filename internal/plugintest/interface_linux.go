// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// Interface is a plugin that connects a container by a veth and asks an IPAM plugin for
// addresses. Its methods are what each such plugin has to pass; the plugin's own tests
// call them and name the rules.
type Interface struct {
	Type string
	// Keys are those of its configuration, such as `"ipMasq":true`. It masquerades, and
	// has an mtu of 1400.
	Keys string
	// Drifts are what CHECK has to see beside what all plugins have to see.
	Drifts []Drift
	// Failures are answers of an IPAM plugin to ADD that the plugin cannot use, by name,
	// beside those that none can. Others have 10.5.0.0/16 on the node already.
	Failures map[string]string
}

// Drift is something that somebody changed after ADD.
type Drift struct {
	Name string
	In   string // "host" or "container"
	Run  string // by sh; $PORT is the host end of the veth, DATADIR where reservations are
	Want string // in the error of CHECK
}

// node is a node with the plugin.
func (p Interface) node(t testing.TB) *Node {
	t.Helper()
	return NewNode(t, p.Type, "host-local")
}

// request is a request of the plugin for a network; prev are further members of it.
func (p Interface) request(version types.Version, network, subnet, ipam, prev string) string {
	return fmt.Sprintf(`{"cniVersion":%q,"name":%q,"type":%q,%s%s,"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":%q}]]%s}}`,
		version, network, p.Type, p.Keys, prev, subnet, ipam)
}

// list is a network with the plugin alone.
func (p Interface) list(version types.Version, network, subnet, ipam string) string {
	return fmt.Sprintf(`{"cniVersion":%q,"name":%q,"plugins":[%s]}`, version, network, p.request(version, network, subnet, ipam, ""))
}

const subnet, defaultRoute = "10.1.2.0/24", `,"routes":[{"dst":"0.0.0.0/0"}]`

// hostEnd returns the name of the host end in a result: it stands before the other end.
func hostEnd(t testing.TB, result *types.Result, c *Container) string {
	t.Helper()
	i, ok := result.ContainerInterface(c.Attachment.IfName, c.Attachment.Netns)
	if !ok || i == 0 {
		t.Fatalf("interfaces = %+v, want the host end before the container's", result.Interfaces)
	}
	return result.Interfaces[i-1].Name
}

// Versions runs ADD, CHECK where there is one, and DEL in every version, and looks at the
// members of the result.
func (p Interface) Versions(t *testing.T) {
	t.Parallel()
	for _, v := range types.Versions() {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			n, ctx := p.node(t), t.Context()
			network := n.Network(t, p.list(v, "net", subnet, ""))
			c := n.Container(t, "c1")
			n.Add(t, network, c)
			executed := n.Runtime.Executions()
			var document map[string]any
			if err := json.Unmarshal(executed[len(executed)-1].Stdout, &document); err != nil {
				t.Fatal(err)
			}
			keys := []string{"cniVersion", "interfaces", "ips"}
			if v < types.V030 {
				keys = []string{"cniVersion", "ip4"}
			}
			for _, key := range keys {
				if _, ok := document[key]; !ok || len(document) != len(keys) || document["cniVersion"] != v.String() {
					t.Errorf("result = %v, want the members %q and version %s", document, keys, v)
				}
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

// Twice repeats an ADD, adds a second interface, and adds one whose name is taken. The
// first attachment stays as it is.
func (p Interface) Twice(t *testing.T) {
	t.Parallel()
	n, ctx := p.node(t), t.Context()
	network := n.Network(t, p.list(types.V110, "net", subnet, defaultRoute))
	c := n.Container(t, "c1")
	n.Add(t, network, c)

	before := n.State(t, c)
	if out, exit := n.Exec(t, p.Type, types.CommandAdd, c, p.request(types.V110, "net", subnet, defaultRoute, "")); exit == 0 || !strings.Contains(out, "attached already") {
		t.Errorf("the second ADD = exit %d, %s", exit, out)
	}
	if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
		t.Errorf("the second ADD changed (-before +after):\n%s", diff)
	}

	foreign := n.Container(t, "c2")
	foreign.Output(t, "ip", "link", "add", "eth0", "type", "bridge")
	before = n.State(t, c, foreign)
	if _, err := n.Runtime.Add(ctx, network, foreign.Attachment); err == nil {
		t.Error("ADD over an existing eth0 succeeded")
	}
	if diff := cmp.Diff(before, n.State(t, c, foreign)); diff != "" {
		t.Errorf("the refused ADD and its DEL changed (-before +after):\n%s", diff)
	}

	second := *c
	second.Attachment.IfName = "eth1"
	other := n.Network(t, p.list(types.V110, "other", "10.1.3.0/24", ""))
	n.Add(t, other, &second)
	if err := n.Runtime.Check(ctx, other, second.Attachment); err != nil {
		t.Errorf("CHECK of eth1: %v", err)
	}
	if err := n.Runtime.Del(ctx, other, second.Attachment); err != nil {
		t.Errorf("DEL of eth1: %v", err)
	}
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK of eth0: %v", err)
	}
}

// FailedAdd fails ADD at several steps, which leaves nothing, and then ADD succeeds.
func (p Interface) FailedAdd(t *testing.T) {
	t.Parallel()
	failures := map[string]string{
		"ipam fails":        `{"code":111,"msg":"no"}'; exit 1 #`,
		"garbage":           `garbage`,
		"no address":        `{"cniVersion":"1.1.0"}`,
		"index":             `{"cniVersion":"1.1.0","ips":[{"address":"10.5.0.9/16","gateway":"10.5.0.1","interface":7}]}`,
		"route without way": `{"cniVersion":"1.1.0","ips":[{"address":"10.5.0.9/16","gateway":"10.5.0.1"}],"routes":[{"dst":"10.9.0.0/16","gw":"10.5.0.7","scope":254}]}`,
	}
	for name, answer := range p.Failures {
		failures[name] = answer
	}
	for name, answer := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, ctx := p.node(t), t.Context()
			log := filepath.Join(n.DataDir, "log")
			n.Script(t, "fake", "cat >/dev/null; echo $CNI_COMMAND >>"+log+"\n[ $CNI_COMMAND = ADD ] && echo '"+answer+"'\nexit 0\n")
			network := n.Network(t, p.list(types.V110, "net", "10.5.0.0/16", ""))
			other, c := n.Container(t, "other"), n.Container(t, "c1")
			n.Add(t, network, other)
			if err := os.WriteFile(log, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			before := n.State(t, c, other)
			request := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","type":%q,%s,"ipam":{"type":"fake"}}`, p.Type, p.Keys)
			if out, exit := n.Exec(t, p.Type, types.CommandAdd, c, request); exit == 0 {
				t.Fatalf("ADD succeeded: %s", out)
			}
			if diff := cmp.Diff(before, n.State(t, c, other)); diff != "" {
				t.Errorf("left behind (-before +after):\n%s", diff)
			}
			if got, err := os.ReadFile(log); err != nil || string(got) != "ADD\nDEL\n" {
				t.Errorf("the IPAM plugin saw %q, %v, want ADD and then DEL", got, err)
			}
			n.Add(t, network, c)
			if err := n.Runtime.Check(ctx, network, other.Attachment); err != nil {
				t.Errorf("CHECK of the other container: %v", err)
			}
		})
	}
}

// Del runs DEL with all sorts of things missing or unreadable, twice each.
func (p Interface) Del(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, prev, run string
		environ         []string
	}{
		{name: "plain"},
		{name: "interface gone", run: "ip link del eth0"},
		{name: "no CNI_NETNS", environ: []string{"CNI_NETNS="}},
		{name: "namespace gone", environ: []string{"CNI_NETNS=/run/netns/gone"}},
		{name: "path is no namespace", environ: []string{"CNI_NETNS=/etc/passwd"}},
		{name: "path is a directory", environ: []string{"CNI_NETNS=/etc"}},
		{name: "path is the host", environ: []string{"CNI_NETNS=/proc/self/ns/net"}},
		{name: "prevResult null", prev: `,"prevResult":null`},
		{name: "prevResult empty", prev: `,"prevResult":{}`},
		{name: "prevResult of an unknown version", prev: `,"prevResult":{"cniVersion":"99.0.0"}`},
		{name: "prevResult is a number", prev: `,"prevResult":7`},
		{name: "changed configuration", prev: `,"mtu":"x","hairpinMode":true,"promiscMode":true`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := p.node(t)
			c, other := n.Container(t, "c1"), n.Container(t, "c2")
			network := n.Network(t, p.list(types.V110, "net", subnet, ""))
			n.Add(t, network, other)
			// A link of the host that bears the name of the container's.
			n.Host.Output(t, "ip", "link", "add", "eth0", "type", "bridge")
			before, rules := n.State(t, other), n.Ruleset(t)
			n.Add(t, network, c)
			c.Output(t, "sh", "-ec", tt.run)
			for i := range 2 {
				if out, exit := n.Exec(t, p.Type, types.CommandDel, c, p.request(types.V110, "net", subnet, "", tt.prev), tt.environ...); exit != 0 || out != "" {
					t.Errorf("DEL %d = exit %d, %s", i+1, exit, out)
				}
			}
			if diff := cmp.Diff(cursorless(before), cursorless(n.State(t, other))); diff != "" {
				t.Errorf("left behind (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(rules, n.Ruleset(t)); diff != "" {
				t.Errorf("rules left behind (-before +after):\n%s", diff)
			}
			if err := n.Runtime.Check(t.Context(), network, other.Attachment); err != nil {
				t.Errorf("CHECK of the other container: %v", err)
			}
		})
	}
}

// cursorless leaves the cursor of the store out of a state.
func cursorless(state string) string {
	var b strings.Builder
	for line := range strings.Lines(state) {
		if !strings.Contains(line, "last_reserved_ip") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Ruleset is what nft lists.
func (n *Node) Ruleset(t testing.TB) string {
	t.Helper()
	return string(n.Host.Output(t, "nft", "list", "ruleset"))
}

// DelRetry runs a DEL whose IPAM plugin fails: all else is gone then, the code is the IPAM
// plugin's, and the next DEL succeeds.
func (p Interface) DelRetry(t *testing.T) {
	t.Parallel()
	n := p.node(t)
	n.Script(t, "fake", `cat >/dev/null
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"}]}' ;;
DEL) [ -e `+n.DataDir+`/fixed ] || { echo '{"code":123,"msg":"the database is down"}'; exit 1; } ;;
esac
`)
	c := n.Container(t, "c1")
	request := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","type":%q,%s,"ipam":{"type":"fake"}}`, p.Type, p.Keys)
	if out, exit := n.Exec(t, p.Type, types.CommandAdd, c, request); exit != 0 {
		t.Fatalf("ADD: %s", out)
	}
	if out, exit := n.Exec(t, p.Type, types.CommandDel, c, request); exit == 0 || !strings.Contains(out, `"code":123`) {
		t.Errorf("DEL = exit %d, %s, want code 123", exit, out)
	}
	if links := Links(t, c.NS); len(links) != 0 {
		t.Errorf("links after the DEL that failed = %+v", links)
	}
	if rules := n.Ruleset(t); strings.Contains(rules, "10.1.2.2") {
		t.Errorf("rules after the DEL that failed:\n%s", rules)
	}
	if err := os.WriteFile(filepath.Join(n.DataDir, "fixed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, exit := n.Exec(t, p.Type, types.CommandDel, c, request); exit != 0 {
		t.Errorf("the second DEL: %s", out)
	}
}

// Check changes one thing after the other, and CHECK sees it, says it, and changes nothing.
func (p Interface) Check(t *testing.T) {
	t.Parallel()
	drifts := append([]Drift{
		{"interface gone", "container", "ip link del eth0", "eth0"},
		{"interface down", "container", "ip link set eth0 down", "eth0"},
		{"address gone", "container", "ip addr del 10.1.2.2/24 dev eth0", "10.1.2.2/24"},
		{"address with another prefix", "container", "ip addr del 10.1.2.2/24 dev eth0; ip addr add 10.1.2.2/25 dev eth0; ip route add default via 10.1.2.1", "10.1.2.2"},
		{"route gone", "container", "ip route del default", "0.0.0.0/0"},
		{"route by another gateway", "container", "ip route replace default via 10.1.2.9 dev eth0 onlink", "10.1.2.9"},
		{"another hardware address", "container", "ip link set eth0 address 02:00:00:00:00:77", "02:00:00:00:00:77"},
		{"host end down", "host", "ip link set $PORT down", "$PORT"},
		{"another mtu", "host", "ip link set $PORT mtu 1300", "1300"},
		{"not forwarding", "host", "echo 0 >/proc/sys/net/ipv4/ip_forward", "ip_forward"},
		{"listening to routers", "host", "echo 2 >/proc/sys/net/ipv6/conf/$PORT/accept_ra", "accept_ra"},
		{"rules flushed", "host", "nft flush ruleset", "masquerade"},
		{"reservation gone", "host", "rm DATADIR/net/10.1.2.2", "10.1.2.2"},
	}, p.Drifts...)
	for _, tt := range drifts {
		t.Run(tt.Name, func(t *testing.T) {
			t.Parallel()
			n := p.node(t)
			network := n.Network(t, p.list(types.V110, "net", subnet, defaultRoute))
			c := n.Container(t, "c1")
			port := hostEnd(t, n.Add(t, network, c), c)
			fill := strings.NewReplacer("$PORT", port, "DATADIR", n.DataDir)
			in := c.NS
			if tt.In == "host" {
				in = n.Host
			}
			in.Output(t, "sh", "-ec", fill.Replace(tt.Run))
			before := n.State(t, c)
			err := n.Runtime.Check(t.Context(), network, c.Attachment)
			if err == nil || !strings.Contains(err.Error(), fill.Replace(tt.Want)) {
				t.Errorf("CHECK = %v, want %q in it", err, fill.Replace(tt.Want))
			}
			if diff := cmp.Diff(before, n.State(t, c)); diff != "" {
				t.Errorf("CHECK changed (-before +after):\n%s", diff)
			}
		})
	}
}

// Unfit is about addresses and routes that do not go together, or with the mtu.
func (p Interface) Unfit(t *testing.T) {
	t.Parallel()
	n := p.node(t)
	ip4, ip6 := `[{"subnet":"10.1.2.0/24"}]`, `[{"subnet":"fd01:2::/64"}]`
	for i, tt := range []struct {
		name, version, mtu, ranges, routes, in string
		want                                   []string // in the error; none: it fits
	}{
		{"mtu", "0.4.0", "1000", ip4 + "," + ip6, "[]", "", []string{"mtu", "1000", "1280", "fd01:2::"}},
		{"mtu of IPv4", "0.4.0", "1000", ip4, "[]", "", nil},
		{"smallest mtu", "0.4.0", "1280", ip6, "[]", "", nil},
		{"IPv4 gateway without address", "0.4.0", "1400", ip6, `[{"dst":"10.9.0.0/16","gw":"10.9.0.1"}]`, "", []string{"10.9.0.0/16 via 10.9.0.1", "no IPv4 address"}},
		{"IPv4 gateway beside lo", "0.4.0", "1400", ip6, `[{"dst":"10.9.0.0/16","gw":"10.9.0.1"}]`, "ip link set lo up", nil},
		{"IPv4 on the link", "0.4.0", "1400", ip6, `[{"dst":"10.9.0.0/16"}]`, "", nil},
		{"IPv6 without address", "0.4.0", "1400", ip4, `[{"dst":"fd09::/64","gw":"fd09::1"}]`, "", nil},
		{"IPv6 switched off", "0.4.0", "1400", ip4, `[{"dst":"fd09::/64"}]`, "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6", []string{"fd09::/64", "no IPv6 address"}},
		{"IPv4 by IPv6", "1.0.0", "1400", ip4 + "," + ip6, `[{"dst":"10.9.0.0/16","gw":"fd01:2::9"}]`, "", nil},
		{"IPv6 by IPv4", "1.0.0", "1400", ip4 + "," + ip6, `[{"dst":"fd09::/64","gw":"10.1.2.9"}]`, "", []string{"fd09::/64 via 10.1.2.9", "IPv4 gateway"}},
		{"IPv4 by IPv6 in old versions", "0.4.0", "1400", ip4 + "," + ip6, `[{"dst":"10.9.0.0/16","gw":"fd01:2::9"}]`, "", []string{"ipam.routes[0].gw", "1.0.0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := n.Container(t, fmt.Sprintf("c%d", i))
			if tt.in != "" {
				c.Output(t, "sh", "-ec", tt.in)
			}
			request := fmt.Sprintf(`{"cniVersion":%q,"name":"net%d","type":%q,"bridge":"br%d","mtu":%s,"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[%s],"routes":%s}}`,
				tt.version, i, p.Type, i, tt.mtu, tt.ranges, tt.routes)
			out, exit := n.Exec(t, p.Type, types.CommandAdd, c, request)
			if tt.want == nil {
				if exit != 0 {
					t.Errorf("ADD = exit %d, %s, want success", exit, out)
				}
				if out, exit := n.Exec(t, p.Type, types.CommandDel, c, request); exit != 0 {
					t.Errorf("DEL = %s", out)
				}
				return
			}
			var document struct {
				Code types.Code
				Msg  string
			}
			if err := json.Unmarshal([]byte(out), &document); err != nil || exit != 1 || document.Code != types.ErrInvalidNetworkConfig {
				t.Errorf("ADD = exit %d, %s, want code %d", exit, out, types.ErrInvalidNetworkConfig)
			}
			for _, want := range tt.want {
				if !strings.Contains(document.Msg, want) {
					t.Errorf("msg is %q, want %q in it", document.Msg, want)
				}
			}
			if links, reserved := Links(t, c.NS), n.Reservations(t, fmt.Sprintf("net%d", i)); len(links)+len(reserved) != 0 {
				t.Errorf("left behind: links %+v, reservations %q", links, reserved)
			}
		})
	}
}

// Second is a plugin behind another one that made an interface of its own, with the same
// default route and one more: CHECK finds all in place, and its own route missing, whether
// the other one lists its gateway or not.
func (p Interface) Second(t *testing.T) {
	t.Parallel()
	for name, gateway := range map[string]string{"no gateway": "", "gateway": `,"gw":"10.9.9.1"`} {
		t.Run(name, func(t *testing.T) {
			n := p.node(t)
			n.Script(t, "first", `cat >/dev/null
[ $CNI_COMMAND = ADD ] || exit 0
in="nsenter --net=$CNI_NETNS ip"
{ $in link add net1 type veth peer name far1; $in addr add 10.9.9.2/24 dev net1
$in link set net1 up; $in link set far1 up; $in route add default via 10.9.9.1; $in route add 10.50.0.0/16 via 10.9.9.1; } >&2
echo '{"cniVersion":"1.1.0","interfaces":[{"name":"net1","sandbox":"'$CNI_NETNS'"}],"ips":[{"address":"10.9.9.2/24","gateway":"10.9.9.1","interface":0}],
"routes":[{"dst":"0.0.0.0/0"`+gateway+`},{"dst":"10.50.0.0/16"}]}'
`)
			network := n.Network(t, fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"first"},%s]}`, p.request(types.V110, "net", subnet, defaultRoute, "")))
			c := n.Container(t, "c1")
			n.Add(t, network, c)
			if err := n.Runtime.Check(t.Context(), network, c.Attachment); err != nil {
				t.Errorf("CHECK behind a plugin with routes of its own = %v, want nil", err)
			}
			c.Output(t, "ip", "route", "del", "default", "dev", "eth0")
			if err := n.Runtime.Check(t.Context(), network, c.Attachment); err == nil || !strings.Contains(err.Error(), "0.0.0.0/0 via 10.1.2.1") {
				t.Errorf("CHECK without the default route = %v, want one that names it", err)
			}
		})
	}
}

// GC keeps the attachments that are valid and those of other networks.
func (p Interface) GC(t *testing.T) {
	t.Parallel()
	n, ctx := p.node(t), t.Context()
	network := n.Network(t, p.list(types.V110, "net", subnet, ""))
	foreign := n.Network(t, p.list(types.V110, "other", "10.1.3.0/24", ""))
	var all []*Container
	for _, id := range []string{"c1", "c2", "c3"} {
		c := n.Container(t, id)
		n.Add(t, network, c)
		all = append(all, c)
	}
	neighbour := n.Container(t, "c1")
	n.Add(t, foreign, neighbour)
	if _, exit := n.Exec(t, p.Type, types.CommandGC, nil, fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","type":%q}`, p.Type)); exit == 0 {
		t.Error("GC without a list succeeded")
	}
	// A runtime that knows of none leaves it to the plugins.
	other := &skeltest.Runtime{Path: n.Runtime.Path, Start: n.Runtime.Start}
	for range 2 {
		if err := other.GC(ctx, network, []types.Attachment{{ContainerID: "c1", IfName: "eth0"}, {ContainerID: "c2", IfName: "eth1"}}); err != nil {
			t.Error(err)
		}
	}
	if got := n.Reservations(t, "net"); !slices.Equal(got, []string{"10.1.2.2"}) {
		t.Errorf("reservations = %q, want that of c1", got)
	}
	if err := n.Runtime.Check(ctx, network, all[0].Attachment); err != nil {
		t.Errorf("CHECK of the valid container: %v", err)
	}
	if err := n.Runtime.Check(ctx, foreign, neighbour.Attachment); err != nil {
		t.Errorf("CHECK of another network's container: %v", err)
	}
	for _, c := range all[1:] {
		if links := Links(t, c.NS); len(links) != 0 {
			t.Errorf("links of a stale container = %+v", links)
		}
	}
	if err := other.GC(ctx, network, []types.Attachment{}); err != nil {
		t.Error(err)
	}
	if rules := n.Ruleset(t); strings.Contains(rules, "10.1.2.") {
		t.Errorf("rules of the network after a GC of everything:\n%s", rules)
	}
}

// Status asks a fresh node, one without the firewall that is asked for, one without a free
// address, and one whose IPAM plugin is down.
func (p Interface) Status(t *testing.T) {
	t.Parallel()
	n, ctx := p.node(t), t.Context()
	network := n.Network(t, p.list(types.V110, "net", "10.1.2.0/30", ""))
	before := n.State(t)
	if err := n.Runtime.Status(ctx, network); err != nil {
		t.Errorf("STATUS of a fresh node: %v", err)
	}
	if diff := cmp.Diff(before, n.State(t)); diff != "" {
		t.Errorf("STATUS changed (-before +after):\n%s", diff)
	}
	request := p.request(types.V110, "net", "10.1.2.0/30", "", `,"ipMasqBackend":"iptables"`)
	if out, exit := n.Exec(t, p.Type, types.CommandStatus, nil, request, "PATH=/nowhere"); exit == 0 || !strings.Contains(out, `"code":50,"msg":"the host cannot masquerade"`) {
		t.Errorf("STATUS without iptables = %d, %s, want code 50", exit, out)
	}
	n.Add(t, network, n.Container(t, "c1")) // the only address
	if err := n.Runtime.Status(ctx, network); !errors.Is(err, types.ErrPluginNotAvailable) {
		t.Errorf("STATUS without a free address = %v, want code 50", err)
	}
	n.Script(t, "down", "cat >/dev/null\necho '{\"code\":51,\"msg\":\"down\"}'\nexit 1\n")
	down := n.Network(t, fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","plugins":[{"type":%q,%s,"ipam":{"type":"down"}}]}`, p.Type, p.Keys))
	if err := n.Runtime.Status(ctx, down); !errors.Is(err, types.ErrLimitedConnectivity) {
		t.Errorf("STATUS with an IPAM plugin that is down = %v, want code 51", err)
	}
}

// Example runs all commands of a runtime on the configuration file of the README.
func (p Interface) Example(t *testing.T, file string, addresses ...string) {
	t.Parallel()
	n, ctx := p.node(t), t.Context()
	network, c := n.File(t, file), n.Container(t, "c1")
	if err := n.Runtime.Status(ctx, network); err != nil {
		t.Errorf("STATUS: %v", err)
	}
	n.Add(t, network, c)
	if diff := cmp.Diff(addresses, FindLink(t, c.NS, "eth0").Addresses()); diff != "" {
		t.Errorf("addresses of eth0 (-want +got):\n%s", diff)
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
	if left := n.Reservations(t, network.Name); len(left) != 0 {
		t.Errorf("reservations after DEL = %q", left)
	}
}
