// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/types"
)

func TestParsePluginConfig(t *testing.T) {
	t.Parallel()
	type want struct {
		Version    types.Version
		Name, Type string
		IPAM       types.IPAM
		DNS        types.DNS
		Caps       string
	}
	tests := []struct {
		name string
		in   string
		want want
	}{
		// VER-013, AMB-005
		{"least", `{"name":"n"}`, want{Version: types.V010, Name: "n"}},
		{"empty version", `{"name":"n","cniVersion":""}`, want{Version: types.V010, Name: "n"}},
		{"null version", `{"name":"n","cniVersion":null}`, want{Version: types.V010, Name: "n"}},
		{"unknown version", `{"name":"n","cniVersion":"9.9.9"}`, want{Version: mustVersion("9.9.9"), Name: "n"}},
		{"everything", ` {"cniVersion":"1.1.0","name":"n","type":"t","ipam":{"type":"i","x":1},"dns":{"domain":"d"},"runtimeConfig":{"mac":"x"},"prevResult":5,"x":[]}` + "\n",
			want{Version: types.V110, Name: "n", Type: "t", IPAM: types.IPAM{Type: "i"}, DNS: types.DNS{Domain: "d"}, Caps: `"x"`}},
		// CONF-036, CHAIN-008
		{"nulls", `{"name":"n","type":null,"ipam":null,"dns":null,"runtimeConfig":null,"prevResult":null}`, want{Version: types.V010, Name: "n"}},
		{"empty", `{"name":"n","type":"","ipam":{"type":""},"dns":{},"runtimeConfig":{}}`, want{Version: types.V010, Name: "n"}},
		{"ipam without type", `{"name":"n","ipam":{}}`, want{Version: types.V010, Name: "n"}},
		// CONF-045
		{"other case", `{"CNIVERSION":"1.0.0","NAME":"n","Type":"t","IPAM":{"Type":"i"},"RuntimeConfig":{"mac":1}}`, want{Version: types.V100, Name: "n", Type: "t", IPAM: types.IPAM{Type: "i"}, Caps: "1"}},
		{"exact spelling wins", `{"name":"n","NAME":5,"cniVersion":"1.0.0","CNIVersion":7}`, want{Version: types.V100, Name: "n"}},
		{"a fold beyond ASCII", `{"name":"n","t\u0079pe":"t"}`, want{Version: types.V010, Name: "n", Type: "t"}},
		// AMB-023
		{"last of equals", `{"name":"a/b","name":"n"}`, want{Version: types.V010, Name: "n"}},
		// CONF-038
		{"dns is kept as written", `{"name":"n","dns":{"nameservers":["not-an-ip"],"search":["b","a"]}}`, want{Version: types.V010, Name: "n", DNS: types.DNS{Nameservers: []string{"not-an-ip"}, Search: []string{"b", "a"}}}},
		// CONF-033
		{"args are not looked at", `{"name":"n","args":5}`, want{Version: types.V010, Name: "n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := types.ParsePluginConfig([]byte(tt.in))
			if err != nil {
				t.Fatalf("ParsePluginConfig = %v, want nil", err)
			}
			got := want{c.CNIVersion, c.Name, c.Type, c.IPAM, c.DNS, string(c.RuntimeConfig["mac"])}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParsePluginConfig mismatch (-want +got):\n%s", diff)
			}
			if string(c.Raw) != strings.TrimSpace(tt.in) {
				t.Errorf("Raw = %s, want %s", c.Raw, tt.in)
			}
		})
	}
}

