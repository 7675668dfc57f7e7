// SPDX-License-Identifier: Apache-2.0

//go:build linux

package loopback

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Config is the plugin's own part of the configuration: there is none.
type Config struct{}

// Plugin returns the plugin.
func Plugin() skel.Plugin[Config] {
	return skel.Plugin[Config]{
		Name:       "loopback",
		About:      "sets up the loopback link of a container",
		NeedsNetns: true,
		Add:        add,
		Del:        del,
		Check:      check,
		GC:         skel.NothingToDo[Config],
		Status:     skel.NothingToDo[Config],
	}
}

const name = "lo"

// mark is the alias of the loopback link of an attachment.
func mark(r *skel.Request[Config]) string {
	return netutil.Owner{Network: r.Net.Name, ContainerID: r.ContainerID, IfName: r.IfName}.Alias()
}

func add(ctx context.Context, r *skel.Request[Config]) (result *types.Result, err error) {
	err = inSandbox(r, func(c *netutil.Conn) error {
		link, err := c.Link(ctx, name)
		if err != nil {
			return err
		}
		// The mark is how DEL tells this container from another one at the same path.
		if err := c.SetLink(ctx, link.Index, netutil.LinkConfig{Alias: mark(r)}); err != nil {
			return err
		}
		if err := c.SetUp(ctx, link.Index); err != nil {
			return err
		}
		addrs, err := c.ListAddrs(ctx, link.Index)
		if err != nil {
			return err
		}
		result, err = report(r, link, addrs)
		return err
	})
	return result, err
}

// report returns the result of the plugin before, or else the loopback link with
// its addresses.
func report(r *skel.Request[Config], link *netutil.Link, addrs []netutil.Addr) (*types.Result, error) {
	var ips []types.IP
	for _, a := range addrs {
		if !a.Prefix.Addr().IsLoopback() {
			return nil, fmt.Errorf("link %s: has the address %s, which is no loopback address", name, a.Prefix)
		}
		ips = append(ips, types.IP{Address: a.Prefix})
	}
	if r.PrevResult != nil {
		return r.PrevResult, nil
	}
	result := &types.Result{}
	result.AddInterface(types.Interface{Name: name, MAC: link.MAC.String(), MTU: uint32(link.MTU), Sandbox: r.Netns}, ips...)
	return result, nil
}

// del sets the link down, unless the namespace is gone, or the path leads to that of
// another container meanwhile, whose link bears another mark.
func del(ctx context.Context, r *skel.Request[Config]) error {
	if r.Netns == "" {
		return nil
	}
	err := inSandbox(r, func(c *netutil.Conn) error {
		link, err := c.Link(ctx, name)
		if err != nil {
			return err
		}
		if link.Alias != "" && link.Alias != mark(r) {
			r.Log.Warn("the namespace is another container's, leaving it alone", "alias", link.Alias)
			return nil
		}
		return c.SetDown(ctx, link.Index)
	})
	if errors.Is(err, errHost) {
		r.Log.Warn("the namespace is gone, leaving alone what is at its path", "cause", err)
		return nil
	}
	return err
}

// errHost says that the path of the container's namespace leads to that of the host.
var errHost = errors.New("it is the namespace of the host")

func check(ctx context.Context, r *skel.Request[Config]) error {
	return inSandbox(r, func(c *netutil.Conn) error {
		link, err := c.Link(ctx, name)
		if err != nil {
			return err
		}
		if !link.Up {
			return fmt.Errorf("link %s: is down, want it up", name)
		}
		return nil
	})
}

func inSandbox(r *skel.Request[Config], f func(*netutil.Conn) error) error {
	n, err := ns.Open(r.Netns)
	if err != nil {
		return err
	}
	defer n.Close()
	if own, err := n.IsCurrent(); err != nil {
		return err
	} else if own && !r.OwnNetns {
		return fmt.Errorf("namespace %s: %w", r.Netns, errHost)
	}
	c, err := netutil.Open(n)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}
