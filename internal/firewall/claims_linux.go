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
//		map claims { type inet_proto . ipv6_addr . inet_service : mark . mark }                   # a hash of who has it, by which backend
//		map claimants { type mark . mark . mark : inet_proto . ipv6_addr . inet_service }  # index, for iptables
//	}
//
// One transaction takes ports and finds out about conflicts: the kernel refuses an element
// of a map that is there with other data. Who maps ports by iptables takes them here, too,
// where the kernel has nf_tables, so that networks of both backends share a host. No packet
// meets the table. A network with conditions claims nothing: two of them may share a port.
//
// By the same refusal an ADD finds that the other backend maps ports to its owner, since the
// administrator has chosen another one: no ADD has to ask. It maps them first, then removes
// what the other backend has, and what tells of that goes last. So a port always leads
// somewhere, and if the process is killed in between, the next ADD goes on.
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

// claimedBy returns the data of the claims of the owner with a mark whose ports a backend maps.
func claimedBy(backend, mark string) []byte {
	data := entryKey(mark, 0)[:8]
	if backend == IPTables {
		data[7] ^= 1
	}
	return data
}

// claim takes the ports of p for o, and no others, without mapping them: iptables does. The
// error is a ConflictError if somebody else has one. It reports whether nftables maps some of
// them to o, which keep their claims. A kernel that cannot have the table maps no ports by
// nftables, so there is nobody to tell.
func (m nftPortMap) claim(ctx context.Context, o Owner, p PortMap) (mapped bool, err error) {
	fresh := false // whether to make the table
	err = retry(ctx, func() error {
		var all []request
		if fresh {
			var err error
			if all, err = claims().build(); err != nil {
				return err
			}
		}
		changes, byNFT, err := m.reclaim(o.Mark(), p.claiming())
		if err != nil {
			return err
		}
		mapped = byNFT
		err = m.conn.batch(append(all, changes...))
		fresh = fresh || errors.Is(err, unix.ENOENT)
		return changedIfGone(err)
	})
	if lacking(err) {
		return false, nil
	}
	return mapped, err
}

// claiming returns the forwards of p that take their port for the whole host.
func (p PortMap) claiming() []Forward {
	return slices.DeleteFunc(slices.Clone(p.Forwards), func(f Forward) bool { return !p.claims(f) })
}

// reclaim returns the changes that make the ports of forwards those that the owner with a
// mark has claimed, none if they are, and whether nftables maps some of them to it.
func (m nftPortMap) reclaim(mark string, forwards []Forward) (changes []request, mapped bool, err error) {
	t := claims().table
	claimed, claimants, err := m.claimed(mark)
	if err != nil {
		return nil, false, err
	}
	wanted, wantedIndex := claimsByIPTables(mark, forwards)
	for i, f := range forwards {
		there, err := m.conn.element(t, claimsSet, f.claim())
		switch {
		case err == nil && there.comment != mark:
			return nil, false, newConflict(f, there.comment)
		case err == nil && !bytes.Equal(there.data, wanted[i].data):
			wanted[i].data, mapped = there.data, true
		case err != nil && !errors.Is(err, unix.ENOENT):
			return nil, false, err
		}
	}
	same := slices.EqualFunc(claimed, wanted, func(a placed, b element) bool { return bytes.Equal(a.key, b.key) })
	if same && len(claimants) == len(wanted) {
		return nil, mapped, nil
	}
	return slices.Concat(
		eachSet(claimed, table.delElements), t.delElements(claimantsSet, claimants),
		t.addElements(claimsSet, wanted), t.addElements(claimantsSet, wantedIndex)), mapped, nil
}

// claimsByIPTables returns the claims of the owner with a mark for forwards that iptables maps,
// and the entries of the index that tell of them.
func claimsByIPTables(mark string, forwards []Forward) (claims, claimants []element) {
	var names [][]byte
	for _, f := range forwards {
		claims = append(claims, element{key: f.claim(), data: claimedBy(IPTables, mark), comment: mark})
		names = append(names, f.claim())
	}
	return claims, index(mark, names...)
}

// yield removes what nftables maps to o, and returns it, when iptables maps p, whose claims
// tell so from then on.
func (m nftPortMap) yield(ctx context.Context, o Owner, p PortMap) (gone []Forward, err error) {
	t := claims().table
	claimed, claimants := claimsByIPTables(o.Mark(), p.claiming())
	err = retry(ctx, func() error {
		changes, had, err := m.remove(o)
		if err != nil {
			return err
		}
		gone = append(gone, had...) // also what is gone when this is asked for again
		return changedIfGone(m.conn.batch(slices.Concat(
			changes, t.addElements(claimsSet, claimed), t.addElements(claimantsSet, claimants))))
	})
	return gone, err
}

// disclaim removes what tells that iptables maps ports to o, with the claims of those that
// nftables does not map.
func (m nftPortMap) disclaim(ctx context.Context, o Owner) error {
	mark := o.Mark()
	return retry(ctx, func() error {
		claimed, claimants, err := m.claimed(mark)
		if err != nil {
			return err
		}
		claimed = slices.DeleteFunc(claimed, func(c placed) bool { return !bytes.Equal(c.data, claimedBy(IPTables, mark)) })
		return changedIfGone(m.conn.batch(append(
			eachSet(claimed, table.delElements), claims().table.delElements(claimantsSet, claimants)...)))
	})
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
