// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A disk watches a directory, one change at a time, and knows what may be found
// there after a power cut. It is the weakest disk there is: nothing that was not
// there at the beginning is sure to have been written. Each name, the content and the
// mark of each file and the time of each directory are as they were at some moment
// since, each at a moment of its own; and of a content a part may be missing, or
// zeros.
type disk struct {
	t     *testing.T
	root  string
	looks int
	names map[string]*history[*node] // nil: there is no such name
	nodes map[uint64]*node           // by inode number
	times map[string]*history[time.Time]
}

// A node is a file, a link or a directory.
type node struct {
	mode fs.FileMode
	data history[string] // of a link, the target
	mark history[string]
	fd   int // held open, so that the number of the inode is not given to another
}

// A history is what something was, and since which look.
type history[T comparable] struct {
	since []int
	was   []T
}

// add adds what it is at a look, and reports whether that is new.
func (h *history[T]) add(look int, is T) bool {
	if n := len(h.was); n > 0 && h.was[n-1] == is {
		return false
	}
	h.since, h.was = append(h.since, look), append(h.was, is)
	return true
}

// until returns what it was up to a look: the last one is what it was then.
func (h *history[T]) until(look int) []T {
	n := len(h.was)
	for n > 0 && h.since[n-1] > look {
		n--
	}
	return h.was[:n]
}

func newDisk(t *testing.T, root string) *disk {
	d := &disk{t: t, root: root, names: map[string]*history[*node]{}, nodes: map[uint64]*node{}, times: map[string]*history[time.Time]{}}
	d.look()
	return d
}

// close lets the inodes go.
func (d *disk) close() {
	for _, n := range d.nodes {
		if err := syscall.Close(n.fd); err != nil {
			d.t.Error(err)
		}
	}
}

