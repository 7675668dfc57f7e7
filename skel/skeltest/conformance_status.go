// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"strings"
	"time"

	"github.com/cnikit/cnikit/types"
)

func statusChecks() []check {
	return []check{
		{id: "STA-001", run: func(t *trial) {
			s := t.run(t.call("STATUS"))
			if code, _ := s.code(); s.failed() && (!t.x.canAdd() || !t.x.works[t.v]) {
				t.na("it is not ready, with code %d, and nor does ADD succeed here", uint(code))
			} else if s.failed() {
				t.fail("STATUS fails although ADD succeeds: %s", s.summary())
			}
		}},
		{id: "STA-002", needs: needPlainAdd, kinds: []Kind{KindIPAM}, run: func(t *trial) {
			full := t.exhausted()
			t.cleanly(t.run(full(t.call("STATUS"))))
		}},
		{id: "STA-002", needs: needDelegate, run: func(t *trial) {
			t.delegateFails(types.CommandStatus)
			t.cleanly(t.run(t.call("STATUS")))
		}},
		{id: "STA-004", needs: needPlainAdd, kinds: []Kind{KindIPAM}, run: func(t *trial) {
			full := t.exhausted()
			t.refuses(full(t.call("STATUS")), "STATUS without an address left")
		}},
		{id: "STA-005", needs: needPlainAdd, kinds: []Kind{KindIPAM}, run: func(t *trial) {
			full := t.exhausted()
			t.wantCode(t.run(full(t.call("STATUS"))), "STATUS without an address left", types.ErrPluginNotAvailable, types.ErrLimitedConnectivity)
		}},
		{id: "STA-006", run: func(t *trial) {
			t.needsCanAdd()
			never := t.life()
			if t.life() != never {
				t.na("a second attachment goes otherwise than the first one, without STATUS")
			}
			t.run(t.call("STATUS"))
			if after := t.life(); after != never {
				t.fail("without STATUS: %s; after it: %s", never, after)
			}
		}},
		{id: "STA-007", needs: needDelegate, run: func(t *trial) {
			t.works(t.call("ADD"), "ADD")
			t.delegateFails(types.CommandStatus)
			t.run(t.call("STATUS"))
			t.accepts(t.call("DEL"), "DEL after a STATUS that failed")
		}},
		{id: "STA-008", needs: needDelegate, run: func(t *trial) { t.forward(t.call("STATUS")) }},
		{id: "STA-009", needs: needDelegate, run: func(t *trial) {
			t.must(t.delegate.Answer(types.CommandStatus, "", Answer{Stdout: `{"cniVersion":"1.1.0","code":51,"msg":"the kit says no"}`, Exit: 1}))
			t.refusesBy(t.call("STATUS"), "STATUS when that of the IPAM plugin fails", types.ErrLimitedConnectivity)
		}},
		{id: "STA-011", run: func(t *trial) {
			if s := t.works(t.call("STATUS"), "STATUS"); len(s.Stdout) > 0 {
				t.fail("STATUS prints something: %s", s.summary())
			}
		}},
		{id: "STA-012", run: func(t *trial) {
			if t.x.namespaces {
				t.box()
			}
			before := t.states()
			t.run(t.call("STATUS"))
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("STATUS changes something:\n%s", diff)
			}
		}},
		{id: "STA-013", run: func(t *trial) {
			if s := t.run(t.call("STATUS")); s.Duration > 5*time.Second {
				t.fail("STATUS takes %v", s.Duration)
			}
		}},
		{id: "STA-017", needs: needPlainAdd, once: true, run: func(t *trial) {
			found := false
			for what, change := range inOrder(t.changes()) {
				s := t.run(change(t.call("ADD")))
				t.run(t.call("DEL"))
				code, ok := s.code()
				if ok && (code == types.ErrInvalidNetworkConfig || code == types.ErrUnsupportedField || code == types.ErrDecodingFailure) {
					found = true
					t.refusesBy(change(t.call("STATUS")), "STATUS with "+what+", which ADD refuses", code)
				}
			}
			if !found {
				t.na("it refuses no configuration that the kit can think of")
			}
		}},
		{id: "STA-018", run: func(t *trial) {
			if t.x.delegates {
				t.na("the configuration names a delegate")
			}
			t.works(t.call("STATUS"), "STATUS")
			if s := t.run(t.call("STATUS").unset("CNI_PATH")); s.failed() {
				t.fail("STATUS without CNI_PATH: %s", s.summary())
			}
		}},
	}
}

// cleanly checks that a STATUS that says no says so by its exit status and by an error
// object.
func (t *trial) cleanly(s *Step) {
	if !s.failed() {
		t.na("it does not say that it is not ready, which other rules judge")
	}
	if _, complains := s.complaint(); s.Exit == 0 || !complains {
		t.fail("STATUS is not ready, and ends with %s", s.summary())
	}
}

// life attaches a container and detaches it, and says which of that succeeds.
func (t *trial) life() string {
	add := t.run(t.call("ADD"))
	object, _ := add.object()
	check, del := t.run(t.check(object)), t.run(t.del(object))
	words := ""
	for _, s := range []*Step{add, check, del} {
		words += string(s.Command) + map[bool]string{true: " fails ", false: " succeeds "}[s.failed()]
	}
	return strings.TrimSpace(words)
}
