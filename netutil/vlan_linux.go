// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/cnikit/cnikit/internal/rtnl"
)

// defaultVLAN is the VLAN of every port of a bridge that was told nothing else.
const defaultVLAN = 1

// VLANRange is the VLANs from First to Last, 1 to 4094, both included.
type VLANRange struct {
	First, Last int
}

// PortVLANs is what VLANs a port of a bridge is in.
type PortVLANs struct {
	// Access is the VLAN of frames without a tag, both ways. Zero: 1, if there is a Trunk
	// and nothing is kept.
	Access int
	// Trunk is the VLANs of frames with a tag.
	Trunk []VLANRange
	// Keep leaves the port in the VLANs it is in. Else it is taken out of those that are
	// not named above, in particular of VLAN 1, in which the kernel puts every port.
	Keep bool
}

// VLAN is a VLAN that a port is in.
type VLAN struct {
	ID       int
	Access   bool // frames that arrive without a tag belong to it
	Untagged bool // its frames leave without a tag
}

// SetPortVLANs puts a port of a bridge into VLANs. The bridge must filter them, see
// [BridgeConfig], or they mean nothing; the kernel does not tell.
//
// Equivalent to: bridge vlan add dev NAME vid ID [pvid untagged]
func (c *Conn) SetPortVLANs(ctx context.Context, index int, v PortVLANs) error {
	have, err := c.rt.VLANs(ctx, index)
	if err != nil {
		return wrap(err, "list vlans of port %v", c.linkName(ctx, index))
	}
	drop, add := planVLANs(have, v)
	if len(drop) > 0 {
		if err := c.rt.DelVLANs(ctx, index, false, drop...); err != nil {
			return wrap(err, "take port %v out of vlans", c.linkName(ctx, index))
		}
	}
	if len(add) == 0 {
		return nil
	}
	return wrap(c.rt.AddVLANs(ctx, index, false, add...), "put port %v into vlans", c.linkName(ctx, index))
}

// ComparePortVLANs compares the VLANs of a port with those that [Conn.SetPortVLANs] puts
// it into; others do not matter. The error is a [MismatchError] that tells what is missing.
func (c *Conn) ComparePortVLANs(ctx context.Context, port *Link, v PortVLANs) error {
	have, err := c.ListVLANs(ctx, port.Index)
	if err != nil {
		return err
	}
	return missingVLANs(have, v).err("link " + port.Name)
}

// missingVLANs tells which VLANs a port is not in.
func missingVLANs(have []VLAN, v PortVLANs) (m mismatch) {
	_, wanted := planVLANs(nil, v)
	for _, w := range wanted {
		for id := w.First; id <= w.Last; id++ {
			i := slices.IndexFunc(have, func(h VLAN) bool { return h.ID == id })
			m.add(i < 0, "vlan", "", fmt.Sprint(id))
			m.add(i >= 0 && w.PVID && !have[i].Access, "vlan of frames without a tag", "another", fmt.Sprint(id))
		}
	}
	return m
}

// planVLANs tells which VLANs a port must leave and enter. To enter one again with
// other flags is to change the flags.
func planVLANs(have []rtnl.VLANs, v PortVLANs) (drop, add []rtnl.VLANs) {
	access := v.Access
	if access == 0 && len(v.Trunk) > 0 && !v.Keep {
		access = defaultVLAN
	}
	if access != 0 {
		add = append(add, rtnl.VLANs{First: access, Last: access, PVID: true, Untagged: true})
	}
	for _, r := range v.Trunk {
		add = append(add, withoutAccess(r, access)...)
	}
	if v.Keep {
		return nil, add
	}
	for _, h := range have {
		if !inRanges(h.First, add) {
			drop = append(drop, rtnl.VLANs{First: h.First, Last: h.Last})
		}
	}
	return drop, add
}

