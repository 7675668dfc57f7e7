// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"context"

	"github.com/cnikit/cnikit/skel"
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

// Untestable says why rules have no check.
func Untestable() map[string]string { return untestable() }
