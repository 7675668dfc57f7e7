// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// Main is the TestMain of a package with plugins: the test binary is one of them
// when a runtime runs it.
func Main(m *testing.M, plugins ...skel.Runner) {
	if os.Getenv("CNI_COMMAND") != "" {
		skel.Main(plugins...)
	}
	nstest.Main(m)
}

// Node is a host with a runtime on it.
type Node struct {
	Host    *nstest.NS
	Runtime *skeltest.Runtime
	// DataDir is for the reservations of the host-local plugin.
	DataDir string
}

// NewNode makes a host whose plugins, by these names, are the test binary.
func NewNode(t testing.TB, plugins ...string) *Node {
	t.Helper()
	n := &Node{Host: nstest.New(t), DataDir: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range plugins {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	n.Runtime = &skeltest.Runtime{Path: []string{dir}, Start: n.Host.Start}
	n.Host.Output(t, "ip", "link", "set", "lo", "up")
	return n
}

// Script puts a plugin written in shell beside the others.
func (n *Node) Script(t testing.TB, name, script string) {
	t.Helper()
	path := filepath.Join(n.Runtime.Path[0], name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// Container is a container that may be attached.
type Container struct {
	*nstest.NS
	Attachment skeltest.Attachment
}

// Container makes a container; its interface is eth0.
func (n *Node) Container(t testing.TB, id string) *Container {
	t.Helper()
	c := &Container{NS: nstest.New(t)}
	c.Attachment = skeltest.Attachment{ContainerID: id, Netns: c.Path(), IfName: "eth0"}
	return c
}

// Network parses a network configuration in which DATADIR stands for the node's
// data directory.
func (n *Node) Network(t testing.TB, text string) *types.Network {
	t.Helper()
	network, err := types.ParseNetwork([]byte(strings.ReplaceAll(text, "DATADIR", n.DataDir)))
	if err != nil {
		t.Fatal(err)
	}
	return network
}

// File reads a network configuration of an example as it stands in the repository, but
// for the directory of the reservations, which is the node's.
func (n *Node) File(t testing.TB, path string) *types.Network {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return n.Network(t, strings.ReplaceAll(string(text), `"type": "host-local",`, `"type": "host-local", "dataDir": "DATADIR",`))
}

// Add attaches a container, and ends the test if that fails.
func (n *Node) Add(t testing.TB, network *types.Network, c *Container) *types.Result {
	t.Helper()
	result, err := n.Runtime.Add(t.Context(), network, c.Attachment)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// Stderr returns what the last execution wrote to standard error.
func (n *Node) Stderr() string {
	all := n.Runtime.Executions()
	return string(all[len(all)-1].Stderr)
}

// Reservations returns the addresses that the host-local plugin holds for a
// network.
func (n *Node) Reservations(t testing.TB, network string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.DataDir, network))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err == nil {
			all = append(all, e.Name())
		}
	}
	return all
}

// IP runs ip with JSON output in a namespace and decodes it.
func IP(t testing.TB, in *nstest.NS, out any, args ...string) {
	t.Helper()
	data := in.Output(t, "ip", append([]string{"-j", "-d"}, args...)...)
	if len(data) == 0 {
		return
	}
	if err := json.Unmarshal(data, out); err != nil {
		t.Fatalf("ip %q: %v\n%s", args, err, data)
	}
}

// Link is a link as ip shows it.
type Link struct {
	Index   int      `json:"ifindex"`
	Name    string   `json:"ifname"`
	Flags   []string `json:"flags"`
	MTU     int      `json:"mtu"`
	Master  string   `json:"master"`
	State   string   `json:"operstate"`
	TxQLen  int      `json:"txqlen"`
	MAC     string   `json:"address"`
	Alias   string   `json:"ifalias"`
	Promisc int      `json:"promiscuity"`
	Info    struct {
		Kind string `json:"info_kind"`
		Data struct {
			Hairpin  bool `json:"hairpin"`
			Isolated bool `json:"isolated"`
		} `json:"info_slave_data"`
	} `json:"linkinfo"`
	Addrs []struct {
		Local     string `json:"local"`
		PrefixLen int    `json:"prefixlen"`
		Scope     string `json:"scope"`
		Tentative bool   `json:"tentative"`
	} `json:"addr_info"`
}

// Links returns the links of a namespace with their addresses, less the loopback.
func Links(t testing.TB, in *nstest.NS) []Link {
	t.Helper()
	var all []Link
	IP(t, in, &all, "addr")
	return slices.DeleteFunc(all, func(l Link) bool { return l.Name == "lo" })
}

// FindLink returns a link by its name, and ends the test if there is none.
func FindLink(t testing.TB, in *nstest.NS, name string) Link {
	t.Helper()
	for _, l := range Links(t, in) {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("there is no link %s", name)
	return Link{}
}

// Addresses returns the addresses of a link, less link-local ones, sorted.
func (l Link) Addresses() []string {
	var all []string
	for _, a := range l.Addrs {
		if a.Scope != "link" {
			all = append(all, fmt.Sprintf("%s/%d", a.Local, a.PrefixLen))
		}
	}
	slices.Sort(all)
	return all
}

// Up reports whether the link was set up.
func (l Link) Up() bool { return slices.Contains(l.Flags, "UP") }

// Routes returns the routes of a namespace in the words of ip, one a line, less
// those of link-local addresses, and without the state of their links, which follows in
// the kernel's own time.
func Routes(t testing.TB, in *nstest.NS) []string {
	t.Helper()
	var all []string
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(string(in.Output(t, "ip", family, "route"))) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "fe80::") {
				all = append(all, strings.TrimSuffix(strings.Join(strings.Fields(line), " "), " linkdown"))
			}
		}
	}
	return all
}