func TestParsePluginConfig_Errors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		code types.Code
		want string
	}{
		// CONF-001, CONF-044, PROTO-030
		{``, types.ErrDecodingFailure, "not valid JSON"},
		{`{`, types.ErrDecodingFailure, "line 1"},
		{`[]`, types.ErrDecodingFailure, "the document: [] is not valid; want an object"},
		{`"x"`, types.ErrDecodingFailure, `the document: "x" `},
		{`42`, types.ErrDecodingFailure, "the document: 42 "},
		{`null`, types.ErrDecodingFailure, "the document: null "},
		{"{\"name\":\"n\"}\n{}", types.ErrDecodingFailure, "line 2"},
		{"{\n\n\"name\":\"n\",}", types.ErrDecodingFailure, "line 3"},
		{"{\"name\":\"n\xff\"}", types.ErrDecodingFailure, "UTF-8"},
		{"\ufeff{\"name\":\"n\"}", types.ErrDecodingFailure, "line 1"},
		{strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), types.ErrDecodingFailure, "depth"},
		// CONF-002, VER-011
		{`{"name":"n","cniVersion":1.1}`, types.ErrDecodingFailure, "cniVersion: 1.1 is not valid; want a string"},
		{`{"name":"n","cniVersion":"1.1"}`, types.ErrIncompatibleCNIVersion, `cniVersion: version "1.1": want three numbers`},
		{`{"name":"n","cniVersion":" 1.1.0"}`, types.ErrIncompatibleCNIVersion, `cniVersion: version " 1.1.0"`},
		{`{"name":"n","cniVersion":"0.0.0"}`, types.ErrIncompatibleCNIVersion, `cniVersion: version "0.0.0"`},
		// CONF-008
		{`{}`, types.ErrInvalidNetworkConfig, "name: is missing"},
		{`{"name":null}`, types.ErrInvalidNetworkConfig, "name: is missing"},
		{`{"name":""}`, types.ErrInvalidNetworkConfig, "name: is empty"},
		// CONF-009, CONF-010
		{`{"name":"../x"}`, types.ErrInvalidNetworkConfig, `name: "../x" is not valid`},
		{`{"name":"a\u0000"}`, types.ErrInvalidNetworkConfig, `name: "a\x00" `},
		{`{"name":"a\n"}`, types.ErrInvalidNetworkConfig, `name: "a\n" `},
		{`{"name":7}`, types.ErrDecodingFailure, "name: 7 "},
		// A missing name is said before what else is wrong with the values.
		{`{"type":"a/b"}`, types.ErrInvalidNetworkConfig, "name: is missing"},
		{`{"type":5}`, types.ErrInvalidNetworkConfig, "name: is missing"},
	}
	for _, tt := range tests {
		c, err := types.ParsePluginConfig([]byte(tt.in))
		if c != nil {
			t.Errorf("ParsePluginConfig(%.60q) = %+v, want nil", tt.in, c)
		}
		wantError(t, "ParsePluginConfig("+tt.in[:min(60, len(tt.in))]+")", err, tt.code, tt.want)
	}
}

// What DEL and GC can do without is an error of Decode only, and one that they are
// told of: DEL-026, PROTO-048.
func TestParsePluginConfig_LaterErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		code types.Code
		want string
	}{
		// CONF-027
		{`{"name":"n","type":"a/b"}`, types.ErrInvalidNetworkConfig, `type: "a/b" is not a file name`},
		// CONF-036, CONF-037
		{`{"name":"n","ipam":[]}`, types.ErrDecodingFailure, "ipam: [] is not valid; want an object"},
		{`{"name":"n","ipam":{"type":"../recorder"}}`, types.ErrInvalidNetworkConfig, `ipam.type: "../recorder" is not a file name`},
		{`{"name":"n","ipam":{"type":5}}`, types.ErrDecodingFailure, "ipam.type: 5 "},
		{`{"name":"n","ipam":{"type":"` + strings.Repeat("x", 300) + `"}}`, types.ErrInvalidNetworkConfig, "ipam.type: "},
		// CONF-038
		{`{"name":"n","dns":{"nameservers":"1.1.1.1"}}`, types.ErrDecodingFailure, `dns.nameservers: "1.1.1.1" is not valid; want an array`},
		{`{"name":"n","dns":{"search":[1]}}`, types.ErrDecodingFailure, "dns.search[0]: 1 "},
		{`{"name":"n","runtimeConfig":[]}`, types.ErrDecodingFailure, "runtimeConfig: [] "},
	}
	for _, tt := range tests {
		what := tt.in[:min(60, len(tt.in))]
		c, err := types.ParsePluginConfig([]byte(tt.in))
		if err != nil || c.Name != "n" {
			t.Errorf("ParsePluginConfig(%s) = %+v, %v, want the name alone", what, c, err)
			continue
		}
		wantError(t, "Decode("+what+")", c.Decode(&struct{}{}), tt.code, tt.want)
		wantError(t, "DecodeStrict("+what+")", c.DecodeStrict(&struct{}{}), tt.code, tt.want)
		passedOver := c.DecodeLenient(&struct{}{})
		if len(passedOver) != 1 {
			t.Errorf("DecodeLenient(%s) = %q, want one error", what, passedOver)
			continue
		}
		wantError(t, "DecodeLenient("+what+")", passedOver[0], tt.code, tt.want)
	}
}

