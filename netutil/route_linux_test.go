// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// routeWords puts what "ip -j route" says into the words that it takes.
func routeWords(r map[string]any) string {
	s := fmt.Sprint(r["dst"])
	if gw, ok := r["gateway"]; ok {
		s += fmt.Sprint(" via ", gw)
	}
	if scope := r["scope"]; scope == "link" || scope == "host" {
		s += fmt.Sprint(" scope ", scope)
	}
	if src, ok := r["prefsrc"]; ok {
		s += fmt.Sprint(" src ", src)
	}
	if metric, ok := r["metric"]; ok && metric != 1024.0 {
		s += fmt.Sprint(" metric ", metric)
	}
	if metrics, ok := r["metrics"].([]any); ok {
		for _, m := range metrics {
			for _, name := range []string{"mtu", "advmss"} {
				if v, ok := m.(map[string]any)[name]; ok {
					s += fmt.Sprintf(" %s %v", name, v)
				}
			}
		}
	}
	for _, f := range r["flags"].([]any) {
		if f == "onlink" {
			s += " onlink"
		}
	}
	return s
}

// C-2: a route that another holds is a conflict, not a success.
func TestConn_EnsureRoute(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, other := newSpace(t), newSpace(t)
	var index [2]int
	for i := range index {
		v := host.veth(t, other, netutil.VethConfig{
			Name: fmt.Sprintf("host%d", i), Up: true, Peer: netutil.VethPeer{Name: fmt.Sprintf("eth%d", i)},
		})
		index[i] = v.Host.Index
	}
	for _, dst := range []string{"10.0.0.2/32", "fd00::2/128"} {
		// As ptp has it: IPv4 with the scope of the host.
		r := netutil.Route{Dst: prefix(dst), Index: index[0], Scope: types.Some[uint8](254)}
		for i, want := range []bool{true, false} {
			if created, err := host.EnsureRoute(ctx, r); err != nil || created != want {
				t.Errorf("EnsureRoute(%s), time %d = %v, %v, want %v", dst, i+1, created, err, want)
			}
		}
		r.Index = index[1]
		_, err := host.EnsureRoute(ctx, r)
		want := []netutil.Difference{{What: "link", Have: "host0", Want: "host1"}}
		if diff := cmp.Diff(want, asMismatch(t, err)); diff != "" {
			t.Errorf("EnsureRoute(%s) on another link (-want +got):\n%s", dst, diff)
		}
		if words := "route " + dst + " dev host1: "; !strings.HasPrefix(err.Error(), words) {
			t.Errorf("EnsureRoute(%s) on another link = %q, want it to begin with %q", dst, err, words)
		}
		if err := host.SetRoute(ctx, r); err != nil {
			t.Errorf("SetRoute(%s) = %v", dst, err)
		}
		if created, err := host.EnsureRoute(ctx, r); err != nil || created {
			t.Errorf("EnsureRoute(%s) after SetRoute = %v, %v, want the same", dst, created, err)
		}
		for range 2 {
			if err := host.DelRoute(ctx, r); err != nil {
				t.Errorf("DelRoute(%s) = %v", dst, err)
			}
		}
	}
	if got := host.routes(t, "main"); len(got) != 0 {
		t.Errorf("routes afterwards = %v, want none", got)
	}
}

// The routes of ptp inside of the container, where even an address alone works.
func TestConn_EnsureRoute_Source(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, box, v := pair(t)
	if err := box.Apply(ctx, v.Peer, []types.IP{{Address: prefix("10.1.2.2/32")}}, nil, netutil.ApplyConfig{}); err != nil {
		t.Fatal(err)
	}
	src := ip("10.1.2.2")
	routes := []netutil.Route{
		{Dst: prefix("10.1.2.1/32"), Index: v.Peer.Index, Source: src},
		{Dst: prefix("10.1.2.0/24"), Gateway: ip("10.1.2.1"), Index: v.Peer.Index, Source: src},
	}
	for _, r := range routes {
		if _, err := box.EnsureRoute(ctx, r); err != nil {
			t.Error(err)
		}
	}
	want := []string{"10.1.2.0/24 via 10.1.2.1 src 10.1.2.2", "10.1.2.1 scope link src 10.1.2.2"}
	if diff := cmp.Diff(want, box.routes(t, "main"), sortStrings); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	list, err := box.ListRoutes(ctx, netutil.RouteFilter{Index: v.Peer.Index, Table: netutil.MainTable})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range list {
		if r.Source == src && r.Index == v.Peer.Index {
			n++
		}
	}
	if n != len(routes) {
		t.Errorf("ListRoutes = %v, want %d with source %v", list, len(routes), src)
	}
}

