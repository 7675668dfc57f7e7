// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// onHost runs a test of functions that work in the namespace of the caller.
func onHost(t *testing.T, host space, f func() error) {
	t.Helper()
	if err := host.ns.Do(f); err != nil {
		t.Error(err)
	}
}

// plugged makes a veth from the host to the sandbox, with this mark.
func plugged(t *testing.T, host, sandbox space, name, alias string, master int) *netutil.Veth {
	t.Helper()
	v, _, err := host.EnsureVeth(t.Context(), netutil.VethConfig{
		Name: name, Alias: alias, Master: master, Up: true, Peer: netutil.VethPeer{NS: sandbox.ns, Name: "eth0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// DEL-001, DEL-002, DEL-003, DEL-006, C-5, C-55: what is the owner's goes, in the
// reference plugin's form as well, and nothing else.
func TestDetach(t *testing.T) {
	t.Parallel()
	foreign := netutil.Owner{Network: "mynet", ContainerID: "c2", IfName: "eth0"}
	tests := []struct {
		name, host, alias string // of the veth
		bridged           bool   // it is a port of br0
		cfg               netutil.DetachConfig
		noSandbox         bool // DEL is given no path of a sandbox
		gone              bool
	}{
		{name: "ours", host: owner.HostName(), alias: owner.Alias(), gone: true},
		{name: "ours, without sandbox", host: owner.HostName(), alias: owner.Alias(), noSandbox: true, gone: true},
		{name: "ours on a bridge that is not the configured one", host: owner.HostName(), alias: owner.Alias(), bridged: true, cfg: netutil.DetachConfig{Bridge: "br1"}, gone: true},
		{name: "ours, killed before the mark", host: owner.HostName(), gone: true},
		{name: "unmarked cable", host: "veth1234", gone: true},
		{name: "unmarked cable, without sandbox", host: "veth1234", noSandbox: true},
		{name: "unmarked cable of a bridge plugin", host: "veth1234", cfg: netutil.DetachConfig{Bridge: "br0"}},
		{name: "unmarked port", host: "veth1234", bridged: true, cfg: netutil.DetachConfig{Bridge: "br0"}, gone: true},
		{name: "unmarked port of another bridge", host: "veth1234", bridged: true, cfg: netutil.DetachConfig{Bridge: "br1"}},
		{name: "unmarked port of a ptp plugin", host: "veth1234", bridged: true},
		{name: "somebody else's", host: foreign.HostName(), alias: foreign.Alias()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			host, sandbox := newSpace(t), newSpace(t)
			master := 0
			for _, name := range []string{"br0", "br1"} {
				br, _, err := host.EnsureBridge(ctx, name, netutil.BridgeConfig{})
				if err != nil {
					t.Fatal(err)
				}
				if name == "br0" && tt.bridged {
					master = br.Index
				}
			}
			plugged(t, host, sandbox, tt.host, tt.alias, master)
			tt.cfg.SpoofFilter = true
			if !tt.noSandbox {
				tt.cfg.Netns = sandbox.test.Path()
			}
			for range 2 {
				onHost(t, host, func() error { return netutil.Detach(ctx, owner, tt.cfg) })
			}
			_, err := host.Link(ctx, tt.host)
			if gone := errors.Is(err, fs.ErrNotExist); gone != tt.gone {
				t.Errorf("after Detach: link %s gone = %t (%v), want %t", tt.host, gone, err, tt.gone)
			}
		})
	}
}

// DEL-006, DEL-007, C-13: a sandbox that is gone, or never was one, is no reason to fail.
func TestDetach_noSandbox(t *testing.T) {
	t.Parallel()
	host := newSpace(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", file, file + "-missing"} {
		onHost(t, host, func() error { return netutil.Detach(t.Context(), owner, netutil.DetachConfig{Netns: path}) })
	}
}

// DEL-008: the host has a cable without a mark between two ends of its own, one of which
// is called as the container's would be. If the path of the sandbox leads to the host, it
// is nobody's to remove.
func TestDetach_host(t *testing.T) {
	t.Parallel()
	host := newSpace(t)
	plugged(t, host, host, "veth1234", "", 0)
	onHost(t, host, func() error { return netutil.Detach(t.Context(), owner, netutil.DetachConfig{Netns: host.test.Path()}) })
	if _, err := host.Link(t.Context(), "veth1234"); err != nil {
		t.Errorf("after Detach with the host's own namespace: %v, want the host's cable as it was", err)
	}
}

// A link that has the owner's name and another's mark is left alone, and DEL tells.
func TestDetach_foreign(t *testing.T) {
	t.Parallel()
	host, sandbox := newSpace(t), newSpace(t)
	plugged(t, host, sandbox, owner.HostName(), "somebody's", 0)
	onHost(t, host, func() error {
		if err := netutil.Detach(t.Context(), owner, netutil.DetachConfig{}); !errors.Is(err, netutil.ErrForeign) {
			t.Errorf("Detach = %v, want %v", err, netutil.ErrForeign)
		}
		return nil
	})
}

// GC-005, GC-006, GC-018, C-5, C-7: links and rules of stale attachments go, and those of
// valid ones and of other networks stay. Twice, for the second time nothing is there.
func TestCollect(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, sandbox, second := newSpace(t), newSpace(t), newSpace(t)
	valid := netutil.Owner{Network: owner.Network, ContainerID: "c2", IfName: "eth0"}
	stale := plugged(t, host, sandbox, owner.HostName(), owner.Alias(), 0)
	kept := plugged(t, host, second, valid.HostName(), valid.Alias(), 0)
	cfg := netutil.DetachConfig{SpoofFilter: true}
	ips := map[netutil.Owner][]types.IP{owner: {{Address: prefix("10.1.2.2/24")}}, valid: {{Address: prefix("10.1.2.3/24")}}}
	needFirewall(t, host)
	onHost(t, host, func() error {
		for o, v := range map[netutil.Owner]*netutil.Veth{owner: stale, valid: kept} {
			if err := netutil.EnsureMasquerade(ctx, o, ips[o], cfg.Firewall); err != nil {
				return err
			}
			if err := netutil.EnsureSpoofFilter(ctx, o, v.Host.Index, v.Peer.MAC, cfg.Firewall); err != nil {
				return err
			}
		}
		return nil
	})
	keep := netutil.Owners(owner.Network, []types.Attachment{{ContainerID: "c2", IfName: "eth0"}})
	onHost(t, host, func() error {
		if err := netutil.Collect(ctx, owner.Network, nil, cfg); err == nil {
			t.Error("Collect without a list succeeded")
		}
		return errors.Join(netutil.Collect(ctx, owner.Network, keep, cfg), netutil.Collect(ctx, owner.Network, keep, cfg))
	})
	if _, err := host.Link(ctx, owner.HostName()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("link of the stale attachment: %v, want it gone", err)
	}
	if _, err := host.Link(ctx, valid.HostName()); err != nil {
		t.Error(err)
	}
	onHost(t, host, func() error {
		if netutil.CheckMasquerade(ctx, owner, ips[owner], cfg.Firewall) == nil {
			t.Error("the stale attachment is still masqueraded")
		}
		if netutil.CheckSpoofFilter(ctx, owner, stale.Host.Index, stale.Peer.MAC, cfg.Firewall) == nil {
			t.Error("the stale attachment is still filtered")
		}
		return errors.Join(
			netutil.CheckMasquerade(ctx, valid, ips[valid], cfg.Firewall),
			netutil.CheckSpoofFilter(ctx, valid, kept.Host.Index, kept.Peer.MAC, cfg.Firewall),
			netutil.DelMasquerade(ctx, valid, cfg.Firewall), netutil.DelMasquerade(ctx, valid, cfg.Firewall),
			netutil.DelSpoofFilter(ctx, valid, cfg.Firewall), netutil.DelSpoofFilter(ctx, valid, cfg.Firewall),
		)
	})
}

// needFirewall skips where the kernel has no nf_tables.
func needFirewall(t *testing.T, host space) {
	t.Helper()
	err := host.ns.Do(func() error {
		m, err := netutil.OpenMasquerade(t.Context(), netutil.FirewallConfig{Backend: netutil.NFTables})
		if err != nil {
			return err
		}
		return m.Close()
	})
	if errors.Is(err, errors.ErrUnsupported) {
		nstest.Lacks(t, "nf_tables", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOwners(t *testing.T) {
	t.Parallel()
	got := netutil.Owners("n", []types.Attachment{{ContainerID: "a", IfName: "eth0"}, {ContainerID: "a", IfName: "eth1"}})
	want := []netutil.Owner{{Network: "n", ContainerID: "a", IfName: "eth0"}, {Network: "n", ContainerID: "a", IfName: "eth1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Owners (-want +got):\n%s", diff)
	}
	// GC-018, AMB-067: absent is not empty.
	if got := netutil.Owners("n", nil); got != nil {
		t.Errorf("Owners of no list = %v, want nil", got)
	}
	if got := netutil.Owners("n", []types.Attachment{}); got == nil || len(got) != 0 {
		t.Errorf("Owners of an empty list = %#v, want an empty one", got)
	}
}
