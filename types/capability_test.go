// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/types"
)

// compareNetip lets go-cmp look at addresses, which have no exported fields.
var compareNetip = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// A capabilityConf is a plugin's configuration with every capability.
type capabilityConf struct {
	RuntimeConfig types.RuntimeConfig `json:"runtimeConfig"`
}

// pluginConfig reads a request with the given runtimeConfig.
func pluginConfig(t *testing.T, runtimeConfig string) *types.PluginConfig {
	t.Helper()
	c, err := types.ParsePluginConfig([]byte(`{"cniVersion":"1.1.0","name":"n","type":"t","runtimeConfig":` + runtimeConfig + `}`))
	if err != nil {
		t.Fatalf("ParsePluginConfig(runtimeConfig %s) = %v, want nil", runtimeConfig, err)
	}
	return c
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// CAP-001: the conventional shape of every capability.
func TestRuntimeConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want types.RuntimeConfig
	}{
		{"nothing", `{}`, types.RuntimeConfig{}},
		{"null", `null`, types.RuntimeConfig{}},
		{"every capability", `{
			"portMappings": [{"hostPort": 30080, "containerPort": 8000, "protocol": "tcp", "hostIP": "192.0.2.1"}],
			"ipRanges": [[{"subnet": "198.51.100.0/24", "rangeStart": "198.51.100.20", "rangeEnd": "198.51.100.29", "gateway": "198.51.100.1"}],
				[{"subnet": "fd00:1::/64"}]],
			"bandwidth": {"ingressRate": 1000000, "ingressBurst": 80000, "egressRate": 2000000, "egressBurst": 160000},
			"dns": {"servers": ["192.0.2.53"], "searches": ["svc.example"], "options": ["ndots:5"]},
			"ips": ["192.0.2.10/24", "2001:db8::10/64", "192.0.2.11"],
			"mac": "02:00:5e:10:00:01",
			"infinibandGUID": "02:00:5e:10:00:01:00:0a",
			"deviceID": "0000:3b:02.1",
			"aliases": ["cache", "cache-0"],
			"cgroupPath": "/kubelet.slice/pod1.slice",
			"io.kubernetes.cri.pod-annotations": {"a": "b"},
			"CNIDeviceInfoFile": "/run/info"
		}`, types.RuntimeConfig{
			PortMappings: types.PortMappings{{HostPort: 30080, ContainerPort: 8000, Protocol: "tcp", HostIP: addr("192.0.2.1")}},
			IPRanges: types.IPRanges{
				{{Subnet: prefix("198.51.100.0/24"), RangeStart: addr("198.51.100.20"), RangeEnd: addr("198.51.100.29"), Gateway: addr("198.51.100.1")}},
				{{Subnet: prefix("fd00:1::/64")}},
			},
			Bandwidth:      types.Bandwidth{IngressRate: 1000000, IngressBurst: 80000, EgressRate: 2000000, EgressBurst: 160000},
			DNS:            types.RuntimeDNS{Servers: []string{"192.0.2.53"}, Searches: []string{"svc.example"}, Options: []string{"ndots:5"}},
			IPs:            []types.IPRequest{{addr("192.0.2.10"), 24}, {addr("2001:db8::10"), 64}, {addr("192.0.2.11"), 0}},
			MAC:            types.MAC{2, 0, 0x5e, 0x10, 0, 1},
			InfinibandGUID: types.GUID{2, 0, 0x5e, 0x10, 0, 1, 0, 0x0a},
			DeviceID:       "0000:3b:02.1",
			Aliases:        types.Aliases{Names: []string{"cache", "cache-0"}},
			CgroupPath:     "/kubelet.slice/pod1.slice",
			PodAnnotations: map[string]string{"a": "b"},
			DeviceInfoFile: "/run/info",
		}},
		// CAP-003, AMB-100: what a widespread runtime library sends, whose structs have
		// no tags.
		{"capital keys", `{
			"portMappings": [{"HostPort": 80, "ContainerPort": 8080, "Protocol": "UDP", "HostIP": ""}],
			"ipRanges": [{"Subnet": "10.1.0.0/16", "RangeStart": "10.1.0.5", "RangeEnd": "", "Gateway": ""}],
			"bandwidth": {"IngressRate": 8, "IngressBurst": 16, "EgressRate": 0, "EgressBurst": 0},
			"dns": {"Servers": ["192.0.2.53"], "Searches": null, "Options": []}
		}`, types.RuntimeConfig{
			PortMappings: types.PortMappings{{HostPort: 80, ContainerPort: 8080, Protocol: "udp"}},
			IPRanges:     types.IPRanges{{{Subnet: prefix("10.1.0.0/16"), RangeStart: addr("10.1.0.5")}}},
			Bandwidth:    types.Bandwidth{IngressRate: 8, IngressBurst: 16},
			DNS:          types.RuntimeDNS{Servers: []string{"192.0.2.53"}, Options: []string{}},
		}},
		// CAP-007
		{"unknown keys", `{"x-cnitest": 1, "portMappings": [{"hostPort": 1, "containerPort": 2, "x": []}], "bandwidth": {"x": 1}}`,
			types.RuntimeConfig{PortMappings: types.PortMappings{{HostPort: 1, ContainerPort: 2, Protocol: "tcp"}}}},
		// AMB-099
		{"aliases by network", `{"aliases": {"n": ["a"], "o": ["b"], "m": [], "o": null}}`,
			types.RuntimeConfig{Aliases: types.Aliases{ByNetwork: map[string][]string{"n": {"a"}, "m": {}}}}},
		// CAP-010, AMB-102
		{"protocols", `{"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": "SCTP"}, {"hostPort": 1, "containerPort": 1, "protocol": "Tcp"},
			{"hostPort": 1, "containerPort": 1, "protocol": "udp"}, {"hostPort": 65535, "containerPort": 65535, "protocol": ""}]}`,
			types.RuntimeConfig{PortMappings: types.PortMappings{{HostPort: 1, ContainerPort: 1, Protocol: "sctp"}, {HostPort: 1, ContainerPort: 1, Protocol: "tcp"},
				{HostPort: 1, ContainerPort: 1, Protocol: "udp"}, {HostPort: 65535, ContainerPort: 65535, Protocol: "tcp"}}}},
		// CAP-011
		{"exact duplicate", `{"portMappings": [{"hostPort": 1, "containerPort": 2, "hostIP": "10.0.0.1"}, null,
			{"hostPort": 1, "containerPort": 2, "protocol": "TCP", "hostIP": "::ffff:10.0.0.1"}]}`,
			types.RuntimeConfig{PortMappings: types.PortMappings{{HostPort: 1, ContainerPort: 2, Protocol: "tcp", HostIP: addr("10.0.0.1")}}}},
		{"one port on two addresses", `{"portMappings": [{"hostPort": 1, "containerPort": 2, "hostIP": "10.0.0.1"}, {"hostPort": 1, "containerPort": 3, "hostIP": "10.0.0.2"}]}`,
			types.RuntimeConfig{PortMappings: types.PortMappings{{HostPort: 1, ContainerPort: 2, Protocol: "tcp", HostIP: addr("10.0.0.1")},
				{HostPort: 1, ContainerPort: 3, Protocol: "tcp", HostIP: addr("10.0.0.2")}}}},
		// CAP-013: one pool an element.
		{"pools of alternatives", `{"ipRanges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "10.0.1.0/24"}], [], null, {"subnet": "10.0.2.0/24"}]}`,
			types.RuntimeConfig{IPRanges: types.IPRanges{{{Subnet: prefix("10.0.0.0/24")}, {Subnet: prefix("10.0.1.0/24")}}, {{Subnet: prefix("10.0.2.0/24")}}}}},
		// RES-042
		{"IPv4-mapped addresses", `{"ips": ["::ffff:10.0.0.5", "::ffff:10.0.0.6/120"], "ipRanges": [[{"subnet": "::ffff:10.0.0.0/120", "gateway": "::ffff:10.0.0.1"}]]}`,
			types.RuntimeConfig{IPs: []types.IPRequest{{addr("10.0.0.5"), 0}, {addr("10.0.0.6"), 24}},
				IPRanges: types.IPRanges{{{Subnet: prefix("10.0.0.0/24"), Gateway: addr("10.0.0.1")}}}}},
		{"other spellings of hardware addresses", `{"mac": "02-00-5E-10-00-01", "infinibandGUID": "02-00-5E-10-00-01-00-0A"}`,
			types.RuntimeConfig{MAC: types.MAC{2, 0, 0x5e, 0x10, 0, 1}, InfinibandGUID: types.GUID{2, 0, 0x5e, 0x10, 0, 1, 0, 0x0a}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var conf capabilityConf
			if err := pluginConfig(t, tt.in).Decode(&conf); err != nil {
				t.Fatalf("Decode = %v, want nil", err)
			}
			if diff := cmp.Diff(tt.want, conf.RuntimeConfig, compareNetip); diff != "" {
				t.Errorf("Decode mismatch (-want +got):\n%s", diff)
			}
			data, err := json.Marshal(conf.RuntimeConfig)
			if err != nil {
				t.Fatalf("Marshal = %v, want nil", err)
			}
			var again types.RuntimeConfig
			if err := json.Unmarshal(data, &again); err != nil {
				t.Fatalf("Unmarshal(%s) = %v, want nil", data, err)
			}
			more, err := json.Marshal(again)
			if err != nil || string(more) != string(data) {
				t.Errorf("Marshal(Unmarshal(%s)) = %s, %v, want the same", data, more, err)
			}
		})
	}
}

