// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
			plugin := bridge.Plugin()
			env := skel.Env{Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
			os.Exit(runMutant(m.mutant, plugin.Run, env))
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

// stdinFor changes the configuration of one command.
func stdinFor(command string, f func(conf map[string]any)) func(*request) (string, int) {
	return on(command, before(func(r *request) { r.edit(f) }))
}

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
	for _, m := range interfaceMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			target := skeltest.Target{Executable: skeltest.Self(t, slug(m.name)), Profile: skeltest.Profile{
				Kind:     skeltest.KindInterface,
				Config:   json.RawMessage(`{"bridge":"cnitest0","isGateway":true,"ipam":{"type":"${IPAM}"}}`),
				Versions: []types.Version{types.V110},
			}}
			report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: strings.Fields(ids(m.only))})
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
