// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

// FuzzLoadNetworks reads a directory with whatever files: what comes back is valid and
// each network is found by its name; what does not is an error that names a file.
func FuzzLoadNetworks(f *testing.F) {
	const flat, plugins = `{"cniVersion":"0.4.0","name":"b","type":"bridge"}`, `,"plugins":[{"type":"x"}]`
	f.Add("10-a.conflist", list("a", plugins), "20-b.conf", flat, "a/1.conf", `{"type":"y"}`)
	f.Add("10-a.conflist", list("a", `,"loadOnlyInlinedPlugins":"true"`+plugins), "a.json", list("a", plugins), "b.conflist", `{`)
	f.Add("x.conflist", list("n", ""), "n/a.conf", `{"name":"m","type":"t"}`, "n/b.conf", `[]`)
	f.Add("x.conf", ``, ".conflist", "\xff", "y.json/z.json", `null`)
	f.Fuzz(func(t *testing.T, name1, text1, name2, text2, name3, text3 string) {
		dir := t.TempDir()
		for _, file := range [][2]string{{name1, text1}, {name2, text2}, {name3, text3}} {
			if !filepath.IsLocal(file[0]) || strings.ContainsRune(file[0], 0) || len(file[0]) > 100 {
				continue
			}
			path := filepath.Join(dir, file[0])
			if os.MkdirAll(filepath.Dir(path), 0o755) != nil || os.WriteFile(path, []byte(file[1]), 0o600) != nil {
				continue // two files want the same name, or one that no file may have
			}
		}
		all, err := types.LoadNetworks(dir)
		if err != nil && !strings.Contains(err.Error(), dir) {
			t.Errorf("LoadNetworks = %v, want the path of a file in it", err)
		}
		seen := map[string]bool{}
		for _, n := range all {
			if seen[n.Name] || types.ValidateNetworkName(n.Name) != nil || len(n.Plugins) == 0 {
				t.Errorf("LoadNetworks gives %+v, after %v", n, seen)
			}
			seen[n.Name] = true
			for i, p := range n.Plugins {
				if types.ValidatePluginType(p.Type) != nil {
					t.Errorf("plugin of type %q", p.Type)
				}
				if _, err := n.Request(i, types.RequestParams{Command: types.CommandAdd}); err != nil {
					t.Errorf("Request(%d) = %v", i, err)
				}
			}
			// A better file of that name may come first, or a worse one.
			if _, err := types.FindNetwork(dir, n.Name); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("FindNetwork(%q) = %v, LoadNetworks has it", n.Name, err)
			}
		}
	})
}
