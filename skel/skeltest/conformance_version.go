// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/cnikit/cnikit/types"
)

func versionChecks() []check {
	return []check{
		{id: "VER-001", run: func(t *trial) {
			for _, command := range append(t.commands(), "VERSION") {
				s := t.run(t.call(command))
				if code, ok := s.code(); ok && code == types.ErrInvalidEnvironmentVariables && containsFold(s.text(), "CNI_COMMAND") {
					t.fail("%s is not known: %s", command, s.summary())
				}
			}
		}},
		{id: "VER-002", once: true, run: func(t *trial) {
			s := t.run(t.call("VERSION"))
			object, err := s.object()
			if err != nil {
				t.fail("VERSION: %v", err)
				return
			}
			_, isText := object["cniVersion"].(string)
			_, isList := object["supportedVersions"].([]any)
			if !isText || !isList || s.Exit != 0 {
				t.fail("VERSION: want cniVersion and supportedVersions, and exit status 0: %s", s.summary())
			}
		}},
		{id: "VER-003", run: func(t *trial) {
			s := t.works(t.call("VERSION"), "VERSION")
			if object, err := s.object(); err == nil && object["cniVersion"] != t.v.String() {
				t.fail("VERSION in %s is answered with cniVersion %v", t.v, object["cniVersion"])
			}
		}},
		{id: "VER-004", run: func(t *trial) {
			s := t.accepts(t.call("VERSION").sends(""), "VERSION without input")
			if object, err := s.object(); err == nil {
				if v, err := types.ParseVersion(fmt.Sprint(object["cniVersion"])); err != nil || !v.Known() {
					t.fail("VERSION without input is answered with cniVersion %v", object["cniVersion"])
				}
			}
		}},
		{id: "VER-005", once: true, run: func(t *trial) {
			t.accepts(t.call("VERSION").reads(inputClosed), "VERSION with standard input closed")
			for _, text := range []string{"", "zzz", "{}", `{"cniVersion":"99.0.0"}`} {
				t.accepts(t.call("VERSION").sends(text), fmt.Sprintf("VERSION with %q on standard input", text))
			}
		}},
		{id: "VER-006", once: true, run: func(t *trial) {
			c := t.call("VERSION").reads(inputHeld)
			c.timeout = 2 * time.Second
			if s := t.execute(c, nil); s.failed() {
				t.steps = append(t.steps, s)
				t.fail("VERSION waits for the end of standard input: %s", s.summary())
			}
		}},
		{id: "VER-007", once: true, run: func(t *trial) {
			threeParts := regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)
			list := t.supported()
			seen := map[any]bool{}
			for _, v := range list {
				if text, ok := v.(string); ok && !threeParts.MatchString(text) {
					t.fail("supportedVersions has %q, which is no version", text)
				} else if !ok || seen[v] {
					t.fail("supportedVersions has %v, which is no text or there twice", v)
				}
				seen[v] = true
			}
			if len(list) == 0 {
				t.fail("supportedVersions is empty")
			}
		}},
		{id: "VER-008", once: true, run: func(t *trial) {
			var versions []types.Version
			for _, text := range t.supported() {
				if v, err := types.ParseVersion(fmt.Sprint(text)); err == nil {
					versions = append(versions, v)
				}
			}
			if !slices.IsSorted(versions) {
				t.fail("supportedVersions is not sorted: %v", versions)
			}
		}},
		{id: "VER-009", run: func(t *trial) {
			for _, command := range t.commands() {
				t.refusesBy(t.call(command).with("cniVersion", "99.0.0"), command+" in version 99.0.0", types.ErrIncompatibleCNIVersion)
			}
		}},
		{id: "VER-010", run: func(t *trial) {
			for _, command := range t.commands() {
				s := t.run(t.call(command))
				if code, ok := s.code(); ok && code == types.ErrIncompatibleCNIVersion {
					t.fail("%s in version %s, which VERSION lists: %s", command, t.v, s.summary())
				}
			}
		}},
		{id: "VER-011", once: true, run: func(t *trial) {
			for _, v := range badVersions {
				t.refuses(t.call("DEL").with("cniVersion", v), fmt.Sprintf("version %q", v))
			}
		}},
		{id: "VER-012", needs: needPlainAdd, run: func(t *trial) {
			object := t.added()
			if got, ok := object["cniVersion"]; ok && got != t.v.String() {
				t.fail("the result of ADD in version %s is in version %v", t.v, got)
			}
		}},
		{id: "VER-013", once: true, run: func(t *trial) {
			for what, c := range inOrder(map[string]*call{"without cniVersion": t.call("DEL").without("cniVersion"), "with an empty cniVersion": t.call("DEL").with("cniVersion", "")}) {
				s := t.run(c)
				if code, ok := s.code(); s.failed() && ok && code != types.ErrIncompatibleCNIVersion {
					t.fail("DEL %s: %s; want what 0.1.0 gives, or code 1", what, s.summary())
				}
			}
		}},
		{id: "VER-014", once: true, run: func(t *trial) {
			t.refusesBy(t.call("CHECK").with("cniVersion", "0.3.1"), "CHECK in version 0.3.1", types.ErrIncompatibleCNIVersion)
		}},
		{id: "VER-015", once: true, run: func(t *trial) {
			for _, command := range []string{"GC", "STATUS"} {
				t.refusesBy(t.call(command).with("cniVersion", "1.0.0"), command+" in version 1.0.0", types.ErrIncompatibleCNIVersion)
			}
		}},
		{id: "VER-021", once: true, run: func(t *trial) {
			list := t.supported()
			for _, v := range types.Versions() {
				if v >= types.V031 && !slices.Contains(list, any(v.String())) {
					t.fail("version %s is not supported", v)
				}
			}
		}},
	}
}

// supported returns supportedVersions.
func (t *trial) supported() []any {
	s := t.works(t.call("VERSION"), "VERSION")
	object, _ := s.object()
	list, ok := object["supportedVersions"].([]any)
	if !ok {
		t.na("VERSION lists no versions: %s", s.summary())
	}
	return list
}
