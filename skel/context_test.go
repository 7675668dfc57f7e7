// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"context"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// prevResult in every command and form. ADD-013, CHAIN-014, CHAIN-017, CHAIN-022,
// CHAIN-023, CHAIN-024, CHAIN-032, CHK-004, DEL-009, DEL-010, AMB-008, AMB-065,
// AMB-067
func TestPlugin_Run_PrevResult(t *testing.T) {
	t.Parallel()
	const good = `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.9/24"}]}`
	tests := []struct {
		name, version, prev string
		// want is the address of the request's PrevResult; "none" stands for a nil one,
		// "empty" for one without address.
		want string
		// code is that of ADD and CHECK. DEL always succeeds, without PrevResult.
		code types.Code
	}{
		{"same version", "1.1.0", good, "10.0.0.9/24", 0},
		{"older version", "1.1.0", `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.9/24"}]}`, "10.0.0.9/24", 0},
		{"much older version", "1.1.0", `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.9/24"}}`, "10.0.0.9/24", 0},
		{"newer version", "0.4.0", good, "10.0.0.9/24", 0},
		{"no version", "1.0.0", `{"ips":[{"address":"10.0.0.9/24"}]}`, "10.0.0.9/24", 0},
		{"empty", "1.1.0", `{}`, "empty", 0},
		{"null", "1.1.0", `null`, "none", 0},
		{"unknown version", "1.1.0", `{"cniVersion":"99.0.0"}`, "", types.ErrIncompatibleCNIVersion},
		{"number", "1.1.0", `7`, "", types.ErrDecodingFailure},
		{"bad address", "1.1.0", `{"ips":[{"address":"10.0.0.300/24"}]}`, "", types.ErrInvalidNetworkConfig},
		{"index out of range", "1.1.0", `{"ips":[{"address":"10.0.0.9/24","interface":9}]}`, "", types.ErrInvalidNetworkConfig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stdin := request(tt.version, `,"prevResult":`+tt.prev)
			for _, command := range []string{"ADD", "CHECK", "DEL"} {
				var r recorder
				got := run(t, r.plugin(), stdin, environ(command))
				switch {
				case tt.code != 0 && command != "DEL":
					got.failure(t, tt.code, "prevResult")
					if len(r.requests) != 0 {
						t.Errorf("%s: the handler ran", command)
					}
					continue
				case tt.want == "none" && command == "CHECK":
					got.failure(t, types.ErrInvalidNetworkConfig, "prevResult")
					continue
				case got.exit != 0:
					t.Fatalf("%s: %s", command, got.stdout)
				}
				if have := address(r.only(t).PrevResult); have != tt.want && tt.code == 0 || tt.code != 0 && have != "none" {
					t.Errorf("%s: PrevResult = %s, want %s", command, have, tt.want)
				}
				if logged := strings.Contains(got.stderr, "prevResult"); logged != (tt.code != 0) {
					t.Errorf("%s: a record names prevResult = %v: %s", command, logged, got.stderr)
				}
			}
		})
	}
}

func address(r *types.Result) string {
	switch {
	case r == nil:
		return "none"
	case len(r.IPs) == 0:
		return "empty"
	}
	return r.IPs[0].Address.String()
}

