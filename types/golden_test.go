// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

// golden compares got with the file testdata/name, or writes the file if
// UPDATE_GOLDEN is 1.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; UPDATE_GOLDEN=1 makes it", err)
	}
	if want = bytes.TrimSuffix(want, []byte("\n")); !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
}

// generic is a document as encoding/json sees it, with numbers as they are
// written.
func generic(t *testing.T, data []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("Decode(%s) = %v, want nil", data, err)
	}
	return v
}

// slowConvert converts a result of the newest version by the table of checklist
// 1.10, on maps: slow, obvious, and for input without surprises.
func slowConvert(newest map[string]any, version string) map[string]any {
	out := map[string]any{"cniVersion": version}
	for _, key := range []string{"dns", "x-top"} {
		if v, ok := newest[key]; ok {
			out[key] = v
		}
	}
	objects := func(key string) (all []map[string]any) {
		list, _ := newest[key].([]any)
		for _, e := range list {
			copied := map[string]any{}
			for k, v := range e.(map[string]any) {
				copied[k] = v
			}
			all = append(all, copied)
		}
		return all
	}
	six := func(v any) bool { return strings.Contains(v.(string), ":") }
	drop := func(all []map[string]any, keys ...string) {
		for _, o := range all {
			for _, k := range keys {
				delete(o, k)
			}
		}
	}
	set := func(key string, all []map[string]any) {
		if len(all) == 0 {
			return
		}
		list := make([]any, len(all))
		for i, o := range all {
			list[i] = o
		}
		out[key] = list
	}
	interfaces, ips, routes := objects("interfaces"), objects("ips"), objects("routes")
	if version != "1.1.0" {
		drop(interfaces, "mtu", "socketPath", "pciID")
		drop(routes, "mtu", "advmss", "priority", "table", "scope")
	}
	switch version {
	case "0.1.0", "0.2.0":
		for _, is6 := range []bool{false, true} {
			for _, ip := range ips {
				key := map[bool]string{false: "ip4", true: "ip6"}[is6]
				if ip["ip"] != nil || out[key] != nil || six(ip["address"]) != is6 {
					continue
				}
				ip["ip"] = ip["address"]
				drop([]map[string]any{ip}, "address", "interface")
				var own []any
				for _, r := range routes {
					if six(r["dst"]) == is6 {
						own = append(own, r)
					}
				}
				if own != nil {
					ip["routes"] = own
				}
				out[key] = ip
			}
		}
		return out
	case "0.3.0", "0.3.1", "0.4.0":
		for _, ip := range ips {
			ip["version"] = map[bool]string{false: "4", true: "6"}[six(ip["address"])]
		}
	}
	set("interfaces", interfaces)
	set("ips", ips)
	set("routes", routes)
	return out
}

// goldenResults are results of the newest version with everything in them.
func goldenResults() map[string]string {
	return map[string]string{
		// The examples of CNI 1.1.0, appendix "Examples": what the bridge, its IPAM
		// plugin and the portmap plugin answer.
		"bridge": `{"cniVersion":"1.1.0","interfaces":[{"name":"cni0","mac":"00:11:22:33:44:55"},{"name":"veth3243","mac":"55:44:33:22:11:11"},
			{"name":"eth0","mac":"99:88:77:66:55:44","sandbox":"/var/run/netns/blue"}],
			"ips":[{"address":"10.1.0.5/16","gateway":"10.1.0.1","interface":2}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.1.0.1"]}}`,
		"ipam":   `{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.5/16","gateway":"10.1.0.1"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.1.0.1"]}}`,
		"tuning": `{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mac":"00:11:22:33:44:66","mtu":1500,"sandbox":"/var/run/netns/blue"}],"ips":[{"address":"10.1.0.5/16","gateway":"10.1.0.1","interface":0}]}`,
		// Every member of the schema, and members that nobody knows at each level.
		"everything": `{"cniVersion":"1.1.0","interfaces":[{"name":"br0","mac":"02:00:00:00:00:01","mtu":1500,"x-if":[1, 2]},
			{"name":"eth0","mac":"02:00:00:00:00:02","mtu":9000,"sandbox":"/run/netns/c1","socketPath":"/run/s","pciID":"0000:3b:02.1"}],
			"ips":[{"address":"fd00::2/64","gateway":"fd00::1","interface":1,"x-ip":9007199254740993},{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0},{"address":"10.0.1.2/24"}],
			"routes":[{"dst":"::/0","gw":"fd00::1","mtu":1400,"advmss":1360,"priority":100,"table":0,"scope":0},{"dst":"0.0.0.0/0","x-route":1e2},{"dst":"10.96.0.0/12","gw":"10.0.0.1","table":4294967295,"scope":255}],
			"dns":{"nameservers":["192.0.2.53","2001:db8::53"],"domain":"example","search":["b.example","a.example"],"options":["ndots:5"],"x-dns":"é<&>"},"x-top":{"a":null}}`,
		"six":       `{"cniVersion":"1.1.0","ips":[{"address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"fd01::/16","gw":"fd00::1"}]}`,
		"two-fours": `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"},{"address":"10.0.1.2/24","gateway":"10.0.1.1"}]}`,
	}
}

