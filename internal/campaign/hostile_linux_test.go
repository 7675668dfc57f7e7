// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/campaign"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/types"
)

// hostileValues are what somebody may give for a name: paths, formats, words of shells
// and of firewalls, and what is hard to print. BAIT is a path that must not come to be.
func hostileValues() []string {
	return []string{
		"", ".", "..", "/", "../../escape", "../c1", "/etc/passwd", "/proc/self/mem", "a/b", "-h", "--help", "-", "%s%n%x", "%d", "eth%d",
		"$(touch BAIT)", "`touch BAIT`", "; touch BAIT", "| touch BAIT", "a b", "a\tb", "a\nb", "a\x00b", "\x1b[31m", "\x7f", "\xff\xfe", "\xc3\x28", "\u202eeth0",
		strings.Repeat("A", 300), strings.Repeat("é", 5000), strings.Repeat("../", 100), "e\u0301th0", "Ａ", "ETH0",
		"; flush ruleset", "} ; flush ruleset ; {", `" ; flush ruleset ; "`, "jump input", "-j ACCEPT", "-A INPUT -j DROP", "INPUT", "DROP", "! -s 0.0.0.0/0",
		"lo", "eth0", "eth0peer", "br0", "all", "default", "net", "lock", "last_reserved_ip.0", ".owners", "victim", "@nolink", "dummy",
		"10.1.2.2", "10.1.2.3/24", "0.0.0.0", "0.0.0.0/0", "255.255.255.255", "127.0.0.1", "::", "::1/0", "::ffff:10.1.2.3", "fe80::1%eth0", "224.0.0.1", "0x7f.1", "010.1.2.3",
		"1e3", "-1", "65536", "18446744073709551616", "null", `{"a":1}`, "[]", "1.1.0", "tcp;udp", "TCP", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01",
	}
}

