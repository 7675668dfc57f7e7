// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/cnikit/cnikit/types"
)

func delChecks() []check {
	iface := []Kind{KindInterface}
	kernel := []Kind{KindInterface, KindChained}
	// cleans checks that a DEL, after f, leaves nothing of an ADD.
	cleans := func(id, what string, kinds []Kind, f func(t *trial, result map[string]any) *call) check {
		return check{id: id, kinds: kinds, needs: needPlainAdd, run: func(t *trial) {
			t.withoutLeftovers(what, func() {
				t.accepts(f(t, t.added()), what)
				t.gone()
			})
		}}
	}
	return []check{
		cleans("DEL-001", "DEL after ADD", nil, func(t *trial, r map[string]any) *call { return t.del(r) }),
		cleans("DEL-002", "DEL after ADD", []Kind{KindIPAM}, func(t *trial, r map[string]any) *call { return t.del(r) }),
		{id: "DEL-003", needs: needPlainAdd, run: func(t *trial) {
			result := t.added()
			for _, what := range []string{"DEL", "a second DEL", "a third DEL"} {
				t.accepts(t.del(result), what)
			}
		}},
		{id: "DEL-003", run: func(t *trial) {
			t.accepts(t.call("DEL"), "DEL without ADD")
			t.accepts(t.call("DEL"), "a second DEL")
		}},
		{id: "DEL-004", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			t.withoutLeftovers("DEL after the interface was removed", func() {
				result := t.added()
				t.must(t.box().delLink(t.own().name, ""))
				t.accepts(t.del(result), "DEL after the interface was removed")
			})
		}},
		cleans("DEL-005", "DEL without CNI_NETNS", nil, func(t *trial, r map[string]any) *call { return t.del(r).unset("CNI_NETNS") }),
		cleans("DEL-006", "DEL with a namespace that is gone", nil, func(t *trial, r map[string]any) *call {
			return t.del(r).set("CNI_NETNS", filepath.Join(t.dir, "gone"))
		}),
		cleans("DEL-007", "DEL with a file where the namespace was", kernel, func(t *trial, r map[string]any) *call {
			file := filepath.Join(t.dir, "file")
			t.must(writeEmpty(file))
			return t.del(r).set("CNI_NETNS", file)
		}),
		{id: "DEL-008", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			result := t.added()
			name := t.x.target.Profile.ifName()
			_, _, err := t.host.addVeth(t.another(), name, "far0", netip.Prefix{}, netip.Addr{})
			t.must(err)
			t.run(t.del(result).set("CNI_NETNS", "/proc/self/ns/net"))
			if t.link(t.host, name) == nil {
				t.fail("DEL with the host's namespace as CNI_NETNS removes the host's own link %s", name)
			}
		}},
		cleans("DEL-009", "DEL without prevResult", nil, func(t *trial, _ map[string]any) *call { return t.call("DEL") }),
		cleans("DEL-009", "DEL with prevResult null", nil, func(t *trial, _ map[string]any) *call { return t.call("DEL").with("prevResult", nil) }),
		cleans("DEL-009", "DEL with an empty prevResult", nil, func(t *trial, _ map[string]any) *call {
			return t.call("DEL").with("prevResult", map[string]any{"cniVersion": t.v.String()})
		}),
		{id: "DEL-010", needs: needPlainAdd, run: func(t *trial) {
			for _, prev := range []any{map[string]any{"cniVersion": "99.0.0"}, 7} {
				t.withoutLeftovers("DEL with a prevResult that cannot be read", func() {
					t.works(t.call("ADD"), "ADD")
					t.run(t.call("DEL").with("prevResult", prev))
					t.gone()
				})
			}
		}},
		{id: "DEL-011", run: func(t *trial) { t.accepts(t.call("DEL"), "DEL of a container that never was") }},
		{id: "DEL-012", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.withoutLeftovers("DEL of which one step fails, that of the IPAM plugin", func() {
				result := t.added()
				t.delegateFails(types.CommandDel)
				t.run(t.del(result))
				t.gone()
			})
			file := filepath.Join(t.dir, "file")
			t.must(writeEmpty(file))
			t.must(t.delegate.Forget())
			t.run(t.call("DEL").set("CNI_NETNS", file))
			t.calls(types.CommandDel)
		}},
		{id: "DEL-014", needs: needDelegate, run: func(t *trial) {
			t.works(t.call("ADD"), "ADD")
			t.forward(t.call("DEL").unset("CNI_NETNS"))
		}},
		{id: "DEL-015", needs: needDelegate, run: func(t *trial) {
			result := t.added()
			t.delegateFails(types.CommandDel)
			t.refusesBy(t.del(result), "DEL when that of the IPAM plugin fails", 111)
		}},
		{id: "DEL-016", needs: needDelegate, run: func(t *trial) {
			t.withoutLeftovers("DEL when that of the IPAM plugin fails", func() {
				result := t.added()
				t.delegateFails(types.CommandDel)
				t.run(t.del(result))
				t.gone()
			})
		}},
		{id: "DEL-017", run: func(t *trial) {
			if s := t.works(t.call("DEL"), "DEL"); len(s.Stdout) > 0 {
				t.fail("DEL prints something: %s", s.summary())
			}
		}},
		{id: "DEL-024", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			other := t.another().Path()
			t.must(t.answer(t.container(1), netip.MustParsePrefix("10.88.0.3/24"), testGateway))
			result := t.added()
			s := t.works(t.call("ADD").named(t.container(1), other), "ADD of another container")
			object, _ := s.object()
			t.works(t.del(object).named(t.container(1), other), "DEL of another container")
			l := t.link(t.box(), t.x.target.Profile.ifName())
			if l == nil || !l.up {
				t.fail("DEL of one container takes the interface of another away")
			}
			if t.v >= types.V040 {
				t.accepts(t.check(result), "CHECK of a container after DEL of another")
			}
		}},
		{id: "DEL-025", needs: needAdd, kinds: iface, once: true, run: func(t *trial) {
			t.creates()
			result := t.added()
			name := t.own().name
			t.must(t.box().delLink(name, ""))
			_, mac, err := t.another().addVeth(t.box(), "foreign0", name, netip.Prefix{}, netip.Addr{})
			t.must(err)
			t.run(t.del(result))
			if l := t.link(t.box(), name); l == nil || l.mac != mac {
				t.fail("DEL removes a link %s that is not its own", name)
			}
		}},
		{id: "DEL-026", needs: needPlainAdd, once: true, run: func(t *trial) {
			found := false
			for what, change := range inOrder(t.changes()) {
				if s := t.run(change(t.call("ADD"))); !s.failed() {
					t.run(t.call("DEL"))
					continue
				}
				found = true
				t.withoutLeftovers("DEL with "+what+", which ADD refuses", func() {
					result := t.added()
					t.accepts(change(t.del(result)), "DEL with "+what+", which ADD refuses")
				})
			}
			if !found {
				t.na("it refuses no configuration that the kit can think of")
			}
		}},
		{id: "DEL-027", run: func(t *trial) {
			t.refusesBy(t.call("DEL").with("cniVersion", "99.0.0"), "DEL in version 99.0.0", types.ErrIncompatibleCNIVersion)
		}},
		{id: "DEL-028", run: func(t *trial) {
			if code, ok := t.run(t.call("DEL")).code(); ok && code == types.ErrUnknownContainer {
				t.fail("DEL of an unknown container is answered with code 3")
			}
		}},
	}
}

