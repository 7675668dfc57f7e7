// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"maps"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// bandwidthChecks judge a plugin that limits bandwidth, which a profile says by having
// runtimeConfig.bandwidth.
func bandwidthChecks() []check {
	limits := func(id string, needs need, f func(t *trial, c *call, entry map[string]any)) check {
		return check{id: id, needs: needs, kinds: []Kind{KindChained}, once: true, run: func(t *trial) {
			c := t.call("ADD")
			config, _ := c.conf["runtimeConfig"].(map[string]any)
			entry, ok := config["bandwidth"].(map[string]any)
			if !ok {
				t.na("the profile has no runtimeConfig.bandwidth")
			}
			f(t, c, entry)
		}}
	}
	with := func(c *call, entry map[string]any) *call {
		return c.clone().with("runtimeConfig", map[string]any{"bandwidth": entry})
	}
	return []check{
		limits("CAP-015", needAdd, func(t *trial, c *call, entry map[string]any) {
			want, _ := integer(entry["ingressRate"])
			t.works(c, "ADD")
			found := false
			for _, q := range t.shapers() {
				switch q.rate {
				case uint64(want):
					t.fail("%s is limited to %d bytes a second; ingressRate is %d bits", q.link, q.rate, want)
				case uint64(want / 8):
					found = true
				}
			}
			if !found && len(t.failures) == 0 {
				t.na("it limits by other means than the kit can read")
			}
		}),
		limits("CAP-016", needPlainAdd, func(t *trial, c *call, entry map[string]any) {
			for _, key := range []string{"ingressBurst", "ingressRate", "egressBurst", "egressRate"} {
				without := maps.Clone(entry)
				delete(without, key)
				t.refusesBy(with(c, without), "bandwidth without "+key, types.ErrInvalidNetworkConfig)
				t.run(t.call("DEL"))
			}
		}),
		limits("CAP-017", needAdd, func(t *trial, c *call, entry map[string]any) {
			ingress := maps.Clone(entry)
			maps.DeleteFunc(ingress, func(key string, _ any) bool { return strings.HasPrefix(key, "egress") })
			t.works(with(c, ingress), "ADD with a limit towards the container alone")
			all := t.shapers()
			if len(all) == 0 {
				t.na("it limits by other means than the kit can read")
			}
			// What the host's end of the link sends is what the container gets.
			towards := slices.ContainsFunc(all, func(q qdiscState) bool {
				return q.link == "host cnitesth0" || strings.HasPrefix(q.link, "container ifb")
			})
			from := slices.ContainsFunc(all, func(q qdiscState) bool { return q.link == "container "+t.x.target.Profile.ifName() })
			if from || !towards {
				t.fail("a limit towards the container is not on what it gets: %v", all)
			}
		}),
	}
}
