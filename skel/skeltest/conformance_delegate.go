// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

func delegateChecks() []check {
	iface := []Kind{KindInterface}
	d := func(id string, f func(t *trial)) check { return check{id: id, needs: needDelegate, run: f} }
	return []check{
		d("DLG-001", func(t *trial) {
			c := t.call("ADD")
			t.accepts(c.set("CNI_PATH", filepath.Join(t.dir, "none")+string(os.PathListSeparator)+c.env["CNI_PATH"]), "ADD with two directories in CNI_PATH")
			if calls, err := t.delegate.Commands(); err != nil || !slices.Contains(calls, types.CommandAdd) {
				t.fail("the IPAM plugin in the second directory of CNI_PATH was not run")
			}
		}),
		d("DLG-002", func(t *trial) {
			s := t.works(t.call("ADD").set("CNI_ARGS", "IgnoreUnknown=1;A=b").set("X_FROM_RUNTIME", "a b"), "ADD")
			for _, e := range t.calls(types.CommandAdd) {
				for _, pair := range s.Environ {
					if !slices.Contains(e.Environ, pair) {
						t.fail("the IPAM plugin does not get %s", pair)
					}
				}
			}
		}),
		d("DLG-003", func(t *trial) {
			c := t.call("ADD").with("x-cnitest", map[string]any{"list": []any{}, "text": "é"})
			t.works(c, "ADD")
			for _, e := range t.calls(types.CommandAdd) {
				if got := decoded(e.Stdin); !same(got, decoded(c.text())) {
					t.fail("the IPAM plugin gets another configuration: %s", short(e.Stdin))
				}
			}
		}),
		d("DLG-004", func(t *trial) {
			text := "\n " + string(bytes.Replace(t.call("ADD").text(), []byte("{"), []byte(`{ "x-big": 9007199254740993,  "x-none": [],`), 1)) + "\n"
			t.works(t.call("ADD").sends(text), "ADD")
			for _, e := range t.calls(types.CommandAdd) {
				if string(e.Stdin) != text {
					t.fail("the IPAM plugin does not get the very bytes: %s", short(e.Stdin))
				}
			}
		}),
		d("DLG-005", func(t *trial) {
			const mark = "a word of the delegate"
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: `{"code":111,"msg":"no"}`, Stderr: mark, Exit: 1}))
			if s := t.run(t.call("ADD")); !bytes.Contains(s.Stderr, []byte(mark)) {
				t.fail("what the IPAM plugin writes to standard error does not arrive: %s", short(s.Stderr))
			}
		}),
		d("DLG-006", func(t *trial) {
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{}))
			t.refuses(t.call("ADD"), "ADD when that of the IPAM plugin prints nothing")
		}),
		d("DLG-007", func(t *trial) {
			result := t.added()
			for _, c := range t.requests(result) {
				t.forward(c)
			}
		}),
		d("DLG-008", func(t *trial) {
			result := t.added()
			for _, command := range []types.Command{types.CommandAdd, types.CommandCheck, types.CommandDel, types.CommandGC, types.CommandStatus} {
				t.delegateFails(command)
			}
			for _, c := range append(t.requests(result), t.call("ADD").set("CNI_IFNAME", "net7").named(t.container(3), t.another().Path())) {
				s := t.run(c)
				if code, _ := s.code(); code != 111 || !strings.Contains(s.text(), "the kit says no") {
					t.fail("%s when that of the IPAM plugin fails with code 111: %s", s.Command, s.summary())
				}
			}
		}),
		d("DLG-009", func(t *trial) {
			t.delegateFails(types.CommandAdd)
			t.run(t.call("ADD"))
			t.sequence("ADD, which fails", types.CommandAdd, types.CommandDel)
		}),
		{id: "DLG-010", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: `{"cniVersion":"99.0.0","ips":[{"address":"10.88.0.2/24"}]}`}))
			if s := t.run(t.call("ADD")); s.failed() {
				t.sequence("ADD with an IPAM result in version 99.0.0", types.CommandAdd, types.CommandDel)
			}
			t.must(t.delegate.Forget())
			t.unusable()
			if s := t.run(t.call("ADD")); !s.failed() {
				t.na("it does not add the routes of the IPAM plugin")
			}
			t.sequence("ADD with a route that cannot be added", types.CommandAdd, types.CommandDel)
		}},
		{id: "DLG-011", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.unusable()
			t.must(t.delegate.Answer(types.CommandDel, "", Answer{Stdout: `{"code":112,"msg":"nor that"}`, Exit: 1}))
			s := t.run(t.call("ADD"))
			if code, ok := s.code(); ok && code == 112 {
				t.fail("the error of the IPAM plugin's DEL hides the first one: %s", s.summary())
			}
			calls, err := t.delegate.Calls()
			t.must(err)
			if len(calls) == 2 && !bytes.Equal(calls[0].Stdin, calls[1].Stdin) {
				t.fail("ADD and DEL of the IPAM plugin get different configurations")
			}
		}},
		{id: "DLG-016", needs: needDelegate, kinds: iface, run: func(t *trial) {
			if t.v < types.V030 {
				t.na("results before 0.3.0 have no positions")
			}
			r := t.added()
			for _, ip := range list(r, "ips") {
				n, ok := integer(ip["interface"])
				interfaces := list(r, "interfaces")
				if !ok || int(n) >= len(interfaces) || n < 0 || interfaces[n]["name"] != t.x.target.Profile.ifName() {
					t.fail("address %v has interface %v, want the position of %s", ip["address"], ip["interface"], t.x.target.Profile.ifName())
				}
			}
		}},
		{id: "DLG-018", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.added()
			l := t.own()
			if !l.has(testAddr) {
				t.fail("the address of the IPAM plugin is not on the interface")
			}
			if !slices.ContainsFunc(l.routes, func(r routeState) bool { return r.dst.Bits() == 0 }) {
				t.fail("the route of the IPAM plugin is not in the container")
			}
		}},
		{id: "DLG-019", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.give(types.Result{IPs: []types.IP{{Address: testAddr, Gateway: testGateway}}})
			t.added()
			if slices.ContainsFunc(t.own().routes, func(r routeState) bool { return r.dst.Bits() == 0 && r.dst.Addr().Is4() }) {
				t.fail("a gateway without a route made a default route")
			}
		}},
		{id: "DLG-021", needs: needDelegate, kinds: iface, run: func(t *trial) {
			if t.v < types.V030 {
				t.na("results before 0.3.0 need an address")
			}
			if s := t.run(t.call("ADD").without("ipam")); s.failed() {
				t.na("it needs an IPAM plugin")
			}
			if calls, err := t.delegate.Calls(); err != nil || len(calls) > 0 {
				t.fail("an IPAM plugin was run without ipam")
			}
		}},
		{id: "DLG-022", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: `{"cniVersion":"` + t.v.String() + `"}`}))
			t.refuses(t.call("ADD"), "an IPAM result without addresses")
		}},
		{id: "DLG-023", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.give(types.Result{IPs: []types.IP{{Address: testAddr, Gateway: testGateway}}, DNS: types.DNS{Nameservers: []string{"192.0.2.1"}}})
			own := map[string]any{"nameservers": []string{"192.0.2.9"}}
			s := t.works(t.call("ADD").with("dns", own), "ADD")
			if object, _ := s.object(); !same(object["dns"], own) {
				t.fail("dns of the configuration is %v, of the IPAM plugin 192.0.2.1, of the result %v", own, object["dns"])
			}
		}},
		d("DLG-024", func(t *trial) {
			c := t.call("ADD").with("ipam", map[string]any{"type": "cnitest-missing"})
			t.names(t.refusesBy(c, "an IPAM plugin that does not exist", types.ErrInvalidNetworkConfig), "an IPAM plugin that does not exist", "cnitest-missing")
		}),
		{id: "DLG-025", needs: needDelegate, kinds: iface, run: func(t *trial) {
			t.withoutLeftovers("DEL without the IPAM plugin", func() {
				result := t.added()
				t.run(t.del(result).with("ipam", map[string]any{"type": "cnitest-missing"}))
			})
		}},
		d("DLG-026", func(t *trial) {
			if t.v < types.V030 {
				t.na("it is about versions since 0.3.0")
			}
			for _, v := range []types.Version{types.V020, types.V040, types.V100} {
				r := types.Result{IPs: []types.IP{{Address: testAddr, Gateway: testGateway}}}
				data, err := r.Encode(v)
				t.must(err)
				t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: string(data)}))
				s := t.accepts(t.call("ADD"), "an IPAM result in version "+v.String())
				if object, _ := s.object(); !s.failed() && !slices.Contains(addresses(object), testAddr.String()) {
					t.fail("the address of an IPAM result in version %s is lost: %s", v, s.summary())
				}
				t.run(t.call("DEL"))
			}
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: `{"cniVersion":"99.0.0","ips":[{"address":"10.88.0.2/24"}]}`}))
			t.refuses(t.call("ADD"), "an IPAM result in version 99.0.0") // the DEL that follows is for DLG-010 to judge
		}),
		{id: "ERR-020", needs: needDelegate, run: func(t *trial) {
			t.delegateFails(types.CommandAdd)
			t.refusesBy(t.call("ADD"), "ADD when that of the IPAM plugin fails with code 111", 111)
		}},
	}
}

