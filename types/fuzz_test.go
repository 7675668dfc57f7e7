// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/types"
)

// jsonDocs are documents that look hard to a reader of JSON.
func jsonDocs() []string {
	return []string{
		``, `{}`, `[]`, `null`, `{"name":"n"}`, ` { "name" : "n" , "x" : [ ] } `, `{"name":"n","a":{},"b":[[],[[]],{"c":{"d":[1,{"e":"}]\""}]}}]}`,
		`{"name":"n","s":"\\","t":"\\\"","u":"\u0022\u005c","v":"[{,}]","w":" "}`, `{"name":"n","":"","\u0000":"\ud800","\ud83d\ude00":"😀"}`,
		`{"name":"n","x":-0,"y":1E+400,"z":0.1e-5,"t":true,"f":false,"n":null}`, "{\"name\":\"n\"\t\r\n,\"bridge\"\n:\t5\r}",
		`{"name":"n","NAME":"m","Name":"l","bridge":"a","Bridge":"b","list":[{"key":1},{"KEY":2}]}`, `{"name":"n","name":1}`,
		`{"name":"n","mtu":1,"MTU":2,"map":{"a":{"key":"x","Key":5}},"runtimeConfig":{"mac":"zz","portMappings":[{"hostPort":0}]}}`,
		`{"cniVersion":"0.4.0","name":"n","type":"t","ipam":{"type":"i"},"dns":{"search":[]},"prevResult":{"ips":[{"version":"4","address":"10.0.0.2/24","interface":-1}]}}`,
		`{"name":"n","cni.dev/valid-attachments":[{"containerID":"a","ifname":"b"}],"cni.dev/attachments":null}`,
		"{\"name\":\"n\",\"\u212aey\":1,\"ſ\":2}", `{"name":"n","level":"bad","loud":"quiet","when":5,"any":{"a":[{"b":1}]},"array":[1,2,3],"inEmbedded":"x"}`,
	}
}

// FuzzPluginConfig reads whatever comes as a request, in every way.
func FuzzPluginConfig(f *testing.F) {
	for _, doc := range jsonDocs() {
		f.Add([]byte(doc))
	}
	f.Add(benchRequest())
	f.Fuzz(func(t *testing.T, data []byte) {
		before := string(data)
		c, err := types.ParsePluginConfig(data)
		if err != nil {
			if c != nil {
				t.Fatalf("ParsePluginConfig = %+v and %v, want one of them", c, err)
			}
			wantCoded(t, err)
			return
		}
		if types.ValidateNetworkName(c.Name) != nil || c.Type != "" && types.ValidatePluginType(c.Type) != nil || c.IPAM.Type != "" && types.ValidatePluginType(c.IPAM.Type) != nil {
			t.Errorf("ParsePluginConfig accepts the names %q, %q, %q", c.Name, c.Type, c.IPAM.Type)
		}
		if r, err := c.PrevResult(); err != nil {
			wantCoded(t, err)
			if r != nil {
				t.Error("PrevResult gives a result and an error")
			}
		}
		if all, err := c.ValidAttachments(); err != nil {
			wantCoded(t, err)
		} else if all == nil {
			t.Error("ValidAttachments = nil, nil, want a list")
		}
		var strict, plain, lenient conf
		err = c.Decode(&plain)
		if err != nil {
			wantCoded(t, err)
		}
		if strictErr := c.DecodeStrict(&strict); strictErr != nil {
			wantCoded(t, strictErr)
		} else if err != nil {
			t.Errorf("Decode = %v, DecodeStrict = nil", err)
		}
		bad := c.DecodeLenient(&lenient)
		if (err == nil) != (len(bad) == 0) {
			t.Errorf("Decode = %v, DecodeLenient = %v, want them alike", err, bad)
		}
		if err == nil && !reflect.DeepEqual(plain, lenient) {
			t.Errorf("Decode = %+v, DecodeLenient = %+v", plain, lenient)
		}
		var caps types.RuntimeConfig
		for name := range c.RuntimeConfig {
			if target := targetOf(&caps, name); target != nil {
				if _, err := c.Capability(name, target); err != nil && !errors.Is(err, types.ErrInvalidNetworkConfig) {
					t.Errorf("Capability(%q) = %v, want code 7", name, err)
				}
			}
		}
		checkAgainstStandard(t, c)
		if string(data) != before {
			t.Error("reading changed the input")
		}
	})
}

