// SPDX-License-Identifier: Apache-2.0

package arch_test

import (
	"go/ast"
	"go/token"
	"path"
	"strconv"
	"strings"
	"testing"
)

// Each exported name has a comment that begins with it, or, for one of a group, a
// comment of the group.
func TestExportedDocumented(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, false) {
		if s.isTest() || s.ast.Name.Name == "main" {
			continue
		}
		for _, name := range undocumented(s.ast) {
			t.Errorf("%s: %s: write a doc comment, which is its contract", s.path, name)
		}
	}
}

// undocumented returns the exported names of a file without a comment.
func undocumented(f *ast.File) []string {
	var names []string
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if isExported(d) && d.Doc == nil {
				names = append(names, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				name, documented := specName(spec)
				if ast.IsExported(name) && !documented && d.Doc == nil {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// specName returns the first name of a declaration, and whether it has a comment of
// its own.
func specName(spec ast.Spec) (name string, documented bool) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		return s.Name.Name, s.Doc != nil
	case *ast.ValueSpec:
		return s.Names[0].Name, s.Doc != nil || s.Comment != nil
	}
	return "", true
}

// isExported reports whether a function, or a method and its type, are exported.
func isExported(d *ast.FuncDecl) bool {
	return d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d)))
}

// receiver returns the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// No type of another module, and none of ours that a user cannot name, is part of
// what users see: so a dependency can be replaced without breaking anyone.
func TestExportedTypes(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, false) {
		if s.isTest() || s.ast.Name.Name == "main" || strings.HasPrefix(s.path, "internal/") {
			continue
		}
		for _, ref := range exportedReferences(s.ast) {
			if !isStandard(ref) && (!strings.HasPrefix(ref, module) || strings.Contains(ref, "/internal/")) {
				t.Errorf("%s: the exported API has a type of %s; netip, net.HardwareAddr, time, io, context and slog are the vocabulary", s.path, ref)
			}
		}
	}
}

// exportedReferences returns the packages whose types the exported declarations of a
// file name.
func exportedReferences(f *ast.File) []string {
	imports := map[string]string{}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = imported
	}
	var found []string
	visit := func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.Field:
			// An unexported field is nobody's business.
			return len(x.Names) == 0 || x.Names[0].IsExported() || !isStructField(f, x)
		case *ast.SelectorExpr:
			if pkg, ok := x.X.(*ast.Ident); ok && imports[pkg.Name] != "" {
				found = append(found, imports[pkg.Name])
			}
		case *ast.BlockStmt:
			return false
		}
		return true
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if isExported(d) {
				ast.Inspect(d.Type, visit)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				name, _ := specName(spec)
				if d.Tok == token.IMPORT || !ast.IsExported(name) {
					continue
				}
				if v, ok := spec.(*ast.ValueSpec); ok {
					if v.Type != nil {
						ast.Inspect(v.Type, visit)
					}
					continue
				}
				ast.Inspect(spec, visit)
			}
		}
	}
	return found
}

// isStructField reports whether a field belongs to a struct, and not to the
// parameters of a function.
func isStructField(f *ast.File, field *ast.Field) bool {
	inStruct := false
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.StructType); ok {
			for _, have := range s.Fields.List {
				inStruct = inStruct || have == field
			}
		}
		return !inStruct
	})
	return inStruct
}
