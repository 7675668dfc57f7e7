// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Names of what networks share, whichever their backend.
const (
	claimsTable  = "cnikit-ports"
	claimsSet    = "claims"
	claimantsSet = "claimants"
)

// claims is the table that says which ports of the host are taken:
//
//	table inet cnikit-ports {
//		map claims { type inet_proto . ipv6_addr . inet_service : mark . mark }                   # a hash of who has it
//		map claimants { type mark . mark . mark : inet_proto . ipv6_addr . inet_service }  # index, for iptables
//	}
//
// One transaction takes ports and finds out about conflicts: the kernel refuses an element
// of a map that is there with other data. Who maps ports by iptables takes them here, too,
// where the kernel has nf_tables, so that networks of both backends share a host. No packet
// meets the table. A network with conditions claims nothing: two of them may share a port.
func claims() layout {
	port := []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeIP6Addr, nftables.TypeInetService}
	return layout{
		table: table{family: unix.NFPROTO_INET, name: claimsTable},
		sets: []set{
			{name: claimsSet, key: port, data: []nftables.SetDatatype{nftables.TypeMark, nftables.TypeMark}},
			{name: claimantsSet, key: indexKey(), data: port},
		},
	}
}

// claim takes the ports of p for o, and no others, without mapping them: iptables does. The
// error is a ConflictError if somebody else has one. A kernel that cannot have the table
// maps no ports by nftables, so there is nobody to tell.
func (m nftPortMap) claim(ctx context.Context, o Owner, p PortMap) error {
	p.Forwards = slices.DeleteFunc(slices.Clone(p.Forwards), func(f Forward) bool { return !p.claims(f) })
	fresh := false // whether to make the table
	err := retry(ctx, func() error {
		var all []request
		if fresh {
			var err error
			if all, err = claims().build(); err != nil {
				return err
			}
		}
		changes, err := m.reclaim(o.Mark(), p.Forwards)
		if err != nil {
			return err
		}
		err = m.conn.batch(append(all, changes...))
		fresh = fresh || errors.Is(err, unix.ENOENT)
		return changedIfGone(err)
	})
	if lacking(err) {
		return nil
	}
	return err
}

// reclaim returns the changes that make the ports of forwards those that the owner with a
// mark has claimed. There are none if they are.
func (m nftPortMap) reclaim(mark string, forwards []Forward) ([]request, error) {
	t := claims().table
	claimed, claimants, err := m.claimed(mark)
	if err != nil {
		return nil, err
	}
	var wanted []element
	var names [][]byte
	for _, f := range forwards {
		there, err := m.conn.element(t, claimsSet, f.claim())
		switch {
		case err == nil && there.comment != mark:
			return nil, newConflict(f, there.comment)
		case err != nil && !errors.Is(err, unix.ENOENT):
			return nil, err
		}
		wanted = append(wanted, element{key: f.claim(), data: entryKey(mark, 0)[:8], comment: mark})
		names = append(names, f.claim())
	}
	same := slices.EqualFunc(claimed, wanted, func(a placed, b element) bool { return bytes.Equal(a.key, b.key) })
	if same && len(claimants) == len(wanted) {
		return nil, nil
	}
	return slices.Concat(
		eachSet(claimed, table.delElements), t.delElements(claimantsSet, claimants),
		t.addElements(claimsSet, wanted), t.addElements(claimantsSet, index(mark, names...))), nil
}

// claimed returns the claims that the owner with a mark has without a map, and the entries
// of the index that tell so.
func (m nftPortMap) claimed(mark string) (claimed []placed, claimants []element, err error) {
	t := claims().table
	claimants, err = m.conn.entries(t, claimantsSet, mark)
	for _, entry := range claimants {
		e, err := m.conn.element(t, claimsSet, entry.data)
		switch {
		case err == nil && e.comment == mark:
			claimed = append(claimed, placed{t, claimsSet, e})
		case err != nil && !errors.Is(err, unix.ENOENT):
			return nil, nil, err
		}
	}
	return claimed, claimants, err
}
