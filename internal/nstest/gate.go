// SPDX-License-Identifier: Apache-2.0

package nstest

import (
	"os"
	"testing"
)

// requireEnv is the variable that turns skips into failures.
const requireEnv = "REQUIRE_KERNEL_TESTS"

// Lacks skips the test because the kernel or the machine lacks feature; why is what
// it said, and may be nil. The skip is a failure under REQUIRE_KERNEL_TESTS=all only:
// with 1, tests must be able to run, but nobody can demand every feature of every kernel.
func Lacks(t testing.TB, feature string, why error) {
	t.Helper()
	if os.Getenv(requireEnv) == "all" {
		t.Fatalf("lacks %s: %v", feature, why)
	}
	t.Skipf("lacks %s: %v", feature, why)
}

// refuse ends the test because it may not have namespaces.
func refuse(t testing.TB, why error) {
	t.Helper()
	const advice = "run as root or under unshare -rn"
	if os.Getenv(requireEnv) != "" {
		t.Fatalf("%v; %s", why, advice)
	}
	t.Skipf("%v; %s", why, advice)
}
