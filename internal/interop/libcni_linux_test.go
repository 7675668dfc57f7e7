// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	reference "github.com/containernetworking/cni/pkg/types"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// bin is the directory with the example plugins.
var bin string

func TestMain(m *testing.M) {
	dir, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bin = dir
	skeltest.Main(m)
}

// build builds the example plugins, once: a test binary that nstest starts again
// finds them in the environment.
func build() (string, error) {
	const variable = "INTEROP_BIN"
	if dir := os.Getenv(variable); dir != "" {
		return dir, nil
	}
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		return "", err
	}
	for _, plugin := range []string{"hello", "bridge", "ptp", "loopback", "host-local"} {
		if err := buildPlugin(dir, plugin); err != nil {
			return "", err
		}
	}
	if err := buildReference(dir); err != nil {
		return "", err
	}
	return dir, os.Setenv(variable, dir)
}

// buildPlugin builds an example plugin into a directory.
func buildPlugin(dir, plugin string) error {
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, plugin), "./examples/"+plugin)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", plugin, err, out)
	}
	return nil
}

// list returns a network of the three plugins.
func list(t *testing.T, version, dataDir string) *libcni.NetworkConfigList {
	t.Helper()
	text := fmt.Sprintf(`{"cniVersion":%q,"name":"interop","plugins":[
		{"type":"bridge","bridge":"br0","isGateway":true,"isDefaultGateway":true,
		 "ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.88.0.0/24"}]]}},
		{"type":"hello","greeting":"hi"}]}`, version, dataDir)
	if version < "0.3.0" {
		// Chaining is younger than these versions.
		text = fmt.Sprintf(`{"cniVersion":%q,"name":"interop","plugins":[
			{"type":"bridge","bridge":"br0","isGateway":true,"ipam":{"type":"host-local","dataDir":%q,"subnet":"10.88.0.0/24"}}]}`, version, dataDir)
	}
	l, err := libcni.ConfListFromBytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// node is a host with a container, and the reference runtime on it.
type node struct {
	host, container *nstest.NS
	runtime         *libcni.CNIConfig
	conf            *libcni.RuntimeConf
	dataDir         string
}

func newNode(t *testing.T) *node {
	t.Helper()
	container := nstest.New(t)
	return &node{
		host:      nstest.New(t),
		container: container,
		runtime:   libcni.NewCNIConfigWithCacheDir([]string{bin}, t.TempDir(), nil),
		conf:      &libcni.RuntimeConf{ContainerID: "c1", NetNS: container.Path(), IfName: "eth0"},
		dataDir:   t.TempDir(),
	}
}

// do runs f in the host's namespace, which the plugins inherit.
func (n *node) do(t *testing.T, f func(ctx context.Context) error) {
	t.Helper()
	n.host.Do(t, func() {
		if err := f(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// reservations returns the addresses in the store.
func (n *node) reservations(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.dataDir, "interop"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "10.") {
			all = append(all, e.Name())
		}
	}
	return all
}

// Every version, under the reference runtime library: ADD, CHECK, DEL twice, and
// nothing left. VER-012, ADD-002, CHK-001, DEL-001, DEL-002, DEL-003.
func TestLibcni(t *testing.T) {
	t.Parallel()
	for _, v := range types.Versions() {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			l := list(t, v.String(), n.dataDir)
			n.do(t, func(ctx context.Context) error {
				result, err := n.runtime.AddNetworkList(ctx, l, n.conf)
				if err != nil {
					return err
				}
				return judge(result, v)
			})
			if got := n.reservations(t); len(got) != 1 {
				t.Errorf("reservations after ADD = %q, want one", got)
			}
			n.do(t, func(ctx context.Context) error {
				if v < types.V040 {
					return nil
				}
				return n.runtime.CheckNetworkList(ctx, l, n.conf)
			})
			for range 2 {
				n.do(t, func(ctx context.Context) error { return n.runtime.DelNetworkList(ctx, l, n.conf) })
			}
			if got := n.reservations(t); len(got) != 0 {
				t.Errorf("reservations after DEL = %q, want none", got)
			}
			if links := n.container.Output(t, "ip", "-o", "link"); strings.Contains(string(links), "eth0") {
				t.Errorf("links of the container after DEL:\n%s", links)
			}
		})
	}
}

// judge looks at a result with the eyes of the reference library.
func judge(result reference.Result, v types.Version) error {
	if result.Version() != v.String() {
		return fmt.Errorf("result has version %s, want %s", result.Version(), v)
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return err
	}
	if !strings.Contains(string(raw), `"10.88.0.2/24"`) {
		return fmt.Errorf("result = %s, want the address 10.88.0.2/24 in it", raw)
	}
	return nil
}

// The commands of 1.1.0. STA-001, GC-005, GC-006, GC-010.
func TestLibcni_GC(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	l := list(t, "1.1.0", n.dataDir)
	stale := *n.conf
	stale.ContainerID, stale.NetNS = "c2", nstest.New(t).Path()
	n.do(t, func(ctx context.Context) error {
		if err := n.runtime.GetStatusNetworkList(ctx, l); err != nil {
			return err
		}
		for _, conf := range []*libcni.RuntimeConf{n.conf, &stale} {
			if _, err := n.runtime.AddNetworkList(ctx, l, conf); err != nil {
				return err
			}
		}
		// A runtime that knows nothing of the stale container leaves it to the plugins.
		other := libcni.NewCNIConfigWithCacheDir([]string{bin}, t.TempDir(), nil)
		return other.GCNetworkList(ctx, l, &libcni.GCArgs{ValidAttachments: []reference.GCAttachment{{ContainerID: "c1", IfName: "eth0"}}})
	})
	if got := n.reservations(t); len(got) != 1 || got[0] != "10.88.0.2" {
		t.Errorf("reservations after GC = %q, want that of the valid container", got)
	}
	n.do(t, func(ctx context.Context) error { return n.runtime.CheckNetworkList(ctx, l, n.conf) })
}

// A plugin's versions, as the reference library reads them. VER-002.
func TestLibcni_version(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, plugin := range []string{"hello", "bridge", "host-local"} {
		info, err := n.runtime.GetVersionInfo(t.Context(), plugin)
		if err != nil {
			t.Errorf("%s: %v", plugin, err)
			continue
		}
		for _, v := range types.Versions() {
			if !strings.Contains(strings.Join(info.SupportedVersions(), " "), v.String()) {
				t.Errorf("%s: supported versions = %q, want %s among them", plugin, info.SupportedVersions(), v)
			}
		}
	}
}