// checkAgainstStandard compares what our reader found with what encoding/json
// finds under the exact keys.
func checkAgainstStandard(t *testing.T, c *types.PluginConfig) {
	t.Helper()
	members := standardMembers(t, c.Raw)
	var name string
	if raw, ok := members["name"]; ok && string(raw) != "null" {
		if err := json.Unmarshal(raw, &name); err != nil || name != c.Name {
			t.Errorf("Name = %q, encoding/json has %s", c.Name, raw)
		}
	}
	raw, ok := members["runtimeConfig"]
	if !ok || string(raw) == "null" {
		return
	}
	values := standardMembers(t, raw)
	for key, value := range values {
		if got, ok := c.RuntimeConfig[key]; ok != (string(value) != "null") || ok && string(got) != string(value) {
			t.Errorf("RuntimeConfig[%q] = %s, encoding/json has %s", key, got, value)
		}
	}
	for key := range c.RuntimeConfig {
		if _, ok := values[key]; !ok {
			t.Errorf("RuntimeConfig[%q] is not in %s", key, raw)
		}
	}
}

func standardMembers(t *testing.T, raw json.RawMessage) (members map[string]json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatalf("%q is not an object: %v", raw, err)
	}
	return members
}

// wantCoded checks that an error is one clean error object.
func wantCoded(t *testing.T, err error) {
	t.Helper()
	var e *types.Error
	if !errors.As(err, &e) || e.Code == 0 || e.Code == types.ErrInternal || e.Msg == "" {
		t.Fatalf("error %v, want a *types.Error with code and message", err)
	}
	if strings.HasPrefix(e.Msg, ":") || strings.HasPrefix(e.Msg, ".") || strings.Contains(e.Msg, "(value)") || strings.ContainsAny(e.Msg, "\n\x00") {
		t.Fatalf("message %q is not one clean line with a path", e.Msg)
	}
	if back, err := types.DecodeError(e.Encode()); err != nil || back.Code != e.Code {
		t.Fatalf("DecodeError(%s) = %+v, %v", e.Encode(), back, err)
	}
}

// FuzzDecodeResult checks that decode, encode, decode is stable in every version.
func FuzzDecodeResult(f *testing.F) {
	for _, doc := range goldenResults() {
		for i := range types.Versions() {
			f.Add([]byte(doc), uint(i))
		}
	}
	for _, doc := range []string{`{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","x":1,"routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"ip":"fd00::2/64"},"y":1}`,
		`{"cniVersion":"0.3.0","ip":[{"version":"4","address":"10.0.0.2/24"}]}`, `{"ips":[{"address":"::ffff:10.0.0.2/120","gateway":""}],"IPS":5,"dns":{"search":[]}}`,
		`{"interfaces":[{"name":"a","Name":"b","x":null}],"ips":[{"address":"10.0.0.2/24","interface":-1}],"routes":[{"dst":"10.1.2.3/8","gw":"10.0.0.1"}]}`} {
		f.Add([]byte(doc), uint(5))
	}
	f.Fuzz(func(t *testing.T, data []byte, version uint) {
		v := types.Versions()[version%7]
		r, err := types.DecodeResult(data, v)
		if err != nil {
			wantCoded(t, err)
			if r != nil {
				t.Fatal("DecodeResult gives a result and an error")
			}
			return
		}
		for _, to := range types.Versions() {
			first, err := r.Encode(to)
			if err != nil {
				wantCoded(t, err)
				continue
			}
			again, err := types.DecodeResult(first, 0)
			if err != nil {
				t.Fatalf("DecodeResult(%s) = %v, want nil", first, err)
			}
			second, err := again.Encode(to)
			if err != nil || string(second) != string(first) {
				t.Fatalf("Encode(DecodeResult(%s)) = %s, %v, want the same", first, second, err)
			}
			if lost := r.Lost(to); len(lost) == 0 {
				back, err := again.Encode(types.Newest)
				want, wantErr := r.Encode(types.Newest)
				if to >= types.V030 && (err != nil || wantErr != nil || string(back) != string(want)) {
					t.Fatalf("%s by %v = %s, %v, want the same since nothing is lost", want, to, back, err)
				}
			}
		}
	})
}

