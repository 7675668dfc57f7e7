// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"github.com/cnikit/cnikit/internal/rtnl"
	"github.com/cnikit/cnikit/ns"
)

// VethConfig is a veth to be made: a cable with two ends. This end, the host end, is in
// the namespace of the [Conn].
type VethConfig struct {
	Name   string           // required; see [Owner.HostName]
	Alias  string           // the mark on the host end; see [Owner.Alias]. Empty: none
	MAC    net.HardwareAddr // of the host end. Nil: a random one
	MTU    int              // of both ends, in bytes. Zero: the kernel's default, 1500
	Queues int              // of both ends, in each direction. Zero: one, which is all that a container needs
	Up     bool             // set the host end up, see [Conn.EnsureVeth]

	Master int         // index of the bridge that the host end becomes a port of. Zero: none
	Port   *PortConfig // what kind of port. Nil: as the bridge makes it

	Peer VethPeer
}

// VethPeer is the other end of a veth, the container's.
type VethPeer struct {
	NS   *ns.NS           // its namespace. Nil: that of the host end
	Name string           // required
	MAC  net.HardwareAddr // nil: a random one
}

// PortConfig says how a port of a bridge behaves. Both are set as given, also to false.
type PortConfig struct {
	Hairpin  bool // frames may leave by the port they came from
	Isolated bool // it does not talk to other isolated ports
}

// Veth is a veth that exists. Name, Index, MAC and MTU of both ends are known; what else
// a link has is as it was when the veth was made.
type Veth struct {
	Host *Link // the end in the namespace of the Conn
	Peer *Link // the other end
}

// EnsureVeth makes a veth, each end in its place and under its name from the beginning,
// and reports whether it did. What a link of a container is not taken through: a
// temporary name, another namespace, another hardware address.
//
// If a link with the name is there, it must be a veth with the wanted alias, or without
// one, and the wanted peer; else the error is a [MismatchError]. What can be set is set
// again. If the name of the peer is taken, the error is [fs.ErrExist], and if the bridge
// takes no more ports, [ErrBridgeFull]. When it fails, nothing of what it made is left.
//
// The host end ignores router advertisements (accept_ra=0), from before it is up. The
// container end stays down. Set the host end up last, with [Conn.SetUp], and a port of a
// bridge forwards from that moment; with Up it starts some time after the container end
// is up, see [Conn.WaitRunning].
//
// Equivalent to: ip link add NAME type veth peer name PEER netns N
// Kernel: VETH_INFO_PEER with IFLA_NET_NS_FD; drivers/net/veth.c.
func (c *Conn) EnsureVeth(ctx context.Context, cfg VethConfig) (v *Veth, created bool, err error) {
	v, err = c.addVeth(ctx, &cfg)
	switch {
	case isExist(err):
		if v, err = c.adoptVeth(ctx, &cfg, err); err != nil {
			return nil, false, err
		}
	case err != nil:
		return nil, false, wrap(c.bridgeFull(ctx, cfg.Master, err), "create veth %s", cfg.Name)
	default:
		created = true
	}
	if err := c.finishVeth(ctx, &cfg, v); err != nil {
		if created {
			// That the context has ended may be why.
			err = errors.Join(err, ignoreGone(c.rt.DelLink(context.WithoutCancel(ctx), v.Host.Index)))
		}
		return nil, false, err
	}
	return v, created, nil
}

// addVeth makes a veth by one message.
func (c *Conn) addVeth(ctx context.Context, cfg *VethConfig) (*Veth, error) {
	queues := max(cfg.Queues, 1)
	peer := &rtnl.LinkSpec{Name: cfg.Peer.Name, MAC: orRandom(cfg.Peer.MAC), MTU: cfg.MTU, Queues: queues}
	if cfg.Peer.NS != nil {
		peer.NetNS = cfg.Peer.NS.Fd()
	}
	made, err := c.rt.AddLink(ctx, &rtnl.LinkSpec{
		Name: cfg.Name, Kind: "veth", MAC: orRandom(cfg.MAC), MTU: cfg.MTU, Queues: queues,
		Master: cfg.Master, Peer: peer,
	})
	if err != nil {
		return nil, err
	}
	v := &Veth{Host: newLink(made)}
	v.Host.Master, v.Host.Alias = cfg.Master, cfg.Alias // which the kernel sets after it has told
	v.Peer = &Link{
		Index: made.Parent, Name: peer.Name, Kind: "veth", MAC: peer.MAC, MTU: made.MTU,
		Parent: made.Index, ParentNSID: -1, Queues: queues, TxQueueLen: made.TxQueue,
	}
	return v, nil
}

// finishVeth does to the host end what the kernel does not take at creation.
func (c *Conn) finishVeth(ctx context.Context, cfg *VethConfig, v *Veth) error {
	if err := c.ignoreRouters(v.Host.Name); err != nil {
		return err
	}
	s := &rtnl.LinkSpec{Index: v.Host.Index, Alias: cfg.Alias}
	if v.Host.Master != cfg.Master {
		s.Master = cfg.Master // adopted
	}
	if cfg.Port != nil {
		s.Port = cfg.Port.spec()
	}
	if cfg.Up {
		s.Up = rtnl.On
	}
	if s.Alias == "" && s.Port == nil && s.Master == 0 && !cfg.Up {
		return nil
	}
	return wrap(c.bridgeFull(ctx, s.Master, c.rt.SetLink(ctx, s)), "configure link %s", cfg.Name)
}

