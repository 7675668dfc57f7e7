// SPDX-License-Identifier: Apache-2.0

package ns_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/ns"
)

// census counts what the process holds: threads by the namespace they are in, and
// descriptors.
func census(t *testing.T) (threads map[string]int, files int) {
	t.Helper()
	threads = make(map[string]int)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		// A thread that ends meanwhile is one less to count.
		if in, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net"); err == nil {
			threads[in]++
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return threads, len(fds)
}

// Thousands of calls, nested and from many goroutines, in many namespaces, leave no
// thread and no descriptor behind, and none of them works in the wrong place. Not
// parallel: it counts what the whole process has.
//
// PROTO-046.
func TestNS_Do_Lifetime(t *testing.T) {
	const spaces, callers, calls = 8, 64, 50
	paths := make([]string, spaces)
	names := make([]string, spaces)
	for i := range paths {
		tn := nstest.New(t)
		paths[i] = tn.Path()
		tn.Do(t, func() { names[i] = here(t) })
	}
	own := here(t)
	before, files := census(t)

	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := range calls {
				if err := visit(paths, names, c+i, c*7+i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if got := here(t); got != own {
		t.Errorf("the caller is in %s, want %s", got, own)
	}
	awaitCensus(t, own, before[own]+2*callers, files)
}

// visit opens two namespaces, works in one and, from there, in the other.
func visit(paths, names []string, i, j int) (err error) {
	i, j = i%len(paths), j%len(paths)
	a, err := ns.Open(paths[i])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := ns.Open(paths[j])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return a.Do(func() error {
		return errors.Join(expect(names[i]), b.Do(func() error { return expect(names[j]) }), expect(names[i]))
	})
}

// expect fails unless the calling thread is in the namespace that the kernel calls name.
func expect(name string) error {
	got, err := os.Readlink("/proc/thread-self/ns/net")
	if err == nil && got != name {
		return fmt.Errorf("work done in %s, want %s", got, name)
	}
	return err
}

// awaitCensus waits until all threads are back in namespace own, at most limit of
// them, and as many descriptors are open as before. Threads end a moment after the
// call for which they lived; idle ones, which the Go runtime keeps, are not a leak,
// but there are no more of them than were needed at one time.
func awaitCensus(t *testing.T, own string, limit, files int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		threads, fds := census(t)
		ok := len(threads) == 1 && threads[own] > 0 && threads[own] <= limit && fds <= files
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("left behind: threads %v, want at most %d, all in %s; %d descriptors, want %d",
				threads, limit, own, fds, files)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Many calls that are inside at one time hold a thread each, and give it back.
func TestNS_Do_Burst(t *testing.T) {
	const calls = 300
	n := mustOpen(t, nstest.New(t).Path())
	own := here(t)
	before, files := census(t)
	var inside, done sync.WaitGroup
	inside.Add(calls)
	for range calls {
		done.Go(func() {
			if err := n.Do(func() error { inside.Done(); inside.Wait(); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	awaitCensus(t, own, before[own]+20, files)
}

// Close during calls never makes one run elsewhere: descriptors are reused at once,
// here by another namespace that takes the number of the closed one.
func TestNS_Close_Concurrent(t *testing.T) {
	t.Parallel()
	first, second := nstest.New(t), nstest.New(t)
	var name string
	first.Do(t, func() { name = here(t) })
	for range 200 {
		n := mustOpen(t, first.Path())
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				err := n.Do(func() error { return expect(name) })
				if err != nil && !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
			})
		}
		closeNS(t, n)
		other := mustOpen(t, second.Path())
		group.Wait()
		closeNS(t, other)
	}
}

// The main thread is never taken along, whatever goroutine calls.
func TestNS_Do_MainThread(t *testing.T) {
	t.Parallel()
	n := mustOpen(t, nstest.New(t).Path())
	for range 500 {
		err := n.Do(func() error {
			if in, err := os.Readlink("/proc/thread-self/ns/net"); err != nil {
				return err
			} else if main, err := os.Readlink("/proc/self/ns/net"); err != nil || main == in {
				return errors.Join(err, errors.New("the main thread is inside"))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if main, err := os.Readlink("/proc/self/ns/net"); err != nil || !strings.Contains(here(t), main) {
		t.Errorf("main thread in %s, %v, want %s", main, err, here(t))
	}
}
