// SPDX-License-Identifier: Apache-2.0

package portmap_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/examples/portmap/portmap"
	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel"
)

// TestMain lets the test binary play the plugin.
func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		skel.Main(portmap.Plugin())
		return
	}
	nstest.Main(m)
}

// host is a host with a container behind a cable, and the outside behind another.
type host struct {
	ns, container, outside *nstest.NS
	env                    []string // of the plugin, beyond the test's
	wrap                   []string // a command that runs the plugin, which is its last argument
}

func newHost(t *testing.T) host {
	t.Helper()
	h := host{ns: nstest.New(t), container: nstest.New(t), outside: nstest.New(t)}
	nstest.NeedSysctl(t, h.ns)
	script := func(n *nstest.NS, commands string) {
		t.Helper()
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(commands)
		if cmd.Err != nil {
			nstest.Lacks(t, "program ip", cmd.Err)
		}
		if err := n.Run(cmd); err != nil {
			t.Fatalf("ip: %v", err)
		}
	}
	for _, n := range []*nstest.NS{h.ns, h.container, h.outside} {
		n.Do(t, func() { // links that come later speak IPv6 at once
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0); err != nil {
				t.Fatal(err)
			}
		})
	}
	script(h.ns, fmt.Sprintf(`link set lo up
link add out0 type veth peer name eth0 netns /proc/%d/fd/%d
link add con0 type veth peer name eth0 netns /proc/%d/fd/%d
addr add 192.0.2.1/24 dev out0
addr add 2001:db8:9::1/64 dev out0 nodad
addr add 10.1.2.1/24 dev con0
addr add fd00:1::1/64 dev con0 nodad
link set out0 up
link set con0 up
`, os.Getpid(), h.outside.Fd(), os.Getpid(), h.container.Fd()))
	script(h.outside, "link set lo up\naddr add 192.0.2.2/24 dev eth0\naddr add 2001:db8:9::2/64 dev eth0 nodad\nlink set eth0 up\n")
	script(h.container, "link set lo up\naddr add 10.1.2.2/24 dev eth0\naddr add fd00:1::2/64 dev eth0 nodad\nlink set eth0 up\n"+
		"route add default via 10.1.2.1\nroute add default via fd00:1::1\n")
	h.ns.Do(t, func() {
		for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0); err != nil {
				t.Fatal(err)
			}
		}
	})
	return h
}

// conf is a configuration with members added or, if nil, left out.
func conf(t *testing.T, members map[string]any) []byte {
	t.Helper()
	all := map[string]any{
		"cniVersion": "1.1.0", "name": "pmnet", "type": "portmap",
		"runtimeConfig": map[string]any{"portMappings": []any{
			map[string]any{"hostPort": 8080, "containerPort": 7, "protocol": "TCP"},
		}},
		"prevResult": map[string]any{
			"cniVersion": "1.1.0",
			"interfaces": []any{map[string]any{"name": "con0"}, map[string]any{"name": "eth0", "sandbox": "/var/run/netns/c1"}},
			"ips": []any{
				map[string]any{"address": "10.1.2.2/24", "interface": 1},
				map[string]any{"address": "fd00:1::2/64", "interface": 1},
			},
		},
	}
	for k, v := range members {
		all[k] = v
		if v == nil {
			delete(all, k)
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run runs the plugin on a host, as a runtime does.
func (h host) run(t *testing.T, command, container string, stdin []byte) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	words := append(slices.Clone(h.wrap), self)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), append(h.env, "CNI_COMMAND="+command, "CNI_PATH=/nowhere")...)
	if command != "GC" && command != "STATUS" {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID="+container, "CNI_IFNAME=eth0", "CNI_NETNS=/var/run/netns/c1")
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	err = h.ns.Run(cmd)
	t.Logf("%s: %s%s", command, stdout.Bytes(), stderr.Bytes())
	return stdout.String(), err
}

// must is run for what has to succeed.
func (h host) must(t *testing.T, command, container string, stdin []byte) string {
	t.Helper()
	out, err := h.run(t, command, container, stdin)
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return out
}

// serve answers "hello" in the container on port 7.
func (h host) serve(t *testing.T) {
	t.Helper()
	var l net.Listener
	h.container.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp", ":7"); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, err = io.WriteString(c, "hello")
			if errors.Join(err, c.Close()) != nil {
				return // the asker sees what is missing
			}
		}
	}()
}

