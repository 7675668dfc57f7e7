// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// An ADD that is killed between two tables leaves nothing that GC cannot find, and maps no
// port without the guard.
func TestIptPorts_guard(t *testing.T) {
	t.Parallel()
	chain := portsChain("net")
	v4 := family{}
	for _, f := range families() {
		if f.proto == unix.NFPROTO_IPV4 {
			v4 = f
		}
	}
	raw := section{"raw", []string{"-A " + guardSpec("net")}}
	tests := []struct {
		name, table string
		want        []section
	}{
		{"a fresh host", "-P PREROUTING ACCEPT\n", []section{{"nat", []string{":" + chain + " - [0:0]"}}, raw}},
		{"a chain without an entry", "-P PREROUTING ACCEPT\n-N " + chain + "\n", []section{{"nat", nil}, raw}},
		{"a network that is there", "-P PREROUTING ACCEPT\n-N " + chain + "\n-A PREROUTING -j " + chain + "\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i := iptPorts{family: v4, owner: Owner{Network: "net"}, PortMap: PortMap{SNAT: true}}
			got := i.guard(parseTable(tt.table))
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(section{})); diff != "" {
				t.Errorf("guard mismatch (-want +got):\n%s", diff)
			}
		})
	}
}
