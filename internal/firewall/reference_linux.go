// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The reference plugins keep NAT and filters of a container in chains and rules of its
// own. A node can change over while containers run, so DEL removes those too. Where the
// node never ran those plugins, that is one read for each kind, of something absent.
//
// Source: https://github.com/containernetworking/plugins/tree/v1.9.1, pkg/ip, pkg/link,
// pkg/utils and plugins/meta/portmap

// referenceHash returns the first n hexadecimal digits of the hash of some text.
func referenceHash(text string, n int) string {
	sum := sha512.Sum512([]byte(text))
	return hex.EncodeToString(sum[:])[:n]
}

// referenceChain names the chain of the nat table for masquerading a container; the
// interface is not part of it.
func referenceChain(o Owner) string { return "CNI-" + referenceHash(o.Network+o.ContainerID, 24) }

// referenceComment begins the comment of the nftables rules for masquerading a
// container. Its end may be cut off.
func referenceComment(o Owner) string {
	return referenceHash(o.Network, 16) + "-" + referenceHash(o.IfName+":"+o.ContainerID, 16)
}

// referenceSpoof returns the changes that remove the chains of macspoofchk of bridge.
func (c *conn) referenceSpoof(o Owner) ([]request, error) {
	t := table{family: unix.NFPROTO_BRIDGE, name: "nat"}
	name := "cni-br-iface-" + o.ContainerID + "-" + o.IfName
	comment := "macspoofchk-" + o.ContainerID + "-" + o.IfName
	return c.leftover(t, "PREROUTING", func(r ruleSeen) bool { return r.comment == comment }, name, name+"-mac")
}

// referenceMasquerade returns the changes that remove what masquerades for o: a
// chain of the nat table, where iptables is a front end of nftables, and nftables rules.
func (c *conn) referenceMasquerade(o Owner) ([]request, error) {
	changes, err := c.chainsOfNAT(referenceMasqueradeChains(o))
	if err != nil {
		return nil, err
	}
	t := table{family: unix.NFPROTO_INET, name: "cni_plugins_masquerade"}
	rs, err := c.rulesOf(t, "masq_checks", func(r ruleSeen) bool { return strings.HasPrefix(r.comment, referenceComment(o)) })
	return append(changes, rs...), err
}

// referenceMasqueradeChains names the chain for masquerading a container. Before
// version 0.8.0 the rule that jumps there had another match, not another target.
func referenceMasqueradeChains(o Owner) []chainAndShared {
	return []chainAndShared{{referenceChain(o), "POSTROUTING"}}
}

// chainsOfNAT returns the changes that remove chains of the nat tables, where iptables
// is a front end of nftables, and the rules that lead there. A chain may be given
// several times, with each of the shared chains that may lead there.
func (c *conn) chainsOfNAT(chains []chainAndShared) ([]request, error) {
	var changes []request
	for _, family := range []uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		t := table{family: family, name: "nat"}
		if there, err := c.hasTable(t); err != nil || !there {
			if err != nil {
				return nil, err
			}
			continue
		}
		var ends []request
		done := map[string]bool{}
		for _, l := range chains {
			there, err := c.hasChain(t, l.chain)
			if err != nil {
				return nil, err
			}
			if !there {
				continue
			}
			rs, err := c.rulesOf(t, l.shared, func(r ruleSeen) bool { return jumpsTo(r, l.chain) })
			if err != nil {
				return nil, err
			}
			changes = append(changes, rs...)
			if !done[l.chain] {
				done[l.chain] = true
				ends = append(ends, t.flushChain(l.chain), t.delChain(l.chain))
			}
		}
		changes = append(changes, ends...)
	}
	return changes, nil
}

// rulesOf returns the changes that remove the rules of a chain which is tells.
func (c *conn) rulesOf(t table, chain string, is func(ruleSeen) bool) ([]request, error) {
	seen, err := c.rules(t, chain)
	var changes []request
	for _, r := range seen {
		if is(r) {
			changes = append(changes, t.delRule(chain, r.handle))
		}
	}
	return changes, err
}

