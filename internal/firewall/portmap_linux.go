// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"slices"
)

// portMapper is what a backend does.
type portMapper interface {
	ensure(ctx context.Context, o Owner, p PortMap) error
	check(ctx context.Context, o Owner, p PortMap) error
}

// portMapper returns the backend for p: the one in use or, if the configuration left
// that open and p needs it, iptables. The error is [ErrCondition] if iptables has no words
// for p; nftables says so later.
func (h *Host) portMapper(ctx context.Context, p PortMap) (portMapper, error) {
	if h.Backend() == IPTables {
		return iptPortMap{host: h}, p.iptablesConditions()
	}
	if why := p.needsIPTables(); why != "" && h.wanted == "" {
		if err := findIPTables(); err != nil {
			return nil, err
		}
		h.log.DebugContext(ctx, "firewall backend chosen", "backend", IPTables, "why", why)
		return iptPortMap{host: h}, p.iptablesConditions()
	}
	return h.nftPorts(), nil
}

// needsIPTables says what of p only iptables has, if anything.
func (p PortMap) needsIPTables() string {
	switch {
	case p.MarkChain != "":
		return "externalSetMarkChain is a chain of iptables"
	case iptablesSyntax(p.Conditions[0]) || iptablesSyntax(p.Conditions[1]):
		return "the conditions are in the words of iptables"
	}
	return ""
}

// iptablesConditions returns an error unless the conditions are in the words of iptables.
func (p PortMap) iptablesConditions() error {
	return errors.Join(iptablesConditions(p.Conditions[0]), iptablesConditions(p.Conditions[1]))
}

// nftPorts returns port maps by nftables.
func (h *Host) nftPorts() nftPortMap { return nftPortMap{host: h, conn: h.conn} }

// EnsurePortMap maps ports of the host to o, and no others than those of p. Without
// any it does nothing. The error is a [ConflictError] if another container has one.
//
// What the other backend maps to o goes, too, if one of the ports is the same. If none is, it
// stays until DelPortMap or CollectPortMap: to look would cost every ADD a question.
func (h *Host) EnsurePortMap(ctx context.Context, o Owner, p PortMap) error {
	p, err := p.clean(o)
	if err != nil || len(p.Forwards) == 0 {
		return err
	}
	err = h.ensuring(ctx, func() error {
		m, err := h.portMapper(ctx, p)
		if err != nil {
			return err
		}
		return m.ensure(ctx, o, p)
	})
	if err != nil {
		return err
	}
	h.forget(ctx, p.Forwards, false)
	return nil
}

// ReadyPortMap returns an error unless EnsurePortMap finds what it needs for p, whatever the
// forwards. The error is [errors.ErrUnsupported] if the machine lacks it.
func (h *Host) ReadyPortMap(ctx context.Context, p PortMap) error {
	if p.needsIPTables() != "" && h.wanted == "" {
		return errors.Join(p.iptablesConditions(), findIPTables())
	}
	l, err := portLayout("", p, nil)
	if h.Backend() == IPTables {
		err = p.iptablesConditions()
	}
	if err != nil {
		return err
	}
	return retry(ctx, func() error { return h.ready(portsPrefix, l) })
}

// forget forgets stale connections. It is no reason to fail: they end by themselves
// when their sender pauses.
func (h *Host) forget(ctx context.Context, forwards []Forward, gone bool) {
	if err := h.forgetStale(forwards, gone); err != nil {
		h.log.WarnContext(ctx, "stale UDP connections may go on for a while", "error", err)
	}
}

