// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/cnikit/cnikit/internal/rtnl"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/types"
)

// Ends are conversations about both ends of an attachment: the host, which is the
// namespace of the caller, and the container's sandbox.
type Ends struct {
	Host, Sandbox *Conn
	NS            *ns.NS // of the sandbox
}

// errHost says that there are no two ends.
var errHost = errors.New("it is the namespace of the host")

// openSandbox opens the namespace at a path, unless that is the caller's own.
func openSandbox(path string) (*ns.NS, error) {
	n, err := ns.Open(path)
	if err != nil {
		return nil, err
	}
	own, err := n.IsCurrent()
	if err == nil && own {
		err = fmt.Errorf("sandbox %s: %w", path, errHost)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// OpenEnds begins both conversations; netns is the path of the sandbox, the value of
// CNI_NETNS. The error is [fs.ErrNotExist] if nothing is there, and
// [ns.ErrNotNamespace] if it is something else. The caller closes them.
//
// The sandbox is never the host, whatever was at the path when package skel looked: that
// is an error.
func OpenEnds(netns string) (*Ends, error) {
	n, err := openSandbox(netns)
	if err != nil {
		return nil, err
	}
	host, err := Open(nil)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	sandbox, err := Open(n)
	if err != nil {
		return nil, errors.Join(err, host.Close(), n.Close())
	}
	return &Ends{Host: host, Sandbox: sandbox, NS: n}, nil
}

// Close ends both conversations and closes the namespace.
func (e *Ends) Close() error {
	return errors.Join(e.Sandbox.Close(), e.Host.Close(), e.NS.Close())
}

// Veth returns both ends of the veth that the sandbox has by some name. The error is
// [fs.ErrNotExist] if it has no such link, if that is no veth, or if the other end is
// not on the host.
func (e *Ends) Veth(ctx context.Context, name string) (*Veth, error) {
	link, err := e.Sandbox.Link(ctx, name)
	if err != nil {
		return nil, err
	}
	if link.Kind != "veth" {
		return nil, fmt.Errorf("link %s: is a %s, not a veth: %w", name, kindName(link.Kind), fs.ErrNotExist)
	}
	if link.ParentNSID < 0 {
		// Both ends are in one namespace, which may even be the host.
		return nil, fmt.Errorf("peer of link %s: not on the host: %w", name, fs.ErrNotExist)
	}
	port, err := e.Sandbox.Peer(ctx, link, e.Host)
	if err != nil {
		return nil, err
	}
	return &Veth{Host: port, Peer: link}, nil
}

// runningLimit is how long a cable may take to carry packets, both of whose ends are up.
// It takes next to no time unless somebody sets an end down meanwhile.
const runningLimit = 5 * time.Second

// WaitRunning waits until packets can be sent at both ends of a veth that were set up,
// at most five seconds: then the error is [context.DeadlineExceeded]. Before, the kernel
// drops them; see [Conn.WaitRunning].
func (e *Ends) WaitRunning(ctx context.Context, v *Veth) error {
	ctx, cancel := context.WithTimeout(ctx, runningLimit)
	defer cancel()
	if err := e.Host.WaitRunning(ctx, v.Host.Index); err != nil {
		return err
	}
	return e.Sandbox.WaitRunning(ctx, v.Peer.Index)
}

// Vacant reports that the owner has nothing on the host yet. If there is a link with the
// owner's name, whoever made it, the error is [fs.ErrExist]: an ADD that is repeated is to
// fail before it asks anybody for anything.
//
// Spec: checklist ADD-007.
func (e *Ends) Vacant(ctx context.Context, o Owner) error {
	l, err := e.Host.Link(ctx, o.HostName())
	switch {
	case isGone(err):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("interface %s: attached already by link %s: %w", o.IfName, l.Name, fs.ErrExist)
}

// AddVeth makes the veth of an owner: the host end with the owner's name and mark, and
// the other end in the sandbox. What else cfg says is as for [Conn.EnsureVeth]. If the
// veth, or another interface of that name, is there already the error is [fs.ErrExist];
// if the bridge takes no more ports, it is [ErrBridgeFull].
func (e *Ends) AddVeth(ctx context.Context, o Owner, cfg VethConfig) (*Veth, error) {
	cfg.Name, cfg.Alias = o.HostName(), o.Alias()
	cfg.Peer.NS, cfg.Peer.Name = e.NS, o.IfName
	v, created, err := e.Host.EnsureVeth(ctx, cfg)
	if err == nil && !created {
		err = fmt.Errorf("interface %s: attached already by link %s: %w", o.IfName, v.Host.Name, fs.ErrExist)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// CompareVeth compares the veth whose one end the sandbox has as ifName with what
// [Ends.AddVeth] made of cfg, and returns it: both ends there, MTU, bridge, kind of port
// and hardware address as far as cfg names them; the host end up and ignoring router
// advertisements. Name and mark of the host end are the caller's to compare: an
// attachment may be another plugin's work.
//
// The error is a [MismatchError] that tells what is different, and [fs.ErrNotExist] if
// there is no such veth.
//
// Spec: CNI 1.1.0, section 2, "CHECK"; checklist CHK-005, CHK-006.
func (e *Ends) CompareVeth(ctx context.Context, ifName string, cfg VethConfig) (*Veth, error) {
	v, err := e.Veth(ctx, ifName)
	if err != nil {
		return nil, err
	}
	var m mismatch
	host := v.Host
	m.add(!host.Up, "state", "down", "up")
	m.add(cfg.MTU != 0 && host.MTU != cfg.MTU, "mtu", fmt.Sprint(host.MTU), fmt.Sprint(cfg.MTU))
	if cfg.Master != 0 && host.Master != cfg.Master {
		m.add(true, "bridge", "another or none", e.Host.linkName(ctx, cfg.Master).String())
	}
	if want := cfg.Port; want != nil && host.Port != nil {
		m.add(host.Port.Hairpin != want.Hairpin, "hairpin mode", onOff(host.Port.Hairpin), onOff(want.Hairpin))
		m.add(host.Port.Isolated != want.Isolated, "isolated", onOff(host.Port.Isolated), onOff(want.Isolated))
	}
	if err := m.err("link " + host.Name); err != nil {
		return nil, err
	}
	m.addMAC(v.Peer, cfg.Peer.MAC.String())
	if err := m.err("link " + ifName); err != nil {
		return nil, err
	}
	return v, e.Host.CompareSysctl(Sysctl{Name: "ipv6/conf/" + host.Name + "/accept_ra", Value: "0"})
}

// CompareResult compares what the sandbox has with what a result says of its interface
// ifName: it must be there and up, with the hardware address, the addresses and the routes
// of the result; see [Conn.Compare]. With down it may be down, and so without them.
//
// A result does not say whose a route is. One whose gateway is in a subnet of another
// interface's addresses, and in none of ifName's, is not looked for. Another one that ifName
// lacks may be that of an interface that the result lists in the same sandbox, and then has
// to be there only: with its destination and table and, as far as the result gives them, its
// gateway, scope and priority. Each route that is there is taken for one that is listed, the
// one that says most of it first.
//
// One thing goes unnoticed, since the result does not tell it from a route that ifName never
// had: that a route of its own, listed without a gateway, is gone, while another of these
// interfaces has one to the same destination that is not listed beside it.
//
// The error is a [MismatchError] that tells what is different, and [fs.ErrNotExist] if
// the sandbox or the result has no such interface.
//
// Spec: CNI 1.1.0, section 2, "CHECK"; checklist CHK-005 to CHK-010.
func (e *Ends) CompareResult(ctx context.Context, result *types.Result, ifName string, down bool) error {
	position, ok := result.ContainerInterface(ifName, e.NS.Path())
	if !ok {
		return fmt.Errorf("result: no interface %s in a sandbox: %w", ifName, fs.ErrNotExist)
	}
	mac := result.Interfaces[position].MAC
	if down {
		link, err := e.Sandbox.Link(ctx, ifName)
		if err != nil {
			return err
		}
		var m mismatch
		m.addMAC(link, mac)
		return m.err("link " + ifName)
	}
	ips := result.ContainerIPs(ifName, e.NS.Path())
	want := wantedRoutes{routes: result.Routes}
	for _, i := range result.SandboxInterfaces(result.Interfaces[position].Sandbox) {
		if i != position {
			want.others = append(want.others, result.Interfaces[i].Name)
			want.skipForeign(ips, result.InterfaceIPs(i))
		}
	}
	return e.Sandbox.compare(ctx, ifName, mac, ips, want)
}

// CompareAddrs compares the addresses of a link with those that it should have among
// others. The error is a [MismatchError] that tells which are missing.
func (c *Conn) CompareAddrs(ctx context.Context, link *Link, want ...netip.Prefix) error {
	have, err := c.ListAddrs(ctx, link.Index)
	if err != nil {
		return err
	}
	ips := make([]types.IP, len(want))
	for i, p := range want {
		ips[i].Address = p
	}
	var m mismatch
	compareAddrs(&m, have, ips)
	return m.err("link " + link.Name)
}

// CompareRoutes compares the routes of a namespace with those that it should have
// among others. The error is a [MismatchError] that tells which are missing or
// different. All of them are routes by way of link, whatever their Index says.
func (c *Conn) CompareRoutes(ctx context.Context, link *Link, want ...Route) error {
	have, err := c.rt.Routes(ctx, rtnl.RouteFilter{Index: link.Index})
	if err != nil {
		return wrap(err, "list routes of %s", link.Name)
	}
	var m mismatch
	for _, r := range want {
		r.Index = link.Index
		compareRoute(&m, have, r, link.Name)
	}
	return m.err("link " + link.Name)
}

// Owners returns the owners that the attachments of a network are, which GC keeps. It is
// nil only if the attachments are.
func Owners(network string, attachments []types.Attachment) []Owner {
	if attachments == nil {
		return nil
	}
	owners := make([]Owner, 0, len(attachments))
	for _, a := range attachments {
		owners = append(owners, Owner{Network: network, ContainerID: a.ContainerID, IfName: a.IfName})
	}
	return slices.Clip(owners)
}
