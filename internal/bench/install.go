// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// A folder is a copy of a folder of plugins, by the name that the command line has for it.
type folder struct {
	name, dir string
}

// installed calls f with copies of the folders and of the bare program, as an image or a
// package puts them on a node. What a linker writes has single pages in the page cache, and
// what is copied has bigger folios, of which one fault maps more: a process of a file that was
// just built takes a tenth longer than one of its copy.
func installed(dirs []string, f func(folders []folder, bare string) error) (err error) {
	root, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	var folders []folder
	for i, dir := range dirs {
		copied := filepath.Join(root, strconv.Itoa(i))
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			return fmt.Errorf("copy %s: %w", dir, err)
		}
		folders = append(folders, folder{dir, copied})
	}
	built, bare := filepath.Join(root, "built"), filepath.Join(root, "bare")
	if err := buildBare(filepath.Join(built, "program")); err != nil {
		return err
	}
	if err := os.CopyFS(bare, os.DirFS(built)); err != nil {
		return err
	}
	return f(folders, filepath.Join(bare, "program"))
}
