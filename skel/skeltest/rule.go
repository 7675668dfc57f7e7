// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"strings"

	"github.com/cnikit/cnikit/types"
)

// Rule is a rule of the checklist of CNI 0.1.0 to 1.1.0.
type Rule struct {
	// ID is the identifier, such as "DEL-003".
	ID string
	// Since says which versions of the specification it applies to: "all", "1.0.0" for
	// that one and later ones, or "0.3.0..0.4.0". "1.1.0+" is text that came after the
	// tag of 1.1.0 and calls itself 1.1.0.
	Since string
	// Level is MUST, MUST NOT, SHOULD, SHOULD NOT or MAY.
	Level string
	// Basis says what the rule rests on: "S" the text with a keyword, "S~" the text as
	// a statement, "C" the conventions document, "U" the upgrade guide, "R" the reference
	// implementation alone, "D" a decision of the checklist.
	Basis string
	// Who is bound by it: plugin, runtime, both or admin, who writes configurations.
	Who string
	// Text is the rule in words.
	Text string
}

// Rules returns every rule of the checklist, in its order.
func Rules() []Rule { return ruleBook() }

// Severity returns what a plugin that breaks the rule has earned.
func (r Rule) Severity() Severity {
	switch {
	case r.Basis == "R" || r.Basis == "D" || r.Level == "MAY":
		return Advice
	case r.Who == "runtime" || r.Who == "admin":
		// Nothing demands that a plugin looks at what others have to see to.
		return Warning
	case (r.Basis == "S" || r.Basis == "S~") && strings.HasPrefix(r.Level, "MUST"):
		return Failure
	}
	return Warning
}

// Group returns the part of the identifier before the number.
func (r Rule) Group() string {
	group, _, _ := strings.Cut(r.ID, "-")
	return group
}

// appliesTo reports whether the rule applies to a version of the specification.
func (r Rule) appliesTo(v types.Version) bool {
	if r.Since == "all" {
		return true
	}
	first, last, bounded := strings.Cut(strings.TrimSuffix(r.Since, "+"), "..")
	from, err := types.ParseVersion(first)
	if err != nil || v < from {
		return false
	}
	to, err := types.ParseVersion(last)
	return !bounded || err == nil && v <= to
}

// Severity says how bad it is to break a rule.
type Severity string

// The severities. Only a Failure makes a plugin fail.
const (
	// Failure is for a MUST of the text.
	Failure Severity = "failure"
	// Warning is for a SHOULD of the text and for conventions.
	Warning Severity = "warning"
	// Advice is for what only the reference implementation does, and for design
	// decisions.
	Advice Severity = "advice"
)
