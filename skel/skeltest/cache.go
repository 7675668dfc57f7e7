// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// attachmentKey is the key of the cache. Joining the names to one string with a
// character that they may hold would let different attachments share an entry.
//
// Spec: checklist CACHE-002, AMB-077.
type attachmentKey struct{ network, containerID, ifName string }

// An entry is what ADD leaves for later commands.
//
// Spec: checklist CACHE-006.
type entry struct {
	attachment Attachment
	result     []byte
}

// file is an entry in a file.
type file struct {
	Network    string          `json:"network"`
	Attachment Attachment      `json:"attachment"`
	Result     json.RawMessage `json:"result"`
}

// path is where an entry lies. Neither a network nor a container has a comma in its
// name, and an interface is named last.
func (r *Runtime) path(k attachmentKey) string {
	return filepath.Join(r.CacheDir, k.network+","+k.containerID+","+k.ifName+".json")
}

// remember keeps an entry. A file is replaced as a whole or not at all.
//
// Spec: checklist CACHE-001, CACHE-009, CACHE-010.
func (r *Runtime) remember(k attachmentKey, e *entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.CacheDir == "" {
		if r.cache == nil {
			r.cache = make(map[attachmentKey]*entry)
		}
		r.cache[k] = e
		return nil
	}
	data, err := json.Marshal(file{k.network, e.attachment, e.result})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.CacheDir, 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(r.CacheDir, ".new-")
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err := errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return os.Rename(temporary.Name(), r.path(k))
}

// recall returns an entry, and nil if there is none.
func (r *Runtime) recall(k attachmentKey) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.CacheDir == "" {
		return r.cache[k], nil
	}
	f, err := read(r.path(k))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &entry{f.Attachment, f.Result}, err
}

func read(path string) (f file, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("cached result %s: %w", path, err)
	}
	return f, nil
}

// drop forgets an entry, and agrees if there is none.
func (r *Runtime) drop(k attachmentKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.CacheDir == "" {
		delete(r.cache, k)
		return nil
	}
	if err := os.Remove(r.path(k)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Attachments returns the attachments of a network that ADD has made and DEL has not
// removed, sorted.
func (r *Runtime) Attachments(n *types.Network) ([]Attachment, error) { return r.known(n.Name) }

// known returns the attachments of a network, in a stable order, and the errors of those
// that cannot be read.
//
// Spec: checklist CACHE-014.
func (r *Runtime) known(network string) ([]Attachment, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Attachment
	var errs []error
	for k, e := range r.cache {
		if k.network == network {
			all = append(all, e.attachment)
		}
	}
	if r.CacheDir != "" {
		entries, err := os.ReadDir(r.CacheDir)
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, d := range entries {
			if !strings.HasPrefix(d.Name(), network+",") {
				continue
			}
			f, err := read(filepath.Join(r.CacheDir, d.Name()))
			if err != nil {
				errs = append(errs, err)
				continue
			}
			all = append(all, f.Attachment)
		}
	}
	slices.SortFunc(all, func(a, b Attachment) int {
		return strings.Compare(a.ContainerID+"\x00"+a.IfName, b.ContainerID+"\x00"+b.IfName)
	})
	return all, errors.Join(errs...)
}
