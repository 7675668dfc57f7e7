// SPDX-License-Identifier: Apache-2.0

package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path of this module.
const module = "github.com/cnikit/cnikit"

// A source is a Go file of the repository.
type source struct {
	// path is relative to the root, with slashes.
	path string
	text string
	fset *token.FileSet
	ast  *ast.File
}

// dir is the directory of the package, "." for the root.
func (s source) dir() string { return path.Dir(s.path) }

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// imports are the paths that the file imports.
func (s source) imports(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, spec := range s.ast.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, imported)
	}
	return all
}

// at returns the place of a node as "file:line".
func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// root is the top of the repository.
const root = "../.."

// files returns the paths of all files below the root, less what git and test runs
// leave.
func files(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.Type().IsRegular():
			relative, err := filepath.Rel(root, file)
			all = append(all, filepath.ToSlash(relative))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// sources returns the Go files of this module and, if nested, of the modules inside
// of it.
func sources(t *testing.T, nested bool) []source {
	t.Helper()
	all := files(t)
	var inner []string
	for _, file := range all {
		if dir, ok := strings.CutSuffix(file, "/go.mod"); ok && !nested {
			inner = append(inner, dir+"/")
		}
	}
	var found []source
	for _, file := range all {
		isInner := slices.ContainsFunc(inner, func(dir string) bool { return strings.HasPrefix(file, dir) })
		if path.Ext(file) != ".go" || strings.Contains(file, "testdata/") || isInner {
			continue
		}
		s := source{path: file, text: read(t, file), fset: token.NewFileSet()}
		var err error
		if s.ast, err = parser.ParseFile(s.fset, file, s.text, parser.ParseComments); err != nil {
			t.Fatal(err)
		}
		found = append(found, s)
	}
	return found
}

// golden compares got with a file below testdata. With UPDATE_GOLDEN=1 it writes the
// file instead.
func golden(t *testing.T, name, got, advice string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(data) {
		return
	}
	have, want := strings.Split(got, "\n"), strings.Split(string(data), "\n")
	t.Errorf("%s is out of date: %s\nit lacks: %q\nit should not have: %q", file, advice, without(have, want), without(want, have))
}

// without returns some lines that are not among others.
func without(lines, others []string) []string {
	const enough = 5
	lines = slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return slices.Contains(others, line) })
	return lines[:min(len(lines), enough)]
}
