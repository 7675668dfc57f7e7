// SPDX-License-Identifier: Apache-2.0

package skeltest

import "slices"

// A source is a place where a runtime or an author can ask for something, such as a MAC
// or an address.
type source struct {
	name, value string
	ask         func(t *trial, c *call, value string)
}

// sources are the places to ask for a MAC, or of an IPAM plugin for an address, the one
// that counts most first.
//
// Spec: checklist ARG-014.
func (t *trial) sources() []source {
	area := func(key string, list bool) func(*trial, *call, string) {
		return func(_ *trial, c *call, value string) {
			cni := map[string]any{key: value}
			if list {
				cni[key] = []string{value}
			}
			c.with("args", map[string]any{"cni": cni})
		}
	}
	variable := func(key string) func(*trial, *call, string) {
		return func(_ *trial, c *call, value string) { c.set("CNI_ARGS", "IgnoreUnknown=1;"+key+"="+value) }
	}
	if t.x.target.Profile.Kind == KindIPAM {
		return []source{
			{"runtimeConfig.ips", "10.88.0.71", func(t *trial, c *call, value string) { t.capability(c, "ips", []string{value + "/24"}) }},
			{"args.cni.ips", "10.88.0.72", area("ips", true)},
			{"CNI_ARGS IP", "10.88.0.73", variable("IP")},
		}
	}
	return []source{
		{"runtimeConfig.mac", "02:00:00:00:77:01", func(t *trial, c *call, value string) { t.capability(c, "mac", value) }},
		{"args.cni.mac", "02:00:00:00:77:02", area("mac", false)},
		{"CNI_ARGS MAC", "02:00:00:00:77:03", variable("MAC")},
		{"mac", "02:00:00:00:77:04", func(_ *trial, c *call, value string) { c.with("mac", value) }},
	}
}

// asked is an ADD that asks for something at some places, and the places whose wish
// comes true.
func (t *trial) asked(places ...source) (granted []string) {
	c := t.call("ADD")
	for _, s := range places {
		s.ask(t, c, s.value)
	}
	s := t.run(c)
	if object, _ := s.object(); !s.failed() {
		for _, p := range places {
			if t.x.target.Profile.Kind == KindIPAM {
				if slices.Contains(addresses(object), p.value+"/24") {
					granted = append(granted, p.name)
				}
			} else if l := t.link(t.box(), t.x.target.Profile.ifName()); l != nil && l.mac == p.value {
				granted = append(granted, p.name)
			}
		}
	}
	t.run(t.call("DEL"))
	return granted
}

// precedence checks that of the places that the plugin looks at, the first one counts
// and no other.
func (t *trial) precedence(places ...source) {
	var known []source
	for _, s := range places {
		if len(t.asked(s)) > 0 {
			known = append(known, s)
		}
	}
	if len(known) < 2 {
		t.na("it reads at most one of these")
	}
	if granted := t.asked(known...); len(granted) != 1 || granted[0] != known[0].name {
		t.fail("of %d places that ask for different things, %v counts, want %s", len(known), granted, known[0].name)
	}
}

func sourceChecks() []check {
	ranked := func(id string, needs need, kinds []Kind, f func(t *trial, all []source)) check {
		return check{id: id, needs: needs, kinds: kinds, once: true, run: func(t *trial) { f(t, t.sources()) }}
	}
	kernel, ipam := []Kind{KindInterface, KindChained}, []Kind{KindIPAM}
	all := func(t *trial, all []source) { t.precedence(all...) }
	args := func(t *trial, all []source) { t.precedence(all[1], all[2]) }
	return []check{
		ranked("ARG-013", needPlainAdd, ipam, args),
		ranked("ARG-013", needAdd, kernel, args),
		ranked("ARG-014", needPlainAdd, ipam, all),
		ranked("ARG-014", needAdd, kernel, all),
		ranked("CAP-005", needAdd, kernel, func(t *trial, all []source) { t.precedence(all[0], all[3]) }),
	}
}
