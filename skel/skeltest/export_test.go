// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"context"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// InProcess is a target that is a function.
func InProcess(name string, p Profile, run func(context.Context, skel.Env) (exit int)) Target {
	return Target{Name: name, Profile: p, run: run}
}

// Checked returns the identifiers of the rules that have a check.
func Checked() map[string]bool {
	all := map[string]bool{}
	for _, c := range checks() {
		all[c.id] = true
	}
	return all
}

// LegacyLines reads the output of iptables-save.
func LegacyLines(table, text string) []string { return legacyLines(table, text) }

// Busy says for how many times its limit to wait for a plugin.
func Busy(loadavg string, processors int) float64 { return busy(loadavg, processors) }

// RunPatiently runs a plugin with a limit, of which it has as many as busy says each time
// that one is over, and returns the problem.
func RunPatiently(ctx context.Context, limit time.Duration, busy func() float64, run func(context.Context)) string {
	x := &executor{timeout: limit, busy: busy, run: func(ctx context.Context, _ skel.Env) int {
		run(ctx)
		return 0
	}}
	var s Step
	x.execute(ctx, &s)
	return s.Problem
}

// Untestable says why rules have no check.
func Untestable() map[string]string { return untestable() }

// ExamineRuntimeInProcess is [ExamineRuntime] for runtimes whose recorders are no
// processes: without namespaces, at the versions given, and with its own time for what
// may not begin while something else runs.
func ExamineRuntimeInProcess(ctx context.Context, open func(RuntimeSetup) (RuntimeDriver, error), patience time.Duration, versions ...types.Version) (*Report, error) {
	x := runtimeExaminer{open: open, patience: patience, versions: versions}
	return x.examine(ctx, ExamineOptions{})
}

// PlayIfRecorder ends the process as a recorder, if it is one.
func PlayIfRecorder() { playRecorder() }
