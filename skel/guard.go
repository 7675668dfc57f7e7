// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/cnikit/cnikit/internal/early"
)

// A panicError is a panic, with the stack for standard error.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// maxStack is how much of a stack is kept, in bytes.
const maxStack = 64 << 10

// guarded calls f and turns a panic into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			stack := make([]byte, maxStack)
			err = &panicError{v, stack[:runtime.Stack(stack, false)]}
		}
	}()
	if err = f(); err != nil {
		// An error whose text cannot be had, such as a nil *types.Error, panics here,
		// where it is caught.
		_ = err.Error()
	}
	return err
}

// errGoexit is the error of a handler that ended its goroutine.
var errGoexit = errors.New("the handler ended its goroutine")

// await calls f on a goroutine of its own and returns its error. If f does not
// return within grace after the end of ctx, f is left alone.
func await(ctx context.Context, grace time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() { done <- err }()
		early.GrowStack()
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
		return fmt.Errorf("%w: no stop within %s", context.Cause(ctx), grace)
	}
}
