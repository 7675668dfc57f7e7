// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel/skeltest"
)

// referenceHead is what the table of the reference plugins begins with.
const referenceHead = `# The reference plugins, examined

What the kit finds in the plugins of https://github.com/containernetworking/plugins/releases/tag/v1.9.1, with the
profiles that it has for them, at every version that they support, as root on Linux 6.18. Made by

    REFERENCE_PLUGINS=/opt/cni/bin UPDATE_GOLDEN=1 go test -run TestExamine_reference ./skel/skeltest

and kept by the same test without UPDATE_GOLDEN; it takes minutes. ` + "`cnicheck -only ID PLUGIN`" + ` tells the story of one rule.
A failure is a MUST of the specification, a warning a SHOULD, advice what this module asks for beyond it.

| plugin | passed | failures | warnings | advice |
|---|---|---|---|---|
`

// What the kit finds in the reference plugins is what the table says. The plugins are no
// part of this module, so the test needs to be told where they are.
func TestExamine_reference(t *testing.T) {
	dir := os.Getenv("REFERENCE_PLUGINS")
	if dir == "" {
		t.Skip("REFERENCE_PLUGINS does not name the directory of the reference plugins")
	}
	nstest.New(t)
	names := []string{"bridge", "host-local", "loopback", "portmap", "ptp"}
	reports := make([]*skeltest.Report, len(names))
	var wait sync.WaitGroup
	for i, name := range names {
		wait.Go(func() {
			report, err := skeltest.Examine(t.Context(), skeltest.Target{Executable: filepath.Join(dir, name)}, skeltest.ExamineOptions{})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			reports[i] = report
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	got := referenceTable(names, reports)
	path := filepath.Join("testdata", "reference-v1.9.1.md")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("the table of the reference plugins (-want +got):\n%s", diff)
	}
}

// referenceTable writes what was found, and failures and warnings in words.
func referenceTable(names []string, reports []*skeltest.Report) string {
	var table, words strings.Builder
	broken := map[string][]string{}
	rules := map[string]skeltest.Rule{}
	for i, r := range reports {
		of := map[skeltest.Severity][]string{}
		failed := r.IDs(skeltest.Failed)
		passed := slices.DeleteFunc(r.IDs(skeltest.Passed), func(id string) bool { return slices.Contains(failed, id) })
		for _, severity := range []skeltest.Severity{skeltest.Failure, skeltest.Warning, skeltest.Advice} {
			for _, o := range r.Broken(severity) {
				rules[o.Rule.ID] = o.Rule
				if !slices.Contains(of[severity], o.Rule.ID) {
					of[severity] = append(of[severity], o.Rule.ID)
					broken[o.Rule.ID] = append(broken[o.Rule.ID], names[i])
				}
			}
		}
		join := func(s skeltest.Severity) string { return strings.Join(of[s], " ") }
		fmt.Fprintf(&table, "| %s | %d | %s | %s | %s |\n", names[i], len(passed), join(skeltest.Failure), join(skeltest.Warning), join(skeltest.Advice))
	}
	for _, r := range skeltest.Rules() {
		if _, ok := rules[r.ID]; ok && r.Severity() != skeltest.Advice {
			fmt.Fprintf(&words, "- %s (%s; %s): %s\n", r.ID, r.Severity(), strings.Join(broken[r.ID], ", "), r.Text)
		}
	}
	return referenceHead + table.String() + "\nFailures and warnings in words:\n\n" + words.String()
}
