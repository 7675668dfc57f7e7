// SPDX-License-Identifier: Apache-2.0

package skeltest

import "strings"

// RawNftables returns what a snapshot has of nftables where there is no program nft.
func (n *Namespace) RawNftables() (string, error) {
	lines, err := n.rawNftables()
	return strings.Join(lines, "\n"), err
}
