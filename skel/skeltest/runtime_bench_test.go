// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// What a runtime in a test costs: ADD in-process, and beside it the plugin alone.
func BenchmarkRuntime_Add(b *testing.B) {
	n, err := types.ParseNetwork([]byte(`{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"a"}]}`))
	if err != nil {
		b.Fatal(err)
	}
	plugin := adder("a", nil)
	b.Run("runtime", func(b *testing.B) {
		r := &skeltest.Runtime{Plugins: []skel.Runner{plugin}, Path: []string{"/nowhere"}}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Add(b.Context(), n, c1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plugin", func(b *testing.B) {
		stdin := []byte(`{"cniVersion":"1.1.0","name":"net","type":"a"}`)
		environ := []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/ns", "CNI_IFNAME=eth0", "CNI_PATH=/nowhere"}
		b.ReportAllocs()
		for b.Loop() {
			env := skel.Env{Environ: environ, Stdin: bytes.NewReader(stdin), Stdout: io.Discard, Stderr: io.Discard}
			if exit := plugin.Run(b.Context(), env); exit != 0 {
				b.Fatal(exit)
			}
		}
	})
}
