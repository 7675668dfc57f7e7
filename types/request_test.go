// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

func TestNetwork_Request(t *testing.T) {
	t.Parallel()
	const result110 = `{"cniVersion":"1.1.0", "ips":[{"address":"10.0.0.2/24"}], "x":9007199254740993}`
	caps := map[string]json.RawMessage{"mac": json.RawMessage(`"02:00:5e:10:00:01"`), "b": json.RawMessage(`[ 1 ]`), "c": json.RawMessage(`5`)}
	tests := []struct {
		name    string
		version string
		plugin  string
		params  types.RequestParams
		want    string
	}{
		// CHAIN-001, CHAIN-002, CONF-040
		{"list's name and version", "1.1.0", `{"x":1,"name":"other","cniVersion":"0.3.0","type":"a","Name":"z","CNIVERSION":""}`, types.RequestParams{Command: types.CommandAdd},
			`{"cniVersion":"1.1.0","name":"n","type":"a","x":1}`},
		// CONF-030, CHAIN-012, AMB-018: unknown members byte for byte, in order.
		{"unknown members", "1.1.0", `{ "z" : {"a":null,"b":[], "ü":"\u00fc","big":9007199254740993} , "type":"a","f":1e2,"<&>":"<&>","\u006bey":true,"z":1,"args":{"cni":{}}}`, types.RequestParams{Command: types.CommandAdd},
			`{"cniVersion":"1.1.0","name":"n","type":"a","z":{"a":null,"b":[], "ü":"\u00fc","big":9007199254740993},"f":1e2,"<&>":"<&>","\u006bey":true,"z":1,"args":{"cni":{}}}`},
		{"type is written exactly", "1.1.0", `{"TYPE":"a"}`, types.RequestParams{Command: types.CommandAdd}, `{"cniVersion":"1.1.0","name":"n","type":"a"}`},
		// CHAIN-003, CHAIN-010, CHAIN-011, AMB-017, AMB-030
		{"what only a runtime writes", "1.1.0", `{"type":"a","capabilities":{"zz":false},"cni.dev/foo":1,"CNI.dev/valid-attachments":[],"prevResult":{},"PREVRESULT":{},"runtimeConfig":{"mac":"x"},"RuntimeConfig":{}}`,
			types.RequestParams{Command: types.CommandAdd}, `{"cniVersion":"1.1.0","name":"n","type":"a"}`},
		// CHAIN-006, CHAIN-007, AMB-015: the intersection, sorted.
		{"capabilities", "1.1.0", `{"type":"a","capabilities":{"mac":true,"b":true,"c":false,"d":true}}`, types.RequestParams{Command: types.CommandAdd, Capabilities: caps},
			`{"cniVersion":"1.1.0","name":"n","type":"a","runtimeConfig":{"b":[ 1 ],"mac":"02:00:5e:10:00:01"}}`},
		// CHAIN-008, AMB-016
		{"capabilities without values", "1.1.0", `{"type":"a","capabilities":{"mac":true}}`, types.RequestParams{Command: types.CommandAdd},
			`{"cniVersion":"1.1.0","name":"n","type":"a","runtimeConfig":{}}`},
		{"capabilities declared as false", "1.1.0", `{"type":"a","capabilities":{"mac":false}}`, types.RequestParams{Command: types.CommandAdd, Capabilities: caps},
			`{"cniVersion":"1.1.0","name":"n","type":"a"}`},
		{"capabilities of 0.2.0", "0.2.0", `{"type":"a","capabilities":{"mac":true}}`, types.RequestParams{Command: types.CommandAdd, Capabilities: caps},
			`{"cniVersion":"0.2.0","name":"n","type":"a"}`},
		// CHAIN-009
		{"capabilities for DEL", "0.3.0", `{"type":"a","capabilities":{"mac":true}}`, types.RequestParams{Command: types.CommandDel, Capabilities: caps},
			`{"cniVersion":"0.3.0","name":"n","type":"a","runtimeConfig":{"mac":"02:00:5e:10:00:01"}}`},
		// CHAIN-004: the very bytes.
		{"prevResult for ADD", "1.1.0", `{"type":"a"}`, types.RequestParams{Command: types.CommandAdd, PrevResult: []byte(" " + result110 + "\n")},
			`{"cniVersion":"1.1.0","name":"n","type":"a","prevResult":` + result110 + `}`},
		{"prevResult for ADD of 0.3.0", "0.3.0", `{"type":"a"}`, types.RequestParams{Command: types.CommandAdd, PrevResult: []byte(`{"cniVersion":"0.3.0"}`)},
			`{"cniVersion":"0.3.0","name":"n","type":"a","prevResult":{"cniVersion":"0.3.0"}}`},
		// CHAIN-032
		{"prevResult for ADD of 0.2.0", "0.2.0", `{"type":"a"}`, types.RequestParams{Command: types.CommandAdd, PrevResult: []byte(`{"cniVersion":"0.2.0"}`)},
			`{"cniVersion":"0.2.0","name":"n","type":"a"}`},
		// CHAIN-005
		{"prevResult for CHECK", "1.1.0", `{"type":"a","capabilities":{"c":true}}`, types.RequestParams{Command: types.CommandCheck, PrevResult: []byte(`{}`), Capabilities: caps},
			`{"cniVersion":"1.1.0","name":"n","type":"a","prevResult":{},"runtimeConfig":{"c":5}}`},
		{"prevResult for DEL", "0.4.0", `{"type":"a"}`, types.RequestParams{Command: types.CommandDel, PrevResult: []byte(`{"cniVersion":"0.4.0"}`)},
			`{"cniVersion":"0.4.0","name":"n","type":"a","prevResult":{"cniVersion":"0.4.0"}}`},
		{"prevResult for DEL of 0.3.1", "0.3.1", `{"type":"a"}`, types.RequestParams{Command: types.CommandDel, PrevResult: []byte(`{}`)},
			`{"cniVersion":"0.3.1","name":"n","type":"a"}`},
		// CHAIN-021, CHAIN-029, AMB-007
		{"prevResult of another version", "0.4.0", `{"type":"a"}`, types.RequestParams{Command: types.CommandAdd, PrevResult: []byte(result110)},
			`{"cniVersion":"0.4.0","name":"n","type":"a","prevResult":{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}],"x":9007199254740993}}`},
		// CHAIN-030
		{"prevResult without version", "1.0.0", `{"type":"a"}`, types.RequestParams{Command: types.CommandAdd, PrevResult: []byte(`{"ips":[]}`)},
			`{"cniVersion":"1.0.0","name":"n","type":"a","prevResult":{"ips":[]}}`},
		// RES-044
		{"prevResult null", "1.0.0", `{"type":"a"}`, types.RequestParams{Command: types.CommandAdd, PrevResult: []byte(`null`)},
			`{"cniVersion":"1.0.0","name":"n","type":"a","prevResult":{"cniVersion":"1.0.0"}}`},
		// GC-001, GC-002, GC-004, GC-025, AMB-002
		{"GC", "1.1.0", `{"type":"a","capabilities":{"mac":true},"cni.dev/valid-attachments":5}`, types.RequestParams{Command: types.CommandGC, Capabilities: caps, PrevResult: []byte(result110),
			ValidAttachments: []types.Attachment{{ContainerID: "c1", IfName: "eth0"}, {ContainerID: "c2", IfName: "eth1"}}},
			`{"cniVersion":"1.1.0","name":"n","type":"a","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"},{"containerID":"c2","ifname":"eth1"}],` +
				`"cni.dev/attachments":[{"containerID":"c1","ifname":"eth0"},{"containerID":"c2","ifname":"eth1"}]}`},
		{"GC of everything", "1.1.0", `{"type":"a"}`, types.RequestParams{Command: types.CommandGC, ValidAttachments: []types.Attachment{}},
			`{"cniVersion":"1.1.0","name":"n","type":"a","cni.dev/valid-attachments":[],"cni.dev/attachments":[]}`},
		{"STATUS", "1.1.0", `{"type":"a","x":1,"capabilities":{"mac":true}}`, types.RequestParams{Command: types.CommandStatus, Capabilities: caps, PrevResult: []byte(result110),
			ValidAttachments: []types.Attachment{}}, `{"cniVersion":"1.1.0","name":"n","type":"a","x":1}`},
		{"VERSION", "1.1.0", `{"type":"a","x":1}`, types.RequestParams{Command: types.CommandVersion}, `{"cniVersion":"1.1.0"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := parseNetwork(t, `{"cniVersion":"`+tt.version+`","name":"n","plugins":[{"type":"first"},`+tt.plugin+`]}`)
			before := string(n.Raw)
			got, err := n.Request(1, tt.params)
			if err != nil || string(got) != tt.want {
				t.Errorf("Request =\n%s, %v, want\n%s", got, err, tt.want)
			}
			if !json.Valid(got) {
				t.Errorf("Request = %s, which is not JSON", got)
			}
			if string(n.Raw) != before {
				t.Errorf("Request changed the network to %s", n.Raw)
			}
		})
	}
}

func TestNetwork_Request_Errors(t *testing.T) {
	t.Parallel()
	n := parseNetwork(t, `{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"a","capabilities":{"mac":true}}]}`)
	add := func(prev string) types.RequestParams {
		return types.RequestParams{Command: types.CommandAdd, PrevResult: []byte(prev)}
	}
	tests := []struct {
		name   string
		at     int
		params types.RequestParams
		code   types.Code
		want   string
	}{
		{"below", -1, types.RequestParams{Command: types.CommandAdd}, types.ErrInvalidNetworkConfig, "position -1"},
		{"above", 1, types.RequestParams{Command: types.CommandAdd}, types.ErrInvalidNetworkConfig, "position 1"},
		{"capability", 0, types.RequestParams{Command: types.CommandAdd, Capabilities: map[string]json.RawMessage{"mac": json.RawMessage("zz")}},
			types.ErrInvalidNetworkConfig, "runtimeConfig.mac: is not JSON"},
		{"prevResult is no JSON", 0, add(`{`), types.ErrDecodingFailure, "line 1"},
		{"prevResult is empty", 0, add(``), types.ErrDecodingFailure, "not valid JSON"},
		{"prevResult is no object", 0, add(`[]`), types.ErrDecodingFailure, "prevResult: [] "},
		// RES-043
		{"prevResult is not valid", 0, add(`{"ips":[{"address":"10.0.0.2"}]}`), types.ErrInvalidNetworkConfig, `prevResult.ips[0].address: "10.0.0.2" `},
		{"prevResult has a dangling index", 0, add(`{"ips":[{"address":"10.0.0.2/24","interface":0}]}`), types.ErrInvalidNetworkConfig, `ips[0].interface: 0 `},
		{"prevResult of an unknown version", 0, add(`{"cniVersion":"9.9.9"}`), types.ErrIncompatibleCNIVersion, "9.9.9"},
		// AMB-065
		{"CHECK without prevResult", 0, types.RequestParams{Command: types.CommandCheck}, types.ErrInvalidNetworkConfig, "prevResult: is missing"},
		{"GC without a list", 0, types.RequestParams{Command: types.CommandGC}, types.ErrInvalidNetworkConfig, "cni.dev/valid-attachments: is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := n.Request(tt.at, tt.params)
			if got != nil {
				t.Errorf("Request = %s, want nil", got)
			}
			wantError(t, "Request", err, tt.code, tt.want)
		})
	}
	broken := types.Network{Name: "n", Plugins: []types.NetworkPlugin{{Type: "a", Raw: []byte("[]")}, {Type: "a"}}}
	for i := range broken.Plugins {
		if got, err := broken.Request(i, types.RequestParams{Command: types.CommandAdd}); err == nil {
			t.Errorf("Request(%d) of a broken plugin = %s, want an error", i, got)
		}
	}
}

// What a runtime derives, a plugin reads.
func TestNetwork_Request_RoundTrip(t *testing.T) {
	t.Parallel()
	n := parseNetwork(t, `{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"a","ipam":{"type":"b"},"capabilities":{"mac":true}}]}`)
	gc, err := n.Request(0, types.RequestParams{Command: types.CommandGC, ValidAttachments: []types.Attachment{{ContainerID: "c\"1", IfName: "é"}}})
	if err != nil {
		t.Fatalf("Request = %v, want nil", err)
	}
	c, err := types.ParsePluginConfig(gc)
	if err != nil {
		t.Fatalf("ParsePluginConfig(%s) = %v, want nil", gc, err)
	}
	if c.Name != "n" || c.Type != "a" || c.IPAM.Type != "b" || c.CNIVersion != types.V110 {
		t.Errorf("ParsePluginConfig(%s) = %+v", gc, c)
	}
	valid, err := c.ValidAttachments()
	if err != nil || len(valid) != 1 || valid[0] != (types.Attachment{ContainerID: "c\"1", IfName: "é"}) {
		t.Errorf("ValidAttachments = %+v, %v, want the one that was given", valid, err)
	}
	if !strings.Contains(string(gc), `"ipam":{"type":"b"}`) {
		t.Errorf("Request = %s, want ipam as it was", gc)
	}
}
