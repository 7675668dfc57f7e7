// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/skel"
)

// Main is the TestMain of a package whose plugins are tested in namespaces:
//
//	func TestMain(m *testing.M) { skeltest.Main(m, plugin()) }
//
// The tests run in network and mount namespaces of their own, for which an ordinary
// user gets a user namespace, where the kernel allows it. And when a runtime executes
// the test binary it is one of the plugins, so that there is nothing to build first;
// see [Self].
func Main(m *testing.M, plugins ...skel.Runner) {
	if os.Getenv("CNI_COMMAND") != "" {
		playRecorder()
		skel.Main(plugins...)
	}
	nstest.Main(m)
}

// Namespace is a network namespace for tests. It has no name and no mount: it goes
// when nothing uses it any more.
type Namespace struct {
	ns   *ns.NS
	conn *netutil.Conn
}

// New returns a fresh namespace whose loopback is up, and which is let go when the test
// ends. Where the kernel allows none, the test is skipped with what it said; with
// REQUIRE_KERNEL_TESTS=1 in the environment, it fails.
func New(t testing.TB) *Namespace {
	t.Helper()
	n, err := NewNamespace()
	if err != nil {
		nstest.New(t) // the gate, which skips
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// NewNamespace returns a fresh namespace whose loopback is up. The caller closes it.
func NewNamespace() (*Namespace, error) {
	n, err := ns.New()
	if err != nil {
		return nil, err
	}
	conn, err := netutil.Open(n)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	s := &Namespace{n, conn}
	if err := conn.SetUp(context.Background(), 1); err != nil { // the loopback is always the first link
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close lets go of the namespace.
func (n *Namespace) Close() error { return errors.Join(n.conn.Close(), n.ns.Close()) }

// Path returns a path of the namespace for CNI_NETNS, good for this process and its
// children.
func (n *Namespace) Path() string { return n.ns.Path() }

// Do calls f inside the namespace; see [ns.NS.Do].
func (n *Namespace) Do(f func() error) error { return n.ns.Do(f) }

// Start starts a process in the namespace, which is its host then; see
// [Runtime.Start].
func (n *Namespace) Start(cmd *exec.Cmd) error { return n.ns.Do(cmd.Start) }

// Conn returns a way to configure the namespace, which remains n's.
func (n *Namespace) Conn() *netutil.Conn { return n.conn }

// addVeth makes a veth from n to peer, with an address and a default route on the far
// end, as an interface plugin does.
func (n *Namespace) addVeth(peer *Namespace, name, peerName string, addr netip.Prefix, gateway netip.Addr) (hostMAC, mac string, err error) {
	ctx := context.Background()
	v, _, err := n.conn.EnsureVeth(ctx, netutil.VethConfig{Name: name, Up: true, Peer: netutil.VethPeer{NS: peer.ns, Name: peerName}})
	if err != nil {
		return "", "", err
	}
	if err := peer.conn.SetUp(ctx, v.Peer.Index); err != nil {
		return "", "", err
	}
	if addr.IsValid() {
		if _, err := peer.conn.EnsureAddr(ctx, v.Peer.Index, addr, netutil.AddrConfig{}); err != nil {
			return "", "", err
		}
	}
	if gateway.IsValid() {
		if _, err := peer.conn.EnsureRoute(ctx, netutil.Route{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: gateway, Index: v.Peer.Index}); err != nil {
			return "", "", err
		}
	}
	return v.Host.MAC.String(), v.Peer.MAC.String(), nil
}

// setDown, delAddr, delRoutes and delLink spoil what a plugin has made.
func (n *Namespace) setDown(index int) error {
	return n.conn.SetDown(context.Background(), index)
}

func (n *Namespace) addAddr(index int, p netip.Prefix) error {
	_, err := n.conn.EnsureAddr(context.Background(), index, p, netutil.AddrConfig{})
	return err
}

func (n *Namespace) delAddr(index int, p netip.Prefix) error {
	return n.conn.DelAddr(context.Background(), index, p)
}

func (n *Namespace) delRoute(index int, r routeState) error {
	return n.conn.DelRoute(context.Background(), netutil.Route{Dst: r.dst, Gateway: r.gateway, Index: index, Table: r.table, Priority: r.priority})
}

func (n *Namespace) delLink(name, kind string) error {
	return n.conn.DelLink(context.Background(), name, kind)
}

// Self makes the test binary an executable plugin of this name in a directory of the
// test's own, and returns its path. [Main] plays it.
func Self(t testing.TB, name string) (path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path = t.TempDir() + "/" + name
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}