// ask reads what a port answers to a namespace.
func ask(t *testing.T, n *nstest.NS, to string) (string, error) {
	t.Helper()
	var c net.Conn
	var err error
	n.Do(t, func() { c, err = (&net.Dialer{Timeout: 20 * time.Second}).DialContext(t.Context(), "tcp", to) })
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	if e := c.Close(); err == nil {
		err = e
	}
	return string(b), err
}

// TestPortmap is the life of a mapping: ADD, ADD, CHECK, DEL, DEL.
func TestPortmap(t *testing.T) {
	t.Parallel()
	for _, backend := range []any{nil, "nftables", "iptables"} {
		t.Run(fmt.Sprint(backend), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.serve(t)
			c := conf(t, map[string]any{"backend": backend})
			for range 2 {
				out := h.must(t, "ADD", "c1", c)
				if !strings.Contains(out, `"10.1.2.2/24"`) {
					t.Errorf("ADD printed %s, want the previous result", out)
				}
			}
			h.must(t, "CHECK", "c1", c)
			for _, from := range []struct {
				n  *nstest.NS
				to string
			}{{h.outside, "192.0.2.1:8080"}, {h.ns, "192.0.2.1:8080"}, {h.ns, "127.0.0.1:8080"}, {h.container, "192.0.2.1:8080"},
				{h.outside, "[2001:db8:9::1]:8080"}, {h.ns, "[2001:db8:9::1]:8080"}, {h.container, "[2001:db8:9::1]:8080"}} {
				if got, err := ask(t, from.n, from.to); err != nil || got != "hello" {
					t.Errorf("%s answers %q, %v, want hello", from.to, got, err)
				}
			}
			// C-17: without the mappings, with nothing of what ADD had, and again.
			bare := conf(t, map[string]any{"runtimeConfig": nil, "prevResult": nil, "backend": nil})
			for range 2 {
				h.must(t, "DEL", "c1", bare)
			}
			if got, err := ask(t, h.outside, "192.0.2.1:8080"); err == nil {
				t.Errorf("after DEL the port answers %q", got)
			}
			if out, err := h.run(t, "CHECK", "c1", c); err == nil {
				t.Errorf("CHECK after DEL succeeded: %s", out)
			}
		})
	}
}

// TestPortmap_otherBackend is a DEL for which the configuration names another backend than
// ADD had, or the machine has lost the program: C-17.
func TestPortmap_otherBackend(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		add, del string
		env      []string
	}{
		{"nftables", "iptables", nil},
		{"nftables", "iptables", []string{"PATH=/nowhere"}},
		{"iptables", "nftables", nil},
		{"iptables", "iptables", []string{"PATH=/nowhere"}},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.must(t, "ADD", "c1", conf(t, map[string]any{"backend": tt.add}))
			h.env = tt.env
			for range 2 {
				h.must(t, "DEL", "c1", conf(t, map[string]any{"backend": tt.del}))
			}
			if left := string(h.ns.Output(t, "nft", "list", "ruleset")); strings.Contains(left, "10.1.2.2") {
				t.Errorf("left after DEL:\n%s", left)
			}
		})
	}
}

// TestPortmap_nothing asks nobody when there is nothing to map: that the backend is
// missing is not noticed, as it is with a mapping.
func TestPortmap_nothing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.env = []string{"PATH=/nowhere"}
	if out, err := h.run(t, "ADD", "c1", conf(t, map[string]any{"backend": "iptables"})); err == nil {
		t.Fatalf("ADD without iptables printed %s, want an error", out)
	}
	c := conf(t, map[string]any{"runtimeConfig": nil, "backend": "iptables"})
	before := h.ns.Output(t, "nft", "list", "ruleset")
	if out := h.must(t, "ADD", "c1", c); !strings.Contains(out, `"10.1.2.2/24"`) {
		t.Errorf("ADD printed %s, want the previous result", out)
	}
	h.must(t, "CHECK", "c1", c)
	h.must(t, "DEL", "c1", c)
	if after := h.ns.Output(t, "nft", "list", "ruleset"); !bytes.Equal(before, after) {
		t.Errorf("ruleset is %s, want %s", after, before)
	}
}

// TestPortmap_conflict names the holder; the failed ADD leaves nothing.
func TestPortmap_conflict(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.must(t, "ADD", "c1", conf(t, nil))
	out, err := h.run(t, "ADD", "c2", conf(t, nil))
	if err == nil || !strings.Contains(out, "container c1") {
		t.Errorf("ADD of the same port printed %s, %v, want an error that names c1", out, err)
	}
	h.must(t, "CHECK", "c1", conf(t, nil))
}

