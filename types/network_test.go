// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/types"
)

// parseNetwork is ParseNetwork for what is valid.
func parseNetwork(t *testing.T, data string) *types.Network {
	t.Helper()
	n, err := types.ParseNetwork([]byte(data))
	if err != nil {
		t.Fatalf("ParseNetwork(%s) = %v, want nil", data, err)
	}
	return n
}

func TestParseNetwork(t *testing.T) {
	t.Parallel()
	const one = `{"type":"a"}`
	onePlugin := []types.NetworkPlugin{{Type: "a", Raw: []byte(one)}}
	tests := []struct {
		name string
		in   string
		want types.Network // Raw is the input
	}{
		{"least", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"}]}`,
			types.Network{Name: "n", CNIVersion: types.V100, Offered: []types.Version{types.V100}, Plugins: onePlugin}},
		{"everything", ` {"cniVersion":"1.1.0","cniVersions":["0.4.0","1.1.0","1.0.0"],"name":"a.b_c-1","disableCheck":true,"disableGC":true,
			"loadOnlyInlinedPlugins":true,"x":1,"plugins":[{"type":"a"},{"type":"b","capabilities":{"mac":true,"y":true,"x":false,"y":null}}]} `,
			types.Network{Name: "a.b_c-1", CNIVersion: types.V110, Offered: []types.Version{types.V040, types.V100, types.V110},
				DisableCheck: true, DisableGC: true, LoadOnlyInlinedPlugins: true,
				Plugins: []types.NetworkPlugin{onePlugin[0], {Type: "b", Capabilities: map[string]bool{"mac": true, "x": false},
					Raw: []byte(`{"type":"b","capabilities":{"mac":true,"y":true,"x":false,"y":null}}`)}}}},
		// CONF-004, CONF-006: the highest known one of the union.
		{"versions", `{"cniVersion":"0.4.0","cniVersions":["99.0.0","1.0.0","0.3.10"],"name":"n","plugins":[{"type":"a"}]}`,
			types.Network{Name: "n", CNIVersion: types.V100, Offered: []types.Version{mustVersion("0.3.10"), types.V040, types.V100, mustVersion("99.0.0")}, Plugins: onePlugin}},
		// AMB-010
		{"only cniVersions", `{"cniVersions":["0.4.0"],"name":"n","plugins":[{"type":"a"}]}`,
			types.Network{Name: "n", CNIVersion: types.V040, Offered: []types.Version{types.V040}, Plugins: onePlugin}},
		// CONF-014, AMB-024
		{"booleans as text", `{"cniVersion":"1.0.0","name":"n","disableCheck":"TRUE","disableGC":"False","loadOnlyInlinedPlugins":"true","plugins":[{"type":"a"}]}`,
			types.Network{Name: "n", CNIVersion: types.V100, Offered: []types.Version{types.V100}, DisableCheck: true, LoadOnlyInlinedPlugins: true, Plugins: onePlugin}},
		// CONF-013
		{"nulls", `{"cniVersion":"1.0.0","cniVersions":null,"name":"n","disableCheck":null,"disableGC":null,"loadOnlyInlinedPlugins":null,"plugins":[{"type":"a"}]}`,
			types.Network{Name: "n", CNIVersion: types.V100, Offered: []types.Version{types.V100}, Plugins: onePlugin}},
		// CONF-045
		{"other case", `{"CNIVERSION":"1.0.0","Name":"n","Plugins":[{"type":"a"}],"DISABLECHECK":true}`,
			types.Network{Name: "n", CNIVersion: types.V100, Offered: []types.Version{types.V100}, DisableCheck: true, Plugins: onePlugin}},
		{"exact spelling wins", `{"cniVersion":"1.0.0","CNIVersion":"0.4.0","NAME":"x","name":"n","Name":"y","plugins":[{"type":"a","TYPE":"b"}],"PLUGINS":5}`,
			types.Network{Name: "n", CNIVersion: types.V100, Offered: []types.Version{types.V100}, Plugins: []types.NetworkPlugin{{Type: "a", Raw: []byte(`{"type":"a","TYPE":"b"}`)}}}},
		// CONF-029, AMB-030
		{"what a runtime writes", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"},{"type":"a","PrevResult":{},"runtimeConfig":{},"cni.dev/x":1,"args":{}}]}`,
			types.Network{Name: "n", CNIVersion: types.V100, Offered: []types.Version{types.V100},
				Plugins: []types.NetworkPlugin{onePlugin[0], {Type: "a", Raw: []byte(`{"type":"a","PrevResult":{},"runtimeConfig":{},"cni.dev/x":1,"args":{}}`)}},
				Warnings: []string{"plugins[1].PrevResult: is for the runtime to write, and is left out",
					"plugins[1].runtimeConfig: is for the runtime to write, and is left out", "plugins[1].cni.dev/x: is for the runtime to write, and is left out"}}},
		// CONF-041, AMB-025, AMB-026, VER-013
		{"single plugin", `{"name": "n", "type": "a", "disableCheck": true, "DisableGC": "true", "x": [1, 2]}`,
			types.Network{Name: "n", CNIVersion: types.V010, Offered: []types.Version{types.V010}, DisableCheck: true, DisableGC: true, LoadOnlyInlinedPlugins: true,
				Plugins:  []types.NetworkPlugin{{Type: "a", Raw: []byte(`{"type":"a","x":[1, 2]}`)}},
				Warnings: []string{"the file holds a single plugin, which is deprecated; want a list with plugins"}}},
		{"single plugin of 1.0.0", `{"cniVersion":"1.0.0","name":"n","type":"a","prevResult":{}}`,
			types.Network{Name: "n", CNIVersion: types.V100, Offered: []types.Version{types.V100}, LoadOnlyInlinedPlugins: true,
				Plugins: []types.NetworkPlugin{{Type: "a", Raw: []byte(`{"type":"a","prevResult":{}}`)}},
				Warnings: []string{"prevResult: is for the runtime to write, and is left out",
					"the file holds a single plugin, which version 1.0.0 does not have any more; want a list with plugins"}}},
		// CONF-046
		{"keys of 1.1.0 in 1.0.0", `{"cniVersion":"1.0.0","name":"n","disableGC":true,"cniVersions":["0.4.0"],"plugins":[{"type":"a"}]}`,
			types.Network{Name: "n", CNIVersion: types.V100, Offered: []types.Version{types.V040, types.V100}, DisableGC: true, Plugins: onePlugin}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.want.Raw = []byte(strings.TrimSpace(tt.in))
			if diff := cmp.Diff(&tt.want, parseNetwork(t, tt.in)); diff != "" {
				t.Errorf("ParseNetwork mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func mustVersion(s string) types.Version {
	v, err := types.ParseVersion(s)
	if err != nil {
		panic(err)
	}
	return v
}

func TestParseNetwork_Errors(t *testing.T) {
	t.Parallel()
	list := func(members string) string { return `{"cniVersion":"1.1.0","name":"n",` + members + `}` }
	const plugins = `"plugins":[{"type":"a"}]`
	tests := []struct {
		name string
		in   string
		code types.Code
		want []string // parts of the text
	}{
		// CONF-001, CONF-044
		{"empty", ``, types.ErrDecodingFailure, []string{"not valid JSON"}},
		{"array", `[]`, types.ErrDecodingFailure, []string{"the document: [] ", "an object"}},
		{"null", `null`, types.ErrDecodingFailure, []string{"the document: null "}},
		{"comment", "{\n// x\n}", types.ErrDecodingFailure, []string{"line 2"}},
		{"trailing data", list(plugins) + `{}`, types.ErrDecodingFailure, []string{"line 1"}},
		{"not UTF-8", list(plugins + `,"x":"` + "\xff" + `"`), types.ErrDecodingFailure, []string{"UTF-8"}},
		// CONF-008, CONF-009, CONF-010
		{"no name", `{"cniVersion":"1.1.0",` + plugins + `}`, types.ErrInvalidNetworkConfig, []string{"name: is missing"}},
		{"empty name", `{"cniVersion":"1.1.0","name":"",` + plugins + `}`, types.ErrInvalidNetworkConfig, []string{"name: is empty"}},
		{"path as name", `{"cniVersion":"1.1.0","name":"../x",` + plugins + `}`, types.ErrInvalidNetworkConfig, []string{`name: "../x" `}},
		{"NUL in name", `{"cniVersion":"1.1.0","name":"a\u0000",` + plugins + `}`, types.ErrInvalidNetworkConfig, []string{`name: "a\x00" `}},
		{"number as name", `{"cniVersion":"1.1.0","name":5,` + plugins + `}`, types.ErrDecodingFailure, []string{`name: 5 `, "a string"}},
		// CONF-002, CONF-003
		{"number as version", `{"cniVersion":1.1,"name":"n",` + plugins + `}`, types.ErrDecodingFailure, []string{"cniVersion: 1.1 ", "a string"}},
		{"string as cniVersions", list(plugins + `,"cniVersions":"1.0.0"`), types.ErrDecodingFailure, []string{`cniVersions: "1.0.0" `, "an array"}},
		{"number in cniVersions", list(plugins + `,"cniVersions":["1.0.0",1]`), types.ErrDecodingFailure, []string{`cniVersions[1]: 1 `}},
		{"array in cniVersions", list(plugins + `,"cniVersions":[["1.0.0"]]`), types.ErrDecodingFailure, []string{`cniVersions[0]: […] `}},
		{"null in cniVersions", list(plugins + `,"cniVersions":[null]`), types.ErrDecodingFailure, []string{`cniVersions[0]: null `}},
		{"empty in cniVersions", list(plugins + `,"cniVersions":[""]`), types.ErrInvalidNetworkConfig, []string{`cniVersions[0]: is empty`}},
		// AMB-011
		{"decorated version", list(plugins + `,"cniVersions":["v1.0.0"]`), types.ErrIncompatibleCNIVersion, []string{`cniVersions[0]: version "v1.0.0": want three numbers`}},
		{"short version", `{"cniVersion":"1.0","name":"n",` + plugins + `}`, types.ErrIncompatibleCNIVersion, []string{`cniVersion: version "1.0": want three numbers`}},
		// AMB-010
		{"no version", `{"name":"n",` + plugins + `}`, types.ErrInvalidNetworkConfig, []string{"cniVersion: is missing"}},
		{"no version at all", `{"name":"n","cniVersion":"","cniVersions":[],` + plugins + `}`, types.ErrInvalidNetworkConfig, []string{"cniVersion: is missing"}},
		// CONF-007, AMB-009
		{"unknown versions", `{"cniVersion":"99.0.0","cniVersions":["98.0.0"],"name":"n",` + plugins + `}`, types.ErrIncompatibleCNIVersion,
			[]string{"offered 98.0.0, 99.0.0", "supported 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"}},
		// CONF-014
		{"yes", list(plugins + `,"disableCheck":"yes"`), types.ErrInvalidNetworkConfig, []string{`disableCheck: "yes" `, "true or false"}},
		{"number as flag", list(plugins + `,"disableGC":1`), types.ErrDecodingFailure, []string{`disableGC: 1 `, "true or false"}},
		{"object as flag", list(plugins + `,"loadOnlyInlinedPlugins":{}`), types.ErrDecodingFailure, []string{`loadOnlyInlinedPlugins: {} `}},
		// CONF-018
		{"inlined only, and none", list(`"loadOnlyInlinedPlugins":true`), types.ErrInvalidNetworkConfig, []string{"plugins: is missing", "loadOnlyInlinedPlugins"}},
		// CONF-023
		{"no plugins", list(`"x":1`), types.ErrInvalidNetworkConfig, []string{"plugins: is missing or empty"}},
		{"empty plugins", list(`"plugins":[]`), types.ErrInvalidNetworkConfig, []string{"plugins: is missing or empty"}},
		// CONF-025
		{"object as plugins", list(`"plugins":{}`), types.ErrDecodingFailure, []string{"plugins: {} ", "an array"}},
		{"string as plugins", list(`"plugins":"a"`), types.ErrDecodingFailure, []string{`plugins: "a" `}},
		{"null as plugins", list(`"plugins":null`), types.ErrDecodingFailure, []string{`plugins: null `}},
		{"null in plugins", list(`"plugins":[null]`), types.ErrDecodingFailure, []string{`plugins[0]: null `, "an object"}},
		{"string in plugins", list(`"plugins":[{"type":"a"},"b"]`), types.ErrDecodingFailure, []string{`plugins[1]: "b" `}},
		// CONF-026
		{"no type", list(`"plugins":[{"type":"a"},{"Typ":"b"}]`), types.ErrInvalidNetworkConfig, []string{"plugins[1].type: is missing"}},
		{"null type", list(`"plugins":[{"type":null}]`), types.ErrInvalidNetworkConfig, []string{"plugins[0].type: is missing"}},
		{"empty type", list(`"plugins":[{"type":""}]`), types.ErrInvalidNetworkConfig, []string{"plugins[0].type: is empty"}},
		{"number as type", list(`"plugins":[{"type":5}]`), types.ErrDecodingFailure, []string{"plugins[0].type: 5 "}},
		// CONF-027, AMB-021
		{"parent path as type", list(`"plugins":[{"type":"../p"}]`), types.ErrInvalidNetworkConfig, []string{`plugins[0].type: "../p" `}},
		{"absolute path as type", list(`"plugins":[{"type":"/bin/sh"}]`), types.ErrInvalidNetworkConfig, []string{`plugins[0].type: "/bin/sh" `}},
		{"backslash in type", list(`"plugins":[{"type":"a\\b"}]`), types.ErrInvalidNetworkConfig, []string{`plugins[0].type: "a\\b" `}},
		{"dots as type", list(`"plugins":[{"type":".."}]`), types.ErrInvalidNetworkConfig, []string{`plugins[0].type: ".." `}},
		// CONF-028
		{"array as capabilities", list(`"plugins":[{"type":"a","capabilities":["mac"]}]`), types.ErrDecodingFailure, []string{`plugins[0].capabilities: […] `}},
		{"text as capability", list(`"plugins":[{"type":"a","capabilities":{"mac":"yes"}}]`), types.ErrDecodingFailure, []string{`plugins[0].capabilities.mac: "yes" `}},
		{"single plugin with a bad type", `{"name":"n","type":"a/b"}`, types.ErrInvalidNetworkConfig, []string{`type: "a/b" `}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, err := types.ParseNetwork([]byte(tt.in))
			if n != nil {
				t.Errorf("ParseNetwork = %+v, want nil", n)
			}
			wantError(t, "ParseNetwork", err, tt.code, tt.want...)
		})
	}
}

// wantError checks that err has exactly this code and all parts in its text, and
// is one clean error object.
func wantError(t *testing.T, what string, err error, code types.Code, parts ...string) {
	t.Helper()
	var e *types.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s = %v, want a *types.Error", what, err)
	}
	if e.Code != code {
		t.Errorf("%s = %v (code %d), want code %d", what, err, e.Code, code)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s = %q, want %q in it", what, err, part)
		}
	}
	if !utf8.ValidString(err.Error()) {
		t.Errorf("%s = %q, which is not UTF-8", what, err)
	}
	again, decodeErr := types.DecodeError(e.Encode())
	if decodeErr != nil || again.Code != code || again.Msg == "" {
		t.Errorf("DecodeError(%s) = %+v, %v, want code %d and a message", e.Encode(), again, decodeErr, code)
	}
}

// A runtime that supports less can choose again.
func TestNetwork_OtherVersion(t *testing.T) {
	t.Parallel()
	n := parseNetwork(t, `{"cniVersions":["0.4.0","1.0.0","1.1.0"],"name":"n","plugins":[{"type":"a"}]}`)
	var err error
	// CONF-005
	n.CNIVersion, err = types.Negotiate(n.Offered, []types.Version{types.V031, types.V040})
	if err != nil || n.CNIVersion != types.V040 {
		t.Fatalf("Negotiate(%v) = %v, %v, want 0.4.0", n.Offered, n.CNIVersion, err)
	}
	request, err := n.Request(0, types.RequestParams{Command: types.CommandAdd})
	if want := `{"cniVersion":"0.4.0","name":"n","type":"a"}`; err != nil || string(request) != want {
		t.Errorf("Request = %s, %v, want %s", request, err, want)
	}
}

// Appending to what a network holds must not change its neighbours.
func TestParseNetwork_Capacity(t *testing.T) {
	t.Parallel()
	n := parseNetwork(t, `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"},{"type":"b"}]}`)
	_ = append(n.Plugins[0].Raw, "xxxxxxx"...)
	if got, want := string(n.Plugins[1].Raw), `{"type":"b"}`; got != want {
		t.Errorf("Plugins[1].Raw = %s, want %s", got, want)
	}
	if !slices.Equal(n.Plugins[0].Raw, []byte(`{"type":"a"}`)) {
		t.Errorf("Plugins[0].Raw = %s", n.Plugins[0].Raw)
	}
}
