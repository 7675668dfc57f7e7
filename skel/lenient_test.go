// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

// DEL-026, DEL-012: DEL and GC reach the handler with a configuration that ADD
// refuses, and log what they pass over. PROTO-048: the version is judged before it.
func TestPlugin_Run_LenientMembers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		bad, name string
		code      types.Code
	}{
		{`,"dns":5`, "dns", types.ErrDecodingFailure},
		{`,"ipam":[]`, "ipam", types.ErrDecodingFailure},
		{`,"runtimeConfig":"x"`, "runtimeConfig", types.ErrDecodingFailure},
		{`,"ipam":{"type":"a/b"}`, "ipam.type", types.ErrInvalidNetworkConfig},
	} {
		var r recorder
		bad, name := tt.bad, tt.name
		run(t, r.plugin(), request("1.1.0", bad), environ("ADD")).failure(t, tt.code, name)
		run(t, r.plugin(), request("99.0.0", bad), environ("ADD")).failure(t, types.ErrIncompatibleCNIVersion)
		if len(r.requests) != 0 {
			t.Fatalf("ADD with %s reached the handler", bad)
		}
		got := run(t, r.plugin(), request("1.1.0", bad), environ("DEL"))
		got.silent(t)
		if !strings.Contains(got.stderr, name) {
			t.Errorf("log of DEL with %s = %q, want %s in it", bad, got.stderr, name)
		}
		run(t, r.plugin(), request("1.1.0", bad, attachments), environ("GC")).silent(t)
		if len(r.requests) != 2 {
			t.Errorf("DEL and GC with %s reached the handler %d times, want 2", bad, len(r.requests))
		}
	}
}