// State is everything that attachments may leave behind on a node: its links,
// addresses, routes and rules, those of the containers, and the reservations.
func (n *Node) State(t testing.TB, containers ...*Container) string {
	t.Helper()
	var b strings.Builder
	for _, ns := range append([]*nstest.NS{n.Host}, namespaces(containers)...) {
		for _, args := range [][]string{{"-o", "addr"}, {"route", "show", "table", "all"}, {"-6", "route", "show", "table", "all"}, {"rule"}} {
			writeState(&b, string(ns.Output(t, "ip", args...)))
		}
	}
	err := filepath.WalkDir(n.DataDir, func(path string, _ os.DirEntry, err error) error {
		fmt.Fprintln(&b, strings.TrimPrefix(path, n.DataDir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// writeState writes the output of ip without what the kernel does in its own time:
// link-local addresses come late, and flags follow the carrier.
func writeState(b *strings.Builder, output string) {
	flags := strings.NewReplacer(" linkdown", "", " tentative", "", " dadfailed", "")
	for line := range strings.Lines(output) {
		if !strings.Contains(line, "fe80:") && !strings.Contains(line, "ff00::/8") {
			b.WriteString(strings.TrimRight(flags.Replace(line), " \n") + "\n")
		}
	}
}

func namespaces(containers []*Container) []*nstest.NS {
	var all []*nstest.NS
	for _, c := range containers {
		all = append(all, c.NS)
	}
	return all
}

// Exec runs one command of a plugin by hand, with a request of the caller's own.
func (n *Node) Exec(t testing.TB, plugin string, command types.Command, c *Container, stdin string, environ ...string) (stdout string, exit int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(n.Runtime.Path[0], plugin))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+string(command), "CNI_PATH="+n.Runtime.Path[0])
	if c != nil {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID="+c.Attachment.ContainerID, "CNI_NETNS="+c.Attachment.Netns, "CNI_IFNAME="+c.Attachment.IfName)
	}
	cmd.Env = append(cmd.Env, environ...)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(stdin, "DATADIR", n.DataDir))
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := n.Host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	// The exit status is the caller's to judge.
	_ = cmd.Wait()
	if errs.Len() > 0 {
		t.Logf("%s %s: %s", plugin, command, errs.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}
