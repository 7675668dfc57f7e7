// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

// A benchConf is the configuration of an interface plugin.
type benchConf struct {
	Bridge           string `json:"bridge"`
	IsGateway        bool   `json:"isGateway"`
	IsDefaultGateway bool   `json:"isDefaultGateway"`
	HairpinMode      bool   `json:"hairpinMode"`
	IPMasq           bool   `json:"ipMasq"`
	MTU              int    `json:"mtu"`
	IPAM             struct {
		Ranges types.IPRanges `json:"ranges"`
		Routes []struct {
			Dst string `json:"dst"`
		} `json:"routes"`
	} `json:"ipam"`
	RuntimeConfig types.RuntimeConfig `json:"runtimeConfig"`
}

const benchResult = `{"cniVersion":"1.1.0","interfaces":[{"name":"cni0","mac":"02:00:00:00:00:01","mtu":1500},
	{"name":"veth1a2b3c4d","mac":"02:00:00:00:00:02","mtu":1500},{"name":"eth0","mac":"02:00:00:00:00:03","mtu":1500,"sandbox":"/var/run/netns/cni-01234567-89ab-cdef-0123-456789abcdef"}],
	"ips":[{"address":"10.244.1.5/24","gateway":"10.244.1.1","interface":2},{"address":"fd00:10:244:1::5/64","gateway":"fd00:10:244:1::1","interface":2}],
	"routes":[{"dst":"0.0.0.0/0","gw":"10.244.1.1"},{"dst":"10.96.0.0/12","gw":"10.244.1.1","mtu":1450},{"dst":"::/0","gw":"fd00:10:244:1::1","table":100}],
	"dns":{"nameservers":["10.96.0.10"],"domain":"cluster.local","search":["default.svc.cluster.local","svc.cluster.local","cluster.local"],"options":["ndots:5"]}}`

// benchRequest is a request of about 4 KB as a Kubernetes runtime sends it.
func benchRequest() []byte {
	r := `{"cniVersion":"1.1.0","name":"k8s-pod-network","type":"bridge","bridge":"cni0","isGateway":true,"isDefaultGateway":true,"hairpinMode":true,"ipMasq":true,"mtu":1500,
	"ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.1.0/24"}],[{"subnet":"fd00:10:244:1::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]},
	"dns":{"nameservers":["10.96.0.10"],"search":["default.svc.cluster.local"]},
	"capabilities":{"portMappings":true,"io.kubernetes.cri.pod-annotations":true},
	"runtimeConfig":{"portMappings":[{"hostPort":30080,"containerPort":8080,"protocol":"tcp","hostIP":""},{"hostPort":30443,"containerPort":8443,"protocol":"TCP"}],
	"io.kubernetes.cri.pod-annotations":{"kubernetes.io/config.seen":"2024-05-01T00:00:00Z","kubernetes.io/config.source":"api","notes":"` + strings.Repeat("x", 1800) + `"}},
	"prevResult":` + benchResult + `}`
	return []byte(r)
}

func BenchmarkParsePluginConfig(b *testing.B) {
	data := benchRequest()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := types.ParsePluginConfig(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPluginConfig_Decode(b *testing.B) {
	c, err := types.ParsePluginConfig(benchRequest())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var conf benchConf
		if err := c.Decode(&conf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeResult(b *testing.B) {
	b.ReportAllocs()
	data := []byte(benchResult)
	for b.Loop() {
		if _, err := types.DecodeResult(data, types.V110); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResult_Encode(b *testing.B) {
	r, err := types.DecodeResult([]byte(benchResult), types.V110)
	if err != nil {
		b.Fatal(err)
	}
	for _, v := range []types.Version{types.V020, types.V040, types.V110} {
		b.Run(v.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Encode(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// An ADD of a chained plugin: everything that package types does for it.
func BenchmarkAdd(b *testing.B) {
	data := benchRequest()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		c, err := types.ParsePluginConfig(data)
		if err != nil {
			b.Fatal(err)
		}
		var conf benchConf
		if err := c.Decode(&conf); err != nil {
			b.Fatal(err)
		}
		if _, err := types.ParseArgs("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=0f3a;K8S_POD_UID=1"); err != nil {
			b.Fatal(err)
		}
		r, err := c.PrevResult()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Encode(c.CNIVersion); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNetwork_Request(b *testing.B) {
	n, err := types.ParseNetwork([]byte(`{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"bridge","bridge":"cni0","ipam":{"type":"host-local"},"capabilities":{"mac":true}}]}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Request(0, types.RequestParams{Command: types.CommandAdd, PrevResult: []byte(benchResult)}); err != nil {
			b.Fatal(err)
		}
	}
}

// A key that occurs twice costs more; how much grows with the size is what this
// tells.
func BenchmarkPluginConfig_Decode_Duplicates(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			c, err := types.ParsePluginConfig([]byte(`{"name":"n"` + strings.Repeat(`,"mtu":1`, n) + `}`))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				var conf benchConf
				if err := c.Decode(&conf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
