// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"

	"github.com/cnikit/cnikit/internal/rtnl"
	"github.com/cnikit/cnikit/types"
)

// Link is a link, as it was when it was looked at.
type Link struct {
	Index    int // number of the link in its namespace; never zero
	Name     string
	AltNames []string // further names by which it can be looked up
	Alias    string   // a description
	Kind     string   // "veth", "bridge", "macvlan", …; empty for hardware and loopback
	MAC      net.HardwareAddr
	MTU      int // in bytes

	Up      bool // it was set up
	Running bool // it is up, and so is the other end or the cable
	Promisc bool // it was told to receive everything; not set by programs that capture packets

	Master     int // index of the bridge or other link that it is a port of; 0 if none
	Parent     int // index of the link below it, or of the peer of a veth; 0 if none
	ParentNSID int // by which number its namespace knows that of Parent; -1 if that is its own, or it has none

	TxQueueLen int // in packets
	Queues     int // transmit queues

	Bridge *Bridge // of a bridge
	Port   *Port   // of a port of a bridge
}

// Bridge is what is particular to a bridge.
type Bridge struct {
	VLANFiltering bool
	STP           bool // it runs the spanning tree protocol, so that ports take time to forward
}

// Port is what is particular to a port of a bridge.
type Port struct {
	Hairpin    bool // frames may leave by the port they came from
	Isolated   bool // it does not talk to other isolated ports
	Forwarding bool // it takes part
}

// Interface returns the link as a result lists it: name, hardware address and MTU. Sandbox
// is the path of its namespace, the value of CNI_NETNS; empty for a link on the host.
func (l *Link) Interface(sandbox string) types.Interface {
	return types.Interface{Name: l.Name, MAC: l.MAC.String(), MTU: uint32(l.MTU), Sandbox: sandbox}
}

func newLink(l *rtnl.Link) *Link {
	k := &Link{
		Index: l.Index, Name: l.Name, AltNames: l.AltNames, Alias: l.Alias, Kind: l.Kind, MAC: l.MAC, MTU: l.MTU,
		Up:      l.Flags&rtnl.FlagUp != 0,
		Running: running(l),
		Promisc: l.Flags&rtnl.FlagPromisc != 0,
		Master:  l.Master, Parent: l.Parent, ParentNSID: l.ParentNS,
		TxQueueLen: l.TxQueue, Queues: l.Queues,
	}
	if l.Bridge != nil {
		k.Bridge = &Bridge{VLANFiltering: l.Bridge.VLANFiltering, STP: l.Bridge.STP}
	}
	if l.Port != nil {
		k.Port = &Port{
			Hairpin: l.Port.Hairpin, Isolated: l.Port.Isolated,
			Forwarding: l.Port.State == rtnl.PortForwarding,
		}
	}
	return k
}

// addMAC notes another hardware address than the one wanted; any will do if that is empty.
// Results of other plugins, such as those of one that changes it, may spell it differently.
func (m *mismatch) addMAC(link *Link, want string) {
	mac, err := net.ParseMAC(want)
	m.add(want != "" && (err != nil || !bytes.Equal(mac, link.MAC)), "hardware address", link.MAC.String(), want)
}

// running tells a link that works from one that is only up. Some kinds, such as
// loopback, never say in what state they are; of those the carrier has to do. A veth
// says it soon after it got its carrier, and sends nothing before.
//
// Kernel: Documentation/networking/operstates.rst.
func running(l *rtnl.Link) bool {
	switch {
	case l.Flags&rtnl.FlagUp == 0:
		return false
	case l.OperState == rtnl.OperUnknown:
		return l.Flags&rtnl.FlagLowerUp != 0 && l.Kind != "veth"
	}
	return l.OperState == rtnl.OperUp
}

// Link looks up a link by its name or one of its alternative names. The error is
// [fs.ErrNotExist] if there is none.
//
// Equivalent to: ip link show dev NAME
func (c *Conn) Link(ctx context.Context, name string) (*Link, error) {
	l, err := c.rt.LinkByName(ctx, name)
	if err != nil {
		return nil, err
	}
	return newLink(l), nil
}

