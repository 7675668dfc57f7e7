// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/cnikit/cnikit/internal/nstest"
)

// referencePlugins are built from the reference module beside ours, to take turns
// with them on one node.
var referencePlugins = []string{"main/bridge", "main/ptp", "main/loopback", "ipam/host-local"}

// buildReference builds the reference plugins into a directory.
func buildReference(dir string) error {
	for _, plugin := range referencePlugins {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "reference", filepath.Base(plugin)),
			"github.com/containernetworking/plugins/plugins/"+plugin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the reference %s: %w\n%s", plugin, err, out)
		}
	}
	return nil
}

// A container that one implementation attaches is checked and detached by the
// other, on one store and one host, with neighbours of both.
func TestTakingTurns(t *testing.T) {
	t.Parallel()
	networks := map[string]string{
		"bridge": `{"type":"bridge","bridge":"br0","isDefaultGateway":true,%s}`,
		"masq":   `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,%s}`,
		"nft":    `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"ipMasqBackend":"nftables","macspoofchk":true,%s}`,
		// With a gateway: without one the reference lets the bridge change its address, and
		// then fails its own CHECK.
		"hairpin": `{"type":"bridge","bridge":"br0","isGateway":true,"hairpinMode":true,%s}`,
		"ptp":     `{"type":"ptp","ipMasq":true,%s}`,
	}
	ours, reference := bin, filepath.Join(bin, "reference")
	for name, format := range networks {
		for _, order := range [][2]string{{ours, reference}, {reference, ours}} {
			first := "ours first"
			if order[0] == reference {
				first = "reference first"
			}
			t.Run(name+"/"+first, func(t *testing.T) {
				t.Parallel()
				takeTurns(t, format, order)
			})
		}
	}
}

func takeTurns(t *testing.T, format string, order [2]string) {
	n := newNode(t)
	ipam := fmt.Sprintf(`"ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.88.0.0/24"}]],"routes":[{"dst":"10.99.0.0/16"}]}`, n.dataDir)
	l, err := libcni.ConfListFromBytes([]byte(`{"cniVersion":"1.0.0","name":"interop","plugins":[` + fmt.Sprintf(format, ipam) + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	runtime := func(dir string) *libcni.CNIConfig { return libcni.NewCNIConfigWithCacheDir([]string{dir}, cache, nil) }
	conf := func(id string, ns *nstest.NS) *libcni.RuntimeConf {
		return &libcni.RuntimeConf{ContainerID: id, NetNS: ns.Path(), IfName: "eth0"}
	}
	neighbours := []*libcni.RuntimeConf{conf("n0", nstest.New(t)), conf("n1", nstest.New(t))}
	for i, c := range neighbours {
		n.do(t, func(ctx context.Context) error {
			_, err := runtime(order[i]).AddNetworkList(ctx, l, c)
			return err
		})
	}
	subject := conf("subject", n.container)
	rules := n.rules(t)
	n.do(t, func(ctx context.Context) error {
		if _, err := runtime(order[0]).AddNetworkList(ctx, l, subject); err != nil {
			return fmt.Errorf("ADD by %s: %w", filepath.Base(order[0]), err)
		}
		if err := runtime(order[1]).CheckNetworkList(ctx, l, subject); err != nil {
			return fmt.Errorf("CHECK by %s: %w", filepath.Base(order[1]), err)
		}
		if err := runtime(order[1]).DelNetworkList(ctx, l, subject); err != nil {
			return fmt.Errorf("DEL by %s: %w", filepath.Base(order[1]), err)
		}
		return nil
	})
	if got := n.reservations(t); len(got) != 2 {
		t.Errorf("reservations = %q, want those of the neighbours", got)
	}
	if links := string(n.container.Output(t, "ip", "-o", "link")); strings.Contains(links, "eth0") {
		t.Errorf("links of the container after DEL:\n%s", links)
	}
	if order[1] == bin { // we clean up after the reference, who knows nothing of us
		if got := n.rules(t); strings.Contains(got, "subject") || strings.Contains(got, "10.88.0.4") {
			t.Errorf("rules after DEL:\n%s\nbefore ADD:\n%s", got, rules)
		}
	}
	for i, c := range neighbours {
		n.do(t, func(ctx context.Context) error { return runtime(order[i]).CheckNetworkList(ctx, l, c) })
		n.do(t, func(ctx context.Context) error { return runtime(order[1-i]).DelNetworkList(ctx, l, c) })
	}
	if got := n.reservations(t); len(got) != 0 {
		t.Errorf("reservations in the end = %q", got)
	}
}

// rules returns all rules of the host's firewall, of both kinds.
func (n *node) rules(t *testing.T) string {
	t.Helper()
	return string(n.host.Output(t, "nft", "list", "ruleset")) + string(n.host.Output(t, "iptables-save")) + string(n.host.Output(t, "ip6tables-save"))
}
