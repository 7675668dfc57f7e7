// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nsfs"
)

// inside calls f, which runs programs, in the network namespace of the firewall.
func (h *Host) inside(f func() error) error {
	here, err := nsfs.Self()
	if err != nil {
		return err
	}
	if here == h.nsID {
		return f()
	}
	return onThread(func() error {
		if err := unix.Setns(h.ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the namespace of the firewall: %w", err)
		}
		return f()
	})
}

// onThread runs f on a fresh thread that ends when f does. The main thread cannot end:
// while this goroutine holds it, the next one gets another.
func onThread(f func() error) error {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		if unix.Gettid() == unix.Getpid() {
			errs <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		errs <- f()
	}()
	return <-errs
}

// alone calls f while nobody else in the network namespace does so, in this process
// or another. The lock is on the namespace itself: no file has to be made, and it ends
// with the process. The error is [os.ErrDeadlineExceeded] if somebody keeps it for too long.
func (h *Host) alone(ctx context.Context, f func() error) error {
	// Opened anew: locks of one open file do not exclude each other.
	lock, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", h.ns))
	if err != nil {
		return fmt.Errorf("lock the firewall: %w", err)
	}
	defer func() { _ = lock.Close() }() // read-only
	for begin := time.Now(); ; {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock the firewall: %w", err)
		}
		if time.Since(begin) > h.exclusiveWait {
			return fmt.Errorf("lock the firewall, which others have changed for %v: %w", h.exclusiveWait, os.ErrDeadlineExceeded)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock the firewall, which another process changes: %w", context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
	}
}
