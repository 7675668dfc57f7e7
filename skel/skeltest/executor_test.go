// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
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

// The end of the examination is no verdict about who runs then.
func TestExecutor_over(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	problem := skeltest.RunPatiently(ctx, time.Hour, func() float64 { return 1 }, func(ctx context.Context) {
		cancel()
		<-ctx.Done()
	})
	if want := "ended by the kit: the examination is over"; problem != want {
		t.Errorf("a plugin that runs at the end of the examination: %q, want %q", problem, want)
	}
}

// A rule whose check the end of the examination cut off is not broken by that.
func TestExamine_over(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	target := skeltest.InProcess("slow", skeltest.Profile{Kind: skeltest.KindChained, Versions: []types.Version{types.V110}}, func(ctx context.Context, env skel.Env) int {
		if env.Stdin == nil {
			return 1
		}
		if text, err := io.ReadAll(env.Stdin); err == nil && string(text) == "zzz" { // in the middle of the check
			cancel()
			<-ctx.Done()
		}
		return 1
	})
	report, err := skeltest.Examine(ctx, target, skeltest.ExamineOptions{Only: []string{ids("VER/005")}})
	if !errors.Is(err, context.Canceled) || len(report.Outcomes) != 1 || report.Outcomes[0].Status != skeltest.NotTestable {
		t.Errorf("an examination that was ended = %+v, %v, want that the rule was not tested", report.Outcomes, err)
	}
}