// CHAIN-018, DLG-023, AMB-079, AMB-085: what an interface plugin adds.
func TestRequest_Extend(t *testing.T) {
	t.Parallel()
	const prev = `,"prevResult":{"interfaces":[{"name":"eth0","sandbox":"/ns"}],"ips":[{"address":"10.0.0.9/24","interface":0}],"dns":{"domain":"prev"}}`
	for _, tt := range []struct {
		name, config string
		own          types.DNS
		interfaces   int
		domain       string
	}{
		{"alone", "", types.DNS{Domain: "ipam"}, 1, "ipam"},
		{"alone, without dns", "", types.DNS{}, 1, ""},
		{"configured", `,"dns":{"domain":"config"}`, types.DNS{Domain: "ipam"}, 1, "config"},
		{"configured with a list only", `,"dns":{"search":["x"]}`, types.DNS{Domain: "ipam"}, 1, ""},
		{"chained", prev, types.DNS{Domain: "ipam"}, 2, "ipam"},
		{"chained, without dns", prev, types.DNS{}, 2, "prev"},
		{"chained and configured", prev + `,"dns":{"domain":"config"}`, types.DNS{}, 2, "config"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var result *types.Result
			p := new(recorder).plugin()
			p.Add = func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
				own := &types.Result{DNS: tt.own}
				own.AddInterface(types.Interface{Name: "net1", Sandbox: "/ns"}, types.IP{Address: netip.MustParsePrefix("10.0.1.9/24")})
				before := own.Clone()
				result = r.Extend(own)
				if !reflect.DeepEqual(own, before) {
					t.Errorf("own is %+v afterwards, want it as it was", own)
				}
				return result, nil
			}
			if got := run(t, p, request("1.1.0", tt.config), environ("ADD")); got.exit != 0 {
				t.Fatalf("ADD: %s", got.stdout)
			}
			last := result.IPs[len(result.IPs)-1]
			if len(result.Interfaces) != tt.interfaces || last.Interface != types.Some(tt.interfaces-1) || result.DNS.Domain != tt.domain {
				t.Errorf("Extend() = %+v, want %d interfaces, the last one with the last address, and domain %q", result, tt.interfaces, tt.domain)
			}
		})
	}
}

// Before chaining there was no prevResult. CHAIN-032
func TestPlugin_Run_PrevResultBeforeChaining(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.1.0", "0.2.0"} {
		var r recorder
		run(t, r.plugin(), request(version, `,"prevResult":7`), environ("ADD")).result(t)
		if q := r.only(t); q.PrevResult != nil {
			t.Errorf("PrevResult in %s = %v, want none", version, q.PrevResult)
		}
	}
}

// GC and STATUS have no prevResult to read.
func TestPlugin_Run_PrevResultUnused(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"GC", "STATUS"} {
		var r recorder
		run(t, r.plugin(), request("1.1.0", `,"prevResult":7`, attachments), environ(command)).silent(t)
		if q := r.only(t); q.PrevResult != nil {
			t.Errorf("PrevResult of %s = %v, want none", command, q.PrevResult)
		}
	}
}

// A chained plugin that changes nothing hands on everything. CHAIN-013, CHAIN-014,
// CHAIN-017
func TestPlugin_Run_PassThrough(t *testing.T) {
	t.Parallel()
	const prev = `{"cniVersion":"1.1.0","interfaces":[{"name":"veth1"},{"name":"eth0","sandbox":"/no/such/netns"}],` +
		`"ips":[{"address":"10.0.0.9/24","interface":1}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{},"x-cnitest":{"a":[1,2]}}`
	var r recorder
	got := run(t, r.plugin(), request("1.1.0", `,"prevResult":`+prev), environ("ADD"))
	want, err := types.DecodeResult([]byte(prev), 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.result(t), cmp.Comparer(func(a, b types.Result) bool {
		x, errX := a.Encode(types.V110)
		y, errY := b.Encode(types.V110)
		return string(x) == string(y) && errX == nil && errY == nil
	})); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if !strings.Contains(got.stdout, `"x-cnitest":{"a":[1,2]}`) {
		t.Errorf("result = %s, want x-cnitest in it", got.stdout)
	}
}

// CHAIN-019
func TestPlugin_Run_Chained(t *testing.T) {
	t.Parallel()
	var r recorder
	p := r.plugin()
	p.Chained = true
	for _, prev := range []string{``, `,"prevResult":null`} {
		run(t, p, request("1.1.0", prev), environ("ADD")).failure(t, types.ErrInvalidNetworkConfig, "prevResult")
		run(t, p, request("1.1.0", prev), environ("DEL")).silent(t)
	}
	run(t, p, request("1.1.0", prevResult), environ("ADD")).result(t)
	// CHAIN-032: to say no more than that it is missing would not help who sees it there.
	run(t, p, request("0.2.0", prevResult), environ("ADD")).failure(t, types.ErrInvalidNetworkConfig, "prevResult", "CNI version 0.2.0 has none")
	run(t, p, request("1.1.0", attachments), environ("GC")).silent(t)
	run(t, p, request("1.1.0"), environ("STATUS")).silent(t)
}