// leftover returns the changes that remove chains of a container and the rules, in a
// chain that all share, that lead there. There are none if the chains are not there.
func (c *conn) leftover(t table, shared string, leads func(ruleSeen) bool, chains ...string) ([]request, error) {
	var found []string
	for _, name := range chains {
		there, err := c.hasChain(t, name)
		if err != nil {
			return nil, err
		}
		if there {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	changes, err := c.rulesOf(t, shared, leads)
	if err != nil {
		return nil, err
	}
	for _, name := range found {
		changes = append(changes, t.flushChain(name))
	}
	// A chain that is jumped to goes after the one that jumps; flushing removed the jump.
	for _, name := range slices.Backward(found) {
		changes = append(changes, t.delChain(name))
	}
	return changes, nil
}

// hasTable reports whether there is a table.
func (c *conn) hasTable(t table) (bool, error) {
	a := attrs(nil).str(unix.NFTA_TABLE_NAME, t.name)
	return c.isThere(request{typ: nftMessage(unix.NFT_MSG_GETTABLE), family: t.family, attrs: a}, "nftables table "+t.String())
}

// hasChain reports whether there is a chain.
func (c *conn) hasChain(t table, name string) (bool, error) {
	a := attrs(nil).str(unix.NFTA_CHAIN_TABLE, t.name).str(unix.NFTA_CHAIN_NAME, name)
	return c.isThere(request{typ: nftMessage(unix.NFT_MSG_GETCHAIN), family: t.family, attrs: a}, "chain "+name+" of nftables table "+t.String())
}

// isThere asks for one thing, which errors name.
func (c *conn) isThere(r request, thing string) (bool, error) {
	err := c.do(r, nil)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for %s: %w", thing, err)
	}
	return true, nil
}

// jumpsTo reports whether a rule jumps to a chain: iptables ends such a rule with a
// verdict as nft does.
func jumpsTo(r ruleSeen, chain string) bool {
	found := false
	err := eachAttr(r.exprs, func(_ uint16, e []byte) error {
		target := findAttr(e, unix.NFTA_EXPR_DATA, unix.NFTA_IMMEDIATE_DATA, unix.NFTA_DATA_VERDICT, unix.NFTA_VERDICT_CHAIN)
		if attrString(findAttr(e, unix.NFTA_EXPR_NAME)) == "immediate" && attrString(target) == chain {
			found = true
		}
		return nil
	})
	return err == nil && found
}

// referencePortMap returns the changes that remove the nftables rules for ports of o.
// They name the container only, so those for its other networks go with them.
func (c *conn) referencePortMap(o Owner) ([]request, error) {
	var changes []request
	for _, family := range []uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		t := table{family: family, name: "cni_hostport"}
		if there, err := c.hasTable(t); err != nil || !there {
			if err != nil {
				return nil, err
			}
			continue
		}
		for _, chain := range []string{"hostports", "hostip_hostports", "masquerading"} {
			rs, err := c.rulesOf(t, chain, func(r ruleSeen) bool { return r.comment == o.ContainerID })
			if err != nil {
				return nil, err
			}
			changes = append(changes, rs...)
		}
	}
	return changes, nil
}

// chainAndShared is a chain of a container and the shared chain that jumps there.
type chainAndShared struct{ chain, shared string }

// referencePortChains names the chains for port maps of a container: the present one,
// and the one of versions before 0.7.0 for source addresses.
func referencePortChains(o Owner) []chainAndShared {
	h := referenceHash(o.Network+o.ContainerID, 21)
	return []chainAndShared{{"CNI-DN-" + h, "CNI-HOSTPORT-DNAT"}, {"CNI-SN-" + h, "CNI-HOSTPORT-SNAT"}}
}

// referenceMaps reports whether the reference plugin maps ports to o in a family, by either of
// its backends.
func (h *Host) referenceMaps(ctx context.Context, f family, o Owner) (bool, error) {
	c := referencePortChains(o)[0]
	if h.hasNFT {
		for _, way := range []struct {
			table, chain string
			is           func(ruleSeen) bool
		}{
			{"nat", c.shared, func(r ruleSeen) bool { return jumpsTo(r, c.chain) }},
			{"cni_hostport", "hostports", func(r ruleSeen) bool { return r.comment == o.ContainerID }},
		} {
			there, err := h.conn.hasRule(table{family: f.proto, name: way.table}, way.chain, way.is)
			if err != nil || there {
				return there, err
			}
		}
	}
	program := iptProgram(f, legacySuffix(f))
	if !h.legacyTable(f) || !findProgram(program) {
		return false, nil
	}
	t, err := h.table(ctx, program)
	return t.leads(c.shared, c.chain), err
}

// hasRule reports whether a chain, which need not be there, has a rule which is tells.
func (c *conn) hasRule(t table, chain string, is func(ruleSeen) bool) (bool, error) {
	if there, err := c.hasTable(t); err != nil || !there {
		return false, err
	}
	if there, err := c.hasChain(t, chain); err != nil || !there {
		return false, err
	}
	seen, err := c.rules(t, chain)
	return slices.ContainsFunc(seen, is), err
}