// LinkByIndex looks up a link by its number. The error is [fs.ErrNotExist] if there is
// none.
func (c *Conn) LinkByIndex(ctx context.Context, index int) (*Link, error) {
	l, err := c.rt.LinkByIndex(ctx, index)
	if err != nil {
		return nil, err
	}
	return newLink(l), nil
}

// LinkFilter says which links to list. The zero value says all.
type LinkFilter struct {
	Kind   string // empty: any
	Master int    // index of the link that they are ports of; 0: any or none
	Alias  string // empty: any
}

// ListLinks lists links. Kind and Master are matched by the kernel. An alias is not,
// so that this reads all links of the Kind to find one alias; a link with a name that
// can be told in advance, such as [Owner.HostName], is found by [Conn.Link].
func (c *Conn) ListLinks(ctx context.Context, f LinkFilter) ([]Link, error) {
	list, err := c.rt.Links(ctx, rtnl.LinkFilter{Kind: f.Kind, Master: f.Master})
	if err != nil {
		return nil, wrap(err, "list links")
	}
	var links []Link
	for i := range list {
		if f.Alias == "" || list[i].Alias == f.Alias {
			links = append(links, *newLink(&list[i]))
		}
	}
	return links, nil
}

// SetUp sets a link up. A veth may not send yet when it returns: the kernel starts its
// queues a moment after both ends are up, see [Ends.WaitRunning].
//
// Equivalent to: ip link set NAME up
func (c *Conn) SetUp(ctx context.Context, index int) error {
	err := c.rt.SetLink(ctx, &rtnl.LinkSpec{Index: index, Up: rtnl.On})
	return wrap(err, "set link %v up", c.linkName(ctx, index))
}

// SetDown sets a link down.
//
// Equivalent to: ip link set NAME down
func (c *Conn) SetDown(ctx context.Context, index int) error {
	err := c.rt.SetLink(ctx, &rtnl.LinkSpec{Index: index, Up: rtnl.Off})
	return wrap(err, "set link %v down", c.linkName(ctx, index))
}

// LinkConfig is what to change of a link. What is zero stays as it is.
type LinkConfig struct {
	Name   string
	Alias  string
	MAC    net.HardwareAddr
	MTU    int // in bytes
	Master int // index; -1 releases it
}

// SetLink changes a link. The kernel makes the changes one after the other; when it
// refuses one, those before it have been made.
func (c *Conn) SetLink(ctx context.Context, index int, cfg LinkConfig) error {
	err := c.rt.SetLink(ctx, &rtnl.LinkSpec{
		Index: index, NewName: cfg.Name, Alias: cfg.Alias, MAC: cfg.MAC, MTU: cfg.MTU, Master: cfg.Master,
	})
	return wrap(err, "change link %v", c.linkName(ctx, index))
}

// ValidateMTU checks the MTU of a veth, bridge or VLAN link, in bytes: 68 to 65535. A link
// with IPv6 addresses needs 1280, which is not checked.
//
// Kernel: ETH_MIN_MTU and ETH_MAX_MTU; include/uapi/linux/if_ether.h. IPV6_MIN_MTU;
// include/uapi/linux/ipv6.h.
func ValidateMTU(mtu int) error {
	const least, most = 68, 65535
	if mtu < least || mtu > most {
		return fmt.Errorf("%d is out of range; want %d to %d", mtu, least, most)
	}
	return nil
}

// DelLink removes a link by name, and agrees when there is none. Unless kind is empty,
// it removes only a link of that kind, and fails with a [MismatchError] if the link is
// something else: a name alone does not tell whose link it is.
//
// Equivalent to: ip link delete NAME type KIND
func (c *Conn) DelLink(ctx context.Context, name, kind string) error {
	l, err := c.rt.LinkByName(ctx, name)
	if err != nil {
		return ignoreGone(err)
	}
	if kind != "" && l.Kind != kind {
		var m mismatch
		m.add(true, "kind", kindName(l.Kind), kind)
		return m.err("link " + name)
	}
	return c.delIndex(ctx, l)
}