// CAP-008: an empty value of each capability, and null, request nothing.
func TestRuntimeConfig_Empty(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		`{}`, `null`,
		`{"portMappings": [], "ipRanges": [], "bandwidth": {}, "dns": {}, "ips": [], "mac": "", "infinibandGUID": "", "deviceID": "", "aliases": [], "cgroupPath": ""}`,
		`{"portMappings": null, "ipRanges": null, "bandwidth": null, "dns": null, "ips": null, "mac": null, "infinibandGUID": null, "deviceID": null, "aliases": null, "cgroupPath": null}`,
		`{"portMappings": [null], "ipRanges": [[], null], "bandwidth": {"ingressRate": 0}, "dns": {"servers": []}, "aliases": {}}`,
	} {
		var conf capabilityConf
		if err := pluginConfig(t, in).Decode(&conf); err != nil {
			t.Errorf("Decode(%s) = %v, want nil", in, err)
		}
		if !conf.RuntimeConfig.IsZero() {
			t.Errorf("Decode(%s).IsZero() = false (%+v), want true", in, conf.RuntimeConfig)
		}
	}
}

func TestRuntimeConfig_IsZero(t *testing.T) {
	t.Parallel()
	for _, c := range []types.RuntimeConfig{
		{PortMappings: types.PortMappings{{}}}, {IPRanges: types.IPRanges{{}}}, {Bandwidth: types.Bandwidth{EgressRate: 1}},
		{DNS: types.RuntimeDNS{Options: []string{"a"}}}, {IPs: []types.IPRequest{{}}}, {MAC: types.MAC{1}}, {InfinibandGUID: types.GUID{1}},
		{DeviceID: "d"}, {Aliases: types.Aliases{Names: []string{"a"}}}, {CgroupPath: "/"}, {PodAnnotations: map[string]string{"a": ""}}, {DeviceInfoFile: "f"},
	} {
		if c.IsZero() {
			t.Errorf("%+v.IsZero() = true, want false", c)
		}
	}
}

