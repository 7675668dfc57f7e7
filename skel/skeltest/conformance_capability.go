// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"fmt"
	"maps"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// capabilityChecks judge a plugin that maps ports, which a profile says by having
// runtimeConfig.portMappings.
func capabilityChecks() []check {
	ports := func(id string, f func(t *trial, base *call, entry map[string]any)) check {
		return check{id: id, needs: needAdd, run: func(t *trial) {
			c := t.call("ADD")
			config, _ := c.conf["runtimeConfig"].(map[string]any)
			entries := list(config, "portMappings")
			if len(entries) == 0 {
				t.na("the profile has no runtimeConfig.portMappings")
			}
			f(t, c, entries[0])
		}}
	}
	with := func(c *call, entries ...any) *call {
		return c.clone().with("runtimeConfig", map[string]any{"portMappings": entries})
	}
	changed := func(entry map[string]any, key string, value any) map[string]any {
		e := maps.Clone(entry)
		e[key] = value
		return e
	}
	return []check{
		ports("CAP-001", func(t *trial, c *call, entry map[string]any) {
			for _, e := range []map[string]any{changed(entry, "protocol", "udp"), changed(entry, "hostPort", 18099), changed(entry, "containerPort", 8080)} {
				t.accepts(with(c, e), fmt.Sprintf("port mapping %v", e))
				t.run(t.call("DEL"))
			}
		}),
		ports("CAP-003", func(t *trial, c *call, entry map[string]any) {
			t.works(c, "ADD")
			usual := t.state(t.host)
			t.works(t.call("DEL"), "DEL")
			none := t.state(t.host)
			t.accepts(with(c, map[string]any{"HostPort": entry["hostPort"], "ContainerPort": entry["containerPort"], "Protocol": entry["protocol"]}), "portMappings with capitalised keys")
			if usual != none && Diff(none, t.state(t.host)) == "" {
				t.fail("portMappings with capitalised keys map nothing")
			}
			t.run(t.call("DEL"))
		}),
		ports("CAP-004", func(t *trial, c *call, entry map[string]any) {
			for _, e := range []any{changed(entry, "hostPort", 0), changed(entry, "hostPort", 70000), changed(entry, "containerPort", "x"), 7} {
				t.refuses(with(c, e), fmt.Sprintf("port mapping %v", e))
				t.run(t.call("DEL"))
			}
			t.refuses(c.clone().with("runtimeConfig", map[string]any{"portMappings": "x"}), "portMappings that is no list")
		}),
		ports("ADD-014", func(t *trial, c *call, _ map[string]any) {
			t.refuses(c.clone().with("runtimeConfig", map[string]any{"portMappings": map[string]any{"a": 1}}), "portMappings that is no list")
		}),
		ports("CAP-006", func(t *trial, c *call, _ map[string]any) {
			t.accepts(c.clone().without("runtimeConfig"), "ADD without runtimeConfig")
		}),
		ports("CAP-007", func(t *trial, c *call, entry map[string]any) {
			t.accepts(c.clone().with("runtimeConfig", map[string]any{"portMappings": []any{entry}, "x-cnitest": 1}), "an unknown key in runtimeConfig")
			t.run(t.call("DEL"))
		}),
		ports("CAP-008", func(t *trial, c *call, _ map[string]any) {
			t.accepts(c.clone().with("runtimeConfig", map[string]any{"portMappings": []any{}}), "portMappings that is empty")
		}),
		ports("CAP-009", func(t *trial, c *call, entry map[string]any) {
			t.accepts(with(c, changed(entry, "hostIP", "fd00::1")), "a port mapping for IPv6, of a container that has IPv4")
			t.run(t.call("DEL"))
			t.accepts(with(c, changed(entry, "hostIP", "0.0.0.0")), "hostIP 0.0.0.0")
			t.run(t.call("DEL"))
		}),
		ports("CAP-010", func(t *trial, c *call, entry map[string]any) {
			t.accepts(with(c, changed(entry, "protocol", "TCP")), "protocol TCP")
			t.run(t.call("DEL"))
			t.refusesBy(with(c, changed(entry, "protocol", "icmp")), "protocol icmp", types.ErrInvalidNetworkConfig, types.ErrDecodingFailure)
			t.run(t.call("DEL"))
		}),
		ports("CAP-011", func(t *trial, c *call, entry map[string]any) {
			t.refuses(with(c, entry, changed(entry, "containerPort", 8081)), "two port mappings of one host port")
			t.run(t.call("DEL"))
		}),
		{id: "CAP-018", needs: needPlainAdd, kinds: []Kind{KindInterface, KindMeta}, once: true, run: func(t *trial) {
			c := t.call("ADD").with("dns", map[string]any{"nameservers": []string{"192.0.2.9"}})
			t.capability(c, "dns", map[string]any{"servers": []string{"192.0.2.77"}, "searches": []string{"x.example"}})
			s := t.works(c, "ADD with runtimeConfig.dns")
			object, _ := s.object()
			dns, _ := object["dns"].(map[string]any)
			if dns["servers"] != nil || dns["searches"] != nil {
				t.fail("the result has the names of runtimeConfig.dns: %v", dns)
			} else if !strings.Contains(fmt.Sprint(dns["nameservers"]), "192.0.2.77") {
				t.na("it does not read runtimeConfig.dns")
			} else if !same(dns["nameservers"], []string{"192.0.2.77"}) || !same(dns["search"], []string{"x.example"}) {
				t.fail("runtimeConfig.dns does not replace dns: %v", dns)
			}
		}},
		{id: "CAP-019", needs: needAdd, kinds: []Kind{KindChained}, run: func(t *trial) {
			if t.call("ADD").conf["runtimeConfig"] == nil {
				t.na("the profile has no runtimeConfig")
			}
			t.withoutLeftovers("ADD with capability values, DEL without", func() {
				t.works(t.call("ADD"), "ADD")
				t.accepts(t.call("DEL").without("runtimeConfig"), "DEL without runtimeConfig")
			})
		}},
	}
}

// capability sets one value of runtimeConfig and keeps the others.
func (t *trial) capability(c *call, key string, value any) *call {
	config, _ := c.conf["runtimeConfig"].(map[string]any)
	config = maps.Clone(config)
	if config == nil {
		config = map[string]any{}
	}
	config[key] = value
	return c.with("runtimeConfig", config)
}
