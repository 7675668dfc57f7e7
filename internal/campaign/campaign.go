// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"context"
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	length = flag.Duration("for", 0, "how long each campaign runs; 0 for its short version")
	seed   = flag.Uint64("seed", 1, "seed of the campaigns that draw lots")
)

// Begin returns a context that ends when a campaign has run for its time, which is
// short unless -for says otherwise, and its source of lots. It logs the seed.
func Begin(t testing.TB, short time.Duration) (context.Context, *rand.Rand) {
	t.Helper()
	d := short
	if Long() {
		d = *length
	}
	t.Logf("seed %d, for %v", *seed, d)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx, Lots(0)
}

// Lots returns a source of lots, the same one for each run with the seed. Sources of
// different numbers are independent; Begin returns that of 0.
func Lots(number uint64) *rand.Rand { return rand.New(rand.NewPCG(*seed, number)) }

// Long reports whether -for gives the campaigns a time.
func Long() bool { return *length > 0 }

// Seed returns the seed of this run.
func Seed() uint64 { return *seed }
