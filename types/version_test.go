// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/types"
)

// VER-011, AMB-011
func TestParseVersion(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.0.1", "1.10.0", "99.0.0", "1048575.1048575.1048575"} {
		v, err := types.ParseVersion(s)
		if err != nil || v.String() != s {
			t.Errorf("ParseVersion(%q) = %q, %v, want the same", s, v, err)
		}
	}
	for _, s := range []string{"", "1", "1.1", "1.1.0.0", "v1.1.0", "1.1.0-rc1", "1.1.0+x", " 1.1.0", "1.1.0 ", "1.1.0\n", "01.1.0", "1.01.0", "1.1.00", "+1.1.0",
		"1.+1.0", "-1.1.0", "1..0", ".1.0", "1.1.", "1.1.x", "1_0.0.0", "0x1.0.0", "1048576.0.0", "1.99999999999999999999.0", "0.0.0", "١.١.٠"} {
		if v, err := types.ParseVersion(s); err == nil || v != 0 {
			t.Errorf("ParseVersion(%q) = %v, %v, want an error", s, v, err)
		}
	}
}

// CONF-006: three integers, never text.
func TestVersion_Order(t *testing.T) {
	t.Parallel()
	ascending := []string{"0.0.1", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.3.10", "0.4.0", "1.0.0", "1.0.10", "1.1.0", "1.9.0", "1.10.0", "2.0.0", "10.0.0"}
	for i := range ascending[1:] {
		if a, b := mustVersion(ascending[i]), mustVersion(ascending[i+1]); a >= b {
			t.Errorf("%v >= %v, want <", a, b)
		}
	}
	if !slices.IsSorted(types.Versions()) || len(types.Versions()) != 7 {
		t.Errorf("Versions() = %v, want seven, ascending", types.Versions())
	}
	for _, v := range types.Versions() {
		if !v.Known() || mustVersion(v.String()) != v {
			t.Errorf("%v is not known, or does not survive its text", v)
		}
	}
	if mustVersion("1.2.0").Known() || types.Version(0).Known() {
		t.Error("Known() is true for 1.2.0 or for none")
	}
	if types.Newest != types.Versions()[6] {
		t.Errorf("Newest = %v, want the last of Versions()", types.Newest)
	}
}

func TestVersion_Text(t *testing.T) {
	t.Parallel()
	var doc struct{ A, B types.Version }
	if err := json.Unmarshal([]byte(`{"A":"1.0.0","B":""}`), &doc); err != nil || doc.A != types.V100 || doc.B != 0 {
		t.Errorf("Unmarshal = %v, %v, want 1.0.0 and none", doc, err)
	}
	if got, err := json.Marshal(doc); err != nil || string(got) != `{"A":"1.0.0","B":""}` {
		t.Errorf("Marshal = %s, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"x"}`), &doc); err == nil || doc.A != types.V100 {
		t.Errorf("Unmarshal(x) = %v, left %v, want an error and the value as it was", err, doc.A)
	}
}

func TestSupports(t *testing.T) {
	t.Parallel()
	some := []types.Version{types.V040, mustVersion("9.0.0")}
	for _, tt := range []struct {
		versions []types.Version
		v        types.Version
		want     bool
	}{{nil, types.V010, true}, {nil, types.V110, true}, {nil, mustVersion("9.0.0"), false}, {nil, 0, false}, {some, types.V040, true}, {some, mustVersion("9.0.0"), true}, {some, types.V110, false}} {
		if got := types.Supports(tt.versions, tt.v); got != tt.want {
			t.Errorf("Supports(%v, %v) = %v, want %v", tt.versions, tt.v, got, tt.want)
		}
	}
}

// CONF-004, CONF-007
func TestNegotiate(t *testing.T) {
	t.Parallel()
	vs := func(s ...string) (all []types.Version) {
		for _, v := range s {
			all = append(all, mustVersion(v))
		}
		return all
	}
	for _, tt := range []struct {
		offered, supported []types.Version
		want               types.Version
	}{
		{vs("0.4.0", "1.0.0", "99.0.0"), nil, types.V100},
		{vs("1.1.0", "0.3.1"), nil, types.V110},
		{vs("1.1.0", "0.3.1"), vs("0.3.1", "0.4.0"), types.V031},
		{vs("1.10.0", "1.9.0"), vs("1.9.0", "1.10.0"), mustVersion("1.10.0")},
	} {
		if got, err := types.Negotiate(tt.offered, tt.supported); got != tt.want || err != nil {
			t.Errorf("Negotiate(%v, %v) = %v, %v, want %v", tt.offered, tt.supported, got, err, tt.want)
		}
	}
	_, err := types.Negotiate(vs("99.0.0"), vs("0.4.0", "1.0.0"))
	wantError(t, "Negotiate", err, types.ErrIncompatibleCNIVersion, "offered 99.0.0; supported 0.4.0, 1.0.0")
	_, err = types.Negotiate(nil, nil)
	wantError(t, "Negotiate", err, types.ErrIncompatibleCNIVersion, "offered none; supported 0.1.0, ")
}

// VER-002, VER-007, VER-017
func TestVersionInfo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want types.VersionInfo
	}{
		{`{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.1.0"]}`, types.VersionInfo{CNIVersion: types.V110, SupportedVersions: []types.Version{types.V040, types.V110}}},
		{`{"cniVersion":"1.1.0","supportedVersions":["7.0.0"],"x":1}`, types.VersionInfo{CNIVersion: types.V110, SupportedVersions: []types.Version{mustVersion("7.0.0")}}},
		{`{"CNIVersion":"0.2.0","SupportedVersions":["0.2.0"]}`, types.VersionInfo{CNIVersion: types.V020, SupportedVersions: []types.Version{types.V020}}},
		{`{"supportedVersions":["0.2.0"]}`, types.VersionInfo{SupportedVersions: []types.Version{types.V020}}},
		{`{"cniVersion":"0.2.0"}`, types.VersionInfo{CNIVersion: types.V020, SupportedVersions: []types.Version{types.V010, types.V020}}},
		{`{"cniVersion":"0.2.0","supportedVersions":[]}`, types.VersionInfo{CNIVersion: types.V020, SupportedVersions: []types.Version{types.V010, types.V020}}},
	}
	for _, tt := range tests {
		got, err := types.DecodeVersionInfo([]byte(tt.in))
		if err != nil {
			t.Errorf("DecodeVersionInfo(%s) = %v, want nil", tt.in, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("DecodeVersionInfo(%s) mismatch (-want +got):\n%s", tt.in, diff)
		}
		again, err := types.DecodeVersionInfo(got.Encode())
		if err != nil || !cmp.Equal(again, got) {
			t.Errorf("DecodeVersionInfo(Encode(%v)) = %v, %v, want the same", got, again, err)
		}
		if plain, err := json.Marshal(got); err != nil || string(plain) != string(got.Encode()) {
			t.Errorf("Encode = %s, Marshal = %s, %v, want the same", got.Encode(), plain, err)
		}
	}
	for _, tt := range []struct {
		in   string
		code types.Code
		want string
	}{
		{`{`, types.ErrDecodingFailure, "line 1"},
		{`[]`, types.ErrDecodingFailure, "the document: [] "},
		{`{"cniVersion":"1.1.0"}`, types.ErrInvalidNetworkConfig, "supportedVersions: is missing"},
		{`{}`, types.ErrInvalidNetworkConfig, "supportedVersions: is missing"},
		{`{"cniVersion":"1.1.0","supportedVersions":[1]}`, types.ErrDecodingFailure, "supportedVersions[0]: 1 "},
		{`{"cniVersion":"1.1.0","supportedVersions":[""]}`, types.ErrInvalidNetworkConfig, "supportedVersions[0]: is empty"},
		{`{"cniVersion":"1.1.0","supportedVersions":["1.1.0","x"]}`, types.ErrIncompatibleCNIVersion, `supportedVersions[1]: version "x"`},
		{`{"cniVersion":5}`, types.ErrDecodingFailure, "cniVersion: 5 "},
	} {
		_, err := types.DecodeVersionInfo([]byte(tt.in))
		wantError(t, "DecodeVersionInfo("+tt.in+")", err, tt.code, tt.want)
	}
}
