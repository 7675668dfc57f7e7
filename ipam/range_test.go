// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// pool reads "subnet [start-end] [gw gateway]" for each range, "," between them.
func pool(t testing.TB, text string) []types.IPRange {
	t.Helper()
	var all []types.IPRange
	for one := range strings.SplitSeq(text, ",") {
		var r types.IPRange
		words := strings.Fields(one)
		for i, word := range words {
			start, end, isRange := strings.Cut(word, "-")
			switch {
			case i == 0 && word != "none":
				r.Subnet = netip.MustParsePrefix(word)
			case isRange:
				r.RangeStart, r.RangeEnd = parseAddr(start), parseAddr(end)
			case i > 0 && words[i-1] == "gw":
				r.Gateway = netip.MustParseAddr(word)
			}
		}
		all = append(all, r)
	}
	return all
}

func parseAddr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

func sets(t testing.TB, texts ...string) []ipam.RangeSet {
	t.Helper()
	var pools [][]types.IPRange
	for _, text := range texts {
		pools = append(pools, pool(t, text))
	}
	all, err := ipam.NewRangeSets(pools)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestNewRange(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"10.1.2.0/24", "10.1.2.0/24 10.1.2.1-10.1.2.254 gw 10.1.2.1"},
		{"10.1.2.0/30", "10.1.2.0/30 10.1.2.1-10.1.2.2 gw 10.1.2.1"},
		{"2001:db8::/64", "2001:db8::/64 2001:db8::1-2001:db8::ffff:ffff:ffff:ffff gw 2001:db8::1"},
		{"2001:db8::/126", "2001:db8::/126 2001:db8::1-2001:db8::3 gw 2001:db8::1"},
		{"10.1.2.0/24 10.1.2.10-", "10.1.2.0/24 10.1.2.10-10.1.2.254 gw 10.1.2.1"},
		{"10.1.2.0/24 -10.1.2.10", "10.1.2.0/24 10.1.2.1-10.1.2.10 gw 10.1.2.1"},
		{"10.1.2.0/24 10.1.2.5-10.1.2.5", "10.1.2.0/24 10.1.2.5-10.1.2.5 gw 10.1.2.1"},
		{"10.1.2.0/24 10.1.2.0-10.1.2.255", "10.1.2.0/24 10.1.2.0-10.1.2.255 gw 10.1.2.1"},
		{"10.1.2.0/24 gw 192.168.0.1", "10.1.2.0/24 10.1.2.1-10.1.2.254 gw 192.168.0.1"},
		{"2001:db8::/64 gw 2001:db8::", "2001:db8::/64 2001:db8::1-2001:db8::ffff:ffff:ffff:ffff gw 2001:db8::"},
		{"10.0.0.0/8", "10.0.0.0/8 10.0.0.1-10.255.255.254 gw 10.0.0.1"},
		{"::ffff:10.1.2.0/120", "10.1.2.0/24 10.1.2.1-10.1.2.254 gw 10.1.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			r, err := ipam.NewRange(pool(t, tt.in)[0])
			got := fmt.Sprintf("%s %s gw %s", r.Subnet, r, r.Gateway)
			if err != nil || got != tt.want {
				t.Errorf("NewRange(%s) = %s, %v; want %s", tt.in, got, err, tt.want)
			}
		})
	}
}

// C-31, C-32: what cannot work is refused, with code 7.
func TestNewRange_invalid(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"none", "missing"},
		{"10.1.2.3/24", "host bits"},
		{"10.1.2.0/31", "too small"},
		{"10.1.2.0/32", "too small"},
		{"2001:db8::/127", "too small"},
		{"10.1.2.0/24 10.1.3.1-", "rangeStart 10.1.3.1 is not in"},
		{"10.1.2.0/24 -10.1.3.1", "rangeEnd 10.1.3.1 is not in"},
		{"10.1.2.0/24 10.1.2.9-10.1.2.8", "after"},
		{"10.1.2.0/24 2001:db8::1-", "rangeStart"},
		{"10.1.2.0/24 gw 2001:db8::1", "family"},
		{"10.1.2.0/24 gw 10.1.2.0", "network or broadcast"},
		{"10.1.2.0/24 gw 10.1.2.255", "network or broadcast"},
		{"10.1.2.0/24 gw 0.0.0.0", "cannot be a gateway"},
		{"10.1.2.0/24 gw 224.0.0.1", "cannot be a gateway"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			r, err := ipam.NewRange(pool(t, tt.in)[0])
			if !errors.Is(err, types.ErrInvalidNetworkConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewRange(%s) = %v, %v; want error 7 with %q", tt.in, r, err, tt.want)
			}
		})
	}
}

