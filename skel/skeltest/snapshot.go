// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Snapshot is a state in words, one thing a line: the links, addresses, routes, rules,
// neighbours, queueing disciplines, sysctls and firewall of a namespace, or the files of
// a directory. It leaves out what the kernel does in its own time, such as link-local
// addresses. A snapshot can be compared with ==.
type Snapshot string

// Diff returns what is in one snapshot and not in the other, as lines that begin with
// "-" for what was there before alone and "+" for what is there after alone. It is
// empty if they are equal.
func Diff(before, after Snapshot) string {
	was, is := strings.Split(string(before), "\n"), strings.Split(string(after), "\n")
	var b strings.Builder
	only := func(sign string, these, those []string) {
		left := slices.Clone(those)
		for _, line := range these {
			if i := slices.Index(left, line); i >= 0 {
				left = slices.Delete(left, i, i+1)
				continue
			}
			b.WriteString(sign + line + "\n")
		}
	}
	only("-", was, is)
	only("+", is, was)
	return b.String()
}

// SnapshotDir returns the names of all files below a directory, sorted, with a slash
// after those of directories. What is in them is not part of it. A directory that does
// not exist has no files.
func SnapshotDir(dir string) (Snapshot, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == dir {
				return fs.SkipAll
			}
			return err
		}
		if name := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/"); name != "" {
			b.WriteString("file " + name)
			if d.IsDir() {
				b.WriteString("/")
			}
			b.WriteString("\n")
		}
		return nil
	})
	return Snapshot(b.String()), err
}
