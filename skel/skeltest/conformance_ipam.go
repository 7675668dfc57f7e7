// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

func ipamChecks() []check {
	ipam := []Kind{KindIPAM}
	return []check{
		{id: "DLG-012", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			r := t.added()
			t.without(r, "interfaces")
			for _, ip := range list(r, "ips") {
				t.without(ip, "interface")
			}
		}},
		{id: "RES-041", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			r := t.added()
			t.without(r, "interfaces")
			for _, ip := range list(r, "ips") {
				t.without(ip, "interface")
			}
		}},
		{id: "DLG-014", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			if r := t.added(); r["cniVersion"] != t.v.String() {
				t.fail("the result is in version %v", r["cniVersion"])
			}
		}},
		{id: "DLG-015", kinds: ipam, run: func(t *trial) {
			t.refusesBy(t.call("ADD").with("cniVersion", "99.0.0"), "ADD in version 99.0.0", types.ErrIncompatibleCNIVersion)
		}},
		{id: "DLG-017", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			if r := t.added(); len(addresses(r)) == 0 {
				t.fail("the result has no address")
			}
		}},
		{id: "DLG-027", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			t.withoutLeftovers("DEL without namespace and prevResult", func() {
				t.works(t.call("ADD"), "ADD")
				t.accepts(t.call("DEL").unset("CNI_NETNS"), "DEL without namespace and prevResult")
				t.accepts(t.call("DEL").unset("CNI_NETNS"), "a second DEL")
			})
		}},
		{id: "DLG-028", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			result := t.added()
			t.works(t.check(result), "CHECK")
			t.works(t.call("DEL"), "DEL")
			t.refuses(t.check(result), "CHECK without a reservation")
		}},
		{id: "DLG-029", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			full := t.exhausted()
			t.refusesBy(full(t.call("STATUS")), "STATUS without an address left", types.ErrPluginNotAvailable)
		}},
		{id: "DLG-030", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			t.warm()
			before := t.states()
			t.works(t.call("ADD"), "ADD")
			if t.states() == before {
				t.na("it keeps no reservations")
			}
			t.works(t.call("GC"), "GC")
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("GC leaves reservations:\n%s", diff)
			}
		}},
		{id: "DLG-031", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			c, ok := t.ranges(`[[{"subnet":"10.88.0.0/24"}],[{"subnet":"10.89.0.0/24"}]]`, t.call("ADD"))
			if !ok {
				t.na("it has no ranges")
			}
			t.refuses(c, "two IPv4 addresses, for a result that holds one")
		}},
		{id: "DLG-032", needs: needPlainAdd, kinds: ipam, once: true, run: func(t *trial) {
			if _, ok := t.ranges("", t.call("ADD")); !ok {
				t.na("it has no ranges")
			}
			got := map[string]int{}
			for _, s := range t.parallel(20, func(i int) *call { return t.call("ADD").named(t.container(i), "/run/netns/cnitest") }) {
				object, _ := s.object()
				for _, a := range addresses(object) {
					got[a]++
				}
			}
			for a, n := range got {
				if n > 1 {
					t.fail("%d containers got %s", n, a)
				}
			}
		}},
		{id: "DLG-033", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			t.withoutLeftovers("ADD twice and DEL once", func() {
				t.works(t.call("ADD"), "ADD")
				t.run(t.call("ADD"))
				t.works(t.call("DEL"), "DEL")
			})
		}},
		{id: "DLG-034", needs: needPlainAdd, kinds: ipam, run: func(t *trial) {
			const two = `[[{"subnet":"10.88.0.0/24"}],[{"subnet":"fd00:88::/126","rangeStart":"fd00:88::2","rangeEnd":"fd00:88::2"}]]`
			one, ok := t.ranges(two, t.call("ADD").set("CNI_CONTAINERID", t.container(1)))
			if !ok {
				t.na("it has no ranges")
			}
			t.works(one, "ADD with two ranges")
			before := t.states()
			again, _ := t.ranges(two, t.call("ADD"))
			t.refuses(again, "ADD when one of two ranges is exhausted")
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("the failed ADD leaves:\n%s", diff)
			}
		}},
		{id: "ARG-012", needs: needPlainAdd, kinds: ipam, once: true, run: func(t *trial) {
			if _, ok := t.ranges("", t.call("ADD")); !ok {
				t.na("it has no ranges")
			}
			s := t.accepts(t.call("ADD").set("CNI_ARGS", "IP=10.88.0.77"), "CNI_ARGS=IP=10.88.0.77")
			if object, _ := s.object(); !s.failed() && !slices.ContainsFunc(addresses(object), func(a string) bool { return strings.HasPrefix(a, "10.88.0.77/") }) {
				t.fail("CNI_ARGS=IP=10.88.0.77 gives %v", addresses(object))
			}
			t.refuses(t.call("ADD").set("CNI_ARGS", "IP=10.88.0.77").set("CNI_CONTAINERID", t.container(1)), "an address that is taken")
			t.refuses(t.call("ADD").set("CNI_ARGS", "IP=192.0.2.7").set("CNI_CONTAINERID", t.container(2)), "an address of no range")
		}},
	}
}

// ranges sets the ranges of a plugin that has some, as host-local does; empty text
// leaves them.
func (t *trial) ranges(text string, c *call) (*call, bool) {
	ipam, ok := c.conf["ipam"].(map[string]any)
	if !ok || ipam["ranges"] == nil {
		return c, false
	}
	if text != "" {
		ipam["ranges"] = json.RawMessage(text)
	}
	return c, true
}

// exhausted uses the only address up, and returns how to ask for more of them.
func (t *trial) exhausted() func(*call) *call {
	full := func(c *call) *call {
		one, ok := t.ranges(`[[{"subnet":"10.88.0.0/24","rangeStart":"10.88.0.9","rangeEnd":"10.88.0.9"}]]`, c)
		if !ok {
			t.na("it has no ranges")
		}
		return one
	}
	t.works(full(t.call("ADD")), "ADD")
	return full
}