func TestConn_MTUTo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box := newSpace(t), newSpace(t)
	v := host.veth(t, box, netutil.VethConfig{MTU: 1450, Up: true})
	ips := []types.IP{{Address: prefix("10.0.0.2/24")}}
	routes := []types.Route{{Dst: prefix("10.1.0.0/16"), GW: ip("10.0.0.1"), MTU: 1300}, {Dst: prefix("10.2.0.0/16"), GW: ip("10.0.0.1")}}
	if err := box.Apply(ctx, v.Peer, ips, routes, netutil.ApplyConfig{}); err != nil {
		t.Fatal(err)
	}
	for dst, want := range map[string]int{"10.1.0.1": 1300, "10.2.0.1": 1450, "10.0.0.9": 1450} {
		if got, err := box.MTUTo(ctx, ip(dst)); err != nil || got != want {
			t.Errorf("MTUTo(%s) = %d, %v, want %d", dst, got, err, want)
		}
	}
	if got, err := box.MTUTo(ctx, ip("192.0.2.1")); err == nil {
		t.Errorf("MTUTo nowhere = %d, want an error", got)
	}
	r, err := box.RouteTo(ctx, ip("10.2.0.1"))
	if err != nil || r.Gateway != ip("10.0.0.1") || r.Index != v.Peer.Index {
		t.Errorf("RouteTo = %+v, %v, want by way of 10.0.0.1", r, err)
	}
}

func TestRoute_String(t *testing.T) {
	t.Parallel()
	r := netutil.Route{Dst: prefix("10.0.0.0/8"), Gateway: ip("10.0.0.1"), Index: 3, Source: ip("10.0.0.2"), Table: 100, Priority: 7}
	if got, want := r.String(), "route 10.0.0.0/8 via 10.0.0.1 dev if3 src 10.0.0.2 table 100 metric 7"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestConn_EnsureRule(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSpace(t)
	rules := []netutil.Rule{
		{Priority: 100, Src: prefix("10.0.0.2/32"), Table: 1000},
		{Priority: 100, Src: prefix("fd00::2/128"), Table: 1000, IPv6: true},
		{Priority: 200, In: "lo", Mark: 1, Mask: 0xff, Invert: true, Table: 1000},
	}
	for _, r := range rules {
		for i, want := range []bool{true, false} {
			if created, err := s.EnsureRule(ctx, r); err != nil || created != want {
				t.Errorf("EnsureRule(%v), time %d = %v, %v, want %v", r, i+1, created, err, want)
			}
		}
	}
	got, err := s.ListRules(ctx, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]netutil.Rule{rules[0], rules[2], rules[1]}, got, netipEqual); diff != "" {
		t.Errorf("ListRules (-want +got):\n%s", diff)
	}
	for _, r := range rules {
		for range 2 {
			if err := s.DelRule(ctx, r); err != nil {
				t.Errorf("DelRule(%v) = %v", r, err)
			}
		}
	}
	if got, err := s.ListRules(ctx, 1000); err != nil || len(got) != 0 {
		t.Errorf("rules afterwards = %v, %v, want none", got, err)
	}
}

