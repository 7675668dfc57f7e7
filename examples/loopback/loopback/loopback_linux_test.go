// SPDX-License-Identifier: Apache-2.0

package loopback_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/examples/loopback/loopback"
	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

func TestMain(m *testing.M) { plugintest.Main(m, loopback.Plugin()) }

// B4 of the compatibility notes, in every version.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	for _, v := range types.Versions() {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			n, ctx := plugintest.NewNode(t, "loopback"), t.Context()
			network := n.Network(t, `{"cniVersion":"`+v.String()+`","name":"lo","plugins":[{"type":"loopback"}]}`)
			c := n.Container(t, "c1")
			c.Attachment.IfName = "lo"
			result := n.Add(t, network, c)
			if len(result.IPs) != 2 || result.IPs[0].Address.String() != "127.0.0.1/8" || result.IPs[1].Address.String() != "::1/128" {
				t.Errorf("addresses = %v", result.IPs)
			}
			if v >= types.V030 && (result.Interfaces[0].Name != "lo" || result.Interfaces[0].MAC != "00:00:00:00:00:00" || result.Interfaces[0].Sandbox != c.Path()) {
				t.Errorf("interface = %+v", result.Interfaces[0])
			}
			if v >= types.V040 {
				if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
					t.Errorf("CHECK: %v", err)
				}
			}
			for range 2 {
				if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
					t.Errorf("DEL: %v", err)
				}
			}
			if state := string(c.Output(t, "ip", "-o", "link", "show", "lo")); strings.Contains(state, "LOOPBACK,UP") {
				t.Errorf("after DEL: %s, want lo down", state)
			}
		})
	}
}

// CHK-008, DEL-005, DEL-006, DEL-007, CHAIN-014.
func TestCommands(t *testing.T) {
	t.Parallel()
	n := plugintest.NewNode(t, "loopback")
	c := n.Container(t, "c1")
	const plain = `{"cniVersion":"1.1.0","name":"lo","type":"loopback"}`
	const prev = `{"cniVersion":"1.1.0","interfaces":[{"name":"x","sandbox":"/s"}],"ips":[{"address":"192.0.2.1/24","interface":0}]}`
	const chained = `{"cniVersion":"1.1.0","name":"lo","type":"loopback","prevResult":` + prev + `}`
	for _, tt := range []struct {
		name     string
		command  types.Command
		stdin    string
		environ  string
		wantOut  string
		wantExit int
	}{
		{"lo is down", types.CommandCheck, chained, "A=1", "lo: is down", 1},
		{"chained", types.CommandAdd, chained, "A=1", prev, 0},
		{"lo is up", types.CommandCheck, chained, "A=1", "", 0},
		{"no namespace", types.CommandDel, plain, "CNI_NETNS=", "", 0},
		{"namespace gone", types.CommandDel, plain, "CNI_NETNS=/run/netns/gone", "", 0},
		{"no namespace at the path", types.CommandDel, plain, "CNI_NETNS=/etc/passwd", "", 0},
	} {
		out, exit := n.Exec(t, "loopback", tt.command, c, tt.stdin, tt.environ)
		if exit != tt.wantExit || tt.wantExit == 0 && strings.TrimSpace(out) != tt.wantOut || !strings.Contains(out, tt.wantOut) {
			t.Errorf("%s: %s = exit %d, %s; want exit %d, %s", tt.name, tt.command, exit, out, tt.wantExit, tt.wantOut)
		}
	}
}

// A loopback link with another address is not what anybody means by one.
func TestForeignAddress(t *testing.T) {
	t.Parallel()
	n := plugintest.NewNode(t, "loopback")
	c := n.Container(t, "c1")
	c.Output(t, "ip", "addr", "add", "192.0.2.7/32", "dev", "lo")
	if out, exit := n.Exec(t, "loopback", types.CommandAdd, c, `{"cniVersion":"1.1.0","name":"lo","type":"loopback"}`); exit == 0 || !strings.Contains(out, "192.0.2.7") {
		t.Errorf("ADD = exit %d, %s; want an error that names 192.0.2.7", exit, out)
	}
}

