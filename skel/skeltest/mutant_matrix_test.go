// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// examineAll is the variable that makes the tests of this package examine by every rule
// at every version, which takes minutes: EXAMINE_ALL=1.
const examineAll = "EXAMINE_ALL"

// examine examines a mutant in-process and returns the rules that it breaks.
func examine(t *testing.T, m mutant, p skeltest.Profile, plugin func(context.Context, skel.Env) int) []string {
	t.Helper()
	p.Versions = m.versions
	if len(p.Versions) == 0 {
		p.Versions = []types.Version{types.V110}
	}
	p.TimeoutSeconds = m.timeout
	target := skeltest.InProcess("mutant", p, func(ctx context.Context, env skel.Env) int {
		return runMutant(m, func(_ context.Context, env skel.Env) int { return plugin(ctx, env) }, env)
	})
	report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: m.rules(m.only)})
	if err != nil {
		t.Fatal(err)
	}
	return report.IDs(skeltest.Failed)
}

// rules are those of a list of rules and groups that are to be examined; all if it is
// empty.
func (m mutant) rules(list string) []string {
	only, not := strings.Fields(ids(list)), strings.Fields(ids(m.not))
	if len(not) == 0 {
		return only
	}
	var these []string
	for _, r := range skeltest.Rules() {
		if (len(only) == 0 || slices.Contains(only, r.ID) || slices.Contains(only, r.Group())) && !slices.Contains(not, r.ID) {
			these = append(these, r.ID)
		}
	}
	return these
}

// near shortens a list of rules to those that the table says are broken and, of the
// groups in the list, one neighbour of each: a process for each request takes its time.
// EXAMINE_ALL=1 examines by all of them, as writing the table does.
func (m mutant) near(t *testing.T, list []string) []string {
	t.Helper()
	if os.Getenv(examineAll) != "" || os.Getenv("UPDATE_GOLDEN") != "" {
		return list
	}
	broken := strings.Fields(matrix(t)[m.name])
	var these, neighbours []string
	for _, r := range skeltest.Rules() {
		switch of := slices.Contains(list, r.Group()); {
		case slices.Contains(broken, r.ID) || slices.Contains(list, r.ID):
			these = append(these, r.ID)
		case of && skeltest.Checked()[r.ID] && !slices.Contains(neighbours, r.Group()):
			these, neighbours = append(these, r.ID), append(neighbours, r.Group())
		}
	}
	return these
}

// matrix is the table of mutants and the rules that the kit finds each of them to
// break: these, and no other.
func matrix(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "mutants.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if cells := strings.Split(line, "|"); len(cells) == 4 {
			all[strings.TrimSpace(cells[1])] = strings.TrimSpace(cells[2])
		}
	}
	return all
}

// wantBroken compares what was found with the table. With UPDATE_GOLDEN=1 it writes a
// line of the table to standard output instead.
func wantBroken(t *testing.T, name string, got []string) {
	t.Helper()
	line := strings.Join(got, " ")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		fmt.Printf("| %s | %s |\n", name, line)
		return
	}
	if diff := gocmp.Diff(matrix(t)[name], line); diff != "" {
		t.Errorf("rules broken by %q (-want +got):\n%s", name, diff)
	}
}

// Each mutant breaks exactly the rules that it is said to break.
func TestExamine_mutants(t *testing.T) {
	t.Parallel()
	for _, m := range protocolMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			wantBroken(t, m.name, examine(t, m, skeltest.Profile{Kind: skeltest.KindChained, Config: json.RawMessage("{}")}, chainedPlugin().Run))
		})
	}
	for _, m := range ipamMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			plugin := hostlocal.Plugin()
			wantBroken(t, m.name, examine(t, m, hostLocalProfile(), plugin.Run))
		})
	}
}

// unproven are the MUSTs whose check no mutant shows at work, and why.
var unproven = map[string]string{}

// Every MUST of the text that the kit looks at has a mutant that breaks it.
func TestExamine_everyMustHasAMutant(t *testing.T) {
	t.Parallel()
	broken := map[string]bool{}
	for _, line := range matrix(t) {
		for _, id := range strings.Fields(line) {
			broken[id] = true
		}
	}
	checked := skeltest.Checked()
	for _, r := range skeltest.Rules() {
		if !checked[r.ID] || r.Severity() != skeltest.Failure {
			continue
		}
		if _, excused := unproven[r.ID]; broken[r.ID] == excused {
			t.Errorf("%s: a mutant breaks it: %t, excused: %t", r.ID, broken[r.ID], excused)
		}
	}
}

var slashed = regexp.MustCompile(`\b([A-Z]+)/([0-9]{3})\b`)

// ids turns the identifiers of rules into what they are. Tests of the kit write them
// with a slash: the name of a rule in a test says that the test proves it of this
// module's own code.
func ids(text string) string { return slashed.ReplaceAllString(text, "$1-$2") }
