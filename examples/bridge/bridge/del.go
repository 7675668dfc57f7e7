// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"
	"errors"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// del removes the link and the rules, and gives the address back last: until then
// nobody else may get it.
func del(ctx context.Context, r *request) error {
	if r.Conf.IPAM.Type == "" {
		return netutil.Detach(ctx, owner(r), left(r))
	}
	delegate := ipam.Start(ctx, r.Call, r.Conf.IPAM.Type)
	err := netutil.Detach(ctx, owner(r), left(r))
	_, ipamErr := delegate.Finish()
	return errors.Join(err, ipamErr)
}

// gc removes what bears the mark of an attachment of this network that is not
// valid any more.
func gc(ctx context.Context, r *request) error {
	err := netutil.Collect(ctx, r.Net.Name, netutil.Owners(r.Net.Name, r.ValidAttachments), left(r))
	if r.Conf.IPAM.Type == "" {
		return err
	}
	return errors.Join(err, ipam.GC(ctx, r.Call, r.Conf.IPAM.Type))
}

// status asks whether ADD could be served.
func status(ctx context.Context, r *request) error {
	if r.Conf.IPMasq {
		m, err := netutil.OpenMasquerade(ctx, firewall(r))
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
