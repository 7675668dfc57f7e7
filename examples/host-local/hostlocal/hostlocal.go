// SPDX-License-Identifier: Apache-2.0

package hostlocal

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Plugin returns the plugin.
func Plugin() skel.Plugin[Config] {
	return skel.Plugin[Config]{
		Name:   "host-local",
		About:  "hands out addresses from ranges, and keeps track of them on this node",
		Add:    add,
		Del:    del,
		Check:  check,
		GC:     gc,
		Status: status,
		// Since the start, not since the caller handed the configuration over, which it may do
		// at the end of its own time, which is 40 s in bridge and ptp. A lock is given up before.
		Timeout: 60 * time.Second,
	}
}

func store(r *skel.Request[Config]) ipam.FileStore {
	return ipam.FileStore{Dir: r.Conf.IPAM.DataDir, Network: r.Net.Name}
}

func allocator(r *skel.Request[Config]) ipam.Allocator {
	return ipam.Allocator{Store: store(r), Sets: r.Conf.sets}
}

func owner(r *skel.Request[Config]) types.Attachment {
	return types.Attachment{ContainerID: r.ContainerID, IfName: r.IfName}
}

// add reserves the addresses. Whatever can fail without them comes first.
func add(ctx context.Context, r *skel.Request[Config]) (*types.Result, error) {
	if err := r.Conf.supports(r.CNIVersion); err != nil {
		return nil, err
	}
	requests, err := r.Conf.requests(r.Args)
	if err != nil {
		return nil, err
	}
	dns, err := r.Conf.dns()
	if err != nil {
		return nil, err
	}
	a := allocator(r)
	got, err := a.Allocate(ctx, owner(r), requests...)
	if err != nil {
		return nil, err
	}
	r.Undo(func(ctx context.Context) error { return a.Rollback(ctx, owner(r), got) })
	return &types.Result{IPs: got.IPs, Routes: r.Conf.routes, DNS: dns}, nil
}

func del(ctx context.Context, r *skel.Request[Config]) error {
	return allocator(r).Release(ctx, owner(r))
}

// check compares the addresses of the container that are from our ranges with the
// reservations. Others are another plugin's.
//
// Spec: checklist CHK-002, CHK-010, DLG-028.
func check(ctx context.Context, r *skel.Request[Config]) error {
	var ours []netip.Addr
	for _, ip := range r.PrevResult.ContainerIPs(r.IfName, r.Netns) {
		for _, set := range r.Conf.sets {
			if _, ok := set.Find(ip.Address.Addr()); ok {
				ours = append(ours, ip.Address.Addr())
			}
		}
	}
	if len(ours) == 0 {
		return fmt.Errorf("prevResult: no address of interface %s is in the ranges %v", r.IfName, r.Conf.sets)
	}
	return allocator(r).Check(ctx, owner(r), ours)
}

func gc(ctx context.Context, r *skel.Request[Config]) error {
	return allocator(r).GC(ctx, r.ValidAttachments)
}

func status(ctx context.Context, r *skel.Request[Config]) error {
	if _, err := r.Conf.dns(); err != nil {
		return types.NewError(types.ErrPluginNotAvailable, "name resolution cannot be read", err)
	}
	if err := store(r).Ready(); err != nil {
		return err
	}
	return allocator(r).Status(ctx)
}
