// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/campaign"
)

// A run is repeated by its seed, and ends by itself.
func TestBegin(t *testing.T) {
	t.Parallel()
	ctx, lots := campaign.Begin(t, time.Minute)
	if got, want := lots.Uint64(), campaign.Lots(0).Uint64(); got != want {
		t.Errorf("the first lot = %d, want %d", got, want)
	}
	if got := campaign.Lots(1).Uint64(); got == campaign.Lots(0).Uint64() {
		t.Errorf("the first lot of another source = %d, want one of its own", got)
	}
	if _, ok := ctx.Deadline(); !ok {
		t.Error("the context has no deadline")
	}
}