// gone lets the links of a namespace that the plugin could not enter go, as they do
// with their container: what is judged is the host and what is outside of namespaces.
func (t *trial) gone() {
	if t.last().Command == types.CommandDel && !slices.Contains(t.last().Environ, "CNI_NETNS="+t.netns()) {
		t.reset()
	}
	if t.sandbox == nil || t.x.target.Profile.Kind != KindInterface || t.x.target.Profile.Existing {
		return
	}
	if l := t.link(t.box(), t.x.target.Profile.ifName()); l != nil && t.host != nil && t.last().Environ != nil && !slices.Contains(t.last().Environ, "CNI_NETNS="+t.netns()) {
		t.must(t.box().delLink(l.name, ""))
	}
}

// reset puts an interface that is always there back to what it was, as the end of a
// container does.
func (t *trial) reset() {
	if t.sandbox != nil && t.x.target.Profile.Existing && t.x.target.Profile.ifName() == "lo" {
		t.must(t.sandbox.setDown(1))
	}
}

func (t *trial) last() *Step { return &t.steps[len(t.steps)-1] }

// changes are changes of a configuration that can be decoded and that a plugin may
// refuse.
func (t *trial) changes() map[string]func(*call) *call {
	all := map[string]func(*call) *call{
		"a nameserver that is no address": func(c *call) *call {
			return c.with("dns", map[string]any{"nameservers": []string{"no-address"}})
		},
		"a negative mtu": func(c *call) *call { return c.with("mtu", -1) },
	}
	c := t.call("ADD")
	if ipam, ok := c.conf["ipam"].(map[string]any); ok && ipam["ranges"] != nil {
		all["a range of another network's size"] = func(c *call) *call {
			c, _ = t.ranges(`[[{"subnet":"10.88.0.0/24","rangeStart":"10.99.0.1"}]]`, c)
			return c
		}
	}
	if config, ok := c.conf["runtimeConfig"].(map[string]any); ok && config["portMappings"] != nil {
		all["port 0"] = func(c *call) *call {
			return c.with("runtimeConfig", map[string]any{"portMappings": []any{map[string]any{"hostPort": 0, "containerPort": 0, "protocol": "tcp"}}})
		}
	}
	return all
}
