// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cnikit/cnikit/types"
)

func chainChecks() []check {
	chained := []Kind{KindChained}
	// passes checks that members of prevResult come out again.
	passes := func(id string, change func(t *trial, prev map[string]any), judge func(t *trial, prev, got map[string]any)) check {
		return check{id: id, needs: needPlainAdd, kinds: chained, run: func(t *trial) {
			c := t.call("ADD")
			prev, _ := c.conf["prevResult"].(map[string]any)
			if prev == nil {
				t.na("the baseline has no prevResult")
			}
			change(t, prev)
			s := t.accepts(c, "ADD")
			if got := t.readResult(s); !s.failed() {
				judge(t, decoded(mustJSON(prev)), got)
			}
			t.run(t.call("DEL"))
		}}
	}
	nothing := func(*trial, map[string]any) {}
	return []check{
		{id: "CHAIN-008", kinds: chained, needs: needPlainAdd, run: func(t *trial) {
			without := t.run(t.call("ADD").without("runtimeConfig"))
			empty := t.run(t.call("ADD").with("runtimeConfig", map[string]any{}))
			if without.failed() != empty.failed() || string(without.Stdout) != string(empty.Stdout) {
				t.fail("runtimeConfig absent and empty differ: %s, and %s", without.summary(), empty.summary())
			}
			t.run(t.call("DEL"))
		}},
		passes("CHAIN-013", nothing, func(t *trial, prev, got map[string]any) {
			for _, key := range []string{"interfaces", "ips", "routes"} {
				if len(list(got, key)) < len(list(prev, key)) {
					t.fail("%s of prevResult are missing in the result: %v", key, got[key])
				}
			}
			if !same(prev["dns"], got["dns"]) {
				t.fail("dns of prevResult is %v, of the result %v", prev["dns"], got["dns"])
			}
		}),
		{id: "CHAIN-014", needs: needPlainAdd, kinds: chained, run: func(t *trial) {
			// What the profile configures may well be changes.
			c := t.call("ADD").unconfigured()
			s := t.run(c)
			if s.failed() {
				t.na("it does not work without its configuration: %s", s.summary())
			}
			if got := t.readResult(s); !s.failed() && !same(decoded(mustJSON(c.conf["prevResult"])), got) {
				t.fail("with nothing to do, the result is not prevResult: %s", s.summary())
			}
			t.run(t.call("DEL"))
		}},
		passes("CHAIN-016", nothing, func(t *trial, prev, got map[string]any) {
			for i, entry := range list(prev, "interfaces") {
				if now := list(got, "interfaces"); i >= len(now) || now[i]["name"] != entry["name"] {
					t.fail("interface %d of prevResult, %v, has another position", i, entry["name"])
				}
			}
		}),
		passes("CHAIN-017", func(_ *trial, prev map[string]any) {
			prev["x-cnitest"] = map[string]any{"a": 1}
			if all := list(prev, "interfaces"); len(all) > 0 {
				all[0]["x-cnitest"] = "b"
			}
		}, func(t *trial, _, got map[string]any) {
			inner := list(got, "interfaces")
			if got["x-cnitest"] == nil || len(inner) == 0 || inner[0]["x-cnitest"] == nil {
				t.fail("unknown members of prevResult are lost: %v", got)
			}
		}),
		{id: "CHAIN-018", needs: needAdd, kinds: []Kind{KindInterface}, run: func(t *trial) {
			if t.v < types.V030 {
				t.na("results before 0.3.0 have no interfaces")
			}
			prev := map[string]any{
				"cniVersion": t.v.String(),
				"interfaces": []any{map[string]any{"name": "foreign0", "mac": "02:00:00:99:99:99"}},
				"routes":     []any{map[string]any{"dst": "192.0.2.0/24"}},
			}
			s := t.run(t.call("ADD").with("prevResult", prev))
			if s.failed() {
				t.na("it does not work behind another plugin: %s", s.summary())
			}
			object, _ := s.object()
			if !has(list(object, "interfaces"), map[string]any{"name": "foreign0"}) || !has(list(object, "routes"), map[string]any{"dst": "192.0.2.0/24"}) {
				t.fail("interfaces and routes of prevResult are not in the result: %s", s.summary())
			}
		}},
		{id: "CHAIN-019", kinds: chained, run: func(t *trial) {
			t.refusesBy(t.call("ADD").without("prevResult"), "ADD without prevResult", types.ErrInvalidNetworkConfig)
		}},
		passes("CHAIN-022", func(_ *trial, prev map[string]any) { delete(prev, "cniVersion") }, func(*trial, map[string]any, map[string]any) {}),
		{id: "CHAIN-023", needs: needPlainAdd, kinds: chained, run: func(t *trial) {
			c := t.call("ADD")
			for _, v := range []types.Version{types.V040, types.V100} {
				data, err := t.previous().Encode(v)
				t.must(err)
				t.accepts(c.clone().with("prevResult", json.RawMessage(data)), "prevResult in version "+v.String())
				t.run(t.call("DEL"))
			}
			t.refuses(c.clone().with("prevResult", map[string]any{"cniVersion": "99.0.0"}), "prevResult in version 99.0.0")
		}},
		{id: "CHAIN-024", kinds: chained, run: func(t *trial) {
			without, null := t.run(t.call("ADD").without("prevResult")), t.run(t.call("ADD").with("prevResult", nil))
			a, _ := without.code()
			b, _ := null.code()
			if without.failed() != null.failed() || a != b {
				t.fail("prevResult absent and null differ: %s, and %s", without.summary(), null.summary())
			}
		}},
		{id: "CHAIN-025", needs: needAdd, kinds: chained, run: func(t *trial) {
			c := t.call("ADD")
			name := t.x.target.Profile.ifName()
			mac, _, err := t.host.addVeth(t.another(), name, "far0", netip.Prefix{}, netip.Addr{})
			t.must(err)
			before := *t.link(t.host, name)
			prev := decodedInto(c)
			interfaces, _ := prev["interfaces"].([]any)
			prev["interfaces"] = append([]any{map[string]any{"name": name, "mac": mac}}, interfaces...)
			for _, ip := range list(prev, "ips") {
				ip["interface"] = 2
			}
			t.accepts(c, "ADD when the host has a link of the same name")
			after := t.link(t.host, name)
			if after == nil || after.mac != before.mac || after.mtu != before.mtu || after.up != before.up || after.master != before.master || len(after.addrs) != len(before.addrs) {
				t.fail("ADD changes link %s of the host instead of that of the container", name)
			}
			t.run(t.call("DEL"))
		}},
		passes("CHAIN-026", func(_ *trial, prev map[string]any) {
			for _, ip := range list(prev, "ips") {
				delete(ip, "interface")
			}
		}, func(*trial, map[string]any, map[string]any) {}),
		{id: "RES-008", needs: needPlainAdd, kinds: chained, run: func(t *trial) {
			c := t.call("ADD")
			for _, ip := range list(decodedInto(c), "ips") {
				ip["version"] = "4"
			}
			t.accepts(c, "ips with version in prevResult")
			t.run(t.call("DEL"))
		}},
		passes("RES-029", func(t *trial, prev map[string]any) {
			prev["routes"] = []any{map[string]any{"dst": "10.77.0.0/16", "table": 0, "scope": 0}}
		}, func(t *trial, _, got map[string]any) {
			if !has(list(got, "routes"), map[string]any{"dst": "10.77.0.0/16", "table": 0, "scope": 0}) {
				t.fail("table 0 and scope 0 of a route of prevResult are lost: %v", got["routes"])
			}
		}),
		passes("RES-042", func(_ *trial, prev map[string]any) {
			if ips := list(prev, "ips"); len(ips) > 0 {
				ips[0]["address"] = "::ffff:10.88.0.2/120"
			}
		}, func(t *trial, _, got map[string]any) {
			if a := addresses(got); len(a) > 0 && a[0] != testAddr.String() {
				t.fail("the address ::ffff:10.88.0.2/120 becomes %s, want %s", a[0], testAddr)
			}
		}),
		{id: "CHAIN-031", needs: needAdd, kinds: chained, run: func(t *trial) {
			c := t.call("ADD")
			prev, name := decodedInto(c), t.x.target.Profile.ifName()
			for _, i := range list(prev, "interfaces") {
				if t.v >= types.V110 {
					i["mtu"] = 1500
				}
			}
			s := t.works(c, "ADD")
			got, _ := s.object()
			l := t.link(t.box(), name)
			if l == nil {
				t.fail("ADD takes the interface away, and the result has it")
				return
			}
			for _, i := range list(got, "interfaces") {
				sandbox, _ := i["sandbox"].(string)
				if i["name"] != name || sandbox == "" {
					continue
				}
				if mac, _ := i["mac"].(string); !strings.EqualFold(mac, l.mac) {
					t.fail("the interface has MAC %s, and the result says %s", l.mac, mac)
				}
				if mtu, ok := integer(i["mtu"]); ok && int(mtu) != l.mtu {
					t.fail("the interface has MTU %d, and the result says %d", l.mtu, mtu)
				}
			}
			for _, a := range addresses(got) {
				if p, ok := prefix(a); ok && !l.has(p) {
					t.fail("the result says address %s, which the interface has not", p)
				}
			}
			t.run(t.call("DEL"))
		}},
		{id: "CHAIN-032", needs: needPlainAdd, kinds: []Kind{KindInterface, KindIPAM}, run: func(t *trial) {
			t.accepts(t.call("ADD").with("prevResult", map[string]any{"cniVersion": t.v.String(), "ip4": map[string]any{"ip": "192.0.2.7/24"}}), "a prevResult before there was one")
			t.run(t.call("DEL"))
		}},
	}
}

func decodedInto(c *call) map[string]any {
	prev, _ := c.conf["prevResult"].(map[string]any)
	return prev
}

// mustJSON encodes what came from JSON.
func mustJSON(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Appendf(nil, "%q", err.Error())
	}
	return data
}
