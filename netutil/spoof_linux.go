// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"net"

	"github.com/cnikit/cnikit/internal/firewall"
)

// SpoofFilter keeps containers from sending frames with the source address of
// somebody else: at a filtered bridge port, frames whose source is not the container's
// own are dropped. The rules of a network are constant, a port is an element of a set. It
// may be used concurrently, from any thread.
type SpoofFilter struct {
	host *firewall.Host
}

// OpenSpoofFilter opens the filter in the network namespace of the calling thread. The
// caller closes it. It is always nftables: c.Backend must be empty or [NFTables]. The
// error is [errors.ErrUnsupported] if the kernel has no nf_tables.
//
// Kernel: CONFIG_NF_TABLES_BRIDGE, since 3.18.
func OpenSpoofFilter(ctx context.Context, c FirewallConfig) (*SpoofFilter, error) {
	if c.Backend == "" {
		c.Backend = NFTables
	}
	h, err := firewall.Open(ctx, firewall.Config(c))
	if err != nil {
		return nil, err
	}
	return &SpoofFilter{host: h}, nil
}

// Close lets go of the connection to the kernel, as [Masquerade.Close] does.
func (f *SpoofFilter) Close() error { return f.host.Close() }

// Ensure drops the frames that come in at a bridge port, which is the link with index
// port on the host, unless their source address is mac. A port or address that the owner
// had earlier is replaced. One transaction; if it fails, nothing was done.
func (f *SpoofFilter) Ensure(ctx context.Context, o Owner, port int, mac net.HardwareAddr) error {
	return f.host.EnsureSpoofFilter(ctx, firewall.Port{Owner: firewall.Owner(o), Index: port, MAC: mac})
}

// Check returns an error if the firewall is not as [SpoofFilter.Ensure] of the same
// arguments makes it.
func (f *SpoofFilter) Check(ctx context.Context, o Owner, port int, mac net.HardwareAddr) error {
	return f.host.CheckSpoofFilter(ctx, firewall.Port{Owner: firewall.Owner(o), Index: port, MAC: mac})
}

// Del removes the filter of o, and the chains that the reference plugin made for the
// same container. It needs neither port nor address, and agrees if there is nothing.
func (f *SpoofFilter) Del(ctx context.Context, o Owner) error {
	return f.host.DelSpoofFilter(ctx, firewall.Owner(o))
}

// FilteredPort is a bridge port that may send from one address only.
type FilteredPort struct {
	Owner Owner
	Port  int // index of the link, which may be gone
	MAC   net.HardwareAddr
}

// List returns the filtered ports of a network.
func (f *SpoofFilter) List(ctx context.Context, network string) ([]FilteredPort, error) {
	all, err := f.host.ListSpoofFilter(ctx, network)
	list := make([]FilteredPort, 0, len(all))
	for _, p := range all {
		list = append(list, FilteredPort{Owner: Owner(p.Owner), Port: p.Index, MAC: p.MAC})
	}
	return list, err
}

// Collect removes the filters of a network that belong to nobody in keep, as
// [Masquerade.Collect] does.
func (f *SpoofFilter) Collect(ctx context.Context, network string, keep []Owner) error {
	if keep == nil {
		return errNoKeep
	}
	return f.host.CollectSpoofFilter(ctx, network, owners(keep))
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
	f, err := openIfThere(OpenSpoofFilter(ctx, FirewallConfig{Log: cfg.Log}))
	if f == nil || err != nil {
		return err
	}
	return errors.Join(f.Del(ctx, o), f.Close())
}
