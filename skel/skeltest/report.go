// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"slices"

	"github.com/cnikit/cnikit/types"
)

// Status is how the examination of one rule went.
type Status string

// The states of a rule.
const (
	// Passed: nothing was found to break it.
	Passed Status = "passed"
	// Failed: it is broken; the [Severity] of the rule says how bad that is.
	Failed Status = "failed"
	// NotApplicable: it does not bind this plugin, or not in this setting.
	NotApplicable Status = "not applicable"
	// NotTestable: it cannot be tested from outside, or not here.
	NotTestable Status = "not testable"
)

// Outcome is what came out for one rule at one version.
type Outcome struct {
	Rule Rule
	// Version is the version of the requests. Zero if the rule was not tried.
	Version types.Version
	Status  Status
	// Why says what was found, or why nothing could be.
	Why []string
	// Steps are the executions of the plugin that showed it, for a rule that is
	// broken.
	Steps []Step
}

// Report is the result of an examination.
type Report struct {
	// Plugin is the name of the plugin, and Kind what it was taken for.
	Plugin string
	Kind   Kind
	// Versions are those that were examined.
	Versions []types.Version
	// Notes say what kept the examination from being whole.
	Notes []string
	// AddFails says why a plain ADD does not succeed, so that most of what a plugin does
	// could not be examined: the plugin is broken, or the profile is wrong. Empty: it
	// succeeds, or could not be tried.
	AddFails string
	// Outcomes are in the order of the rules, and then of the versions.
	Outcomes []Outcome
}

// Broken returns the outcomes of the rules of a severity that are broken.
func (r *Report) Broken(s Severity) []Outcome {
	var all []Outcome
	for _, o := range r.Outcomes {
		if o.Status == Failed && r.severity(o.Rule) == s {
			all = append(all, o)
		}
	}
	return all
}

// severity returns how bad it is that whom the report is about breaks a rule. What
// binds runtimes is no more than a warning for a plugin, and the other way round.
func (r *Report) severity(rule Rule) Severity {
	if r.Kind == KindRuntime && rule.Who == "runtime" {
		rule.Who = "both"
	}
	return rule.Severity()
}

// binds reports whether a rule is for those that the report is about.
func (r *Report) binds(rule Rule) bool {
	return rule.Who == "both" || (rule.Who == "runtime") == (r.Kind == KindRuntime) && rule.Who != "admin"
}

// IDs returns the identifiers of the rules that have an outcome of this status, each
// once.
func (r *Report) IDs(s Status) []string {
	var all []string
	for _, o := range r.Outcomes {
		if o.Status == s && !slices.Contains(all, o.Rule.ID) {
			all = append(all, o.Rule.ID)
		}
	}
	return all
}

// A verdict is what all outcomes of one rule come to.
type verdict struct {
	rule     Rule
	status   Status
	outcomes []Outcome
}

// verdicts sums the outcomes up, by rule: one that is broken in one version is
// broken, and one that was tried in one version was tried.
func (r *Report) verdicts() []verdict {
	rank := []Status{Failed, Passed, NotTestable, NotApplicable}
	var all []verdict
	for _, o := range r.Outcomes {
		if len(all) == 0 || all[len(all)-1].rule.ID != o.Rule.ID {
			all = append(all, verdict{rule: o.Rule, status: o.Status})
		}
		v := &all[len(all)-1]
		v.outcomes = append(v.outcomes, o)
		if slices.Index(rank, o.Status) < slices.Index(rank, v.status) {
			v.status = o.Status
		}
	}
	return all
}