func TestPluginConfig_PrevResult(t *testing.T) {
	t.Parallel()
	parse := func(version, more string) *types.PluginConfig {
		c, err := types.ParsePluginConfig([]byte(`{"name":"n","cniVersion":"` + version + `"` + more + `}`))
		if err != nil {
			t.Fatalf("ParsePluginConfig = %v, want nil", err)
		}
		return c
	}
	one := &types.Result{IPs: []types.IP{{Address: prefix("10.0.0.2/24")}}}
	tests := []struct {
		name, version, more string
		want                *types.Result
	}{
		{"absent", "1.1.0", ``, nil},
		// CHAIN-024
		{"null", "1.1.0", `,"prevResult":null`, nil},
		{"empty", "1.1.0", `,"prevResult":{}`, &types.Result{}},
		// CHAIN-022
		{"without version", "1.1.0", `,"prevResult":{"ips":[{"address":"10.0.0.2/24"}]}`, one},
		// CHAIN-023, AMB-008
		{"of another version", "1.1.0", `,"prevResult":{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}]}`, one},
		{"of 0.2.0", "1.1.0", `,"prevResult":{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}`, one},
		// CHAIN-032
		{"before chaining", "0.2.0", `,"prevResult":{"ips":5}`, nil},
		{"since chaining", "0.3.0", `,"prevResult":{"ips":[{"address":"10.0.0.2/24"}]}`, one},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(tt.version, tt.more).PrevResult()
			if err != nil {
				t.Fatalf("PrevResult = %v, want nil", err)
			}
			if diff := cmp.Diff(tt.want, got, compareNetip); diff != "" {
				t.Errorf("PrevResult mismatch (-want +got):\n%s", diff)
			}
		})
	}
	for more, want := range map[string]struct {
		code types.Code
		text string
	}{
		`5`:                      {types.ErrDecodingFailure, "prevResult: 5 is not valid; want an object"},
		`{"cniVersion":"9.9.9"}`: {types.ErrIncompatibleCNIVersion, `prevResult.cniVersion: results of version "9.9.9" are not supported`},
		`{"cniVersion":5}`:       {types.ErrDecodingFailure, "prevResult.cniVersion: 5 "},
		`{"ips":[{"address":"10.0.0.2/24","interface":3}]}`: {types.ErrInvalidNetworkConfig, "prevResult.ips[0].interface: 3 is no position"},
		`{"ips":[{"address":"x"}]}`:                         {types.ErrInvalidNetworkConfig, `prevResult.ips[0].address: "x" `},
	} {
		got, err := parse("1.1.0", `,"prevResult":`+more).PrevResult()
		if got != nil {
			t.Errorf("PrevResult(%s) = %+v, want nil", more, got)
		}
		wantError(t, "PrevResult("+more+")", err, want.code, want.text)
	}
}