// RES-001, RES-002, RES-003, RES-004, RES-005, RES-006, RES-007, RES-016,
// RES-019, RES-028, RES-029, RES-031, RES-032, CONV-002, CONV-004, CONV-007,
// CONV-009, CONV-010, CONV-013, CONV-018, AMB-081, AMB-088: every result in every
// version, byte for byte, and as the slow converter has it.
func TestResult_Encode_Golden(t *testing.T) {
	t.Parallel()
	for name, in := range goldenResults() {
		for _, v := range types.Versions() {
			t.Run(name+"/"+v.String(), func(t *testing.T) {
				t.Parallel()
				r, err := types.DecodeResult([]byte(in), 0)
				if err != nil {
					t.Fatalf("DecodeResult = %v, want nil", err)
				}
				got, err := r.Encode(v)
				if err != nil {
					t.Fatalf("Encode(%v) = %v, want nil", v, err)
				}
				golden(t, v.String()+"/result-"+name+".json", got)
				if got, want := generic(t, got), slowConvert(generic(t, []byte(in)), v.String()); !reflect.DeepEqual(got, want) {
					t.Errorf("Encode(%v):\n got %v\nwant %v", v, got, want)
				}
				// RES-038
				again, err := r.Encode(v)
				if err != nil || !bytes.Equal(again, got) {
					t.Errorf("Encode(%v) a second time = %s, %v, want %s", v, again, err, got)
				}
				// What was written is read, and written again the same.
				back, err := types.DecodeResult(got, types.V010)
				if err != nil {
					t.Fatalf("DecodeResult(%s) = %v, want nil", got, err)
				}
				again, err = back.Encode(v)
				if err != nil || !bytes.Equal(again, got) {
					t.Errorf("Encode(DecodeResult(%s)) = %s, %v, want the same", got, again, err)
				}
			})
		}
	}
}

// The lists of the specification's examples, and the requests that follow.
func TestNetwork_Request_Golden(t *testing.T) {
	t.Parallel()
	const dbnet = `{"cniVersion":"1.1.0","cniVersions":["0.3.1","0.4.0","1.0.0","1.1.0"],"name":"dbnet","plugins":[
		{"type":"bridge","bridge":"cni0","keyA":["some more","plugin specific","configuration"],"ipam":{"type":"host-local","subnet":"10.1.0.0/16","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0"}]},"dns":{"nameservers":["10.1.0.1"]}},
		{"type":"tuning","capabilities":{"mac":true},"sysctl":{"net.core.somaxconn":"500"}},
		{"type":"portmap","capabilities":{"portMappings":true}}]}`
	n := parseNetwork(t, dbnet)
	params := types.RequestParams{
		Capabilities: map[string]json.RawMessage{"mac": json.RawMessage(`"00:11:22:33:44:66"`),
			"portMappings": json.RawMessage(`[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`)},
		ValidAttachments: []types.Attachment{{ContainerID: "c2", IfName: "eth0"}},
	}
	result := []byte(strings.Join(strings.Fields(goldenResults()["bridge"]), ""))
	for i, p := range n.Plugins {
		for _, c := range []types.Command{types.CommandAdd, types.CommandCheck, types.CommandDel, types.CommandGC, types.CommandStatus, types.CommandVersion} {
			params := params
			params.Command = c
			if c != types.CommandAdd || i > 0 {
				params.PrevResult = result
			}
			got, err := n.Request(i, params)
			if err != nil {
				t.Errorf("Request(%d) for %s = %v, want nil", i, c, err)
				continue
			}
			golden(t, "1.1.0/request-"+p.Type+"-"+string(c)+".json", got)
		}
	}
}

