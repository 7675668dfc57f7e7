// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"errors"
	"sync"
)

// A step undoes a part of what ADD did.
type step func(context.Context) error

// An undoStack holds the steps that undo what ADD did.
type undoStack struct {
	mu    sync.Mutex
	steps []step
	// done: the steps have run.
	done bool
}

// push adds a step. After the others have run, only a handler that was left alone
// can still be at work: its step runs at once.
func (u *undoStack) push(s step) {
	u.mu.Lock()
	late := u.done
	if !late {
		u.steps = append(u.steps, s)
	}
	u.mu.Unlock()
	if !late {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	_ = guarded(func() error { return s(ctx) }) // the answer is given: nobody is left to tell
}

// run runs all steps, the last first, and joins their errors. A step runs once,
// whatever the others do, and even if it registers more.
func (u *undoStack) run(ctx context.Context, t times) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.undo)
	defer cancel()
	var errs []error
	for {
		s := u.pop()
		if s == nil {
			return errors.Join(errs...)
		}
		errs = append(errs, await(ctx, t.stop, func() error { return s(ctx) }))
	}
}

// pop takes the last step off, or returns nil if there is none.
func (u *undoStack) pop() step {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := len(u.steps) - 1
	if last < 0 {
		u.done = true
		return nil
	}
	s := u.steps[last]
	u.steps = u.steps[:last]
	return s
}
