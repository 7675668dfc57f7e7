// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// The rules overlap: nearly each of them is about an error, and what an error looks
// like is a rule as well. So that a plugin that breaks one rule is told about that
// one, a check judges its own rule alone: a refusal counts as one whether the exit
// status or only the error object shows it, and a code that cannot be read is not a
// wrong code.

// refuses runs a request that the plugin has to refuse.
func (t *trial) refuses(c *call, what string) *Step {
	s := t.run(c)
	if !s.failed() {
		t.fail("%s: accepted, want an error: %s", what, s.summary())
	}
	return s
}

// refusesBy is refuses, with the code of the error.
func (t *trial) refusesBy(c *call, what string, codes ...types.Code) *Step {
	s := t.refuses(c, what)
	t.wantCode(s, what, codes...)
	return s
}

// accepts runs a request that the plugin has no reason to refuse.
func (t *trial) accepts(c *call, what string) *Step {
	s := t.run(c)
	if s.failed() {
		t.fail("%s: refused: %s", what, s.summary())
	}
	return s
}

// works is accepts for what is not the matter of the check: without it the check
// cannot go on.
func (t *trial) works(c *call, what string) *Step {
	s := t.run(c)
	if s.failed() {
		t.na("%s does not succeed, which other rules judge: %s", what, s.summary())
	}
	return s
}

// baselineDEL ends the check unless a DEL of an unknown container succeeds. It is the
// request that every plugin accepts, with or without privileges.
func (t *trial) baselineDEL() { t.works(t.call("DEL"), "DEL of an unknown container") }

func (t *trial) wantCode(s *Step, what string, codes ...types.Code) {
	if code, ok := s.code(); ok && !slices.Contains(codes, code) {
		t.fail("%s: code %d, want %s", what, uint(code), codeList(codes))
	}
}

func codeList(codes []types.Code) string {
	var all []string
	for _, c := range codes {
		all = append(all, c.Error())
	}
	return strings.Join(all, " or ")
}

// names checks that the text of an error holds words.
func (t *trial) names(s *Step, what string, words ...string) {
	if _, ok := s.complaint(); !ok {
		return
	}
	for _, word := range words {
		if !strings.Contains(s.text(), word) {
			t.fail("%s: the error does not name %s: %s", what, word, short(s.Stdout))
		}
	}
}

// commands lists the commands of a version that take a configuration.
func (t *trial) commands() []string {
	all := []string{"ADD", "DEL"}
	if t.v >= types.V040 {
		all = append(all, "CHECK")
	}
	if t.v >= types.V110 {
		all = append(all, "STATUS", "GC")
	}
	return all
}

// clean reports what keeps s from being a clean success or a clean error.
func (s *Step) unclean() string {
	if s.crashed() {
		return "it crashed: " + s.summary()
	}
	if s.Exit == 0 {
		if len(s.Stdout) == 0 {
			return ""
		}
		if _, err := s.object(); err != nil {
			return err.Error()
		}
		return ""
	}
	object, err := s.object()
	if err != nil {
		return "exit status without an error object: " + err.Error()
	}
	if _, ok := object["code"]; !ok {
		return "the error object has no code: " + short(s.Stdout)
	}
	return ""
}
