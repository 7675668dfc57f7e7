// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// Values that the grammars of the specification permit and forbid.
//
// Spec: checklist GRAM-1, GRAM-2.
var (
	goodNames   = []string{"a", "A.b_c-9", "0", strings.Repeat("long-name.", 10)}
	badNames    = []string{"-a", ".a", "_a", "a b", "a/b", "é", "a\n"}
	badIfNames  = []string{".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-bytes-00"}
	badVersions = []string{"1.1", "v1.1.0", "1.1.0-rc1", " 1.1.0"}
)

func protoChecks() []check {
	return []check{
		{id: "PROTO-001", once: true, run: func(t *trial) {
			a, b := t.run(t.call("VERSION")), t.run(t.call("VERSION"))
			if a.Path == "" && t.x.target.inProcess() == nil || a.Exit != b.Exit || !bytes.Equal(a.Stdout, b.Stdout) {
				t.fail("two executions differ: %s, then %s", a.summary(), b.summary())
			}
		}},
		{id: "PROTO-001", needs: needDelegate, kinds: []Kind{KindInterface}, once: true, run: func(t *trial) {
			t.works(t.call("ADD"), "ADD")
			t.sequence("one ADD", types.CommandAdd)
			t.must(t.delegate.Forget())
			t.works(t.call("DEL"), "DEL")
			t.sequence("one DEL", types.CommandDel)
		}},
		{id: "PROTO-004", needs: needDelegate, once: true, run: func(t *trial) {
			first := filepath.Join(t.dir, "first")
			t.must(os.MkdirAll(filepath.Join(first, t.delegate.Name), 0o755))
			c := t.call("ADD")
			t.accepts(c.set("CNI_PATH", first+string(os.PathListSeparator)+c.env["CNI_PATH"]), "ADD with a directory that is named like the IPAM plugin")
		}},
		{id: "PROTO-005", once: true, run: func(t *trial) {
			for command, want := range inOrder(map[string]bool{"VERSION": true, "DEL": false}) {
				s := t.run(t.call("DEL").set("CNI_COMMAND", command))
				object, _ := s.object()
				if _, got := object["supportedVersions"]; got != want && s.Exit == 0 {
					t.fail("with CNI_COMMAND=%s it does not do that: %s", command, s.summary())
				}
			}
		}},
		{id: "PROTO-006", once: true, run: func(t *trial) {
			for _, command := range []string{"add", "Add", " ADD", "del", "version"} {
				t.refuses(t.call("DEL").set("CNI_COMMAND", command), "CNI_COMMAND="+command)
			}
		}},
		{id: "PROTO-007", once: true, run: func(t *trial) {
			t.names(t.refusesBy(t.call("FOO"), "CNI_COMMAND=FOO", types.ErrInvalidEnvironmentVariables), "CNI_COMMAND=FOO", "CNI_COMMAND")
			// A plugin may greet whoever runs it by hand: AMB-032.
			for what, c := range inOrder(map[string]*call{"without CNI_COMMAND": t.call("DEL").unset("CNI_COMMAND"), "with an empty CNI_COMMAND": t.call("")}) {
				s := t.run(c)
				if s.Exit == 0 && (len(s.Stdout) > 0 || len(s.Stderr) == 0) {
					t.fail("%s: accepted: %s", what, s.summary())
				}
				t.wantCode(s, what, types.ErrInvalidEnvironmentVariables)
				t.names(s, what, "CNI_COMMAND")
			}
		}},
		{id: "PROTO-008", once: true, run: func(t *trial) {
			t.refusesBy(t.call("FOO").sends("garbage"), "unknown command with garbage on standard input", types.ErrInvalidEnvironmentVariables)
		}},
		{id: "PROTO-009", run: func(t *trial) { t.missing("ADD", "CHECK") }},
		{id: "PROTO-010", run: func(t *trial) { t.missing("DEL") }},
		{id: "PROTO-011", run: func(t *trial) {
			t.accepts(t.call("DEL").unset("CNI_NETNS"), "DEL without CNI_NETNS")
			t.accepts(t.call("DEL").set("CNI_NETNS", ""), "DEL with an empty CNI_NETNS")
		}},
		{id: "PROTO-012", run: func(t *trial) {
			for _, command := range []string{"GC", "STATUS"} {
				unset := t.run(t.call(command))
				empty := t.run(t.call(command).named("", "").set("CNI_IFNAME", ""))
				for _, s := range []*Step{unset, empty} {
					if code, ok := s.code(); ok && code == types.ErrInvalidEnvironmentVariables && strings.Contains(s.text(), "CNI_") && !strings.Contains(s.text(), "CNI_COMMAND") {
						t.fail("%s demands a variable: %s", command, s.summary())
					}
				}
			}
		}},
		{id: "PROTO-013", once: true, run: func(t *trial) {
			c := t.call("VERSION")
			c.bare = true
			t.accepts(c, "VERSION with nothing but CNI_COMMAND in the environment")
		}},
		{id: "PROTO-014", run: func(t *trial) {
			for _, key := range []string{"CNI_CONTAINERID", "CNI_IFNAME"} {
				unset, empty := t.run(t.call("DEL").unset(key)), t.run(t.call("DEL").set(key, ""))
				a, _ := unset.code()
				b, _ := empty.code()
				if unset.failed() != empty.failed() || a != b {
					t.fail("%s unset and empty differ: %s, and %s", key, unset.summary(), empty.summary())
				}
			}
		}},
		{id: "PROTO-015", run: func(t *trial) {
			for _, key := range []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"} {
				t.names(t.run(t.call("ADD").unset(key)), "ADD without "+key, key)
			}
			t.names(t.run(t.call("ADD").set("CNI_CONTAINERID", "a/b")), "container ID a/b", "CNI_CONTAINERID")
			t.names(t.run(t.call("ADD").set("CNI_IFNAME", "a/b")), "interface name a/b", "CNI_IFNAME")
		}},
		{id: "PROTO-016", once: true, run: func(t *trial) {
			t.names(t.run(t.call("ADD").unset("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")), "ADD without all three", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")
		}},
		{id: "PROTO-018", run: func(t *trial) {
			t.baselineDEL()
			commands := []string{"DEL"}
			if t.v >= types.V110 {
				commands = append(commands, "STATUS")
			}
			for _, command := range commands {
				if t.run(t.call(command)).failed() {
					continue
				}
				s := t.run(t.call(command).unset("CNI_PATH"))
				code, _ := s.code()
				if honest := code == types.ErrInvalidEnvironmentVariables && strings.Contains(s.text(), "CNI_PATH"); s.failed() && !t.x.delegates && !honest {
					t.fail("%s without CNI_PATH, which a plugin without delegate does not need: %s", command, s.summary())
				}
			}
		}},
		{id: "PROTO-020", run: func(t *trial) {
			for _, id := range badNames {
				t.refusesBy(t.call("ADD").set("CNI_CONTAINERID", id), fmt.Sprintf("ADD for container %q", id), types.ErrInvalidEnvironmentVariables)
				t.refuses(t.call("DEL").set("CNI_CONTAINERID", id), fmt.Sprintf("DEL for container %q", id))
			}
			t.baselineDEL()
			for _, id := range goodNames {
				t.accepts(t.call("DEL").set("CNI_CONTAINERID", id), fmt.Sprintf("DEL for container %q", id))
			}
		}},
		{id: "PROTO-023", run: func(t *trial) {
			for _, name := range badIfNames {
				t.refusesBy(t.call("ADD").set("CNI_IFNAME", name), fmt.Sprintf("ADD of interface %q", name), types.ErrInvalidEnvironmentVariables)
			}
		}},
		{id: "PROTO-024", kinds: []Kind{KindInterface}, run: func(t *trial) {
			t.refusesBy(t.call("ADD").set("CNI_IFNAME", "eth%d"), "ADD of interface eth%d", types.ErrInvalidEnvironmentVariables)
		}},
		{id: "PROTO-027", once: true, run: func(t *trial) {
			t.baselineDEL()
			t.accepts(t.call("DEL").set("CNI_ARGS", "IgnoreUnknown=1;A=b;C=d"), "three pairs")
		}},
		{id: "PROTO-029", once: true, run: func(t *trial) {
			t.baselineDEL()
			t.accepts(t.call("DEL").with("x-cnitest", strings.Repeat("x", 1<<20)), "a configuration of 1 MiB")
			t.refusesBy(t.call("ADD").reads(inputClosed), "ADD with standard input closed", types.ErrIOFailure)
		}},
		{id: "PROTO-030", run: func(t *trial) {
			t.refusesBy(t.call("ADD").reads(inputDirectory), "a directory as standard input", types.ErrIOFailure)
			t.refusesBy(t.call("ADD").sends("{"), "{ on standard input", types.ErrDecodingFailure)
			t.refusesBy(t.call("ADD").sends(""), "nothing on standard input", types.ErrDecodingFailure)
			t.refusesBy(t.call("ADD").without("name"), "a configuration without a name", types.ErrInvalidNetworkConfig)
		}},
		{id: "PROTO-031", once: true, run: func(t *trial) {
			s := t.run(t.call("VERSION"))
			if object, err := s.object(); err != nil || object["code"] != nil {
				t.fail("VERSION prints no result: %s", s.summary())
			}
		}},
		{id: "PROTO-031", needs: needPlainAdd, run: func(t *trial) {
			s := t.run(t.call("ADD"))
			if all, _ := s.documents(); s.Exit == 0 && len(all) == 0 {
				t.fail("ADD prints no result: %s", s.summary())
			}
			t.run(t.call("DEL"))
		}},
		{id: "PROTO-032", run: func(t *trial) {
			for _, c := range []*call{t.call("ADD").sends("{"), t.call("DEL").without("name"), t.call("DEL").set("CNI_COMMAND", "FOO")} {
				if s := t.run(c); s.Exit == 0 {
					if _, complains := s.complaint(); complains {
						t.fail("it refuses %s with exit status 0: %s", s.Command, s.summary())
					}
				}
			}
			for _, command := range []string{"VERSION", "DEL"} {
				if s := t.run(t.call(command)); s.Exit != 0 {
					if _, complains := s.complaint(); !complains {
						t.fail("%s prints no error but ends with exit status %d: %s", command, s.Exit, s.summary())
					}
				}
			}
		}},
		{id: "PROTO-033", run: func(t *trial) {
			for _, c := range []*call{t.call("ADD").sends("{"), t.call("ADD").unset("CNI_CONTAINERID")} {
				s := t.run(c)
				if _, ok := s.complaint(); s.Exit != 0 && !ok {
					t.fail("no error object on standard output: %s; standard error %s", s.summary(), short(s.Stderr))
				}
			}
		}},
		{id: "PROTO-034", run: func(t *trial) {
			calls := []*call{t.call("ADD").sends("{"), t.call("DEL").without("name"), t.call("VERSION")}
			if t.host != nil {
				calls = append(calls, t.call("ADD").set("CNI_NETNS", "/proc/self/ns/net"))
			}
			for _, c := range calls {
				s := t.run(c)
				if all, rest := s.documents(); len(all) > 1 || len(rest) > 0 {
					t.fail("%s: more than one document on standard output: %s", s.Command, s.summary())
				}
			}
		}},
		{id: "PROTO-040", once: true, run: func(t *trial) {
			for _, command := range []string{"VERSION", "DEL"} {
				usual, bare := t.run(t.call(command)), t.run(t.call(command).in("/"))
				if usual.Exit != bare.Exit {
					t.fail("%s depends on the working directory or the environment: %s, and %s", command, usual.summary(), bare.summary())
				}
			}
		}},
		{id: "PROTO-041", once: true, run: func(t *trial) {
			for _, c := range []*call{t.call("VERSION"), t.call("DEL"), t.call("ADD").sends("{"), t.call("ADD")} {
				if s := t.run(c); s.Lingered {
					t.fail("%s: a second after the end of the plugin somebody still holds its output open", s.Command)
				}
			}
			t.run(t.call("DEL"))
		}},
		{id: "PROTO-042", run: func(t *trial) {
			t.baselineDEL()
			t.accepts(t.call("DEL").set("CNI_FUTURE", "1").set("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), "DEL with CNI_FUTURE and TRACEPARENT")
		}},
		{id: "PROTO-043", run: func(t *trial) {
			t.baselineDEL()
			t.accepts(t.call("DEL").set("CNI_VERSION", "9.9"), "DEL with CNI_VERSION=9.9")
		}},
		{id: "PROTO-047", once: true, run: func(t *trial) {
			for _, text := range mutilated(t.call("ADD").text()) {
				s := t.run(t.call("DEL").sends(text))
				if _, complains := s.complaint(); s.crashed() || s.Exit != 0 && !complains {
					t.fail("standard input %s: %s", short([]byte(text)), s.summary())
				}
			}
		}},
		{id: "PROTO-048", once: true, run: func(t *trial) {
			t.wantCode(t.run(t.call("FOO").unset("CNI_CONTAINERID").sends("{")), "unknown command and bad JSON", types.ErrInvalidEnvironmentVariables)
			t.wantCode(t.run(t.call("ADD").unset("CNI_CONTAINERID").sends("{")), "no container and bad JSON", types.ErrInvalidEnvironmentVariables)
			t.wantCode(t.run(t.call("ADD").without("name").with("cniVersion", "99.0.0")), "no name and an unknown version", types.ErrInvalidNetworkConfig)
		}},
		{id: "PROTO-050", once: true, run: func(t *trial) {
			s := t.run(t.call("VERSION"))
			if text := strings.TrimSpace(string(s.Stdout)); s.Exit == 0 && !json.Valid([]byte(text)) {
				t.fail("VERSION prints more than its document: %s", s.summary())
			}
		}},
		{id: "PROTO-021", needs: needAdd, kinds: []Kind{KindInterface, KindChained}, run: func(t *trial) {
			for _, length := range []int{64, 128, 200} {
				id := strings.Repeat("c", length-len(t.id)) + t.id
				ns := t.netns()
				if s := t.run(t.call("ADD").named(id, ns)); s.failed() {
					t.fail("ADD for a container ID of %d characters: %s", length, s.summary())
				}
				if s := t.run(t.call("DEL").named(id, ns)); s.failed() {
					t.fail("DEL for a container ID of %d characters: %s", length, s.summary())
				}
			}
		}},
		{id: "PROTO-022", needs: needAdd, kinds: []Kind{KindInterface}, run: func(t *trial) {
			t.refuses(t.call("ADD").set("CNI_IFNAME", "sixteen-bytes-00"), "an interface name of 16 bytes")
			if t.x.target.Profile.Existing {
				return
			}
			t.works(t.call("ADD").set("CNI_IFNAME", "net1"), "ADD of net1")
			if t.link(t.box(), "net1") == nil {
				t.fail("ADD of net1 succeeds, and the container has no link of that name")
			}
		}},
		{id: "PROTO-025", needs: needAdd, kinds: []Kind{KindInterface, KindChained}, run: func(t *trial) {
			path := filepath.Join(t.dir, "netns")
			t.must(os.Symlink(t.netns(), path))
			t.accepts(t.call("ADD").set("CNI_NETNS", path), "ADD with another path of the namespace")
			t.accepts(t.call("DEL").set("CNI_NETNS", path), "DEL with another path of the namespace")
		}},
		{id: "PROTO-026", needs: needDelegate, run: func(t *trial) {
			c := t.call("ADD")
			t.accepts(c.set("CNI_PATH", filepath.Join(t.dir, "none")+string(os.PathListSeparator)+c.env["CNI_PATH"]), "ADD with two directories in CNI_PATH")
			if calls, err := t.delegate.Commands(); err != nil || !slices.Contains(calls, types.CommandAdd) {
				t.fail("the delegate in the second directory of CNI_PATH was not run")
			}
		}},
		{id: "PROTO-042", needs: needDelegate, run: func(t *trial) {
			t.works(t.call("ADD").set("CNI_FUTURE", "1"), "ADD")
			calls, err := t.delegate.Calls()
			t.must(err)
			for _, e := range calls {
				if !slices.Contains(e.Environ, "CNI_FUTURE=1") {
					t.fail("CNI_FUTURE=1 did not reach the delegate")
				}
			}
		}},
		{id: "PROTO-044", needs: needAdd, kinds: []Kind{KindInterface}, run: func(t *trial) {
			t.refuses(t.call("ADD").set("CNI_NETNS", "/proc/self/ns/net"), "ADD with the plugin's own namespace as the container's")
		}},
		{id: "PROTO-045", needs: needAdd, kinds: []Kind{KindInterface}, run: func(t *trial) {
			before := t.state(t.host)
			s := t.run(t.call("ADD").set("CNI_NETNS", "/proc/self/ns/net"))
			if all, _ := s.documents(); len(all) > 1 {
				t.fail("it works first and refuses then: %s", s.summary())
			}
			if diff := Diff(before, t.state(t.host)); diff != "" && s.failed() {
				t.fail("the refused ADD leaves this on the host:\n%s", diff)
			}
		}},
		{id: "PROTO-046", needs: needAdd, once: true, kinds: []Kind{KindInterface, KindChained}, run: func(t *trial) {
			for range 10 {
				before := t.linkNames(t.box())
				s := t.works(t.call("ADD"), "ADD")
				listed := t.sandboxed(s)
				for _, name := range t.linkNames(t.box()) {
					if !slices.Contains(before, name) && !slices.Contains(listed, name) && name != t.x.target.Profile.ifName() {
						t.fail("link %s appears in the container, and the result does not place it there", name)
					}
				}
				t.run(t.call("DEL"))
			}
		}},
		{id: "PROTO-049", needs: needAdd, once: true, run: func(t *trial) { t.killed() }},
	}
}

// missing takes the variables of commands away in turn.
func (t *trial) missing(commands ...string) {
	for _, command := range commands {
		if !slices.Contains(t.commands(), command) {
			continue
		}
		keys := []string{"CNI_CONTAINERID", "CNI_IFNAME"}
		if command != "DEL" {
			keys = append(keys, "CNI_NETNS")
		}
		for _, key := range keys {
			t.refusesBy(t.call(command).unset(key), command+" without "+key, types.ErrInvalidEnvironmentVariables)
		}
	}
}

// mutilated returns what a configuration looks like after various accidents. It is
// the same every time.
func mutilated(text []byte) []string {
	all := []string{"", " ", "\x00", "null", "[]", "{}", `""`, "{\"", strings.Repeat("[", 20000), "{\"cniVersion\":{}}", "\xff\xfe{}"}
	for i := 1; i < 8; i++ {
		all = append(all, string(text[:len(text)*i/8]))
		flipped := bytes.Clone(text)
		flipped[len(text)*i/8] ^= 0x15
		all = append(all, string(flipped))
	}
	var object map[string]any
	if json.Unmarshal(text, &object) == nil {
		for key := range object {
			for _, value := range []any{nil, 7, "x", []any{[]any{}}, map[string]any{"": nil}} {
				spoiled := map[string]any{}
				for k, v := range object {
					spoiled[k] = v
				}
				spoiled[key] = value
				if data, err := json.Marshal(spoiled); err == nil {
					all = append(all, string(data))
				}
			}
		}
	}
	slices.Sort(all)
	return all
}
