// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/types"
)

func decodeResult(t *testing.T, data string) *types.Result {
	t.Helper()
	r, err := types.DecodeResult([]byte(data), types.V110)
	if err != nil {
		t.Fatalf("DecodeResult(%s) = %v, want nil", data, err)
	}
	return r
}

func TestOpt(t *testing.T) {
	t.Parallel()
	var none types.Opt[int]
	if !none.IsZero() || none.Or(7) != 7 {
		t.Errorf("the zero Opt: IsZero() = %v, Or(7) = %d, want true, 7", none.IsZero(), none.Or(7))
	}
	if zero := types.Some(0); zero.IsZero() || zero.Or(7) != 0 {
		t.Errorf("Some(0): IsZero() = %v, Or(7) = %d, want false, 0", zero.IsZero(), zero.Or(7))
	}
}

// CHAIN-016, RES-018: an index made by the builder is never dangling.
func TestResult_AddInterface(t *testing.T) {
	t.Parallel()
	var r types.Result
	r.AddInterface(types.Interface{Name: "veth0"})
	got := r.AddInterface(types.Interface{Name: "eth0", Sandbox: "/n"},
		types.IP{Address: prefix("10.0.0.2/24"), Interface: types.Some(99)}, types.IP{Address: prefix("fd00::2/64")})
	if got != 1 {
		t.Errorf("AddInterface = %d, want 1", got)
	}
	if err := r.Validate(); err != nil {
		t.Errorf("Validate = %v, want nil", err)
	}
	if ips := r.InterfaceIPs(1); len(ips) != 2 || ips[0].Interface != types.Some(1) || ips[1].Interface != types.Some(1) {
		t.Errorf("InterfaceIPs(1) = %+v, want both addresses", ips)
	}
	if ips := r.InterfaceIPs(0); ips != nil {
		t.Errorf("InterfaceIPs(0) = %+v, want none", ips)
	}
}

// CHAIN-013, CHAIN-016, CHAIN-018
func TestResult_Merge(t *testing.T) {
	t.Parallel()
	const prev = `{"cniVersion":"1.1.0","interfaces":[{"name":"a"},{"name":"b","sandbox":"/n"}],"ips":[{"address":"10.0.0.2/24","interface":1}],
		"routes":[{"dst":"0.0.0.0/0"}],"dns":{"domain":"prev"},"x":1,"y":2}`
	const own = `{"cniVersion":"1.1.0","interfaces":[{"name":"c"},{"name":"d","sandbox":"/n"}],"ips":[{"address":"10.1.0.2/24","interface":1},{"address":"10.2.0.2/24"}],
		"routes":[{"dst":"10.1.0.0/16"}],"dns":{"domain":"own"},"y":3,"z":4}`
	const both = `{"cniVersion":"1.1.0","interfaces":[{"name":"a"},{"name":"b","sandbox":"/n"},{"name":"c"},{"name":"d","sandbox":"/n"}],
		"ips":[{"address":"10.0.0.2/24","interface":1},{"address":"10.1.0.2/24","interface":3},{"address":"10.2.0.2/24"}],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.1.0.0/16"}],"dns":{"domain":"own"},"x":1,"y":3,"z":4}`
	tests := []struct{ name, into, other, want string }{
		{"own into previous", prev, own, both},
		{"nothing into previous", prev, `{}`, prev},
		{"previous into nothing", `{}`, prev, prev},
		// An empty dns of an IPAM plugin says nothing.
		{"empty dns", prev, `{"dns":{"nameservers":[]}}`, prev},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, other := decodeResult(t, tt.into), decodeResult(t, tt.other)
			before := other.Clone()
			r.Merge(other)
			if diff := cmp.Diff(decodeResult(t, tt.want), r, compareNetip); diff != "" {
				t.Errorf("Merge mismatch (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, other, compareNetip); diff != "" {
				t.Errorf("Merge changed its argument (-before +after):\n%s", diff)
			}
			if err := r.Validate(); err != nil {
				t.Errorf("Validate = %v, want nil", err)
			}
		})
	}
	self := decodeResult(t, prev)
	self.Merge(self)
	if len(self.IPs) != 2 || self.IPs[1].Interface != types.Some(3) {
		t.Errorf("Merge with itself has addresses %+v, want the second on interface 3", self.IPs)
	}
	self.Merge(nil)
}

