// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/examples/bridge/bridge"
	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/examples/portmap/portmap"
	"github.com/cnikit/cnikit/examples/ptp/ptp"
	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// hurryEnv is the time that the plugins of a test have in place of their own.
const hurryEnv = "CAMPAIGN_HURRY"

// hurried is a plugin that a test may give less time.
func hurried[T any](p skel.Plugin[T]) skel.Plugin[T] {
	if d, err := time.ParseDuration(os.Getenv(hurryEnv)); err == nil {
		p.Timeout = d
	}
	return p
}

// The example plugins have limits that fit into each other: a lock is given up before the
// plugin that waits for it, and that before the runtime loses patience. A delegate has
// more time than its caller, who starts it early and may hand its configuration over late.
func TestWaits_limits(t *testing.T) {
	t.Parallel()
	const patienceOfRuntimes = 2 * time.Minute // kubelet: runtimeRequestTimeout
	const undoing = 25 * time.Second           // a delegate to stop, its DEL, and the undo steps
	lock, delegate := ipam.DefaultLockLimit, hostlocal.Plugin().Timeout
	for _, limit := range []time.Duration{bridge.Plugin().Timeout, ptp.Plugin().Timeout, portmap.Plugin().Timeout} {
		if limit <= lock || delegate <= limit || limit+undoing >= patienceOfRuntimes {
			t.Errorf("lock %v, caller %v, delegate %v, with undoing %v, runtime %v; want each longer than the one before",
				lock, limit, delegate, limit+undoing, patienceOfRuntimes)
		}
	}
}

// hanging is an IPAM plugin that hangs at the command that HANG names, with TRAP whatever the
// signal.
const hanging = `cat >/dev/null
echo $CNI_COMMAND >>LOG
if [ "$CNI_COMMAND" = "$HANG" ]; then trap "$TRAP" TERM; sleep 1000 >/dev/null 2>&1 & wait; sleep 1000; fi
if [ $CNI_COMMAND = ADD ]; then echo '{"cniVersion":"1.1.0","ips":[{"address":"10.67.0.9/24","gateway":"10.67.0.1"}]}'; fi
`

// waitNetwork is the configuration of one plugin.
func waitNetwork(plugin, ipam, more string) string {
	return fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","plugins":[{"type":%q,"ipMasq":true%s,"ipam":{"type":%q,"dataDir":"DATADIR","subnet":"10.67.0.0/24"}}]}`, plugin, more, ipam)
}

// hurry runs a command of the only plugin of a network in little time, and in more where
// the machine was too slow for it to come to the point, which asked tells.
func (n *raceNode) hurry(t *testing.T, command types.Command, p *pod, asked func(outcome) bool, environ ...string) outcome {
	t.Helper()
	params := types.RequestParams{Command: command}
	switch command {
	case types.CommandGC:
		params.ValidAttachments, p = []types.Attachment{}, nil
	case types.CommandStatus:
		p = nil
	default:
		params.PrevResult = p.result
	}
	stdin, err := n.request(0, params, p)
	if err != nil {
		t.Fatal(err)
	}
	for limit := 500 * time.Millisecond; ; limit *= 4 {
		o := n.execute(n.network.Plugins[0].Type, command, p, stdin, nil, append(environ, hurryEnv+"="+limit.String())...)
		if asked(o) || limit > patience {
			return o
		}
	}
}

// wantLate fails the test unless an outcome is code 11 and says what was waited for.
func (o outcome) wantLate(t *testing.T, what ...string) {
	t.Helper()
	said, err := types.DecodeError(o.stdout)
	if err != nil || o.err == nil || said.Code != types.ErrTryAgainLater {
		t.Errorf("outcome = %v, %s, want code 11", o.err, o.stdout)
		return
	}
	for _, text := range what {
		if !strings.Contains(said.Error(), text) {
			t.Errorf("error = %v, want %q in it", said, text)
		}
	}
}

// ADD-026: each command ends in time with code 11 when the IPAM plugin hangs, and says so. ADD
// leaves nothing, and DEL has done its own part.
func TestWaits_delegate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		plugin  string
		command types.Command
		trap    string // what the IPAM plugin does when it is asked to stop
	}{
		{"bridge", types.CommandAdd, ""},
		{"bridge", types.CommandAdd, "exit 1"},
		{"bridge", types.CommandDel, ""},
		{"bridge", types.CommandCheck, "exit 1"},
		{"bridge", types.CommandGC, "exit 1"},
		{"bridge", types.CommandStatus, "exit 1"},
		{"ptp", types.CommandAdd, "exit 1"},
		{"ptp", types.CommandDel, "exit 1"},
	} {
		t.Run(fmt.Sprintf("%s/%s/%s", tt.plugin, tt.command, tt.trap), func(t *testing.T) {
			t.Parallel()
			waitForDelegate(t, tt.plugin, tt.command, tt.trap)
		})
	}
}

