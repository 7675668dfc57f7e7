// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefixes(texts ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, text := range texts {
		ps = append(ps, netip.MustParsePrefix(text))
	}
	return ps
}

func TestParseConditions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		words string
		ipv6  bool
		want  []condition
	}{
		{words: ""},
		{words: "ip daddr 192.0.2.1", want: []condition{{field: "daddr", values: prefixes("192.0.2.1/32")}}},
		{words: "ip saddr != 192.0.2.7/24", want: []condition{{field: "saddr", values: prefixes("192.0.2.0/24"), negate: true}}},
		{words: "ip saddr!=192.0.2.0/24", want: []condition{{field: "saddr", values: prefixes("192.0.2.0/24"), negate: true}}},
		{words: "ip6 saddr { 2001:db8::/32, ::1 }", ipv6: true, want: []condition{{field: "saddr", values: prefixes("2001:db8::/32", "::1/128")}}},
		{words: `iifname "eth0" ip daddr == {10.0.0.1,10.0.0.2}`, want: []condition{
			{field: "iifname", names: []string{"eth0"}}, {field: "daddr", values: prefixes("10.0.0.1/32", "10.0.0.2/32")},
		}},
		{words: "meta iifname != eth*", want: []condition{{field: "iifname", names: []string{"eth*"}, negate: true}}},
	} {
		got, err := parseConditions(strings.Fields(tt.words), !tt.ipv6)
		if err != nil {
			t.Errorf("parseConditions(%q): %v", tt.words, err)
		}
		opts := []cmp.Option{cmp.AllowUnexported(condition{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
		if diff := cmp.Diff(tt.want, got, opts...); diff != "" {
			t.Errorf("parseConditions(%q) (-want +got):\n%s", tt.words, diff)
		}
	}
}

// TestParseConditions_invalid refuses what it does not understand rather than to guess:
// C-45, C-47.
func TestParseConditions_invalid(t *testing.T) {
	t.Parallel()
	for _, words := range []string{
		"-d 192.0.2.1", "! -d 192.0.2.1", "ip", "ip saddr", "ip saddr !=", "ip saddr { }", "ip saddr { 192.0.2.1",
		"ip6 saddr ::1", "ip saddr ::1", "ip saddr nowhere", "tcp dport 80", "iifname", "iifname averyveryverylongname",
		"ip daddr 192.0.2.1 drop", "ip daddr 192.0.2.1 } add table ip evil",
	} {
		if got, err := parseConditions(strings.Fields(words), true); err == nil {
			t.Errorf("parseConditions(%q) = %v, want error", words, got)
		}
	}
}

// TestAlternatives compares with what the conditions mean, for all packets of a small world.
func TestAlternatives(t *testing.T) {
	t.Parallel()
	cs := []condition{
		{field: "saddr", values: prefixes("10.0.0.1/32", "10.0.0.2/32")},
		{field: "daddr", values: prefixes("10.0.0.1/32", "10.0.0.3/32"), negate: true},
		{field: "iifname", names: []string{"a", "b"}},
	}
	holds := func(c condition, saddr, daddr netip.Addr, iif string) bool {
		in := false
		for _, v := range c.values {
			in = in || c.field == "saddr" && v.Contains(saddr) || c.field == "daddr" && v.Contains(daddr)
		}
		for _, n := range c.names {
			in = in || n == iif
		}
		return in != c.negate
	}
	all := func(cs []condition, saddr, daddr netip.Addr, iif string) bool {
		for _, c := range cs {
			if !holds(c, saddr, daddr, iif) {
				return false
			}
		}
		return true
	}
	for i := range 64 {
		saddr := netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i%4))
		daddr := netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i/4%4))
		iif := string(rune('a' + i/16))
		got := false
		for _, a := range alternatives(cs) {
			for _, c := range a {
				if len(c.values)+len(c.names) != 1 {
					t.Fatalf("alternative %v has a list", a)
				}
			}
			got = got || all(a, saddr, daddr, iif)
		}
		if want := all(cs, saddr, daddr, iif); got != want {
			t.Errorf("%s to %s at %s: %t, want %t", saddr, daddr, iif, got, want)
		}
	}
	if got := alternatives(nil); len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("alternatives(nil) = %v, want one that always holds", got)
	}
}

// FuzzParseConditions reads configurations: conditions or an error, never both, and
// nothing but addresses and names comes out.
func FuzzParseConditions(f *testing.F) {
	f.Add("ip saddr { 10.0.0.1, 10.0.0.0/8 } iifname != eth0")
	f.Add("ip daddr != 192.0.2.1\nadd table ip evil")
	f.Fuzz(func(t *testing.T, words string) {
		cs, err := parseConditions(strings.Split(words, " "), true)
		if err != nil && cs != nil {
			t.Errorf("conditions %v and error %v", cs, err)
		}
		for _, c := range cs {
			for _, n := range c.names {
				if len(n) >= 16 || strings.ContainsAny(n, " \n") {
					t.Errorf("name %q of an interface", n)
				}
			}
			if len(c.values)+len(c.names) == 0 {
				t.Errorf("condition %v without a value", c)
			}
		}
	})
}