func TestPluginConfig_ValidAttachments(t *testing.T) {
	t.Parallel()
	a, b := types.Attachment{ContainerID: "a", IfName: "eth0"}, types.Attachment{ContainerID: "b", IfName: "eth1"}
	const listA, listB = `[{"containerID":"a","ifname":"eth0"}]`, `[{"containerID":"b","ifname":"eth1","x":1}]`
	tests := []struct {
		name, members string
		want          []types.Attachment
	}{
		// GC-002
		{"newer key", `"cni.dev/valid-attachments":` + listA, []types.Attachment{a}},
		// GC-003, AMB-002
		{"older key", `"cni.dev/attachments":` + listB, []types.Attachment{b}},
		{"both keys", `"cni.dev/attachments":` + listB + `,"cni.dev/valid-attachments":` + listA, []types.Attachment{a}},
		// GC-018
		{"empty", `"cni.dev/valid-attachments":[]`, []types.Attachment{}},
		{"empty newer, full older", `"cni.dev/valid-attachments":[],"cni.dev/attachments":` + listB, []types.Attachment{}},
		// GC-019
		{"null", `"cni.dev/valid-attachments":null`, []types.Attachment{}},
		{"keys in other case", `"cni.dev/valid-attachments":[{"ContainerId":"a","IfName":"eth0"}]`, []types.Attachment{a}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := types.ParsePluginConfig([]byte(`{"name":"n",` + tt.members + `}`))
			if err != nil {
				t.Fatalf("ParsePluginConfig = %v, want nil", err)
			}
			got, err := c.ValidAttachments()
			if err != nil || got == nil || !cmp.Equal(got, tt.want) {
				t.Errorf("ValidAttachments = %#v, %v, want %#v", got, err, tt.want)
			}
		})
	}
	for members, want := range map[string]string{
		// GC-020, AMB-061
		`"x":1`:                                                    "cni.dev/valid-attachments: is missing",
		`"CNI.DEV/valid-attachments":[]`:                           "cni.dev/valid-attachments: is missing",
		`"cni.dev/valid-attachments":{}`:                           "cni.dev/valid-attachments: {} is not valid; want an array",
		`"cni.dev/valid-attachments":["a"]`:                        `cni.dev/valid-attachments[0]: "a" is not valid; want an object`,
		`"cni.dev/valid-attachments":[null]`:                       `cni.dev/valid-attachments[0]: null `,
		`"cni.dev/valid-attachments":"a","cni.dev/attachments":[]`: `cni.dev/valid-attachments: "a" `,
		// GC-021
		`"cni.dev/valid-attachments":[{"containerID":"a"}]`:             "cni.dev/valid-attachments[0].ifname: is missing",
		`"cni.dev/attachments":[{"ifname":"a"}]`:                        "cni.dev/attachments[0].containerID: is missing",
		`"cni.dev/valid-attachments":[{"containerID":5,"ifname":"a"}]`:  "cni.dev/valid-attachments[0].containerID: 5 ",
		`"cni.dev/valid-attachments":[{"containerID":"","ifname":"a"}]`: "cni.dev/valid-attachments[0].containerID: is missing",
	} {
		c, err := types.ParsePluginConfig([]byte(`{"name":"n",` + members + `}`))
		if err != nil {
			t.Fatalf("ParsePluginConfig(%s) = %v, want nil", members, err)
		}
		got, err := c.ValidAttachments()
		if got != nil || errors.Is(err, types.ErrDecodingFailure) {
			t.Errorf("ValidAttachments(%s) = %v, %v, want nil and code 7 only", members, got, err)
		}
		wantError(t, "ValidAttachments("+members+")", err, types.ErrInvalidNetworkConfig, want)
	}
}

// A configuration that was not parsed holds nothing, and is no reason to panic.
func TestPluginConfig_Zero(t *testing.T) {
	t.Parallel()
	var c types.PluginConfig
	if r, err := c.PrevResult(); r != nil || err != nil {
		t.Errorf("PrevResult = %v, %v, want nil, nil", r, err)
	}
	if _, err := c.ValidAttachments(); err == nil {
		t.Error("ValidAttachments = nil, want an error")
	}
	for name, decode := range map[string]func(any) error{"Decode": c.Decode, "DecodeStrict": c.DecodeStrict} {
		if err := decode(&conf{}); err == nil {
			t.Errorf("%s = nil, want an error", name)
		}
	}
	if bad := c.DecodeLenient(&conf{}); len(bad) != 1 {
		t.Errorf("DecodeLenient = %v, want one error", bad)
	}
	if ok, err := c.Capability("mac", new(string)); ok || err != nil {
		t.Errorf("Capability = %v, %v, want false, nil", ok, err)
	}
}
