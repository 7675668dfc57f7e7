// SPDX-License-Identifier: Apache-2.0

package arch_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The plugin in the README compiles, and the commands there answer what it says.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("README.md has no block of Go")
	}
	bin := buildReadme(t, block[1])
	// A command stands behind "$ ", may go on in the next line, and its answer
	// follows, up to "…" where it is cut.
	commands := regexp.MustCompile(`(?m)^    \$ (echo .*(?:\|\n.*)?)\n    (\{.*)$`).FindAllSubmatch(readme, -1)
	if len(commands) < 2 {
		t.Fatalf("README.md has %d commands with answers, want at least 2", len(commands))
	}
	for _, c := range commands {
		cmd := exec.Command("sh", "-c", string(c[1]))
		cmd.Dir = bin
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(string(c[2]), "…")
		if got := strings.TrimSpace(string(out)); !strings.HasPrefix(got, want) {
			t.Errorf("%s\nanswers %s\nwant    %s", c[1], got, want)
		}
	}
}

// buildReadme builds a program as ./hello and returns its directory.
func buildReadme(t *testing.T, source []byte) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, "examples", "readme", "main.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{file: source, filepath.Join(dir, "overlay.json"): overlay} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", filepath.Join(dir, "hello"), "./examples/readme")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the plugin in README.md: %v\n%s", err, out)
	}
	return dir
}
