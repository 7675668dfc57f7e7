// SPDX-License-Identifier: Apache-2.0

package types

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// LoadNetwork reads the network configuration in a file. Unless its
// loadOnlyInlinedPlugins is true, the plugins in the folder of the network follow
// those in the file: each file whose name ends in ".conf", in byte order of the
// names, of the folder beside the file that has the name of the network. A folder
// that is not there is as good as an empty one.
//
// The errors are those of [ParseNetwork], each naming the file, and
// [ErrIOFailure] for a file that cannot be read, which is [fs.ErrNotExist] if it
// is not there. It is [ErrInvalidNetworkConfig] as well if a file of the folder
// says that it is for another network or for a version that the list does not
// offer.
//
// Spec: CNI 1.1.0, section 1; checklist CONF-016 to CONF-024, AMB-014, AMB-027,
// AMB-028, AMB-031.
func LoadNetwork(path string) (*Network, error) {
	data, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	return loadNetwork(path, data)
}

// loadNetwork makes a network of the content of its file.
func loadNetwork(path string, data []byte) (*Network, error) {
	n, err := parseNetwork(data)
	if err != nil {
		return nil, inFile(path, err)
	}
	n.Path = path
	for i := range n.Plugins {
		n.Plugins[i].Path = path
	}
	for i, w := range n.Warnings {
		n.Warnings[i] = path + ": " + w
	}
	if !n.LoadOnlyInlinedPlugins {
		if err := n.loadFolder(filepath.Join(filepath.Dir(path), n.Name)); err != nil {
			return nil, err
		}
	}
	if len(n.Plugins) == 0 {
		return nil, inFile(path, errNoPlugins())
	}
	return n, nil
}

// loadFolder appends the plugins in a folder. The name of the network, which is
// the last part of its path, is valid.
func (n *Network) loadFolder(dir string) error {
	files, err := configFiles(dir, ".conf")
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || isNotDirectory(dir) {
			return nil
		}
		return err
	}
	for _, path := range files {
		if err := n.loadPlugin(path); err != nil {
			return err
		}
	}
	return nil
}

// isNotDirectory reports whether something else than a directory has the path.
func isNotDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// loadPlugin appends the plugin in one file of the folder.
func (n *Network) loadPlugin(path string) error {
	data, err := readConfig(path)
	if err != nil {
		return err
	}
	doc, err := parseDocument(data)
	if err == nil {
		err = n.checkOwner(doc)
	}
	if err != nil {
		return inFile(path, err)
	}
	before := len(n.Warnings)
	p, err := n.readPlugin(doc, "")
	if err != nil {
		return inFile(path, err)
	}
	for i := before; i < len(n.Warnings); i++ {
		n.Warnings[i] = path + ": " + n.Warnings[i]
	}
	p.Path = path
	n.Plugins = append(n.Plugins, p)
	return nil
}

// checkOwner checks that a plugin in the folder belongs to the network, where it
// says so.
//
// Spec: checklist CONF-020, AMB-027.
func (n *Network) checkOwner(doc node) error {
	err := doc.fields(func(key string, v node) error {
		switch key {
		case "name":
			name, err := v.text()
			if err == nil && name != n.Name {
				err = v.invalid(errors.New(quote(name) + " is another network; want " + quote(n.Name) + " or nothing"))
			}
			return err
		default:
			version, err := v.version()
			if err == nil && version != 0 && !slices.Contains(n.Offered, version) {
				err = v.invalid(errors.New(version.String() + " is not offered by the network; want one of " + joinVersions(n.Offered) + " or nothing"))
			}
			return err
		}
	}, "name", "cniVersion")
	return err
}