// targets are the places of a request that take a value. VALUE is it, in quotes where it
// is JSON.
var targets = []struct {
	name string
	aim  letter
}{
	{"CNI_CONTAINERID", letter{environ: []string{"CNI_CONTAINERID=VALUE"}}},
	{"CNI_IFNAME", letter{environ: []string{"CNI_IFNAME=VALUE"}}},
	{"CNI_NETNS", letter{environ: []string{"CNI_NETNS=VALUE"}}},
	{"CNI_PATH", letter{environ: []string{"CNI_PATH=VALUE"}}},
	{"CNI_COMMAND", letter{environ: []string{"CNI_COMMAND=VALUE"}}},
	{"CNI_ARGS", letter{environ: []string{"CNI_ARGS=VALUE"}}},
	{"CNI_ARGS IP", letter{environ: []string{"CNI_ARGS=IgnoreUnknown=1;IP=VALUE"}}},
	{"CNI_ARGS K8S_POD_NAME", letter{environ: []string{"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=VALUE"}}},
	{"CNI_ARGS IgnoreUnknown", letter{environ: []string{"CNI_ARGS=IgnoreUnknown=VALUE"}}},
	{"TRACEPARENT", letter{environ: []string{"TRACEPARENT=VALUE"}}},
	{"name", letter{top: `,"name":VALUE`}},
	{"type", letter{top: `,"type":VALUE`}},
	{"cniVersion", letter{top: `,"cniVersion":VALUE`}},
	{"bridge", letter{top: `,"bridge":VALUE`}},
	{"mtu", letter{top: `,"mtu":VALUE`}},
	{"vlan", letter{top: `,"vlan":VALUE`}},
	{"ipMasqBackend", letter{top: `,"ipMasqBackend":VALUE`}},
	{"backend", letter{top: `,"backend":VALUE`}},
	{"externalSetMarkChain", letter{top: `,"backend":"iptables","externalSetMarkChain":VALUE`}},
	{"conditionsV4 nftables", letter{top: `,"backend":"nftables","conditionsV4":["ip","saddr",VALUE]`}},
	{"conditionsV4 iptables", letter{top: `,"backend":"iptables","conditionsV4":["-s",VALUE]`}},
	{"conditionsV4 of one", letter{top: `,"backend":"iptables","conditionsV4":[VALUE]`}},
	{"unknown key", letter{top: `,VALUE:VALUE`}},
	{"dns", letter{top: `,"dns":{"nameservers":[VALUE],"domain":VALUE,"options":[VALUE]}`}},
	{"capabilities", letter{top: `,"capabilities":{VALUE:true}`}},
	{"attachments", letter{top: `,"cni.dev/valid-attachments":[{"containerID":VALUE,"ifname":VALUE},{"containerID":"victim","ifname":"eth0"}]`}},
	{"args.cni.mac", letter{args: `,"cni":{"mac":VALUE,"ips":[VALUE]}`}},
	{"ipam.type", letter{ipam: `,"type":VALUE`}},
	{"ipam.dataDir", letter{ipam: `,"dataDir":VALUE`}},
	{"ipam.resolvConf", letter{ipam: `,"resolvConf":VALUE`}},
	{"ipam.subnet", letter{ipam: `,"subnet":VALUE`}},
	{"ipam.rangeStart", letter{ipam: `,"subnet":"10.1.3.0/24","rangeStart":VALUE`}},
	{"ipam.gateway", letter{ipam: `,"subnet":"10.1.3.0/24","gateway":VALUE`}},
	{"ipam.routes", letter{ipam: `,"routes":[{"dst":VALUE,"gw":"10.1.2.1"}]`}},
	{"ipam.routes gw", letter{ipam: `,"routes":[{"dst":"10.9.0.0/16","gw":VALUE}]`}},
	{"runtimeConfig.ips", letter{runtime: `,"ips":[VALUE]`}},
	{"runtimeConfig.mac", letter{runtime: `,"mac":VALUE`}},
	{"runtimeConfig.ipRanges", letter{runtime: `,"ipRanges":[[{"subnet":VALUE}]]`}},
	{"runtimeConfig.portMappings protocol", letter{runtime: `,"portMappings":[{"hostPort":8081,"containerPort":80,"protocol":VALUE}]`}},
	{"runtimeConfig.portMappings hostIP", letter{runtime: `,"portMappings":[{"hostPort":8081,"containerPort":80,"protocol":"tcp","hostIP":VALUE}]`}},
	{"runtimeConfig.dns", letter{runtime: `,"dns":{"servers":[VALUE],"searches":[VALUE]}`}},
	{"runtimeConfig.aliases", letter{runtime: `,"aliases":[VALUE]`}},
	{"runtimeConfig.deviceID", letter{runtime: `,"deviceID":VALUE,"cgroupPath":VALUE`}},
	{"prevResult.interfaces", letter{prev: `,"interfaces":[{"name":VALUE,"sandbox":"NETNS"}]`}},
	{"prevResult.interfaces mac", letter{prev: `,"interfaces":[{"name":"eth0","mac":VALUE,"sandbox":"NETNS"}]`}},
	{"prevResult.interfaces sandbox", letter{prev: `,"interfaces":[{"name":"eth0","sandbox":VALUE}]`}},
	{"prevResult.ips", letter{prev: `,"ips":[{"address":VALUE,"interface":0}]`}},
	{"prevResult.cniVersion", letter{prev: `,"cniVersion":VALUE`}},
	{"prevResult.dns", letter{prev: `,"dns":{"nameservers":[VALUE]}`}},
}

// with returns a copy of a letter with the value in it.
func (l letter) with(value string) letter {
	quoted := `"` + value + `"` // bytes that are not UTF-8 have to stay
	if utf8.ValidString(value) {
		raw, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		quoted = string(raw)
	}
	l.version = "1.1.0"
	for _, text := range []*string{&l.top, &l.ipam, &l.runtime, &l.args, &l.prev} {
		*text = strings.ReplaceAll(*text, "VALUE", quoted)
	}
	l.environ = slices.Clone(l.environ)
	for i := range l.environ {
		l.environ[i] = strings.ReplaceAll(l.environ[i], "VALUE", value)
	}
	return l
}