func TestEncode_Golden(t *testing.T) {
	t.Parallel()
	for _, v := range types.Versions() {
		golden(t, v.String()+"/error.json", (&types.Error{CNIVersion: v, Code: types.ErrInvalidNetworkConfig, Msg: "the range is not valid",
			Details: "192.0.2.0/31 has no room"}).Encode())
		golden(t, v.String()+"/version.json", types.VersionInfo{CNIVersion: v, SupportedVersions: types.Versions()}.Encode())
	}
}

// The vectors of checklist appendix B.
func TestDecodeResult_Vectors(t *testing.T) {
	t.Parallel()
	const v05 = `{"cniVersion":"1.1.0","interfaces":[{"name":"br0","mtu":1500},{"name":"eth0","sandbox":"/n","socketPath":"/s","pciID":"p"}],
		"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":1},{"address":"10.0.1.2/24"},{"address":"fd00::2/64","gateway":"fd00::1","interface":1}],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd00::1","mtu":1400,"table":0}],"dns":{"nameservers":["192.0.2.53"]}}`
	tests := []struct {
		name   string // the vector, and what it proves
		in     string
		target types.Version
		want   string // "": an error
	}{
		{"V-00 CONV-001", `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24","interface":0}],"interfaces":[{"name":"eth0","sandbox":"/n"}]}`, types.V110,
			`{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/n"}],"ips":[{"address":"10.0.0.2/24","interface":0}]}`},
		{"V-01 CONV-003", `{"cniVersion":"0.2.0","ip6":{"ip":"fd00::2/64","routes":[{"dst":"::/0"}]},"ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0"}]}}`, types.V040,
			`{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24","gateway":"10.0.0.1"},{"version":"6","address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`},
		{"V-02 CONV-005 AMB-003", `{"cniVersion":"0.3.0","ip":[{"version":"4","address":"10.0.0.2/24"}]}`, types.V031,
			`{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.0.0.2/24"}]}`},
		{"V-03 CONV-006 RES-008", `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24","interface":0}],"interfaces":[{"name":"eth0","sandbox":"/n"}]}`, types.V100,
			`{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/n"}],"ips":[{"address":"10.0.0.2/24","interface":0}]}`},
		{"V-04 CONV-008", `{"cniVersion":"0.4.0","ips":[{"version":"6","address":"10.0.0.2/24"}]}`, types.V020, `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}`},
		{"V-05 CONV-009 CONV-010 CONV-018", v05, types.V020,
			`{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"ip":"fd00::2/64","gateway":"fd00::1","routes":[{"dst":"::/0","gw":"fd00::1"}]},"dns":{"nameservers":["192.0.2.53"]}}`},
		{"V-06 CONV-010", `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}],"routes":[{"dst":"::/0"}]}`, types.V020, `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}`},
		{"V-07 CONV-011 AMB-076", `{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/n"}]}`, types.V020, ``},
		{"V-08 CONV-013 RES-031", v05, types.V100,
			`{"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/n"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":1},{"address":"10.0.1.2/24"},{"address":"fd00::2/64","gateway":"fd00::1","interface":1}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd00::1"}],"dns":{"nameservers":["192.0.2.53"]}}`},
		{"V-09 RES-042 AMB-089", `{"cniVersion":"1.0.0","ips":[{"address":"::ffff:10.0.0.2/120"}]}`, types.V040, `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}]}`},
		{"V-10 RES-035", `{"cniVersion":"1.1.0","interfaces":null,"ips":[{"address":"10.0.0.2/24","gateway":null,"interface":null}],"routes":null,"dns":null}`, types.V100,
			`{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := types.DecodeResult([]byte(tt.in), types.V110)
			if err != nil {
				t.Fatalf("DecodeResult = %v, want nil", err)
			}
			got, err := r.Encode(tt.target)
			if tt.want == "" {
				if !errors.Is(err, types.ErrInvalidNetworkConfig) || got != nil {
					t.Errorf("Encode(%v) = %s, %v, want code 7", tt.target, got, err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("Encode(%v) =\n%s, %v, want\n%s", tt.target, got, err, tt.want)
			}
		})
	}
	// V-11, AMB-095
	for _, v := range types.Versions() {
		_, err := types.DecodeResult([]byte(`{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2"}]}`), v)
		wantError(t, "DecodeResult", err, types.ErrInvalidNetworkConfig, `ips[0].address: "10.0.0.2" is not an address with prefix length`)
	}
}