// LoadNetworks reads the networks of a directory in the order in which runtimes
// choose: all files whose names end in ".conf", ".conflist" or ".json", in byte
// order of the names. Subdirectories are passed over.
//
// It returns what is good, and an error for what is not, which joins one error a
// file. Of several networks of one name the first is returned, and the others are
// errors. The error is [fs.ErrNotExist] if the directory is not there.
//
// Spec: checklist CONF-011, CONF-043.
func LoadNetworks(dir string) ([]*Network, error) {
	files, err := configFiles(dir, ".conf", ".conflist", ".json")
	if err != nil {
		return nil, err
	}
	var all []*Network
	var bad []error
	for _, path := range files {
		n, err := LoadNetwork(path)
		if err == nil {
			err = checkUnique(all, n)
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		all = append(all, n)
	}
	return all, errors.Join(bad...)
}

func checkUnique(all []*Network, n *Network) error {
	for _, other := range all {
		if other.Name == n.Name {
			return inFile(n.Path, invalid("name", quote(n.Name)+" is the name of the network in "+other.Path+"; want one of its own"))
		}
	}
	return nil
}

// FindNetwork reads the network of that name in a directory: the first one in the
// files whose names end in ".conflist", in byte order, and then in those that end
// in ".conf" or ".json".
//
// A bad file of another network, or whose network is unknown, does not prevent
// that, and is among the warnings of the network. If no file has the network, the
// error is [fs.ErrNotExist] and joins what is wrong with the bad files. A name
// that is not valid is [ErrInvalidNetworkConfig], and nothing is read.
//
// Spec: checklist CONF-024, CONF-042, CONF-043.
func FindNetwork(dir, name string) (*Network, error) {
	if err := ValidateNetworkName(name); err != nil {
		return nil, invalid("name", err.Error())
	}
	files, err := configFiles(dir, ".conf", ".conflist", ".json")
	if err != nil {
		return nil, err
	}
	var lists, flats []string
	for _, path := range files {
		if filepath.Ext(path) == ".conflist" {
			lists = append(lists, path)
		} else {
			flats = append(flats, path)
		}
	}
	var bad []error
	for _, path := range append(lists, flats...) {
		data, err := readConfig(path)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		have, err := nameIn(data)
		switch {
		case err != nil:
			bad = append(bad, inFile(path, err))
		case have == name:
			return withWarnings(path, data, bad)
		}
	}
	missing := &fs.PathError{Op: "find network " + quote(name), Path: dir, Err: fs.ErrNotExist}
	return nil, errors.Join(append([]error{missing}, bad...)...)
}

// nameIn returns the name of the network in a file, whatever else is in there.
func nameIn(data []byte) (name string, err error) {
	doc, err := parseDocument(data)
	if err != nil {
		return "", err
	}
	err = doc.fields(func(_ string, v node) (err error) {
		name, err = v.name(ValidateNetworkName)
		return err
	}, "name")
	if err == nil && name == "" {
		err = invalid("name", "is missing; want the name of the network")
	}
	return name, err
}

// withWarnings loads a network and adds the bad files beside it to its warnings.
func withWarnings(path string, data []byte, bad []error) (*Network, error) {
	n, err := loadNetwork(path, data)
	if err != nil {
		return nil, err
	}
	for _, err := range bad {
		n.Warnings = append(n.Warnings, err.Error())
	}
	return n, nil
}

// configFiles returns the paths of the files in a directory whose names have one
// of the extensions, in byte order of the names.
//
// Spec: checklist CONF-022, CONF-042.
func configFiles(dir string, extensions ...string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, ioError("read directory", err)
	}
	var paths []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if slices.Contains(extensions, filepath.Ext(e.Name())) && !isDirectory(path, e) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// isDirectory reports whether an entry is a directory or a link to one. What
// cannot be told is taken for a file, whose reading then says what is wrong.
func isDirectory(path string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// maxConfig is the size of the largest configuration file in bytes. Package skel
// reads no larger request.
const maxConfig = 32 << 20

// readConfig reads a configuration file. It has to be a regular file, since the
// opening of a pipe would wait for ever.
func readConfig(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, ioError("read configuration", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, inFile(path, NewError(ErrIOFailure, "is not a regular file", nil))
	case info.Size() > maxConfig:
		return nil, inFile(path, NewError(ErrIOFailure, "is larger than "+strconv.Itoa(maxConfig)+" bytes", nil))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, ioError("read configuration", err)
	}
	return data, nil
}

func ioError(what string, err error) error { return NewError(ErrIOFailure, what, err) }

// inFile puts the path of a file in front of an error of this package.
func inFile(path string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &Error{Code: e.Code, Msg: path + ": " + e.Msg, Details: e.Details, Err: e.Err}
}
