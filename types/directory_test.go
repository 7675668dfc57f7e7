// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

// writeFiles makes files in a new directory: path in there to content.
func writeFiles(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// list is a network configuration list.
func list(name string, more string) string {
	return `{"cniVersion":"1.1.0","name":"` + name + `"` + more + `}`
}

func pluginTypes(n *types.Network) []string {
	var all []string
	for _, p := range n.Plugins {
		all = append(all, p.Type)
	}
	return all
}

func TestLoadNetwork(t *testing.T) {
	t.Parallel()
	inlined := `,"plugins":[{"type":"inlined"}]`
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"no folder", map[string]string{"x": list("n", inlined)}, []string{"inlined"}},
		// CONF-016, CONF-019, CONF-022
		{"folder", map[string]string{"x": list("n", inlined), "n/10-a.conf": `{"type":"a"}`, "n/05-b.conf": `{"type":"b"}`, "n/c.json": `{"type":"c"}`,
			"n/d.conflist": list("n", inlined), "n/sub/e.conf": `{"type":"e"}`, "n/dir.conf/f.conf": `{"type":"f"}`, "n/.conf": `{"type":"hidden"}`}, []string{"inlined", "hidden", "b", "a"}},
		// CONF-020
		{"another network's folder", map[string]string{"x": list("n", inlined), "m/a.conf": `{"type":"a"}`, "n/b.conf": `{"type":"b"}`}, []string{"inlined", "b"}},
		{"only a folder", map[string]string{"x": list("n", ""), "n/a.conf": `{"type":"a"}`}, []string{"a"}},
		// AMB-031
		{"empty plugins and a folder", map[string]string{"x": list("n", `,"plugins":[]`), "n/a.conf": `{"type":"a"}`}, []string{"a"}},
		// CONF-017, AMB-014
		{"inlined only", map[string]string{"x": list("n", inlined+`,"loadOnlyInlinedPlugins":true`), "n/a.conf": `{"type":"a"}`, "n/bad.conf": `{`}, []string{"inlined"}},
		{"name and version of the list in the folder", map[string]string{"x": list("n", inlined+`,"cniVersions":["0.4.0"]`), "n/a.conf": `{"type":"a","name":"n","cniVersion":"0.4.0"}`,
			"n/b.conf": `{"type":"b","cniVersion":""}`}, []string{"inlined", "a", "b"}},
		{"single plugin", map[string]string{"x": `{"name":"n","type":"flat","loadOnlyInlinedPlugins":false}`, "n/a.conf": `{"type":"a"}`}, []string{"flat"}},
		{"a file in the place of the folder", map[string]string{"x": list("n", inlined), "n": "x"}, []string{"inlined"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := writeFiles(t, tt.files)
			path := filepath.Join(dir, "x")
			n, err := types.LoadNetwork(path)
			if err != nil {
				t.Fatalf("LoadNetwork = %v, want nil", err)
			}
			if got := pluginTypes(n); !slices.Equal(got, tt.want) {
				t.Errorf("LoadNetwork has plugins %q, want %q", got, tt.want)
			}
			if n.Path != path {
				t.Errorf("Path = %q, want %q", n.Path, path)
			}
			for _, p := range n.Plugins {
				if (p.Path == path) != slices.Contains([]string{"inlined", "flat"}, p.Type) || !strings.HasPrefix(p.Path, dir) {
					t.Errorf("plugin %q has path %q", p.Type, p.Path)
				}
			}
		})
	}
}

