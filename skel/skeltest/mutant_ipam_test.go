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
		{name: "IPAM, GC takes all", spoil: on("GC", func(r *request) (string, int) {
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
	}
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
