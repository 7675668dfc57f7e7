// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cnikit/cnikit/types"
)

// A plugin's own configuration holds its own fields, and can check them.
type vlanConf struct {
	Master        string `json:"master"`
	VLAN          int    `json:"vlan"`
	RuntimeConfig struct {
		MAC types.MAC `json:"mac"`
	} `json:"runtimeConfig"`
}

func (c *vlanConf) Validate() error {
	if c.VLAN < 1 || c.VLAN > 4094 {
		return fmt.Errorf("vlan: %d is no VLAN; want 1 to 4094", c.VLAN)
	}
	return nil
}

func Example() {
	request := []byte(`{"cniVersion":"1.0.0","name":"blue","type":"vlan","master":"eth1","vlan":100,
		"runtimeConfig":{"mac":"02:00:5E:10:00:01"}}`)
	net, err := types.ParsePluginConfig(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	var conf vlanConf
	if err := net.Decode(&conf); err != nil {
		fmt.Println(err)
		return
	}

	var result types.Result
	result.AddInterface(
		types.Interface{Name: "eth0", MAC: conf.RuntimeConfig.MAC.String(), Sandbox: "/run/netns/c1", MTU: 1500},
		types.IP{Address: netip.MustParsePrefix("10.0.0.2/24"), Gateway: netip.MustParseAddr("10.0.0.1")},
	)
	answer, err := result.Encode(net.CNIVersion)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(answer))
	fmt.Println("left out:", result.Lost(net.CNIVersion))
	// Output:
	// {"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"02:00:5e:10:00:01","sandbox":"/run/netns/c1"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0}]}
	// left out: [interfaces[0].mtu]
}

func ExampleResult_AddInterface() {
	var r types.Result
	r.AddInterface(types.Interface{Name: "veth1a2b"})
	i := r.AddInterface(types.Interface{Name: "eth0", Sandbox: "/run/netns/c1"},
		types.IP{Address: netip.MustParsePrefix("10.0.0.2/24")},
		types.IP{Address: netip.MustParsePrefix("fd00::2/64")})
	for _, ip := range r.InterfaceIPs(i) {
		fmt.Println(r.Interfaces[ip.Interface.Value].Name, ip.Address)
	}
	// Output:
	// eth0 10.0.0.2/24
	// eth0 fd00::2/64
}

func ExampleResult_Merge() {
	prev, err := types.DecodeResult([]byte(`{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/n"}],
		"ips":[{"address":"10.0.0.2/24","interface":0}],"x-vendor":true}`), types.V110)
	if err != nil {
		fmt.Println(err)
		return
	}
	var own types.Result
	own.AddInterface(types.Interface{Name: "net1", Sandbox: "/n"}, types.IP{Address: netip.MustParsePrefix("10.1.0.2/24")})

	result := prev.Clone()
	result.Merge(&own)
	answer, err := result.Encode(types.V110)
	fmt.Println(string(answer), err)
	// Output:
	// {"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/n"},{"name":"net1","sandbox":"/n"}],"ips":[{"address":"10.0.0.2/24","interface":0},{"address":"10.1.0.2/24","interface":1}],"x-vendor":true} <nil>
}

func ExampleDecodeResult() {
	old := []byte(`{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","routes":[{"dst":"0.0.0.0/0"}]}}`)
	r, err := types.DecodeResult(old, types.V020)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range []types.Version{types.V040, types.V110} {
		data, err := r.Encode(v)
		fmt.Println(string(data), err)
	}
	_, err = types.DecodeResult([]byte(`{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2"}]}`), types.V110)
	fmt.Println(err)
	// Output:
	// {"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}],"routes":[{"dst":"0.0.0.0/0"}]} <nil>
	// {"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}],"routes":[{"dst":"0.0.0.0/0"}]} <nil>
	// ips[0].address: "10.0.0.2" is not an address with prefix length; want one such as "10.0.0.2/24"
}

