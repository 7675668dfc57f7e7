// SPDX-License-Identifier: Apache-2.0

package arch_test

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ruleID is the identifier of a rule of the specification's checklist.
var ruleID = regexp.MustCompile(`\b(CONF|PROTO|VER|ADD|DEL|CHK|STA|GC|CHAIN|DLG|RES|CONV|ERR|CACHE|LIFE|CAP|ARG|AMB)-[0-9]{3}\b`)

// A rule is a line of testdata/checklist.txt: the identifier, and whom it binds:
// plugin, runtime, both or admin, who writes configurations.
type rule struct{ id, who string }

func (r rule) group() string {
	group, _, _ := strings.Cut(r.id, "-")
	return group
}

func checklist(t *testing.T) []rule {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "checklist.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var rules []rule
	for line := range strings.Lines(string(data)) {
		id, who, _ := strings.Cut(strings.TrimSpace(line), " ")
		rules = append(rules, rule{id, who})
	}
	return rules
}

// mentions returns which tests mention each rule, sorted.
func mentions(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, s := range sources(t, true) {
		if !s.isTest() || s.dir() == "internal/arch" {
			continue
		}
		for _, at := range ruleID.FindAllStringIndex(s.text, -1) {
			id := s.text[at[0]:at[1]]
			where := s.path
			if name := enclosing(s, at[0]); name != "" {
				where += ":" + name
			}
			if !slices.Contains(found[id], where) {
				found[id] = append(found[id], where)
			}
		}
	}
	for _, tests := range found {
		slices.Sort(tests)
	}
	return found
}

// enclosing returns the name of the function that an offset of a file is in, or in
// the comment of, and "" if there is none.
func enclosing(s source, offset int) string {
	for _, decl := range s.ast.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		begin := f.Pos()
		if f.Doc != nil {
			begin = f.Doc.Pos()
		}
		if s.fset.Position(begin).Offset <= offset && offset < s.fset.Position(f.End()).Offset {
			return f.Name.Name
		}
	}
	return ""
}

// Every rule that a test mentions exists, and the table of them is up to date.
func TestCoverage(t *testing.T) {
	t.Parallel()
	rules, found := checklist(t), mentions(t)
	for id, tests := range found {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.id == id }) {
			t.Errorf("%s: the checklist has no rule %s", tests[0], id)
		}
	}
	golden(t, "coverage.md", table(rules, found), "UPDATE_GOLDEN=1 go test ./internal/arch")
}

// table returns the document that tells which rule is tested where.
func table(rules []rule, found map[string][]string) string {
	var b strings.Builder
	b.WriteString("# Rules of the specification and their tests\n\n" +
		"Each rule of the checklist of CNI 0.1.0 to 1.1.0, with the tests that name it. A test names a rule if it fails when the\n" +
		"rule is broken. Rules for runtimes and administrators matter to this library where it plays their part. This file is\n" +
		"written by `UPDATE_GOLDEN=1 go test ./internal/arch`.\n\n" +
		"| Group | Rules for plugins | tested | Other rules | tested |\n|---|---|---|---|---|\n")
	var groups []string
	counts := map[string]*[4]int{}
	for _, r := range append(slices.Clone(rules), rule{"all-", "plugin"}) {
		if counts[r.group()] == nil {
			counts[r.group()] = new([4]int)
			groups = append(groups, r.group())
		}
	}
	for _, r := range rules {
		column := 0
		if r.who == "runtime" || r.who == "admin" {
			column = 2
		}
		for _, group := range []string{r.group(), "all"} {
			counts[group][column]++
			if len(found[r.id]) > 0 {
				counts[group][column+1]++
			}
		}
	}
	for _, group := range groups {
		c := counts[group]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", group, c[0], c[1], c[2], c[3])
	}
	group := ""
	for _, r := range rules {
		if r.group() != group {
			group = r.group()
			fmt.Fprintf(&b, "\n## %s\n\n", group)
		}
		tests := strings.Join(found[r.id], ", ")
		if tests == "" {
			tests = "none"
		}
		fmt.Fprintf(&b, "- %s (%s): %s\n", r.id, r.who, tests)
	}
	return b.String()
}
