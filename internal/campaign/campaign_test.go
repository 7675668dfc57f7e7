// SPDX-License-Identifier: Apache-2.0

package campaign_test

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

// begin returns a context that ends when a campaign has run for its time, which is
// short unless -for says otherwise, and its source of lots. It logs the seed.
func begin(t *testing.T, short time.Duration) (context.Context, *rand.Rand) {
	t.Helper()
	d := *length
	if d == 0 {
		d = short
	}
	t.Logf("seed %d, for %v", *seed, d)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx, rand.New(rand.NewPCG(*seed, 0))
}