func TestLoadNetwork_Errors(t *testing.T) {
	t.Parallel()
	inlined := `,"plugins":[{"type":"inlined"}]`
	tests := []struct {
		name  string
		files map[string]string
		code  types.Code
		want  []string // parts of the text, less the directory
	}{
		{"no file", nil, types.ErrIOFailure, []string{"read configuration: ", "/x: "}},
		{"directory", map[string]string{"x/y": ""}, types.ErrIOFailure, []string{"/x: is not a regular file"}},
		{"syntax", map[string]string{"x": "{\n\n,"}, types.ErrDecodingFailure, []string{"/x: not valid JSON: line 3"}},
		{"value", map[string]string{"x": list("n", `,"plugins":[{"type":"a"},{"type":"../b"}]`)}, types.ErrInvalidNetworkConfig, []string{`/x: plugins[1].type: "../b" `}},
		// CONF-023
		{"empty folder", map[string]string{"x": list("n", ""), "n/a.json": ""}, types.ErrInvalidNetworkConfig, []string{"/x: plugins: is missing or empty"}},
		{"nothing at all", map[string]string{"x": list("n", `,"plugins":[]`)}, types.ErrInvalidNetworkConfig, []string{"/x: plugins: is missing or empty"}},
		{"inlined only, and none", map[string]string{"x": list("n", `,"plugins":[],"loadOnlyInlinedPlugins":true`), "n/a.conf": `{"type":"a"}`}, types.ErrInvalidNetworkConfig, []string{"/x: plugins: "}},
		// CONF-021
		{"no type in the folder", map[string]string{"x": list("n", inlined), "n/a.conf": `{"type":"a"}`, "n/b.conf": `{}`}, types.ErrInvalidNetworkConfig, []string{"/n/b.conf: type: is missing"}},
		{"syntax in the folder", map[string]string{"x": list("n", inlined), "n/b.conf": `{`}, types.ErrDecodingFailure, []string{"/n/b.conf: not valid JSON: line 1"}},
		{"array in the folder", map[string]string{"x": list("n", inlined), "n/b.conf": `[]`}, types.ErrDecodingFailure, []string{"/n/b.conf: the document: [] "}},
		// CONF-020, AMB-027
		{"another name in the folder", map[string]string{"x": list("n", inlined), "n/a.conf": `{"type":"a","name":"m"}`}, types.ErrInvalidNetworkConfig, []string{`/n/a.conf: name: "m" `, `"n"`}},
		{"another version in the folder", map[string]string{"x": list("n", inlined), "n/a.conf": `{"type":"a","cniVersion":"0.4.0"}`}, types.ErrInvalidNetworkConfig, []string{`/n/a.conf: cniVersion: 0.4.0 `, "1.1.0"}},
		// CONF-024, AMB-028: the folder is not even looked at.
		{"name with a path", map[string]string{"x": list("../other", inlined), "../other/b.conf": "{"}, types.ErrInvalidNetworkConfig, []string{`/x: name: "../other" `}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, err := types.LoadNetwork(filepath.Join(writeFiles(t, tt.files), "x"))
			if n != nil {
				t.Errorf("LoadNetwork = %+v, want nil", n)
			}
			wantError(t, "LoadNetwork", err, tt.code, tt.want...)
			if got, want := errors.Is(err, fs.ErrNotExist), tt.name == "no file"; got != want {
				t.Errorf("errors.Is(%v, fs.ErrNotExist) = %v, want %v", err, got, want)
			}
		})
	}
}

// A sparse file of 33 MiB is refused before it is read.
func TestLoadNetwork_TooLarge(t *testing.T) {
	t.Parallel()
	path := filepath.Join(writeFiles(t, map[string]string{"x": ""}), "x")
	if err := os.Truncate(path, 33<<20); err != nil {
		t.Fatal(err)
	}
	_, err := types.LoadNetwork(path)
	wantError(t, "LoadNetwork", err, types.ErrIOFailure, "/x: is larger than 33554432 bytes")
}

func TestLoadNetwork_Warnings(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{"x": list("n", `,"plugins":[{"type":"a","cni.dev/x":1}]`), "n/b.conf": `{"type":"b","prevResult":{}}`})
	n, err := types.LoadNetwork(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatalf("LoadNetwork = %v, want nil", err)
	}
	want := []string{
		filepath.Join(dir, "x") + ": plugins[0].cni.dev/x: is for the runtime to write, and is left out",
		filepath.Join(dir, "n", "b.conf") + ": prevResult: is for the runtime to write, and is left out",
	}
	if !slices.Equal(n.Warnings, want) {
		t.Errorf("Warnings = %q, want %q", n.Warnings, want)
	}
}