func ExamplePluginConfig_Decode() {
	for _, members := range []string{`"vlan":100`, `"VLAN":"100"`, `"vlan":5000`, `"vlan":1,"runtimeConfig":{"mac":"zz"}`} {
		net, err := types.ParsePluginConfig([]byte(`{"cniVersion":"1.1.0","name":"blue","type":"vlan",` + members + `}`))
		if err != nil {
			fmt.Println(err)
			return
		}
		var conf vlanConf
		err = net.Decode(&conf)
		fmt.Println(conf.VLAN, err)
	}
	// Output:
	// 100 <nil>
	// 0 VLAN: "100" is not valid; want an integer of at most 64 bits
	// 5000 vlan: 5000 is no VLAN; want 1 to 4094
	// 1 runtimeConfig.mac: "zz" is not valid; want 6 bytes, not all zero, such as "02:00:5e:10:00:01"
}

func ExamplePluginConfig_DecodeStrict() {
	net, err := types.ParsePluginConfig([]byte(`{"cniVersion":"1.1.0","name":"blue","type":"vlan","vlan":1,"mastre":"eth1"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = net.DecodeStrict(&vlanConf{})
	fmt.Println(err)
	fmt.Println(errors.Is(err, types.ErrUnsupportedField))
	// Output:
	// mastre: unknown key, with the value "eth1"; the nearest known key is "master"
	// true
}

func ExampleArgs_Decode() {
	args, err := types.ParseArgs("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;IP=10.0.0.5/24;OTHER=x")
	if err != nil {
		fmt.Println(err)
		return
	}
	var own struct {
		types.K8sArgs
		IP types.IPRequest
	}
	if err := args.Decode(&own); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(own.PodNamespace, own.PodName, own.IP)

	_, err = types.ParseArgs("K8S_POD_NAME")
	fmt.Println(err)
	// Output:
	// default web-0 10.0.0.5/24
	// CNI_ARGS: "K8S_POD_NAME" is no pair; want KEY=VALUE
}

func ExampleError() {
	cause := errors.New("lock is held by another process")
	err := fmt.Errorf("allocate: %w", types.NewError(types.ErrTryAgainLater, "the store is busy", cause))
	fmt.Println(errors.Is(err, types.ErrTryAgainLater), errors.Is(err, cause))

	var e *types.Error
	if errors.As(err, &e) {
		e.CNIVersion = types.V110
		fmt.Println(string(e.Encode()))
	}
	// Output:
	// true true
	// {"cniVersion":"1.1.0","code":11,"msg":"the store is busy","details":"lock is held by another process"}
}

func ExampleNegotiate() {
	offered := []types.Version{types.V031, types.V040, types.V100}
	v, err := types.Negotiate(offered, []types.Version{types.V031, types.V040})
	fmt.Println(v, err)
	// Output:
	// 0.4.0 <nil>
}

func ExampleLoadNetwork() {
	dir, err := os.MkdirTemp("", "net.d")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "10-blue.conflist")
	list := `{"cniVersions":["0.4.0","1.1.0"],"name":"blue","plugins":[{"type":"bridge"},{"type":"portmap","capabilities":{"portMappings":true}}]}`
	if err := os.WriteFile(path, []byte(list), 0o644); err != nil {
		fmt.Println(err)
		return
	}

	n, err := types.LoadNetwork(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(n.Name, n.CNIVersion)
	for _, p := range n.Plugins {
		fmt.Println(p.Type, p.Capabilities)
	}
	// Output:
	// blue 1.1.0
	// bridge map[]
	// portmap map[portMappings:true]
}

func ExampleNetwork_Request() {
	n, err := types.ParseNetwork([]byte(`{"cniVersion":"1.1.0","name":"blue","plugins":[{"type":"bridge","bridge":"br0"},
		{"type":"portmap","capabilities":{"portMappings":true}}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	request, err := n.Request(1, types.RequestParams{
		Command:      types.CommandAdd,
		Capabilities: map[string]json.RawMessage{"portMappings": json.RawMessage(`[{"hostPort":8080,"containerPort":80}]`)},
		PrevResult:   []byte(`{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}`),
	})
	fmt.Println(string(request), err)
	// Output:
	// {"cniVersion":"1.1.0","name":"blue","type":"portmap","prevResult":{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]},"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}} <nil>
}

func ExampleFindNetwork() {
	_, err := types.FindNetwork(os.TempDir(), "../etc")
	fmt.Println(err)
	// Output:
	// name: "../etc" is not valid; want a letter or digit, then letters, digits, "_", "." or "-"
}