// TestPortmap_gc removes what is not valid, and keeps the rest: C-7.
func TestPortmap_gc(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.must(t, "ADD", "c1", conf(t, nil))
	h.must(t, "GC", "", conf(t, map[string]any{
		"runtimeConfig": nil, "prevResult": nil,
		"cni.dev/valid-attachments": []any{map[string]any{"containerID": "c1", "ifname": "eth0"}},
	}))
	h.must(t, "CHECK", "c1", conf(t, nil))
	h.must(t, "GC", "", conf(t, map[string]any{"runtimeConfig": nil, "prevResult": nil, "cni.dev/valid-attachments": []any{}}))
	if got := string(h.ns.Output(t, "nft", "list", "ruleset")); got != "" {
		t.Errorf("left after GC of everything:\n%s", got)
	}
}

// TestPortmap_invalid refuses configurations with code 7: C-45, C-47, CAP-004.
func TestPortmap_invalid(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	mapping := func(members map[string]any) map[string]any {
		m := map[string]any{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}
		for k, v := range members {
			m[k] = v
		}
		return map[string]any{"runtimeConfig": map[string]any{"portMappings": []any{m}}}
	}
	for name, members := range map[string]map[string]any{
		"port above the range": mapping(map[string]any{"hostPort": 65536}),
		"no port":              mapping(map[string]any{"containerPort": 0}),
		"unknown protocol":     mapping(map[string]any{"protocol": "icmp"}),
		"script as protocol":   mapping(map[string]any{"protocol": "tcp\nadd table ip evil"}),
		"no address":           mapping(map[string]any{"hostIP": "somewhere"}),
		"two kinds of marks":   {"markMasqBit": 3, "externalSetMarkChain": "KUBE-MARK-MASQ"},
		"mark out of range":    {"markMasqBit": 32},
		"unknown backend":      {"backend": "pf"},
		"no condition":         {"conditionsV4": []string{"; drop"}},
		"words of iptables":    {"conditionsV6": []string{"-s", "fd00::1"}, "backend": "nftables"},
		"words of nft":         {"conditionsV4": []string{"ip", "saddr", "10.0.0.1"}, "backend": "iptables"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := h.run(t, "ADD", "c1", conf(t, members))
			if err == nil || !strings.Contains(strings.ReplaceAll(out, " ", ""), `"code":7`) {
				t.Errorf("ADD printed %s, %v, want error 7", out, err)
			}
			if _, ok := members["runtimeConfig"]; ok {
				return
			}
			// STA-017: nor does STATUS promise that ADD will do.
			members["runtimeConfig"], members["prevResult"] = nil, nil
			out, err = h.run(t, "STATUS", "", conf(t, members))
			if err == nil || !strings.Contains(strings.ReplaceAll(out, " ", ""), `"code":7`) {
				t.Errorf("STATUS printed %s, %v, want error 7", out, err)
			}
		})
	}
	if got := string(h.ns.Output(t, "nft", "list", "ruleset")); got != "" {
		t.Errorf("a refused configuration left something:\n%s", got)
	}
}

// TestPortmap_condition is C-44 and C-45: the conditions of a network are its own, and no text is
// ever handed to another program as a script.
func TestPortmap_condition(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve(t)
	only4 := map[string]any{"cniVersion": "1.1.0", "ips": []any{map[string]any{"address": "10.1.2.2/24"}}}
	refused := conf(t, map[string]any{"conditionsV4": []string{"ip", "saddr", "!=", "192.0.2.0/24"}, "prevResult": only4})
	h.must(t, "ADD", "c1", refused)
	if got, err := ask(t, h.outside, "192.0.2.1:8080"); err == nil {
		t.Errorf("the condition is not kept: answer %q", got)
	}
	other := conf(t, map[string]any{"name": "other", "conditionsV4": []string{"ip", "saddr", "192.0.2.0/24"}, "prevResult": only4})
	h.must(t, "ADD", "c1", other)
	if got, err := ask(t, h.outside, "192.0.2.1:8080"); err != nil || got != "hello" {
		t.Errorf("another network's condition is not kept: %q, %v", got, err)
	}
	h.must(t, "DEL", "c1", other)
	h.must(t, "CHECK", "c1", refused)
	if got, err := ask(t, h.outside, "192.0.2.1:8080"); err == nil {
		t.Errorf("the condition went with another network's: answer %q", got)
	}
	for _, words := range [][]string{{"counter", "}", "add", "table", "ip", "evil"}, {"ip", "saddr"}, {"ip6", "saddr", "::1"}} {
		if out, err := h.run(t, "ADD", "c3", conf(t, map[string]any{"name": "third", "conditionsV4": words})); err == nil {
			t.Errorf("condition %q: ADD printed %s, want an error", words, out)
		}
	}
}

