// SPDX-License-Identifier: Apache-2.0

package arch_test

import (
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// The rules for exported names see what they should.
func TestExportedRules(t *testing.T) {
	t.Parallel()
	const text = `package p

import (
	"net/netip"

	nl "example.com/netlink"
)

// Good is documented.
type Good struct {
	Addr   netip.Addr
	hidden nl.Link
}

type Bad struct{ Link nl.Link }

func (b *Bad) Method(l nl.Addr) { nl.Do() }

func (b *bad[T]) Method() {}

// Group.
const (
	A = 1
	B = 2
)

var C, d int

func private(l nl.Neigh) {}
`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := undocumented(f), []string{"Bad", "Method", "C"}; !slices.Equal(got, want) {
		t.Errorf("undocumented = %q, want %q", got, want)
	}
	if got, want := exportedReferences(f), []string{"net/netip", "example.com/netlink", "example.com/netlink"}; !slices.Equal(got, want) {
		t.Errorf("exportedReferences = %q, want %q", got, want)
	}
}
