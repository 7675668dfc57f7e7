// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/netutil"
)

// Names are part of what nodes have on disk and in the kernel: they never change.
func TestOwner_Golden(t *testing.T) {
	t.Parallel()
	o := netutil.Owner{Network: "mynet", ContainerID: "c1", IfName: "eth0"}
	if got, want := o.HostName(), "vethanjkbtuj7ob"; got != want {
		t.Errorf("HostName() = %q, want %q", got, want)
	}
	if got, want := o.Alias(), "cnikit:mynet/c1/eth0"; got != want {
		t.Errorf("Alias() = %q, want %q", got, want)
	}
}

// C-54: what belongs to which part matters.
func TestOwner_Distinct(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 250)
	owners := []netutil.Owner{
		{"ab", "c", "eth0"}, {"a", "bc", "eth0"}, {"a", "b", "ceth0"}, {"", "abc", "eth0"},
		{"a", "c1", "eth0"}, {"a", "c1", "eth1"}, {"a", "c2", "eth0"}, {"b", "c1", "eth0"},
		{long, "c1", "eth0"}, {long + "y", "c1", "eth0"}, {"a", long, "eth0"}, {"a", long + "y", "eth0"},
	}
	names, aliases := make(map[string]netutil.Owner), make(map[string]netutil.Owner)
	for _, o := range owners {
		if other, ok := names[o.HostName()]; ok {
			t.Errorf("HostName of %v = %q, also that of %v", o, o.HostName(), other)
		}
		if other, ok := aliases[o.Alias()]; ok {
			t.Errorf("Alias of %v = %q, also that of %v", o, o.Alias(), other)
		}
		names[o.HostName()], aliases[o.Alias()] = o, o
	}
}

// What GC can tell of a link without an alias is its network.
func TestOwner_HostName_network(t *testing.T) {
	t.Parallel()
	a, b := netutil.Owner{"a", "c1", "eth0"}.HostName(), netutil.Owner{"a", "c2", "eth1"}.HostName()
	other := netutil.Owner{"b", "c1", "eth0"}.HostName()
	if a[:7] != b[:7] || a[:7] == other[:7] {
		t.Errorf("names of two owners in a network and one in another = %q, %q, %q, want the first seven letters to tell", a, b, other)
	}
}

// The kernel takes names of 15 bytes and aliases of 255. Nodes know links of containers by
// "veth"; nothing else on a node makes names like ours, and the vethXXXXXXXX of the
// reference plugins are shorter.
func TestOwner_Form(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^veth[a-z2-7]{11}$`)
	for n := range 300 {
		o := netutil.Owner{Network: strings.Repeat("n", n), ContainerID: strings.Repeat("c", 300-n), IfName: "eth0"}
		if name := o.HostName(); !form.MatchString(name) {
			t.Errorf("HostName() = %q, want it to match %v", name, form)
		}
		if alias := o.Alias(); len(alias) > 255 || !strings.HasPrefix(alias, "cnikit:") || strings.Count(alias, "/") != 2 {
			t.Errorf("Alias() = %q of %d bytes, want at most 255 and two slashes", alias, len(alias))
		}
	}
}

func TestMismatchError(t *testing.T) {
	t.Parallel()
	err := &netutil.MismatchError{Object: "bridge cni0", Differences: []netutil.Difference{
		{What: "mtu", Have: "1500", Want: "9000"},
		{What: "address", Want: "10.0.0.1/24"},
		{What: "address", Have: "10.0.0.2/24"},
		{What: "another route"},
	}}
	want := "bridge cni0: mtu is 1500, want 9000; address 10.0.0.1/24 is missing; address 10.0.0.2/24 is in the way; another route"
	if got := err.Error(); got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func BenchmarkOwner_HostName(b *testing.B) {
	o := netutil.Owner{Network: "mynet", ContainerID: strings.Repeat("c", 64), IfName: "eth0"}
	for b.Loop() {
		o.HostName()
	}
}
