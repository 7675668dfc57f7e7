// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// judgeNetworks judges in what order the networks of each container are torn down. That
// they are not set up at once is for LIFE-003.
func (l *ledger) judgeNetworks(operations []*operation) {
	operations = slices.Clone(operations)
	slices.SortStableFunc(operations, func(a, b *operation) int { return cmp.Compare(a.records[0].Begin, b.records[0].Begin) })
	containers := map[string]*teardown{}
	for _, o := range operations {
		if o.key.containerID == "" {
			continue
		}
		c := containers[o.key.containerID]
		if c == nil {
			c = &teardown{}
			containers[o.key.containerID] = c
		}
		c.next(l, o)
	}
	for _, c := range containers {
		c.judge(l)
	}
}

// A teardown follows one container.
type teardown struct {
	// attached are its ADDs that succeeded and had no DEL, in their order.
	attached []*operation
	// down are those whose DELs followed one another directly, in the order of these.
	down []*operation
}

// next takes the next operation in. A network that is detached while the container lives
// on is no teardown, so anything but a DEL begins anew.
func (c *teardown) next(l *ledger, o *operation) {
	if o.command != types.CommandDel {
		c.judge(l)
		c.down = nil
	}
	if o.command == types.CommandAdd && o.failedAt() < 0 {
		c.attached = append(c.attached, o)
	}
	if o.command != types.CommandDel {
		return
	}
	i := slices.IndexFunc(c.attached, func(add *operation) bool { return add.network == o.network && add.key == o.key })
	if i >= 0 {
		c.down = append(c.down, c.attached[i])
		c.attached = slices.Delete(c.attached, i, i+1)
	}
}

// judge judges the DELs that followed one another.
func (c *teardown) judge(l *ledger) {
	if len(c.down) < 2 {
		return
	}
	reverse := slices.IsSortedFunc(c.down, func(a, b *operation) int { return cmp.Compare(b.records[0].Begin, a.records[0].Begin) })
	var names []string
	for _, add := range c.down {
		names = append(names, add.network.Name+" ("+add.key.ifName+")")
	}
	first := c.down[0]
	l.expect(reverse, "LIFE-018", first.network.CNIVersion, first.records[:1], "the networks of container %s are torn down in the order %s, and were not set up in its reverse; or was one of them detached by itself?",
		first.key.containerID, strings.Join(names, ", "))
}
