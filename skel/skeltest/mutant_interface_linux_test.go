// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cnikit/cnikit/examples/bridge/bridge"
	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/examples/loopback/loopback"
	"github.com/cnikit/cnikit/examples/portmap/portmap"
	"github.com/cnikit/cnikit/examples/ptp/ptp"
	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// playMutant makes the process a mutant, or one of the example plugins, if the name of
// the executable says so.
func playMutant(argv0 string) {
	name := filepath.Base(argv0)
	for _, m := range interfaceMutants() {
		if slug(m.name) == name {
			env := skel.Env{Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
			os.Exit(runMutant(m.mutant, m.good().Run, env))
		}
	}
	switch name {
	case "bridge":
		skel.Main(bridge.Plugin())
	case "ptp":
		skel.Main(ptp.Plugin())
	case "loopback":
		skel.Main(loopback.Plugin())
	case "portmap":
		skel.Main(portmap.Plugin())
	case "host-local":
		skel.Main(hostlocal.Plugin())
	case "chained":
		skel.Main(chainedPlugin())
	}
}

func slug(name string) string { return "mutant-" + strings.ReplaceAll(name, " ", "-") }

// An interfaceMutant is a bridge plugin with one flaw, and the rules that are examined:
// the whole kit for each would take long.
type interfaceMutant struct {
	mutant
	only string
}

// good is the plugin that the mutant is but for its flaw.
func (m mutant) good() skel.Runner {
	switch m.base {
	case "chained":
		return chainedPlugin()
	case "portmap":
		return portmap.Plugin()
	case "bandwidth":
		return bandwidthPlugin()
	}
	return bridge.Plugin()
}

// profile is what the kit has to know of it.
func (m mutant) profile() skeltest.Profile {
	p := skeltest.Profile{Kind: skeltest.KindChained, Versions: m.versions, TimeoutSeconds: m.timeout, Config: json.RawMessage("{}")}
	switch m.base {
	case "portmap":
		p.Config = json.RawMessage(`{"runtimeConfig":{"portMappings":[{"hostPort":18080,"containerPort":80,"protocol":"tcp"}]}}`)
	case "bandwidth":
		p.Config = json.RawMessage(`{"runtimeConfig":{"bandwidth":{"ingressRate":8000000,"ingressBurst":800000,"egressRate":4000000,"egressBurst":400000}}}`)
	case "":
		p.Kind, p.Config = skeltest.KindInterface, json.RawMessage(`{"bridge":"cnitest0","isGateway":true,"ipam":{"type":"${IPAM}"}}`)
	}
	if m.config != "" {
		p.Config = json.RawMessage(m.config)
	}
	if len(p.Versions) == 0 {
		p.Versions = []types.Version{types.V110}
	}
	return p
}

// ip runs a command of ip(8) on the host, or in the container.
func ip(r *request, inside bool, args ...string) {
	cmd := exec.Command("ip", args...)
	if inside {
		cmd = exec.Command("nsenter", append([]string{"--net=" + r.env["CNI_NETNS"], "ip"}, args...)...)
	}
	_ = cmd.Run() // a mutant does not care
}

// after does something more when a command has succeeded.
func after(command string, f func(r *request)) func(*request) (string, int) {
	return on(command, func(r *request) (string, int) {
		stdout, exit := r.good()
		if exit == 0 {
			f(r)
		}
		return stdout, exit
	})
}

// onAdd changes the result of an ADD, which may depend on the request.
func onAdd(f func(r *request, o map[string]any)) func(*request) (string, int) {
	return on("ADD", func(r *request) (string, int) {
		stdout, exit := r.good()
		if exit == 0 {
			stdout = object(stdout, func(o map[string]any) { f(r, o) })
		}
		return stdout, exit
	})
}

// stdinFor changes the configuration of one command.
func stdinFor(command string, f func(conf map[string]any)) func(*request) (string, int) {
	return on(command, before(func(r *request) { r.edit(f) }))
}

// masqueraded is a configuration of the bridge that leaves something outside of the
// container, which GC has to find.
const masqueraded = `{"bridge":"cnitest0","isGateway":true,"ipMasq":true,"ipam":{"type":"${IPAM}"}}`

func interfaceMutants() []interfaceMutant {
	noIPAM := func(conf map[string]any) { delete(conf, "ipam") }
	return []interfaceMutant{
		{mutant{name: "interface, another name", spoil: on("ADD", before(func(r *request) {
			if r.env["CNI_IFNAME"] == "net1" {
				r.env["CNI_IFNAME"] = "eth0"
			}
		}))}, "ADD PROTO/022"},
		{mutant{name: "interface, the old one goes", spoil: on("ADD", before(func(r *request) { ip(r, true, "link", "del", "eth0") }))}, "ADD"},
		{mutant{name: "interface, left down", spoil: after("ADD", func(r *request) { ip(r, true, "link", "set", "eth0", "down") })}, "ADD/001 ADD/019 ADD/023"},
		{mutant{name: "interface, works before it refuses", spoil: on("ADD", func(r *request) (string, int) {
			if r.conf()["cniVersion"] == "99.0.0" || strings.HasPrefix(r.env["CNI_NETNS"], "/proc/self") {
				ip(r, false, "link", "add", "leak0", "type", "veth", "peer", "name", "leak1")
			}
			return r.good()
		})}, "ADD PROTO/044 PROTO/045"},
		{mutant{name: "interface, a failed ADD leaves a link", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				ip(r, false, "link", "add", "leak0", "type", "veth", "peer", "name", "leak1")
			}
			return stdout, exit
		})}, "ADD"},
		{mutant{name: "interface, one that is not in the result", spoil: after("ADD", func(r *request) {
			ip(r, true, "link", "add", "x1", "type", "veth", "peer", "name", "x2")
		})}, "ADD/010 PROTO/046 ADD/015"},
		{mutant{name: "interface, touches others", spoil: after("ADD", func(r *request) { ip(r, true, "link", "set", "x0", "down") })}, "ADD"},
		{mutant{name: "interface, no sandbox", spoil: onResult(func(o map[string]any) {
			for _, i := range array(o, "interfaces") {
				delete(i, "sandbox")
			}
		})}, "ADD/011 RES"},
		{mutant{name: "interface, sandbox by another path", spoil: onResult(func(o map[string]any) {
			for _, i := range array(o, "interfaces") {
				if i["sandbox"] != nil {
					i["sandbox"] = "/run/netns/x"
				}
			}
		})}, "ADD/011 RES/012"},
		{mutant{name: "interface, wrong MAC", spoil: onResult(func(o map[string]any) {
			for _, i := range array(o, "interfaces") {
				i["mac"] = "02:00:00:00:00:99"
			}
		})}, "ADD/023 RES"},
		{mutant{name: "interface, no MAC", spoil: onResult(func(o map[string]any) {
			for _, i := range array(o, "interfaces") {
				delete(i, "mac")
			}
		})}, "ADD/023 RES"},
		{mutant{name: "interface, a route that is not there", spoil: onResult(func(o map[string]any) {
			o["routes"] = []any{map[string]any{"dst": "192.0.2.0/24"}}
		})}, "RES"},
		{mutant{name: "interface, addresses of no interface", spoil: onResult(func(o map[string]any) {
			for _, i := range array(o, "ips") {
				delete(i, "interface")
			}
		})}, "DLG/016 RES"},
		{mutant{name: "interface, prevResult ignored", spoil: stdinFor("ADD", func(conf map[string]any) { delete(conf, "prevResult") })}, "CHAIN ADD/002"},
		{mutant{name: "interface, CHECK sees nothing", spoil: on("CHECK", succeeds)}, "CHK"},
		{mutant{name: "interface, CHECK judges all", spoil: on("CHECK", func(r *request) (string, int) {
			if strings.Contains(string(r.stdin), "foreign9") {
				return fails(101, "foreign9 is missing")
			}
			return r.good()
		})}, "CHK"},
		{mutant{name: "interface, CHECK wants its own addresses alone", spoil: on("CHECK", func(r *request) (string, int) {
			if strings.Contains(string(r.stdin), "10.99.0.2") {
				return fails(101, "10.99.0.2 is too many")
			}
			return r.good()
		})}, "CHK"},
		{mutant{name: "interface, CHECK repairs", spoil: on("CHECK", func(r *request) (string, int) {
			ip(r, true, "link", "set", "eth0", "mtu", "1400")
			return r.good()
		})}, "CHK/001 CHK/021"},
		{mutant{name: "interface, CHECK without delegate", spoil: stdinFor("CHECK", noIPAM)}, "CHK/014 CHK/015 DLG"},
		{mutant{name: "interface, DEL does nothing", spoil: on("DEL", succeeds)}, "DEL"},
		{mutant{name: "interface, DEL needs the namespace", spoil: on("DEL", func(r *request) (string, int) {
			if _, err := os.Stat(r.env["CNI_NETNS"]); err != nil && strings.Contains(string(r.stdin), "prevResult") {
				return fails(101, "no namespace")
			}
			return r.good()
		})}, "DEL"},
		{mutant{name: "interface, DEL needs the link", spoil: on("DEL", func(r *request) (string, int) {
			if exec.Command("nsenter", "--net="+r.env["CNI_NETNS"], "ip", "link", "show", "eth0").Run() != nil && strings.Contains(string(r.stdin), "prevResult") {
				return fails(101, "no link")
			}
			return r.good()
		})}, "DEL"},
		{mutant{name: "interface, DEL in the host", spoil: on("DEL", func(r *request) (string, int) {
			ip(r, true, "link", "del", "eth0")
			return r.good()
		})}, "DEL"},
		{mutant{name: "interface, DEL without delegate", spoil: stdinFor("DEL", noIPAM)}, "DEL DLG/007 DLG/008 DLG/009"},
		{mutant{name: "interface, STATUS without delegate", spoil: stdinFor("STATUS", noIPAM)}, "STA DLG/007 DLG/008"},
		{mutant{name: "interface, GC without delegate", spoil: stdinFor("GC", noIPAM)}, "GC DLG/007 DLG/008"},
		{mutant{name: "interface, another configuration for the delegate", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) { delete(conf, "x-cnitest") })
		})}, "DLG"},
		{mutant{name: "interface, another environment for the delegate", spoil: before(func(r *request) {
			delete(r.env, "X_FROM_RUNTIME")
		})}, "DLG/002 DLG/003 PROTO/042"},
		{mutant{name: "interface, delegate in the first directory only", spoil: before(func(r *request) {
			r.env["CNI_PATH"], _, _ = strings.Cut(r.env["CNI_PATH"], ":")
		})}, "DLG/001 PROTO/026 DLG/002"},
		{mutant{name: "interface, an ipam of any type", spoil: stdinFor("ADD", func(conf map[string]any) {
			if _, ok := conf["ipam"].(map[string]any); !ok {
				delete(conf, "ipam")
			}
		})}, "CONF"},
		{mutant{name: "interface, a failing delegate is passed over", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				r.edit(noIPAM)
				return r.good()
			}
			return stdout, exit
		})}, "DLG ERR/020"},
		{mutant{name: "interface, a default route by the gateway", spoil: after("ADD", func(r *request) {
			ip(r, true, "route", "add", "default", "via", "10.88.0.1")
		})}, "DLG/018 DLG/019 DLG/020"},
		{mutant{name: "interface, the delegate's result in one version only", spoil: on("ADD", func(r *request) (string, int) {
			answer, err := os.ReadFile(r.env["CNI_PATH"] + "/cnitest-ipam.d/ADD/stdout")
			if err == nil && strings.Contains(string(answer), "0.4.0") {
				return fails(1, "another version")
			}
			return r.good()
		})}, "DLG"},
		{mutant{name: "interface, long names refused", spoil: func(r *request) (string, int) {
			if len(r.env["CNI_CONTAINERID"]) > 100 {
				return fails(4, "CNI_CONTAINERID: too long")
			}
			return r.good()
		}}, "PROTO/020 PROTO/021 PROTO/025"},
		{mutant{name: "interface, the path decides", spoil: func(r *request) (string, int) {
			if strings.HasSuffix(r.env["CNI_NETNS"], "/netns") {
				return fails(4, "CNI_NETNS: not below /proc")
			}
			return r.good()
		}}, "PROTO/021 PROTO/025"},
		{mutant{name: "interface, one at a time", spoil: on("ADD", func(r *request) (string, int) {
			if os.Mkdir(filepath.Dir(r.env["CNI_PATH"])+"/busy", 0o755) != nil {
				return fails(11, "busy")
			}
			defer os.Remove(filepath.Dir(r.env["CNI_PATH"]) + "/busy")
			return r.good()
		})}, "LIFE/005 LIFE/006 LIFE/019"},
		{mutant{name: "interface, the delegate twice", spoil: on("ADD", func(r *request) (string, int) {
			cmd := exec.Command(r.env["CNI_PATH"] + "/cnitest-ipam")
			cmd.Env, cmd.Stdin = os.Environ(), bytes.NewReader(r.stdin)
			_ = cmd.Run() // a mutant does not care
			return r.good()
		})}, "PROTO/001 DLG/001 DLG/018"},
		{mutant{name: "interface, CHECK looks at no MAC", spoil: on("CHECK", before(func(r *request) {
			if strings.Contains(string(r.stdin), "02:00:00:99:99:98") {
				r.edit(func(conf map[string]any) {
					prev, _ := conf["prevResult"].(map[string]any)
					for _, i := range array(prev, "interfaces") {
						delete(i, "mac")
					}
				})
			}
		}))}, "CHK/002 CHK/008"},
		{mutant{name: "interface, sets the loopback down", spoil: after("ADD", func(r *request) { ip(r, true, "link", "set", "lo", "down") })}, "ADD/015 ADD/019"},
		{mutant{name: "interface, another MTU for others", spoil: after("ADD", func(r *request) { ip(r, true, "link", "set", "x0", "mtu", "1300") })}, "ADD/015 ADD/019"},
		{mutant{name: "interface, one that nobody has", spoil: onResult(func(o map[string]any) {
			interfaces, _ := o["interfaces"].([]any)
			o["interfaces"] = append(interfaces, map[string]any{"name": "phantom0"})
		})}, "ADD/023 RES/012 RES/036"},
		{mutant{name: "interface, another name in the result", spoil: onResult(func(o map[string]any) {
			for _, i := range array(o, "interfaces") {
				if i["name"] == "eth0" {
					i["name"] = "eth9"
				}
			}
		})}, "ADD/004 ADD/010 ADD/023 DLG/016 RES/009"},
		{mutant{name: "interface, a route that the result has not", spoil: after("ADD", func(r *request) {
			ip(r, true, "route", "add", "10.55.0.0/16", "via", "10.88.0.1")
		})}, "ADD/023 RES/027 RES/036"},
		{mutant{name: "interface, routes with a metric", spoil: after("ADD", func(r *request) {
			ip(r, true, "route", "del", "default")
			ip(r, true, "route", "add", "default", "via", "10.88.0.1", "metric", "5")
		}), versions: []types.Version{types.V040}}, "ADD/021 RES/027"},
		{mutant{name: "interface, addresses on the bridge", spoil: onResult(func(o map[string]any) { first(o, "ips")["interface"] = 0 })}, "DLG/016 RES/018"},
		{mutant{name: "interface, DEL without namespace leaves rules", config: masqueraded, spoil: on("DEL", func(r *request) (string, int) {
			if _, err := os.Stat(r.env["CNI_NETNS"]); err != nil && r.env["CNI_CONTAINERID"] != "" {
				return succeeds(r)
			}
			return r.good()
		})}, "DEL/001 DEL/003 DEL/005 DEL/006"},
		{mutant{name: "interface, DEL leaves a neighbour", spoil: after("ADD", func(r *request) {
			ip(r, false, "neigh", "replace", fmt.Sprintf("10.88.7.%d", 1+os.Getpid()%250), "lladdr", "02:00:00:00:00:77", "dev", "cnitest0", "nud", "permanent")
		})}, "DEL/001 DEL/003 ADD/019"},
		{mutant{name: "interface, a directory for the delegate", spoil: on("ADD", func(r *request) (string, int) {
			dir, _, _ := strings.Cut(r.env["CNI_PATH"], ":")
			if info, err := os.Stat(dir + "/cnitest-ipam"); err == nil && info.IsDir() {
				return fails(101, "cnitest-ipam: permission denied")
			}
			return r.good()
		})}, "PROTO/004 PROTO/026 DLG/001"},
		{mutant{name: "interface, prevResult is not looked at", spoil: stdinFor("ADD", func(conf map[string]any) { delete(conf, "prevResult") })}, "ADD/013 CHAIN/032"},
		{mutant{name: "interface, one default route", versions: []types.Version{types.V040}, spoil: on("ADD", func(r *request) (string, int) {
			if exec.Command("nsenter", "--net="+r.env["CNI_NETNS"], "ip", "link", "show", "x0").Run() == nil {
				return fails(101, "there is a default route")
			}
			return r.good()
		})}, "ADD/019 ADD/020"},
		{mutant{name: "interface, a second default route leaves something", versions: []types.Version{types.V040}, spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if strings.Contains(stdout, `"0.0.0.0/0"`) && exec.Command("nsenter", "--net="+r.env["CNI_NETNS"], "ip", "link", "show", "x0").Run() == nil {
				return fails(101, "there is a default route")
			}
			return stdout, exit
		})}, "ADD/019 ADD/020"},
		// No flaw: what the configuration asks for is a change, and not for CHAIN/014.
		{mutant{name: "chained, a route of the configuration", base: "chained", config: `{"addroutes":[{"dst":"10.77.0.0/16"}]}`, spoil: onAdd(func(r *request, o map[string]any) {
			if wanted, ok := r.conf()["addroutes"].([]any); ok {
				routes, _ := o["routes"].([]any)
				o["routes"] = append(routes, wanted...)
			}
		})}, "CHAIN/013 CHAIN/014"},
		{mutant{name: "interface, a delegate that hangs", timeout: 4}, "ADD/026"},
		{mutant{name: "interface, DEL ends with the error of the delegate", spoil: on("DEL", func(r *request) (string, int) {
			if answer, err := os.ReadFile(r.env["CNI_PATH"] + "/cnitest-ipam.d/DEL/stdout"); err == nil {
				return string(answer), 1
			}
			return r.good()
		})}, "DEL DLG/008"},
		{mutant{name: "interface, STATUS of the delegate with exit status 0", spoil: on("STATUS", func(r *request) (string, int) {
			stdout, _ := r.good()
			return stdout, 0
		})}, "STA DLG/008"},
		{mutant{name: "interface, GC says two things", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				stdout += stdout
			}
			return stdout, exit
		})}, "GC ERR/001 ERR/028"},
		{mutant{name: "interface, GC ends with the error of the delegate", config: masqueraded, spoil: on("GC", func(r *request) (string, int) {
			if answer, err := os.ReadFile(r.env["CNI_PATH"] + "/cnitest-ipam.d/GC/stdout"); err == nil {
				return string(answer), 1
			}
			return r.good()
		})}, "GC ERR/028"},
		{mutant{name: "interface, GC does nothing", config: masqueraded, spoil: on("GC", succeeds)}, "GC"},
		{mutant{name: "interface, GC takes all", config: masqueraded, not: "GC/028", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if list, ok := conf["cni.dev/valid-attachments"].([]any); ok && len(list) > 0 {
					conf["cni.dev/valid-attachments"] = []any{}
				}
			})
		}))}, "GC"},
		{mutant{name: "interface, no gateway in the result", spoil: onResult(func(o map[string]any) { delete(first(o, "ips"), "gateway") })}, "RES ADD/023"},
		{mutant{name: "interface, no routes in the result", spoil: onResult(func(o map[string]any) { delete(o, "routes") })}, "RES ADD/023"},
		{mutant{name: "interface, an address more than the result has", spoil: after("ADD", func(r *request) {
			ip(r, true, "addr", "add", "10.88.7.7/24", "dev", r.env["CNI_IFNAME"])
		})}, "RES ADD/023"},
		{mutant{name: "interface, unknown members of the delegate's result", spoil: on("ADD", func(r *request) (string, int) {
			answer, err := os.ReadFile(r.env["CNI_PATH"] + "/cnitest-ipam.d/ADD/stdout")
			if err == nil && strings.Contains(string(answer), "x-cnitest") {
				return fails(6, "x-cnitest: unknown")
			}
			return r.good()
		})}, "RES/037 RES/036 DLG/026"},
		{mutant{name: "interface, errors of the delegate need a message", spoil: on("ADD", func(r *request) (string, int) {
			answer, err := os.ReadFile(r.env["CNI_PATH"] + "/cnitest-ipam.d/ADD/stdout")
			if err == nil && string(answer) == `{"code":111}` {
				return fails(6, "no msg")
			}
			return r.good()
		})}, "ERR/020 ERR/029 DLG/008"},
		{mutant{name: "interface, a lock over the delegate", timeout: 4, spoil: on("ADD", func(r *request) (string, int) {
			f, err := os.OpenFile(filepath.Dir(r.env["CNI_PATH"])+"/lock", os.O_CREATE|os.O_RDWR, 0o600)
			if err != nil || syscall.Flock(int(f.Fd()), syscall.LOCK_EX) != nil {
				return fails(101, "no lock")
			}
			defer f.Close()
			return r.good()
		})}, "LIFE/011"},
		{mutant{name: "interface, addresses sorted", spoil: onResult(func(o map[string]any) {
			ips, _ := o["ips"].([]any)
			slices.SortFunc(ips, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		})}, "CONV RES/036"},
		{mutant{name: "interface, IPv6 first", spoil: onResult(func(o map[string]any) {
			if ips, _ := o["ips"].([]any); len(ips) == 2 && strings.Contains(fmt.Sprint(ips[1]), "fd00") {
				slices.Reverse(ips)
			}
		})}, "CONV"},
		{mutant{name: "interface, the version of the delegate's addresses", spoil: onResult(func(o map[string]any) {
			if o["cniVersion"] == "1.1.0" {
				first(o, "ips")["version"] = "4"
			}
		})}, "CONV"},
		{mutant{name: "interface, no version of addresses in 0.4.0", spoil: onResult(func(o map[string]any) {
			if o["cniVersion"] == "0.4.0" {
				delete(first(o, "ips"), "version")
			}
		})}, "CONV"},
		{mutant{name: "interface, the last address for 0.2.0", spoil: onResult(func(o map[string]any) {
			if block, ok := o["ip4"].(map[string]any); ok && block["ip"] == "10.88.0.9/24" {
				block["ip"] = "10.88.0.2/24"
			}
		})}, "CONV"},
		{mutant{name: "interface, all routes for 0.2.0", spoil: onResult(func(o map[string]any) {
			if block, ok := o["ip4"].(map[string]any); ok && block["routes"] != nil {
				block["routes"] = append(block["routes"].([]any), map[string]any{"dst": "fd00:99::/64"})
			}
		})}, "CONV"},
		{mutant{name: "interface, no address for 0.2.0", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 && strings.Contains(string(r.stdin), `"0.2.0"`) {
				return `{"cniVersion":"0.2.0"}`, 0
			}
			return stdout, exit
		})}, "CONV"},
		{mutant{name: "interface, routes of 1.1.0 in 1.0.0", spoil: onResult(func(o map[string]any) {
			if o["cniVersion"] == "1.0.0" {
				first(o, "routes")["mtu"] = 1400
			}
		})}, "CONV"},
		{mutant{name: "interface, the keys of runtimeConfig.dns", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if config, _ := r.conf()["runtimeConfig"].(map[string]any); config["dns"] != nil && exit == 0 {
				stdout = object(stdout, func(o map[string]any) { o["dns"] = config["dns"] })
			}
			return stdout, exit
		})}, "CAP RES/034"},
		{mutant{name: "interface, runtimeConfig.dns beside dns", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if config, _ := r.conf()["runtimeConfig"].(map[string]any); config["dns"] != nil && exit == 0 {
				stdout = object(stdout, func(o map[string]any) {
					o["dns"] = map[string]any{"nameservers": []string{"192.0.2.9", "192.0.2.77"}, "search": []string{"x.example"}}
				})
			}
			return stdout, exit
		})}, "CAP RES/034"},
		{mutant{name: "interface, MAC of CNI_ARGS before args", spoil: on("ADD", before(func(r *request) {
			if strings.Contains(r.env["CNI_ARGS"], "MAC=") {
				r.edit(func(conf map[string]any) { delete(conf, "args") })
			}
		}))}, "ARG CAP"},
		{mutant{name: "interface, static mac before runtimeConfig", spoil: after("ADD", func(r *request) {
			if mac, ok := r.conf()["mac"].(string); ok {
				ip(r, true, "link", "set", r.env["CNI_IFNAME"], "address", mac)
			}
		})}, "CAP"},
		{mutant{name: "chained, good", base: "chained"}, "CHAIN ADD"},
		{mutant{name: "chained, the first interface of the name", base: "chained", spoil: after("ADD", func(r *request) {
			ip(r, false, "link", "set", r.env["CNI_IFNAME"], "mtu", "1400")
		})}, "CHAIN ADD"},
		{mutant{name: "chained, an MTU that nobody is told of", base: "chained", spoil: after("ADD", func(r *request) {
			ip(r, true, "link", "set", r.env["CNI_IFNAME"], "mtu", "1400")
		})}, "CHAIN ADD"},
		{mutant{name: "portmap, tcp only", base: "portmap", spoil: on("ADD", func(r *request) (string, int) {
			if strings.Contains(string(r.stdin), `"udp"`) {
				return fails(7, "protocol: udp")
			}
			return r.good()
		})}, "CAP"},
		{mutant{name: "portmap, hostIP of one family", base: "portmap", spoil: on("ADD", func(r *request) (string, int) {
			if strings.Contains(string(r.stdin), "fd00::1") {
				return fails(7, "hostIP: IPv6")
			}
			return r.good()
		})}, "CAP"},
		{mutant{name: "portmap, the last of two", base: "portmap", spoil: stdinFor("ADD", func(conf map[string]any) {
			config, _ := conf["runtimeConfig"].(map[string]any)
			if all, ok := config["portMappings"].([]any); ok && len(all) > 1 {
				config["portMappings"] = all[1:]
			}
		})}, "CAP"},
		{mutant{name: "bandwidth, good", base: "bandwidth"}, "CAP"},
		{mutant{name: "bandwidth, in bytes", base: "bandwidth", spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) { conf["bytes"] = true })
		}))}, "CAP"},
		{mutant{name: "bandwidth, a rate without burst", base: "bandwidth", spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) { conf["kind"] = true })
		}))}, "CAP"},
		{mutant{name: "bandwidth, the other direction", base: "bandwidth", spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) { conf["swapped"] = true })
		}))}, "CAP"},
	}
}

// array returns the objects of an array.
func array(o map[string]any, key string) []map[string]any {
	all, _ := o[key].([]any)
	var objects []map[string]any
	for _, entry := range all {
		if entry, ok := entry.(map[string]any); ok {
			objects = append(objects, entry)
		}
	}
	return objects
}

// The mutants that take namespaces break exactly the rules that they are said to
// break, as processes.
func TestExamine_interfaceMutants(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	if testing.Short() {
		t.Skip("it takes long")
	}
	for _, program := range []string{"ip", "nsenter", "tc"} { // with which mutants do wrong
		if _, err := exec.LookPath(program); err != nil {
			nstest.Lacks(t, "program "+program, err)
		}
	}
	for _, m := range interfaceMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			target := skeltest.Target{Executable: skeltest.Self(t, slug(m.name)), Profile: m.profile()}
			report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: m.near(t, m.rules(m.only))})
			if err != nil {
				t.Fatal(err)
			}
			for _, note := range append(report.Notes, report.AddFails) {
				if note != "" {
					t.Error(note)
				}
			}
			wantBroken(t, m.name, report.IDs(skeltest.Failed))
		})
	}
}
