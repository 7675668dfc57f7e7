// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// rangeChecks judge what a runtime asks of an IPAM plugin with ranges, as host-local is
// one: by runtimeConfig.
func rangeChecks() []check {
	ranged := func(id string, f func(t *trial)) check {
		return check{id: id, needs: needPlainAdd, kinds: []Kind{KindIPAM}, once: true, run: func(t *trial) {
			if _, ok := t.ranges("", t.call("ADD")); !ok {
				t.na("it has no ranges")
			}
			f(t)
			t.run(t.call("DEL"))
		}}
	}
	// granted is an ADD with a capability, and its addresses.
	granted := func(t *trial, key, value string) []string {
		s := t.works(t.capability(t.call("ADD"), key, json.RawMessage(value)), "ADD with "+key+" "+value)
		object, _ := s.object()
		return addresses(object)
	}
	of := func(all []string, stem string) (n int) {
		for _, a := range all {
			if strings.HasPrefix(a, stem) {
				n++
			}
		}
		return n
	}
	return []check{
		ranged("CAP-012", func(t *trial) {
			all := granted(t, "ipRanges", `[[{"subnet":"10.99.0.0/24"}]]`)
			if of(all, "10.99.0.") == 0 {
				t.na("it does not read ipRanges")
			}
			if !strings.HasPrefix(all[0], "10.99.0.") {
				t.fail("the address of ipRanges comes after those of the configuration: %v", all)
			}
		}),
		ranged("CAP-013", func(t *trial) {
			all := granted(t, "ipRanges", `[[{"subnet":"10.98.0.0/24"}],[{"subnet":"10.99.0.0/24"}]]`)
			if of(all, "10.98.0.")+of(all, "10.99.0.") == 0 {
				t.na("it does not read ipRanges")
			}
			if of(all, "10.98.0.") != 1 || of(all, "10.99.0.") != 1 {
				t.fail("two ipRanges, and the addresses are %v, want one of each", all)
			}
		}),
		ranged("CAP-014", func(t *trial) {
			if all := granted(t, "ips", `["10.88.0.55/24"]`); of(all, "10.88.0.55/") == 0 {
				t.na("it does not read ips")
			}
			t.works(t.call("DEL"), "DEL")
			before := t.states()
			t.refuses(t.capability(t.call("ADD"), "ips", []string{"10.88.0.55/24", "192.0.2.7/24"}), "ips of which one is in no range")
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("the refused ADD leaves:\n%s", diff)
			}
		}),
		ranged("ARG-002", func(t *trial) {
			if !t.grants("IP=10.88.0.77") {
				t.na("it does not read IP")
			}
			if t.grants("ip=10.88.0.177;IgnoreUnknown=1") {
				t.fail("ip is taken for IP")
			}
		}),
		ranged("ARG-005", func(t *trial) {
			t.readsArgs()
			t.refusesBy(t.call("ADD").set("CNI_ARGS", "IgnoreUnknown=maybe"), "CNI_ARGS=IgnoreUnknown=maybe", types.ErrInvalidEnvironmentVariables)
		}),
		ranged("ARG-008", func(t *trial) {
			t.readsArgs()
			for _, args := range []string{"FOO", "IgnoreUnknown=1;FOO", "IgnoreUnknown=1;=x"} {
				s := t.refusesBy(t.call("ADD").set("CNI_ARGS", args), "CNI_ARGS="+args, types.ErrInvalidEnvironmentVariables)
				t.names(s, "CNI_ARGS="+args, "CNI_ARGS")
			}
		}),
		ranged("ARG-009", func(t *trial) {
			if !t.grants("IP=10.88.0.76;IP=10.88.0.77", "10.88.0.77") && t.grants("IP=10.88.0.76;IP=10.88.0.77", "10.88.0.76") {
				t.fail("IP is there twice, and the first one counts")
			}
		}),
		ranged("ARG-010", func(t *trial) {
			const ip, unknown = "IP=10.88.0.77", "IgnoreUnknown=1;K8S_POD_NAME=web"
			if first, last := t.grants(ip+";"+unknown), t.grants(unknown+";"+ip); first != last {
				t.fail("IP counts at the beginning: %t, at the end: %t", first, last)
			}
		}),
	}
}

// grants reports whether an ADD with these arguments gets an address: that of the last
// pair IP, if none is named.
func (t *trial) grants(args string, want ...string) bool {
	if len(want) == 0 {
		_, after, _ := strings.Cut(strings.ToUpper(args), "IP=")
		address, _, _ := strings.Cut(after, ";")
		want = []string{address}
	}
	s := t.run(t.call("ADD").set("CNI_ARGS", args))
	t.run(t.call("DEL"))
	object, _ := s.object()
	for _, a := range addresses(object) {
		if strings.HasPrefix(a, want[0]+"/") {
			return true
		}
	}
	return false
}

// readsArgs ends the check unless the plugin refuses a key of CNI_ARGS that it does not
// know: one that does not read them accepts all.
func (t *trial) readsArgs() {
	s := t.run(t.call("ADD").set("CNI_ARGS", "FOO=1"))
	if code, _ := s.code(); code != types.ErrInvalidEnvironmentVariables || !strings.Contains(s.text(), "FOO") {
		t.run(t.call("DEL"))
		t.na("it does not judge CNI_ARGS")
	}
}
