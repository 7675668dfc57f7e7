// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	// CONF-009, CONF-010, PROTO-020, PROTO-021
	badNames := []string{"", "-a", ".a", "_a", "a b", "a/b", "a\\b", "ä", "aä", "a\n", "a\x00", "../x", ".", "..", " a", "a:b", "a\xff"}
	goodNames := []string{"a", "A", "0", "a.b_c-1", "A.b_c-9", "0..", strings.Repeat("a", 128), strings.Repeat("a", 300)}
	tests := []struct {
		name      string
		validate  func(string) error
		good, bad []string
	}{
		{"ValidateNetworkName", types.ValidateNetworkName, goodNames, badNames},
		{"ValidateContainerID", types.ValidateContainerID, goodNames, badNames},
		// PROTO-023, PROTO-024, AMB-039
		{"ValidateInterfaceName", types.ValidateInterfaceName,
			[]string{"eth0", "e", "net1.100", "-x", "a_b", "123456789012345", "é", "...", "a\\b", "a\"b", "\x01"},
			[]string{"", ".", "..", "1234567890123456", "eth/0", "eth:0", "eth 0", "eth\t0", "eth\n", "eth%d", "a\x00", "a\u00a0b", "a\u2003b", "\xff", "à", "ééééééé" + "éé"}},
		// CONF-027, CONF-037, AMB-021
		{"ValidatePluginType", types.ValidatePluginType,
			[]string{"bridge", "a.b", "...", "a b", "ä", "-x", strings.Repeat("a", 255)},
			[]string{"", ".", "..", "a/b", "/bin/sh", "../p", "a\\b", "a\x00", strings.Repeat("a", 256)}},
	}
	for _, tt := range tests {
		for _, s := range tt.good {
			if err := tt.validate(s); err != nil {
				t.Errorf("%s(%.40q) = %v, want nil", tt.name, s, err)
			}
		}
		for _, s := range tt.bad {
			err := tt.validate(s)
			if err == nil {
				t.Errorf("%s(%.40q) = nil, want an error", tt.name, s)
			} else if len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%s(%.40q) = %q, want one short line", tt.name, s, err)
			}
		}
	}
	// However long a bad value is, its error is not.
	if err := types.ValidateNetworkName(strings.Repeat("é", 1<<20)); err == nil || len(err.Error()) > 500 {
		t.Errorf("ValidateNetworkName of 2 MiB = %d bytes of error, want few", len(err.Error()))
	}
}

func FuzzValidateInterfaceName(f *testing.F) {
	for _, s := range []string{"eth0", "", ".", "eth%d", "à", "a\u2003", "1234567890123456"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := types.ValidateInterfaceName(s); err != nil {
			return
		}
		if s == "" || len(s) > 15 || s == "." || s == ".." || strings.ContainsAny(s, "/:% \t\n\v\f\r\x00\u00a0") || strings.IndexByte(s, 0xa0) >= 0 {
			t.Errorf("ValidateInterfaceName(%q) = nil, want an error", s)
		}
	})
}

func FuzzValidateNames(f *testing.F) {
	for _, s := range []string{"a", "", "-a", "a.b_c-1", "../x", "a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, id := types.ValidateNetworkName(s), types.ValidateContainerID(s)
		if (name == nil) != (id == nil) {
			t.Errorf("ValidateNetworkName(%q) = %v, ValidateContainerID = %v, want them alike", s, name, id)
		}
		const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		want := s != "" && strings.ContainsAny(s[:1], letters) && strings.Trim(s, letters+"._-") == ""
		if (name == nil) != want {
			t.Errorf("ValidateNetworkName(%q) = %v, want valid: %v", s, name, want)
		}
		if name == nil && types.ValidatePluginType(s) != nil && len(s) < 256 {
			t.Errorf("ValidatePluginType(%q) refuses a name that is safe", s)
		}
	})
}
