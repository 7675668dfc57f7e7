// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"strings"
	"testing"
)

// TestReferenceNames compares names with the byte-exact ones of compat part 3.
func TestReferenceNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ got, want string }{
		{referenceChain(Owner{"mynet", "c1", "eth0"}), "CNI-f0bca4ac77cde1bf2f3da5df"},
		{referenceChain(Owner{"pmnet", "c1", "eth0"}), "CNI-0e9965f3b290e853e37537d9"},
		{referencePortChains(Owner{"pmnet", "c1", "eth0"})[0].chain, "CNI-DN-0e9965f3b290e853e3753"},
		{referenceComment(Owner{"mynet", "c1", "eth0"}), "d23676b4f2d9fe04-f4d01f2ef4b92245"},
		{strings.Split(referenceComment(Owner{"mynet", "c1", "eth1"}), "-")[1], "ce22e8fef5c0a4f4"},
	} {
		if tt.got != tt.want {
			t.Errorf("name %q, want %q", tt.got, tt.want)
		}
	}
}
