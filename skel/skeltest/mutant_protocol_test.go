// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// chainedPlugin is a good plugin that needs no privileges.
func chainedPlugin() skel.Plugin[struct{}] {
	return skel.Plugin[struct{}]{
		Name: "good", Chained: true,
		Add: func(_ context.Context, r *skel.Request[struct{}]) (*types.Result, error) { return r.PrevResult, nil },
		Del: skel.NothingToDo[struct{}], Check: skel.NothingToDo[struct{}],
		GC: skel.NothingToDo[struct{}], Status: skel.NothingToDo[struct{}],
	}
}

// protocolMutants are plugins that need no privileges, each with one flaw.
func protocolMutants() []mutant {
	return []mutant{
		{name: "good", versions: types.Versions()},
		{name: "command in any case", spoil: before(func(r *request) {
			if c, ok := r.env["CNI_COMMAND"]; ok && c != "" {
				r.env["CNI_COMMAND"] = strings.ToUpper(strings.TrimSpace(c))
			}
		})},
		{name: "unknown command accepted", spoil: accepts(4, "^CNI_COMMAND")},
		{name: "unknown command is code 100", spoil: withCode("CNI_COMMAND", 100)},
		{name: "unknown command is not named", spoil: onError(func(o map[string]any) {
			if strings.Contains(fmt.Sprint(o["msg"]), "CNI_COMMAND") {
				o["msg"], o["details"] = "bad command", "?"
			}
		})},
		{name: "missing variables accepted on ADD", spoil: on("ADD", before(func(r *request) {
			for _, key := range []string{"CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"} {
				r.env[key] = cmp.Or(r.env[key], "x0")
			}
		}))},
		{name: "missing variables accepted on DEL", spoil: on("DEL", before(func(r *request) {
			for _, key := range []string{"CNI_CONTAINERID", "CNI_IFNAME"} {
				r.env[key] = cmp.Or(r.env[key], "x0")
			}
		}))},
		{name: "DEL demands CNI_NETNS", spoil: on("DEL", func(r *request) (string, int) {
			if r.env["CNI_NETNS"] == "" {
				return fails(4, "CNI_NETNS: missing")
			}
			return r.good()
		})},
		{name: "GC demands CNI_CONTAINERID", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			if r.env["CNI_CONTAINERID"] == "" && exit == 0 {
				return fails(4, "CNI_CONTAINERID: missing")
			}
			return stdout, exit
		})},
		{name: "VERSION demands CNI_PATH", spoil: on("VERSION", func(r *request) (string, int) {
			if r.env["CNI_PATH"] == "" {
				return fails(4, "CNI_PATH: missing")
			}
			return r.good()
		})},
		{name: "an empty variable is not an unset one", spoil: on("DEL", before(func(r *request) {
			if id, ok := r.env["CNI_CONTAINERID"]; ok && id == "" {
				r.env["CNI_CONTAINERID"] = "x0"
			}
		}))},
		{name: "variables are not named", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "4" && !strings.Contains(fmt.Sprint(o["msg"]), "CNI_COMMAND") {
				o["msg"], o["details"] = "bad environment", "?"
			}
		})},
		{name: "container ID of any kind", spoil: before(func(r *request) {
			if r.env["CNI_CONTAINERID"] != "" {
				r.env["CNI_CONTAINERID"] = "x0"
			}
		})},
		{name: "container ID without dots", spoil: on("DEL", func(r *request) (string, int) {
			if strings.Contains(r.env["CNI_CONTAINERID"], ".") {
				return fails(4, "CNI_CONTAINERID: dot")
			}
			return r.good()
		})},
		{name: "interface name of any kind", spoil: before(func(r *request) {
			if r.env["CNI_IFNAME"] != "" {
				r.env["CNI_IFNAME"] = "x0"
			}
		})},
		{name: "unreadable input is code 6", spoil: withCode("standard input|stdin", 6)},
		{name: "undecodable input is code 7", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "6" {
				o["code"] = 7
			}
		})},
		{name: "invalid configuration is code 100", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "7" {
				o["code"] = 100
			}
		})},
		{name: "exit status 0 for errors", spoil: func(r *request) (string, int) {
			stdout, _ := r.good()
			return stdout, 0
		}},
		{name: "exit status 3 for errors", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			return stdout, 3 * exit
		}},
		{name: "exit status 1 for success of DEL", spoil: on("DEL", func(r *request) (string, int) {
			stdout, _ := r.good()
			return stdout, 1
		})},
		{name: "errors to standard error", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				fmt.Fprint(r.stderr, stdout)
				stdout = ""
			}
			return stdout, exit
		}},
		{name: "a log before the error", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				stdout = "starting\n" + stdout
			}
			return stdout, exit
		}},
		{name: "two documents", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				stdout = "{}" + stdout
			}
			return stdout, exit
		}},
		{name: "VERSION with a log", spoil: on("VERSION", func(r *request) (string, int) {
			stdout, exit := r.good()
			return stdout + " done", exit
		})},
		{name: "arrays accepted", spoil: func(r *request) (string, int) {
			if strings.HasPrefix(string(r.stdin), "[]") {
				return "", 0
			}
			return r.good()
		}},
		{name: "any type of cniVersion", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if _, ok := conf["cniVersion"].(string); !ok && conf["cniVersion"] != nil {
					conf["cniVersion"] = "1.1.0"
				}
			})
		})},
		{name: "no name accepted", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if name, ok := conf["name"]; !ok || name == "" {
					conf["name"] = "x"
				}
			})
		})},
		{name: "names of any kind", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if name, ok := conf["name"].(string); ok && name != "" {
					conf["name"] = "x"
				}
			})
		})},
		{name: "names of two characters at least", spoil: func(r *request) (string, int) {
			if name, _ := r.conf()["name"].(string); len(name) == 1 {
				return fails(7, "name: too short")
			}
			return r.good()
		}},
		{name: "trailing data accepted", spoil: before(func(r *request) {
			var first json.RawMessage
			if json.NewDecoder(bytes.NewReader(r.stdin)).Decode(&first) == nil {
				r.stdin = first
			}
		})},
		{name: "unknown keys refused without a name", spoil: on("STATUS", func(r *request) (string, int) {
			if r.conf()["x-cnitest"] != nil {
				return fails(2, "unknown key")
			}
			return r.good()
		})},
		{name: "args refused", spoil: func(r *request) (string, int) {
			if r.conf()["args"] != nil {
				return fails(7, "args: unknown")
			}
			return r.good()
		}},
		{name: "args refused before 1.0.0", versions: []types.Version{types.V040}, spoil: func(r *request) (string, int) {
			if args, _ := r.conf()["args"].(map[string]any); args["other"] != nil {
				return fails(7, "args: unknown")
			}
			return r.good()
		}},
		{name: "keys in exact case only", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["CNIVERSION"] != nil {
					delete(conf, "CNIVERSION")
				}
			})
		})},
		{name: "a nameserver that crashes it", spoil: func(r *request) (string, int) {
			if r.conf()["dns"] != nil {
				return "panic: oh no", 2
			}
			return r.good()
		}},
		{name: "VERSION without versions", spoil: on("VERSION", says(`{"cniVersion":"1.1.0"}`, 0))},
		{name: "VERSION without cniVersion", spoil: on("VERSION", says(`{"supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}`, 0))},
		{name: "VERSION always 1.1.0", versions: []types.Version{types.V040, types.V100}, spoil: on("VERSION", before(func(r *request) { r.stdin = []byte("{}") }))},
		{name: "VERSION needs input", versions: []types.Version{types.V040}, spoil: on("VERSION", func(r *request) (string, int) {
			if r.conf() == nil {
				return fails(6, "no input")
			}
			return r.good()
		})},
		{name: "VERSION of the future", versions: []types.Version{types.V040}, spoil: on("VERSION", func(r *request) (string, int) {
			stdout, exit := r.good()
			return object(stdout, func(o map[string]any) { o["cniVersion"] = "7" }), exit
		})},
		{name: "VERSION lists twice", spoil: on("VERSION", says(`{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","0.4.0","1.0.0","1.1.0"]}`, 0))},
		{name: "VERSION lists downwards", spoil: on("VERSION", says(`{"cniVersion":"1.1.0","supportedVersions":["1.1.0","1.0.0","0.4.0","0.3.1"]}`, 0))},
		{name: "VERSION lists few", spoil: on("VERSION", says(`{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}`, 0))},
		{name: "VERSION is refused", spoil: on("VERSION", says(`{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}`, 1))},
		{name: "any version accepted", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["cniVersion"] == "99.0.0" {
					conf["cniVersion"] = "1.1.0"
				}
			})
		})},
		{name: "versions compared kindly", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if v, ok := conf["cniVersion"].(string); ok && strings.Contains(v, "1.1") {
					conf["cniVersion"] = "1.1.0"
				}
			})
		})},
		{name: "a listed version refused", spoil: on("GC", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(1, "GC is too new")
		})},
		{name: "no STATUS", spoil: on("STATUS", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(4, "CNI_COMMAND: STATUS is not known")
		})},
		{name: "no cniVersion is 7", spoil: func(r *request) (string, int) {
			if conf := r.conf(); conf != nil && conf["cniVersion"] == nil && conf["CNIVERSION"] == nil && r.command() == "DEL" && conf["name"] != nil {
				return fails(7, "cniVersion: missing")
			}
			return r.good()
		}},
		{name: "CHECK in any version", versions: []types.Version{types.V040}, spoil: on("CHECK", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["cniVersion"] == "0.3.1" {
					conf["cniVersion"] = "0.4.0"
				}
			})
		}))},
		{name: "GC in any version", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["cniVersion"] == "1.0.0" {
					conf["cniVersion"] = "1.1.0"
				}
			})
		}))},
		{name: "code is a text", spoil: onError(func(o map[string]any) { o["code"] = fmt.Sprint(o["code"]) })},
		{name: "msg is empty", spoil: onError(func(o map[string]any) { o["msg"] = "" })},
		{name: "msg has two lines", spoil: onError(func(o map[string]any) { o["msg"] = fmt.Sprint(o["msg"], "\nand more") })},
		{name: "details is a number", spoil: onError(func(o map[string]any) { o["details"] = 7 })},
		{name: "errors without cniVersion", spoil: onError(func(o map[string]any) { delete(o, "cniVersion") })},
		{name: "code 42", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "7" {
				o["code"] = 42
			}
		})},
		{name: "code 0", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "7" {
				o["code"] = 0
			}
		})},
		{name: "code 50 for ADD", spoil: on("ADD", onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "7" {
				o["code"] = 50
			}
		}))},
		{name: "errors repeat the configuration", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				stdout = object(stdout, func(o map[string]any) { o["details"] = string(r.stdin) })
			}
			return stdout, exit
		}},
		{name: "DEL of the unknown fails", spoil: on("DEL", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(3, "unknown container")
		})},
		{name: "DEL prints", spoil: on("DEL", func(r *request) (string, int) {
			stdout, exit := r.good()
			return cmp.Or(stdout, "{}"), exit
		})},
		{name: "CHECK prints", spoil: on("CHECK", func(r *request) (string, int) {
			stdout, exit := r.good()
			return cmp.Or(stdout, "{}"), exit
		})},
		{name: "CHECK fails", spoil: on("CHECK", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(101, "not well")
		})},
		{name: "CHECK without prevResult", spoil: on("CHECK", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["prevResult"] == nil {
					conf["prevResult"] = map[string]any{}
				}
			})
		}))},
		{name: "STATUS fails", spoil: on("STATUS", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(50, "not ready")
		})},
		{name: "STATUS prints", spoil: on("STATUS", func(r *request) (string, int) {
			stdout, exit := r.good()
			return cmp.Or(stdout, "{}"), exit
		})},
		{name: "GC fails", spoil: on("GC", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(101, "not done")
		})},
		{name: "GC prints", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			return cmp.Or(stdout, "{}"), exit
		})},
		{name: "GC of any list", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				conf["cni.dev/valid-attachments"], conf["cni.dev/attachments"] = []any{}, []any{}
			})
		}))},
		{name: "GC refuses the unknown", spoil: on("GC", func(r *request) (string, int) {
			if strings.Contains(string(r.stdin), "never-seen") {
				return fails(7, "never-seen: unknown")
			}
			return r.good()
		})},
		{name: "CNI_ARGS refused", spoil: func(r *request) (string, int) {
			if strings.Contains(r.env["CNI_ARGS"], "FOO") {
				return fails(4, "CNI_ARGS: FOO")
			}
			return r.good()
		}},
		{name: "one pair in CNI_ARGS", spoil: func(r *request) (string, int) {
			if strings.Count(r.env["CNI_ARGS"], "=") == 3 {
				return fails(4, "CNI_ARGS: too many")
			}
			return r.good()
		}},
		{name: "VERSION differs", spoil: on("VERSION", func(r *request) (string, int) {
			stdout, exit := r.good()
			return object(stdout, func(o map[string]any) { o["now"] = time.Now().UnixNano() }), exit
		})},
		{name: "CNI_VERSION heeded", spoil: func(r *request) (string, int) {
			if r.env["CNI_VERSION"] != "" {
				return fails(1, "CNI_VERSION: unknown")
			}
			return r.good()
		}},
		{name: "unknown variables refused", spoil: func(r *request) (string, int) {
			if r.env["CNI_FUTURE"] != "" {
				return fails(4, "CNI_FUTURE: unknown")
			}
			return r.good()
		}},
		{name: "HOME needed", spoil: func(r *request) (string, int) {
			if r.env["PATH"] == "" && r.command() == "DEL" {
				return fails(100, "no PATH")
			}
			return r.good()
		}},
		{name: "crash on odd input", spoil: on("DEL", func(r *request) (string, int) {
			if name, ok := r.conf()["name"]; ok && name == nil {
				return "panic: nil", 2
			}
			return r.good()
		})},
		{name: "ADD prints nothing", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit == 0 {
				stdout = ""
			}
			return stdout, exit
		})},
		{name: "ADD prints an error with success", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit == 0 {
				stdout = `[` + stdout + `]`
			}
			return stdout, exit
		})},
		{name: "result in the newest version", versions: []types.Version{types.V100}, spoil: onResult(func(o map[string]any) { o["cniVersion"] = "1.1.0" })},
		{name: "result without version", spoil: onResult(func(o map[string]any) { delete(o, "cniVersion") })},
		{name: "result of 0.2.0", spoil: onResult(func(o map[string]any) { o["ip4"] = map[string]any{"ip": "10.88.0.2/24"} })},
		{name: "ip for ips", versions: []types.Version{types.V031}, spoil: onResult(func(o map[string]any) { o["ip"] = []any{} })},
		{name: "no version of addresses", versions: []types.Version{types.V040}, spoil: onResult(func(o map[string]any) { delete(first(o, "ips"), "version") })},
		{name: "version of addresses", spoil: onResult(func(o map[string]any) { first(o, "ips")["version"] = "4" })},
		{name: "interface without name", spoil: onResult(func(o map[string]any) { first(o, "interfaces")["name"] = "" })},
		{name: "upper case MAC", spoil: onResult(func(o map[string]any) { first(o, "interfaces")["mac"] = "02-AB" })},
		{name: "relative socketPath", spoil: onResult(func(o map[string]any) { first(o, "interfaces")["socketPath"] = "s" })},
		{name: "address without length", spoil: onResult(func(o map[string]any) { first(o, "ips")["address"] = "10.88.0.2" })},
		{name: "gateway with length", spoil: onResult(func(o map[string]any) { first(o, "ips")["gateway"] = "10.88.0.1/24" })},
		{name: "interface out of range", spoil: onResult(func(o map[string]any) { first(o, "ips")["interface"] = 9 })},
		{name: "interface -1", spoil: onResult(func(o map[string]any) { first(o, "ips")["interface"] = -1 })},
		{name: "dst without length", spoil: onResult(func(o map[string]any) { first(o, "routes")["dst"] = "default" })},
		{name: "dst with host bits", spoil: onResult(func(o map[string]any) { first(o, "routes")["dst"] = "10.1.2.3/8" })},
		{name: "gw of another family", versions: []types.Version{types.V040}, spoil: onResult(func(o map[string]any) { first(o, "routes")["gw"] = "fd00::1" })},
		{name: "mtu of a route is a text", spoil: onResult(func(o map[string]any) { first(o, "routes")["mtu"] = "1400" })},
		{name: "new members in an old result", versions: []types.Version{types.V100}, spoil: onResult(func(o map[string]any) { first(o, "interfaces")["mtu"] = 1500 })},
		{name: "null", spoil: onResult(func(o map[string]any) { o["x"] = nil })},
		{name: "interfaces of prevResult lost", spoil: onResult(func(o map[string]any) { delete(o, "interfaces") })},
		{name: "dns of prevResult lost", spoil: onResult(func(o map[string]any) { delete(o, "dns") })},
		{name: "interfaces reordered", spoil: onResult(func(o map[string]any) {
			all, _ := o["interfaces"].([]any)
			slices.Reverse(all)
		})},
		{name: "unknown members lost", spoil: onResult(func(o map[string]any) { delete(o, "x-cnitest") })},
		{name: "table 0 lost", spoil: onResult(func(o map[string]any) {
			if r := first(o, "routes"); fmt.Sprint(r["table"]) == "0" {
				delete(r, "table")
			}
		})},
		{name: "ADD without prevResult", spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if _, ok := conf["prevResult"]; !ok {
					conf["prevResult"] = map[string]any{}
				}
			})
		}))},
		{name: "prevResult in its own version only", spoil: on("ADD", func(r *request) (string, int) {
			conf := r.conf()
			if prev, ok := conf["prevResult"].(map[string]any); ok && prev["cniVersion"] != nil && prev["cniVersion"] != "1.1.0" && conf["name"] != nil {
				return fails(1, "prevResult: version")
			}
			return r.good()
		})},
		{name: "runtimeConfig needed", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if _, ok := r.conf()["runtimeConfig"]; exit == 0 && ok {
				return fails(7, "runtimeConfig: empty")
			}
			return stdout, exit
		})},
		{name: "a random member", spoil: onResult(func(o map[string]any) { o["x"] = time.Now().UnixNano() })},
		{name: "long names refused", spoil: func(r *request) (string, int) {
			if name, _ := r.conf()["name"].(string); len(name) > 64 {
				return fails(7, "name: too long")
			}
			return r.good()
		}},
		{name: "VERSION lists what is no version", spoil: on("VERSION", says(`{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0","1.0.0","1.1.0"]}`, 0))},
		{name: "VERSION ends with exit status 1", spoil: on("VERSION", func(r *request) (string, int) {
			stdout, _ := r.good()
			return stdout, 1
		})},
		{name: "VERSION lists a version that is refused", versions: []types.Version{types.V040, types.V110}, spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if r.conf()["cniVersion"] == "0.4.0" && r.command() != "VERSION" && exit == 0 {
				return fails(1, "0.4.0: not supported")
			}
			return stdout, exit
		}},
		{name: "a log after the result", spoil: onResultText(func(text string) string { return text + "\ndone\n" })},
		{name: "the result twice", spoil: onResultText(func(text string) string { return text + text })},
		{name: "a mark before the result", spoil: onResultText(func(text string) string { return "\ufeff" + text })},
		{name: "errors of DEL without an object", spoil: on("DEL", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				stdout = ""
			}
			return stdout, exit
		})},
		{name: "routes of prevResult lost", spoil: onResult(func(o map[string]any) { delete(o, "routes") })},
		{name: "addresses of prevResult twice", spoil: onResult(func(o map[string]any) {
			ips, _ := o["ips"].([]any)
			o["ips"] = append(ips, ips...)
		})},
		{name: "interface of an address is a text", spoil: onResult(func(o map[string]any) { first(o, "ips")["interface"] = "1" })},
		{name: "cniVersion of the result is a number", spoil: onResult(func(o map[string]any) { o["cniVersion"] = 1.1 })},
		{name: "dns is a list", spoil: onResult(func(o map[string]any) { o["dns"] = []any{} })},
		{name: "code 7.5", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "7" {
				o["code"] = 7.5
			}
		})},
		{name: "DEL demands CNI_PATH", spoil: on("DEL", func(r *request) (string, int) {
			if r.env["CNI_PATH"] == "" {
				return fails(100, "no path")
			}
			return r.good()
		})},
		{name: "no version of addresses in 0.3.1 alone", versions: []types.Version{types.V031, types.V040}, spoil: onResult(func(o map[string]any) {
			if o["cniVersion"] == "0.3.1" {
				delete(first(o, "ips"), "version")
			}
		})},
		{name: "keys of 1.1.0 refused in 1.0.0", spoil: func(r *request) (string, int) {
			if conf := r.conf(); conf["cniVersion"] == "1.0.0" && conf["cniVersions"] != nil {
				return fails(7, "cniVersions: unknown")
			}
			return r.good()
		}},
		{name: "prevResult forgotten", spoil: onResult(func(o map[string]any) {
			for _, key := range []string{"interfaces", "ips", "routes", "dns"} {
				delete(o, key)
			}
		})},
		{name: "pciID is a number", spoil: onResult(func(o map[string]any) { first(o, "interfaces")["pciID"] = 7 })},
		{name: "a full device ignored", deaf: true},
	}
}
