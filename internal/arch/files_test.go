// SPDX-License-Identifier: Apache-2.0

package arch_test

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const license = "// SPDX-License-Identifier: Apache-2.0\n\n"

func TestLicense(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, true) {
		if !strings.HasPrefix(s.text, license) {
			t.Errorf("%s: begin with %q and a blank line, lest it become the package comment", s.path, strings.TrimSpace(license))
		}
	}
}

// Each package is explained in doc.go and nowhere else; the comment of a command may
// stand over its main.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	explained := map[string]bool{}
	commands := map[string]bool{}
	all := sources(t, false)
	for _, s := range all {
		isDoc := path.Base(s.path) == "doc.go"
		isMain := s.ast.Name.Name == "main"
		if s.ast.Doc != nil && !s.isTest() {
			explained[s.dir()] = true
			if !isDoc && !isMain {
				t.Errorf("%s: move the package comment to doc.go", s.path)
			}
		}
		if isMain {
			commands[s.dir()] = true
		}
		if isDoc && len(s.ast.Decls) > 0 {
			t.Errorf("%s: doc.go holds the package comment and nothing else; move the rest to a file named after it", s.path)
		}
	}
	for _, s := range all {
		if !explained[s.dir()] {
			t.Errorf("package %s: write a package comment in doc.go", s.dir())
			explained[s.dir()] = true
		}
	}
}

// A file is named after a thing.
func TestFileNames(t *testing.T) {
	t.Parallel()
	banned := []string{"util", "utils", "helper", "helpers", "common", "misc", "shared"}
	for _, s := range sources(t, true) {
		name := strings.TrimSuffix(path.Base(s.path), ".go")
		for _, part := range []string{name, strings.TrimSuffix(name, "_test"), path.Base(s.dir())} {
			if slices.Contains(banned, part) {
				t.Errorf("%s: name it after the thing it is about, or put the code beside its one user", s.path)
			}
		}
	}
}

// unfinished are words of work that is not done.
var unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

func TestUnfinished(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, true) {
		if s.dir() == "internal/arch" {
			continue
		}
		for _, group := range s.ast.Comments {
			if word := unfinished.FindString(group.Text()); word != "" {
				t.Errorf("%s: %s: finish it, or open an issue; a comment says what is", s.at(group), word)
			}
		}
	}
}

// A plugin is a process for each container, and pays at each start for what package
// variables do. What the compiler does in advance, as with errors.New, costs nothing.
func TestPackageVariables(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, false) {
		if s.isTest() || strings.HasSuffix(s.path, "_other.go") || strings.HasPrefix(s.dir(), "internal/campaign") || strings.HasPrefix(s.dir(), "internal/bench") {
			continue // no plugin
		}
		for _, call := range initialCalls(s.ast) {
			if begin, _, _ := strings.Cut(call, "."); begin == "fmt" || begin == "regexp" {
				t.Errorf("%s: a package variable calls %s: make it a type, or call it where it is used", s.path, call)
			}
		}
	}
}

// Packages do nothing when they are initialized, but for the one that makes that cheaper.
func TestInit(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, false) {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && s.dir() != "internal/early" {
				t.Errorf("%s: has an init: let those who need it call it", s.path)
			}
		}
	}
}

// initialCalls returns the functions of other packages that package variables call directly.
func initialCalls(f *ast.File) []string {
	var calls []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		ast.Inspect(g, func(n ast.Node) bool {
			if _, ok := n.(*ast.FuncLit); ok {
				return false // called later, if at all
			}
			if c, ok := n.(*ast.CallExpr); ok {
				if of, ok := c.Fun.(*ast.SelectorExpr); ok {
					if x, ok := of.X.(*ast.Ident); ok {
						calls = append(calls, x.Name+"."+of.Sel.Name)
					}
				}
			}
			return true
		})
	}
	return calls
}

// foreign is what only one machine, or those who work on it, can know of.
var foreign = regexp.MustCompile(`(^|[\s"'=:(\x60])(/work/|/root/|/Users/|/home/[a-z])|LEAD-NOTE`)

func TestMachinePaths(t *testing.T) {
	t.Parallel()
	text := []string{".go", ".md", ".txt", ".json", ".conflist", ".sh", ".mod", "", ".yml", ".yaml"}
	for _, file := range files(t) {
		if !slices.Contains(text, path.Ext(file)) || strings.HasPrefix(file, "internal/arch/") || strings.Contains(file, "testdata/fuzz/") {
			continue
		}
		if strings.Contains(file, "NOTE") {
			t.Errorf("%s: a note to somebody does not belong into the repository", file)
		}
		for i, line := range strings.Split(read(t, file), "\n") {
			if foreign.MatchString(line) {
				t.Errorf("%s:%d: a path of one machine; say it without: %s", file, i+1, strings.TrimSpace(line))
			}
		}
	}
}
