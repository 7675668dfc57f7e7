// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"slices"

	"github.com/cnikit/cnikit/types"
)

// convertChecks judge the conversion of results where it shows: a plugin makes its own
// result out of that of the IPAM plugin, which may be in another version.
func convertChecks() []check {
	// converts checks the result in version v when the IPAM plugin gives this one.
	converts := func(id string, v types.Version, text string, judge func(t *trial, r map[string]any)) check {
		return check{id: id, needs: needDelegate, kinds: []Kind{KindInterface}, once: true, run: func(t *trial) {
			if !slices.Contains(t.supported(), any(v.String())) {
				t.na("it does not support %s", v)
			}
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: text}))
			s := t.works(t.call("ADD").with("cniVersion", v.String()), "ADD in "+v.String()+" with "+text)
			if r, err := s.object(); err == nil {
				judge(t, r)
			}
			t.run(t.call("DEL").with("cniVersion", v.String()))
		}}
	}
	wants := func(t *trial, what string, got any, want ...string) {
		if !same(got, want) {
			t.fail("%s: %v, want %v", what, got, want)
		}
	}
	return []check{
		converts("CONV-003", types.V110, `{"cniVersion":"0.2.0","ip6":{"ip":"fd00:88::2/64","gateway":"fd00:88::1","routes":[{"dst":"fd00:99::/64"}]},"ip4":{"ip":"10.88.0.2/24","gateway":"10.88.0.1","routes":[{"dst":"0.0.0.0/0"}]}}`, func(t *trial, r map[string]any) {
			wants(t, "addresses of an IPAM result in 0.2.0", addresses(r), "10.88.0.2/24", "fd00:88::2/64")
			wants(t, "routes of an IPAM result in 0.2.0", members(routes(r), "dst"), "0.0.0.0/0", "fd00:99::/64")
			wants(t, "gateways of an IPAM result in 0.2.0", members(list(r, "ips"), "gateway"), "10.88.0.1", "fd00:88::1")
		}),
		converts("CONV-006", types.V110, `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.88.0.2/24"}]}`, func(t *trial, r map[string]any) {
			for _, ip := range list(r, "ips") {
				t.without(ip, "version")
			}
		}),
		converts("CONV-007", types.V040, `{"cniVersion":"1.1.0","ips":[{"address":"10.88.0.2/24"}]}`, func(t *trial, r map[string]any) {
			wants(t, "version of an address of an IPAM result in 1.1.0", members(list(r, "ips"), "version"), "4")
		}),
		converts("CONV-008", types.V040, `{"cniVersion":"0.4.0","ips":[{"version":"6","address":"10.88.0.2/24"}]}`, func(t *trial, r map[string]any) {
			wants(t, "version of an IPv4 address for which the IPAM plugin says 6", members(list(r, "ips"), "version"), "4")
		}),
		converts("CONV-009", types.V020, `{"cniVersion":"1.1.0","ips":[{"address":"10.88.0.9/24"},{"address":"10.88.0.2/24"}]}`, func(t *trial, r map[string]any) {
			wants(t, "the one address of a result in 0.2.0", addresses(r), "10.88.0.9/24")
		}),
		converts("CONV-010", types.V020, `{"cniVersion":"1.1.0","ips":[{"address":"10.88.0.2/24","gateway":"10.88.0.1"}],"routes":[{"dst":"fd00:99::/64"},{"dst":"0.0.0.0/0"}]}`, func(t *trial, r map[string]any) {
			wants(t, "routes of a result in 0.2.0 that has IPv4 alone", members(routes(r), "dst"), "0.0.0.0/0")
		}),
		{id: "CONV-011", needs: needDelegate, kinds: []Kind{KindInterface}, once: true, run: func(t *trial) {
			if !slices.Contains(t.supported(), any("0.2.0")) {
				t.na("it does not support 0.2.0")
			}
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: `{"cniVersion":"1.1.0","dns":{"domain":"a.example"}}`}))
			t.refuses(t.call("ADD").with("cniVersion", "0.2.0"), "an IPAM result without addresses, for a result in 0.2.0")
		}},
		converts("CONV-013", types.V100, `{"cniVersion":"1.1.0","ips":[{"address":"10.88.0.2/24","gateway":"10.88.0.1"}],"routes":[{"dst":"10.77.0.0/16","mtu":1400,"priority":7}]}`, func(t *trial, r map[string]any) {
			for _, route := range list(r, "routes") {
				t.without(route, "mtu", "advmss", "priority", "table", "scope")
			}
			for _, i := range list(r, "interfaces") {
				t.without(i, "mtu", "socketPath", "pciID")
			}
		}),
		converts("CONV-018", types.V110, `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.88.0.9/24"},{"version":"4","address":"10.88.0.2/24"}],"dns":{"nameservers":["192.0.2.9","192.0.2.1"],"search":["b.example","a.example"]}}`, func(t *trial, r map[string]any) {
			wants(t, "addresses", addresses(r), "10.88.0.9/24", "10.88.0.2/24")
			dns, _ := r["dns"].(map[string]any)
			wants(t, "name servers", dns["nameservers"], "192.0.2.9", "192.0.2.1")
			wants(t, "search domains", dns["search"], "b.example", "a.example")
		}),
	}
}

// members returns one member of each object.
func members(all []map[string]any, key string) []any {
	var values []any
	for _, object := range all {
		values = append(values, object[key])
	}
	return values
}