func TestConn_SetNeigh(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, box, v := pair(t)
	if err := box.SetUp(ctx, v.Peer.Index); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"10.0.0.9", "fd00::9"} {
		for _, mac := range []byte{1, 2} {
			if err := box.SetNeigh(ctx, v.Peer.Index, ip(a), []byte{2, 0, 0, 0, 0, mac}); err != nil {
				t.Errorf("SetNeigh(%s) = %v", a, err)
			}
		}
	}
	got, err := box.ListNeighs(ctx, v.Peer.Index)
	want := []netutil.Neigh{
		{IP: ip("10.0.0.9"), MAC: []byte{2, 0, 0, 0, 0, 2}, Permanent: true},
		{IP: ip("fd00::9"), MAC: []byte{2, 0, 0, 0, 0, 2}, Permanent: true},
	}
	if diff := cmp.Diff(want, got, netipEqual); err != nil || diff != "" {
		t.Errorf("ListNeighs: %v (-want +got):\n%s", err, diff)
	}
	for range 2 {
		if err := box.DelNeigh(ctx, v.Peer.Index, ip("10.0.0.9")); err != nil {
			t.Errorf("DelNeigh = %v", err)
		}
	}
	if got, err := box.ListNeighs(ctx, v.Peer.Index); err != nil || len(got) != 1 {
		t.Errorf("neighbours afterwards = %v, %v, want one", got, err)
	}
}

// ADD-020, ADD-015, ADD-008: a second link may have a route where the first one has:
// the newer counts for IPv4, IPv6 uses both, and each goes with its own link.
func TestConn_Apply_RoutesOfSeveralLinks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	host, box := newSpace(t), newSpace(t)
	routes := []types.Route{{Dst: prefix("0.0.0.0/0")}, {Dst: prefix("::/0")}, {Dst: prefix("10.9.0.0/16")}}
	var ips [2][]types.IP
	for i := range ips {
		v := host.veth(t, box, netutil.VethConfig{Name: fmt.Sprintf("host%d", i), Up: true, Peer: netutil.VethPeer{Name: fmt.Sprintf("eth%d", i)}})
		ips[i] = []types.IP{
			{Address: prefix(fmt.Sprintf("10.0.%d.2/24", i)), Gateway: ip(fmt.Sprintf("10.0.%d.1", i))},
			{Address: prefix(fmt.Sprintf("fd00:%d::2/64", i)), Gateway: ip(fmt.Sprintf("fd00:%d::1", i))},
		}
		for range 2 { // a second time changes nothing
			if err := box.Apply(ctx, v.Peer, ips[i], routes, netutil.ApplyConfig{}); err != nil {
				t.Fatalf("Apply to eth%d = %v", i, err)
			}
		}
	}
	for i := range ips {
		if err := box.Compare(ctx, fmt.Sprintf("eth%d", i), ips[i], routes); err != nil {
			t.Errorf("Compare of eth%d = %v", i, err)
		}
	}
	if r, err := box.RouteTo(ctx, ip("192.0.2.1")); err != nil || r.Gateway != ip("10.0.1.1") {
		t.Errorf("RouteTo = %v, %v, want the route that was added last, via 10.0.1.1", r, err)
	}
	wantVia := func(when string, want ...string) {
		t.Helper()
		list, err := box.ListRoutes(ctx, netutil.RouteFilter{Table: netutil.MainTable})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range list {
			if r.Gateway.IsValid() {
				got = append(got, fmt.Sprint(r.Dst, " via ", r.Gateway))
			}
		}
		if diff := cmp.Diff(want, got, sortStrings); diff != "" {
			t.Errorf("routes %s (-want +got):\n%s", when, diff)
		}
	}
	second := []string{"0.0.0.0/0 via 10.0.1.1", "10.9.0.0/16 via 10.0.1.1", "::/0 via fd00:1::1"}
	wantVia("of both", append([]string{"0.0.0.0/0 via 10.0.0.1", "10.9.0.0/16 via 10.0.0.1", "::/0 via fd00::1"}, second...)...)
	if err := box.DelLink(ctx, "eth0", "veth"); err != nil {
		t.Fatal(err)
	}
	wantVia("once the first link is gone", second...)
}