func TestResult_Clone(t *testing.T) {
	t.Parallel()
	r := decodeResult(t, goldenResults()["everything"])
	before, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Clone()
	if diff := cmp.Diff(r, c, compareNetip); diff != "" {
		t.Fatalf("Clone mismatch (-want +got):\n%s", diff)
	}
	c.Interfaces[0].Name, c.IPs[0].Gateway, c.Routes[0].MTU = "x", netip.Addr{}, 1
	c.DNS.Nameservers[0], c.DNS.Search[0], c.DNS.Options[0] = "x", "x", "x"
	for _, extra := range []map[string]json.RawMessage{c.Extra, c.Interfaces[0].Extra, c.IPs[0].Extra, c.Routes[1].Extra, c.DNS.Extra} {
		extra["new"] = json.RawMessage("1")
	}
	if after, err := json.Marshal(r); err != nil || string(after) != string(before) {
		t.Errorf("a change to the clone made of\n%s\n%s, %v", before, after, err)
	}
	var none *types.Result
	if got := none.Clone(); got == nil || len(got.IPs) != 0 {
		t.Errorf("Clone of nil = %v, want an empty result", got)
	}
}

// CHAIN-025, CHAIN-026
func TestResult_ContainerIPs(t *testing.T) {
	t.Parallel()
	const doc = `{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"},{"name":"eth0","sandbox":"/other"},{"name":"eth0","sandbox":"/n"},{"name":"eth1","sandbox":"/n"}],
		"ips":[{"address":"10.0.0.1/24","interface":0},{"address":"10.0.0.2/24","interface":2},{"address":"10.0.0.3/24"},{"address":"10.0.0.4/24","interface":-1},{"address":"10.0.0.5/24","interface":1}]}`
	tests := []struct {
		name, netns string
		position    int
		found       bool
		ips         []string
	}{
		{"eth0", "/n", 2, true, []string{"10.0.0.2/24", "10.0.0.3/24", "10.0.0.4/24"}},
		{"eth0", "/elsewhere", 1, true, []string{"10.0.0.3/24", "10.0.0.4/24", "10.0.0.5/24"}},
		{"eth1", "/n", 3, true, []string{"10.0.0.3/24", "10.0.0.4/24"}},
		{"eth2", "/n", 0, false, []string{"10.0.0.3/24", "10.0.0.4/24"}},
		{"eth0", "", 1, true, []string{"10.0.0.3/24", "10.0.0.4/24", "10.0.0.5/24"}},
	}
	for _, tt := range tests {
		r := decodeResult(t, doc)
		position, found := r.ContainerInterface(tt.name, tt.netns)
		if position != tt.position || found != tt.found {
			t.Errorf("ContainerInterface(%q, %q) = %d, %v, want %d, %v", tt.name, tt.netns, position, found, tt.position, tt.found)
		}
		var ips []string
		for _, ip := range r.ContainerIPs(tt.name, tt.netns) {
			ips = append(ips, ip.Address.String())
		}
		if !slices.Equal(ips, tt.ips) {
			t.Errorf("ContainerIPs(%q, %q) = %q, want %q", tt.name, tt.netns, ips, tt.ips)
		}
	}
	r := decodeResult(t, doc)
	for netns, want := range map[string][]int{"/n": {2, 3}, "": {0}, "/x": nil} {
		if got := r.SandboxInterfaces(netns); !slices.Equal(got, want) {
			t.Errorf("SandboxInterfaces(%q) = %v, want %v", netns, got, want)
		}
	}
}