// CONF-011, CONF-043
func TestLoadNetworks(t *testing.T) {
	t.Parallel()
	plugin := `,"plugins":[{"type":"a"}]`
	dir := writeFiles(t, map[string]string{
		"00-bad.conflist":  `{`,
		"10-b.conflist":    list("b", plugin),
		"05-a.json":        `{"cniVersion":"0.4.0","name":"a","type":"a"}`,
		"20-c.conf":        `{"cniVersion":"0.4.0","name":"c","type":"c"}`,
		"30-b.conflist":    list("b", plugin),
		"40-d.conflist":    list("d", `,"plugins":[{"type":"x/y"}]`),
		"50-e.conf.bak":    `{`,
		"README":           `{`,
		"sub/60.conflist":  list("f", plugin),
		"x.conflist/a.txt": ``,
		".conflist":        list("hidden", plugin),
	})
	all, err := types.LoadNetworks(dir)
	var names []string
	for _, n := range all {
		names = append(names, n.Name)
	}
	if want := []string{"hidden", "a", "b", "c"}; !slices.Equal(names, want) {
		t.Errorf("LoadNetworks has %q, want %q", names, want)
	}
	if err == nil {
		t.Fatal("LoadNetworks = nil, want errors for the bad files")
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{"/00-bad.conflist: not valid JSON: line 1", `/30-b.conflist: name: "b" is the name of the network in `, `/40-d.conflist: plugins[0].type: "x/y" `}
	if len(lines) != len(want) {
		t.Fatalf("LoadNetworks = %q, want %d errors", lines, len(want))
	}
	for i := range want {
		if !strings.Contains(lines[i], want[i]) {
			t.Errorf("LoadNetworks: error %d = %q, want %q in it", i, lines[i], want[i])
		}
	}
	if _, err := types.LoadNetworks(filepath.Join(dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadNetworks of no directory = %v, want fs.ErrNotExist", err)
	}
	if all, err := types.LoadNetworks(t.TempDir()); len(all) > 0 || err != nil {
		t.Errorf("LoadNetworks of an empty directory = %v, %v, want none", all, err)
	}
}

func TestFindNetwork(t *testing.T) {
	t.Parallel()
	plugin := func(typ string) string { return `,"plugins":[{"type":"` + typ + `"}]` }
	dir := writeFiles(t, map[string]string{
		"00-bad.conflist": `{`,
		"10.conf":         `{"cniVersion":"0.4.0","name":"a","type":"flat"}`,
		"50.conflist":     list("a", plugin("first")),
		"60.conflist":     list("a", plugin("second")),
		"70.json":         `{"cniVersion":"0.4.0","name":"j","type":"json"}`,
		"80.conf":         list("conf", plugin("list-in-conf")),
		"90.conflist":     list("broken", `,"plugins":5`),
		"95.conf":         `{"name":"broken","type":"x"}`,
		"98.conf":         `{"type":"x"}`,
		"99.conf":         `{"name":"a/b","type":"x"}`,
		"a/x.conf":        `{"type":"from-folder"}`,
		"sub/c.conflist":  list("c", plugin("sub")),
	})
	// CONF-042, CONF-043
	for name, want := range map[string][]string{"a": {"first", "from-folder"}, "j": {"json"}, "conf": {"list-in-conf"}} {
		n, err := types.FindNetwork(dir, name)
		if err != nil {
			t.Errorf("FindNetwork(%q) = %v, want nil", name, err)
			continue
		}
		if got := pluginTypes(n); !slices.Equal(got, want) {
			t.Errorf("FindNetwork(%q) has plugins %q, want %q", name, got, want)
		}
		if !slices.ContainsFunc(n.Warnings, func(w string) bool { return strings.Contains(w, "00-bad.conflist: not valid JSON") }) {
			t.Errorf("FindNetwork(%q) has warnings %q, want the bad file among them", name, n.Warnings)
		}
	}
	// A bad file that is the network's own decides.
	_, err := types.FindNetwork(dir, "broken")
	wantError(t, "FindNetwork(broken)", err, types.ErrDecodingFailure, "/90.conflist: plugins: 5 ")
	for _, name := range []string{"c", "missing"} {
		_, err := types.FindNetwork(dir, name)
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "00-bad.conflist") || !strings.Contains(err.Error(), `99.conf: name: "a/b"`) ||
			!strings.Contains(err.Error(), "98.conf: name: is missing") {
			t.Errorf("FindNetwork(%q) = %v, want fs.ErrNotExist and the bad files", name, err)
		}
	}
	// CONF-024
	_, err = types.FindNetwork(dir, "../x")
	wantError(t, "FindNetwork(../x)", err, types.ErrInvalidNetworkConfig, `name: "../x" `)
	if _, err := types.FindNetwork(filepath.Join(dir, "gone"), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("FindNetwork in no directory = %v, want fs.ErrNotExist", err)
	}
}

// Links, as a mounted Kubernetes ConfigMap has them, are followed.
func TestLoadNetworks_Links(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{"..data/n.conflist": list("n", `,"plugins":[{"type":"a"}]`)})
	for link, target := range map[string]string{"n.conflist": "..data/n.conflist", "dir.conf": "..data", "gone.conf": "nothing"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skipf("symbolic links: %v", err)
		}
	}
	all, err := types.LoadNetworks(dir)
	if len(all) != 1 || all[0].Name != "n" {
		t.Errorf("LoadNetworks = %v, want one network", all)
	}
	n, findErr := types.FindNetwork(dir, "n")
	if findErr != nil || n.Warnings != nil {
		t.Errorf("FindNetwork = %v, warnings %q, want neither", findErr, n.Warnings)
	}
	if _, findErr = types.FindNetwork(dir, "m"); findErr == nil || !strings.Contains(findErr.Error(), "gone.conf") {
		t.Errorf("FindNetwork(m) = %v, want gone.conf in it", findErr)
	}
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "gone.conf") || strings.Contains(err.Error(), "dir.conf") {
		t.Errorf("LoadNetworks = %v, want one error, for gone.conf", err)
	}
}

// A folder that is there and cannot be read is an error.
func TestLoadNetwork_BadFolder(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{"x": list("n", `,"plugins":[{"type":"a"}]`)})
	if err := os.Symlink("n", filepath.Join(dir, "n")); err != nil {
		t.Skipf("symbolic links: %v", err)
	}
	n, err := types.LoadNetwork(filepath.Join(dir, "x"))
	if n != nil {
		t.Errorf("LoadNetwork = %+v, want nil", n)
	}
	wantError(t, "LoadNetwork", err, types.ErrIOFailure, "read directory: ", filepath.Join(dir, "n"))
}
