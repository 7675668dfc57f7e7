// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Owner says whose a piece of firewall state is: an interface of a container on a
// network. All three fields are needed.
type Owner struct {
	Network     string
	ContainerID string
	IfName      string
}

// maxMark is the longest comment that nft reads back, so that a saved ruleset can be
// restored (NFTNL_UDATA_COMMENT_MAXLEN). An ipset takes 255.
//
// Source: https://git.netfilter.org/nftables/tree/include/rule.h?h=v1.1.1
const maxMark = 128

// Validate returns an error if o cannot be written into a comment: a field is empty,
// or holds something else than printable ASCII without space, quote, backslash and '='.
func (o Owner) Validate() error {
	for _, f := range []struct{ name, value string }{
		{"network", o.Network}, {"container ID", o.ContainerID}, {"interface", o.IfName},
	} {
		if f.value == "" {
			return fmt.Errorf("owner without %s", f.name)
		}
		if strings.ContainsFunc(f.value, func(r rune) bool {
			return r <= ' ' || r > '~' || strings.ContainsRune(`"\=`, r)
		}) {
			return fmt.Errorf("owner with %s %q: not printable in a comment", f.name, f.value)
		}
	}
	return nil
}

// String is the owner as errors name it.
func (o Owner) String() string {
	return fmt.Sprintf("network %s, container %s, interface %s", o.Network, o.ContainerID, o.IfName)
}

// Mark is the ownership comment of an element. It tells any two owners apart. Where
// it would be too long, it holds a hash in place of what is long: network and container
// ID that begin with '#'.
func (o Owner) Mark() string {
	mark := o.mark()
	if len(mark) > maxMark {
		o.ContainerID = shorten(o.ContainerID)
		mark = o.mark()
	}
	if len(mark) > maxMark {
		o.Network = shorten(o.Network)
		mark = o.mark()
	}
	if len(mark) > maxMark {
		o.IfName = shorten(o.IfName)
		mark = o.mark()
	}
	return mark
}

func (o Owner) mark() string {
	return "net=" + o.Network + " id=" + o.ContainerID + " if=" + o.IfName
}

// ParseMark returns the owner that a comment names, and whether it is one of ours.
func ParseMark(comment string) (Owner, bool) {
	rest, ok1 := strings.CutPrefix(comment, "net=")
	network, rest, ok2 := strings.Cut(rest, " id=")
	id, ifName, ok3 := strings.Cut(rest, " if=")
	o := Owner{Network: network, ContainerID: id, IfName: ifName}
	return o, ok1 && ok2 && ok3 && o.Validate() == nil
}

// shorten returns a text of 33 bytes that stands for s.
func shorten(s string) string { return "#" + hash(s) }

// hash returns 32 hexadecimal digits that stand for s. An owner is hashed as its mark, in
// which the borders of the names show (C-54).
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// maxName is the longest network name that becomes part of the name of a table as it
// is. Names of nftables have at most 255 bytes (NFT_NAME_MAXLEN).
const maxName = 128

// networkName returns the part of a table's name that stands for a network: its name
// where nft can read that as an identifier, else a hash, which begins with '_' as no
// name of a network does.
func networkName(network string) string {
	plain := len(network) <= maxName && network != "" && !strings.ContainsFunc(network, func(r rune) bool {
		return !isWord(r) && !strings.ContainsRune("_.-", r)
	})
	if plain && isWord(rune(network[0])) {
		return network
	}
	return "_" + hash(network)
}

// isWord reports whether r is an ASCII letter or digit.
func isWord(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
