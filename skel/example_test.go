// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Conf is the plugin's own part of the configuration.
type Conf struct {
	MTU int `json:"mtu"`
}

// Validate says what JSON cannot: ADD, CHECK and STATUS are refused if it fails.
func (c *Conf) Validate() error {
	if c.MTU < 0 {
		return fmt.Errorf("mtu: %d is negative", c.MTU)
	}
	return nil
}

// mtu sets the MTU of an interface that another plugin made. It has state inside the
// container alone, so that DEL and GC have nothing to do.
func mtu() skel.Plugin[Conf] {
	return skel.Plugin[Conf]{
		Name:    "mtu",
		About:   "sets the MTU of the container's interface",
		Chained: true,
		Add: func(_ context.Context, r *skel.Request[Conf]) (*types.Result, error) {
			result := r.PrevResult
			if i, ok := result.ContainerInterface(r.IfName, r.Netns); ok {
				result.Interfaces[i].MTU = uint32(r.Conf.MTU)
			}
			return result, nil
		},
		Del:    skel.NothingToDo[Conf],
		Check:  skel.NothingToDo[Conf],
		GC:     skel.NothingToDo[Conf],
		Status: skel.NothingToDo[Conf],
	}
}

// A test runs a plugin without a process: it says what the runtime would.
func ExamplePlugin_Run() {
	exit := mtu().Run(context.Background(), skel.Env{
		Environ: []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/c1", "CNI_IFNAME=eth0"},
		Stdin: strings.NewReader(`{
			"cniVersion": "1.1.0", "name": "net1", "type": "mtu", "mtu": 1400,
			"prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}]}
		}`),
		Stdout: os.Stdout,
		Stderr: os.Stderr,
	})
	fmt.Println("exit", exit)
	// Output:
	// {"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mtu":1400,"sandbox":"/run/netns/c1"}]}
	// exit 0
}

// What is wrong with a request is told before a handler runs.
func ExamplePlugin_Run_refused() {
	mtu().Run(context.Background(), skel.Env{
		Environ: []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/c1"},
		Stdout:  os.Stdout,
	})
	// Output:
	// {"cniVersion":"1.1.0","code":4,"msg":"CNI_IFNAME: required and missing","details":"plugin mtu, container c1"}
}

// A plugin says aloud for which commands it has nothing to do.
func ExampleNothingToDo() {
	p := mtu()
	p.GC = nil
	env := skel.Env{
		Environ: []string{"CNI_COMMAND=GC"},
		Stdin:   strings.NewReader(`{"cniVersion":"1.1.0","name":"net1","type":"mtu","cni.dev/valid-attachments":[]}`),
		Stdout:  os.Stdout,
	}
	p.Run(context.Background(), env)

	p.GC = skel.NothingToDo[Conf]
	env.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"net1","type":"mtu","cni.dev/valid-attachments":[]}`)
	fmt.Println("exit", p.Run(context.Background(), env))
	// Output:
	// {"cniVersion":"1.1.0","code":999,"msg":"plugin mtu has no handler for GC; a command with nothing to do wants skel.NothingToDo","details":"plugin mtu"}
	// exit 0
}

// Each step of an ADD registers what undoes it, right after it.
func ExampleRequest_Undo() {
	p := mtu()
	p.Add = func(_ context.Context, r *skel.Request[Conf]) (*types.Result, error) {
		fmt.Println("reserve an address")
		r.Undo(func(context.Context) error { fmt.Println("release the address"); return nil })
		fmt.Println("make the link")
		r.Undo(func(context.Context) error { fmt.Println("remove the link"); return nil })
		return nil, types.NewError(types.ErrTryAgainLater, "no route", errors.New("the uplink is down"))
	}
	p.Chained = false
	p.Run(context.Background(), skel.Env{
		Environ: []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/c1", "CNI_IFNAME=eth0"},
		Stdin:   strings.NewReader(`{"cniVersion":"1.1.0","name":"net1","type":"mtu"}`),
		Stdout:  os.Stdout,
	})
	// Output:
	// reserve an address
	// make the link
	// remove the link
	// release the address
	// {"cniVersion":"1.1.0","code":11,"msg":"no route","details":"the uplink is down (plugin mtu, network net1, container c1, interface eth0)"}
}

// The main of a plugin is one line. That of an executable that holds several, which
// links of their names lead to, is as long.
func ExampleMain() {
	main := func() {
		firewall, bandwidth := mtu(), mtu()
		skel.Main(firewall, bandwidth)
	}
	_ = main
}