// A siege is a node with somebody else's things on it, a container that is attached, and
// one that is to be.
type siege struct {
	*plugintest.Node
	victim, c *plugintest.Container
	network   *types.Network
	result    *types.Result // of the victim
	base      string        // a directory that holds what a path may lead to
	work      string        // the working directory of the plugins, deep in there
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{Node: newNode(t), base: t.TempDir()}
	s.work = filepath.Join(s.base, "a/b/c/d")
	s.DataDir = filepath.Join(s.base, "a/b/data")
	for _, dir := range []string{s.work, s.DataDir, filepath.Join(s.base, "a/b/c1")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.Host.Output(t, "sh", "-ec", `ip link add eth0 type veth peer name eth0peer; ip link set eth0 up; ip link set eth0peer up
		ip addr add 192.0.2.1/24 dev eth0; ip route add default via 192.0.2.254; ip link add br1 type bridge; ip addr add 198.51.100.1/24 dev br1
		nft add table inet theirs; nft add chain inet theirs input '{ type filter hook input priority 0; }'; nft add rule inet theirs input tcp dport 22 accept`)
	s.victim, s.c = s.Container(t, "victim"), s.Container(t, "c1")
	s.network = s.Network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,`+rangeOf+`},{"type":"portmap","capabilities":{"portMappings":true}}]}`)
	s.victim.Attachment.Capabilities = map[string]json.RawMessage{"portMappings": json.RawMessage(`[{"hostPort":9090,"containerPort":90,"protocol":"tcp"}]`)}
	s.result = s.Add(t, s.network, s.victim)
	return s
}

// foreign is the state of what is not ours, a line each: the host but for its bridges,
// the victim, and the files around the data directory.
func (s *siege) foreign(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(string(s.Host.Output(t, "nft", "list", "table", "inet", "theirs")))
	for _, args := range [][]string{{"addr", "show", "eth0"}, {"addr", "show", "br1"}, {"addr", "show", "lo"}, {"route", "show", "default"}, {"route", "show", "dev", "eth0"}, {"rule"}} {
		b.WriteString(string(s.Host.Output(t, "ip", append([]string{"-o"}, args...)...)))
	}
	for _, args := range [][]string{{"-o", "addr"}, {"route", "show", "table", "all"}} {
		b.WriteString(string(s.victim.Output(t, "ip", args...)))
	}
	err := filepath.WalkDir(s.base, func(path string, d os.DirEntry, err error) error {
		if path == s.DataDir {
			return filepath.SkipDir
		}
		fmt.Fprintln(&b, path, d.Type())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "/etc", "/var/lib"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			fmt.Fprintln(&b, dir, e.Name())
		}
	}
	lines := slices.DeleteFunc(strings.SplitAfter(b.String(), "\n"), func(l string) bool { return strings.Contains(l, "fe80:") })
	return strings.Join(lines, "")
}

// whole is the state of all that is there.
func (s *siege) whole(t *testing.T) string {
	t.Helper()
	return s.foreign(t) + everything(t, s.Node, s.c, s.victim)
}

// unchanged compares the state with that before: after each step of a long campaign, and
// after the last one of a short one, since it takes longer than a step.
func (s *siege) unchanged(t *testing.T, before, what string, last bool) {
	t.Helper()
	if !campaign.Long() && !last {
		return
	}
	if diff := cmp.Diff(before, s.whole(t)); diff != "" {
		t.Errorf("%s changed (-before +after):\n%s", what, diff)
	}
}

// act runs one command with a hostile request.
func (s *siege) act(t *testing.T, plugin string, command types.Command, l letter) answer {
	t.Helper()
	p := process(s.Node, plugin, command, s.c, strings.ReplaceAll(l.text(plugin), "NETNS", s.c.Path()))
	p.Env = append(p.Env, l.environ...)
	p.Dir = s.work
	return start(t, s.Host, p)
}

// Whatever stands where a name is wanted, a plugin answers with one document that is not
// long, an ADD that succeeds can be undone, and nothing that is not the container's
// changes. PROTO-021, PROTO-023, PROTO-024, CONF-009, CONF-027, CONF-037.
func TestHostile_Values(t *testing.T) {
	t.Parallel()
	ctx, lots := campaign.Begin(t, 2*time.Second)
	done := 0
	for ctx.Err() == nil && !t.Failed() {
		s := newSiege(t)
		before := s.foreign(t)
		var log []string
		for range 30 {
			if ctx.Err() != nil {
				break
			}
			log = append(log, s.attack(t, lots)...)
			done++
		}
		if diff := cmp.Diff(before, s.foreign(t)); diff != "" {
			t.Errorf("what is not ours changed (-before +after):\n%s\nafter:\n%s", diff, strings.Join(log, "\n"))
		}
		s.aftermath(t, log)
	}
	t.Logf("%d attacks", done)
}

// attack draws a plugin, a place and a value. It returns what it did.
func (s *siege) attack(t *testing.T, lots *rand.Rand) []string {
	t.Helper()
	plugin := everyPlugin[lots.IntN(len(everyPlugin))].name
	target := targets[lots.IntN(len(targets))]
	values := hostileValues()
	value := values[lots.IntN(len(values))]
	if target.name == "ipam.dataDir" && filepath.IsAbs(value) {
		return nil // where the administrator wants it
	}
	if strings.ContainsRune(value, 0) && len(target.aim.environ) > 0 {
		return nil // no environment has that
	}
	if plugin == "portmap" && target.name == "prevResult.ips" && strings.Contains(value, "10.1.2.") {
		return nil // addresses are for IPAM to give: who got one last has it, and its ports
	}
	l := target.aim.with(strings.ReplaceAll(value, "BAIT", filepath.Join(s.base, "bait")))
	commands := []types.Command{types.CommandAdd, types.CommandAdd, types.CommandCheck, types.CommandDel, types.CommandGC, types.CommandStatus}
	command := commands[lots.IntN(len(commands))]
	if command == types.CommandGC && target.name != "attachments" {
		l.top += `,"cni.dev/valid-attachments":[{"containerID":"victim","ifname":"eth0"}]`
	}
	name := fmt.Sprintf("%s %s, %s is %.100q", plugin, command, target.name, value)
	a := s.act(t, plugin, command, l)
	if a.exit == 1 && len(a.stdout) > 8<<10 {
		t.Errorf("%s: the error has %d bytes: %.2000s", name, len(a.stdout), a.stdout)
	}
	if a.exit != 0 || command != types.CommandAdd || target.name == "CNI_COMMAND" {
		return []string{name}
	}
	if a := s.act(t, plugin, types.CommandDel, l); a.exit != 0 {
		t.Errorf("%s: ADD succeeded, DEL = %s", name, a.stdout)
	}
	return []string{name, "and DEL"}
}

// aftermath checks what the attacked attachment left, and that the victim's is whole.
func (s *siege) aftermath(t *testing.T, log []string) {
	t.Helper()
	if links := plugintest.Links(t, s.c.NS); len(links) != 0 {
		t.Errorf("the container has %+v after:\n%s", links, strings.Join(log, "\n"))
	}
	for _, l := range plugintest.Links(t, s.Host) {
		if l.Info.Kind != "bridge" && l.Name != "eth0" && l.Name != "eth0peer" && l.Name != s.result.Interfaces[1].Name {
			t.Errorf("the host has %+v after:\n%s", l, strings.Join(log, "\n"))
		}
	}
	if err := s.Runtime.Check(t.Context(), s.network, s.victim.Attachment); err != nil {
		t.Errorf("CHECK of the other container = %v after:\n%s", err, strings.Join(log, "\n"))
	}
}

// A previous result that names what is the host's, or another container's, is not an
// order to do something to it. CHAIN-022, CHK-005, DEL-008, DEL-009.
func TestHostile_PrevResult(t *testing.T) {
	t.Parallel()
	s := newSiege(t)
	victim, err := s.result.Encode(types.V110)
	if err != nil {
		t.Fatal(err)
	}
	host := s.Host.Path()
	before := s.whole(t)
	for name, prev := range map[string]string{
		"the host's eth0":                     `{"interfaces":[{"name":"eth0"}],"ips":[{"address":"192.0.2.1/24","interface":0}]}`,
		"the host's eth0 in the host":         fmt.Sprintf(`{"interfaces":[{"name":"eth0","sandbox":%q}],"ips":[{"address":"192.0.2.1/24","interface":0}]}`, host),
		"the host's lo":                       fmt.Sprintf(`{"interfaces":[{"name":"lo","sandbox":%q}],"ips":[{"address":"127.0.0.1/8","interface":0}]}`, host),
		"eth0 in the container":               fmt.Sprintf(`{"interfaces":[{"name":"br1"},{"name":"eth0peer"},{"name":"eth0","sandbox":%q}],"ips":[{"address":"192.0.2.1/24","interface":2}]}`, s.c.Path()),
		"the other container":                 string(victim),
		"the other container's veth":          fmt.Sprintf(`{"interfaces":[{"name":"br0"},{"name":%q},{"name":"eth0","sandbox":%q}],"ips":[{"address":"10.1.2.2/24","interface":2}]}`, s.result.Interfaces[1].Name, s.c.Path()),
		"the other container's namespace":     fmt.Sprintf(`{"interfaces":[{"name":"eth0","sandbox":%q}],"ips":[{"address":"10.1.2.2/24","interface":0}]}`, s.victim.Path()),
		"the other container's address alone": `{"ips":[{"address":"10.1.2.2/24"}]}`,
		"everything's address":                `{"ips":[{"address":"0.0.0.0/0"},{"address":"::/0"},{"address":"127.0.0.1/8"}]}`,
	} {
		for _, p := range everyPlugin {
			request := requestOf(strings.Replace(p.request, `8080`, `9090`, 1), `"prevResult":`+prev+`,"isGateway":true,`)
			for _, command := range []types.Command{types.CommandCheck, types.CommandDel} {
				a := start(t, s.Host, process(s.Node, p.name, command, s.c, request))
				if command == types.CommandDel && a.exit != 0 {
					t.Errorf("%s DEL with a result of %s = %s", p.name, name, a.stdout)
				}
				if command == types.CommandCheck && a.exit == 0 && p.name != "portmap" { // to which no address is none to map
					t.Errorf("%s CHECK with a result of %s succeeded, and there is no attachment", p.name, name)
				}
			}
			s.unchanged(t, before, p.name+" with a result of "+name, false)
		}
	}
	s.unchanged(t, before, "CHECK or DEL", true)
	s.aftermath(t, nil)
}

// A delegate may do anything: the plugin stays small, answers with a clean error, tells
// the delegate to clean up and leaves nothing. DLG-006, DLG-009, DLG-022, DLG-026,
// ERR-020, ERR-023, ERR-024.
func TestHostile_Delegates(t *testing.T) {
	t.Parallel()
	const answerOf = `{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}]}`
	const mostKB = 160 << 10
	s := newSiege(t)
	before := s.whole(t)
	for _, tt := range []struct {
		name, script string // for ADD, once the input is read
		want         string // of the error
	}{
		{"1 GB", `head -c 1000000000 /dev/zero`, "wrote more than"},
		{"1 GB of one number", `printf 1; head -c 1000000000 /dev/zero | tr '\0' 1`, "wrote more than"},
		{"100 MB of log", `head -c 100000000 /dev/zero | tr '\0' x >&2; exit 1`, "exit status 1"},
		{"as much as it may", `printf '{"cniVersion":"1.1.0","x":"'; head -c 16000000 /dev/zero | tr '\0' x; printf '"}'`, "no address"},
		{"as deep as it may", `head -c 1000000 /dev/zero | tr '\0' '['`, "JSON"},
		{"an error of 10 MB", `printf '{"code":100,"msg":"'; head -c 10000000 /dev/zero | tr '\0' x; printf '"}'; exit 1`, "xxx"},
		{"twice", `echo '` + answerOf + answerOf + `'`, "JSON"},
		{"garbage", `head -c 1000 /dev/urandom`, "JSON"},
		{"nothing", ``, "without a result"},
		{"another version", `echo '{"cniVersion":"9.9.9","ips":[{"address":"10.1.2.9/24"}]}'`, "9.9.9"},
		{"an older version", `echo '{"cniVersion":"0.2.0","ips":[{"address":"10.1.2.9/24"}]}'`, "no address"},
		{"its error with exit 0", `echo '{"cniVersion":"1.1.0","code":100,"msg":"broken"}'`, "broken"},
		{"its result with exit 1", `echo '` + answerOf + `'; exit 1`, "without an error object"},
		{"the address of the other container", `echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.77"}]}'`, "10.1.2"},
		{"no address at all", `echo '{"cniVersion":"1.1.0","ips":[{"address":"0.0.0.0/0"}]}'`, "0.0.0.0/0"},
		{"the loopback address", `echo '{"cniVersion":"1.1.0","ips":[{"address":"127.0.0.1/8"}],"routes":[{"dst":"127.0.0.0/8","gw":"127.0.0.1"}]}'`, "127.0.0.1/8"},
		{"a gateway that is the host", `echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.9/24","gateway":"127.0.0.1"}]}'`, "127.0.0.1"},
		{"an address of many", `echo '{"cniVersion":"1.1.0","ips":[{"address":"224.0.0.1/4"}]}'`, "224.0.0.1/4"},
		{"a route to nowhere", `echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.9/24"}],"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.254"}]}'`, ""},
		{"killed", `kill -9 $$`, "killed"},
		{"a process that it leaves behind", `sleep 3 & echo '{"code":100,"msg":"gone"}'; exit 1`, "gone"},
	} {
		log := filepath.Join(s.DataDir, "log")
		s.Script(t, "fake", `cat >/dev/null; echo $CNI_COMMAND >>`+log+"\n[ $CNI_COMMAND = ADD ] || exit 0\n"+tt.script+"\n")
		request := `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"ipam":{"type":"fake"}}`
		a := start(t, s.Host, process(s.Node, "bridge", types.CommandAdd, s.c, request))
		if tt.want == "" { // it may even succeed
			request = strings.Replace(request, "{", `{"prevResult":null,`, 1)
			if a := start(t, s.Host, process(s.Node, "bridge", types.CommandDel, s.c, request)); a.exit != 0 {
				t.Errorf("%s: DEL = %s", tt.name, a.stdout)
			}
		} else if a.exit != 1 || !strings.Contains(a.stdout, tt.want) || len(a.stdout) > 64<<10 {
			t.Errorf("%s: ADD = exit %d, %.500s; want a short error with %q", tt.name, a.exit, a.stdout, tt.want)
		}
		if a.usage.Maxrss > mostKB {
			t.Errorf("%s: the plugin took %d KB, want at most %d", tt.name, a.usage.Maxrss, mostKB)
		}
		if got, err := os.ReadFile(log); err != nil || !strings.HasPrefix(string(got), "ADD\nDEL\n") {
			t.Errorf("%s: the delegate saw %q, %v; want ADD and DEL", tt.name, got, err)
		}
		if err := os.Remove(log); err != nil {
			t.Error(err)
		}
		s.unchanged(t, before, tt.name, false)
	}
	s.unchanged(t, before, "ADD", true)
	s.aftermath(t, nil)
}

