// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

func checkChecks() []check {
	iface := []Kind{KindInterface}
	kernel := []Kind{KindInterface, KindChained}
	// spoiled checks that CHECK notices what f does.
	spoiled := func(id, what string, f func(t *trial, l *linkState)) check {
		return check{id: id, needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			result := t.added()
			t.works(t.check(result), "CHECK after ADD")
			f(t, t.own())
			t.refuses(t.check(result), "CHECK after "+what)
		}}
	}
	return []check{
		{id: "CHK-001", needs: needPlainAdd, run: func(t *trial) {
			s := t.run(t.check(t.readable())) // whether it may fail is for CHK-013
			if s.Exit == 0 && len(s.Stdout) > 0 {
				t.fail("CHECK prints something: %s", s.summary())
			}
			t.run(t.call("DEL"))
		}},
		{id: "CHK-002", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			result := t.added()
			t.works(t.check(result), "CHECK after ADD")
			ips := list(result, "ips")
			if len(ips) == 0 {
				t.na("the result has no address")
			}
			ips[0]["address"] = "10.88.0.77/24"
			t.refuses(t.check(result), "CHECK with an address in prevResult that the interface has not")
		}},
		{id: "CHK-004", run: func(t *trial) {
			t.refusesBy(t.call("CHECK").without("prevResult"), "CHECK without prevResult", types.ErrInvalidNetworkConfig)
		}},
		spoiled("CHK-005", "the interface was removed", func(t *trial, l *linkState) { t.must(t.box().delLink(l.name, "")) }),
		spoiled("CHK-006", "an address was removed", func(t *trial, l *linkState) {
			i := slices.IndexFunc(l.addrs, func(a addrState) bool { return a.prefix.Addr().Is4() })
			if i < 0 {
				t.na("the interface has no IPv4 address")
			}
			t.must(t.box().delAddr(l.index, l.addrs[i].prefix))
		}),
		spoiled("CHK-007", "the default route was removed", func(t *trial, l *linkState) {
			i := slices.IndexFunc(l.routes, func(r routeState) bool { return r.dst.Bits() == 0 })
			if i < 0 {
				t.na("the interface has no default route")
			}
			t.must(t.box().delRoute(l.index, l.routes[i]))
		}),
		spoiled("CHK-008", "the interface was set down", func(t *trial, l *linkState) {
			t.must(t.box().setDown(l.index))
		}),
		{id: "CHK-008", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			result := t.added()
			t.works(t.check(result), "CHECK after ADD")
			for _, i := range list(result, "interfaces") {
				if sandbox, _ := i["sandbox"].(string); sandbox != "" && i["name"] == t.x.target.Profile.ifName() && i["mac"] != nil {
					i["mac"] = "02:00:00:99:99:98"
					t.refuses(t.check(result), "CHECK with another MAC in prevResult than the interface has")
				}
			}
		}},
		{id: "CHK-009", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			result := t.added()
			t.works(t.check(result), "CHECK after ADD")
			extra := netip.MustParsePrefix("10.99.0.2/24")
			t.must(t.box().addAddr(t.own().index, extra))
			t.accepts(t.check(result), "CHECK after another plugin has added an address")
			entry := map[string]any{"address": extra.String()}
			if t.v < types.V100 {
				entry["version"] = "4"
			}
			ips, _ := result["ips"].([]any)
			for i, known := range list(result, "interfaces") {
				if sandbox, _ := known["sandbox"].(string); sandbox != "" && known["name"] == t.x.target.Profile.ifName() {
					entry["interface"] = i
				}
			}
			result["ips"] = append(ips, entry)
			t.accepts(t.check(result), "CHECK with an address of another plugin in prevResult")
		}},
		{id: "CHK-010", needs: needAdd, kinds: kernel, run: func(t *trial) {
			result := t.added()
			t.works(t.check(result), "CHECK after ADD")
			interfaces, _ := result["interfaces"].([]any)
			result["interfaces"] = append(interfaces, map[string]any{"name": "foreign9", "mac": "02:00:00:99:99:99"})
			t.accepts(t.check(result), "CHECK with an interface of another plugin in prevResult, which is gone")
		}},
		{id: "CHK-011", needs: needPlainAdd, kinds: []Kind{KindIPAM}, run: func(t *trial) {
			result := t.added()
			t.works(t.check(result), "CHECK after ADD")
			files, err := filepath.Glob(filepath.Join(t.dir, "data", "*", "10.*"))
			t.must(err)
			if len(files) == 0 {
				t.na("it keeps no file named after the address")
			}
			t.must(removeAll(files))
			t.refuses(t.check(result), "CHECK after the reservation was removed")
		}},
		{id: "CHK-013", needs: needPlainAdd, run: func(t *trial) {
			times := 1
			if t.v == t.x.versions[len(t.x.versions)-1] {
				times = 10 // for what takes its time now and then
			}
			for range times {
				t.accepts(t.check(t.readable()), "CHECK directly after ADD")
				t.works(t.call("DEL"), "DEL")
			}
		}},
		{id: "CHK-014", needs: needDelegate, run: func(t *trial) {
			result := t.added()
			t.forward(t.check(result))
		}},
		{id: "CHK-015", needs: needDelegate, run: func(t *trial) {
			result := t.added()
			t.delegateFails(types.CommandCheck)
			t.refusesBy(t.check(result), "CHECK when that of the IPAM plugin fails", 111)
		}},
		{id: "CHK-021", needs: needPlainAdd, run: func(t *trial) {
			result := t.added()
			before := t.states()
			t.run(t.check(result))
			broken := t.check(result)
			broken.conf["prevResult"] = map[string]any{"cniVersion": t.v.String(), "interfaces": []any{map[string]any{"name": "gone0", "sandbox": t.netns()}}}
			t.run(broken)
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("CHECK changes something:\n%s", diff)
			}
			t.run(t.call("DEL"))
		}},
		{id: "CHK-022", needs: needAdd, kinds: iface, run: func(t *trial) {
			t.creates()
			result := t.added()
			ips := list(result, "ips")
			if len(ips) == 0 {
				t.na("the result has no address")
			}
			ips[0]["address"] = "10.88.0.77/24"
			s := t.run(t.check(result))
			if !s.failed() {
				t.na("it does not notice a wrong address, which CHK-002 judges")
			}
			if !strings.Contains(s.text(), "10.88.0.77") {
				t.fail("the error does not name the address that is missing: %s", s.summary())
			}
		}},
		{id: "CHK-023", needs: needAdd, kinds: iface, run: func(t *trial) {
			result := t.added()
			t.refuses(t.check(result).set("CNI_NETNS", filepath.Join(t.dir, "gone")), "CHECK with a namespace that is gone")
		}},
	}
}
