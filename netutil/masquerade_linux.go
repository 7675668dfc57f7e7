// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/types"
)

// Masquerade gives packets of containers that leave their network the address of the
// host. The rules of a network are constant, a container is an element of a set, so
// neither ADD and DEL nor packets get slower with the number of containers. It may be
// used concurrently, from any thread.
type Masquerade struct {
	host *firewall.Host
}

// OpenMasquerade opens masquerading in the network namespace of the calling thread.
// The caller closes it. The error is [errors.ErrUnsupported] if the kernel or the
// machine lacks the backend asked for, or any, and [fs.ErrPermission] without
// CAP_NET_ADMIN, without which one cannot even look: DEL cannot know then that there is
// nothing to remove.
//
// All methods wait for locks that others hold, each for a minute at most, and for
// somebody who changes the ruleset all the time; then the error is
// [os.ErrDeadlineExceeded], code 11 for the runtime.
//
// Kernel: NAT in nftables family inet, since 5.2. A kernel with nf_tables and without that
// is found out when the rules of a network are to be made; Ensure then uses iptables, if
// the configuration does not name the backend. The iptables backend wants the
// program iptables, and ip6tables for IPv6; ip_set makes it fast.
func OpenMasquerade(ctx context.Context, c FirewallConfig) (*Masquerade, error) {
	h, err := firewall.Open(ctx, firewall.Config(c))
	if err != nil {
		return nil, err
	}
	return &Masquerade{host: h}, nil
}

// Close lets go of the connection to the kernel. What was set up stays. After a Del
// that removed something Close waits, some 10 ms, until no packet uses what was
// removed; a process that ends without Close waits then. DEL does well to call Del
// and Close in a goroutine beside the removal of its link, which waits likewise.
func (m *Masquerade) Close() error { return m.host.Close() }

// Backend returns the backend in use, [NFTables] or [IPTables].
func (m *Masquerade) Backend() string { return m.host.Backend() }

// Ensure masquerades the addresses of a container, each with the prefix length of its
// subnet, IPv4 and IPv6, towards everything except the subnets of the network and
// multicast. The subnets of the network are those of addrs and of earlier calls for
// it. It agrees with what is there, repairs rules that somebody removed or changed, and
// takes over an address that another owner left behind. Without addresses it does
// nothing. If it fails, nothing was done.
//
// A node may change its backend while containers run. What the other backend has of the owner
// stays until [Masquerade.Del] or [Masquerade.Collect], which remove both: to look for it
// would cost every ADD a question, and a packet is masqueraded once in any case.
//
// In the steady state it reads the rules of the network, a handful, and adds the
// elements in one transaction, whatever the number of containers.
//
// Spec: CNI 1.1.0, section 1, "ipMasq" (CONF-034).
func (m *Masquerade) Ensure(ctx context.Context, o Owner, addrs []netip.Prefix) error {
	return m.host.EnsureMasquerade(ctx, firewall.Owner(o), addrs)
}

// Ready returns an error unless [Masquerade.Ensure] would find all that it needs of the
// machine: it is [errors.ErrUnsupported] if the kernel has nf_tables without NAT, which only
// an attempt shows, and iptables cannot be used instead. Where a network is masqueraded
// that is one question; else it is tried in a transaction that leaves nothing.
func (m *Masquerade) Ready(ctx context.Context) error { return m.host.ReadyMasquerade(ctx) }

// Check returns an error if the firewall lacks something that [Masquerade.Ensure] of
// the same arguments would make, if it was changed, or if an address belongs to another
// owner. The error lists all that differs.
func (m *Masquerade) Check(ctx context.Context, o Owner, addrs []netip.Prefix) error {
	return m.host.CheckMasquerade(ctx, firewall.Owner(o), addrs)
}

// Del removes all that masquerades for o, by whichever backend, and the chains and
// rules that the reference plugins made for the same container. It needs no addresses
// and agrees if there is nothing. The rules of the network stay.
func (m *Masquerade) Del(ctx context.Context, o Owner) error {
	return m.host.DelMasquerade(ctx, firewall.Owner(o))
}

// Masqueraded is an address that is masqueraded.
type Masqueraded struct {
	// Owner is whose the address is. A container ID or network that does not fit into
	// the comment is a hash that begins with '#'.
	Owner Owner
	Addr  netip.Addr
}

// List returns the addresses masqueraded for a network, by whichever backend, in no
// particular order.
func (m *Masquerade) List(ctx context.Context, network string) ([]Masqueraded, error) {
	all, err := m.host.ListMasquerade(ctx, network)
	list := make([]Masqueraded, 0, len(all))
	for _, a := range all {
		list = append(list, Masqueraded{Owner: Owner(a.Owner), Addr: a.Addr})
	}
	return list, err
}

// Collect removes all that masquerades for a network and belongs to nobody in keep.
// An empty keep keeps nothing, and the rules of the network go too; a nil keep is
// refused. Other networks are not looked at.
//
// Spec: CNI 1.1.0, section 2, "GC".
func (m *Masquerade) Collect(ctx context.Context, network string, keep []Owner) error {
	if keep == nil {
		return errNoKeep
	}
	return m.host.CollectMasquerade(ctx, network, owners(keep))
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

// StatusMasquerade is [OpenMasquerade] and [Masquerade.Ready]: nil if the host can
// masquerade.
//
// Spec: checklist STA-002.
func StatusMasquerade(ctx context.Context, cfg FirewallConfig) error {
	m, err := OpenMasquerade(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(m.Ready(ctx), m.Close())
}

// DelMasquerade is [OpenMasquerade] and [Masquerade.Del], and agrees when the host has no
// firewall.
func DelMasquerade(ctx context.Context, o Owner, cfg FirewallConfig) error {
	m, err := openAny(ctx, cfg.Log)
	if m == nil || err != nil {
		return err
	}
	return errors.Join(m.Del(ctx, o), m.Close())
}

// openAny opens masquerading for removal, which looks into both backends, whichever
// ADD used and the configuration names since: a host may have lost one of them.
func openAny(ctx context.Context, log *slog.Logger) (*Masquerade, error) {
	return openIfThere(OpenMasquerade(ctx, FirewallConfig{Log: log}))
}

func prefixes(ips []types.IP) []netip.Prefix {
	all := make([]netip.Prefix, len(ips))
	for i, ip := range ips {
		all[i] = ip.Address
	}
	return all
}
