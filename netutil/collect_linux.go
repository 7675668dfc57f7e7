// SPDX-License-Identifier: Apache-2.0

package netutil

import "context"

// CollectOwned removes the links on the host of an owner in a network who is not in keep,
// see [Conn.ListOwned], and with them the other ends of the veths. An empty
// keep keeps nothing; a nil keep is refused, since whoever has lost the list must
// not remove everything. It goes on after an error and joins them.
//
// Spec: CNI 1.1.0, section 2, "GC".
func (c *Conn) CollectOwned(ctx context.Context, network string, keep []Owner) error {
	if keep == nil {
		return errNoKeep
	}
	links, err := c.ListOwned(ctx, network)
	if err != nil {
		return err
	}
	valid := make(map[string]bool, 2*len(keep))
	for _, o := range keep {
		valid[o.Alias()] = true
		valid[o.HostName()] = true // no alias is a name
	}
	var gone []int
	for _, link := range links {
		mark := link.Alias
		if mark == "" {
			mark = link.Name
		}
		if !valid[mark] {
			gone = append(gone, link.Index)
		}
	}
	return wrap(c.rt.DelLinks(ctx, gone), "delete links of network %s", network)
}
