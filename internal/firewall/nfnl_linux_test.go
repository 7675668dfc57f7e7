// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nstest"
)

// Who is kept from his work by others, or by lost answers, is told which it was when it is
// given up, and the runtime that it may try again; who has no time is told why, too.
func TestRetry_givenUp(t *testing.T) {
	t.Parallel()
	errStop := errors.New("the runtime has no more time")
	for _, tt := range []struct {
		name      string
		cause     error
		end       error // the context ends with it, if not nil
		wantCalls int
		want      []error
		wantText  string
	}{
		{"changed", errChanged, nil, retries, []error{os.ErrDeadlineExceeded, errChanged}, fmt.Sprintf("given up after %d attempts: ", retries)},
		{"lost", errLost, nil, retries, []error{os.ErrDeadlineExceeded, errLost, unix.ENOBUFS}, fmt.Sprintf("given up after %d attempts: ", retries)},
		{"the context has ended", errChanged, errStop, 5, []error{errStop, errChanged}, errStop.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if tt.end != nil {
					cancel(tt.end)
				}
				calls := 0
				err := retry(ctx, func() error {
					calls++
					return fmt.Errorf("list the things: %w", tt.cause)
				})
				if calls != tt.wantCalls {
					t.Errorf("%d calls, want %d", calls, tt.wantCalls)
				}
				for _, want := range tt.want {
					if !errors.Is(err, want) {
						t.Errorf("retry() = %v, want %v among its causes", err, want)
					}
				}
				if got := fmt.Sprint(err); !strings.HasPrefix(got, tt.wantText) || !strings.HasSuffix(got, ": list the things: "+tt.cause.Error()) {
					t.Errorf("retry() = %q, want %q first and the cause last", got, tt.wantText)
				}
			})
		})
	}
}

// What is no interruption ends the attempts at once, and so does success.
func TestRetry_ends(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answers []error
		pause   time.Duration
	}{
		"success":                {[]error{nil}, 0},
		"refusal":                {[]error{unix.EPERM}, 0},
		"success after changes":  {[]error{errChanged, errLost, nil}, 0},
		"refusal after changes":  {[]error{errChanged, errChanged, unix.EPERM}, 0},
		"success after a pause":  {[]error{errChanged, errChanged, errChanged, errChanged, errChanged, nil}, 400 * time.Microsecond},
		"after two pauses":       {[]error{errLost, errLost, errLost, errLost, errLost, errLost, nil}, 900 * time.Microsecond},
		"a joined change counts": {[]error{errors.Join(errChanged, unix.EEXIST), nil}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin, calls := time.Now(), 0
				err := retry(t.Context(), func() error {
					calls++
					return tt.answers[calls-1]
				})
				if want := tt.answers[len(tt.answers)-1]; err != want || calls != len(tt.answers) {
					t.Errorf("retry() = %v after %d calls, want %v after %d", err, calls, want, len(tt.answers))
				}
				if got := time.Since(begin); got != tt.pause { // of the bubble's clock
					t.Errorf("paused for %v, want %v", got, tt.pause)
				}
			})
		})
	}
}

// A transaction that is refused names the table of what was refused, wherever that stands, and
// nothing of it happens.
func TestConn_batch_refused(t *testing.T) {
	t.Parallel()
	there, missing := table{unix.NFPROTO_INET, "there"}, table{unix.NFPROTO_BRIDGE, "missing"}
	var c *conn
	nstest.New(t).Do(t, func() {
		var err error
		if c, err = dial(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	for _, requests := range [][]request{
		{missing.delTable(), there.newTable()},
		{there.newTable(), missing.delTable(), there.newTable()},
		{there.newTable(), missing.delTable()},
	} {
		err := c.batch(requests)
		if want := "change nftables table bridge missing: "; !errors.Is(err, unix.ENOENT) || !strings.HasPrefix(fmt.Sprint(err), want) {
			t.Errorf("batch() = %v, want %q and %v", err, want, unix.ENOENT)
		}
		if found, err := c.hasTable(there); found || err != nil {
			t.Errorf("hasTable() = %t, %v after a refusal, want false", found, err)
		}
	}
	if err := c.unchanged(1<<31, []request{there.newTable()}); !errors.Is(err, errChanged) || !strings.Contains(fmt.Sprint(err), "table inet there: ") {
		t.Errorf("unchanged() = %v with a generation that is not, want %v and the table", err, errChanged)
	}
}