// CAP-004, AMB-102: what is malformed is an error of code 7 that names the path
// and the value, whichever way it is read.
func TestRuntimeConfig_Malformed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		capability string
		value      string
		want       []string // parts of the message
	}{
		{"portMappings", `5`, []string{"runtimeConfig.portMappings: 5 ", "an array"}},
		{"portMappings", `{"hostPort":1}`, []string{"runtimeConfig.portMappings: ", "an array"}},
		{"portMappings", `["x"]`, []string{`runtimeConfig.portMappings[0]: "x" `, "an object"}},
		{"portMappings", `[{"hostPort":1,"containerPort":1},{"hostPort":0,"containerPort":80}]`, []string{"runtimeConfig.portMappings[1].hostPort: 0 ", "1 to 65535"}},
		{"portMappings", `[{"hostPort":70000,"containerPort":80}]`, []string{"runtimeConfig.portMappings[0].hostPort: 70000 ", "1 to 65535"}},
		{"portMappings", `[{"hostPort":80,"containerPort":-1}]`, []string{"runtimeConfig.portMappings[0].containerPort: -1 ", "1 to 65535"}},
		{"portMappings", `[{"hostPort":"80","containerPort":1}]`, []string{`runtimeConfig.portMappings[0].hostPort: "80" `}},
		{"portMappings", `[{"hostPort":80.5,"containerPort":1}]`, []string{`runtimeConfig.portMappings[0].hostPort: 80.5 `}},
		{"portMappings", `[{"containerPort":1}]`, []string{"runtimeConfig.portMappings[0].hostPort: is missing"}},
		{"portMappings", `[{"hostPort":1,"containerPort":null}]`, []string{"runtimeConfig.portMappings[0].containerPort: is missing"}},
		// CAP-010
		{"portMappings", `[{"hostPort":1,"containerPort":1,"protocol":"icmp"}]`, []string{`runtimeConfig.portMappings[0].protocol: "icmp" `, `"tcp", "udp" or "sctp"`}},
		{"portMappings", `[{"hostPort":1,"containerPort":1,"protocol":6}]`, []string{`runtimeConfig.portMappings[0].protocol: 6 `}},
		{"portMappings", `[{"hostPort":1,"containerPort":1,"hostIP":"10.0.0.1/24"}]`, []string{`runtimeConfig.portMappings[0].hostIP: "10.0.0.1/24" `}},
		{"portMappings", `[{"hostPort":1,"containerPort":1,"hostIP":"fe80::1%eth0"}]`, []string{`runtimeConfig.portMappings[0].hostIP: "fe80::1%eth0" `}},
		// CAP-011
		{"portMappings", `[{"hostPort":1,"containerPort":1},{"hostPort":1,"containerPort":2,"protocol":"TCP"}]`, []string{"runtimeConfig.portMappings[1]: ", "host port 1/tcp", "container port 1"}},
		{"ipRanges", `"10.0.0.0/24"`, []string{`runtimeConfig.ipRanges: "10.0.0.0/24" `, "an array"}},
		{"ipRanges", `[[{"rangeStart":"10.0.0.1"}]]`, []string{"runtimeConfig.ipRanges[0][0].subnet: is missing"}},
		{"ipRanges", `[[{"subnet":"10.0.0.0"}]]`, []string{`runtimeConfig.ipRanges[0][0].subnet: "10.0.0.0" `}},
		{"ipRanges", `[[{"subnet":""}]]`, []string{`runtimeConfig.ipRanges[0][0].subnet: "" `}},
		{"ipRanges", `[[],[{"subnet":"10.0.0.0/24","gateway":"x"}]]`, []string{`runtimeConfig.ipRanges[1][0].gateway: "x" `}},
		{"ipRanges", `[[null]]`, []string{`runtimeConfig.ipRanges[0][0]: null `}},
		{"ipRanges", `[7]`, []string{`runtimeConfig.ipRanges[0]: 7 `}},
		{"bandwidth", `[]`, []string{`runtimeConfig.bandwidth: [] `, "an object"}},
		{"bandwidth", `{"ingressRate":-1}`, []string{`runtimeConfig.bandwidth.ingressRate: -1 `}},
		// CAP-016, AMB-101
		{"bandwidth", `{"ingressRate":8}`, []string{"runtimeConfig.bandwidth.ingressBurst: ", "ingressRate is not"}},
		{"bandwidth", `{"egressBurst":8}`, []string{"runtimeConfig.bandwidth.egressRate: ", "egressBurst is not"}},
		{"bandwidth", `{"egressRate":8,"egressBurst":34359738360}`, []string{"runtimeConfig.bandwidth.egressBurst: 34359738360 "}},
		{"dns", `{"servers":"192.0.2.53"}`, []string{`runtimeConfig.dns.servers: "192.0.2.53" `, "an array"}},
		{"dns", `{"searches":[1]}`, []string{`runtimeConfig.dns.searches[0]: 1 `}},
		{"ips", `"10.0.0.1"`, []string{`runtimeConfig.ips: "10.0.0.1" `, "an array"}},
		{"ips", `["10.0.0.1","10.0.0.1/33"]`, []string{`runtimeConfig.ips[1]: "10.0.0.1/33" `}},
		{"ips", `["10.0.0.1/0"]`, []string{`runtimeConfig.ips[0]: "10.0.0.1/0" `}},
		{"ips", `["fe80::1%eth0"]`, []string{`runtimeConfig.ips[0]: "fe80::1%eth0" `}},
		{"ips", `[5]`, []string{`runtimeConfig.ips[0]: 5 `, "a string"}},
		{"mac", `"zz"`, []string{`runtimeConfig.mac: "zz" `, "6 bytes"}},
		{"mac", `"00:00:00:00:00:00"`, []string{`runtimeConfig.mac: "00:00:00:00:00:00" `, "not all zero"}},
		{"mac", `"02:00:5e:10:00:01:00:0a"`, []string{`runtimeConfig.mac: "02:00:5e:10:00:01:00:0a" `}},
		{"mac", `"02:00:5e-10:00:01"`, []string{`runtimeConfig.mac: "02:00:5e-10:00:01" `}},
		{"mac", `["02:00:5e:10:00:01"]`, []string{`runtimeConfig.mac: […] `, "a string"}},
		{"infinibandGUID", `"02:00:5e:10:00:01"`, []string{`runtimeConfig.infinibandGUID: "02:00:5e:10:00:01" `, "8 bytes"}},
		{"deviceID", `5`, []string{`runtimeConfig.deviceID: 5 `, "a string"}},
		{"aliases", `"a"`, []string{`runtimeConfig.aliases: "a" `}},
		{"aliases", `[1]`, []string{`runtimeConfig.aliases[0]: 1 `}},
		{"aliases", `{"n":"a"}`, []string{`runtimeConfig.aliases.n: "a" `}},
		{"cgroupPath", `[]`, []string{`runtimeConfig.cgroupPath: [] `}},
	}
	for _, tt := range tests {
		t.Run(tt.capability+" "+tt.value, func(t *testing.T) {
			t.Parallel()
			c := pluginConfig(t, `{"`+tt.capability+`":`+tt.value+`}`)
			check := func(way string, err error) {
				t.Helper()
				if !errors.Is(err, types.ErrInvalidNetworkConfig) || errors.Is(err, types.ErrDecodingFailure) {
					t.Errorf("%s = %v, want code 7", way, err)
					return
				}
				for _, part := range tt.want {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%s = %q, want %q in it", way, err, part)
					}
				}
			}
			var conf capabilityConf
			check("Decode", c.Decode(&conf))
			present, err := c.Capability(tt.capability, targetOf(&conf.RuntimeConfig, tt.capability))
			if !present {
				t.Errorf("Capability(%q) is absent, want present", tt.capability)
			}
			check("Capability", err)
		})
	}
}

