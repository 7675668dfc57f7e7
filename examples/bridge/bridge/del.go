// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/types"
)

// del removes the link and the rules, all at once since the kernel makes each of
// them wait, and gives the address back last: until then nobody else may get it.
func del(ctx context.Context, r *request) error {
	err := together(
		func() error { return unplug(ctx, r) },
		func() error { return removeFilter(ctx, r) },
		func() error { return removeMasquerade(ctx, r) },
	)
	if r.Conf.IPAM.Type == "" {
		return err
	}
	return errors.Join(err, ipam.Del(ctx, r.Call, r.Conf.IPAM.Type))
}

// together calls functions concurrently and joins their errors.
func together(functions ...func() error) error {
	errs := make([]error, len(functions))
	var all sync.WaitGroup
	for i, f := range functions {
		all.Go(func() { errs[i] = f() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// unplug removes the veth, found by the mark on its host end. One without our mark
// was made by the bridge plugin that cnikit takes the place of, if its other end
// is a port of the bridge.
func unplug(ctx context.Context, r *request) error {
	host, err := netutil.Open(nil)
	if err != nil {
		return err
	}
	defer host.Close()
	if err := host.DelOwned(ctx, owner(r)); err != nil || r.Netns == "" {
		return err
	}
	n, err := ns.Open(r.Netns)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ns.ErrNotNamespace) {
		return nil
	}
	if err != nil {
		return err
	}
	defer n.Close()
	sandbox, err := netutil.Open(n)
	if err != nil {
		return err
	}
	defer sandbox.Close()
	link, err := sandbox.Link(ctx, r.IfName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	port, err := unmarkedPort(ctx, sandbox, host, link, r.Conf.bridge())
	if err != nil || port == nil {
		return err
	}
	return host.DelLink(ctx, port.Name, "veth")
}

// unmarkedPort returns the host end of a container's veth if it is a port of the
// bridge and bears nobody's mark.
func unmarkedPort(ctx context.Context, sandbox, host *netutil.Conn, link *netutil.Link, bridge string) (*netutil.Link, error) {
	if link.Kind != "veth" {
		return nil, nil
	}
	port, err := sandbox.Peer(ctx, link, host)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	br, err := host.Link(ctx, bridge)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || port.Alias != "" || port.Master != br.Index {
		return nil, err
	}
	return port, nil
}

// gc removes what bears the mark of an attachment of this network that is not
// valid any more.
func gc(ctx context.Context, r *request) error {
	keep := make([]netutil.Owner, 0, len(r.ValidAttachments))
	for _, a := range r.ValidAttachments {
		keep = append(keep, netutil.Owner{Network: r.Net.Name, ContainerID: a.ContainerID, IfName: a.IfName})
	}
	err := together(
		func() error { return collectLinks(ctx, r.Net.Name, keep) },
		func() error { return collectRules(ctx, r, keep) },
	)
	if r.Conf.IPAM.Type == "" {
		return err
	}
	return errors.Join(err, ipam.GC(ctx, r.Call, r.Conf.IPAM.Type))
}

func collectLinks(ctx context.Context, network string, keep []netutil.Owner) error {
	host, err := netutil.Open(nil)
	if err != nil {
		return err
	}
	defer host.Close()
	links, err := host.ListOwned(ctx, network)
	if err != nil {
		return err
	}
	valid := make(map[string]bool, len(keep))
	for _, o := range keep {
		valid[o.Alias()] = true
	}
	var errs []error
	for _, link := range links {
		if !valid[link.Alias] {
			errs = append(errs, host.DelLink(ctx, link.Name, "veth"))
		}
	}
	return errors.Join(errs...)
}

func collectRules(ctx context.Context, r *request, keep []netutil.Owner) error {
	m, err := openMasquerade(ctx, r)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	err = errors.Join(m.Collect(ctx, r.Net.Name, keep), m.Close())
	f, ferr := openFilter(ctx, r)
	if errors.Is(ferr, errors.ErrUnsupported) {
		return err
	}
	if ferr != nil {
		return errors.Join(err, ferr)
	}
	return errors.Join(err, f.Collect(ctx, r.Net.Name, keep), f.Close())
}

// status asks whether ADD could be served.
func status(ctx context.Context, r *request) error {
	if r.Conf.IPMasq {
		m, err := openMasquerade(ctx, r)
		if err != nil {
			return types.NewError(types.ErrPluginNotAvailable, "ipMasq: the host cannot masquerade", err)
		}
		if err := m.Close(); err != nil {
			return err
		}
	}
	if r.Conf.IPAM.Type == "" {
		return nil
	}
	return ipam.Status(ctx, r.Call, r.Conf.IPAM.Type)
}
