// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/cnikit/cnikit/types"
)

func errorChecks() []check {
	return []check{
		{id: "ERR-001", run: func(t *trial) {
			for _, s := range t.errors() {
				if _, ok := s.complaint(); s.Exit == 0 && ok {
					t.fail("exit status 0 for an error: %s", s.summary())
				} else if s.Exit != 0 && !ok {
					t.fail("no error object: %s", s.summary())
				}
			}
		}},
		{id: "ERR-002", run: func(t *trial) {
			t.members(func(s *Step, object map[string]any) {
				number, isNumber := object["code"].(json.Number)
				n, err := number.Int64()
				if !isNumber || err != nil || n < 0 {
					t.fail("code %v is not a non-negative integer", object["code"])
				}
				if msg, ok := object["msg"].(string); !ok || msg == "" {
					t.fail("msg %v is not a text that says something", object["msg"])
				}
			})
		}},
		{id: "ERR-003", run: func(t *trial) {
			t.members(func(_ *Step, object map[string]any) {
				if details, ok := object["details"].(string); object["details"] != nil && (!ok || details == "") {
					t.fail("details %v is not a text that says something", object["details"])
				}
			})
		}},
		{id: "ERR-004", run: func(t *trial) {
			s := t.run(t.call("ADD").without("name"))
			if object, ok := s.complaint(); ok && object["cniVersion"] != t.v.String() {
				t.fail("an error in version %s has cniVersion %v", t.v, object["cniVersion"])
			}
		}},
		{id: "ERR-005", once: true, run: func(t *trial) {
			newest := t.x.newest.String()
			for what, c := range inOrder(map[string]*call{"garbage": t.call("ADD").sends("zzz"), "version 99.0.0": t.call("ADD").with("cniVersion", "99.0.0")}) {
				if object, ok := t.run(c).complaint(); ok && object["cniVersion"] != newest {
					t.fail("the error for %s has cniVersion %v, want the newest, %s", what, object["cniVersion"], newest)
				}
			}
		}},
		{id: "ERR-006", run: func(t *trial) {
			for _, s := range t.errors() {
				if code, ok := s.code(); ok && code != 0 && code < 100 && !known(code) {
					t.fail("code %d means nothing", code)
				}
			}
		}},
		{id: "ERR-008", run: func(t *trial) {
			t.refusesBy(t.call("ADD").with("cniVersion", "99.0.0"), "ADD in version 99.0.0", types.ErrIncompatibleCNIVersion)
		}},
		{id: "ERR-009", run: func(t *trial) {
			const value = "some-value"
			for _, command := range t.commands() {
				s := t.run(t.call(command).with("x-cnitest", value))
				if code, _ := s.code(); code == types.ErrUnsupportedField {
					t.names(s, command+" with an unknown key", "x-cnitest", value)
				}
			}
		}},
		{id: "ERR-010", needs: needPlainAdd, run: func(t *trial) {
			result := t.added()
			wrong := t.check(maps.Clone(result))
			wrong.conf["prevResult"] = map[string]any{"cniVersion": t.v.String(), "ips": []any{map[string]any{"address": "192.0.2.7/24"}}}
			for what, c := range inOrder(map[string]*call{
				"a second ADD":                    t.call("ADD"),
				"CHECK with another address":      wrong,
				"CHECK with a namespace gone":     t.check(result).set("CNI_NETNS", filepath.Join(t.dir, "gone")),
				"DEL in version 99.0.0":           t.call("DEL").with("cniVersion", "99.0.0"),
				"DEL of something else":           t.call("DEL").set("CNI_IFNAME", "other0"),
				"CHECK of an attachment of ours":  t.check(result),
				"CHECK without the configuration": t.check(result).without("ipam"),
			}) {
				if code, _ := t.run(c).code(); code == types.ErrUnknownContainer {
					t.fail("%s: code 3, that there is nothing to clean up, and there is", what)
				}
			}
			t.run(t.call("DEL"))
		}},
		{id: "ERR-012", run: func(t *trial) {
			t.refusesBy(t.call("ADD").set("CNI_CONTAINERID", "a b"), "a container ID with a space", types.ErrInvalidEnvironmentVariables)
		}},
		{id: "ERR-013", run: func(t *trial) {
			t.refusesBy(t.call("ADD").reads(inputDirectory), "a directory as standard input", types.ErrIOFailure)
		}},
		{id: "ERR-014", run: func(t *trial) {
			t.refusesBy(t.call("ADD").sends(`{"cniVersion"`), "half a configuration", types.ErrDecodingFailure)
			t.refusesBy(t.call("ADD").with("cniVersion", 7), "a number for cniVersion", types.ErrDecodingFailure)
		}},
		{id: "ERR-015", run: func(t *trial) {
			t.refusesBy(t.call("ADD").with("name", ""), "an empty name", types.ErrInvalidNetworkConfig)
			t.refusesBy(t.call("DEL").with("name", "a/b"), "the name a/b", types.ErrInvalidNetworkConfig)
		}},
		{id: "ERR-018", needs: needPlainAdd, kinds: []Kind{KindIPAM}, run: func(t *trial) {
			full := t.exhausted()
			t.wantCode(t.run(full(t.call("STATUS"))), "STATUS without an address left", types.ErrPluginNotAvailable, types.ErrLimitedConnectivity)
		}},
		{id: "ERR-019", run: func(t *trial) {
			for _, s := range t.errors() {
				if code, ok := s.code(); ok && s.Command != "STATUS" && (code == types.ErrPluginNotAvailable || code == types.ErrLimitedConnectivity) {
					t.fail("%s answers with code %d, which is for STATUS", s.Command, uint(code))
				}
			}
		}},
		{id: "ERR-022", once: true, run: func(t *trial) {
			for _, s := range t.errors() {
				if code, ok := s.code(); ok && code == 0 {
					t.fail("code 0: %s", s.summary())
				}
			}
		}},
		{id: "ERR-025", once: true, run: func(t *trial) {
			t.members(func(_ *Step, object map[string]any) {
				if msg := fmt.Sprint(object["msg"]); strings.ContainsAny(msg, "\n\r") || !utf8.ValidString(msg) {
					t.fail("msg %q is not one line", msg)
				}
			})
			const secret = "s3cr3t-of-the-kit"
			if s := t.run(t.call("ADD").without("name").with("x-password", secret)); bytes.Contains(s.Stdout, []byte(secret)) {
				t.fail("the error repeats the configuration: %s", s.summary())
			}
		}},
		{id: "ERR-026", once: true, run: func(t *trial) {
			for _, s := range t.errors() {
				if s.Exit != 0 && s.Exit != 1 {
					t.fail("exit status %d: %s", s.Exit, s.summary())
				}
			}
		}},
		{id: "ERR-027", once: true, run: func(t *trial) {
			for _, output := range []string{outputFull, outputClosed} {
				if s := t.run(t.call("VERSION").writes(output)); s.Exit == 0 {
					t.fail("VERSION succeeds although standard output is %s", output)
				}
			}
		}},
		{id: "ERR-028", needs: needDelegate, run: func(t *trial) {
			t.delegateFails(types.CommandGC)
			s := t.run(t.call("GC"))
			if !s.failed() {
				t.na("GC succeeds when that of the IPAM plugin fails, which GC-012 judges")
			}
			if all, rest := s.documents(); len(all) != 1 || len(rest) > 0 {
				t.fail("the errors of GC are not one object: %s", s.summary())
			}
		}},
		{id: "ERR-029", needs: needDelegate, run: func(t *trial) {
			for _, text := range []string{`{"code":111}`, `{"code":111,"msg":"no","x-cnitest":[1]}`, `{"cniVersion":"9.9.9","code":111,"msg":"no"}`} {
				t.must(t.delegate.Answer(types.CommandAdd, "", Answer{Stdout: text, Exit: 1}))
				t.refusesBy(t.call("ADD"), "the error "+text+" of the IPAM plugin", 111)
			}
		}},
	}
}

// errors provokes an error of each kind that every plugin has.
func (t *trial) errors() []*Step {
	var all []*Step
	for _, c := range []*call{
		t.call("FOO"),
		t.call("ADD").unset("CNI_CONTAINERID"),
		t.call("ADD").sends("{"),
		t.call("ADD").without("name"),
		t.call("DEL").with("cniVersion", "99.0.0"),
		t.call("ADD").set("CNI_NETNS", "/nowhere"),
	} {
		if s := t.run(c); s.failed() {
			all = append(all, s)
		}
	}
	return all
}

// members calls f with each error object.
func (t *trial) members(f func(*Step, map[string]any)) {
	for _, s := range t.errors() {
		if object, ok := s.complaint(); ok {
			f(s, object)
		}
	}
}

// known reports whether a code below 100 has a meaning.
//
// Spec: checklist 1.7.
func known(code types.Code) bool {
	return code >= 1 && code <= 7 || code == 11 || code == 50 || code == 51
}