// targetOf returns the field of c that takes a capability.
func targetOf(c *types.RuntimeConfig, capability string) any {
	return map[string]any{
		"portMappings": &c.PortMappings, "ipRanges": &c.IPRanges, "bandwidth": &c.Bandwidth, "dns": &c.DNS, "ips": &c.IPs, "mac": &c.MAC,
		"infinibandGUID": &c.InfinibandGUID, "deviceID": &c.DeviceID, "aliases": &c.Aliases, "cgroupPath": &c.CgroupPath,
	}[capability]
}

// The elements can be used without the lists of this package.
func TestPortMapping_PlainSlice(t *testing.T) {
	t.Parallel()
	var conf struct {
		RuntimeConfig struct {
			PortMappings []types.PortMapping `json:"portMappings"`
			IPRanges     [][]types.IPRange   `json:"ipRanges"`
		} `json:"runtimeConfig"`
	}
	c := pluginConfig(t, `{"portMappings":[{"HostPort":1,"ContainerPort":2}],"ipRanges":[[{"Subnet":"10.0.0.0/8"}]]}`)
	if err := c.Decode(&conf); err != nil {
		t.Fatalf("Decode = %v, want nil", err)
	}
	if got, want := conf.RuntimeConfig.PortMappings[0], (types.PortMapping{HostPort: 1, ContainerPort: 2, Protocol: "tcp"}); got != want {
		t.Errorf("PortMappings[0] = %+v, want %+v", got, want)
	}
	if got, want := conf.RuntimeConfig.IPRanges[0][0].Subnet, prefix("10.0.0.0/8"); got != want {
		t.Errorf("IPRanges[0][0].Subnet = %v, want %v", got, want)
	}
	for in, want := range map[string]string{
		`{"portMappings":[{"hostPort":1,"containerPort":2},{"hostPort":99999,"containerPort":2}]}`: "runtimeConfig.portMappings[1].hostPort: 99999 ",
		`{"ipRanges":[[{"subnet":"10.0.0.0/8"},{"subnet":"x"}]]}`:                                  `runtimeConfig.ipRanges[0][1].subnet: "x" `,
	} {
		err := pluginConfig(t, in).Decode(&conf)
		if !errors.Is(err, types.ErrInvalidNetworkConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("Decode(%s) = %v, want code 7 with %q", in, err, want)
		}
	}
}

