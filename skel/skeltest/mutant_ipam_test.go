// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// hostLocalProfile is the profile of an IPAM plugin with ranges.
func hostLocalProfile() skeltest.Profile {
	return skeltest.Profile{Kind: skeltest.KindIPAM, Config: json.RawMessage(
		`{"ipam":{"type":"host-local","dataDir":"${DIR}/data","ranges":[[{"subnet":"10.88.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}`)}
}

// succeeds is a mutant that does nothing and says that it did.
func succeeds(r *request) (string, int) {
	if stdout, exit := (&request{env: r.env, stdin: r.stdin, plugin: chainedAs(), stderr: io.Discard}).good(); exit != 0 {
		return stdout, exit
	}
	return "", 0
}

// chainedAs is a plugin that does nothing, with the good manners of one.
func chainedAs() func(context.Context, skel.Env) int {
	p := chainedPlugin()
	p.Chained = false
	return p.Run
}

// ipamMutants are IPAM plugins, each with one flaw.
func ipamMutants() []mutant {
	return []mutant{
		{name: "IPAM, good", versions: types.Versions()},
		{name: "IPAM, DEL keeps the address", spoil: on("DEL", succeeds)},
		{name: "IPAM, DEL needs the namespace", spoil: on("DEL", func(r *request) (string, int) {
			if r.env["CNI_NETNS"] == "" {
				return succeeds(r)
			}
			return r.good()
		})},
		{name: "IPAM, DEL needs prevResult", spoil: on("DEL", func(r *request) (string, int) {
			if prev, ok := r.conf()["prevResult"].(map[string]any); !ok || len(prev) < 2 {
				return succeeds(r)
			}
			return r.good()
		})},
		{name: "IPAM, DEL once", spoil: on("DEL", func(r *request) (string, int) {
			before, _ := os.ReadDir(dataDir(r))
			stdout, exit := r.good()
			if after, _ := os.ReadDir(dataDir(r)); exit == 0 && len(after) == len(before) {
				return fails(101, "no such reservation")
			}
			return stdout, exit
		})},
		{name: "IPAM, interfaces in the result", spoil: onResult(func(o map[string]any) {
			o["interfaces"] = []any{map[string]any{"name": "eth0"}}
			first(o, "ips")["interface"] = 0
		})},
		{name: "IPAM, nameservers sorted", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if dns, ok := r.conf()["dns"]; ok && r.command() == "ADD" && exit == 0 {
				stdout = object(stdout, func(o map[string]any) {
					names, _ := dns.(map[string]any)["nameservers"].([]any)
					slices.SortFunc(names, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
					o["dns"] = map[string]any{"nameservers": names}
				})
			}
			return stdout, exit
		}},
		{name: "IPAM, no addresses", spoil: onResult(func(o map[string]any) { o["ips"] = []any{} })},
		{name: "IPAM, the newest version", versions: []types.Version{types.V100}, spoil: onResult(func(o map[string]any) { o["cniVersion"] = "1.1.0" })},
		{name: "IPAM, no result of 0.2.0", versions: []types.Version{types.V020}, spoil: onResult(func(o map[string]any) {
			o["ips"] = []any{map[string]any{"address": "10.88.0.2/24"}}
			delete(o, "ip4")
		})},
		{name: "IPAM, one address for all", spoil: onResult(func(o map[string]any) { first(o, "ips")["address"] = "10.88.0.2/24" })},
		{name: "IPAM, an address for each ADD", spoil: on("ADD", func(r *request) (string, int) {
			r.env["CNI_IFNAME"] = fmt.Sprintf("x%d", time.Now().UnixNano()%1e9)
			return r.good()
		})},
		{name: "IPAM, CHECK sees nothing", spoil: on("CHECK", succeeds)},
		{name: "IPAM, CHECK gives up", spoil: on("CHECK", func(r *request) (string, int) {
			stdout, exit := r.good()
			removeReservations(r)
			return stdout, exit
		})},
		{name: "IPAM, STATUS sees nothing", spoil: on("STATUS", succeeds)},
		{name: "IPAM, STATUS makes files", spoil: on("STATUS", func(r *request) (string, int) {
			if err := os.MkdirAll(dataDir(r)+"/status", 0o755); err != nil {
				return fails(101, err.Error())
			}
			return r.good()
		})},
		{name: "IPAM, GC does nothing", spoil: on("GC", succeeds)},
		{name: "IPAM, GC of an empty list does nothing", spoil: on("GC", func(r *request) (string, int) {
			if list, ok := r.conf()["cni.dev/valid-attachments"].([]any); ok && len(list) == 0 {
				return succeeds(r)
			}
			return r.good()
		})},
		{name: "IPAM, GC of null does nothing", spoil: on("GC", func(r *request) (string, int) {
			if list, ok := r.conf()["cni.dev/valid-attachments"]; ok && list == nil {
				return succeeds(r)
			}
			return r.good()
		})},
		{name: "IPAM, GC takes all", not: "GC/028", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit == 0 {
				removeReservations(r)
			}
			return stdout, exit
		})},
		{name: "IPAM, GC takes all when refused", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				removeReservations(r)
			}
			return stdout, exit
		})},
		{name: "IPAM, GC of any network", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["name"] == "conformance-b" {
					conf["name"] = "conformance"
				}
			})
		}))},
		{name: "IPAM, GC knows the old key only", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) { delete(conf, "cni.dev/valid-attachments") })
		}))},
		{name: "IPAM, GC knows the new key only", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) { delete(conf, "cni.dev/attachments") })
		}))},
		{name: "IPAM, GC without a list takes all", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if _, ok := conf["cni.dev/valid-attachments"]; !ok && conf["cni.dev/attachments"] == nil {
					conf["cni.dev/valid-attachments"] = []any{}
				}
			})
		}))},
		{name: "IPAM, GC compares containers only", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if all, ok := conf["cni.dev/valid-attachments"].([]any); ok {
					for _, entry := range all {
						if entry, ok := entry.(map[string]any); ok && entry["ifname"] == "other0" {
							entry["ifname"] = "eth0"
						}
					}
				}
			})
		}))},
		{name: "IPAM, IP of CNI_ARGS ignored", spoil: on("ADD", before(func(r *request) { delete(r.env, "CNI_ARGS") }))},
		{name: "IPAM, two addresses for 0.2.0", versions: []types.Version{types.V020}, spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if ipam, ok := conf["ipam"].(map[string]any); ok {
					if all, _ := ipam["ranges"].([]any); len(all) > 1 {
						ipam["ranges"] = all[:1]
					}
				}
			})
		}))},
		{name: "IPAM, a failed ADD keeps what it has", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if dir := dataDir(r); exit != 0 && strings.Contains(string(r.stdin), "fd00:88::") && dir != "" {
				if err := os.WriteFile(dir+"/conformance/10.88.0.200", nil, 0o600); err != nil {
					return fails(101, err.Error())
				}
			}
			return stdout, exit
		})},
		{name: "IPAM, networks share reservations", spoil: on("DEL", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["name"] == "conformance-b" {
					conf["name"] = "conformance"
				}
			})
		}))},
		{name: "IPAM, ips in 0.1.0", versions: []types.Version{types.V010}, spoil: onResult(func(o map[string]any) {
			o["ips"] = []any{map[string]any{"address": "10.88.0.2/24"}}
		})},
		{name: "IPAM, DEL of all interfaces", spoil: on("DEL", func(r *request) (string, int) {
			stdout, exit := r.good()
			r.env["CNI_IFNAME"] = "net1"
			if exit == 0 {
				_, _ = r.good()
			}
			return stdout, exit
		})},
		{name: "IPAM, DEL by the beginning of the ID", spoil: on("DEL", func(r *request) (string, int) {
			stdout, exit := r.good()
			r.env["CNI_CONTAINERID"] += ".1"
			if exit == 0 {
				_, _ = r.good()
			}
			return stdout, exit
		})},
		{name: "IPAM, a file in the directory for temporary ones", spoil: on("ADD", func(r *request) (string, int) {
			f, err := os.CreateTemp("", "mutant-"+r.env["CNI_CONTAINERID"]+"-")
			if err == nil {
				_ = f.Close()
				time.AfterFunc(10*time.Second, func() { _ = os.Remove(f.Name()) })
			}
			return r.good()
		}), only: "LIFE/012"},
		{name: "IPAM, routes of the configuration ignored", versions: []types.Version{types.V020}, spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if ipam, ok := conf["ipam"].(map[string]any); ok {
					delete(ipam, "routes")
				}
			})
		}))},
		{name: "IPAM, STATUS first", spoil: func(r *request) (string, int) {
			ready := dataDir(r) + ".ready"
			stdout, exit := r.good()
			if r.command() == "STATUS" && exit == 0 {
				_ = os.WriteFile(ready, nil, 0o600) // a mutant does not care
			}
			if _, err := os.Stat(ready); r.command() == "ADD" && exit == 0 && err != nil {
				removeReservations(r)
				return fails(101, "not ready")
			}
			return stdout, exit
		}, only: "ADD STA"},
		{name: "IPAM, no CHECK after STATUS", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if r.command() == "STATUS" && exit == 0 {
				_ = os.WriteFile(dataDir(r)+".status", nil, 0o600) // a mutant does not care
			}
			if _, err := os.Stat(dataDir(r) + ".status"); r.command() == "CHECK" && exit == 0 && err == nil {
				return fails(101, "STATUS was last")
			}
			return stdout, exit
		}},
		{name: "IPAM, STATUS says no with exit status 0", spoil: on("STATUS", func(r *request) (string, int) {
			stdout, _ := r.good()
			return stdout, 0
		}), only: "STA DLG ERR"},
		{name: "IPAM, STATUS says no without a word", spoil: on("STATUS", func(r *request) (string, int) {
			stdout, exit := r.good()
			if strings.Contains(stdout, ":50") {
				stdout = ""
			}
			return stdout, exit
		})},
		{name: "IPAM, STATUS says no with code 11", spoil: on("STATUS", onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "50" {
				o["code"] = 11
			}
		}))},
		{name: "IPAM, STATUS of any configuration", spoil: on("STATUS", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if strings.Contains(string(r.stdin), "10.99.0.1") {
					conf["ipam"].(map[string]any)["ranges"] = []any{[]any{map[string]any{"subnet": "10.88.0.0/24"}}}
				}
			})
		}))},
		{name: "IPAM, DEL of good configurations only", spoil: on("DEL", func(r *request) (string, int) {
			if strings.Contains(string(r.stdin), "10.99.0.1") {
				return fails(7, "ipam.ranges: start out of range")
			}
			return r.good()
		})},
		{name: "IPAM, CHECK says that nothing is there", spoil: on("CHECK", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 && strings.Contains(string(r.stdin), "192.0.2.7") {
				return fails(3, "unknown container")
			}
			return stdout, exit
		})},
		{name: "IPAM, DEL during ADD leaves something", spoil: func(r *request) (string, int) {
			busy, left := dataDir(r)+".busy", dataDir(r)+"/left"
			switch r.command() {
			case "ADD":
				_ = os.WriteFile(busy, nil, 0o600) // a mutant does not care
				defer os.Remove(busy)
				appears(left)
			case "DEL":
				if appears(busy) && dataDir(r) != "" {
					_ = os.WriteFile(left, nil, 0o600)
				}
			}
			return r.good()
		}, only: "LIFE/008"},
		{name: "IPAM, a lock for 30 s", timeout: 2, only: "LIFE/010"},
		{name: "IPAM, a journal", spoil: on("DEL", func(r *request) (string, int) {
			if f, err := os.OpenFile(dataDir(r)+"/conformance/journal", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
				fmt.Fprintln(f, "DEL of", r.env["CNI_CONTAINERID"])
				_ = f.Close()
			}
			return r.good()
		})},
		{name: "IPAM, a file for each container", spoil: on("DEL", func(r *request) (string, int) {
			stdout, exit := r.good()
			if dir := dataDir(r); exit == 0 && dir != "" {
				_ = os.WriteFile(dir+"/lock-"+r.env["CNI_CONTAINERID"], nil, 0o600)
			}
			return stdout, exit
		}), only: "LIFE DEL/001 DEL/003"},
		{name: "IPAM, DEL by the ranges", spoil: on("DEL", func(r *request) (string, int) {
			if ipam, ok := r.conf()["ipam"].(map[string]any); ok && ipam["ranges"] == nil {
				return succeeds(r)
			}
			return r.good()
		})},
		{name: "IPAM, GC stops at the first error", spoil: on("GC", func(r *request) (string, int) {
			entries, _ := filepath.Glob(dataDir(r) + "/*/10.*")
			for _, path := range entries {
				if info, err := os.Stat(path); err == nil && info.IsDir() {
					return fails(101, path+": is a directory")
				}
			}
			return r.good()
		})},
		{name: "IPAM, GC removes what it does not know", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			foreign, _ := filepath.Glob(dataDir(r) + "/*/cnitest-*")
			for _, path := range foreign {
				_ = os.Remove(path)
			}
			return stdout, exit
		})},
		{name: "IPAM, GC of what comes while it runs", spoil: on("GC", func(r *request) (string, int) {
			before, _ := filepath.Glob(dataDir(r) + "/*/10.*")
			stdout, exit := r.good()
			if exit != 0 || len(before) > 0 {
				return stdout, exit
			}
			if appears(dataDir(r) + "/*/10.*") {
				removeReservations(r)
			}
			return stdout, exit
		}), only: "GC"},
		{name: "IPAM, ipRanges last", spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				config, _ := conf["runtimeConfig"].(map[string]any)
				ipam, _ := conf["ipam"].(map[string]any)
				if more, ok := config["ipRanges"].([]any); ok && ipam != nil {
					ranges, _ := ipam["ranges"].([]any)
					ipam["ranges"] = append(ranges, more...)
					delete(config, "ipRanges")
				}
			})
		}))},
		{name: "IPAM, the first of ipRanges only", spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				config, _ := conf["runtimeConfig"].(map[string]any)
				if more, ok := config["ipRanges"].([]any); ok {
					config["ipRanges"] = more[:1]
				}
			})
		}))},
		{name: "IPAM, the first of ips only", spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				config, _ := conf["runtimeConfig"].(map[string]any)
				if all, ok := config["ips"].([]any); ok {
					config["ips"] = all[:1]
				}
			})
		}))},
		{name: "IPAM, keys of CNI_ARGS in any case", spoil: before(func(r *request) {
			r.env["CNI_ARGS"] = strings.ReplaceAll(r.env["CNI_ARGS"], "ip=", "IP=")
		})},
		{name: "IPAM, IgnoreUnknown of any value", spoil: before(func(r *request) {
			r.env["CNI_ARGS"] = strings.ReplaceAll(r.env["CNI_ARGS"], "IgnoreUnknown=maybe", "IgnoreUnknown=1")
		})},
		{name: "IPAM, pairs of any form in CNI_ARGS", spoil: before(func(r *request) {
			pairs := slices.DeleteFunc(strings.Split(r.env["CNI_ARGS"], ";"), func(pair string) bool {
				return !strings.Contains(pair, "=") || strings.HasPrefix(pair, "=")
			})
			r.env["CNI_ARGS"] = strings.Join(pairs, ";")
		})},
		{name: "IPAM, the first IP of CNI_ARGS", spoil: before(func(r *request) {
			if first, rest, ok := strings.Cut(r.env["CNI_ARGS"], ";"); ok && strings.HasPrefix(first, "IP=") && strings.HasPrefix(rest, "IP=") {
				r.env["CNI_ARGS"] = first
			}
		})},
		{name: "IPAM, the order of CNI_ARGS counts", spoil: before(func(r *request) {
			if strings.HasPrefix(r.env["CNI_ARGS"], "IP=") && strings.Contains(r.env["CNI_ARGS"], ";Ignore") {
				_, r.env["CNI_ARGS"], _ = strings.Cut(r.env["CNI_ARGS"], ";")
			}
		})},
		{name: "IPAM, CNI_ARGS before args", spoil: before(func(r *request) {
			if strings.Contains(r.env["CNI_ARGS"], "IP=") {
				r.edit(func(conf map[string]any) { delete(conf, "args") })
			}
		})},
		{name: "IPAM, args before runtimeConfig", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["args"] != nil {
					delete(conf, "runtimeConfig")
				}
			})
		})},
		{name: "IPAM, a file named after the pod", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			for _, pair := range strings.Split(r.env["CNI_ARGS"], ";") {
				if name, ok := strings.CutPrefix(pair, "K8S_POD_NAME="); ok && exit == 0 && dataDir(r) != "" {
					_ = os.WriteFile(dataDir(r)+"/"+name, nil, 0o600)
				}
			}
			return stdout, exit
		}), only: "ARG"},
	}
}

// appears waits a while for a file, such as one that a request which runs at the same
// time makes.
func appears(pattern string) bool {
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if all, _ := filepath.Glob(pattern); len(all) > 0 { // the pattern is good
			return true
		}
	}
	return false
}

// dataDir is where the good IPAM plugin keeps its reservations.
func dataDir(r *request) string {
	ipam, _ := r.conf()["ipam"].(map[string]any)
	dir, _ := ipam["dataDir"].(string)
	return dir
}

// removeReservations spoils the reservations of all networks.
func removeReservations(r *request) {
	files, _ := filepath.Glob(dataDir(r) + "/*/10.*") // the pattern is good
	for _, file := range files {
		_ = os.Remove(file) // a mutant does not care
	}
}