// FuzzParseNetwork checks that what is loaded makes requests that can be read.
func FuzzParseNetwork(f *testing.F) {
	for _, doc := range jsonDocs() {
		f.Add([]byte(doc))
		f.Add([]byte(`{"cniVersion":"1.1.0","name":"n","plugins":[` + doc + `]}`))
	}
	f.Add([]byte(`{"cniVersions":["0.4.0","1.0.0"],"name":"n","disableCheck":"TRUE","plugins":[{"type":"a","capabilities":{"mac":true,"x":false},"cni.dev/x":1,"PREVRESULT":{}}]}`))
	f.Add([]byte(`{"name":"n","type":"a","disableGC":true,"\u0078":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := types.ParseNetwork(data)
		if err != nil {
			wantCoded(t, err)
			if n != nil {
				t.Fatal("ParseNetwork gives a network and an error")
			}
			return
		}
		if types.ValidateNetworkName(n.Name) != nil || !n.CNIVersion.Known() || len(n.Plugins) == 0 {
			t.Fatalf("ParseNetwork = %+v", n)
		}
		if raw, ok := standardMembers(t, n.Raw)["plugins"]; ok {
			var plugins []json.RawMessage
			if err := json.Unmarshal(raw, &plugins); err != nil || len(plugins) != len(n.Plugins) {
				t.Fatalf("%d plugins, encoding/json has %s, %v", len(n.Plugins), raw, err)
			}
			for i, p := range n.Plugins {
				if string(p.Raw) != string(plugins[i]) {
					t.Fatalf("Plugins[%d].Raw = %s, encoding/json has %s", i, p.Raw, plugins[i])
				}
			}
		}
		for i, p := range n.Plugins {
			if types.ValidatePluginType(p.Type) != nil {
				t.Fatalf("plugin %d has the type %q", i, p.Type)
			}
			request, err := n.Request(i, types.RequestParams{Command: types.CommandAdd, Capabilities: map[string]json.RawMessage{"mac": json.RawMessage(`""`)}})
			if err != nil {
				t.Fatalf("Request(%d) = %v, want nil", i, err)
			}
			c, err := types.ParsePluginConfig(request)
			if err != nil {
				// The plugin's own part may be wrong, and the request is for it to judge.
				wantCoded(t, err)
				if !json.Valid(request) {
					t.Fatalf("Request(%d) = %s, which is not JSON", i, request)
				}
				continue
			}
			if c.Name != n.Name || c.Type != p.Type || c.CNIVersion != n.CNIVersion {
				t.Fatalf("Request(%d) = %s, want %q, %q, %v", i, request, n.Name, p.Type, n.CNIVersion)
			}
			if prev, err := c.PrevResult(); prev != nil || err != nil {
				t.Fatalf("Request(%d) = %s, with a prevResult", i, request)
			}
			if _, err := c.ValidAttachments(); err == nil {
				t.Fatalf("Request(%d) = %s, with attachments", i, request)
			}
		}
	})
}

func FuzzDecodeVersionInfo(f *testing.F) {
	for _, doc := range append(jsonDocs(), `{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.1.0"]}`, `{"cniVersion":"0.2.0"}`) {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := types.DecodeError(data); err == nil {
			if again, err := types.DecodeError(e.Encode()); err != nil || string(again.Encode()) != string(e.Encode()) {
				t.Fatalf("DecodeError(%s) = %+v, %v, want it stable", e.Encode(), again, err)
			}
		} else {
			wantCoded(t, err)
		}
		info, err := types.DecodeVersionInfo(data)
		if err != nil {
			wantCoded(t, err)
			return
		}
		again, err := types.DecodeVersionInfo(info.Encode())
		if err != nil || !cmp.Equal(again, info) {
			t.Fatalf("DecodeVersionInfo(%s) = %+v, %v, want %+v", info.Encode(), again, err, info)
		}
	})
}
