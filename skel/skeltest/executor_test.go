// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/cnikit/cnikit/skel/skeltest"
)

func TestBusy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		loadavg    string
		processors int
		want       float64
	}{
		{"0.10 0.33 0.78 1/133 2932\n", 2, 1},
		{"2.00 0.33 0.78 1/133 2932\n", 2, 1},
		{"7.00 0.33 0.78 1/133 2932\n", 2, 3.5},
		{"20.00 0.33 0.78 1/133 2932\n", 2, 6},
		{"20.00 0.33 0.78 1/133 2932\n", 64, 1},
		{"", 2, 1},
		{"much", 2, 1},
	} {
		if got := skeltest.Busy(tt.loadavg, tt.processors); got != tt.want {
			t.Errorf("Busy(%q, %d) = %v, want %v", tt.loadavg, tt.processors, got, tt.want)
		}
	}
}

// On a busy machine a plugin has several times its limit, and not for ever.
func TestExecutor_busy(t *testing.T) {
	t.Parallel()
	const limit = time.Millisecond
	rounds := 0
	problem := skeltest.RunPatiently(t.Context(), limit, func() float64 {
		rounds++
		return 3
	}, func(ctx context.Context) { <-ctx.Done() })
	if want := "ended by the kit: no end after 1ms"; problem != want || rounds != 3 {
		t.Errorf("a plugin that hangs on a busy machine: %q after %d times the limit, want %q after 3", problem, rounds, want)
	}
	over := make(chan struct{})
	once := sync.OnceFunc(func() { close(over) })
	problem = skeltest.RunPatiently(t.Context(), limit, func() float64 {
		once()
		return 1 << 20
	}, func(context.Context) { <-over })
	if problem != "" {
		t.Errorf("a plugin that ends in the second round: %q, want nothing", problem)
	}
}