// The list of GC: absent is not empty. GC-002, GC-003, GC-018, GC-019, GC-020,
// GC-021, AMB-002, AMB-061
func TestPlugin_Run_Attachments(t *testing.T) {
	t.Parallel()
	const newer, older = `,"cni.dev/valid-attachments":`, `,"cni.dev/attachments":`
	one := []types.Attachment{{ContainerID: "c1", IfName: "eth0"}}
	tests := []struct {
		name, more string
		want       []types.Attachment
		ok         bool
	}{
		{"newer key", newer + `[{"containerID":"c1","ifname":"eth0"}]`, one, true},
		{"older key", older + `[{"containerID":"c1","ifname":"eth0"}]`, one, true},
		{"the newer key wins", older + `[{"containerID":"c2","ifname":"eth0"}]` + newer + `[{"containerID":"c1","ifname":"eth0"}]`, one, true},
		{"empty", newer + `[]`, []types.Attachment{}, true},
		{"null", newer + `null`, []types.Attachment{}, true},
		{"absent", ``, nil, false},
		{"no list", newer + `{}`, nil, false},
		{"no objects", newer + `["c1"]`, nil, false},
		{"no ifname", newer + `[{"containerID":"c1"}]`, nil, false},
		{"no containerID", newer + `[{"ifname":"eth0"}]`, nil, false},
		{"wrong type", newer + `[{"containerID":1,"ifname":"eth0"}]`, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var r recorder
			got := run(t, r.plugin(), request("1.1.0", tt.more), environ("GC"))
			if !tt.ok {
				got.failure(t, types.ErrInvalidNetworkConfig, "attachments")
				if len(r.requests) != 0 {
					t.Error("the handler ran")
				}
				return
			}
			got.silent(t)
			if diff := cmp.Diff(tt.want, r.only(t).ValidAttachments); diff != "" {
				t.Errorf("ValidAttachments (-want +got):\n%s", diff)
			}
		})
	}
	for _, command := range []string{"ADD", "DEL", "STATUS"} {
		var r recorder
		if run(t, r.plugin(), request("1.1.0", newer+`7`), environ(command)).exit != 0 || r.only(t).ValidAttachments != nil {
			t.Errorf("%s reads the list of attachments", command)
		}
	}
}

// What cleans up does as much as it can with any configuration; what does not refuses
// it. DEL-012, DEL-026, LIFE-017, STA-017
func TestPlugin_Run_Lenient(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, more string
		code       types.Code
	}{
		{"wrong type", `,"greeting":"hi","count":"many"`, types.ErrDecodingFailure},
		{"refused by Validate", `,"greeting":"hi","count":-1`, types.ErrInvalidNetworkConfig},
	}
	for _, tt := range tests {
		for _, command := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
			var r recorder
			got := run(t, r.plugin(), request("1.1.0", tt.more, prevResult, attachments), environ(command))
			if command == "DEL" || command == "GC" {
				got.silent(t)
				if q := r.only(t); q.Conf.Greeting != "hi" {
					t.Errorf("%s with %s: Conf = %+v, want the rest of it", command, tt.name, q.Conf)
				}
				continue
			}
			got.failure(t, tt.code, "count")
		}
	}
}

// Two requests in one process know nothing of each other.
func TestPlugin_Run_Concurrently(t *testing.T) {
	t.Parallel()
	var r recorder
	p := r.plugin()
	done := make(chan answer)
	const many = 50
	for range many {
		go func() {
			done <- runEnv(t.Context(), p, skel.Env{Environ: environ("ADD"), Stdin: strings.NewReader(request("1.1.0"))})
		}()
	}
	for range many {
		(<-done).result(t)
	}
	if len(r.requests) != many {
		t.Errorf("requests = %d, want %d", len(r.requests), many)
	}
}