// A malformed value outside runtimeConfig is code 7 too, and names its place.
func TestCapability_Elsewhere(t *testing.T) {
	t.Parallel()
	var conf struct {
		Ranges []types.IPRange `json:"ranges"`
		MAC    types.MAC       `json:"mac"`
		DNS    types.DNS       `json:"dns"`
	}
	for in, want := range map[string]string{
		`"ranges":[{"subnet":5}]`: `ranges[0].subnet: 5 is not valid; want a string`,
		`"mac":"x"`:               `mac: "x" is not valid`,
	} {
		c, err := types.ParsePluginConfig([]byte(`{"name":"n",` + in + `}`))
		if err != nil {
			t.Fatalf("ParsePluginConfig(%s) = %v, want nil", in, err)
		}
		err = c.Decode(&conf)
		if !errors.Is(err, types.ErrInvalidNetworkConfig) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Decode(%s) = %v, want code 7 with %q first", in, err, want)
		}
	}
	// A type that fails on its own, away from PluginConfig, still names the member.
	err := json.Unmarshal([]byte(`{"ranges":[{"subnet":"x"}]}`), &conf)
	if err == nil || !strings.Contains(err.Error(), `(value).subnet: "x"`) {
		t.Errorf("Unmarshal = %v, want the member in it", err)
	}
}

