// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Masqueraded is an address that is masqueraded, and whose it is.
type Masqueraded struct {
	Owner Owner // zero if the comment is not one of ours
	Addr  netip.Addr

	mark string
}

// EnsureMasquerade masquerades addresses of o towards everything but the subnets of
// its network, which are those of addrs and of earlier calls for the network, and
// multicast. An address that another owner left behind becomes o's. What the other backend
// has of o stays until DelMasquerade or CollectMasquerade, which look at both.
func (h *Host) EnsureMasquerade(ctx context.Context, o Owner, addrs []netip.Prefix) error {
	addrs, err := cleanAddrs(o, addrs)
	if err != nil || len(addrs) == 0 {
		return err
	}
	return h.ensuring(ctx, func() error { return h.masquerade().ensure(ctx, o, addrs) })
}

// ReadyMasquerade returns an error unless EnsureMasquerade finds what it needs. The error is
// [errors.ErrUnsupported] if the machine lacks it.
func (h *Host) ReadyMasquerade(ctx context.Context) error {
	return retry(ctx, func() error { return h.ready(masqueradePrefix, masqueradeLayout("", nil)) })
}

// CheckMasquerade compares what is there with what EnsureMasquerade makes.
func (h *Host) CheckMasquerade(ctx context.Context, o Owner, addrs []netip.Prefix) error {
	addrs, err := cleanAddrs(o, addrs)
	if err != nil || len(addrs) == 0 {
		return err
	}
	return h.checking(h.masquerade().check(ctx, o, addrs), masqueradeTable(o.Network), func() error {
		return h.iptMasquerader().check(ctx, o, addrs)
	})
}

// DelMasquerade removes all that masquerades for o, by either backend, and what the
// reference plugins left for it. It needs no addresses, and agrees if there is nothing.
func (h *Host) DelMasquerade(ctx context.Context, o Owner) error {
	if err := o.Validate(); err != nil {
		return err
	}
	mark := o.Mark()
	return errors.Join(
		h.removeNFT(ctx,
			func() ([]request, error) { return h.nft().remove(o) },
			func() ([]request, error) { return h.conn.referenceMasquerade(o) },
			func() ([]request, error) { return h.rules().removalNFT(o) }),
		h.ipt().remove(ctx, o.Network, func(m string) bool { return m == mark }),
		h.changeLegacy(ctx, func(t iptTable) []string {
			return append(h.rules().removal(t, o), t.removal(referenceMasqueradeChains(o))...)
		}),
	)
}

// ListMasquerade returns what is masqueraded for a network, by either backend.
func (h *Host) ListMasquerade(ctx context.Context, network string) ([]Masqueraded, error) {
	all, err := h.ipt().list(network)
	byRules, e := h.rules().list(ctx, network)
	all, err = append(all, byRules...), errors.Join(err, e)
	if h.hasNFT {
		more, e := h.nft().list(ctx, network)
		all, err = append(all, more...), errors.Join(err, e)
	}
	for i := range all {
		all[i].Owner, _ = ParseMark(all[i].mark)
	}
	return all, err
}

// CollectMasquerade removes everything of a network that belongs to nobody in keep.
// If nothing is left, the rules of the network go too.
func (h *Host) CollectMasquerade(ctx context.Context, network string, keep []Owner) error {
	marks := marksOf(keep)
	err := errors.Join(
		h.ipt().remove(ctx, network, func(m string) bool { return !marks[m] }),
		h.ipt().removeEmpty(ctx, network),
		h.alone(ctx, func() error { return h.rules().collect(ctx, network, marks) }),
	)
	t, sets := masqueradeTable(network), h.nft().allSets()
	return errors.Join(err, h.collectNFT(ctx, t, sets, marks))
}

// collectNFT removes from the sets of a table what has not one of the marks, and the
// table if nothing is left.
func (h *Host) collectNFT(ctx context.Context, t table, sets []string, marks map[string]bool) error {
	if !h.hasNFT {
		return nil
	}
	return h.conn.collect(ctx, t, sets, func(mark string) bool { return !marks[mark] })
}

// marksOf returns the marks of owners as a set.
func marksOf(os []Owner) map[string]bool {
	marks := make(map[string]bool, len(os))
	for _, o := range os {
		marks[o.Mark()] = true
	}
	return marks
}

// removeNFT finds things in nftables and removes them in one transaction, again if
// something of it went meanwhile.
func (h *Host) removeNFT(ctx context.Context, find ...func() ([]request, error)) error {
	if !h.hasNFT {
		return nil
	}
	return retry(ctx, func() error {
		var all []request
		for _, f := range find {
			changes, err := f()
			if err != nil {
				return err
			}
			all = append(all, changes...)
		}
		return changedIfGone(h.conn.batch(all))
	})
}

// masquerader is what a backend does.
type masquerader interface {
	ensure(ctx context.Context, o Owner, addrs []netip.Prefix) error
	check(ctx context.Context, o Owner, addrs []netip.Prefix) error
}

// masquerade returns the backend in use.
func (h *Host) masquerade() masquerader {
	if h.Backend() == NFTables {
		return h.nft()
	}
	return h.iptMasquerader()
}

// iptMasquerader returns the better way of iptables that the kernel has.
func (h *Host) iptMasquerader() masquerader {
	if h.canIPSet() {
		return h.ipt()
	}
	return h.rules()
}

// canIPSet reports whether the kernel has ipset, asking it to load the module.
func (h *Host) canIPSet() bool {
	_, err := h.conn.references(ipset{name: "cnikit", kind: "hash:ip", family: unix.NFPROTO_IPV4})
	return !h.noIPSet && !noIPSet(err)
}

// ipt returns masquerading by iptables and ipset, rules by iptables alone.
func (h *Host) ipt() iptMasquerade    { return iptMasquerade{host: h, log: h.log} }
func (h *Host) rules() ruleMasquerade { return ruleMasquerade{host: h} }

// nft returns masquerading by nftables.
func (h *Host) nft() nftMasquerade { return nftMasquerade{conn: h.conn, log: h.log} }

// cleanAddrs checks o and addrs, and returns addrs without duplicates, IPv4 as such.
func cleanAddrs(o Owner, addrs []netip.Prefix) ([]netip.Prefix, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	var clean []netip.Prefix
	var errs []error
	for _, p := range addrs {
		c, err := cleanAddr(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("masquerade %s: %w", p, err))
		} else if !slices.ContainsFunc(clean, func(o netip.Prefix) bool { return o.Addr() == c.Addr() }) {
			clean = append(clean, c)
		}
	}
	return clean, errors.Join(errs...)
}

// cleanAddr returns an address of a container with its subnet.
func cleanAddr(p netip.Prefix) (netip.Prefix, error) {
	a, bits := p.Addr().WithZone(""), p.Bits()
	if a.Is4In6() && bits >= 96 {
		a, bits = a.Unmap(), bits-96
	}
	if p = netip.PrefixFrom(a, bits); !p.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
		return p, errors.New("not an address of a container")
	}
	return p, nil
}
