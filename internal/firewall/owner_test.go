// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"strings"
	"testing"
)

func TestOwner_Mark(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 130)
	for name, tt := range map[string]struct {
		owner Owner
		want  string
	}{
		"short":             {Owner{"mynet", "c1", "eth0"}, "net=mynet id=c1 if=eth0"},
		"container ID":      {Owner{"mynet", strings.Repeat("f", 64), "eth0"}, "net=mynet id=" + strings.Repeat("f", 64) + " if=eth0"},
		"long container ID": {Owner{"mynet", long, "eth0"}, "net=mynet id=#" + hash(long) + " if=eth0"},
		"all is long":       {Owner{long, long, long}, "net=#" + hash(long) + " id=#" + hash(long) + " if=#" + hash(long)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tt.owner.Mark()
			if got != tt.want || len(got) > maxMark {
				t.Errorf("Mark() = %q, want %q", got, tt.want)
			}
			o, ok := ParseMark(got)
			if !ok || o.Mark() != got {
				t.Errorf("ParseMark(%q) = %v, %t, want an owner with that mark", got, o, ok)
			}
		})
	}
}

func TestOwner_Validate(t *testing.T) {
	t.Parallel()
	for _, o := range []Owner{
		{}, {"", "c", "i"}, {"n", "", "i"}, {"n", "c", ""}, {"n n", "c", "i"}, {"n", "c\n", "i"},
		{"n", "c", `i"`}, {"n=", "c", "i"}, {"n", `c\`, "i"}, {"n", "ü", "i"},
	} {
		if err := o.Validate(); err == nil {
			t.Errorf("Validate(%q) = nil, want error", o)
		}
	}
	if err := (Owner{"my.net_1-x", "c:1", "eth0@2"}).Validate(); err != nil {
		t.Errorf("Validate = %v, want nil", err)
	}
}

func TestParseMark_others(t *testing.T) {
	t.Parallel()
	for _, comment := range []string{"", "net=", "net=a id=b", "id=a net=b if=c", "net=a id=b if=", "my net=a id=b if=c"} {
		if o, ok := ParseMark(comment); ok {
			t.Errorf("ParseMark(%q) = %v, want none", comment, o)
		}
	}
}

// FuzzParseMark reads comments: an owner that is found writes the same comment.
func FuzzParseMark(f *testing.F) {
	f.Add("net=mynet id=c1 if=eth0")
	f.Add("net=a id=b if=c if=d")
	f.Fuzz(func(t *testing.T, comment string) {
		if o, ok := ParseMark(comment); ok && len(comment) <= maxMark && o.Mark() != comment {
			t.Errorf("ParseMark(%q) = %v, with the mark %q", comment, o, o.Mark())
		}
	})
}

// TestNetworkName makes names that nft can read, different ones for different networks.
func TestNetworkName(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, network := range []string{"mynet", "my.net_1-x", "-net", "_" + hash("x y"), "x y", "x  y", "", strings.Repeat("n", 128), strings.Repeat("n", 129), `a"b`, "ü"} {
		name := networkName(network)
		if other, ok := seen[name]; ok {
			t.Errorf("networkName(%q) = %q, as of %q", network, name, other)
		}
		seen[name] = network
		if name == "" || len(name) > maxName || strings.ContainsAny(name, " \"\\\n") {
			t.Errorf("networkName(%q) = %q, not a name for nft", network, name)
		}
	}
	if got := networkName("mynet"); got != "mynet" {
		t.Errorf(`networkName("mynet") = %q, want it as it is`, got)
	}
}
