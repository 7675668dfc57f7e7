// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/types"
)

func TestDecodeResult(t *testing.T) {
	t.Parallel()
	ips := func(ips ...types.IP) *types.Result { return &types.Result{IPs: ips} }
	four := types.IP{Address: prefix("10.0.0.2/24")}
	tests := []struct {
		name    string
		in      string
		version types.Version
		want    *types.Result
	}{
		// CHAIN-024
		{"empty", `{}`, types.V110, &types.Result{}},
		{"empty of 0.1.0", `{}`, 0, &types.Result{}},
		// CHAIN-022: the version of the request where the result has none.
		{"no version", `{"ips":[{"address":"10.0.0.2/24"}]}`, types.V100, ips(four)},
		{"null version", `{"cniVersion":null,"ips":[{"address":"10.0.0.2/24"}]}`, types.V100, ips(four)},
		{"empty version", `{"cniVersion":"","ip4":{"ip":"10.0.0.2/24"}}`, types.V020, ips(four)},
		// CHAIN-023: the version of the result where it has one.
		{"another version", `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}`, types.V110, ips(four)},
		// AMB-005
		{"no version at all", `{"ip4":{"ip":"10.0.0.2/24"}}`, 0, ips(four)},
		// CONF-045
		{"other case", `{"CNIVersion":"1.0.0","IPs":[{"Address":"10.0.0.2/24"}]}`, 0, ips(four)},
		{"exact spelling wins", `{"ips":[{"address":"10.0.0.2/24","Address":"x","ADDRESS":5}],"IPS":7}`, types.V110, ips(four)},
		{"exact spelling wins from behind", `{"IPS":7,"ips":[{"ADDRESS":5,"address":"10.0.0.2/24"}]}`, types.V110, ips(four)},
		// AMB-023
		{"last of equals", `{"ips":5,"ips":[{"address":"x","address":"10.0.0.2/24"}]}`, types.V110, ips(four)},
		{"escaped key", `{"i\u0070s":[{"address":"10.0.0.2\/24"}]}`, types.V110, ips(four)},
		// RES-035
		{"nulls", `{"interfaces":null,"ips":null,"routes":null,"dns":null}`, types.V110, &types.Result{}},
		// RES-042
		{"mapped addresses", `{"ips":[{"address":"::ffff:10.0.0.2/120","gateway":"::ffff:10.0.0.1"}],"routes":[{"dst":"::ffff:10.1.0.0/112","gw":"::FFFF:10.0.0.1"}]}`, types.V110,
			&types.Result{IPs: []types.IP{{Address: prefix("10.0.0.2/24"), Gateway: addr("10.0.0.1")}}, Routes: []types.Route{{Dst: prefix("10.1.0.0/16"), GW: addr("10.0.0.1")}}}},
		// RES-021, CHAIN-026, AMB-019
		{"negative index", `{"ips":[{"address":"10.0.0.2/24","interface":-1}]}`, types.V110, ips(four)},
		// RES-026, AMB-094
		{"host bits of dst", `{"routes":[{"dst":"10.1.2.3/8"}]}`, types.V110, &types.Result{Routes: []types.Route{{Dst: prefix("10.0.0.0/8")}}}},
		{"empty gateway", `{"ips":[{"address":"10.0.0.2/24","gateway":""}]}`, types.V110, ips(four)},
		// CONV-008, RES-008
		{"wrong version of an address", `{"cniVersion":"0.4.0","ips":[{"version":6,"address":"10.0.0.2/24"}]}`, types.V110, ips(four)},
		// CONV-005: only 0.3.0 knows ip.
		{"ip of 0.3.1", `{"cniVersion":"0.3.1","ip":[{"version":"4","address":"10.0.0.2/24"}]}`, types.V110, &types.Result{}},
		{"ip and ips of 0.3.0", `{"cniVersion":"0.3.0","ip":[{"address":"10.9.0.2/24"}],"ips":[{"address":"10.0.0.2/24"}]}`, types.V110, ips(four)},
		{"another generation", `{"cniVersion":"1.0.0","ip4":{"ip":"10.9.0.2/24"},"ips":[{"address":"10.0.0.2/24"}]}`, types.V110, ips(four)},
		{"another generation of 0.2.0", `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"},"ips":[5],"interfaces":5,"routes":5}`, types.V110, ips(four)},
		// Members of 1.1.0 from a sloppy sender of 1.0.0 are read: AMB-081.
		{"newer members", `{"cniVersion":"1.0.0","interfaces":[{"name":"a","mtu":1500}]}`, types.V110, &types.Result{Interfaces: []types.Interface{{Name: "a", MTU: 1500}}}},
		// RES-029
		{"zero table and scope", `{"routes":[{"dst":"::/0","table":0,"scope":0}]}`, types.V110,
			&types.Result{Routes: []types.Route{{Dst: prefix("::/0"), Table: types.Some[uint32](0), Scope: types.Some[uint8](0)}}}},
		// CHAIN-017, RES-037
		{"unknown members", `{"x":{"a":[null]},"ips":[{"address":"10.0.0.2/24","y":1e400}]}`, types.V110, &types.Result{
			IPs:   []types.IP{{Address: prefix("10.0.0.2/24"), Extra: map[string]json.RawMessage{"y": json.RawMessage("1e400")}}},
			Extra: map[string]json.RawMessage{"x": json.RawMessage(`{"a":[null]}`)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := types.DecodeResult([]byte(tt.in), tt.version)
			if err != nil {
				t.Fatalf("DecodeResult = %v, want nil", err)
			}
			for _, r := range []*types.Result{got, tt.want} { // empty and absent are alike here
				if len(r.IPs) == 0 {
					r.IPs = nil
				}
			}
			if diff := cmp.Diff(tt.want, got, compareNetip); diff != "" {
				t.Errorf("DecodeResult mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeResult_Errors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		code types.Code
		want []string
	}{
		{"empty", ``, types.ErrDecodingFailure, []string{"not valid JSON"}},
		{"null", `null`, types.ErrDecodingFailure, []string{"the document: null "}},
		{"array", `[]`, types.ErrDecodingFailure, []string{"the document: [] "}},
		{"truncated", `{"ips":[`, types.ErrDecodingFailure, []string{"line 1"}},
		{"two documents", `{}{}`, types.ErrDecodingFailure, []string{"line 1"}},
		{"not UTF-8", "{\"\xff\":1}", types.ErrDecodingFailure, []string{"UTF-8"}},
		{"too deep", strings.Repeat("[", 20000) + strings.Repeat("]", 20000), types.ErrDecodingFailure, []string{"depth"}},
		// CHAIN-023, CONV-015
		{"unknown version", `{"cniVersion":"9.9.9"}`, types.ErrIncompatibleCNIVersion, []string{`cniVersion: results of version "9.9.9"`, "supported 0.1.0, 0.2.0"}},
		{"no version", `{"cniVersion":"1.1"}`, types.ErrIncompatibleCNIVersion, []string{`cniVersion: version "1.1": want three numbers`}},
		{"version zero", `{"cniVersion":"0.0.0"}`, types.ErrIncompatibleCNIVersion, []string{`cniVersion: version "0.0.0"`}},
		{"number as version", `{"cniVersion":1}`, types.ErrDecodingFailure, []string{"cniVersion: 1 ", "a string"}},
		{"object as ips", `{"ips":{}}`, types.ErrDecodingFailure, []string{"ips: {} ", "an array"}},
		{"null in ips", `{"ips":[null]}`, types.ErrDecodingFailure, []string{"ips[0]: null ", "an object"}},
		{"no address", `{"ips":[{}]}`, types.ErrInvalidNetworkConfig, []string{"ips[0].address: is missing"}},
		// RES-016
		{"empty address", `{"ips":[{"address":""}]}`, types.ErrInvalidNetworkConfig, []string{`ips[0].address: "" is not an address`}},
		{"too long a prefix", `{"ips":[{"address":"10.0.0.2/33"}]}`, types.ErrInvalidNetworkConfig, []string{`ips[0].address: "10.0.0.2/33" `}},
		{"mapped with a short prefix", `{"ips":[{"address":"::ffff:10.0.0.2/90"}]}`, types.ErrInvalidNetworkConfig, []string{`ips[0].address: "::ffff:10.0.0.2/90" `}},
		{"address with a zone", `{"ips":[{"address":"fe80::1%eth0/64"}]}`, types.ErrInvalidNetworkConfig, []string{`ips[0].address: "fe80::1%eth0/64" `}},
		// RES-017
		{"gateway with a prefix", `{"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1/24"}]}`, types.ErrInvalidNetworkConfig, []string{`ips[0].gateway: "10.0.0.1/24" is not an IP address`}},
		{"gateway of another family", `{"ips":[{"address":"10.0.0.2/24","gateway":"fd00::1"}]}`, types.ErrInvalidNetworkConfig, []string{`ips[0].gateway: fd00::1 `}},
		// RES-018
		{"index too large", `{"interfaces":[{"name":"a"}],"ips":[{"address":"10.0.0.2/24","interface":1}]}`, types.ErrInvalidNetworkConfig, []string{"ips[0].interface: 1 is no position"}},
		{"index beyond any", `{"ips":[{"address":"10.0.0.2/24","interface":99999999999999999999}]}`, types.ErrInvalidNetworkConfig, []string{"ips[0].interface: 99999999999999999999 is out of range; want 0 to 2147483647"}},
		{"index as text", `{"ips":[{"address":"10.0.0.2/24","interface":"0"}]}`, types.ErrDecodingFailure, []string{`ips[0].interface: "0" `}},
		{"fraction", `{"ips":[{"address":"10.0.0.2/24","interface":0.5}]}`, types.ErrDecodingFailure, []string{`ips[0].interface: 0.5 `}},
		// RES-009
		{"no name", `{"interfaces":[{"mac":"a"}]}`, types.ErrInvalidNetworkConfig, []string{"interfaces[0].name: is missing"}},
		// RES-028, AMB-020
		{"negative mtu", `{"interfaces":[{"name":"a","mtu":-1}]}`, types.ErrInvalidNetworkConfig, []string{"interfaces[0].mtu: -1 is out of range"}},
		{"large table", `{"routes":[{"dst":"::/0","table":4294967296}]}`, types.ErrInvalidNetworkConfig, []string{"routes[0].table: 4294967296 is out of range; want 0 to 4294967295"}},
		{"large scope", `{"routes":[{"dst":"::/0","scope":256}]}`, types.ErrInvalidNetworkConfig, []string{"routes[0].scope: 256 is out of range; want 0 to 255"}},
		{"exponent", `{"routes":[{"dst":"::/0","mtu":1e3}]}`, types.ErrDecodingFailure, []string{"routes[0].mtu: 1e3 "}},
		// RES-024, AMB-093
		{"no dst", `{"routes":[{"gw":"10.0.0.1"}]}`, types.ErrInvalidNetworkConfig, []string{"routes[0].dst: is missing"}},
		// RES-025: until 0.4.0 only.
		{"families of a route", `{"cniVersion":"0.4.0","routes":[{"dst":"0.0.0.0/0","gw":"fd00::1"}]}`, types.ErrInvalidNetworkConfig, []string{"routes[0].gw: fd00::1 "}},
		{"object in search", `{"dns":{"search":[{}]}}`, types.ErrDecodingFailure, []string{"dns.search[0]: {} ", "a string"}},
		{"block of the other family", `{"cniVersion":"0.2.0","ip4":{"ip":"fd00::2/64"}}`, types.ErrInvalidNetworkConfig, []string{"ip4.ip: fd00::2/64 is not of the family"}},
		{"block without address", `{"cniVersion":"0.2.0","ip6":{"gateway":"fd00::1"}}`, types.ErrInvalidNetworkConfig, []string{"ip6.ip: is missing"}},
		{"text in a block", `{"cniVersion":"0.2.0","ip6":{"ip":"fd00::2/64","routes":["x"]}}`, types.ErrDecodingFailure, []string{`ip6.routes[0]: "x" `}},
		{"value on several lines", "{\"dns\":[\n  1,\n\t2]}", types.ErrDecodingFailure, []string{`dns: […] is not valid`}},
	}
	for pad := range 4 { // a long value is cut between characters
		tests = append(tests, tests[0])
		last := &tests[len(tests)-1]
		last.name, last.in = "long value "+strconv.Itoa(pad), `{"dns":"`+strings.Repeat("x", pad)+strings.Repeat("😀", 30)+`"}`
		last.code, last.want = types.ErrDecodingFailure, []string{`dns: "` + strings.Repeat("x", pad) + "😀", "😀… is not valid"}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := types.DecodeResult([]byte(tt.in), types.V110)
			if r != nil {
				t.Errorf("DecodeResult = %+v, want nil", r)
			}
			wantError(t, "DecodeResult", err, tt.code, tt.want...)
		})
	}
	// The families of a route may differ since 1.0.0.
	if r := decodeResult(t, `{"routes":[{"dst":"0.0.0.0/0","gw":"fd00::1"}]}`); len(r.Routes) != 1 {
		t.Errorf("DecodeResult = %+v, want the route", r)
	}
}

// CONV-015, CONV-016
func TestResult_Encode_Versions(t *testing.T) {
	t.Parallel()
	r := &types.Result{IPs: []types.IP{{Address: prefix("10.0.0.2/24")}}}
	if got, err := r.Encode(0); err != nil || string(got) != `{"cniVersion":"0.1.0","ip4":{"ip":"10.0.0.2/24"}}` {
		t.Errorf("Encode(0) = %s, %v, want 0.1.0", got, err)
	}
	got, err := r.Encode(mustVersion("9.9.9"))
	if got != nil {
		t.Errorf("Encode(9.9.9) = %s, want nil", got)
	}
	wantError(t, "Encode(9.9.9)", err, types.ErrIncompatibleCNIVersion, "9.9.9", "1.1.0")
	// RES-025
	r = &types.Result{Routes: []types.Route{{Dst: prefix("0.0.0.0/0"), GW: addr("fd00::1")}}}
	_, err = r.Encode(types.V040)
	wantError(t, "Encode(0.4.0)", err, types.ErrInvalidNetworkConfig, "routes[0].gw: fd00::1 ")
	if _, err := r.Encode(types.V100); err != nil {
		t.Errorf("Encode(1.0.0) = %v, want nil", err)
	}
	// CONV-011, AMB-076
	_, err = r.Encode(types.V010)
	wantError(t, "Encode(0.1.0)", err, types.ErrInvalidNetworkConfig)
}

// RES-033, RES-035, RES-020: what is not there is not written.
func TestResult_Encode_Absent(t *testing.T) {
	t.Parallel()
	r := types.Result{Interfaces: []types.Interface{}, IPs: []types.IP{}, Routes: []types.Route{}, DNS: types.DNS{Search: []string{}}, Extra: map[string]json.RawMessage{}}
	for _, v := range types.Versions() {
		if v < types.V030 {
			continue
		}
		if got, err := r.Encode(v); err != nil || string(got) != `{"cniVersion":"`+v.String()+`"}` {
			t.Errorf("Encode(%v) = %s, %v, want cniVersion only", v, got, err)
		}
	}
}

// RES-042: a result that Go code makes with mapped addresses.
func TestResult_Encode_Mapped(t *testing.T) {
	t.Parallel()
	r := &types.Result{
		IPs:    []types.IP{{Address: prefix("::ffff:10.0.0.2/120"), Gateway: addr("::ffff:10.0.0.1")}},
		Routes: []types.Route{{Dst: prefix("::ffff:10.1.0.0/112"), GW: addr("10.0.0.1")}},
	}
	before := r.Clone()
	for v, want := range map[types.Version]string{
		types.V020: `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"10.1.0.0/16","gw":"10.0.0.1"}]}}`,
		types.V040: `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24","gateway":"10.0.0.1"}],"routes":[{"dst":"10.1.0.0/16","gw":"10.0.0.1"}]}`,
	} {
		if got, err := r.Encode(v); err != nil || string(got) != want {
			t.Errorf("Encode(%v) = %s, %v, want %s", v, got, err, want)
		}
	}
	// CONV-014
	if diff := cmp.Diff(before, r, compareNetip); diff != "" {
		t.Errorf("Encode changed its receiver (-before +after):\n%s", diff)
	}
	short := &types.Result{IPs: []types.IP{{Address: prefix("::ffff:10.0.0.2/64")}}}
	_, err := short.Encode(types.V110)
	wantError(t, "Encode", err, types.ErrInvalidNetworkConfig, "ips[0].address: ")
}

// RES-024, AMB-094: host bits of a destination are not written.
func TestResult_Encode_Masked(t *testing.T) {
	t.Parallel()
	r := types.Result{Routes: []types.Route{{Dst: prefix("10.1.2.3/8")}}}
	if got, err := r.Encode(types.V110); err != nil || !strings.Contains(string(got), `"dst":"10.0.0.0/8"`) {
		t.Errorf("Encode = %s, %v, want 10.0.0.0/8", got, err)
	}
}

// CONV-014: no conversion changes what it converts.
func TestResult_Encode_Pure(t *testing.T) {
	t.Parallel()
	r := decodeResult(t, goldenResults()["everything"])
	before := r.Clone()
	for _, v := range types.Versions() {
		if _, err := r.Encode(v); err != nil {
			t.Errorf("Encode(%v) = %v, want nil", v, err)
		}
		r.Lost(v)
	}
	if diff := cmp.Diff(before, r, compareNetip); diff != "" {
		t.Errorf("Encode changed its receiver (-before +after):\n%s", diff)
	}
}

// CONV-017
func TestResult_Lost(t *testing.T) {
	t.Parallel()
	newest := []string{"interfaces[0].mtu", "interfaces[1].mtu", "interfaces[1].socketPath", "interfaces[1].pciID", "routes[0].mtu", "routes[0].advmss",
		"routes[0].priority", "routes[0].table", "routes[0].scope", "routes[2].table", "routes[2].scope"}
	flat := append(slices.Clone(newest), "interfaces[0]", "interfaces[1]", "ips[2]")
	tests := []struct {
		result string
		v      types.Version
		want   []string
	}{
		{"everything", types.V110, nil},
		{"everything", types.V100, newest},
		{"everything", types.V030, newest},
		{"everything", types.V020, flat},
		{"everything", types.V010, flat},
		{"six", types.V100, nil},
		{"six", types.V020, []string{"routes[0]"}},
		{"two-fours", types.V020, []string{"ips[1]"}},
	}
	for _, tt := range tests {
		if got := decodeResult(t, goldenResults()[tt.result]).Lost(tt.v); !slices.Equal(got, tt.want) {
			t.Errorf("Lost(%v) of %s = %q, want %q", tt.v, tt.result, got, tt.want)
		}
	}
}

// CONV-001, CONV-003, CONV-006: round trips that lose nothing.
func TestResult_RoundTrips(t *testing.T) {
	t.Parallel()
	const v020 = `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"ip":"fd00::2/64"},"dns":{"domain":"d"}}`
	const v100 = `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/n"}],"ips":[{"address":"10.0.0.2/24","interface":0}],"routes":[{"dst":"0.0.0.0/0"}]}`
	tests := []struct {
		in   string
		from types.Version
		by   []types.Version
	}{
		{v020, types.V020, []types.Version{types.V010, types.V040, types.V100, types.V110}},
		{v100, types.V100, []types.Version{types.V030, types.V031, types.V040, types.V110}},
	}
	for _, tt := range tests {
		for _, by := range tt.by {
			middle, err := decodeResult(t, tt.in).Encode(by)
			if err != nil {
				t.Fatalf("Encode(%v) = %v, want nil", by, err)
			}
			got, err := decodeResult(t, string(middle)).Encode(tt.from)
			if err != nil || string(got) != tt.in {
				t.Errorf("%v by %v = %s, %v, want %s", tt.from, by, got, err, tt.in)
			}
		}
	}
}

// CHAIN-014: a plugin that changes nothing answers what it got.
func TestResult_PassThrough(t *testing.T) {
	t.Parallel()
	for name, doc := range goldenResults() {
		got, err := decodeResult(t, doc).Encode(types.V110)
		if err != nil {
			t.Fatalf("Encode of %s = %v, want nil", name, err)
		}
		if got, want := generic(t, got), generic(t, []byte(doc)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s passed through = %v, want %v", name, got, want)
		}
	}
}

func TestEncode_ErrorsAreNotResults(t *testing.T) {
	t.Parallel()
	// An error that looks like a result still has its code when it is wrapped.
	_, err := types.DecodeResult([]byte(`{"ips":[{}]}`), types.V110)
	if errors.Is(err, types.ErrDecodingFailure) || !errors.Is(err, types.ErrInvalidNetworkConfig) {
		t.Errorf("DecodeResult = %v, want code 7 and no other", err)
	}
}