// withoutAccess cuts the access VLAN out of a range, lest it become tagged.
func withoutAccess(r VLANRange, access int) []rtnl.VLANs {
	if access < r.First || access > r.Last {
		return []rtnl.VLANs{{First: r.First, Last: r.Last}}
	}
	var parts []rtnl.VLANs
	if access > r.First {
		parts = append(parts, rtnl.VLANs{First: r.First, Last: access - 1})
	}
	if access < r.Last {
		parts = append(parts, rtnl.VLANs{First: access + 1, Last: r.Last})
	}
	return parts
}

func inRanges(id int, ranges []rtnl.VLANs) bool {
	for _, r := range ranges {
		if r.First <= id && id <= r.Last {
			return true
		}
	}
	return false
}

// ListVLANs lists the VLANs of a port of a bridge, or of the bridge itself. The kernel
// is asked for all ports, since it cannot be asked for one before Linux 5.6.
//
// Equivalent to: bridge vlan show dev NAME
func (c *Conn) ListVLANs(ctx context.Context, index int) ([]VLAN, error) {
	list, err := c.rt.VLANs(ctx, index)
	if err != nil {
		return nil, wrap(err, "list vlans of port %v", c.linkName(ctx, index))
	}
	var vlans []VLAN
	for _, v := range list {
		vlans = append(vlans, VLAN{ID: v.First, Access: v.PVID, Untagged: v.Untagged})
	}
	return vlans, nil
}

// EnsureVLANGateway makes the link on which the host has its addresses in a VLAN of a
// bridge, and reports whether it did: a veth whose one end is a port of the bridge in
// that VLAN, and whose other end, which is returned, bears the name of [VLANGatewayName].
// Both are up, and the host ignores router advertisements there (accept_ra=0). An MTU of
// zero is that of the bridge. Several processes may do so at one time.
//
// If there is something else by one of the two names, the error is that of
// [Conn.EnsureVeth]. When it fails, what it made may stay; the next call goes on from there.
func (c *Conn) EnsureVLANGateway(ctx context.Context, br *Link, vlan, mtu int) (gateway *Link, created bool, err error) {
	name := VLANGatewayName(br.Name, vlan)
	if mtu == 0 {
		mtu = br.MTU
	}
	v, created, err := c.EnsureVeth(ctx, VethConfig{
		Name: vlanPortName(br.Name, vlan), MTU: mtu, Master: br.Index, Peer: VethPeer{Name: name},
	})
	if err != nil {
		return nil, false, err
	}
	if err := c.SetPortVLANs(ctx, v.Host.Index, PortVLANs{Access: vlan}); err != nil {
		return nil, created, err
	}
	if err := c.ignoreRouters(name); err != nil {
		return nil, created, err
	}
	for _, index := range []int{v.Peer.Index, v.Host.Index} {
		if err := c.SetUp(ctx, index); err != nil {
			return nil, created, err
		}
	}
	return v.Peer, created, nil
}

// VLANGatewayName returns the name of the host's link in a VLAN of a bridge: the name of
// the bridge, a dot and the number, as VLAN links are called everywhere. If that is longer
// than the 15 bytes that Linux allows, the name of the bridge is replaced by a hash of it.
func VLANGatewayName(bridge string, vlan int) string {
	name := fmt.Sprintf("%s.%d", bridge, vlan)
	if len(name) <= linkNameLen {
		return name
	}
	return fmt.Sprintf("%s.%d", hashName("cnb", bridge, 7), vlan)
}

// vlanPortName is the name of the other end of that link.
func vlanPortName(bridge string, vlan int) string {
	return fmt.Sprintf("%s.%d", hashName("cnp", bridge, 7), vlan)
}

// linkNameLen is the longest name of a link in bytes: IFNAMSIZ less the final zero.
const linkNameLen = 15

// hashName is a name of a prefix and some digits of a hash.
func hashName(prefix, of string, n int) string {
	sum := sha256.Sum256([]byte(of))
	return prefix + digits.EncodeToString(sum[:])[:n]
}
