// SPDX-License-Identifier: Apache-2.0

package ns

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// outcome is how a function ended on its thread. The zero value is that of one that
// ended its goroutine, and so returned nothing.
type outcome struct {
	returned bool
	err      error
	panicked error
}

// onThread calls f on a thread of its own that ends when f does, and returns the
// error of f.
//
// The main thread is never used. It cannot end, so it would stay in whatever namespace
// f took it to, hold that namespace for the life of the process, and show it to everyone
// who looks at /proc/PID/ns/net.
func onThread(f func() error) error {
	done := make(chan outcome, 1)
	go runOnThread(f, done)
	o := <-done
	switch {
	case o.panicked != nil:
		panic(o.panicked)
	case !o.returned:
		runtime.Goexit()
	}
	return o.err
}

func runOnThread(f func() error, done chan<- outcome) {
	runtime.LockOSThread() // without an unlock: the thread ends with this goroutine
	if unix.Gettid() == unix.Getpid() {
		// While this goroutine holds the main thread the next one gets another.
		inner := make(chan outcome, 1)
		go runOnThread(f, inner)
		done <- <-inner
		runtime.UnlockOSThread()
		return
	}
	var o outcome
	defer func() {
		if v := recover(); v != nil {
			o.panicked = &panicError{value: v, stack: debug.Stack()}
		}
		done <- o
	}()
	o.err = f()
	o.returned = true
}

// panicError is a panic on its way to another goroutine, whose stack would not tell
// where it came from.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string {
	return fmt.Sprintf("%v\n\nin a network namespace:\n%s", p.value, p.stack)
}

// Unwrap returns the value of the panic if that is an error.
func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}
