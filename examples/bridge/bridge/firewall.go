// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"context"
	"errors"

	"github.com/cnikit/cnikit/netutil"
)

func openFilter(ctx context.Context, r *request) (*netutil.SpoofFilter, error) {
	return netutil.OpenSpoofFilter(ctx, netutil.FirewallConfig{Log: r.Log})
}

func openMasquerade(ctx context.Context, r *request) (*netutil.Masquerade, error) {
	return netutil.OpenMasquerade(ctx, netutil.FirewallConfig{Backend: r.Conf.IPMasqBackend, Log: r.Log})
}

// removeFilter removes what filter made. A host without a firewall has nothing to
// remove.
func removeFilter(ctx context.Context, r *request) error {
	f, err := openFilter(ctx, r)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Del(ctx, owner(r)), f.Close())
}

// removeMasquerade removes what masquerade made.
func removeMasquerade(ctx context.Context, r *request) error {
	m, err := openMasquerade(ctx, r)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(m.Del(ctx, owner(r)), m.Close())
}
