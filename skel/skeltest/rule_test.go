// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel/skeltest"
)

// rule returns a rule of the checklist.
func rule(t *testing.T, id string) skeltest.Rule {
	t.Helper()
	for _, r := range skeltest.Rules() {
		if r.ID == ids(id) {
			return r
		}
	}
	t.Fatalf("there is no rule %s", id)
	return skeltest.Rule{}
}

func TestRules(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range skeltest.Rules() {
		if seen[r.ID] || r.Text == "" || r.Group() == "" || !strings.Contains("plugin runtime both admin", r.Who) {
			t.Errorf("rule %+v is there twice or not whole", r)
		}
		seen[r.ID] = true
	}
	for id := range skeltest.Checked() {
		if !seen[id] {
			t.Errorf("there is a check for %s, and no such rule", id)
		}
	}
}

// Each rule that binds plugins has a check, or the kit says why not, and not both.
func TestRules_checkedOrNot(t *testing.T) {
	t.Parallel()
	checked, reasons := skeltest.Checked(), skeltest.Untestable()
	for _, r := range skeltest.Rules() {
		reason := reasons[r.ID]
		switch {
		case r.Who != "plugin" && r.Who != "both":
			if reason != "" {
				t.Errorf("%s binds the %s, and yet it is said why plugins are not tested by it", r.ID, r.Who)
			}
		case checked[r.ID] && reason != "":
			t.Errorf("%s has a check, and it is said why it has none: %s", r.ID, reason)
		case !checked[r.ID] && reason == "" && r.Level != "MAY":
			t.Errorf("%s has no check, and nobody says why", r.ID)
		}
		delete(reasons, r.ID)
	}
	if len(reasons) > 0 {
		t.Errorf("reasons for rules that do not exist: %v", reasons)
	}
}

func TestRule_Severity(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule skeltest.Rule
		want skeltest.Severity
	}{
		{skeltest.Rule{Level: "MUST", Basis: "S", Who: "plugin"}, skeltest.Failure},
		{skeltest.Rule{Level: "MUST NOT", Basis: "S~", Who: "both"}, skeltest.Failure},
		{skeltest.Rule{Level: "SHOULD", Basis: "S", Who: "plugin"}, skeltest.Warning},
		{skeltest.Rule{Level: "MUST", Basis: "C", Who: "plugin"}, skeltest.Warning},
		{skeltest.Rule{Level: "MUST", Basis: "U", Who: "plugin"}, skeltest.Warning},
		{skeltest.Rule{Level: "MUST", Basis: "S", Who: "admin"}, skeltest.Warning},
		{skeltest.Rule{Level: "MUST", Basis: "R", Who: "plugin"}, skeltest.Advice},
		{skeltest.Rule{Level: "MUST", Basis: "D", Who: "plugin"}, skeltest.Advice},
		{skeltest.Rule{Level: "MAY", Basis: "S", Who: "plugin"}, skeltest.Advice},
	}
	for _, tt := range tests {
		if got := tt.rule.Severity(); got != tt.want {
			t.Errorf("Severity(%s %s %s) = %s, want %s", tt.rule.Level, tt.rule.Basis, tt.rule.Who, got, tt.want)
		}
	}
}
