// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package campaign_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/campaign"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// errnos are what calls fail with, as far as it fits them.
func errnos() []syscall.Errno {
	return []syscall.Errno{
		syscall.EINTR, syscall.EBUSY, syscall.ENOSPC, syscall.EMFILE, syscall.EPERM, syscall.ENOBUFS, syscall.ETIMEDOUT,
	}
}

// TestErrors makes each call that changes something fail, with each error that fits, and
// loses each answer of the kernel, or interrupts who reads it, when the work is done:
// either the plugin succeeds all the same, and has done everything, or it gives one error
// object that names the cause, and has undone everything. What is interrupted by a signal is
// to be tried again, so there the plugin has to succeed, unless it was iptables that was
// interrupted.
func TestErrors(t *testing.T) {
	t.Parallel()
	needHost(t)
	ctx, lots := campaign.Begin(t, 10*time.Second)
	points, stays := pointsOf(t, func(p point, calls []skeltest.SystemCall) []point {
		if p.fresh && p.command != types.CommandAdd {
			return nil // as on any other host
		}
		var all []point
		for _, errno := range errnos() {
			all = append(all, p.failing(skeltest.Fail, errno, calls, func(c skeltest.SystemCall) bool { return c.CanFail(errno) })...)
		}
		for _, errno := range []syscall.Errno{syscall.ENOBUFS, syscall.EINTR} {
			all = append(all, p.failing(skeltest.LoseAnswer, errno, calls, func(c skeltest.SystemCall) bool { return c.CanLose(errno) })...)
		}
		return all
	})
	play(ctx, t, lots, points, stays, (*stage).cope)
}

// failing returns p with an error, if it fits the call of p. A fault counts the calls that it
// fits.
func (p point) failing(kind skeltest.FaultKind, errno syscall.Errno, calls []skeltest.SystemCall, fits func(skeltest.SystemCall) bool) []point {
	p.kind, p.errno, p.clean = kind, errno, byItself
	if calls != nil {
		if !fits(calls[p.at-1]) {
			return nil
		}
		p.at = count(calls[:p.at], fits)
	}
	return []point{p}
}

// cope tries a point of the campaign Errors.
func (st *stage) cope(p point) error {
	c, fault := st.container("guest"), p.fault()
	err := st.struck(p, c, fault)
	struck, ok := fault.Struck()
	if !ok {
		return st.undisturbed(c, err)
	}
	var o *ending
	switch {
	case err == nil:
		err = st.complete(p, c, fault)
	case errors.As(err, &o) && p.errno == syscall.EINTR && slices.Contains(p.scene.plugins, struck.Program):
		err = fmt.Errorf("what was interrupted was not tried again: %w", err)
	case errors.As(err, &o):
		if err = o.clear(p.errno); err == nil && p.command == types.CommandAdd && !o.gaveUp() {
			// The plugins before have had no reason to undo anything.
			if err = st.delBefore(nil, o.position, c); err == nil {
				err = st.clean("the plugin's own undoing, " + o.Error())
			}
		}
	}
	if err == nil {
		err = st.del(nil, c)
	}
	if err == nil {
		err = st.clean("DEL")
	}
	if err == nil {
		err = st.again()
	}
	if err != nil {
		return fmt.Errorf("%v: %w", fault, err)
	}
	return nil
}

// complete is an error if a command succeeded and has not done everything.
func (st *stage) complete(p point, c *subject, fault *skeltest.Fault) error {
	if p.command != types.CommandAdd {
		return st.cleanBut(false, string(p.command)+", which succeeded")
	}
	if err := st.check(c); err != nil {
		return fmt.Errorf("CHECK after ADD, which succeeded: %w", err)
	}
	if st.fresh {
		return nil
	}
	now, err := st.state()
	if err != nil {
		return err
	}
	diff := skeltest.Diff(skeltest.Snapshot(st.shape), skeltest.Snapshot(shape(withoutHints(now))))
	struck, _ := fault.Struck()
	if setting, ok := strings.CutPrefix(struck.On, "/proc/sys/net/"); ok && p.errno == syscall.EPERM {
		// Where /proc/sys must not be written to, what works without goes on without.
		diff = strings.Replace(diff, "-guest: sysctl "+setting+"=1\n", "", 1)
	}
	if diff != "" {
		return fmt.Errorf("after ADD, which succeeded:\n%s", diff)
	}
	return nil
}

// clear is an error unless the ending is one error object that says what happened.
func (o *ending) clear(errno syscall.Errno) error {
	if o.killed || o.exit == 0 {
		return o
	}
	decoder := json.NewDecoder(strings.NewReader(o.stdout))
	var object struct {
		CNIVersion, Msg, Details string
		Code                     int
	}
	if err := decoder.Decode(&object); err != nil {
		return errors.Join(o, err)
	}
	text := strings.ToLower(object.Msg + " " + object.Details)
	switch {
	case decoder.More():
		return fmt.Errorf("more than one document: %w", o)
	case object.CNIVersion != "1.1.0" || object.Code == 0 || object.Msg == "":
		return fmt.Errorf("the error object is not whole: %w", o)
	case !slices.ContainsFunc([]string{errno.Error(), "permission denied"}, func(s string) bool { return strings.Contains(text, strings.ToLower(s)) }):
		return fmt.Errorf("the error object does not name the cause: %w", o)
	case strings.Contains(o.stderr, "goroutine ") || strings.Contains(text, "panic"):
		return fmt.Errorf("panic: %w", o)
	}
	return nil
}