// bridgeFull is err, or [ErrBridgeFull] with the name of the bridge if err is how the
// kernel says that it takes no more ports.
func (c *Conn) bridgeFull(ctx context.Context, master int, err error) error {
	if master == 0 || !errors.Is(err, syscall.EXFULL) {
		return err
	}
	return fmt.Errorf("bridge %s: %w", c.linkName(ctx, master), ErrBridgeFull)
}

func (p *PortConfig) spec() *rtnl.PortSpec {
	return &rtnl.PortSpec{Hairpin: flag(p.Hairpin), Isolated: flag(p.Isolated)}
}

func flag(on bool) rtnl.Flag {
	if on {
		return rtnl.On
	}
	return rtnl.Off
}

func orRandom(mac net.HardwareAddr) net.HardwareAddr {
	if len(mac) == 0 {
		return randomMAC()
	}
	return mac
}

// adoptVeth finds the veth that is there already, and compares it. exists is how the
// kernel said that one of the names is taken.
func (c *Conn) adoptVeth(ctx context.Context, cfg *VethConfig, exists error) (*Veth, error) {
	l, err := c.rt.LinkByName(ctx, cfg.Name)
	if isGone(err) {
		return nil, wrap(exists, "create veth %s: peer %s", cfg.Name, cfg.Peer.Name)
	}
	if err != nil {
		return nil, err
	}
	host := newLink(l)
	var m mismatch
	m.add(host.Kind != "veth", "kind", kindName(host.Kind), "veth")
	m.add(host.Alias != cfg.Alias && host.Alias != "", "alias", host.Alias, cfg.Alias)
	m.add(cfg.MTU != 0 && host.MTU != cfg.MTU, "mtu", fmt.Sprint(host.MTU), fmt.Sprint(cfg.MTU))
	m.addMAC(host, cfg.MAC.String())
	if err := m.err("link " + cfg.Name); err != nil {
		return nil, err
	}
	peer, err := c.peerIn(ctx, host, cfg.Peer.NS)
	if err != nil {
		return nil, err
	}
	m.add(peer == nil, "peer", "elsewhere", cfg.Peer.Name)
	if peer != nil {
		m.add(peer.Name != cfg.Peer.Name, "peer", peer.Name, cfg.Peer.Name)
		want := cfg.Peer.MAC
		m.add(len(want) != 0 && peer.MAC.String() != want.String(), "hardware address of peer", peer.MAC.String(), want.String())
	}
	return &Veth{Host: host, Peer: peer}, m.err("link " + cfg.Name)
}

// peerIn returns the peer of a veth if it is in the namespace n, or in that of the
// Conn if n is nil, and else nil.
func (c *Conn) peerIn(ctx context.Context, host *Link, n *ns.NS) (_ *Link, err error) {
	here, err := c.isHere(n)
	if err != nil {
		return nil, err
	}
	if here != (host.ParentNSID < 0) {
		return nil, nil
	}
	if here {
		return c.LinkByIndex(ctx, host.Parent)
	}
	if id, err := c.rt.NSID(ctx, n.Fd()); err != nil || id != host.ParentNSID {
		return nil, wrap(err, "look up namespace %s", n.Path())
	}
	other, err := Open(n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	return other.LinkByIndex(ctx, host.Parent)
}

// isHere reports whether n is the namespace of the Conn.
func (c *Conn) isHere(n *ns.NS) (bool, error) {
	switch {
	case n == nil:
		return true, nil
	case c.ns != nil:
		return c.ns.Equal(n), nil
	}
	return n.IsCurrent()
}

// Peer returns the other end of a veth, looked up through another Conn: that of the
// namespace where the caller expects it. The error is [fs.ErrNotExist] if it is not
// there.
func (c *Conn) Peer(ctx context.Context, veth *Link, in *Conn) (*Link, error) {
	peer, err := in.LinkByIndex(ctx, veth.Parent)
	if err != nil {
		return nil, wrap(err, "peer of link %s", veth.Name)
	}
	// Indexes are unique in one namespace only, so another link may have this one there.
	if peer.Kind != "veth" || peer.Parent != veth.Index {
		return nil, fmt.Errorf("peer of link %s: %w", veth.Name, fs.ErrNotExist)
	}
	return peer, nil
}

// SetPort sets how a port of a bridge behaves.
//
// Equivalent to: bridge link set dev NAME hairpin … isolated …
func (c *Conn) SetPort(ctx context.Context, index int, cfg PortConfig) error {
	err := c.rt.SetLink(ctx, &rtnl.LinkSpec{Index: index, Port: cfg.spec()})
	return wrap(err, "configure port %v", c.linkName(ctx, index))
}