// The configuration of the README.
func TestExample(t *testing.T) {
	t.Parallel()
	n, ctx := plugintest.NewNode(t, "loopback"), t.Context()
	network, c := n.File(t, "../testdata/99-loopback.conflist"), n.Container(t, "c1")
	c.Attachment.IfName = "lo"
	n.Add(t, network, c)
	if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	if err := n.Runtime.Status(ctx, network); err != nil {
		t.Errorf("STATUS: %v", err)
	}
	if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
		t.Errorf("DEL: %v", err)
	}
}

// DEL-008: a path that leads to another container meanwhile is none of ours. One that
// bears no mark, since another plugin set it up, is.
func TestDelRecycled(t *testing.T) {
	t.Parallel()
	n := plugintest.NewNode(t, "loopback")
	const request = `{"cniVersion":"1.1.0","name":"lo","type":"loopback"}`
	for _, tt := range []struct {
		name   string
		mark   string
		wantUp bool
	}{
		{"another container", "cnikit:lo/c2/eth0", true},
		{"a name that somebody gave", "mine", true},
		{"no mark", "", false},
		{"our mark", "cnikit:lo/c1/eth0", false},
	} {
		c := n.Container(t, "c1")
		c.Output(t, "ip", "link", "set", "lo", "up", "alias", tt.mark)
		if out, exit := n.Exec(t, "loopback", types.CommandDel, c, request); exit != 0 || out != "" {
			t.Errorf("%s: DEL = exit %d, %s", tt.name, exit, out)
		}
		if up := strings.Contains(string(c.Output(t, "ip", "-o", "link", "show", "lo")), "LOOPBACK,UP"); up != tt.wantUp {
			t.Errorf("%s: after DEL lo is up = %v, want %v", tt.name, up, tt.wantUp)
		}
	}
	c := n.Container(t, "c3")
	if out, exit := n.Exec(t, "loopback", types.CommandAdd, c, request); exit != 0 {
		t.Fatalf("ADD: %s", out)
	}
	if state := string(c.Output(t, "ip", "link", "show", "lo")); !strings.Contains(state, "alias cnikit:lo/c3/eth0") {
		t.Errorf("after ADD: %s, want the mark", state)
	}
}

// PROTO-044, PROTO-045, DEL-008, AMB-048: the path was a container's when it was looked
// at, and leads to the host when the handler opens it. The host's loopback link, which
// bears nobody's mark, stays as it is. CNI_NETNS_OVERRIDE may mean the host.
func TestHost(t *testing.T) {
	t.Parallel()
	for _, meant := range []bool{false, true} {
		host := nstest.New(t)
		n, err := ns.Open(host.Path())
		if err != nil {
			t.Fatal(err)
		}
		host.Output(t, "ip", "link", "set", "lo", "up")
		p := loopback.Plugin()
		r := &skel.Request[loopback.Config]{
			Call:     types.Call{ContainerID: "c1", IfName: "lo", Netns: host.Path()},
			Net:      &types.PluginConfig{Name: "lo"},
			OwnNetns: meant,
			Log:      slog.New(slog.DiscardHandler),
		}
		err = n.Do(func() error {
			if err := p.Check(t.Context(), r); (err == nil) != meant {
				t.Errorf("CHECK, the host meant %t = %v", meant, err)
			}
			if err := p.Del(t.Context(), r); err != nil {
				t.Errorf("DEL, the host meant %t = %v, want success", meant, err)
			}
			state := string(host.Output(t, "ip", "-o", "link", "show", "lo"))
			if up := strings.Contains(state, "LOOPBACK,UP"); up == meant {
				t.Errorf("DEL, the host meant %t: lo is up = %t", meant, up)
			}
			if _, err := p.Add(t.Context(), r); (err == nil) != meant {
				t.Errorf("ADD, the host meant %t = %v", meant, err)
			}
			return nil
		})
		if err := errors.Join(err, n.Close()); err != nil {
			t.Error(err)
		}
	}
}
