// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"sync"

	"github.com/cnikit/cnikit/ns"
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
	// path where no namespace is, or that of the host: only what bears the owner's mark is
	// removed.
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
	return sweep(ctx, cfg, sweeper{
		links:      func(host *Conn) error { return unplug(ctx, host, o, cfg) },
		masquerade: func(m *Masquerade) error { return m.Del(ctx, o) },
		filter:     func(f *SpoofFilter) error { return f.Del(ctx, o) },
	})
}

// Collect removes what [Detach] would for each owner in a network who is not in keep,
// as far as it bears the owner's mark. An empty keep keeps nothing; a nil keep is refused.
//
// It may run beside the ADD and DEL of owners in keep: what they make meanwhile stays, and so
// do the rules that all share. To be on the safe side an owner has to be in keep since before
// its ADD began.
//
// Spec: CNI 1.1.0, section 2, "GC"; checklist GC-005, GC-018, GC-028.
func Collect(ctx context.Context, network string, keep []Owner, cfg DetachConfig) error {
	if keep == nil {
		return errNoKeep
	}
	return sweep(ctx, cfg, sweeper{
		links:      func(host *Conn) error { return host.CollectOwned(ctx, network, keep) },
		masquerade: func(m *Masquerade) error { return m.Collect(ctx, network, keep) },
		filter:     func(f *SpoofFilter) error { return f.Collect(ctx, network, keep) },
	})
}

// sweeper is what there is to remove.
type sweeper struct {
	links      func(*Conn) error
	masquerade func(*Masquerade) error
	filter     func(*SpoofFilter) error
}

// sweep runs a sweeper: all at once, but what it needs is opened by the caller's
// thread, whose namespace is meant.
func sweep(ctx context.Context, cfg DetachConfig, s sweeper) error {
	var errs errorList
	var all sync.WaitGroup
	if host, err := Open(nil); err != nil {
		errs.add(err)
	} else {
		all.Go(func() { errs.add(s.links(host), host.Close()) })
	}
	if m, err := openAny(ctx, cfg.Firewall.Log); err != nil {
		errs.add(err)
	} else if m != nil {
		all.Go(func() { errs.add(s.masquerade(m), m.Close()) })
	}
	if cfg.SpoofFilter {
		if f, err := openIfThere(OpenSpoofFilter(ctx, FirewallConfig{Log: cfg.Firewall.Log})); err != nil {
			errs.add(err)
		} else if f != nil {
			all.Go(func() { errs.add(s.filter(f), f.Close()) })
		}
	}
	all.Wait()
	return errors.Join(errs.all...)
}

// errorList collects the errors of several goroutines.
type errorList struct {
	mu  sync.Mutex
	all []error
}

func (l *errorList) add(errs ...error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, errs...)
}

// unplug removes the veth.
func unplug(ctx context.Context, host *Conn, o Owner, cfg DetachConfig) error {
	if deleted, err := host.delOwned(ctx, o); deleted || err != nil || cfg.Netns == "" {
		return err
	}
	port, err := unmarked(ctx, host, o.IfName, cfg)
	if port == nil || err != nil {
		return err
	}
	return host.DelLink(ctx, port.Name, "veth")
}

// unmarked returns the host's end of a veth that bears nobody's mark, or nil.
func unmarked(ctx context.Context, host *Conn, ifName string, cfg DetachConfig) (_ *Link, err error) {
	n, err := ns.Open(cfg.Netns)
	if isGone(err) || errors.Is(err, ns.ErrNotNamespace) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	sandbox, err := Open(n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sandbox.Close()) }()
	v, err := (&Ends{Host: host, Sandbox: sandbox, NS: n}).Veth(ctx, ifName)
	if err != nil || v.Host.Alias != "" {
		return nil, ignoreGone(err)
	}
	master := 0
	if cfg.Bridge != "" {
		br, err := host.Link(ctx, cfg.Bridge)
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
