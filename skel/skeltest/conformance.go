// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

// ExamineOptions are options of [Examine]. The zero value is good.
type ExamineOptions struct {
	// Only are the rules to examine, by identifier or group. Empty: all.
	Only []string
	// Parallel is how many cases run at once. Zero: three for each processor, since a case
	// waits for the kernel for longer than it works.
	Parallel int
	// Keep is a directory in which cases that break a rule leave what they had, so that
	// what [Step.Shell] says runs as it is. It is made if it is missing. Empty: nothing is
	// left.
	Keep string
	// Progress, if not nil, is called after each case, one call at a time.
	Progress func(done, total int, o Outcome)
}

// Conformance examines a plugin with one subtest for each rule. A rule that is a MUST
// of the specification fails the test when it is broken; warnings and advice are
// logged. Where the kernel allows no namespaces, rules that need them are skipped, and
// fail with REQUIRE_KERNEL_TESTS=1 in the environment.
//
//	func TestConformance(t *testing.T) {
//		skeltest.Conformance(t, skeltest.Target{Executable: skeltest.Self(t, "myplugin")})
//	}
func Conformance(t *testing.T, target Target) {
	t.Helper()
	report, err := Examine(t.Context(), target, ExamineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, note := range report.Notes {
		t.Log(note)
	}
	if report.AddFails != "" {
		t.Error(report.AddFails)
	}
	if len(report.Notes) > 0 && os.Getenv("REQUIRE_KERNEL_TESTS") != "" && target.inProcess() == nil {
		t.Error("the examination is not whole")
	}
	for _, v := range report.verdicts() {
		if v.rule.Who != "plugin" && v.rule.Who != "both" {
			continue
		}
		t.Run(v.rule.ID, func(t *testing.T) { v.test(t) })
	}
}

// test reports a verdict as the outcome of a test.
func (v verdict) test(t *testing.T) {
	t.Helper()
	for _, o := range v.outcomes {
		if o.Status != Failed {
			continue
		}
		tell := t.Logf
		if v.rule.Severity() == Failure {
			tell = t.Errorf
		}
		tell("%s", o.story())
	}
	if v.status == NotApplicable || v.status == NotTestable {
		t.Skipf("%s: %s", v.status, strings.Join(v.outcomes[0].Why, "; "))
	}
}

// Examine runs every rule of the checklist that can be tested from outside against a
// plugin, at every version that the plugin supports, and reports what became of each.
// Each case has namespaces and a directory of its own. It fails only if there is no
// plugin to examine, or ctx ends.
func Examine(ctx context.Context, target Target, o ExamineOptions) (*Report, error) {
	target, err := target.complete()
	if err != nil {
		return nil, err
	}
	dir, remove, err := examinationDir(o.Keep)
	if err != nil {
		return nil, err
	}
	defer remove()
	x := &examiner{target: target, ctx: ctx, dir: dir, keep: o.Keep != "", works: map[types.Version]bool{}, cannot: map[types.Version]string{}}
	report := &Report{Plugin: target.Name}
	report.Notes = x.probe()
	report.Kind, report.Versions, report.AddFails = x.target.Profile.Kind, x.versions, x.addFails()
	report.Outcomes = x.examine(o)
	slices.SortStableFunc(report.Outcomes, byRule())
	return report, ctx.Err()
}

// byRule orders outcomes as the checklist does, and by version.
func byRule() func(a, b Outcome) int {
	position := map[string]int{}
	for i, r := range ruleBook() {
		position[r.ID] = i
	}
	return func(a, b Outcome) int {
		if a.Rule.ID != b.Rule.ID {
			return position[a.Rule.ID] - position[b.Rule.ID]
		}
		return int(int64(a.Version) - int64(b.Version))
	}
}
