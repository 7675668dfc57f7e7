// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// A panicError is a panic of a handler, with the stack for standard error.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// errGoexit is the error of a handler that ended its goroutine.
var errGoexit = errors.New("the handler ended its goroutine")

// guarded calls f and turns a panic into an error.
func guarded(f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		err = errGoexit
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	err = f()
	returned = true
	return err
}

// stopTime is how long a handler may go on after its context ended. It is then
// left alone, so that its undo steps run and the runtime gets an answer.
const stopTime = 5 * time.Second

// errStuck is the error of a handler that did not stop.
var errStuck = errors.New("the handler did not stop within " + stopTime.String())

// await calls f on a goroutine of its own and returns its error. If f does not
// return within grace after the end of ctx, f is left alone.
func await(ctx context.Context, grace time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() { done <- err }()
		err = guarded(f)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%w: %w", context.Cause(ctx), errStuck)
	}
}
