// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

func TestParseMAC(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "02:00:5E:10:00:aF": "02:00:5e:10:00:af", "02-00-5e-10-00-af": "02:00:5e:10:00:af",
	} {
		if m, err := types.ParseMAC(in); err != nil || m.String() != want || m.IsZero() != (want == "") {
			t.Errorf("ParseMAC(%q) = %q, %v, want %q", in, m, err, want)
		}
	}
	for _, in := range []string{"0", "02:00:5e:10:00:0", "02:00:5e:10:00:0g", "02:00:5e:10:00:0à", "0200.5e10.0001", "02:00:5e:10:00:01\n", " 2:00:5e:10:00:01",
		"02x00x5ex10x00x01", "00:00:00:00:00:00", strings.Repeat("02:", 1000)} {
		m, err := types.ParseMAC(in)
		if err == nil || !m.IsZero() {
			t.Errorf("ParseMAC(%q) = %q, %v, want an error and no address", in, m, err)
		}
	}
	// A value that was there stays when another is refused.
	m := types.MAC{2}
	if err := m.UnmarshalText([]byte("zz")); err == nil || m != (types.MAC{2}) {
		t.Errorf("UnmarshalText(zz) = %v, left %v, want an error and the value as it was", err, m)
	}
}

func TestParseGUID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "02:00:5E:10:00:01:00:aF": "02:00:5e:10:00:01:00:af", "02-00-5e-10-00-01-00-0a": "02:00:5e:10:00:01:00:0a",
	} {
		if g, err := types.ParseGUID(in); err != nil || g.String() != want || g.IsZero() != (want == "") {
			t.Errorf("ParseGUID(%q) = %q, %v, want %q", in, g, err, want)
		}
	}
	for _, in := range []string{"02:00:5e:10:00:01", "02:00:5e:10:00:01:00:0x", "00:00:00:00:00:00:00:00"} {
		g, err := types.ParseGUID(in)
		if err == nil || !g.IsZero() {
			t.Errorf("ParseGUID(%q) = %q, %v, want an error and no GUID", in, g, err)
		}
	}
	g := types.GUID{2}
	if err := g.UnmarshalText([]byte("zz")); err == nil || g != (types.GUID{2}) {
		t.Errorf("UnmarshalText(zz) = %v, left %v, want an error and the value as it was", err, g)
	}
}
