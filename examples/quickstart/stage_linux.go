// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// A place is a network namespace with a name.
type place struct {
	name string
	ns   *ns.NS
	conn *netutil.Conn
}

// A stage is where the show takes place: a host, two containers, and somebody
// outside who has no route to the containers.
type stage struct {
	host, outside *place
	containers    []*place
	runtime       *skeltest.Runtime
	plugins       string // the directory of the plugins
	told          int    // how many executions were shown
}

// outsideAddr is the address of the outside, from a block for documentation
// (RFC 5737), and hostAddr that of the host towards it.
var (
	outsideAddr = netip.MustParsePrefix("192.0.2.2/24")
	hostAddr    = netip.MustParsePrefix("192.0.2.1/24")
)

// uplink is the host's link to the outside.
const uplink = "uplink"

func newStage(ctx context.Context) (s *stage, err error) {
	s = &stage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.plugins, err = pluginDir("bridge", "host-local"); err != nil {
		return s, err
	}
	if s.host, err = newPlace(ctx, "host"); err != nil {
		return s, err
	}
	s.runtime = &skeltest.Runtime{
		Path: []string{s.plugins},
		// A process stays where it was started.
		Start: func(cmd *exec.Cmd) error { return s.host.ns.Do(cmd.Start) },
	}
	if s.outside, err = newPlace(ctx, "outside"); err != nil {
		return s, err
	}
	for _, name := range []string{"one", "two"} {
		c, err := newPlace(ctx, name)
		if err != nil {
			return s, err
		}
		s.containers = append(s.containers, c)
	}
	return s, s.connectOutside(ctx)
}

// newPlace makes a namespace and sets its loopback up.
func newPlace(ctx context.Context, name string) (p *place, err error) {
	n, err := ns.New()
	if err != nil {
		return nil, err
	}
	p = &place{name: name, ns: n}
	if p.conn, err = netutil.Open(n); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	lo, err := p.conn.Link(ctx, "lo")
	if err == nil {
		err = p.conn.SetUp(ctx, lo.Index)
	}
	return p, err
}

func (p *place) close() error {
	if p == nil {
		return nil
	}
	return errors.Join(p.conn.Close(), p.ns.Close())
}

// pluginDir makes a directory in which this executable has the names of plugins.
func pluginDir(names ...string) (dir string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "quickstart"); err != nil {
		return "", err
	}
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// connectOutside makes the cable between the host and the outside, and serves
// HTTP at its end.
func (s *stage) connectOutside(ctx context.Context) error {
	v, _, err := s.host.conn.EnsureVeth(ctx, netutil.VethConfig{Name: uplink, Peer: netutil.VethPeer{NS: s.outside.ns, Name: "eth0"}})
	if err != nil {
		return err
	}
	_, err = s.host.conn.EnsureAddr(ctx, v.Host.Index, hostAddr, netutil.AddrConfig{})
	if err == nil {
		_, err = s.outside.conn.EnsureAddr(ctx, v.Peer.Index, outsideAddr, netutil.AddrConfig{})
	}
	if err == nil {
		err = s.outside.conn.SetUp(ctx, v.Peer.Index)
	}
	if err == nil {
		err = s.host.conn.SetUp(ctx, v.Host.Index)
	}
	if err == nil {
		err = serve(s.outside.ns, "the outside")
	}
	return err
}

func (s *stage) close() error {
	var err error
	if s.plugins != "" {
		err = os.RemoveAll(s.plugins)
	}
	for _, p := range append(s.containers, s.outside, s.host) {
		err = errors.Join(err, p.close())
	}
	return err
}

// attachment says how a container is attached.
func (p *place) attachment() skeltest.Attachment {
	return skeltest.Attachment{ContainerID: p.name, Netns: p.ns.Path(), IfName: "eth0"}
}

// leftovers returns what the attachments left behind, which should be nothing. A
// bridge is for all containers that ever come, and stays.
func (s *stage) leftovers(ctx context.Context, n *types.Network) ([]string, error) {
	var left []string
	for _, p := range append(s.containers, s.host) {
		links, err := p.conn.ListLinks(ctx, netutil.LinkFilter{Kind: "veth"})
		if err != nil {
			return nil, err
		}
		for _, l := range links {
			if l.Name != uplink {
				left = append(left, "link "+l.Name+" in "+p.name)
			}
		}
	}
	entries, err := os.ReadDir("/var/lib/cni/networks/" + n.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err == nil {
			left = append(left, "reservation of "+e.Name())
		}
	}
	masqueraded, err := s.masqueraded(ctx, n.Name)
	for _, a := range masqueraded {
		left = append(left, "masquerading of "+a.Addr.String())
	}
	return left, err
}

// masqueraded returns what the host masquerades for a network.
func (s *stage) masqueraded(ctx context.Context, network string) (all []netutil.Masqueraded, err error) {
	err = s.host.ns.Do(func() error {
		m, err := netutil.OpenMasquerade(ctx, netutil.FirewallConfig{})
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		if err != nil {
			return err
		}
		all, err = m.List(ctx, network)
		return errors.Join(err, m.Close())
	})
	return all, err
}

// errLeft says what should not be there.
func errLeft(left []string) error {
	return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
}