func (c *Conn) delIndex(ctx context.Context, l *rtnl.Link) error {
	return wrap(ignoreGone(c.rt.DelLink(ctx, l.Index)), "delete link %s", l.Name)
}

// kindName is a word for a kind also where the kernel has none.
func kindName(kind string) string {
	if kind == "" {
		return "hardware"
	}
	return kind
}

// DelOwned removes the link of an owner on the host, and with it the other end of the
// veth. It agrees when there is none. It needs no namespace and no record, only the
// owner. If the link with the owner's name bears another mark, it stays, and the error
// is [ErrForeign].
func (c *Conn) DelOwned(ctx context.Context, o Owner) error {
	_, err := c.delOwned(ctx, o)
	return err
}

// delOwned reports whether there was one.
func (c *Conn) delOwned(ctx context.Context, o Owner) (deleted bool, err error) {
	l, err := c.rt.LinkByName(ctx, o.HostName())
	if err != nil {
		return false, ignoreGone(err)
	}
	// A link without a mark is the work of an ADD that was killed before it could set
	// one: nothing else makes a veth with such a name.
	if l.Kind != "veth" || (l.Alias != "" && l.Alias != o.Alias()) {
		return false, fmt.Errorf("delete link %s of kind %q with alias %q: %w", l.Name, l.Kind, l.Alias, ErrForeign)
	}
	return true, c.delIndex(ctx, l)
}

// ListOwned lists the links on the host that bear the mark of any owner in a network,
// or, if network is empty, of any owner at all. GC compares their Alias with those of
// the attachments that it was told of. With a network, they include those without a mark
// whose name only an owner in that network gives: the work of an ADD that was killed
// before it could set one.
func (c *Conn) ListOwned(ctx context.Context, network string) ([]Link, error) {
	links, err := c.ListLinks(ctx, LinkFilter{Kind: "veth"})
	if err != nil {
		return nil, err
	}
	var owned []Link
	for _, l := range links {
		switch {
		case network == "" && isOwned(l.Alias),
			network != "" && strings.HasPrefix(l.Alias, networkAlias(network)),
			network != "" && isUnmarked(&l, network):
			owned = append(owned, l)
		}
	}
	return owned, nil
}

// WaitRunning waits until a link is up at both ends, for which it subscribes to the
// kernel's news of links, or until the context ends.
func (c *Conn) WaitRunning(ctx context.Context, index int) error {
	ready := func() (bool, error) {
		l, err := c.LinkByIndex(ctx, index)
		return err == nil && l.Running, err
	}
	return wrap(c.await(ctx, rtnl.WatchLinks, ready), "wait for link %v", c.linkName(ctx, index))
}

// await waits until ready, asking again whenever the kernel has news of a group.
func (c *Conn) await(ctx context.Context, group uint, ready func() (bool, error)) error {
	// Most often it is ready, and then a subscription would be for nothing.
	if ok, err := ready(); ok || err != nil {
		return err
	}
	w, err := c.watch(group)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		if err := w.Wait(ctx); err != nil {
			return err
		}
	}
}

func (c *Conn) watch(group uint) (*rtnl.Watch, error) {
	var w *rtnl.Watch
	err := c.inside(func() (err error) {
		w, err = rtnl.OpenWatch(group)
		return err
	})
	return w, err
}

// randomMAC returns a hardware address that no vendor gave out and no group has.
//
// One that is chosen here, not by the kernel, is left alone by systemd-udevd, which
// replaces those that the kernel reports as random (MACAddressPolicy=persistent).
func randomMAC() net.HardwareAddr {
	v := rand.Uint64()
	const local, group = 0x02, 0x01
	return net.HardwareAddr{
		byte(v)&^group | local, byte(v >> 8), byte(v >> 16), byte(v >> 24), byte(v >> 32), byte(v >> 40),
	}
}
