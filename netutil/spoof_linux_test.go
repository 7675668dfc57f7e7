// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
)

func TestSpoofFilter(t *testing.T) {
	t.Parallel()
	f := openIn(t, nstest.New(t), netutil.OpenSpoofFilter)
	o, mac := inNetwork("n", "a"), net.HardwareAddr{2, 0, 0, 0, 0, 1}
	if err := errors.Join(f.Ensure(t.Context(), o, 7, mac), f.Check(t.Context(), o, 7, mac)); err != nil {
		t.Fatal(err)
	}
	got, err := f.List(t.Context(), "n")
	want := []netutil.FilteredPort{{Owner: o, Port: 7, MAC: mac}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("List(), %v (-want +got):\n%s", err, diff)
	}
	if err := f.Collect(t.Context(), "n", nil); err == nil {
		t.Error("Collect without a list = nil, want error: absent is not empty")
	}
	if err := errors.Join(f.Collect(t.Context(), "n", []netutil.Owner{o}), f.Check(t.Context(), o, 7, mac)); err != nil {
		t.Error(err)
	}
	if err := errors.Join(f.Del(t.Context(), o), f.Del(t.Context(), o)); err != nil {
		t.Error(err)
	}
	if err := f.Check(t.Context(), o, 7, mac); err == nil {
		t.Error("Check after Del = nil, want error")
	}
	if f, err := netutil.OpenSpoofFilter(t.Context(), netutil.FirewallConfig{Backend: "pf"}); err == nil {
		t.Errorf("OpenSpoofFilter(pf) = %v, want error", f)
	}
}
