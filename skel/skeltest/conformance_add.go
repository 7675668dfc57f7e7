// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cnikit/cnikit/types"
)

func addChecks() []check {
	iface := []Kind{KindInterface}
	kernel := []Kind{KindInterface, KindChained}
	return []check{
		{id: "ADD-001", needs: needAdd, kinds: kernel, run: func(t *trial) {
			t.added()
			if t.link(t.box(), t.x.target.Profile.ifName()) == nil {
				t.fail("after ADD the container has no link %s", t.x.target.Profile.ifName())
			}
		}},
		{id: "ADD-002", needs: needPlainAdd, run: func(t *trial) {
			s := t.run(t.call("ADD"))
			object, err := s.object()
			switch {
			case s.Exit != 0:
			case err != nil:
				t.fail("ADD succeeds without a result: %v", err)
			case object["code"] != nil:
				t.fail("ADD succeeds with an error object: %s", s.summary())
			}
			t.run(t.call("DEL"))
		}},
		{id: "ADD-003", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			name := t.x.target.Profile.ifName()
			_, mac, err := t.another().addVeth(t.box(), "foreign0", name, netip.Prefix{}, netip.Addr{})
			t.must(err)
			t.refuses(t.call("ADD"), "ADD of an interface that the container has already")
			if l := t.link(t.box(), name); l == nil || l.mac != mac {
				t.fail("the interface that was there already is not there any more")
			}
		}},
		{id: "ADD-004", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			for _, name := range []string{"net1", "fifteen-bytes-0"} {
				t.works(t.call("ADD").set("CNI_IFNAME", name), "ADD of "+name)
				if t.link(t.box(), name) == nil {
					t.fail("the container has no link %s, but %s", name, strings.Join(t.linkNames(t.box()), ", "))
				}
				t.run(t.call("DEL").set("CNI_IFNAME", name))
			}
		}},
		{id: "ADD-005", needs: needAdd, kinds: kernel, run: func(t *trial) {
			c := t.call("ADD").with("cniVersion", "99.0.0")
			before := t.states()
			t.run(c)
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("an ADD in version 99.0.0 changes something:\n%s", diff)
			}
		}},
		{id: "ADD-007", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			result := t.added()
			t.refuses(t.call("ADD"), "a second ADD of the same interface")
			if l := t.link(t.box(), t.x.target.Profile.ifName()); l == nil || !l.up {
				t.fail("a second ADD takes the interface of the first away")
			}
			if t.v >= types.V040 {
				t.accepts(t.check(result), "CHECK of the first ADD, after a second one")
			}
		}},
		{id: "ADD-009", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.warm()
			t.unusable()
			t.box()
			before := t.states()
			t.refuses(t.call("ADD"), "ADD with a route that cannot be added")
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("a failed ADD leaves:\n%s", diff)
			}
		}},
		{id: "ADD-010", needs: needAdd, kinds: iface, run: func(t *trial) {
			host, box := t.linkNames(t.host), t.linkNames(t.box())
			object := t.added()
			if t.v < types.V030 {
				t.na("results before 0.3.0 have no interfaces")
			}
			for n, before := range map[*Namespace][]string{t.host: host, t.box(): box} {
				for _, name := range t.linkNames(n) {
					if !slices.Contains(before, name) && !has(list(object, "interfaces"), map[string]any{"name": name}) {
						t.fail("ADD made link %s, which the result does not have", name)
					}
				}
			}
		}},
		{id: "ADD-011", needs: needAdd, kinds: iface, run: func(t *trial) {
			path := filepath.Join(t.dir, "netns")
			t.must(os.Symlink(t.netns(), path))
			s := t.works(t.call("ADD").set("CNI_NETNS", path), "ADD by another path of the namespace")
			object, _ := s.object()
			for _, i := range list(object, "interfaces") {
				if sandbox, _ := i["sandbox"].(string); sandbox != "" && sandbox != path {
					t.fail("sandbox is %s, want CNI_NETNS, %s", sandbox, path)
				}
			}
		}},
		{id: "ADD-012", needs: needAdd, kinds: iface, run: func(t *trial) {
			file := filepath.Join(t.dir, "file")
			t.must(os.WriteFile(file, nil, 0o600))
			for _, path := range []string{file, filepath.Join(t.dir, "nothing"), t.dir} {
				t.names(t.refusesBy(t.call("ADD").set("CNI_NETNS", path), "CNI_NETNS="+path, types.ErrInvalidEnvironmentVariables), "CNI_NETNS="+path, "CNI_NETNS")
			}
		}},
		{id: "ADD-013", needs: needPlainAdd, kinds: kernel, run: func(t *trial) {
			c := t.call("ADD")
			if t.x.target.Profile.Kind == KindInterface {
				c.with("prevResult", map[string]any{
					"cniVersion": t.v.String(),
					"interfaces": []any{map[string]any{"name": "foreign0", "mac": "02:00:00:99:99:99"}},
					"routes":     []any{map[string]any{"dst": "192.0.2.0/24"}},
				})
			}
			s := t.works(c, "ADD with prevResult")
			got := t.readResult(s)
			for _, entry := range list(decoded(mustJSON(c.conf["prevResult"])), "interfaces") {
				if has(list(got, "interfaces"), map[string]any{"name": entry["name"]}) {
					return
				}
			}
			t.fail("nothing of prevResult is in the result: %s", s.summary())
		}},
		{id: "ADD-015", needs: needAdd, kinds: iface, run: func(t *trial) {
			_, _, err := t.another().addVeth(t.box(), "foreign0", "x0", netip.MustParsePrefix("10.99.0.2/24"), netip.Addr{})
			t.must(err)
			others := []string{"x0", "lo"}
			if t.x.target.Profile.ifName() == "lo" {
				others = others[:1]
			}
			before := map[string]*linkState{"x0": t.link(t.box(), "x0"), "lo": t.link(t.box(), "lo")}
			alike := func(what string) {
				for _, name := range others {
					was, l := before[name], t.link(t.box(), name)
					if l == nil || l.mac != was.mac || l.mtu != was.mtu || l.up != was.up || !slices.Equal(l.addrs, was.addrs) || !slices.Equal(l.routes, was.routes) {
						t.fail("%s changes interface %s of the container", what, name)
					}
				}
			}
			t.works(t.call("ADD"), "ADD")
			alike("ADD")
			t.run(t.call("DEL"))
			alike("DEL")
		}},
		{id: "ADD-019", needs: needAdd, kinds: kernel, run: func(t *trial) {
			t.added()
			l := t.own()
			if !l.up {
				t.fail("after ADD the link %s is down", l.name)
			}
			for _, a := range l.addrs {
				if a.tentative {
					t.fail("after ADD the address %s is still tentative", a.prefix)
				}
			}
		}},
		{id: "ADD-020", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.creates()
			t.secondDefaultRoute()
		}},
		{id: "ADD-021", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.added()
			for _, r := range t.own().routes {
				if !r.kernel && r.priority != 0 && r.dst.Addr().Is4() {
					t.fail("the route to %s has metric %d", r.dst, r.priority)
				}
			}
		}},
		{id: "ADD-022", needs: needDelegate, kinds: iface, run: func(t *trial) {
			r := types.Result{IPs: []types.IP{{Address: testAddr, Gateway: testGateway}}, Routes: []types.Route{{
				Dst: netip.MustParsePrefix("10.77.0.0/16"), GW: testGateway, MTU: 1400, AdvMSS: 1300, Priority: 77,
			}}}
			data, err := r.Encode(t.v)
			t.must(err)
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: string(data)}))
			object := t.added()
			want := routeState{dst: r.Routes[0].Dst, gateway: testGateway, priority: 77, table: 254, mtu: 1400, advmss: 1300}
			if l := t.own(); !slices.Contains(l.routes, want) {
				t.fail("the route of the IPAM plugin with mtu, advmss and priority is not in the container with all of them")
			}
			if !has(list(object, "routes"), map[string]any{"dst": "10.77.0.0/16", "mtu": 1400, "advmss": 1300, "priority": 77}) {
				t.fail("the result does not repeat mtu, advmss and priority of the route: %v", object["routes"])
			}
		}},
		{id: "ADD-023", needs: needAdd, kinds: kernel, run: func(t *trial) {
			object := t.added()
			l := t.own()
			for _, i := range list(object, "interfaces") {
				sandbox, _ := i["sandbox"].(string)
				if i["name"] != l.name || sandbox == "" {
					continue
				}
				if mac, _ := i["mac"].(string); mac != "" && !strings.EqualFold(mac, l.mac) {
					t.fail("the result has MAC %s, the kernel %s", mac, l.mac)
				}
				if mtu, ok := integer(i["mtu"]); ok && mtu != 0 && int(mtu) != l.mtu {
					t.fail("the result has MTU %d, the kernel %d", mtu, l.mtu)
				}
			}
			if t.x.target.Profile.Kind == KindInterface {
				for _, i := range list(object, "interfaces") {
					if name, _ := i["name"].(string); t.link(t.box(), name) == nil && t.link(t.host, name) == nil {
						t.fail("the result has interface %s, and neither the container nor the host has", name)
					}
				}
				for _, text := range addresses(object) {
					if p, ok := prefix(text); ok && !l.has(p) {
						t.fail("the result has address %s, the link has not", p)
					}
				}
			}
		}},
		{id: "ADD-024", needs: needDelegate, kinds: iface, run: func(t *trial) {
			if t.v < types.V030 {
				t.na("results before 0.3.0 have no positions")
			}
			text := `{"cniVersion":"` + t.v.String() + `","ips":[{"version":"4","address":"10.88.0.2/24","interface":99}]}`
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: text}))
			t.refuses(t.call("ADD"), "an IPAM result whose address is on interface 99")
		}},
		{id: "ADD-025", run: func(t *trial) {
			t.needsCanAdd()
			s := t.run(t.call("ADD"))
			if !s.failed() {
				t.run(t.call("DEL"))
				return
			}
			t.run(t.call("STATUS"))
			if s := t.run(t.call("ADD")); s.failed() {
				t.na("ADD does not succeed after STATUS either: %s", s.summary())
			}
			t.fail("ADD succeeds after STATUS alone: %s", s.summary())
		}},
		{id: "ADD-026", needs: needDelegate, once: true, run: func(t *trial) {
			limit := t.patience()
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Sleep: 3 * busiest * limit}))
			if s := t.bounded(t.call("ADD")); s.Problem == "" && !s.failed() {
				t.fail("ADD succeeds although the IPAM plugin says nothing")
			}
		}},
	}
}