func TestNewRangeSets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		pools []string
		want  string // of the error
	}{
		{"none", nil, ""},
		{"one", []string{"10.1.2.0/24"}, ""},
		{"several in a set", []string{"10.1.2.0/24,10.1.3.0/24,10.1.5.0/24"}, ""},
		{"parts of one subnet", []string{"10.1.2.0/24 10.1.2.1-10.1.2.9,10.1.2.0/24 10.1.2.10-10.1.2.19"}, ""},
		{"both families, a set each", []string{"10.1.2.0/24", "2001:db8::/64"}, ""},
		{"both families in a set", []string{"10.1.2.0/24,2001:db8::/64"}, "both families"},
		{"overlap in a set", []string{"10.1.2.0/24,10.1.0.0/16"}, "overlap"},
		{"overlap between sets", []string{"10.1.2.0/24 -10.1.2.9", "10.1.2.0/24 10.1.2.9-"}, "overlap: 10.1.2.1-10.1.2.9 and 10.1.2.9-10.1.2.254"},
		{"the same twice", []string{"2001:db8::/64", "2001:db8::/64"}, "overlap"},
		{"one inside the other", []string{"10.1.0.0/16", "10.1.2.0/24"}, "overlap"},
		{"a bad range", []string{"10.1.2.0/24", "10.1.3.1/24"}, "host bits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var pools [][]types.IPRange
			for _, p := range tt.pools {
				pools = append(pools, pool(t, p))
			}
			got, err := ipam.NewRangeSets(pools)
			if tt.want == "" {
				if err != nil || len(got) != len(pools) {
					t.Errorf("NewRangeSets() = %v, %v; want %d sets", got, err, len(pools))
				}
				return
			}
			if !errors.Is(err, types.ErrInvalidNetworkConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewRangeSets() = %v, %v; want error 7 with %q", got, err, tt.want)
			}
		})
	}
	if _, err := ipam.NewRangeSets([][]types.IPRange{{}}); !errors.Is(err, types.ErrInvalidNetworkConfig) {
		t.Errorf("NewRangeSets(empty set) = %v, want error 7", err)
	}
}

// The order in which existing nodes hand addresses out, and C-31: neither gateway
// nor network nor broadcast address is among them.
func TestRangeSet_After(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, set, previous, want string }{
		{"from the start", "10.0.0.0/29", "", ".2 .3 .4 .5 .6"},
		{"after the cursor", "10.0.0.0/29", "10.0.0.4", ".5 .6 .2 .3 .4"},
		{"after the last", "10.0.0.0/29", "10.0.0.6", ".2 .3 .4 .5 .6"},
		{"after the gateway", "10.0.0.0/29", "10.0.0.1", ".2 .3 .4 .5 .6"},
		{"a cursor outside", "10.0.0.0/29", "10.0.1.4", ".2 .3 .4 .5 .6"},
		{"a cursor of the other family", "10.0.0.0/29", "::a00:4", ".2 .3 .4 .5 .6"},
		{"network and broadcast named", "10.0.0.0/29 10.0.0.0-10.0.0.7", "10.0.0.5", ".6 .2 .3 .4 .5"},
		{"a gateway in the middle", "10.0.0.0/29 gw 10.0.0.3", "", ".1 .2 .4 .5 .6"},
		{"two ranges", "10.0.0.0/30,10.0.0.8/30", "", ".2 .10"},
		{"two ranges, from the second", "10.0.0.0/29 -10.0.0.3,10.0.0.8/29 10.0.0.12-10.0.0.13", "10.0.0.12", ".13 .2 .3 .12"},
		{"a gateway of another range", "10.0.0.0/29 -10.0.0.3,10.0.0.8/29 10.0.0.9-10.0.0.11 gw 10.0.0.2", "", ".2 .3 .9 .10 .11"},
		{"one address", "10.0.0.0/29 10.0.0.5-10.0.0.5", "10.0.0.5", ".5"},
		{"nothing but the gateway", "10.0.0.0/29 10.0.0.1-10.0.0.1", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for addr, r := range sets(t, tt.set)[0].After(parseAddr(tt.previous)) {
				if !r.Contains(addr) {
					t.Errorf("%s came with range %s", addr, r)
				}
				got = append(got, strings.TrimPrefix(addr.String(), "10.0.0"))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("After(%s) mismatch (-want +got):\n%s", tt.previous, diff)
			}
		})
	}
	for range (ipam.RangeSet{}).After(netip.Addr{}) {
		t.Error("the empty set has an address")
	}
}

// FuzzNewRangeSets checks that no configuration panics, and that what is accepted
// hands out only addresses of its subnets.
func FuzzNewRangeSets(f *testing.F) {
	f.Add(`[[{"subnet":"10.1.2.0/24","rangeStart":"10.1.2.3","rangeEnd":"10.1.2.9","gateway":"10.1.2.1"}]]`)
	f.Add(`[[{"subnet":"10.1.2.0/30"},{"subnet":"10.1.3.0/24"}],[{"subnet":"2001:db8::/64"}]]`)
	f.Add(`[[{"subnet":"::ffff:10.0.0.0/104","gateway":"::ffff:10.0.0.9"}],[],[null],null]`)
	f.Add(`[[{"subnet":"0.0.0.0/0"}],[{"subnet":"::/0"}]]`)
	f.Fuzz(func(t *testing.T, text string) {
		var pools [][]types.IPRange
		if json.Unmarshal([]byte(text), &pools) != nil {
			return
		}
		sets, err := ipam.NewRangeSets(pools)
		if (err == nil) != (len(sets) == len(pools)) {
			t.Fatalf("NewRangeSets() = %d sets, %v", len(sets), err)
		}
		for _, set := range sets {
			n := 0
			for addr, r := range set.After(netip.Addr{}) {
				if !r.Subnet.Contains(addr) || addr == r.Gateway {
					t.Fatalf("%s is not an address of %s", addr, r)
				}
				if n++; n == 1000 {
					break
				}
			}
		}
	})
}
