// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
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

// CHK-005, CHK-006, CHK-008: the other half of ADD, for both ends.
func TestEnds_Compare(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, sandbox := newSpace(t), newSpace(t)
	v := plugged(t, host, sandbox, "host0", "", 0)
	ip4 := types.IP{Address: prefix("10.1.2.2/24"), Gateway: ip("10.1.2.1")}
	if err := sandbox.Apply(ctx, v.Peer, []types.IP{ip4}, nil, netutil.ApplyConfig{}); err != nil {
		t.Fatal(err)
	}
	path := sandbox.test.Path()
	result := func(name, mac string, ips ...types.IP) *types.Result {
		r := &types.Result{}
		r.AddInterface(types.Interface{Name: name, MAC: mac, Sandbox: path}, ips...)
		return r
	}
	mac := v.Peer.MAC.String()
	other := types.IP{Address: prefix("10.1.2.3/24")}
	for _, tt := range []struct {
		name   string
		result *types.Result
		ifName string
		down   bool
		gone   bool // the error is fs.ErrNotExist
		want   []string
	}{
		{name: "as it is", result: result("eth0", mac, ip4), ifName: "eth0"},
		{name: "without a hardware address", result: result("eth0", "", ip4), ifName: "eth0"},
		{name: "another hardware address", result: result("eth0", "02:00:00:00:00:01", ip4), ifName: "eth0", want: []string{"hardware address"}},
		{name: "another address", result: result("eth0", mac, other), ifName: "eth0", want: []string{"address"}},
		{name: "another address of a link that may be down", result: result("eth0", mac, other), ifName: "eth0", down: true},
		{name: "an interface that the result does not have", result: result("eth1", mac, ip4), ifName: "eth0", gone: true},
		{name: "an interface that the sandbox does not have", result: result("eth1", mac, ip4), ifName: "eth1", gone: true},
		{name: "an interface that is no veth", result: result("lo", "", types.IP{}), ifName: "lo", down: true, gone: true},
	} {
		onHost(t, host, func() error {
			e, err := netutil.OpenEnds(path)
			if err != nil {
				return err
			}
			got, ips, err := e.Compare(ctx, tt.result, tt.ifName, path, tt.down)
			switch {
			case tt.gone:
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: Compare = %v, want %v", tt.name, err, fs.ErrNotExist)
				}
			case tt.want != nil:
				var what []string
				for _, d := range asMismatch(t, err) {
					what = append(what, d.What)
				}
				if diff := cmp.Diff(tt.want, what); diff != "" {
					t.Errorf("%s: Compare differs in (-want +got):\n%s", tt.name, diff)
				}
			case err != nil || got.Host.Name != "host0" || got.Peer.Name != "eth0" || len(ips) != 1:
				t.Errorf("%s: Compare = %+v, %v, %v, want both ends and one address", tt.name, got, ips, err)
			}
			return e.Close()
		})
	}
	onHost(t, host, func() error {
		if _, err := netutil.OpenEnds(path + "-missing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("OpenEnds of nothing = %v, want %v", err, fs.ErrNotExist)
		}
		if _, err := netutil.OpenEnds(os.DevNull); !errors.Is(err, ns.ErrNotNamespace) {
			t.Errorf("OpenEnds of a device = %v, want %v", err, ns.ErrNotNamespace)
		}
		return nil
	})
}

// Both ends work when it returns, and an end that is down is not waited for for ever.
func TestEnds_WaitRunning(t *testing.T) {
	t.Parallel()
	host, sandbox := newSpace(t), newSpace(t)
	v := plugged(t, host, sandbox, "host0", "", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	e := &netutil.Ends{Host: host.Conn, Sandbox: sandbox.Conn, NS: sandbox.ns}
	if err := e.WaitRunning(ctx, v); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitRunning with the container's end down = %v, want %v", err, context.DeadlineExceeded)
	}
	if err := sandbox.SetUp(t.Context(), v.Peer.Index); err != nil {
		t.Fatal(err)
	}
	if err := e.WaitRunning(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	for s, name := range map[space]string{host: "host0", sandbox: "eth0"} {
		if got := s.ipJSON(t, "link", "show", name)[0]["operstate"]; got != "UP" {
			t.Errorf("state of %s = %v, want UP", name, got)
		}
	}
}

// The host's side, as CHECK of ptp looks at it.
func TestConn_CompareRoutes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, sandbox := newSpace(t), newSpace(t)
	v := plugged(t, host, sandbox, "host0", "", 0)
	if _, err := host.EnsureAddr(ctx, v.Host.Index, prefix("10.1.2.1/32"), netutil.AddrConfig{}); err != nil {
		t.Fatal(err)
	}
	r := netutil.Route{Dst: prefix("10.1.2.2/32"), Index: v.Host.Index, Scope: types.Some[uint8](254)}
	if err := host.SetRoute(ctx, r); err != nil {
		t.Fatal(err)
	}
	if err := host.CompareRoutes(ctx, v.Host, r); err != nil {
		t.Error(err)
	}
	r.Scope = types.Some[uint8](253)
	missing := netutil.Route{Dst: prefix("10.1.2.3/32")}
	err := host.CompareRoutes(ctx, v.Host, r, missing)
	want := []netutil.Difference{
		{What: "scope of route 10.1.2.2/32 dev host0", Have: "254", Want: "253"},
		{What: "route", Want: "10.1.2.3/32 dev host0"},
	}
	if diff := cmp.Diff(want, asMismatch(t, err)); diff != "" {
		t.Errorf("CompareRoutes (-want +got):\n%s", diff)
	}
	if err := host.CompareAddrs(ctx, v.Host, prefix("10.1.2.1/32")); err != nil {
		t.Error(err)
	}
	err = host.CompareAddrs(ctx, v.Host, prefix("10.1.2.1/24"), prefix("10.1.2.9/32"))
	want = []netutil.Difference{
		{What: "address", Have: "10.1.2.1/32", Want: "10.1.2.1/24"},
		{What: "address", Want: "10.1.2.9/32"},
	}
	if diff := cmp.Diff(want, asMismatch(t, err)); diff != "" {
		t.Errorf("CompareAddrs (-want +got):\n%s", diff)
	}
}
