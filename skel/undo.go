// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"errors"
	"sync"
	"time"
)

// undoTime bounds the undoing of a failed ADD, which the end of the request's own
// context must not stop.
const undoTime = 10 * time.Second

// An undoStack holds the steps that undo what ADD did.
type undoStack struct {
	mu    sync.Mutex
	steps []func(context.Context) error
}

func (u *undoStack) push(step func(context.Context) error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.steps = append(u.steps, step)
}

// run runs all steps, the last first, and joins their errors. A step runs once,
// whatever the others do, and even if it registers more.
func (u *undoStack) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	var errs []error
	for {
		step := u.pop()
		if step == nil {
			return errors.Join(errs...)
		}
		errs = append(errs, guarded(func() error { return step(ctx) }))
	}
}

func (u *undoStack) pop() func(context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := len(u.steps) - 1
	if last < 0 {
		return nil
	}
	step := u.steps[last]
	u.steps = u.steps[:last]
	return step
}
