// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/types"
)

// DetachConfig says what may be left of attachments.
type DetachConfig struct {
	// Firewall is how the firewall was opened for them.
	Firewall FirewallConfig
	// SpoofFilter says that there may be filters of [SpoofFilter] beside what
	// masquerades.
	SpoofFilter bool

	// Netns is the path of the sandbox, for a veth that bears nobody's mark because
	// another plugin made it, the one that this plugin takes the place of. Empty, or a
	// path where no namespace is: only what bears the owner's mark is removed.
	Netns string
	// Bridge is the name of the bridge of which such a veth is a port. Empty: it is a port
	// of none. Others are left alone.
	Bridge string
}

// Detach removes what an attachment has in the kernel, the other half of an ADD: the
// veth, what masquerades and, if asked for, the filter. It does so all at once, since the
// kernel makes each of them wait; goes on after an error and joins them; and agrees with
// what is gone, and with a host that has no firewall.
//
// Spec: CNI 1.1.0, section 2, "DEL"; checklist DEL-001 to DEL-009.
func Detach(ctx context.Context, o Owner, cfg DetachConfig) error {
	steps := []func() error{
		func() error { return unplug(ctx, o, cfg) },
		func() error { return DelMasquerade(ctx, o, cfg.Firewall) },
	}
	if cfg.SpoofFilter {
		steps = append(steps, func() error { return DelSpoofFilter(ctx, o, cfg.Firewall) })
	}
	return together(steps)
}

// Collect removes what [Detach] would for each owner in a network who is not in keep,
// as far as it bears the owner's mark. An empty keep keeps nothing; a nil keep is refused.
//
// Spec: CNI 1.1.0, section 2, "GC"; checklist GC-005, GC-018.
func Collect(ctx context.Context, network string, keep []Owner, cfg DetachConfig) error {
	if keep == nil {
		return errNoKeep
	}
	steps := []func() error{
		func() error { return collectLinks(ctx, network, keep) },
		func() error {
			return withMasquerade(ctx, cfg.Firewall, func(m *Masquerade) error { return m.Collect(ctx, network, keep) })
		},
	}
	if cfg.SpoofFilter {
		steps = append(steps, func() error {
			return withSpoofFilter(ctx, cfg.Firewall, func(f *SpoofFilter) error { return f.Collect(ctx, network, keep) })
		})
	}
	return together(steps)
}

// together calls functions concurrently and joins their errors.
func together(functions []func() error) error {
	errs := make([]error, len(functions))
	var all sync.WaitGroup
	for i, f := range functions {
		all.Go(func() { errs[i] = f() })
	}
	all.Wait()
	return errors.Join(errs...)
}

func collectLinks(ctx context.Context, network string, keep []Owner) (err error) {
	host, err := Open(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	return host.CollectOwned(ctx, network, keep)
}

// unplug removes the veth.
func unplug(ctx context.Context, o Owner, cfg DetachConfig) (err error) {
	host, err := Open(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	if deleted, err := host.delOwned(ctx, o); deleted || err != nil || cfg.Netns == "" {
		return err
	}
	port, err := unmarked(ctx, o.IfName, cfg)
	if port == nil || err != nil {
		return err
	}
	return host.DelLink(ctx, port.Name, "veth")
}

// unmarked returns the host's end of a veth that bears nobody's mark, or nil.
func unmarked(ctx context.Context, ifName string, cfg DetachConfig) (_ *Link, err error) {
	e, err := OpenEnds(cfg.Netns)
	if isGone(err) || errors.Is(err, ns.ErrNotNamespace) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	v, err := e.Veth(ctx, ifName)
	if err != nil || v.Host.Alias != "" {
		return nil, ignoreGone(err)
	}
	master := 0
	if cfg.Bridge != "" {
		br, err := e.Host.Link(ctx, cfg.Bridge)
		if err != nil {
			return nil, ignoreGone(err)
		}
		master = br.Index
	}
	if v.Host.Master != master {
		return nil, nil
	}
	return v.Host, nil
}

// EnsureMasquerade is [OpenMasquerade] and [Masquerade.Ensure] for the addresses of a
// result.
func EnsureMasquerade(ctx context.Context, o Owner, ips []types.IP, cfg FirewallConfig) error {
	m, err := OpenMasquerade(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(m.Ensure(ctx, o, prefixes(ips)), m.Close())
}

// CheckMasquerade is [OpenMasquerade] and [Masquerade.Check] for the addresses of a
// result.
func CheckMasquerade(ctx context.Context, o Owner, ips []types.IP, cfg FirewallConfig) error {
	m, err := OpenMasquerade(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(m.Check(ctx, o, prefixes(ips)), m.Close())
}

// DelMasquerade is [OpenMasquerade] and [Masquerade.Del], and agrees when the host has no
// firewall.
func DelMasquerade(ctx context.Context, o Owner, cfg FirewallConfig) error {
	return withMasquerade(ctx, cfg, func(m *Masquerade) error { return m.Del(ctx, o) })
}

// withMasquerade does nothing on a host without a firewall, which has nothing to remove.
func withMasquerade(ctx context.Context, cfg FirewallConfig, f func(*Masquerade) error) error {
	m, err := OpenMasquerade(ctx, cfg)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f(m), m.Close())
}

// EnsureSpoofFilter is [OpenSpoofFilter] and [SpoofFilter.Ensure]. The filter is always
// nftables, whatever cfg.Backend is.
func EnsureSpoofFilter(ctx context.Context, o Owner, port int, mac net.HardwareAddr, cfg FirewallConfig) error {
	f, err := OpenSpoofFilter(ctx, FirewallConfig{Log: cfg.Log})
	if err != nil {
		return err
	}
	return errors.Join(f.Ensure(ctx, o, port, mac), f.Close())
}

// CheckSpoofFilter is [OpenSpoofFilter] and [SpoofFilter.Check].
func CheckSpoofFilter(ctx context.Context, o Owner, port int, mac net.HardwareAddr, cfg FirewallConfig) error {
	f, err := OpenSpoofFilter(ctx, FirewallConfig{Log: cfg.Log})
	if err != nil {
		return err
	}
	return errors.Join(f.Check(ctx, o, port, mac), f.Close())
}

// DelSpoofFilter is [OpenSpoofFilter] and [SpoofFilter.Del], and agrees when the host has
// no nf_tables.
func DelSpoofFilter(ctx context.Context, o Owner, cfg FirewallConfig) error {
	return withSpoofFilter(ctx, cfg, func(f *SpoofFilter) error { return f.Del(ctx, o) })
}

func withSpoofFilter(ctx context.Context, cfg FirewallConfig, do func(*SpoofFilter) error) error {
	f, err := OpenSpoofFilter(ctx, FirewallConfig{Log: cfg.Log})
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

func prefixes(ips []types.IP) []netip.Prefix {
	all := make([]netip.Prefix, len(ips))
	for i, ip := range ips {
		all[i] = ip.Address
	}
	return all
}