func TestResult_Validate(t *testing.T) {
	t.Parallel()
	eth0 := []types.Interface{{Name: "eth0"}}
	extra := func(name, raw string) map[string]json.RawMessage {
		return map[string]json.RawMessage{name: json.RawMessage(raw)}
	}
	ip := func(change func(*types.IP)) types.Result {
		i := types.IP{Address: prefix("10.0.0.2/24")}
		change(&i)
		return types.Result{Interfaces: eth0, IPs: []types.IP{i}}
	}
	tests := []struct {
		name string
		r    types.Result
		want string // "": valid
	}{
		{"empty", types.Result{}, ""},
		{"interface 0", ip(func(i *types.IP) { i.Interface = types.Some(0) }), ""},
		{"layer 2 only", types.Result{Interfaces: eth0}, ""}, // RES-039
		// RES-009
		{"no name", types.Result{Interfaces: []types.Interface{{Name: "a"}, {}}}, "interfaces[1].name: is missing"},
		// RES-016
		{"no address", types.Result{IPs: []types.IP{{}}}, "ips[0].address: is missing"},
		// RES-017
		{"family of the gateway", ip(func(i *types.IP) { i.Gateway = addr("fd00::1") }), "ips[0].gateway: fd00::1 is not of the family"},
		{"mapped gateway", ip(func(i *types.IP) { i.Gateway = addr("::ffff:10.0.0.1") }), ""}, // RES-042
		{"zone of the gateway", types.Result{IPs: []types.IP{{Address: prefix("fe80::2/64"), Gateway: addr("fe80::1%eth0")}}}, "ips[0].gateway: fe80::1%eth0 has a zone"},
		// RES-018, RES-020
		{"index above", ip(func(i *types.IP) { i.Interface = types.Some(1) }), "ips[0].interface: 1 is no position in interfaces, which has 1"},
		{"index below", ip(func(i *types.IP) { i.Interface = types.Some(-1) }), "ips[0].interface: -1 is no position"},
		// RES-024, AMB-093
		{"no dst", types.Result{Routes: []types.Route{{GW: addr("10.0.0.1")}}}, "routes[0].dst: is missing"},
		{"zone of gw", types.Result{Routes: []types.Route{{Dst: prefix("::/0"), GW: addr("fe80::1%eth0")}}}, "routes[0].gw: fe80::1%eth0 has a zone"},
		{"gw of another family", types.Result{Routes: []types.Route{{Dst: prefix("0.0.0.0/0"), GW: addr("fd00::1")}}}, ""},
		{"extra", types.Result{Extra: extra("x", "{")}, "x: is not JSON"},
		{"extra of an interface", types.Result{Interfaces: []types.Interface{{Name: "a", Extra: extra("x", "")}}}, "interfaces[0].x: is not JSON"},
		{"extra of an address", ip(func(i *types.IP) { i.Extra = extra("x y", "{}{}") }), `ips[0]."x y": is not JSON`},
		{"extra of a route", types.Result{Routes: []types.Route{{Dst: prefix("::/0"), Extra: extra("x", "nul")}}}, "routes[0].x: is not JSON"},
		{"extra of dns", types.Result{DNS: types.DNS{Extra: extra("x", "01")}}, "dns.x: is not JSON"},
		{"extra of the schema", types.Result{Extra: extra("IPs", "[]")}, "IPs: is a member of the schema"},
		{"extra of the schema of an interface", types.Result{Interfaces: []types.Interface{{Name: "a", Extra: extra("mtu", "1")}}}, "interfaces[0].mtu: is a member of the schema"},
		{"extra of the schema of an address", ip(func(i *types.IP) { i.Extra = extra("version", `"4"`) }), "ips[0].version: is a member of the schema"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.r.Validate()
			data, encodeErr := tt.r.Encode(types.V110)
			if tt.want == "" {
				if err != nil || encodeErr != nil || !json.Valid(data) {
					t.Errorf("Validate = %v, Encode = %s, %v, want nil", err, data, encodeErr)
				}
				return
			}
			wantError(t, "Validate", err, types.ErrInvalidNetworkConfig, tt.want)
			wantError(t, "Encode", encodeErr, types.ErrInvalidNetworkConfig, tt.want)
		})
	}
}

func TestDNS(t *testing.T) {
	t.Parallel()
	// RES-032: the order stays.
	const doc = `{"nameservers":["b","a"],"domain":"d","search":["y","x"],"options":["o"],"z":1}`
	var d types.DNS
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		t.Fatalf("Unmarshal = %v, want nil", err)
	}
	if got, err := json.Marshal(d); err != nil || string(got) != doc {
		t.Errorf("Marshal = %s, %v, want %s", got, err, doc)
	}
	if err := json.Unmarshal([]byte(`null`), &d); err != nil || d.Domain != "d" {
		t.Errorf("Unmarshal(null) = %v, left %+v, want it as it was", err, d)
	}
	for _, tt := range []struct {
		doc  string
		zero bool
	}{{`{}`, true}, {`{"search":null}`, true}, {`{"search":[]}`, false}, {`{"domain":""}`, true}, {`{"x":1}`, false}} {
		var d types.DNS
		if err := json.Unmarshal([]byte(tt.doc), &d); err != nil || d.IsZero() != tt.zero {
			t.Errorf("Unmarshal(%s): IsZero() = %v, %v, want %v", tt.doc, d.IsZero(), err, tt.zero)
		}
	}
	wantError(t, "Unmarshal", json.Unmarshal([]byte(`{"search":["a",1]}`), &d), types.ErrDecodingFailure, "(value).search[1]: 1 is not valid; want a string")
}

