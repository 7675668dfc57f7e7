// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/types"
)

// everyPlugin are the plugins, with a request of each as it stands between {"cniVersion":
// "1.1.0","name":"net", and }.
var everyPlugin = []struct{ name, request string }{
	{"bridge", `"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"macspoofchk":true,` + rangeOf},
	{"ptp", `"type":"ptp","ipMasq":true,` + rangeOf},
	{"portmap", `"type":"portmap","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}`},
	{"loopback", `"type":"loopback"`},
	{"host-local", `"type":"host-local",` + rangeOf},
}

const rangeOf = `"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.1.2.0/24"}]]}`

func newNode(t testing.TB) *plugintest.Node {
	t.Helper()
	return plugintest.NewNode(t, "bridge", "ptp", "portmap", "loopback", "host-local")
}

// requestOf returns the request of a plugin, with more members before the others.
func requestOf(request, more string) string {
	return `{"cniVersion":"1.1.0","name":"net",` + more + request + `}`
}

// everything is the state of a node and of containers, with the rules of the host.
func everything(t testing.TB, n *plugintest.Node, containers ...*plugintest.Container) string {
	t.Helper()
	return n.State(t, containers...) + string(n.Host.Output(t, "nft", "list", "ruleset"))
}

// A disguise is a way to name a namespace to a program.
type disguise struct {
	name, path string
	inherit    []*os.File // open in the program as 3 and so on
}