// CAP-006, CONF-045: the name of a capability matches ignoring case, exact first.
func TestPluginConfig_Capability(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, runtimeConfig string
		want                string
		present             bool
	}{
		{"absent", `{}`, "", false},
		{"empty key is another one", `{"":"x"}`, "", false},
		{"null", `{"deviceID":null}`, "", false},
		{"null after a value", `{"deviceID":"x","deviceID":null}`, "", false},
		{"exact", `{"deviceID":"x"}`, "x", true},
		{"other case", `{"DeviceId":"x"}`, "x", true},
		{"exact wins over other case", `{"deviceID":"x","DeviceId":"y"}`, "x", true},
		{"last of equals", `{"deviceID":"x","deviceID":"y"}`, "y", true},
		{"empty", `{"deviceID":""}`, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got string
			present, err := pluginConfig(t, tt.runtimeConfig).Capability("deviceID", &got)
			if present != tt.present || got != tt.want || err != nil {
				t.Errorf("Capability = %q, %v, %v, want %q, %v, nil", got, present, err, tt.want, tt.present)
			}
		})
	}
}

// CAP-018, AMB-103
func TestRuntimeDNS_DNS(t *testing.T) {
	t.Parallel()
	configured := types.DNS{Nameservers: []string{"192.0.2.1"}, Domain: "example", Search: []string{"a"}, Options: []string{"rotate"}}
	asked := types.RuntimeDNS{Servers: []string{"192.0.2.2"}, Searches: []string{"b"}, Options: []string{"ndots:5"}}
	want := types.DNS{Nameservers: []string{"192.0.2.2"}, Domain: "example", Search: []string{"b"}, Options: []string{"ndots:5"}}
	if diff := cmp.Diff(want, asked.DNS(configured)); diff != "" {
		t.Errorf("DNS mismatch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(configured, types.RuntimeDNS{Servers: []string{}}.DNS(configured)); diff != "" {
		t.Errorf("DNS of nothing mismatch (-want +got):\n%s", diff)
	}
}

func TestBandwidth_Validate(t *testing.T) {
	t.Parallel()
	for _, good := range []types.Bandwidth{{}, {IngressRate: 1, IngressBurst: 1}, {EgressRate: 1, EgressBurst: 34359738359}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v.Validate() = %v, want nil", good, err)
		}
	}
	err := types.Bandwidth{IngressBurst: 1}.Validate()
	if err == nil || !strings.HasPrefix(err.Error(), "ingressRate: ") {
		t.Errorf("Validate() = %v, want ingressRate first", err)
	}
}

