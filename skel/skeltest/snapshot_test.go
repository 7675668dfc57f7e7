// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cnikit/cnikit/skel/skeltest"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		before, after skeltest.Snapshot
		want          string
	}{
		{"equal", "a\nb", "a\nb", ""},
		{"another order", "a\nb", "b\na", ""},
		{"one more", "a", "a\nb", "+b\n"},
		{"one less", "a\nb", "b", "-a\n"},
		{"twice", "a", "a\na", "+a\n"},
		{"changed", "a\nlink up", "a\nlink down", "-link up\n+link down\n"},
		{"from nothing", "", "a", "-\n+a\n"},
	}
	for _, tt := range tests {
		if got := skeltest.Diff(tt.before, tt.after); got != tt.want {
			t.Errorf("%s: Diff(%q, %q) = %q, want %q", tt.name, tt.before, tt.after, got, tt.want)
		}
	}
}

func TestSnapshotDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "net", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "net", "10.0.0.2"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		dir  string
		want skeltest.Snapshot
	}{
		{dir, "file net/\nfile net/10.0.0.2\nfile net/sub/\n"},
		{filepath.Join(dir, "nothing"), ""},
	}
	for _, tt := range tests {
		if got, err := skeltest.SnapshotDir(tt.dir); err != nil || got != tt.want {
			t.Errorf("SnapshotDir(%s) = %q, %v, want %q", tt.dir, got, err, tt.want)
		}
	}
}