// TestPortmap_status is error 50 for a machine that lacks the backend: C-32.
func TestPortmap_status(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.must(t, "STATUS", "", conf(t, map[string]any{"runtimeConfig": nil, "prevResult": nil}))
	h.env = []string{"PATH=/nowhere"}
	for _, keys := range []map[string]any{
		{"backend": "iptables"},
		{"externalSetMarkChain": "KUBE-MARK-MASQ"},
		{"conditionsV4": []string{"-s", "192.0.2.0/24"}},
	} {
		keys["runtimeConfig"], keys["prevResult"] = nil, nil
		out, err := h.run(t, "STATUS", "", conf(t, keys))
		if err == nil || !strings.Contains(strings.ReplaceAll(out, " ", ""), `"code":50`) {
			t.Errorf("STATUS without iptables, with %v, printed %s, %v, want error 50", keys, out, err)
		}
	}
}

// TestPortmap_readOnly is a machine whose /proc/sys cannot be written: all works but
// the way from 127.0.0.1, and the log says so.
func TestPortmap_readOnly(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.serve(t)
			h.wrap = []string{"unshare", "-m", "sh", "-c", `mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$0"`}
			c := conf(t, map[string]any{"backend": backend})
			h.must(t, "ADD", "c1", c)
			h.must(t, "CHECK", "c1", c)
			for _, from := range []*nstest.NS{h.outside, h.ns, h.container} {
				for _, to := range []string{"192.0.2.1:8080", "[2001:db8:9::1]:8080"} {
					if got, err := ask(t, from, to); err != nil || got != "hello" {
						t.Errorf("%s answers %q, %v, want hello", to, got, err)
					}
				}
			}
			h.must(t, "DEL", "c1", c)
		})
	}
}

// TestPortmap_routeLocalnet is C-41: the setting is made on the link to the container only, and only
// if it serves a purpose; what it would open is closed by a rule, which goes with the rest.
func TestPortmap_routeLocalnet(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		members map[string]any
		want    string
	}{
		"with snat":    {nil, "1"},
		"without snat": {map[string]any{"snat": false}, "0"},
		"without port": {map[string]any{"runtimeConfig": nil}, "0"},
		"IPv6 only": {map[string]any{"runtimeConfig": map[string]any{"portMappings": []any{
			map[string]any{"hostPort": 8080, "containerPort": 7, "protocol": "tcp", "hostIP": "2001:db8:9::1"},
		}}}, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.must(t, "ADD", "c1", conf(t, tt.members))
			for link, want := range map[string]string{"con0": tt.want, "out0": "0", "lo": "0", "all": "0", "default": "0"} {
				h.ns.Do(t, func() {
					got, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + link + "/route_localnet")
					if err != nil || strings.TrimSpace(string(got)) != want {
						t.Errorf("route_localnet of %s is %q, %v, want %s", link, got, err, want)
					}
				})
			}
		})
	}
}

// privilege is a command that takes a capability from the plugin, and all it starts.
func privilege(t *testing.T, without string) []string {
	t.Helper()
	path, err := exec.LookPath("setpriv")
	if err != nil {
		nstest.Lacks(t, "program setpriv", err)
	}
	return []string{path, "--bounding-set=-" + without, "--inh-caps=-" + without, "--"}
}

// TestPortmap_unprivileged is a plugin without CAP_NET_ADMIN. With nothing to map it works: the
// firewall is not asked. Else it says what is missing; so does DEL, which cannot know
// that there is nothing to remove.
func TestPortmap_unprivileged(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.wrap = privilege(t, "net_admin")
	for _, backend := range []any{nil, "nftables", "iptables"} {
		nothing := conf(t, map[string]any{"runtimeConfig": nil, "backend": backend})
		h.must(t, "ADD", "c1", nothing)
		h.must(t, "CHECK", "c1", nothing)
		for _, command := range []string{"ADD", "DEL", "GC", "STATUS"} {
			members := map[string]any{"backend": backend}
			if command == "GC" {
				members["cni.dev/valid-attachments"] = []any{}
			}
			if out, err := h.run(t, command, "c1", conf(t, members)); err == nil || !strings.Contains(out, "CAP_NET_ADMIN") {
				t.Errorf("%s with %v printed %s, %v, want an error that names CAP_NET_ADMIN", command, backend, out, err)
			}
		}
	}
}