// A value marshals as its pointer does, and a result that names no version is read
// by its shape.
func TestResult_JSON(t *testing.T) {
	t.Parallel()
	const doc = `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}`
	var holder struct{ R types.Result }
	for _, in := range []string{doc, `{"ips":[{"address":"10.0.0.2/24"}]}`, `{"IP4":{"ip":"10.0.0.2/24"}}`} {
		if err := json.Unmarshal([]byte(`{"R":`+in+`}`), &holder); err != nil {
			t.Fatalf("Unmarshal(%s) = %v, want nil", in, err)
		}
		byValue, err := json.Marshal(holder)
		if err != nil || string(byValue) != `{"R":`+doc+`}` {
			t.Errorf("Marshal = %s, %v, want %s", byValue, err, doc)
		}
		byPointer, err := json.Marshal(&holder.R)
		if err != nil || string(byPointer) != doc {
			t.Errorf("Marshal of a pointer = %s, %v, want %s", byPointer, err, doc)
		}
	}
	if err := json.Unmarshal([]byte(`{"R":null}`), &holder); err != nil || len(holder.R.IPs) != 1 {
		t.Errorf("Unmarshal(null) = %v, left %+v, want it as it was", err, holder.R)
	}
	wantError(t, "Unmarshal", json.Unmarshal([]byte(`[]`), &holder.R), types.ErrDecodingFailure, "(value): [] is not valid; want an object")
	wantError(t, "Unmarshal", json.Unmarshal([]byte(`{"ips":[{"address":5}]}`), &holder.R), types.ErrDecodingFailure, "(value).ips[0].address: 5 ")
}

// A plugin may list in its configuration what a result lists, and gets all of it by the
// rules of a result: any spelling of keys, unknown members, and errors by their paths.
func TestParts_JSON(t *testing.T) {
	t.Parallel()
	type conf struct {
		Routes     []types.Route     `json:"routes"`
		Addresses  []types.IP        `json:"addresses"`
		Interfaces []types.Interface `json:"links"`
		Default    types.Route       `json:"default"`
	}
	const members = `"routes":[{"DST":"10.1.2.3/8","gw":"10.0.0.1","mtu":1400,"table":0,"scope":253,"x":9007199254740993}],` +
		`"addresses":[{"address":"::ffff:10.0.0.2/120","gateway":"10.0.0.1"}],"links":[{"name":"eth0","mtu":1500}],"default":null`
	request, err := types.ParsePluginConfig([]byte(`{"cniVersion":"1.1.0","name":"net",` + members + `}`))
	if err != nil {
		t.Fatal(err)
	}
	var got conf
	if err := request.Decode(&got); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"addresses": got.Addresses, "links": got.Interfaces, "routes": got.Routes})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"addresses":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}],"links":[{"name":"eth0","mtu":1500}],` +
		`"routes":[{"dst":"10.0.0.0/8","gw":"10.0.0.1","mtu":1400,"table":0,"scope":253,"x":9007199254740993}]}`
	if string(data) != want {
		t.Errorf("read and written = %s, want %s", data, want)
	}
	for members, want := range map[string]string{
		`"routes":[{"dst":"10.0.0.0/8","table":-1}]`:                  "routes[0].table: -1 is out of range; want 0 to 4294967295",
		`"routes":[{"dst":"10.0.0.0/8"},{"gw":"10.0.0.1"}]`:           "routes[1].dst: is missing",
		`"default":{"dst":5}`:                                         "default.dst: 5 is not valid",
		`"addresses":[{"gateway":"10.0.0.1"}]`:                        "addresses[0].address: is missing",
		`"addresses":[{"address":"10.0.0.2/24","gateway":"fd00::1"}]`: "addresses[0].gateway: fd00::1 is not of the family",
		`"links":[{"mtu":1500}]`:                                      "links[0].name: is missing",
		`"links":[[]]`:                                                "links[0]: [] is not valid; want an object",
	} {
		request, err := types.ParsePluginConfig([]byte(`{"cniVersion":"1.1.0","name":"net",` + members + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := request.Decode(&conf{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Decode(%s) = %v, want %q", members, err, want)
		}
	}
	for _, v := range []any{types.Route{}, types.IP{}, types.Interface{}, types.Route{Dst: netip.MustParsePrefix("10.0.0.0/8"), Extra: map[string]json.RawMessage{"x": json.RawMessage("{")}}} {
		if data, err := json.Marshal(v); err == nil {
			t.Errorf("Marshal(%+v) = %s, want an error", v, data)
		}
	}
}