func waitForDelegate(t *testing.T, plugin string, command types.Command, trap string) {
	n := newRaceNode(t, waitNetwork(plugin, "hanging", ""))
	log := filepath.Join(t.TempDir(), "log")
	n.Script(t, "hanging", strings.ReplaceAll(hanging, "LOG", log))
	p := &pod{id: "c1", ns: newNS(t)}
	if o := n.add(p, nil, 0); o.err != nil {
		t.Fatal(o.err)
	}
	if command == types.CommandAdd {
		if o := n.del(p, nil, 0); o.err != nil {
			t.Fatal(o.err)
		}
	}
	before := n.leftovers(t)
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	asked := func(outcome) bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.HasPrefix(string(text), string(command))
	}
	o := n.hurry(t, command, p, asked, "HANG="+string(command), "TRAP="+trap)
	o.wantLate(t, "hanging: "+string(command)+" was interrupted", plugin+" did not finish within ")
	switch command {
	case types.CommandAdd:
		if text, err := os.ReadFile(log); err != nil || !strings.HasSuffix(string(text), "DEL\n") {
			t.Errorf("the IPAM plugin saw %q, %v; want a DEL at the end", text, err)
		}
		fallthrough
	case types.CommandCheck, types.CommandStatus:
		if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(n.leftovers(t), "\n")); diff != "" {
			t.Errorf("changed (-before +after):\n%s", diff)
		}
	default:
		if left := n.leftovers(t); strings.Contains(left, "10.67.0.9") {
			t.Errorf("left of the container:\n%s", left)
		}
	}
	for _, o := range []outcome{n.del(p, nil, 0), n.add(p, nil, 0), n.check(p), n.del(p, nil, 0)} {
		if o.err != nil {
			t.Errorf("afterwards: %v", o.err)
		}
	}
	if err := p.ns.Close(); err != nil {
		t.Error(err)
	}
}