// look takes note of what is there, and fails the test if more than one thing has
// changed: then the steps of the store are not all of them told.
func (d *disk) look() {
	d.t.Helper()
	there := map[string]bool{}
	var changed []string
	err := filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == d.root {
			return err
		}
		name := strings.TrimPrefix(path, d.root+"/")
		there[name] = true
		info, err := e.Info()
		if err != nil {
			return err
		}
		n, err := d.node(path, info)
		if err != nil {
			return err
		}
		if d.names[name] == nil {
			d.names[name] = &history[*node]{}
			if d.looks > 0 {
				d.names[name].add(0, nil)
			}
		}
		if d.names[name].add(d.looks, n) && name != "net/lock" {
			changed = append(changed, "name "+name)
		}
		if d.times[name] == nil {
			d.times[name] = &history[time.Time]{}
		}
		d.times[name].add(d.looks, signatureOf(info))
		data, mark, err := content(path, info)
		if n.data.add(d.looks, data) && len(n.data.was) > 1 || n.mark.add(d.looks, mark) && len(n.mark.was) > 1 {
			changed = append(changed, "content of "+name)
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	for name, h := range d.names {
		if !there[name] && h.add(d.looks, nil) {
			changed = append(changed, "no name "+name)
		}
	}
	slices.Sort(changed)
	renamed := len(changed) == 2 && strings.HasPrefix(changed[0], "name ") && strings.HasPrefix(changed[1], "no name ")
	doubled := len(changed) == 2 && strings.HasPrefix(changed[0], "content of ") && strings.HasPrefix(changed[1], "content of ") // two names of one file
	if d.looks > 0 && len(changed) > 1 && !renamed && !doubled {
		d.t.Errorf("look %d: %q changed in one step", d.looks, changed)
	}
	d.looks++
}

// signatureOf returns the time of a directory if it is a signature, and else the zero
// time: which one it is makes no difference.
func signatureOf(info fs.FileInfo) time.Time {
	if at := info.ModTime(); at.Year() < 1995 {
		return at
	}
	return time.Time{}
}

func (d *disk) node(path string, info fs.FileInfo) (*node, error) {
	number := info.Sys().(*syscall.Stat_t).Ino
	if n := d.nodes[number]; n != nil {
		return n, nil
	}
	const oPath = 0x200000 // O_PATH; include/uapi/asm-generic/fcntl.h
	fd, err := syscall.Open(path, oPath|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	n := &node{mode: info.Mode(), fd: fd}
	d.nodes[number] = n
	return n, err
}

// content returns the content and the mark of a file, or the target of a link.
func content(path string, info fs.FileInfo) (data, mark string, err error) {
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		data, err = os.Readlink(path)
	case 0:
		var bytes []byte
		bytes, err = os.ReadFile(path)
		data = string(bytes)
		var value [100]byte
		if n, err := syscall.Getxattr(path, "user.cnikit.boot", value[:]); err == nil {
			mark = string(value[:n])
		}
	}
	return data, mark, err
}

// A wreck is what is found after a power cut.
type wreck struct {
	nodes map[string]*node // what has a name
	data  map[*node]string
	marks map[*node]string
	times map[string]time.Time
}

// losses are how much a power cut may take, from nothing to everything that was not
// there at the beginning.
const losses = 4

// cut draws one of the wrecks that a power cut at a look may leave.
func (d *disk) cut(look, loss int, lots *rand.Rand) wreck {
	w := wreck{nodes: map[string]*node{}, data: map[*node]string{}, marks: map[*node]string{}, times: map[string]time.Time{}}
	for _, name := range sortedKeys(d.names) {
		n := draw(d.names[name].until(look), loss, lots)
		if n == nil || filepath.Dir(name) != "." && w.nodes[filepath.Dir(name)] == nil {
			continue
		}
		w.nodes[name] = n
		if n.mode.IsDir() {
			w.times[name] = draw(d.times[name].until(look), loss, lots)
			continue
		}
		if _, ok := w.data[n]; ok {
			continue // another name of the same file
		}
		data := n.data.until(look)
		w.data[n], w.marks[n] = draw(data, loss, lots), draw(n.mark.until(look), loss, lots)
		if n.mode.IsRegular() && len(data) > 1 && w.data[n] != "" && loss > 0 {
			w.data[n] = tear(w.data[n], lots)
		}
	}
	return w
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// draw returns the last of the values, or, with some loss, another one.
func draw[T comparable](was []T, loss int, lots *rand.Rand) T {
	var zero T
	if len(was) == 0 {
		return zero
	}
	if loss == 0 || loss < losses-1 && lots.IntN(losses-1) >= loss {
		return was[len(was)-1]
	}
	var different []T
	for _, v := range was {
		if !slices.Contains(different, v) {
			different = append(different, v)
		}
	}
	if len(different) == 1 {
		return was[0]
	}
	return different[lots.IntN(len(different))]
}

// tear returns a content of which a part may not have been written. The places are
// those that make a difference: in the container ID, between it and the line break, in
// the line break, and in the interface name.
func tear(data string, lots *rand.Rand) string {
	end := strings.Index(data, "\r\n")
	places := []int{len(data), 1, end, end + 1, end + 2, end + 3}
	if end < 0 {
		places = []int{len(data), len(data) / 2}
	}
	at := places[lots.IntN(len(places))]
	if at == len(data) {
		return data
	}
	switch lots.IntN(3) {
	case 0:
		return data[:at]
	case 1:
		return data[:at] + strings.Repeat("\x00", len(data)-at)
	}
	return strings.Repeat("\x00", at) + data[at:]
}

// lay makes a directory what the wreck is.
func (w wreck) lay(root string) error {
	first := map[*node]string{}
	for _, name := range sortedKeys(w.nodes) {
		n, path := w.nodes[name], filepath.Join(root, name)
		var err error
		switch {
		case first[n] != "":
			err = os.Link(first[n], path)
		case n.mode.IsDir():
			err = os.Mkdir(path, 0o755)
		case n.mode.Type() == fs.ModeSymlink:
			err = os.Symlink(w.data[n], path)
		default:
			err = os.WriteFile(path, []byte(w.data[n]), 0o600)
			if w.marks[n] != "" {
				err = errors.Join(err, syscall.Setxattr(path, "user.cnikit.boot", []byte(w.marks[n]), 0))
			}
		}
		if err != nil {
			return err
		}
		if !n.mode.IsDir() {
			first[n] = path
		}
	}
	for name, at := range w.times {
		if at.IsZero() {
			continue
		}
		if err := os.Chtimes(filepath.Join(root, name), time.Time{}, at); err != nil {
			return err
		}
	}
	return nil
}

// String lists what there is.
func (w wreck) String() string {
	var b strings.Builder
	for _, name := range sortedKeys(w.nodes) {
		n := w.nodes[name]
		fmt.Fprintf(&b, "\t%s %v %q %q", name, n.mode.Type(), w.data[n], w.marks[n])
		if n.mode.IsDir() {
			fmt.Fprint(&b, " ", w.times[name].UTC())
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}
