// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseTable(t *testing.T) {
	t.Parallel()
	table := parseTable(`-P PREROUTING ACCEPT
-N CNI-a
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-a
-A CNI-a -d 192.0.2.1/32 -p tcp -m comment --comment "dnat name: \"n\" id: \"c\"" -m multiport --dports 80,443 -j CNI-b
`)
	if !table.has("CNI-a") || !table.has("PREROUTING") || table.has("CNI-b") {
		t.Errorf("chains %v", table.chains)
	}
	if !table.leads("PREROUTING", "CNI-a") || table.leads("CNI-a", "PREROUTING") {
		t.Error("leads: wrong")
	}
	r := table.in("CNI-a")[0]
	for option, want := range map[string]string{"-d": "192.0.2.1/32", "--comment": `dnat name: "n" id: "c"`, "--dports": "80,443", "-s": ""} {
		if got := r.option(option); got != want {
			t.Errorf("option(%s) = %q, want %q", option, got, want)
		}
	}
	want := []string{"-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-a", "-F CNI-a", "-X CNI-a"}
	got := table.removal([]chainAndShared{{"CNI-a", "PREROUTING"}, {"CNI-a", "OUTPUT"}, {"CNI-z", "OUTPUT"}})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("removal (-want +got):\n%s", diff)
	}
}

// TestLine keeps words of a configuration from ending the line or the word: C-45.
func TestLine(t *testing.T) {
	t.Parallel()
	if got, err := line("-A", "X", "--comment", "two words", ""); err != nil || got != `-A X --comment "two words" ""` {
		t.Errorf("line = %q, %v", got, err)
	}
	for _, word := range []string{"a\nCOMMIT", "a\"b", `a\b`, "a'b", "a\x00b", "ü"} {
		if got, err := line(word); err == nil {
			t.Errorf("line(%q) = %q, want error", word, got)
		}
	}
}

// FuzzLine writes and reads back words.
func FuzzLine(f *testing.F) {
	f.Add("-j", "two words")
	f.Add("a\"", "\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		text, err := line(a, b)
		if err != nil {
			return
		}
		if got := splitWords(text); !slices.Equal(got, []string{a, b}) {
			t.Errorf("splitWords(%q) = %q, want %q", text, got, []string{a, b})
		}
	})
}
