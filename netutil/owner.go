// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// Owner is the attachment that a link on the host was made for. Its three parts must be
// valid in the sense of the specification, which keeps out the characters that
// separate them in an alias.
//
// Spec: CNI 1.1.0, section 2, "Parameters": the three identify an attachment.
type Owner struct {
	Network     string // the name of the network
	ContainerID string
	IfName      string // the name of the interface in the container
}

const (
	hostPrefix    = "veth"
	networkDigits = 3 // of a name, that tell the network
	hostDigits    = 8 // that tell the owner, so that the name has 15 bytes, all that Linux allows: IFNAMSIZ less the final zero
	aliasPrefix   = "cnikit:"
	aliasPart     = 80 // longest part of an alias that is written out, so that three fit in IFALIASZ, 256
)

// digits are lower case, as names of links are, and none needs care in a shell.
var digits = base32.NewEncoding(digitSet).WithPadding(base32.NoPadding)

const digitSet = "abcdefghijklmnopqrstuvwxyz234567"

// HostName returns the name of the host end of the owner's veth: "veth", 3 digits of a
// hash of the network and 8 of one of all, 15 bytes in all. It is the same each time, so
// that a link can be found without a record of its name. Names of two owners are different
// for all practical purposes, the second hash having 40 bits: with 5,000 links in a
// network, two have the same name on one of 90,000 hosts. What is left of the risk is
// caught by the alias, see [Conn.EnsureVeth].
//
// Nodes know such links by how their names begin: network managers that leave "veth*"
// alone, monitoring that does not count them, rules of firewalls for "veth+". The names
// that the reference plugins give have 12 bytes, so that none is taken for ours.
//
// The network is in the name because the kernel makes a link with its name and takes the
// alias afterwards: of a link whose maker was killed in between, the name is all there is
// to tell [Conn.ListOwned] whose it is.
func (o Owner) HostName() string {
	return networkName(o.Network) + digest(o.Network, o.ContainerID, o.IfName)[:hostDigits]
}

// networkName is what names of links of all owners in a network begin with.
func networkName(network string) string {
	return hostPrefix + digest(network)[:networkDigits]
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		// With the length in front, "ab" and "c" are not "a" and "bc".
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return digits.EncodeToString(h.Sum(nil))
}

// isUnmarked reports whether a veth without an alias is that of an owner in a network who
// was killed before giving it one.
func isUnmarked(l *Link, network string) bool {
	rest, ok := strings.CutPrefix(l.Name, networkName(network))
	return ok && l.Alias == "" && len(rest) == hostDigits && strings.Trim(rest, digitSet) == ""
}

// Alias returns the mark on links of the owner: "cnikit:network/container/interface".
// A part of more than 80 bytes is replaced by "#" and a hash, since the kernel takes no
// more than 255 bytes. To find the owner of a link, compare aliases; do not take them apart.
func (o Owner) Alias() string {
	return networkAlias(o.Network) + shorten(o.ContainerID) + "/" + shorten(o.IfName)
}

// networkAlias is what aliases of all owners in a network begin with.
func networkAlias(network string) string { return aliasPrefix + shorten(network) + "/" }

// isOwned reports whether alias is a mark of this package.
func isOwned(alias string) bool { return strings.HasPrefix(alias, aliasPrefix) }

func shorten(part string) string {
	if len(part) <= aliasPart {
		return part
	}
	sum := sha256.Sum256([]byte(part))
	return "#" + hex.EncodeToString(sum[:])
}
