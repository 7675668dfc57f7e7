// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
)

// portMapper is what a backend does.
type portMapper interface {
	ensure(ctx context.Context, o Owner, p PortMap) error
	check(ctx context.Context, o Owner, p PortMap) error
}

// portMapper returns the backend in use.
func (h *Host) portMapper() portMapper { return h.nftPorts() }

// nftPorts returns port maps by nftables.
func (h *Host) nftPorts() nftPortMap { return nftPortMap{conn: h.conn, log: h.log} }

// EnsurePortMap maps ports of the host to o, and no others than those of p. Without
// any it does nothing. The error is a [ConflictError] if another container has one.
func (h *Host) EnsurePortMap(ctx context.Context, o Owner, p PortMap) error {
	p, err := p.clean(o)
	if err != nil || len(p.Forwards) == 0 {
		return err
	}
	if err := h.portMapper().ensure(ctx, o, p); err != nil {
		return err
	}
	h.forget(ctx, p.Forwards, false)
	return nil
}

// forget forgets stale connections. It is no reason to fail: they end by themselves
// when their sender pauses.
func (h *Host) forget(ctx context.Context, forwards []Forward, gone bool) {
	if err := h.forgetStale(forwards, gone); err != nil {
		h.log.WarnContext(ctx, "stale UDP connections may go on for a while", "error", err)
	}
}

// CheckPortMap compares what is there with what EnsurePortMap makes.
func (h *Host) CheckPortMap(ctx context.Context, o Owner, p PortMap) error {
	p, err := p.clean(o)
	if err != nil || len(p.Forwards) == 0 {
		return err
	}
	return h.portMapper().check(ctx, o, p)
}

// DelPortMap removes all that maps ports to o, by either backend, and what the
// reference plugin left for it. It agrees if there is nothing.
func (h *Host) DelPortMap(ctx context.Context, o Owner) error {
	if err := o.Validate(); err != nil {
		return err
	}
	var gone []Forward
	err := h.removeNFT(ctx,
		func() (requests []request, err error) {
			requests, gone, err = h.nftPorts().remove(o)
			return requests, err
		},
		func() ([]request, error) { return h.conn.referencePortMap(o) })
	h.forget(ctx, gone, true)
	return err
}

// ListPortMap returns the ports mapped for a network, by either backend.
func (h *Host) ListPortMap(ctx context.Context, network string) ([]Mapped, error) {
	if !h.hasNFT {
		return nil, nil
	}
	return h.nftPorts().list(ctx, network)
}

// CollectPortMap removes every port map of a network that belongs to nobody in keep. If
// nothing is left, the rules of the network go too.
func (h *Host) CollectPortMap(ctx context.Context, network string, keep []Owner) error {
	if !h.hasNFT {
		return nil
	}
	marks := marksOf(keep)
	before, err := h.nftPorts().list(ctx, network)
	if err != nil {
		return err
	}
	err = h.removeNFT(ctx, func() ([]request, error) { return h.nftPorts().collect(network, marks) })
	if err != nil {
		return err
	}
	var gone []Forward
	for _, m := range before {
		if !marks[m.Owner.Mark()] {
			gone = append(gone, m.Forward)
		}
	}
	h.forget(ctx, gone, true)
	return errors.Join(
		h.conn.removeEmpty(ctx, portsTable(network), portSets()),
		h.conn.removeEmpty(ctx, claims().table, []string{claimsSet}))
}
