// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/cnikit/cnikit/internal/rtnl"
	"github.com/cnikit/cnikit/ns"
)

// MacvlanMode says whom a macvlan talks to.
type MacvlanMode uint32

// Modes of a macvlan, with their names in the kernel.
const (
	MacvlanBridge   MacvlanMode = rtnl.MacvlanBridge   // MACVLAN_MODE_BRIDGE: to the others directly
	MacvlanPrivate  MacvlanMode = rtnl.MacvlanPrivate  // MACVLAN_MODE_PRIVATE: not to the others
	MacvlanVEPA     MacvlanMode = rtnl.MacvlanVEPA     // MACVLAN_MODE_VEPA: to the others by way of the switch
	MacvlanPassthru MacvlanMode = rtnl.MacvlanPassthru // MACVLAN_MODE_PASSTHRU: it has the link below for itself
)

// macvlanModes are the words of ip(8), and of configurations, for modes.
var macvlanModes = [...]struct {
	mode MacvlanMode
	word string
}{{MacvlanBridge, "bridge"}, {MacvlanPrivate, "private"}, {MacvlanVEPA, "vepa"}, {MacvlanPassthru, "passthru"}}

// String returns the word of ip(8) for the mode, such as "bridge", or its number; for the
// zero value it is "".
func (m MacvlanMode) String() string {
	if m == 0 {
		return ""
	}
	for _, known := range macvlanModes {
		if known.mode == m {
			return known.word
		}
	}
	return strconv.FormatUint(uint64(m), 10)
}

// UnmarshalText implements [encoding.TextUnmarshaler], for a key of a configuration: the
// words of ip(8) in lower case. Empty text is the zero value.
func (m *MacvlanMode) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = 0
		return nil
	}
	for _, known := range macvlanModes {
		if known.word == string(text) {
			*m = known.mode
			return nil
		}
	}
	return fmt.Errorf("%.80q is no mode of a macvlan; want bridge, private, vepa or passthru", text)
}

// MacvlanConfig is a macvlan to be made: a further hardware address on a link.
type MacvlanConfig struct {
	Name       string           // required
	Parent     int              // index of the link below, in the namespace of the [Conn]; required
	NS         *ns.NS           // where to make it. Nil: in the namespace of the Conn
	Mode       MacvlanMode      // zero: MacvlanBridge
	MAC        net.HardwareAddr // nil: a random one
	MTU        int              // in bytes. Zero: that of the link below, which is also the largest
	BCQueueLen uint32           // broadcast packets that may wait. Zero: the kernel's default, 1000; since Linux 5.10
}

// EnsureMacvlan makes a macvlan, in its place and under its name from the beginning, and
// reports whether it did. It stays down. If the name is taken, that must be a macvlan of
// the same link, mode, and, as far as given, hardware address and MTU; else the error is a
// [MismatchError]. To an ADD it is an error as well when it did not make it: the name is
// taken.
//
// Equivalent to: ip link add NAME netns N link PARENT type macvlan mode MODE
func (c *Conn) EnsureMacvlan(ctx context.Context, cfg MacvlanConfig) (l *Link, created bool, err error) {
	if cfg.Mode == 0 {
		cfg.Mode = MacvlanBridge
	}
	s := &rtnl.LinkSpec{
		Name: cfg.Name, Kind: "macvlan", Parent: cfg.Parent, MTU: cfg.MTU, MAC: cfg.MAC,
		Macvlan: &rtnl.Macvlan{Mode: uint32(cfg.Mode), BCQueueLen: cfg.BCQueueLen},
	}
	if cfg.Mode != MacvlanPassthru {
		s.MAC = orRandom(cfg.MAC) // one in passthru mode has that of the link below
	}
	if cfg.NS != nil {
		s.NetNS = cfg.NS.Fd()
	}
	made, err := c.rt.AddLink(ctx, s)
	if err != nil && !isExist(err) {
		return nil, false, wrap(err, "create macvlan %s", cfg.Name)
	}
	if err == nil && made != nil {
		return newLink(made), true, nil
	}
	created = err == nil // but the kernel did not tell what it made
	// Who asked has to know what was made to remove it.
	if l, err = c.findMacvlan(context.WithoutCancel(ctx), cfg, !created); err != nil {
		return nil, false, err
	}
	// It may be there because the answer was lost, and the request sent again: nobody else's
	// has that random address.
	ours := len(cfg.MAC) == 0 && len(s.MAC) > 0 && bytes.Equal(l.MAC, s.MAC)
	return l, created || ours, nil
}

// findMacvlan looks up a macvlan where it should be, and compares it if it was there
// before.
func (c *Conn) findMacvlan(ctx context.Context, cfg MacvlanConfig, compare bool) (_ *Link, err error) {
	at := c
	if cfg.NS != nil {
		if at, err = Open(cfg.NS); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, at.Close()) }()
	}
	raw, err := at.rt.LinkByName(ctx, cfg.Name)
	if err != nil {
		return nil, err
	}
	l := newLink(raw)
	if !compare {
		return l, nil
	}
	var m mismatch
	m.add(l.Kind != "macvlan", "kind", kindName(l.Kind), "macvlan")
	m.add(l.Parent != cfg.Parent, "link below", fmt.Sprint(l.Parent), fmt.Sprint(cfg.Parent))
	if raw.Macvlan != nil {
		m.add(raw.Macvlan.Mode != uint32(cfg.Mode), "mode", MacvlanMode(raw.Macvlan.Mode).String(), cfg.Mode.String())
	}
	m.addMAC(l, cfg.MAC.String())
	m.add(cfg.MTU != 0 && l.MTU != cfg.MTU, "mtu", fmt.Sprint(l.MTU), fmt.Sprint(cfg.MTU))
	return l, m.err("link " + cfg.Name)
}