// hold takes a lock, and makes its file if there is none.
func hold(t *testing.T, path string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// LIFE-010: a lock of the store that somebody holds is waited for with a bound; CHECK and
// STATUS, which change nothing, do not wait at all.
func TestWaits_store(t *testing.T) {
	t.Parallel()
	n := newRaceNode(t, waitNetwork("ptp", "host-local", ""))
	p, other := &pod{id: "c1", ns: newNS(t)}, &pod{id: "c2", ns: newNS(t)}
	if o := n.add(p, nil, 0); o.err != nil {
		t.Fatal(o.err)
	}
	lock := filepath.Join(n.DataDir, "net", "lock")
	release := hold(t, lock)
	if o := n.check(p); o.err != nil {
		t.Errorf("CHECK under a held lock: %v", o.err)
	}
	for command, p := range map[types.Command]*pod{types.CommandAdd: other, types.CommandDel: p, types.CommandGC: nil} {
		o := n.hurry(t, command, p, func(o outcome) bool { return strings.Contains(string(o.stdout), "/net/lock") })
		o.wantLate(t, "waiting for lock ", "/net/lock: ")
	}
	if o := n.plugins(types.CommandStatus, nil, types.RequestParams{}, nil, 0); o.err != nil {
		t.Errorf("STATUS under a held lock: %v", o.err)
	}
	release()
	for _, o := range []outcome{n.del(p, nil, 0), n.add(other, nil, 0), n.check(other), n.del(other, nil, 0)} {
		if o.err != nil {
			t.Errorf("afterwards: %v", o.err)
		}
	}
	for _, p := range []*pod{p, other} {
		if err := p.ns.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The lock that all iptables share is waited for with a bound.
func TestWaits_iptables(t *testing.T) {
	t.Parallel()
	n := newRaceNode(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"portmap","backend":"iptables","capabilities":{"portMappings":true}}]}`)
	dir := t.TempDir()
	for _, name := range []string{"iptables", "ip6tables", "iptables-restore", "ip6tables-restore"} {
		legacy := strings.Replace(name, "tables", "tables-legacy", 1)
		program, err := exec.LookPath(legacy)
		if err != nil {
			nstest.Lacks(t, "program "+legacy, err)
		}
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	lock := filepath.Join(dir, "lock")
	environ := []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "XTABLES_LOCKFILE=" + lock}
	p := &pod{id: "c1", ns: newNS(t), ports: portsOf(1)}
	p.result = fmt.Appendf(nil, `{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":%q}],"ips":[{"address":"10.67.0.9/24","interface":0}]}`, p.netns())
	for _, command := range []types.Command{types.CommandAdd, types.CommandDel} {
		release := hold(t, lock)
		o := n.hurry(t, command, p, func(o outcome) bool { return strings.Contains(string(o.stdout), "iptables") }, environ...)
		o.wantLate(t, "iptables", "portmap did not finish within")
		release()
		stdin, err := n.request(0, types.RequestParams{Command: command, PrevResult: p.result}, p)
		if err != nil {
			t.Fatal(err)
		}
		if o := n.execute("portmap", command, p, stdin, nil, environ...); o.err != nil {
			t.Errorf("afterwards: %v", o.err)
		}
	}
	if err := p.ns.Close(); err != nil {
		t.Error(err)
	}
}

// A plugin that is killed takes its delegate with it: nothing is reserved behind the DEL that
// comes next. LIFE-013
func TestKilled_delegate(t *testing.T) {
	t.Parallel()
	n := newRaceNode(t, waitNetwork("bridge", "slow", ""))
	pidFile := filepath.Join(n.DataDir, "pid")
	n.Script(t, "slow", "cat >/dev/null\n"+sayPID(pidFile))
	c := n.Container(t, "c1")
	cmd := exec.Command(filepath.Join(n.Runtime.Path[0], "bridge"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_PATH="+n.Runtime.Path[0], "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS="+c.Path())
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","ipam":{"type":"slow"}}`)
	n.wantDiesWith(t, cmd, pidFile)
}

// A plugin that is killed takes the iptables with it that it runs: no rule comes behind the
// DEL that comes next. LIFE-013
func TestKilled_iptables(t *testing.T) {
	t.Parallel()
	n := newRaceNode(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"portmap","backend":"iptables","capabilities":{"portMappings":true}}]}`)
	dir, pidFile := t.TempDir(), filepath.Join(n.DataDir, "pid")
	for _, name := range []string{"iptables", "ip6tables", "iptables-restore", "ip6tables-restore"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+sayPID(pidFile)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := &pod{id: "c1", ns: newNS(t), ports: portsOf(1)}
	prev := fmt.Appendf(nil, `{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":%q}],"ips":[{"address":"10.67.0.9/24","interface":0}]}`, p.netns())
	stdin, err := n.request(0, types.RequestParams{Command: types.CommandAdd, PrevResult: prev}, p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(n.Runtime.Path[0], "portmap"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_PATH="+n.Runtime.Path[0], "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS="+p.netns(), "PATH="+dir+":"+os.Getenv("PATH"))
	cmd.Stdin = bytes.NewReader(stdin)
	n.wantDiesWith(t, cmd, pidFile)
	if err := p.ns.Close(); err != nil {
		t.Error(err)
	}
}

// sayPID is a shell script that writes its number to a file, at once, and goes on for long.
func sayPID(file string) string {
	return "echo $$ >" + file + ".$$\nmv " + file + ".$$ " + file + "\nexec sleep 1000\n"
}

// wantDiesWith runs a plugin on the host, kills it when its child has written its number to
// a file, and waits for the end of the child.
func (n *raceNode) wantDiesWith(t *testing.T, cmd *exec.Cmd, pidFile string) {
	t.Helper()
	if err := n.Host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	pid := ""
	for begin := time.Now(); pid == ""; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(pidFile)
		if pid = strings.TrimSpace(string(text)); err != nil && time.Since(begin) > patience {
			t.Fatal("the child was not started")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	wantGone(t, pid)
}

// wantGone waits until a process has ended.
func wantGone(t *testing.T, pid string) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		if err != nil || strings.Contains(string(stat), ") Z ") { // a zombie is somebody else's to wait for
			return
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("process %s goes on", pid)
		}
	}
}

// An iptables that hangs, as a program in front of the real one may, is given up with what
// it started; what has left its process group goes on, and is not waited for.
func TestWaits_iptablesHangs(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]string{"child": "sleep 1000", "child elsewhere": "setsid sleep 1000"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			iptablesHangs(t, start, name == "child")
		})
	}
}

func iptablesHangs(t *testing.T, start string, ends bool) {
	n := newRaceNode(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"portmap","backend":"iptables","capabilities":{"portMappings":true}}]}`)
	dir, asked := t.TempDir(), filepath.Join(t.TempDir(), "asked")
	for _, name := range []string{"iptables", "ip6tables", "iptables-restore", "ip6tables-restore"} {
		script := "#!/bin/sh\n" + start + " &\necho $! >>" + asked + "\nwait\n" // a child keeps what is open
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := &pod{id: "c1", ns: newNS(t), ports: portsOf(1)}
	p.result = fmt.Appendf(nil, `{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":%q}],"ips":[{"address":"10.67.0.9/24","interface":0}]}`, p.netns())
	for _, command := range []types.Command{types.CommandAdd, types.CommandCheck} {
		o := n.hurry(t, command, p, func(outcome) bool { _, err := os.Stat(asked); return err == nil }, "PATH="+dir+":"+os.Getenv("PATH"))
		o.wantLate(t, "iptables", "portmap did not finish within")
		if strings.Contains(string(o.stdout), "no stop within") {
			t.Errorf("%s was left alone, want that it ends: %s", command, o.stdout)
		}
	}
	started, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(started)) {
		if number, err := strconv.Atoi(pid); !ends && err == nil {
			err = syscall.Kill(number, syscall.SIGKILL)
			if err != nil {
				t.Errorf("kill %s, which was to go on: %v", pid, err)
			}
		}
		wantGone(t, pid)
	}
	if err := p.ns.Close(); err != nil {
		t.Error(err)
	}
}
