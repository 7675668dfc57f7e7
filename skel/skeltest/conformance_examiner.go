// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cnikit/cnikit/types"
)

// An examiner examines one plugin.
type examiner struct {
	target Target
	ctx    context.Context
	// dir is a directory of the examination's own, with one for each case.
	dir      string
	versions []types.Version
	// keep says that cases which break a rule leave their directory.
	keep bool
	// newest is the newest version that the plugin says it supports.
	newest types.Version
	// namespaces says that there are namespaces to be had; whyNot is why not.
	namespaces bool
	whyNot     string
	// works says for which versions ADD succeeds as a baseline; delegates that it runs
	// the IPAM plugin of the kit then. cannot is why ADD does not work.
	works     map[types.Version]bool
	cannot    map[types.Version]string
	delegates bool

	hung   atomic.Int32
	serial atomic.Int64
}

// tooOften is how many executions of a plugin may hang or flood before the rest of the
// examination is left out, lest it take all day.
const tooOften = 8

// A job is one check at one version.
type job struct {
	check check
	rule  Rule
	v     types.Version
}

// examine runs all checks and returns an outcome for each rule.
func (x *examiner) examine(o ExamineOptions) []Outcome {
	var outcomes []Outcome
	var jobs []job
	byID := map[string][]check{}
	for _, c := range checks() {
		byID[c.id] = append(byID[c.id], c)
	}
	for _, rule := range ruleBook() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, rule.ID) && !slices.Contains(o.Only, rule.Group()) {
			continue
		}
		these, why := x.plan(rule, byID[rule.ID])
		if len(these) == 0 {
			outcomes = append(outcomes, why)
		}
		jobs = append(jobs, these...)
	}
	// Those that are done once are the long ones: the rest is not to wait for them at the end.
	slices.SortStableFunc(jobs, func(a, b job) int {
		if a.check.once == b.check.once {
			return 0
		}
		if a.check.once {
			return -1
		}
		return 1
	})
	parallel := o.Parallel
	if parallel <= 0 {
		parallel = 3 * runtime.GOMAXPROCS(0)
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	queue := make(chan job)
	done := 0
	for range parallel {
		wait.Go(func() {
			for j := range queue {
				outcome := x.judge(j)
				mu.Lock()
				outcomes = append(outcomes, outcome)
				if done++; o.Progress != nil {
					o.Progress(done, len(jobs), outcome)
				}
				mu.Unlock()
			}
		})
	}
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	wait.Wait()
	return outcomes
}

// plan returns the jobs for one rule, or why there are none.
func (x *examiner) plan(rule Rule, all []check) ([]job, Outcome) {
	none := func(s Status, format string, args ...any) ([]job, Outcome) {
		return nil, Outcome{Rule: rule, Status: s, Why: []string{fmt.Sprintf(format, args...)}}
	}
	if (rule.Who == "runtime" || rule.Who == "admin") && len(all) == 0 {
		return none(NotApplicable, "binds the %s", map[string]string{"runtime": "runtime", "admin": "author of a configuration"}[rule.Who])
	}
	if len(all) == 0 {
		return none(NotTestable, "%s", untested(rule))
	}
	all = slices.DeleteFunc(slices.Clone(all), func(c check) bool {
		return len(c.kinds) > 0 && !slices.Contains(c.kinds, x.target.Profile.Kind)
	})
	if len(all) == 0 {
		return none(NotApplicable, "the plugin is of kind %s", x.target.Profile.Kind)
	}
	var jobs []job
	var reason string
	status := NotApplicable
	for _, c := range all {
		var these []job
		for _, v := range slices.Backward(x.versions) {
			if !rule.appliesTo(v) {
				continue
			}
			if s, why := x.lacks(c, v); why != "" {
				status, reason = s, why
				continue
			}
			these = append(these, job{c, rule, v})
			if c.once || rule.Severity() == Advice {
				break
			}
		}
		jobs = append(jobs, these...)
	}
	if len(jobs) == 0 && reason == "" {
		reason = "applies to version " + rule.Since + ", which the plugin does not support"
	}
	if len(jobs) == 0 {
		return none(status, "%s", reason)
	}
	return jobs, Outcome{}
}

// lacks says what a check lacks at a version, if anything.
func (x *examiner) lacks(c check, v types.Version) (Status, string) {
	add := c.needs == needAdd || c.needs == needDelegate || c.needs == needPlainAdd
	plain := c.needs == needPlainAdd && (x.target.Profile.Kind == KindIPAM || x.target.Profile.Kind == KindChained)
	switch {
	case c.needs != needNothing && !plain && !x.namespaces:
		return NotTestable, "it takes network namespaces: " + x.whyNot
	case add && !x.works[v]:
		return NotApplicable, x.cannot[v]
	case c.needs == needDelegate && !x.delegates:
		return NotApplicable, "with this configuration, the plugin runs no IPAM plugin of the kit"
	}
	return "", ""
}

// judge runs one check at one version.
func (x *examiner) judge(j job) Outcome {
	o := Outcome{Rule: j.rule, Version: j.v, Status: Passed}
	if err := x.ctx.Err(); err != nil {
		return interrupted(o, err)
	}
	if x.hung.Load() >= tooOften {
		o.Status, o.Why = NotTestable, []string{"the plugin did not end, or flooded its output, too often"}
		return o
	}
	t := x.trial(j.v)
	finished := make(chan struct{})
	go func() { // of its own, so that a check can end by runtime.Goexit
		defer close(finished)
		j.check.run(t)
	}()
	<-finished
	t.kept = x.keep && len(t.failures) > 0
	t.close()
	switch {
	case t.broken != nil:
		o.Status, o.Why = NotTestable, []string{"the kit could not do it: " + t.broken.Error()}
	case len(t.failures) > 0 && x.ctx.Err() != nil:
		o = interrupted(o, x.ctx.Err())
	case len(t.failures) > 0 && !x.namespaces && t.refusedPrivileges():
		o.Status, o.Why = NotTestable, []string{"the plugin lacks privileges for it, and so does the kit"}
	case len(t.failures) > 0:
		o.Status, o.Why, o.Steps = Failed, t.failures, t.steps
		plain := t.plain()
		for i := range o.Steps {
			o.Steps[i].Plain = plain
		}
	case t.inapplicable != "":
		o.Status, o.Why = NotApplicable, []string{t.inapplicable}
	}
	return o
}

// interrupted is the outcome of what the end of the examination came before.
func interrupted(o Outcome, err error) Outcome {
	o.Status, o.Why = NotTestable, []string{"the examination was ended: " + err.Error()}
	return o
}