func TestIPRequest(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, out string
		prefix  bool
	}{
		{"", "", false},
		{"10.0.0.5", "10.0.0.5", false},
		{"10.0.0.5/24", "10.0.0.5/24", true},
		{"2001:DB8::10/64", "2001:db8::10/64", true},
		{"::ffff:10.0.0.5/120", "10.0.0.5/24", true},
	}
	for _, tt := range tests {
		r, err := types.ParseIPRequest(tt.in)
		if err != nil || r.String() != tt.out || r.IsZero() != (tt.in == "") {
			t.Errorf("ParseIPRequest(%q) = %q, %v, IsZero %v, want %q", tt.in, r, err, r.IsZero(), tt.out)
		}
		if p, ok := r.Prefix(); ok != tt.prefix || ok && p.String() != tt.out {
			t.Errorf("ParseIPRequest(%q).Prefix() = %v, %v, want %v", tt.in, p, ok, tt.prefix)
		}
	}
	// It serves CNI_ARGS as well.
	var args struct{ IP types.IPRequest }
	if err := (types.Args{"IP": "10.0.0.5/24"}).Decode(&args); err != nil || args.IP.String() != "10.0.0.5/24" {
		t.Errorf("Args.Decode = %v, %v, want 10.0.0.5/24", args.IP, err)
	}
	if p, ok := (types.IPRequest{Addr: addr("10.0.0.1"), Bits: 40}).Prefix(); ok {
		t.Errorf("Prefix() of 40 bits = %v, true, want false", p)
	}
}

func TestAliases_For(t *testing.T) {
	t.Parallel()
	// AMB-099
	by := types.Aliases{ByNetwork: map[string][]string{"n": {"a"}}}
	if got := by.For("n"); !cmp.Equal(got, []string{"a"}) {
		t.Errorf("For(n) = %q, want [a]", got)
	}
	if got := by.For("m"); got != nil {
		t.Errorf("For(m) = %q, want none", got)
	}
	if got := (types.Aliases{Names: []string{"b"}}).For("m"); !cmp.Equal(got, []string{"b"}) {
		t.Errorf("For(m) = %q, want [b]", got)
	}
}

func TestAliases_MarshalJSON(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]types.Aliases{
		`[]`: {}, `["a","b"]`: {Names: []string{"a", "b"}}, `{}`: {ByNetwork: map[string][]string{}}, `{"n":["a"]}`: {ByNetwork: map[string][]string{"n": {"a"}}},
	} {
		if got, err := json.Marshal(a); err != nil || string(got) != want {
			t.Errorf("Marshal(%+v) = %s, %v, want %s", a, got, err, want)
		}
	}
}
