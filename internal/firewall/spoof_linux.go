// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The filter against forged source addresses is a table of each network:
//
//	table bridge cnikit-spoof-NET {
//		set ports { type iface_index; elements = { "veth1" comment "net=NET id=ID if=eth0" } }
//		set senders { type iface_index . ether_addr; elements = { "veth1" . 02:… comment … } }
//		map owners { … }
//		chain prerouting {
//			type filter hook prerouting priority dstnat; policy accept;
//			iif @ports iif . ether saddr != @senders drop
//		}
//	}
//
// Ports are numbers, not names: the kernel gives a name to a new link as soon as the old
// one is gone, a number only after two thousand million others.
const (
	spoofPrefix  = "cnikit-spoof-"
	portsSet     = "ports"
	sendersSet   = "senders"
	spoofOwners  = "owners"
	spoofComment = "forged sources"

	// prioritySpoof is NF_BR_PRI_NAT_DST_BRIDGED: before the bridge looks at the frame.
	//
	// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netfilter_bridge.h
	prioritySpoof = -300

	// Offset and length of the source address in an Ethernet header.
	etherSource, etherBytes = 6, 6
)

// Port is a bridge port that may send from one address only.
type Port struct {
	Owner Owner // zero if the comment is not one of ours
	Index int   // of the link
	MAC   net.HardwareAddr
}

// spoofTable names the table of a network.
func spoofTable(network string) table {
	return table{family: unix.NFPROTO_BRIDGE, name: spoofPrefix + networkName(network)}
}

// spoofSets names the sets that hold containers.
func spoofSets() []string { return []string{portsSet, sendersSet, spoofOwners} }

// spoofLayout is the table of a network. The hooks of bridges have the numbers of those
// of IP.
func spoofLayout(network string) layout {
	sender := []nftables.SetDatatype{nftables.TypeIFIndex, nftables.TypeEtherAddr}
	const first, second = unix.NFT_REG32_00, unix.NFT_REG32_01
	return layout{
		table: spoofTable(network),
		sets: []set{
			{name: portsSet, key: []nftables.SetDatatype{nftables.TypeIFIndex}},
			{name: sendersSet, key: sender},
			{name: spoofOwners, key: indexKey(), data: sender},
		},
		chains: []chain{{name: "prerouting", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, priority: prioritySpoof}},
		rules: []rule{{chain: "prerouting", comment: spoofComment, exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIF, Register: unix.NFT_REG_1},
			&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: portsSet},
			&expr.Meta{Key: expr.MetaKeyIIF, Register: first},
			&expr.Payload{DestRegister: second, Base: expr.PayloadBaseLLHeader, Offset: etherSource, Len: etherBytes},
			&expr.Lookup{SourceRegister: first, SetName: sendersSet, Invert: true},
			verdict(expr.VerdictDrop, ""),
		}}},
	}
}

// key returns the elements of the two sets that stand for p.
func (p Port) key() (port, sender []byte) {
	port = binary.NativeEndian.AppendUint32(nil, uint32(p.Index))
	return port, pad(port, p.MAC)
}

// portOf reads an element of the set of senders.
func portOf(e element) (Port, bool) {
	if len(e.key) < registerBytes+etherBytes {
		return Port{}, false
	}
	o, _ := ParseMark(e.comment)
	return Port{
		Owner: o,
		Index: int(binary.NativeEndian.Uint32(e.key)),
		MAC:   net.HardwareAddr(e.key[registerBytes : registerBytes+etherBytes]),
	}, true
}

// validate returns an error if p cannot be filtered.
func (p Port) validate() error {
	if p.Index <= 0 || len(p.MAC) != etherBytes {
		return fmt.Errorf("anti-spoofing on link %d for %q: no link or no Ethernet address", p.Index, p.MAC)
	}
	return p.Owner.Validate()
}

// EnsureSpoofFilter drops what comes in at bridge port p from other addresses than
// p.MAC. An earlier port or address of the same owner is replaced.
func (h *Host) EnsureSpoofFilter(ctx context.Context, p Port) error {
	if err := h.needNFT(p.validate()); err != nil {
		return err
	}
	t, mark := spoofTable(p.Owner.Network), p.Owner.Mark()
	port, sender := p.key()
	return retry(ctx, func() error {
		return changedIfGone(h.conn.settle(t, constant(spoofLayout(p.Owner.Network)), func(built bool) ([]request, error) {
			if !built && h.CheckSpoofFilter(ctx, p) == nil {
				return nil, nil
			}
			changes, err := h.clearPort(t, mark, port)
			if err != nil {
				return nil, err
			}
			changes = append(changes, t.addElements(sendersSet, []element{{key: sender, comment: mark}})...)
			changes = append(changes, t.addElements(portsSet, []element{{key: port, comment: mark}})...)
			return append(changes, t.addElements(spoofOwners, index(mark, sender))...), nil
		}))
	})
}

