// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// myPlugin takes its addresses from another plugin.
func myPlugin() skel.Plugin[struct{}] {
	return skel.Plugin[struct{}]{
		Name: "mine",
		Add: func(ctx context.Context, r *skel.Request[struct{}]) (*types.Result, error) {
			return ipam.Add(ctx, r.Call, r.Net.IPAM.Type)
		},
		Del: func(ctx context.Context, r *skel.Request[struct{}]) error {
			return ipam.Del(ctx, r.Call, r.Net.IPAM.Type)
		},
		Check: skel.NothingToDo[struct{}], GC: skel.NothingToDo[struct{}], Status: skel.NothingToDo[struct{}],
	}
}

const delegatingNetwork = `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"mine","ipam":{"type":"fake"}}]}`

// delegating is a runtime with a plugin that delegates to d.
func delegating(d *skeltest.Delegate) *skeltest.Runtime {
	return &skeltest.Runtime{Plugins: []skel.Runner{myPlugin()}, Path: []string{d.Dir}}
}

// addWith runs ADD with an IPAM plugin that answers so, and tells how that went.
func addWith(a skeltest.Answer, limit time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := skeltest.NewDelegate(dir, "fake")
	if err != nil {
		return err
	}
	n, err := types.ParseNetwork([]byte(delegatingNetwork))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := d.Answer(types.CommandAdd, "", a); err != nil {
		return err
	}
	_, err = delegating(d).Add(ctx, n, skeltest.Attachment{ContainerID: "c1", Netns: "/var/run/netns/c1", IfName: "eth0"})
	return err
}

// An IPAM plugin with scripted answers, and what it was sent.
func ExampleDelegate() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	fake, err := skeltest.NewDelegate(dir, "fake")
	if err != nil {
		panic(err)
	}
	if err := fake.Answer(types.CommandAdd, "", skeltest.Answer{Stdout: `{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.2/24"}]}`}); err != nil {
		panic(err)
	}
	runtime := &skeltest.Runtime{Plugins: []skel.Runner{myPlugin()}, Path: []string{fake.Dir}}
	network, err := types.ParseNetwork([]byte(`{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"mine","ipam":{"type":"fake"}}]}`))
	if err != nil {
		panic(err)
	}
	result, err := runtime.Add(context.Background(), network, skeltest.Attachment{ContainerID: "c1", Netns: "/run/netns/c1", IfName: "eth0"})
	commands, _ := fake.Commands() // nil on an error
	fmt.Println(result.IPs[0].Address, err, commands)
	// Output: 10.1.0.2/24 <nil> [ADD]
}

// An IPAM plugin that never answers: the request ends with its context.
func ExampleAnswer_hang() {
	err := addWith(skeltest.Answer{Hang: true}, 100*time.Millisecond)
	fmt.Println(errors.Is(err, types.ErrTryAgainLater))
	// Output: true
}

// An IPAM plugin that is slow, and good otherwise.
func ExampleAnswer_slow() {
	err := addWith(skeltest.Answer{Sleep: time.Second, Stdout: `{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.2/24"}]}`}, time.Minute)
	fmt.Println(err)
	// Output: <nil>
}

// An IPAM plugin that prints what is no JSON.
func ExampleAnswer_garbage() {
	err := addWith(skeltest.Answer{Stdout: "Segmentation fault"}, time.Minute)
	fmt.Println(errors.Is(err, types.ErrDecodingFailure))
	// Output: true
}

// An IPAM plugin that answers twice.
func ExampleAnswer_twice() {
	err := addWith(skeltest.Answer{Times: 2, Stdout: `{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.2/24"}]}`}, time.Minute)
	fmt.Println(errors.Is(err, types.ErrDecodingFailure))
	// Output: true
}

// An IPAM plugin that prints a gigabyte.
func ExampleAnswer_flood() {
	err := addWith(skeltest.Answer{Flood: 1 << 30}, time.Minute)
	fmt.Println(err != nil)
	// Output: true
}
