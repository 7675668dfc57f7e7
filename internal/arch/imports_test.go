// SPDX-License-Identifier: Apache-2.0

package arch_test

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// A law says what the packages of a directory may import beyond the standard library:
// packages of this module, by their directory, and those of other modules, by the
// beginning of their path.
type law struct {
	ours, others []string
}

// laws are those of each directory. A pattern stands for the directories that
// path.Match finds; the first one counts.
//
// Types is the wire format, which everybody needs and which must cost nothing. Skel
// has no business with the kernel: a plugin that only edits a result links no
// netlink. Ipam takes a types.Call and not a type of skel, since delegation is
// protocol and not dispatch. Rtnl and firewall are single doors, because things such
// as repeating an interrupted dump must not be remembered at each call.
var laws = []struct {
	dir string
	law law
}{
	{".", law{}},
	{"types", law{}},
	{"ns", law{ours: []string{"internal/nsfs"}, others: []string{"github.com/vishvananda/netns", "golang.org/x/sys"}}},
	{"ipam", law{ours: []string{"types"}}},
	{"ipam/storetest", law{ours: []string{"ipam", "types"}}},
	{"skel", law{ours: []string{"types", "internal/nsfs", "internal/early"}}},
	{"skel/skeltest", law{ours: []string{"types", "skel", "ipam", "ns", "netutil", "internal/*"}, others: []string{"golang.org/x/sys"}}}, // ptrace
	{"skel/skeltest/*", law{ours: []string{"types", "skel", "skel/skeltest", "ipam", "ns", "netutil", "internal/*"}}},
	{"netutil", law{ours: []string{"ns", "types", "internal/rtnl", "internal/firewall"}}},
	{"internal/nsfs", law{}},
	{"internal/early", law{}},
	{"internal/nstest", law{}},
	{"internal/arch", law{}},
	{"internal/golden", law{}},
	{"internal/bench", law{ours: []string{"types", "skel", "skel/skeltest", "ipam", "ns", "netutil", "internal/*", "examples/*/*"}}},
	{"internal/plugintest", law{ours: []string{"types", "skel", "skel/skeltest", "ipam", "ns", "netutil", "internal/*", "examples/*/*"}, others: []string{"github.com/google/go-cmp"}}},
	{"internal/campaign", law{ours: []string{"types", "skel", "skel/skeltest", "ipam", "ipam/storetest", "ns", "netutil", "internal/*", "examples/*/*"}}},
	{"internal/rtnl", law{ours: []string{"internal/nsfs"}, others: []string{"github.com/vishvananda/netlink", "github.com/vishvananda/netns", "golang.org/x/sys"}}},
	{"internal/firewall", law{ours: []string{"internal/nsfs"}, others: []string{"github.com/coreos/go-iptables", "github.com/google/nftables", "golang.org/x/sys"}}},
	// An example uses the public API alone, as its readers will. It may be split into a
	// main and a package that the main of many plugins imports too.
	{"examples/quickstart", law{ours: []string{"types", "skel", "skel/skeltest", "ipam", "ns", "netutil", "examples/*/*"}}}, // plays the runtime
	{"examples/*", law{ours: []string{"types", "skel", "ipam", "ns", "netutil", "examples/*/*"}}},
	{"examples/*/*", law{ours: []string{"types", "skel", "ipam", "ns", "netutil"}}},
}

// forTests is what every test may import besides: tests may look upwards. A package
// behind a door stays behind it, though.
var forTests = law{
	ours:   []string{".", "*", "*/*", "*/*/*"},
	others: []string{"github.com/google/go-cmp", "golang.org/x/sys"},
}

func lawOf(dir string) (law, bool) {
	for _, l := range laws {
		if ok, err := path.Match(l.dir, dir); ok && err == nil {
			return l.law, true
		}
	}
	return law{}, false
}

// allows reports whether the law allows an import of something that is not in the
// standard library.
func (l law) allows(imported string) bool {
	dir, ours := strings.CutPrefix(imported, module)
	if ours {
		dir = path.Clean(strings.TrimPrefix(dir, "/"))
		return slices.ContainsFunc(l.ours, func(pattern string) bool {
			ok, err := path.Match(pattern, dir)
			return ok && err == nil
		})
	}
	return slices.ContainsFunc(l.others, func(begin string) bool {
		return imported == begin || strings.HasPrefix(imported, begin+"/")
	})
}

// isStandard reports whether a package is in the standard library: no first element
// there has a dot.
func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, false) {
		l, ok := lawOf(s.dir())
		if !ok {
			t.Errorf("%s: no law says what directory %s may import; add a row to laws", s.path, s.dir())
			continue
		}
		for _, imported := range s.imports(t) {
			switch {
			case imported == "C":
				t.Errorf("%s imports C: plugins are static; write it in Go", s.path)
			case isStandard(imported), l.allows(imported), s.isTest() && forTests.allows(imported):
			default:
				t.Errorf("%s imports %s: the law for %s does not allow it; move the code to where it may live, or argue about laws in %s", s.path, imported, s.dir(), "internal/arch/imports_test.go")
			}
		}
	}
}

func TestLaw(t *testing.T) {
	t.Parallel()
	tests := []struct {
		dir, imported string
		want          bool
	}{
		{"types", module + "/ns", false},
		{"skel", module + "/types", true},
		{"skel", "golang.org/x/sys/unix", false},
		{"netutil", "github.com/vishvananda/netlink", false},
		{"internal/rtnl", "github.com/vishvananda/netlink/nl", true},
		{"internal/rtnl", "github.com/vishvananda/netlinker", false},
		{"internal/firewall", "github.com/vishvananda/netlink", false},
		{"examples/bridge", module + "/internal/rtnl", false},
		{"examples/bridge", module + "/examples/bridge/bridge", true},
		{"ns", module, false},
	}
	for _, tt := range tests {
		l, ok := lawOf(tt.dir)
		if got := ok && l.allows(tt.imported); got != tt.want {
			t.Errorf("%s may import %s = %v, want %v", tt.dir, tt.imported, got, tt.want)
		}
	}
}
