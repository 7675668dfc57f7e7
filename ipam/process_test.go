// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// hang waits for ever as a process that ignores SIGTERM, and as long as the
// context lasts inside the test.
func hang(ctx context.Context, stdout io.Writer) {
	if stdout == os.Stdout {
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	}
	<-ctx.Done()
}

// playProcess is for the tests that need several processes; see there.
func playProcess() (exit int, ok bool) { return 0, false }
