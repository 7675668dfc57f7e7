// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

func confChecks() []check {
	return []check{
		{id: "CONF-001", once: true, run: func(t *trial) {
			for _, text := range []string{"[]", `"x"`, "42", "null"} {
				t.refuses(t.call("ADD").sends(text), text+" on standard input of ADD")
				t.refuses(t.call("DEL").sends(text), text+" on standard input of DEL")
			}
		}},
		{id: "CONF-002", run: func(t *trial) {
			for _, value := range []any{1.1, true, []any{t.v.String()}} {
				t.refuses(t.call("DEL").with("cniVersion", value), fmt.Sprintf("cniVersion %v", value))
			}
		}},
		{id: "CONF-008", run: func(t *trial) {
			for _, command := range t.commands() {
				t.refuses(t.call(command).without("name"), command+" without name")
				t.refuses(t.call(command).with("name", ""), command+" with an empty name")
			}
		}},
		{id: "CONF-009", run: func(t *trial) {
			for _, name := range badNames {
				t.refuses(t.call("DEL").with("name", name), fmt.Sprintf("name %q", name))
			}
			t.baselineDEL()
			for _, name := range goodNames {
				t.accepts(t.call("DEL").with("name", name), fmt.Sprintf("name %q", name))
			}
		}},
		{id: "CONF-010", run: func(t *trial) {
			t.refuses(t.call("ADD").with("name", "../x"), `name "../x"`)
			t.refuses(t.call("DEL").with("name", "../x"), `name "../x"`)
			if _, err := os.Stat(filepath.Join(t.dir, "x")); err == nil {
				t.fail(`name "../x" made a file outside of the data directory`)
			}
		}},
		{id: "CONF-032", run: func(t *trial) {
			t.baselineDEL()
			const value = "some-value"
			s := t.run(t.call("DEL").with("x-cnitest", value))
			if !s.failed() {
				if t.v < types.V110 {
					return
				}
				if s = t.run(t.call("STATUS")); s.failed() {
					return
				}
				if s = t.run(t.call("STATUS").with("x-cnitest", value)); !s.failed() {
					return
				}
			}
			t.wantCode(s, "an unknown key", types.ErrUnsupportedField)
			t.names(s, "an unknown key", "x-cnitest", value)
		}},
		{id: "CONF-033", run: func(t *trial) {
			t.baselineDEL()
			t.accepts(t.call("DEL").with("args", map[string]any{"cni": map[string]any{"zz": 1}, "other": []int{1}}), "args that no plugin understands")
		}},
		{id: "CONF-033", needs: needPlainAdd, run: func(t *trial) {
			t.accepts(t.call("ADD").with("args", map[string]any{"cni": map[string]any{"zz": 1}, "other": []int{1}}), "args that no plugin understands")
			t.run(t.call("DEL"))
		}},
		{id: "CONF-036", needs: needDelegate, run: func(t *trial) {
			for _, value := range []any{[]any{}, "cnitest-ipam", 7} {
				t.refusesBy(t.call("ADD").with("ipam", value), fmt.Sprintf("ipam %v", value), types.ErrDecodingFailure, types.ErrInvalidNetworkConfig)
			}
		}},
		{id: "CONF-037", needs: needDelegate, run: func(t *trial) {
			t.must(os.Mkdir(filepath.Join(t.dir, "bin", "sub"), 0o755))
			c := t.call("ADD")
			c.set("CNI_PATH", filepath.Join(t.dir, "bin", "sub"))
			t.refuses(c.with("ipam", map[string]any{"type": "../cnitest-ipam"}), "ipam.type ../cnitest-ipam")
			if calls, err := t.delegate.Calls(); err != nil || len(calls) > 0 {
				t.fail("ipam.type ../cnitest-ipam: it was executed")
			}
		}},
		{id: "CONF-038", once: true, run: func(t *trial) {
			for _, command := range []string{"ADD", "DEL"} {
				s := t.run(t.call(command).with("dns", map[string]any{"nameservers": []string{"not-an-ip"}, "domain": "x"}))
				if why := s.unclean(); why != "" && (s.Exit != 0 || s.crashed()) {
					t.fail("%s with a nameserver that is no address: %s", command, why)
				}
			}
		}},
		{id: "CONF-039", needs: needPlainAdd, kinds: []Kind{KindIPAM}, run: func(t *trial) {
			ipam, _ := t.call("ADD").conf["ipam"].(map[string]any)
			wanted := list(ipam, "routes")
			if len(wanted) == 0 {
				t.na("the profile has no ipam.routes")
			}
			r := t.added()
			for _, route := range wanted {
				if !has(routes(r), map[string]any{"dst": route["dst"]}) {
					t.fail("ipam.routes has a route to %v, the result has not: %v", route["dst"], routes(r))
				}
			}
			t.run(t.call("DEL"))
		}},
		{id: "CONF-044", once: true, run: func(t *trial) {
			text := string(t.call("DEL").text())
			for what, spoiled := range inOrder(map[string]string{
				"a comment":         "// x\n" + text,
				"a second document": text + text,
				"a trailing comma":  strings.TrimSuffix(text, "}") + ",}",
				"trailing text":     text + " x",
			}) {
				t.refuses(t.call("DEL").sends(spoiled), what)
			}
		}},
		{id: "CONF-045", once: true, run: func(t *trial) {
			t.refusesBy(t.call("DEL").without("cniVersion").with("CNIVERSION", "99.0.0"), "CNIVERSION 99.0.0", types.ErrIncompatibleCNIVersion)
		}},
		{id: "CONF-046", run: func(t *trial) {
			if !slices.Contains(t.supported(), any("1.0.0")) {
				t.na("it does not support 1.0.0")
			}
			known := map[string]any{"cniVersions": []string{"1.0.0", "1.1.0"}, "disableGC": false, "loadOnlyInlinedPlugins": false, "args": map[string]any{}}
			for key, value := range known {
				newer, older := t.run(t.call("DEL").with(key, value)), t.run(t.call("DEL").with(key, value).with("cniVersion", "1.0.0"))
				if !newer.failed() && older.failed() {
					t.fail("%s is good in 1.1.0, and refused in 1.0.0: %s", key, older.summary())
				}
			}
		}},
	}
}

// containsFold reports whether text holds a word in any case.
func containsFold(text, word string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(word))
}
