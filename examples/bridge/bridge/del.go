// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// left is what DEL and GC look for.
func left(r *request) netutil.DetachConfig {
	return netutil.DetachConfig{Firewall: firewall(r), SpoofFilter: true, Netns: r.Netns, Bridge: r.Conf.bridge()}
}

// del removes the link and the rules, and lets the IPAM plugin give the address back.
func del(ctx context.Context, r *request) error {
	return ipam.With(ctx, r.Call, r.Conf.IPAM.Type, func(ctx context.Context) error {
		return netutil.Detach(ctx, owner(r), left(r))
	})
}

// gc removes what bears the mark of an attachment of this network that is not
// valid any more.
func gc(ctx context.Context, r *request) error {
	return ipam.With(ctx, r.Call, r.Conf.IPAM.Type, func(ctx context.Context) error {
		return netutil.Collect(ctx, r.Net.Name, netutil.Owners(r.Net.Name, r.ValidAttachments), left(r))
	})
}

// status asks whether ADD could be served.
func status(ctx context.Context, r *request) error {
	return ipam.With(ctx, r.Call, r.Conf.IPAM.Type, func(ctx context.Context) error {
		if !r.Conf.IPMasq {
			return nil
		}
		if err := netutil.StatusMasquerade(ctx, firewall(r)); err != nil {
			return types.NewError(types.ErrPluginNotAvailable, "the host cannot masquerade", err)
		}
		return nil
	})
}
