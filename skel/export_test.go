// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"time"
)

// WithTimes returns e with other times than those of Run: for a handler or a write
// after the end of its context, for all undo steps, and for VERSION to wait.
func WithTimes(e Env, stop, undo, version time.Duration) Env {
	e.times = times{stop, undo, version}
	return e
}

// RunOneOf is Main without the process.
func RunOneOf(ctx context.Context, env Env, argv0 string, plugins ...Runner) int {
	return runOneOf(ctx, env, argv0, plugins)
}