// CheckPortMap compares what is there with what EnsurePortMap makes. Where the reference
// plugin mapped the ports, before the node changed over, what it made is not judged.
func (h *Host) CheckPortMap(ctx context.Context, o Owner, p PortMap) error {
	p, err := p.clean(o)
	if err != nil || len(p.Forwards) == 0 {
		return err
	}
	m, err := h.portMapper(ctx, p)
	if err != nil {
		return err
	}
	wrong := h.checking(m.check(ctx, o, p), portsTable(o.Network), func() error {
		return iptPortMap{host: h}.check(ctx, o, p)
	})
	if wrong == nil {
		return nil
	}
	if theirs, err := h.mappedByReference(ctx, o, p); err != nil || !theirs {
		return errors.Join(wrong, err)
	}
	return nil
}

// mappedByReference reports whether the reference plugin maps ports to o, in each family of p,
// and this package maps none.
func (h *Host) mappedByReference(ctx context.Context, o Owner, p PortMap) (bool, error) {
	all, err := h.ListPortMap(ctx, o.Network)
	if err != nil || slices.ContainsFunc(all, func(m Mapped) bool { return m.Owner.Mark() == o.Mark() }) {
		return false, err
	}
	for _, f := range families() {
		if !slices.ContainsFunc(p.Forwards, func(fw Forward) bool { return f.has(fw.Host.Addr()) }) {
			continue
		}
		if there, err := h.referenceMaps(ctx, f, o); err != nil || !there {
			return false, err
		}
	}
	return true, nil
}

// DelPortMap removes all that maps ports to o, by either backend, and what the
// reference plugin left for it. It agrees if there is nothing.
func (h *Host) DelPortMap(ctx context.Context, o Owner) error {
	if err := o.Validate(); err != nil {
		return err
	}
	ports := iptPortMap{host: h}
	chains := ports.chains(o)
	gone, err := ports.mappedTo(ctx, o)
	errs := []error{err}
	errs = append(errs, h.removeNFT(ctx,
		func() ([]request, error) {
			changes, had, err := h.nftPorts().remove(o)
			gone = append(gone, had...) // also what is gone when this is asked for again
			return changes, err
		},
		func() ([]request, error) { return h.conn.chainsOfNAT(chains) },
		func() ([]request, error) { return h.conn.referencePortMap(o) }))
	errs = append(errs, h.removeLegacy(ctx, chains...))
	h.forget(ctx, gone, true)
	return errors.Join(errs...)
}

// ListPortMap returns the ports mapped for a network, by either backend.
func (h *Host) ListPortMap(ctx context.Context, network string) ([]Mapped, error) {
	all, err := iptPortMap{host: h}.list(ctx, network)
	if h.hasNFT {
		more, e := h.nftPorts().list(ctx, network)
		all, err = append(all, more...), errors.Join(err, e)
	}
	return all, err
}

// CollectPortMap removes every port map of a network that belongs to nobody in keep. If
// nothing is left, the rules of the network go too.
func (h *Host) CollectPortMap(ctx context.Context, network string, keep []Owner) error {
	marks := marksOf(keep)
	before, err := h.ListPortMap(ctx, network)
	if err != nil {
		return err
	}
	var errs []error
	var gone []Forward
	removed := map[string]bool{}
	for _, m := range before {
		mark := m.Owner.Mark()
		if marks[mark] {
			continue
		}
		gone = append(gone, m.Forward)
		if !removed[mark] {
			removed[mark] = true
			errs = append(errs, h.removeChains(ctx, chainAndShared{ownerChain(mark), portsChain(network)}))
		}
	}
	if len(removed) > 0 || len(before) == 0 {
		errs = append(errs, iptPortMap{host: h}.removeEmpty(ctx, network))
	}
	if h.hasNFT {
		errs = append(errs, h.nftPorts().collect(ctx, network, marks))
	}
	h.forget(ctx, gone, true)
	return errors.Join(errs...)
}

// removeChains removes chains of the nat table, of whichever iptables.
func (h *Host) removeChains(ctx context.Context, chains ...chainAndShared) error {
	return errors.Join(
		h.removeNFT(ctx, func() ([]request, error) { return h.conn.chainsOfNAT(chains) }),
		h.removeLegacy(ctx, chains...))
}