// delegateFails makes the IPAM plugin of the kit fail.
func (t *trial) delegateFails(command types.Command) {
	t.must(t.delegate.Answer(command, "", Answer{Stdout: fmt.Sprintf(`{"cniVersion":%q,"code":111,"msg":"the kit says no","details":"on purpose"}`, t.v), Exit: 1}))
}

// give makes it give a result.
func (t *trial) give(r types.Result) {
	data, err := r.Encode(t.v)
	t.must(err)
	t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: string(data)}))
}

// calls returns what the IPAM plugin was sent of one command, which is something.
func (t *trial) calls(command types.Command) []Execution {
	all, err := t.delegate.Calls()
	t.must(err)
	all = slices.DeleteFunc(all, func(e Execution) bool { return e.Command != command })
	if len(all) == 0 {
		t.fail("the IPAM plugin does not get %s", command)
	}
	return all
}

// forward checks that the IPAM plugin gets a command with the configuration that the
// plugin got.
func (t *trial) forward(c *call) {
	t.must(t.delegate.Forget())
	t.works(c, c.env["CNI_COMMAND"])
	for _, e := range t.calls(types.Command(c.env["CNI_COMMAND"])) {
		if !same(decoded(e.Stdin), decoded(c.text())) {
			t.fail("the IPAM plugin gets another configuration for %s: %s", e.Command, short(e.Stdin))
		}
	}
}

// sequence checks which commands the IPAM plugin was sent.
func (t *trial) sequence(what string, want ...types.Command) {
	got, err := t.delegate.Commands()
	t.must(err)
	if !slices.Equal(got, want) {
		t.fail("%s: the IPAM plugin gets %v, want %v", what, got, want)
	}
}

// requests returns a request of each command that follows an ADD.
func (t *trial) requests(result map[string]any) []*call {
	var all []*call
	if t.v >= types.V110 {
		all = append(all, t.call("STATUS"), t.call("GC").with("cni.dev/valid-attachments", t.valid(0)))
	}
	if t.v >= types.V040 {
		all = append(all, t.check(result))
	}
	return append(all, t.del(result))
}
