// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cnikit/cnikit/types"
)

// resultChecks judge the result of one ADD.
func resultChecks() []check {
	iface := []Kind{KindInterface}
	judge := func(id string, kinds []Kind, f func(t *trial, r map[string]any)) check {
		return check{id: id, kinds: kinds, needs: needPlainAdd, run: func(t *trial) {
			f(t, t.added())
			t.run(t.call("DEL"))
		}}
	}
	return []check{
		{id: "RES-001", needs: needPlainAdd, run: func(t *trial) {
			s := t.works(t.call("ADD"), "ADD")
			if _, err := s.object(); err != nil || !utf8.Valid(s.Stdout) {
				t.fail("the result is not one JSON object in UTF-8: %s", s.summary())
			}
			t.run(t.call("DEL"))
		}},
		judge("RES-002", nil, func(t *trial, r map[string]any) {
			if r["cniVersion"] != t.v.String() {
				t.fail("cniVersion of the result is %v, want that of the request, %s", r["cniVersion"], t.v)
			}
		}),
		judge("RES-003", nil, func(t *trial, r map[string]any) {
			if r["ip4"] == nil && r["ip6"] == nil {
				t.fail("the result has neither ip4 nor ip6")
			}
			t.without(r, "ips", "interfaces", "routes")
		}),
		judge("RES-004", nil, func(t *trial, r map[string]any) { t.without(r, "ip4", "ip6") }),
		judge("RES-005", nil, func(t *trial, r map[string]any) { t.without(r, "ip") }),
		judge("RES-006", nil, func(t *trial, r map[string]any) {
			for _, ip := range list(r, "ips") {
				p, ok := prefix(ip["address"])
				if want := map[bool]string{true: "4", false: "6"}[p.Addr().Is4()]; ok && ip["version"] != want {
					t.fail("version of address %v is %v, want the text %q", ip["address"], ip["version"], want)
				}
			}
		}),
		judge("RES-007", nil, func(t *trial, r map[string]any) {
			for _, ip := range list(r, "ips") {
				t.without(ip, "version")
			}
		}),
		judge("RES-009", nil, func(t *trial, r map[string]any) {
			for _, i := range list(r, "interfaces") {
				if name, ok := i["name"].(string); !ok || name == "" {
					t.fail("the name of an interface is %v", i["name"])
				}
			}
		}),
		judge("RES-010", iface, func(t *trial, r map[string]any) {
			t.each(r, func(i map[string]any, l *linkState) {
				if strings.Trim(l.mac, "0:") != "" && i["mac"] == nil {
					t.fail("interface %s has no mac, the link has %s", l.name, l.mac)
				}
			})
		}),
		judge("RES-011", nil, func(t *trial, r map[string]any) {
			mac := regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2})+$`)
			for _, i := range list(r, "interfaces") {
				if text, ok := i["mac"].(string); ok && text != "" && !mac.MatchString(text) {
					t.fail("mac %q is not in lower case with colons", text)
				}
			}
		}),
		judge("RES-012", iface, func(t *trial, r map[string]any) {
			if t.v < types.V030 {
				t.na("results before 0.3.0 have no interfaces")
			}
			for _, i := range list(r, "interfaces") {
				name := fmt.Sprint(i["name"])
				sandbox, _ := i["sandbox"].(string)
				inside, onHost := t.link(t.box(), name) != nil, t.link(t.host, name) != nil
				if inside && !onHost && sandbox == "" || onHost && !inside && sandbox != "" {
					t.fail("interface %s has sandbox %q, and is in the container: %t, on the host: %t", name, sandbox, inside, onHost)
				}
			}
		}),
		judge("RES-013", iface, func(t *trial, r map[string]any) {
			t.each(r, func(i map[string]any, l *linkState) {
				if mtu, ok := integer(i["mtu"]); !ok || int(mtu) != l.mtu {
					t.fail("mtu of interface %s is %v, the link has %d", l.name, i["mtu"], l.mtu)
				}
			})
		}),
		judge("RES-014", nil, func(t *trial, r map[string]any) {
			for _, i := range list(r, "interfaces") {
				if path, ok := i["socketPath"].(string); i["socketPath"] != nil && (!ok || !strings.HasPrefix(path, "/")) {
					t.fail("socketPath %v is not an absolute path", i["socketPath"])
				}
			}
		}),
		judge("RES-015", nil, func(t *trial, r map[string]any) {
			for _, i := range list(r, "interfaces") {
				if id, ok := i["pciID"].(string); i["pciID"] != nil && (!ok || id == "" || strings.ContainsAny(id, " /\t\n")) {
					t.fail("pciID %v is no identifier of a device", i["pciID"])
				}
			}
		}),
		judge("RES-016", nil, func(t *trial, r map[string]any) {
			for _, text := range addresses(r) {
				if p, ok := prefix(text); !ok || p == p.Masked() && p.Bits() < p.Addr().BitLen()-1 {
					t.fail("address %q is not an address with a prefix length", text)
				}
			}
		}),
		judge("RES-017", nil, func(t *trial, r map[string]any) {
			for _, ip := range blocks(r) {
				gateway, err := netip.ParseAddr(fmt.Sprint(ip["gateway"]))
				p, ok := prefix(first(ip["address"], ip["ip"]))
				if ip["gateway"] != nil && (err != nil || ok && gateway.Is4() != p.Addr().Is4()) {
					t.fail("gateway %v of %v is not an address of its family", ip["gateway"], p)
				}
			}
		}),
		judge("RES-018", nil, func(t *trial, r map[string]any) {
			for _, ip := range list(r, "ips") {
				n, ok := integer(ip["interface"])
				if ip["interface"] != nil && (!ok || int(n) >= len(list(r, "interfaces")) && n >= 0) {
					t.fail("address %v is on interface %v of %d", ip["address"], ip["interface"], len(list(r, "interfaces")))
				}
			}
		}),
		judge("RES-019", iface, func(t *trial, r map[string]any) {
			// An address of a lone interface, which is number 0.
			for _, ip := range list(r, "ips") {
				if len(list(r, "interfaces")) == 1 && ip["interface"] == nil {
					t.fail("address %v has no interface, want 0", ip["address"])
				}
			}
		}),
		judge("RES-020", nil, func(t *trial, r map[string]any) {
			for _, ip := range list(r, "ips") {
				if n, ok := integer(ip["interface"]); ok && n < 0 {
					t.fail("address %v is on interface %d", ip["address"], n)
				}
			}
		}),
		judge("RES-024", nil, func(t *trial, r map[string]any) {
			for _, route := range routes(r) {
				if _, ok := prefix(route["dst"]); !ok {
					t.fail("dst %v of a route is not a prefix", route["dst"])
				}
			}
		}),
		judge("RES-025", nil, func(t *trial, r map[string]any) {
			for _, route := range list(r, "routes") {
				dst, ok := prefix(route["dst"])
				gw, err := netip.ParseAddr(fmt.Sprint(route["gw"]))
				if ok && err == nil && dst.Addr().Is4() != gw.Is4() {
					t.fail("route to %s by %s, of another family", dst, gw)
				}
			}
		}),
		judge("RES-026", nil, func(t *trial, r map[string]any) {
			for _, route := range routes(r) {
				if dst, ok := prefix(route["dst"]); ok && dst != dst.Masked() {
					t.fail("dst %s of a route has host bits", dst)
				}
			}
		}),
		judge("RES-027", iface, func(t *trial, r map[string]any) {
			l := t.own()
			for _, route := range routes(r) {
				dst, ok := prefix(route["dst"])
				found := false
				for _, in := range l.routes {
					found = found || in.dst == dst
				}
				if ok && !found {
					t.fail("the result has a route to %s, link %s has not", dst, l.name)
				}
			}
		}),
		judge("RES-028", nil, func(t *trial, r map[string]any) {
			for _, route := range list(r, "routes") {
				for _, key := range []string{"mtu", "advmss", "priority", "table", "scope"} {
					if n, ok := integer(route[key]); route[key] != nil && (!ok || n < 0) {
						t.fail("%s of a route is %v", key, route[key])
					}
				}
			}
		}),
		judge("RES-031", nil, func(t *trial, r map[string]any) {
			if t.v >= types.V110 {
				return
			}
			for _, i := range list(r, "interfaces") {
				t.without(i, "mtu", "socketPath", "pciID")
			}
			for _, route := range list(r, "routes") {
				t.without(route, "mtu", "advmss", "priority", "table", "scope")
			}
		}),
		{id: "RES-032", needs: needPlainAdd, kinds: []Kind{KindInterface, KindMeta, KindIPAM}, run: func(t *trial) {
			names := []string{"192.0.2.9", "192.0.2.1", "192.0.2.5"}
			s := t.works(t.call("ADD").with("dns", map[string]any{"nameservers": names}), "ADD")
			object, _ := s.object()
			dns, _ := object["dns"].(map[string]any)
			if got := dns["nameservers"]; got != nil && !same(got, names) {
				t.fail("nameservers %v became %v", names, got)
			}
			for key, want := range inOrder(map[string]bool{"nameservers": true, "search": true, "options": true, "domain": false}) {
				if _, isArray := dns[key].([]any); dns[key] != nil && isArray != want {
					t.fail("dns.%s is %v", key, dns[key])
				}
			}
			t.run(t.call("DEL"))
		}},
		judge("RES-033", []Kind{KindInterface, KindIPAM}, func(t *trial, r map[string]any) {
			if dns, ok := r["dns"].(map[string]any); r["dns"] != nil && (!ok || len(dns) > 0) {
				t.fail("dns is %v, and nobody gave any", r["dns"])
			}
		}),
		{id: "RES-034", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			dns := map[string]any{"nameservers": []string{"192.0.2.9"}, "domain": "a.example"}
			s := t.works(t.call("ADD").with("dns", dns), "ADD")
			object, _ := s.object()
			if !same(object["dns"], dns) {
				t.fail("dns of the configuration is not in the result, which has %v", object["dns"])
			}
		}},
		judge("RES-035", nil, func(t *trial, r map[string]any) {
			if path := null(r, ""); path != "" {
				t.fail("%s is null", path)
			}
		}),
		{id: "RES-036", needs: needDelegate, kinds: iface, run: func(t *trial) {
			if t.v < types.V030 {
				t.na("it is about versions since 0.3.0")
			}
			r := t.added()
			for _, a := range t.own().addrs {
				if !slices.Contains(addresses(r), a.prefix.String()) {
					t.fail("the link has address %s, the result has not: %v", a.prefix, addresses(r))
				}
			}
			l := t.own()
			for _, route := range l.routes {
				ofAddress := slices.ContainsFunc(l.addrs, func(a addrState) bool { return a.prefix.Masked() == route.dst })
				if ofAddress || route.kernel || route.table != 254 || route.dst.Bits() == route.dst.Addr().BitLen() {
					continue // of the kernel's own, of another table, or to a gateway
				}
				if !has(list(r, "routes"), map[string]any{"dst": route.dst.String()}) {
					t.fail("the link has a route to %s, the result has not: %v", route.dst, r["routes"])
				}
			}
			if !has(list(r, "ips"), map[string]any{"gateway": testGateway.String()}) {
				t.fail("the gateway of the IPAM plugin is not in the result: %v", r["ips"])
			}
			if !has(list(r, "routes"), map[string]any{"dst": "0.0.0.0/0"}) {
				t.fail("the route of the IPAM plugin is not in the result: %v", r["routes"])
			}
		}},
		{id: "RES-037", needs: needDelegate, run: func(t *trial) {
			text := decoded(mustJSON(t.ipamResult()))
			text["x-cnitest"] = []any{1}
			for _, entry := range blocks(text) {
				entry["x-cnitest"] = map[string]any{}
			}
			t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: string(mustJSON(text))}))
			t.accepts(t.call("ADD"), "ADD with unknown members in the result of the IPAM plugin")
		}},
		{id: "RES-038", needs: needPlainAdd, kinds: []Kind{KindIPAM, KindChained}, once: true, run: func(t *trial) {
			a := t.works(t.call("ADD"), "ADD")
			t.works(t.call("DEL"), "DEL")
			if t.x.target.Profile.Kind == KindIPAM {
				t.na("an IPAM plugin may go on to the next address")
			}
			if b := t.works(t.call("ADD"), "ADD"); string(a.Stdout) != string(b.Stdout) {
				t.fail("the same request gives %s, and then %s", short(a.Stdout), short(b.Stdout))
			}
		}},
		{id: "RES-039", needs: needDelegate, kinds: iface, run: func(t *trial) {
			if t.v < types.V030 {
				t.na("results before 0.3.0 need an address")
			}
			s := t.run(t.call("ADD").without("ipam"))
			if s.failed() {
				t.na("it needs an IPAM plugin: %s", s.summary())
			}
			if object, err := s.object(); err != nil || len(addresses(object)) > 0 {
				t.fail("a result without ipam is one without addresses: %s", s.summary())
			}
		}},
		{id: "RES-040", needs: needDelegate, kinds: iface, run: func(t *trial) {
			if t.v >= types.V030 {
				t.na("results since 0.3.0 need no address")
			}
			t.warm()
			t.box()
			before := t.states()
			t.refuses(t.call("ADD").without("ipam"), "ADD without ipam, for a result that must have an address")
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("the refused ADD leaves:\n%s", diff)
			}
		}},
	}
}

// without checks that an object has no such members.
func (t *trial) without(object map[string]any, keys ...string) {
	for _, key := range keys {
		if _, has := object[key]; has {
			t.fail("version %s has no %s there: %v", t.v, key, object[key])
		}
	}
}

// each calls f with the entry of the container's own interface and its link.
func (t *trial) each(r map[string]any, f func(map[string]any, *linkState)) {
	l := t.own()
	for _, i := range list(r, "interfaces") {
		if sandbox, _ := i["sandbox"].(string); i["name"] == l.name && sandbox != "" {
			f(i, l)
		}
	}
}

// blocks returns the objects with addresses of a result of any version.
func blocks(r map[string]any) []map[string]any {
	all := list(r, "ips")
	for _, key := range []string{"ip4", "ip6"} {
		if block, ok := r[key].(map[string]any); ok {
			all = append(all, block)
		}
	}
	return all
}

// routes returns the routes of a result of any version.
func routes(r map[string]any) []map[string]any {
	all := list(r, "routes")
	for _, block := range blocks(r) {
		all = append(all, list(block, "routes")...)
	}
	return all
}

func first(values ...any) any {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

// null returns the path of a member that is null.
func null(value any, path string) string {
	switch value := value.(type) {
	case nil:
		return path
	case map[string]any:
		for key, member := range value {
			if found := null(member, path+"/"+key); found != "" {
				return found
			}
		}
	case []any:
		for i, member := range value {
			if found := null(member, fmt.Sprint(path, "/", i)); found != "" {
				return found
			}
		}
	case json.Number:
	}
	return ""
}

// ipamResult is what the IPAM plugin of the kit gives, as JSON.
func (t *trial) ipamResult() map[string]any {
	r := types.Result{IPs: []types.IP{{Address: testAddr, Gateway: testGateway}}}
	data, err := r.Encode(t.v)
	t.must(err)
	return decoded(data)
}
