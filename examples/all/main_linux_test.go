// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/cnikit/cnikit/examples/bridge/bridge"
	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/examples/loopback/loopback"
	"github.com/cnikit/cnikit/examples/portmap/portmap"
	"github.com/cnikit/cnikit/examples/ptp/ptp"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/types"
)

func TestMain(m *testing.M) {
	plugintest.Main(m, bridge.Plugin(), hostlocal.Plugin(), loopback.Plugin(), portmap.Plugin(), ptp.Plugin())
}

// One executable under five names: each is the plugin that its name says, and those that
// delegate reach the other inside.
func TestNames(t *testing.T) {
	t.Parallel()
	n, ctx := plugintest.NewNode(t, "bridge", "host-local", "loopback", "portmap", "ptp"), t.Context()
	for name, text := range map[string]string{
		"bridge": `{"cniVersion":"1.1.0","name":"pods","plugins":[
			{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.1.2.0/24"}]]}},
			{"type":"portmap","capabilities":{"portMappings":true}}]}`,
		"ptp":      `{"cniVersion":"1.1.0","name":"cable","plugins":[{"type":"ptp","ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.1.3.0/24"}]]}}]}`,
		"loopback": `{"cniVersion":"1.1.0","name":"lo","plugins":[{"type":"loopback"}]}`,
	} {
		network, c := n.Network(t, text), n.Container(t, name)
		n.Add(t, network, c)
		if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
			t.Errorf("%s: CHECK: %v", name, err)
		}
		if err := n.Runtime.GC(ctx, network, []types.Attachment{}); err != nil {
			t.Errorf("%s: GC: %v", name, err)
		}
		if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
			t.Errorf("%s: DEL: %v", name, err)
		}
	}
	if links := plugintest.Links(t, n.Host); len(links) != 1 || len(n.Reservations(t, "pods"))+len(n.Reservations(t, "cable")) != 0 {
		t.Errorf("left behind: links %+v, reservations %q and %q", links, n.Reservations(t, "pods"), n.Reservations(t, "cable"))
	}
}

// Under a name of its own the type of the configuration chooses.
func TestType(t *testing.T) {
	t.Parallel()
	n := plugintest.NewNode(t, "all")
	c := n.Container(t, "c1")
	if out, exit := n.Exec(t, "all", types.CommandAdd, c, `{"cniVersion":"1.1.0","name":"lo","type":"loopback"}`); exit != 0 {
		t.Errorf("ADD of loopback = exit %d, %s", exit, out)
	}
	if out, exit := n.Exec(t, "all", types.CommandAdd, c, `{"cniVersion":"1.1.0","name":"x","type":"macvlan"}`); exit != 1 {
		t.Errorf("ADD of a plugin that it does not hold = exit %d, %s; want 1", exit, out)
	}
}