// secondDefaultRoute checks what becomes of an ADD in a container that has a default
// route. A plugin that wants none of its own has no reason to refuse; one that does may,
// if it leaves nothing.
//
// Spec: checklist ADD-020; the text does not say what becomes of the second route.
func (t *trial) secondDefaultRoute() {
	foreign := func() {
		_, _, err := t.another().addVeth(t.box(), "foreign0", "x0", netip.MustParsePrefix("10.99.0.2/24"), netip.MustParseAddr("10.99.0.1"))
		t.must(err)
	}
	t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: string(mustJSON(t.ipamResult()))}))
	t.works(t.call("ADD"), "ADD without a route of the IPAM plugin")
	wantsOne := t.own().hasDefault()
	t.works(t.call("DEL"), "DEL")
	foreign()
	if !wantsOne {
		t.accepts(t.call("ADD"), "ADD, whose IPAM plugin gives no route, in a container that has a default route")
		t.run(t.call("DEL"))
	}
	t.must(t.answer("", testAddr, testGateway))
	before := t.states()
	s := t.run(t.call("ADD"))
	if diff := Diff(before, t.states()); s.failed() && diff != "" {
		t.fail("ADD of a second default route is refused and leaves:\n%s", diff)
	}
}

// patience is how long the author says that an execution may take, by a limit in the
// profile. The kit's own is no statement about the plugin.
func (t *trial) patience() time.Duration {
	if t.x.target.Profile.TimeoutSeconds <= 0 {
		t.na("the profile does not say by timeoutSeconds how long the plugin may take")
	}
	return t.x.target.Profile.timeout()
}

// bounded runs a request that keeps the plugin waiting. Its own limit is to end it, not
// the kit's.
func (t *trial) bounded(c *call) *Step {
	s := t.run(c)
	if s.stopped() {
		t.x.hung.Add(-1) // as it was asked to
	}
	if s.Problem != "" {
		t.fail("%s: %s", s.Command, s.Problem)
	}
	return s
}

// needsCanAdd ends the check where no ADD can be tried.
func (t *trial) needsCanAdd() {
	if !t.x.canAdd() {
		t.na("it takes network namespaces: %s", t.x.whyNot)
	}
}

// unusable makes the IPAM plugin of the kit give a route that no kernel accepts: its
// gateway is a multicast address.
func (t *trial) unusable() {
	r := types.Result{
		IPs:    []types.IP{{Address: testAddr, Gateway: testGateway}},
		Routes: []types.Route{{Dst: netip.MustParsePrefix("10.66.0.0/16"), GW: netip.MustParseAddr("224.0.0.9")}},
	}
	data, err := r.Encode(t.v)
	t.must(err)
	t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: string(data)}))
}
