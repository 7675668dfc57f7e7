// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/skel/skeltest"
)

func TestExecution_WriteText(t *testing.T) {
	t.Parallel()
	e := skeltest.Execution{
		Plugin: "bridge", Command: "ADD", Environ: []string{"HOME=/", "CNI_COMMAND=ADD"}, Stdin: []byte(`{"a":1}`),
		Stdout: []byte("no \x1b[31mJSON\n"), Duration: 12345 * time.Microsecond,
	}
	failed := e
	failed.Exit = 3
	tests := []struct {
		name    string
		e       skeltest.Execution
		options skeltest.TextOptions
		want    string
	}{
		{"a line", e, skeltest.TextOptions{}, "ADD     bridge           12.3 ms  ok\n"},
		{"a failure in colour", failed, skeltest.TextOptions{Color: true}, "ADD     bridge           12.3 ms  \x1b[31;1mexit status 3\x1b[0m\n"},
		{"everything", e, skeltest.TextOptions{Verbose: true}, `ADD     bridge           12.3 ms  ok
        CNI_COMMAND=ADD
        stdin   {
                  "a": 1
                }
        stdout  no �[31mJSON
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			if err := tt.e.WriteText(&b, tt.options); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("WriteText(%+v) (-want +got):\n%s", tt.options, diff)
			}
		})
	}
}