// counted puts programs before those of iptables that write down each run, and returns
// what tells how many there were since it was asked last.
func (h *host) counted(t *testing.T) func() int {
	t.Helper()
	dir := t.TempDir()
	runs := filepath.Join(dir, "runs")
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, kind := range []string{"", "-nft", "-legacy"} {
			for _, suffix := range []string{"", "-restore", "-save"} {
				name := family + kind + suffix
				path, err := exec.LookPath(name)
				if err != nil {
					continue
				}
				// Where there are two, the one without a kind is to be the front end of nftables.
				if nft, err := exec.LookPath(family + "-nft" + suffix); err == nil && kind == "" {
					path = nft
				}
				script := "#!/bin/sh\necho " + name + " >>" + runs + "\nexec " + path + ` "$@"` + "\n"
				if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	h.env = append(h.env, "PATH="+dir+":"+os.Getenv("PATH"))
	last := 0
	return func() int {
		t.Helper()
		b, err := os.ReadFile(runs)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		total := bytes.Count(b, []byte("\n"))
		since := total - last
		last = total
		return since
	}
}

// TestPortmap_programs is C-48: how many programs are run for three ports of both families.
// With nftables none; with iptables one to look and one to change, for each family, the first
// time as well; and DEL one for each family to read what is there, while it is removed
// over netlink, where iptables is a front end of nftables.
func TestPortmap_programs(t *testing.T) {
	t.Parallel()
	for backend, want := range map[string]struct{ add, del, nothing int }{
		"nftables": {},
		"iptables": {add: 4, del: 2, nothing: 2},
	} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			runs := h.counted(t)
			c := func(id int) []byte {
				var ports []any
				for i := range 3 {
					ports = append(ports, map[string]any{"hostPort": 8000 + 10*id + i, "containerPort": 7, "protocol": "tcp"})
				}
				return conf(t, map[string]any{"backend": backend, "runtimeConfig": map[string]any{"portMappings": ports}})
			}
			for i, step := range []struct {
				command string
				id      int
				want    int
			}{
				{"ADD", 1, want.add},
				{"ADD", 2, want.add},
				{"ADD", 2, want.add},
				{"CHECK", 2, want.add / 2},
				{"DEL", 2, want.del},
				{"DEL", 2, want.nothing},
				{"DEL", 1, want.del},
			} {
				h.must(t, step.command, fmt.Sprint("c", step.id), c(step.id))
				if got := runs(); got != step.want {
					t.Errorf("step %d, %s of container %d: %d programs, want %d", i, step.command, step.id, got, step.want)
				}
			}
		})
	}
}

// TestPortmap_killed kills ADD, and DEL, at some moment: what remains is a whole mapping
// or none, ADD can be done again, and DEL and GC remove it.
func TestPortmap_killed(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.serve(t)
			c := conf(t, map[string]any{"backend": backend})
			for i := range 12 {
				h.kill(t, "ADD", c, time.Duration(i)*time.Millisecond)
				if i%3 == 0 {
					h.must(t, "ADD", "c1", c)
					h.must(t, "CHECK", "c1", c)
					if got, err := ask(t, h.outside, "192.0.2.1:8080"); err != nil || got != "hello" {
						t.Errorf("after an ADD killed and done again: %q, %v, want hello", got, err)
					}
					h.kill(t, "DEL", c, time.Duration(i)*time.Millisecond)
				}
				h.must(t, "DEL", "c1", c)
			}
			h.must(t, "GC", "", conf(t, map[string]any{"cni.dev/valid-attachments": []any{}}))
			for line := range strings.Lines(string(h.ns.Output(t, "nft", "list", "ruleset"))) {
				if strings.Contains(strings.ToLower(line), "cnikit") {
					t.Errorf("left after GC of everything: %s", line)
				}
			}
		})
	}
}

// kill runs the plugin and kills it after a while.
func (h host) kill(t *testing.T, command string, stdin []byte, after time.Duration) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_PATH=/nowhere", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/var/run/netns/c1")
	cmd.Stdin = bytes.NewReader(stdin)
	if err := h.ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
}
