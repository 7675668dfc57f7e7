// SPDX-License-Identifier: Apache-2.0

package bridge_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/types"
)

// DEL-014, DEL-015, DEL-016, DLG-007: the IPAM plugin gets DEL even without a
// namespace; its error comes back as it is, after the plugin's own work is done.
func TestDelOfDelegateFails(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	log := filepath.Join(n.DataDir, "log")
	n.Script(t, "fake", `cat >/dev/null; echo $CNI_COMMAND >>`+log+`
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"}]}' ;;
DEL) echo '{"cniVersion":"1.1.0","code":111,"msg":"the lease is stuck","details":"more of it"}'; exit 1 ;;
esac
`)
	const request = `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","ipMasq":true,"ipam":{"type":"fake"}}`
	c := n.Container(t, "c1")
	if out, exit := n.Exec(t, "bridge", types.CommandAdd, c, request); exit != 0 {
		t.Fatalf("ADD: %s", out)
	}
	out, exit := n.Exec(t, "bridge", types.CommandDel, c, request, "CNI_NETNS=")
	said, err := types.DecodeError([]byte(out))
	if err != nil || exit != 1 || said.Code != 111 || said.Msg != "the lease is stuck" || !strings.HasPrefix(said.Details, "more of it") {
		t.Errorf("DEL = exit %d, %s, want the delegate's error", exit, out)
	}
	if got, err := os.ReadFile(log); err != nil || string(got) != "ADD\nDEL\n" {
		t.Errorf("the IPAM plugin saw %q, %v", got, err)
	}
	if links := plugintest.Links(t, n.Host); len(links) != 1 || strings.Contains(n.Ruleset(t), "10.1.2.2") {
		t.Errorf("left: links %+v, rules\n%s", links, n.Ruleset(t))
	}
}

// ADD-024: an address that refers to an interface which is not there.
func TestIPAMIndexOutOfRange(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.Script(t, "fake", `cat >/dev/null
[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24","interface":99}]}'
exit 0
`)
	c := n.Container(t, "c1")
	out, exit := n.Exec(t, "bridge", types.CommandAdd, c, `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","ipam":{"type":"fake"}}`)
	if exit == 0 || !strings.Contains(out, "ips[0].interface") {
		t.Errorf("ADD = exit %d, %s, want an error about ips[0].interface", exit, out)
	}
	if links := plugintest.Links(t, c.NS); len(links) != 0 {
		t.Errorf("links of the container = %+v, want none", links)
	}
}

// CHK-013, ADD-025, STA-006: CHECK directly after ADD, again and again, and nobody
// asked for STATUS.
func TestCheckRightAfterAdd(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", `,"isDefaultGateway":true`, subnet4, subnet6))
	for range 20 {
		c := n.Container(t, "c1")
		n.Add(t, network, c)
		if err := n.Runtime.Check(ctx, network, c.Attachment); err != nil {
			t.Fatalf("CHECK right after ADD: %v", err)
		}
		if err := n.Runtime.Del(ctx, network, c.Attachment); err != nil {
			t.Fatal(err)
		}
	}
}

// STA-002, STA-004, STA-007, ERR-018, ERR-019, DEL-028: without a free address
// STATUS is 50 and ADD 11; DEL works all the same, also for a container that was
// never there.
func TestExhausted(t *testing.T) {
	t.Parallel()
	n, ctx := newNode(t), t.Context()
	network := n.Network(t, config("1.1.0", "", "10.1.2.0/30"))
	c, late := n.Container(t, "c1"), n.Container(t, "late")
	n.Add(t, network, c)
	before := n.State(t, c, late)
	if err := n.Runtime.Status(ctx, network); !errors.Is(err, types.ErrPluginNotAvailable) {
		t.Errorf("STATUS = %v, want code 50", err)
	}
	if _, err := n.Runtime.Add(ctx, network, late.Attachment); !errors.Is(err, types.ErrTryAgainLater) {
		t.Errorf("ADD = %v, want code 11", err)
	}
	if diff := cmp.Diff(before, n.State(t, c, late)); diff != "" {
		t.Errorf("STATUS and the failed ADD left (-before +after):\n%s", diff)
	}
	for _, container := range []*plugintest.Container{late, c} {
		if err := n.Runtime.Del(ctx, network, container.Attachment); err != nil {
			t.Errorf("DEL of %s: %v", container.Attachment.ContainerID, err)
		}
	}
	if err := n.Runtime.Status(ctx, network); err != nil {
		t.Errorf("STATUS with a free address: %v", err)
	}
}

// ARG-020, CAP-019: what ADD was given besides is not needed for DEL.
func TestDelWithoutArguments(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := n.Container(t, "c1")
	request := func(more string) string {
		return `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0"` + more + `,"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.1.2.0/24"}]]}}`
	}
	if out, exit := n.Exec(t, "bridge", types.CommandAdd, c, request(`,"runtimeConfig":{"ips":["10.1.2.77"],"mac":"02:00:00:00:00:0a"}`), "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=x"); exit != 0 || !strings.Contains(out, "10.1.2.77/24") {
		t.Fatalf("ADD: %s", out)
	}
	if out, exit := n.Exec(t, "bridge", types.CommandDel, c, request("")); exit != 0 {
		t.Errorf("DEL: %s", out)
	}
	if got := n.Reservations(t, "net"); len(got) != 0 || len(plugintest.Links(t, c.NS)) != 0 {
		t.Errorf("left: reservations %q, links %+v", got, plugintest.Links(t, c.NS))
	}
}

// ADD-020, ADD-015, ADD-008: a container that has a default route already, by another
// network or by another interface in the same one, gets a second one before the first,
// as from the reference plugin. Either attachment goes without the other.
func TestSecondDefaultRoute(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]string{"another network": "other", "the same network": "net"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, ctx := newNode(t), t.Context()
			subnets := map[string][]string{"net": {subnet4, subnet6}, "other": {"10.1.9.0/24", "fd09::/64"}}
			first := n.Network(t, config("0.4.0", `,"isDefaultGateway":true`, subnets["net"]...))
			second := n.Network(t, strings.ReplaceAll(config("0.4.0", `,"isDefaultGateway":true`, subnets[other]...), `"net"`, `"`+other+`"`))
			c := n.Container(t, "c1")
			n.Add(t, first, c)
			more := c.Attachment
			more.IfName = "net1"
			if _, err := n.Runtime.Add(ctx, second, more); err != nil {
				t.Fatalf("ADD with a second default route = %v", err)
			}
			if got := string(c.NS.Output(t, "ip", "-4", "route", "show", "default")); !strings.Contains(strings.SplitN(got, "\n", 2)[0], "dev net1") {
				t.Errorf("default routes are %q, want that of the second network first", got)
			}
			for _, err := range []error{n.Runtime.Check(ctx, first, c.Attachment), n.Runtime.Check(ctx, second, more), n.Runtime.Del(ctx, first, c.Attachment), n.Runtime.Check(ctx, second, more)} {
				if err != nil {
					t.Error(err)
				}
			}
			if err := n.Runtime.Del(ctx, second, more); err != nil {
				t.Error(err)
			}
			if links := plugintest.Links(t, c.NS); len(links) != 0 || len(n.Reservations(t, "net"))+len(n.Reservations(t, other)) != 0 {
				t.Errorf("left: links %+v, reservations %q", links, append(n.Reservations(t, "net"), n.Reservations(t, other)...))
			}
		})
	}
}