// disguises returns ways to name a namespace, of which some mean the host only, being
// the program's own.
func disguises(t *testing.T, of *nstest.NS, host bool) []disguise {
	t.Helper()
	sleeper := exec.Command("sleep", "3600")
	if err := of.Start(sleeper); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sleeper.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = sleeper.Wait() // it says that it was killed
	})
	dir := t.TempDir()
	open, err := os.Open(of.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = open.Close() })
	proc := fmt.Sprintf("/proc/%d/ns/net", sleeper.Process.Pid)
	link, links := filepath.Join(dir, "link"), filepath.Join(dir, "links")
	for path, to := range map[string]string{link: proc, links: "./link"} {
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	all := []disguise{
		{"descriptor of another process", of.Path(), nil},
		{"process", proc, nil},
		{"process by way of its root", fmt.Sprintf("/proc/%d/root%s", sleeper.Process.Pid, proc), nil},
		{"thread", fmt.Sprintf("/proc/%d/task/%[1]d/ns/net", sleeper.Process.Pid), nil},
		{"symbolic link", link, nil},
		{"chain of links", links, nil},
		{"path with dots", dir + "/../" + filepath.Base(dir) + "/./link", nil},
		{"descriptor", "/proc/self/fd/3", []*os.File{open}},
		{"descriptor by way of /dev", "/dev/fd/3", []*os.File{open}},
	}
	if host {
		all = append(all, disguise{"own process", "/proc/self/ns/net", nil}, disguise{"own thread", "/proc/thread-self/ns/net", nil})
	}
	mount := filepath.Join(dir, "mount")
	if err := os.WriteFile(mount, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(of.Path(), mount, "", syscall.MS_BIND, ""); err != nil {
		t.Logf("no bind mount: %v", err)
		return all
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return append(all, disguise{"bind mount", mount, nil})
}

// run runs one command of a plugin, and returns its answer.
func (d disguise) run(t *testing.T, n *plugintest.Node, plugin string, command types.Command, c *plugintest.Container, request string) (string, int) {
	t.Helper()
	p := process(n, plugin, command, c, request)
	p.Env = append(p.Env, "CNI_NETNS="+d.path)
	p.ExtraFiles = d.inherit
	a := start(t, n.Host, p)
	return a.stdout, a.exit
}

// process is a plugin that is to run.
func process(n *plugintest.Node, plugin string, command types.Command, c *plugintest.Container, request string) *exec.Cmd {
	p := exec.Command(filepath.Join(n.Runtime.Path[0], plugin))
	p.Env = append(os.Environ(), "CNI_COMMAND="+string(command), "CNI_PATH="+n.Runtime.Path[0],
		"CNI_CONTAINERID="+c.Attachment.ContainerID, "CNI_NETNS="+c.Attachment.Netns, "CNI_IFNAME="+c.Attachment.IfName)
	p.Stdin = strings.NewReader(strings.ReplaceAll(request, "DATADIR", n.DataDir))
	return p
}

// An answer is what a plugin did as its runtime sees it.
type answer struct {
	stdout, stderr string
	exit           int
	usage          *syscall.Rusage
}

// A little keeps the beginning of what is written. The test has to stay small: a process
// that it starts counts the memory of its own beginning, which is that of the test.
type little struct{ strings.Builder }

func (l *little) Write(p []byte) (int, error) {
	const most = 1 << 20
	l.Builder.Write(p[:min(len(p), max(0, most-l.Len()))])
	return len(p), nil
}

// start runs a plugin on a host and fails the test if it is killed, or says anything but
// one document or nothing.
func start(t *testing.T, host *nstest.NS, p *exec.Cmd) answer {
	t.Helper()
	var stdout, stderr little
	p.Stdout, p.Stderr = &stdout, &stderr
	if err := host.Start(p); err != nil {
		t.Fatal(err)
	}
	err := p.Wait()
	a := answer{stdout.String(), stderr.String(), p.ProcessState.ExitCode(), p.ProcessState.SysUsage().(*syscall.Rusage)}
	switch {
	case a.exit != 0 && a.exit != 1:
		t.Errorf("%q ended with %v: %s%.4000s", p.Args, err, a.stdout, a.stderr)
	case a.exit == 1:
		if _, err := types.DecodeError([]byte(a.stdout)); err != nil {
			t.Errorf("%q failed with %q, which is no error object", p.Args, a.stdout)
		}
	}
	return a
}

// PROTO-044, PROTO-045, DEL-008, AMB-048: the host is no container, whatever it is
// called; the same names of a container are as good as any.
func TestDisguise_Host(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := n.Container(t, "c1")
	prev := fmt.Sprintf(`"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":%q}],"ips":[{"address":"10.1.2.2/24","interface":0}]},`, n.Host.Path())
	for _, link := range [][]string{{"eth0", "10.1.2.2/24"}, {"lo", "127.0.0.1/8"}} { // what a container would have
		if link[0] != "lo" {
			n.Host.Output(t, "ip", "link", "add", link[0], "type", "veth", "peer", "name", link[0]+"peer")
			n.Host.Output(t, "ip", "addr", "add", link[1], "dev", link[0])
		}
		n.Host.Output(t, "ip", "link", "set", link[0], "up")
	}
	before := everything(t, n, c)
	for _, d := range disguises(t, n.Host, true) {
		for _, p := range everyPlugin {
			for _, command := range []types.Command{types.CommandAdd, types.CommandCheck, types.CommandDel} {
				out, exit := d.run(t, n, p.name, command, c, requestOf(p.request, prev))
				if command == types.CommandDel {
					if exit != 0 || out != "" {
						t.Errorf("%s DEL in the host as %s = exit %d, %s; want success", p.name, d.name, exit, out)
					}
					continue
				}
				if e, err := types.DecodeError([]byte(out)); exit != 1 || err != nil || e.Code != types.ErrInvalidEnvironmentVariables || !strings.Contains(out, "CNI_NETNS") {
					t.Errorf("%s %s in the host as %s = exit %d, %s; want code 4 about CNI_NETNS", p.name, command, d.name, exit, out)
				}
			}
		}
	}
	if diff := cmp.Diff(before, withoutOurs(everything(t, n, c))); diff != "" {
		t.Errorf("the host changed (-before +after):\n%s", diff)
	}
	// No disguise is refused for itself.
	for _, d := range disguises(t, c.NS, false) {
		if out, exit := d.run(t, n, "ptp", types.CommandAdd, c, requestOf(everyPlugin[1].request, "")); exit != 0 {
			t.Errorf("ADD in a container as %s = exit %d, %s", d.name, exit, out)
		}
		if out, exit := d.run(t, n, "ptp", types.CommandDel, c, requestOf(everyPlugin[1].request, "")); exit != 0 {
			t.Errorf("DEL in a container as %s = exit %d, %s", d.name, exit, out)
		}
	}
}

// withoutOurs leaves out of a state what a DEL may make where nothing was: the
// directory of the reservations, and its lock.
func withoutOurs(state string) string {
	var b strings.Builder
	for line := range strings.Lines(state) {
		if name := strings.TrimSpace(line); name != "/net" && name != "/net/lock" && !strings.HasPrefix(name, "/net/last_reserved_ip.") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// ADD-012, CHK-023, DEL-006, DEL-007: what is no network namespace does not keep a
// plugin waiting, and is told from one.
func TestDisguise_NoNamespace(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := n.Container(t, "c1")
	dir := t.TempDir()
	fifo, file, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "file"), filepath.Join(dir, "socket")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	before := everything(t, n, c)
	for _, path := range []string{
		fifo, file, socket, dir, "/proc/self/ns/pid", "/proc/self/ns/mnt", "/proc/self/ns/user", "/proc/self/ns/uts", "/proc/self/ns", "/proc/self/ns/nothing",
		"/dev/null", "/dev/zero", "/dev/tty", "/dev/ptmx", "/proc/kmsg", "/sys/class/net", "/", "eth0", "../../proc/self/ns/net", "%s%n", "$(id)", "\xff\xfe", file + "/x", "/proc/1/nothing",
	} {
		d := disguise{path: path}
		for _, p := range everyPlugin {
			if p.name == "portmap" || p.name == "host-local" {
				continue // to which it is a word
			}
			for _, command := range []types.Command{types.CommandAdd, types.CommandCheck} {
				out, exit := d.run(t, n, p.name, command, c, requestOf(p.request, `"prevResult":{"cniVersion":"1.1.0"},`))
				if e, err := types.DecodeError([]byte(out)); exit != 1 || err != nil || e.Code != types.ErrInvalidEnvironmentVariables || len(out) > 1000 {
					t.Errorf("%s %s in %q = exit %d, %s; want code 4", p.name, command, path, exit, out)
				}
			}
			if out, exit := d.run(t, n, p.name, types.CommandDel, c, requestOf(p.request, "")); exit != 0 || out != "" {
				t.Errorf("%s DEL in %q = exit %d, %s; want success", p.name, path, exit, out)
			}
		}
	}
	// A circle of links is not gone, nor is it a namespace: nothing is forgotten.
	for _, command := range []types.Command{types.CommandAdd, types.CommandDel} {
		if out, exit := (disguise{path: loop}).run(t, n, "bridge", command, c, requestOf(everyPlugin[0].request, "")); exit != 1 {
			t.Errorf("%s in a circle of links = exit %d, %s; want an error", command, exit, out)
		}
	}
	if diff := cmp.Diff(before, withoutOurs(everything(t, n, c))); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}

// DEL-008: a path that was a container's leads to another one. DEL for the first
// removes what bears its mark, and leaves the second one alone, whose packets go on.
func TestDisguise_Recycled(t *testing.T) {
	t.Parallel()
	for _, p := range everyPlugin {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			first, second, third := n.Container(t, "c1"), n.Container(t, "c2"), n.Container(t, "c3")
			path := filepath.Join(t.TempDir(), "netns")
			lead := func(to *plugintest.Container) {
				t.Helper()
				if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				if err := os.Symlink(to.Path(), path); err != nil {
					t.Fatal(err)
				}
			}
			d := disguise{path: path}
			attach := func(c *plugintest.Container, prev string) string {
				t.Helper()
				lead(c)
				out, exit := d.run(t, n, p.name, types.CommandAdd, c, requestOf(p.request, prev))
				if exit != 0 {
					t.Fatalf("ADD: %s", out)
				}
				return `"prevResult":` + strings.TrimSpace(out) + `,`
			}
			prev := func(port, address string) string {
				if p.name != "portmap" {
					return ""
				}
				return fmt.Sprintf(`"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":%q}],"ips":[{"address":%q,"interface":0}]},"runtimeConfig":{"portMappings":[{"hostPort":%s,"containerPort":80,"protocol":"tcp"}]},`, path, address, port)
			}
			if p.name == "portmap" {
				p.request = `"type":"portmap"`
			}
			attach(third, prev("8083", "10.1.2.4/24"))
			attach(second, prev("8082", "10.1.2.3/24"))
			before := everything(t, n, second, third)
			result := attach(first, prev("8081", "10.1.2.2/24"))
			lead(second)
			ping(t, n, p.name, second, third)
			attached := everything(t, n, second, third)
			for _, request := range []string{requestOf(p.request, result), requestOf(p.request, prev("8081", "10.1.2.2/24"))} {
				out, exit := d.run(t, n, p.name, types.CommandCheck, first, request)
				if exit == 0 && (p.name == "bridge" || p.name == "ptp") {
					t.Errorf("CHECK = exit %d, %s; want an error: the namespace is another's", exit, out)
				}
			}
			if diff := cmp.Diff(attached, everything(t, n, second, third)); diff != "" {
				t.Errorf("CHECK changed (-before +after):\n%s", diff)
			}
			for _, request := range []string{requestOf(p.request, result), requestOf(p.request, "")} {
				if out, exit := d.run(t, n, p.name, types.CommandDel, first, request); exit != 0 || out != "" {
					t.Errorf("DEL = exit %d, %s; want success", exit, out)
				}
			}
			if diff := cmp.Diff(before, everything(t, n, second, third)); diff != "" {
				t.Errorf("after DEL of the first container (-before its ADD +after):\n%s", diff)
			}
			ping(t, n, p.name, second, third)
		})
	}
}

// ping proves that packets of a container get through.
func ping(t *testing.T, n *plugintest.Node, plugin string, c, other *plugintest.Container) {
	t.Helper()
	switch plugin {
	case "loopback":
		exchange(t, c.NS, c.NS, "127.0.0.1:0")
	case "bridge", "ptp":
		exchange(t, c.NS, other.NS, plugintest.FindLink(t, other.NS, "eth0").Addresses()[0])
	}
}

// exchange sends a datagram from one namespace to another, and one back.
func exchange(t *testing.T, from, to *nstest.NS, address string) {
	t.Helper()
	host, _, _ := strings.Cut(strings.TrimSuffix(address, ":0"), "/")
	var server net.PacketConn
	var client net.Conn
	to.Do(t, func() {
		var err error
		if server, err = net.ListenPacket("udp", host+":0"); err != nil {
			t.Fatal(err)
		}
	})
	defer server.Close()
	from.Do(t, func() {
		var err error
		if client, err = net.Dial("udp", server.LocalAddr().String()); err != nil {
			t.Fatal(err)
		}
	})
	defer client.Close()
	for _, conn := range []interface{ SetDeadline(time.Time) error }{server, client} {
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil { // far beyond what it takes
			t.Fatal(err)
		}
	}
	if _, err := client.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	size, peer, err := server.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.WriteTo(buf[:size], peer); err != nil {
		t.Fatal(err)
	}
	if size, err = client.Read(buf); err != nil || string(buf[:size]) != "ping" {
		t.Errorf("echo = %q, %v", buf[:size], err)
	}
}