// needNFT returns err or, if that is nil, an error where the kernel has no nf_tables.
func (h *Host) needNFT(err error) error {
	if err == nil && !h.hasNFT {
		return unsupported(NFTables, errors.New("the kernel has no nf_tables"))
	}
	return err
}

// clearPort returns the changes that remove what an owner has, and what others have
// at a port, which is then a link that is no more.
func (h *Host) clearPort(t table, mark string, port []byte) ([]request, error) {
	holder, err := h.conn.element(t, portsSet, port)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	changes, err := h.removePort(t, mark)
	if err != nil || holder.comment == "" || holder.comment == mark {
		return changes, err
	}
	h.log.Info("bridge port changes hands", "from", holder.comment, "to", mark)
	others, err := h.removePort(t, holder.comment)
	return append(changes, others...), err
}

// removePort returns the changes that remove what an owner has. What the index names and
// somebody took out of a set is passed over: to remove it would fail for good.
func (h *Host) removePort(t table, mark string) ([]request, error) {
	entries, err := h.conn.entries(t, spoofOwners, mark)
	if err != nil {
		return nil, err
	}
	var there []placed
	for _, e := range entries {
		if len(e.data) < registerBytes {
			continue
		}
		for _, p := range []placed{{t, portsSet, element{key: e.data[:registerBytes]}}, {t, sendersSet, element{key: e.data}}} {
			found, err := h.conn.element(t, p.set, p.key)
			switch {
			case errors.Is(err, unix.ENOENT):
			case err != nil:
				return nil, err
			case found.comment == mark:
				there = append(there, p)
			}
		}
	}
	return append(eachSet(there, table.delElements), t.delElements(spoofOwners, entries)...), nil
}

// CheckSpoofFilter compares what is there with what EnsureSpoofFilter makes.
func (h *Host) CheckSpoofFilter(ctx context.Context, p Port) error {
	if err := h.needNFT(p.validate()); err != nil {
		return err
	}
	t, mark := spoofTable(p.Owner.Network), p.Owner.Mark()
	port, sender := p.key()
	return retry(ctx, func() error {
		_, intact, err := h.conn.compare(t, constant(spoofLayout(p.Owner.Network)))
		if err != nil {
			return err
		}
		if !intact {
			return fmt.Errorf("nftables table %s: rules missing or changed: %w", t, errDiffers)
		}
		entries, err := h.conn.entries(t, spoofOwners, mark)
		if err != nil {
			return err
		}
		if len(entries) != 1 || !bytes.Equal(entries[0].data, sender) {
			return fmt.Errorf("anti-spoofing on link %d for %s: not there: %w", p.Index, p.MAC, errDiffers)
		}
		for _, e := range []struct {
			set string
			key []byte
		}{{portsSet, port}, {sendersSet, sender}} {
			found, err := h.conn.element(t, e.set, e.key)
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
			if found.comment != mark {
				return fmt.Errorf("anti-spoofing on link %d for %s: not in set %s: %w", p.Index, p.MAC, e.set, errDiffers)
			}
		}
		return nil
	})
}

// DelSpoofFilter removes the filter of o, and what the reference plugin left for it.
// It agrees if there is nothing.
func (h *Host) DelSpoofFilter(ctx context.Context, o Owner) error {
	if err := o.Validate(); err != nil {
		return err
	}
	t := spoofTable(o.Network)
	return h.removeNFT(ctx,
		func() ([]request, error) { return h.removePort(t, o.Mark()) },
		func() ([]request, error) { return h.conn.referenceSpoof(o) })
}

// ListSpoofFilter returns the filtered ports of a network.
func (h *Host) ListSpoofFilter(ctx context.Context, network string) ([]Port, error) {
	if !h.hasNFT {
		return nil, nil
	}
	var ports []Port
	err := retry(ctx, func() error {
		ports = nil
		all, err := h.conn.elements(spoofTable(network), sendersSet)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		for _, e := range all {
			if p, ok := portOf(e); ok {
				ports = append(ports, p)
			}
		}
		return err
	})
	return ports, err
}

// CollectSpoofFilter removes the filters of a network whose owners are not in keep. If
// none is left, the rules of the network go too.
func (h *Host) CollectSpoofFilter(ctx context.Context, network string, keep []Owner) error {
	return h.collectNFT(ctx, spoofTable(network), spoofSets(), marksOf(keep))
}