// A delegate that never answers, and a runtime that gives up: the plugin ends, and what
// it made is gone. PROTO-049, ADD-026.
func TestHostile_SilentDelegate(t *testing.T) {
	t.Parallel()
	s := newSiege(t)
	ready := filepath.Join(s.base, "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	before := s.whole(t)
	s.Script(t, "fake", "cat >/dev/null\n[ $CNI_COMMAND = ADD ] || exit 0\necho >"+ready+"\nexec sleep 3600\n")
	p := process(s.Node, "bridge", types.CommandAdd, s.c, `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"ipam":{"type":"fake"}}`)
	stopped := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(ready)
		if err == nil {
			err = p.Process.Signal(syscall.SIGTERM)
		}
		stopped <- err
	}()
	a := start(t, s.Host, p)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if e, err := types.DecodeError([]byte(a.stdout)); err != nil || a.exit != 1 || e.Code != types.ErrTryAgainLater {
		t.Errorf("ADD = exit %d, %s; want code 11", a.exit, a.stdout)
	}
	s.unchanged(t, before, "ADD", true)
}

// Nothing is run that lies in the working directory, or that CNI_PATH names by way of
// it. PROTO-026, PROTO-040, AMB-042.
func TestHostile_Path(t *testing.T) {
	t.Parallel()
	s := newSiege(t)
	evil := "#!/bin/sh\necho >" + filepath.Join(s.base, "bait") + "\n"
	for _, path := range []string{"evil", "bin/evil", "host-local", "bin/host-local", "sh", "iptables", "nft"} {
		path = filepath.Join(s.work, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(evil), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	before := s.whole(t)
	for _, path := range []string{"", ":", ".", "..", "bin", "./bin", "bin:", ":bin:.", "/no/such:bin", "~", "$PWD"} {
		kinds, commands := []string{"evil", "host-local", "bin/evil"}, []types.Command{types.CommandAdd}
		if campaign.Long() {
			kinds, commands = append(kinds, "../evil", "./evil", filepath.Join(s.work, "evil")), append(commands, types.CommandDel)
		}
		for _, kind := range kinds {
			for _, command := range commands {
				a := s.act(t, "bridge", command, letter{version: "1.1.0", ipam: `,"type":"` + kind + `"`, environ: []string{"CNI_PATH=" + path, "PWD=" + s.work}})
				// DEL passes over a type that is no name, and has no IPAM plugin then.
				if a.exit != 1 && (command == types.CommandAdd || !strings.Contains(kind, "/")) {
					t.Errorf("%s of %s by CNI_PATH=%s = exit %d, %s; want an error", command, kind, path, a.exit, a.stdout)
				}
			}
		}
	}
	s.unchanged(t, before, "a plugin", true)
}
