// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// fileTx is the Tx of a directory, under its lock.
type fileTx struct {
	directory
	// owners are the addresses by owner as the files say. Nil while the links are up
	// to date.
	owners map[types.Attachment][]netip.Addr
	// changed says that the signature is gone, and broken that the links are not
	// what they should be.
	changed, broken bool
}

// begin looks whether the links are up to date, and reads all files if not.
func (tx *fileTx) begin() error {
	if tx.signed() {
		return nil
	}
	return tx.scan()
}

// scan reads all files, marks those that somebody else made, and clears away what a
// crash left of a reservation.
func (tx *fileTx) scan() error {
	taken, err := tx.Taken()
	if err != nil {
		return err
	}
	tx.owners = make(map[types.Attachment][]netip.Addr, len(taken))
	tx.clear(filepath.Join(tx.path, newName))
	for _, addr := range sorted(taken) {
		owner, err := tx.look(addr, tx.mark)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			tx.clear(tx.file(addr))
		case err == nil && owner != types.Attachment{}:
			tx.owners[owner] = append(tx.owners[owner], addr)
		}
		// What cannot be read has no owner that we know, and stays taken.
	}
	return nil
}

// mark marks a reservation that has no mark: it was made in this boot or before. One
// that cannot be marked is never stale, which is no error.
func (tx *fileTx) mark(fd int) error {
	boot := tx.boot()
	if have, err := readMark(fd); boot == "" || have != "" || err != nil {
		return nil
	}
	if err := tx.before("mark"); err == nil {
		_ = writeMark(fd, boot)
	}
	return nil
}

// clear removes what a crash left behind. What resists is a reason to look again,
// not to fail.
func (tx *fileTx) clear(path string) {
	if tx.remove(path) != nil {
		tx.broken = true
	}
}

// end signs the directories if the links are up to date. If they cannot be
// brought up to date, the next Update reads all files again; that costs time and
// nothing else, so it is no error.
func (tx *fileTx) end() {
	if tx.owners != nil {
		tx.changed = true
		tx.broken = tx.writeIndex() != nil || tx.broken
	}
	if tx.changed && !tx.broken {
		tx.sign()
	}
}

// Addrs implements [Tx].
func (tx *fileTx) Addrs(owner types.Attachment) ([]netip.Addr, error) {
	if tx.owners == nil {
		addrs, err := tx.linked(owner)
		if !errors.Is(err, errBadLink) {
			return addrs, err
		}
		if err := tx.scan(); err != nil {
			return nil, err
		}
	}
	return slices.Clone(tx.owners[owner]), nil
}

// errBadLink says that a link is not what the files say, which nobody who keeps
// the rules can have brought about.
var errBadLink = errors.New("link without reservation")

// linked returns the addresses that the links of the owner name, each of which
// has been read.
func (tx *fileTx) linked(owner types.Attachment) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for {
		addr, err := readLink(tx.link(owner, len(addrs)))
		if errors.Is(err, fs.ErrNotExist) {
			return addrs, nil
		}
		if err != nil {
			return nil, err
		}
		have, err := tx.Owner(addr)
		if errors.Is(err, fs.ErrNotExist) || err == nil && have != owner {
			return nil, errBadLink
		}
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
}

// Reserve implements [Tx]. The file is written under another name and then linked
// to the one that counts, which fails if that is taken.
func (tx *fileTx) Reserve(addr netip.Addr, owner types.Attachment) error {
	if err := validateRecord(addr, owner); err != nil {
		return err
	}
	path, draft := tx.file(addr), filepath.Join(tx.path, newName)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "reserve", Path: path, Err: errors.Join(err, fs.ErrExist)}
	}
	if err := tx.write(draft, formatRecord(owner), tx.boot()); err != nil {
		return err
	}
	err := tx.before("link")
	if err == nil {
		err = os.Link(draft, path)
	}
	if err != nil {
		return errors.Join(err, tx.remove(draft))
	}
	tx.addLink(owner, addr)
	// The reservation stands. If its other name stays, the next writer removes it.
	_ = tx.remove(draft)
	return nil
}

func validateRecord(addr netip.Addr, owner types.Attachment) error {
	if name, ok := parseName(addr.String()); !ok || name != addr {
		return fmt.Errorf("reserve %s: not an address that can be reserved", addr)
	}
	if got, blank := parseRecord(formatRecord(owner)); blank || got != owner || owner == (types.Attachment{}) {
		return fmt.Errorf("reserve %s: owner %+v cannot be recorded", addr, owner)
	}
	return nil
}

// Renew implements [Tx].
func (tx *fileTx) Renew(addr netip.Addr) error {
	_, err := tx.look(addr, func(fd int) error {
		have, err := readMark(fd)
		if err != nil || have == tx.boot() {
			return err
		}
		if tx.boot() == "" {
			return errors.New("renew: the running boot is not known")
		}
		if err := tx.before("mark"); err != nil {
			return err
		}
		return writeMark(fd, tx.boot())
	})
	return err
}

// Release implements [Tx].
func (tx *fileTx) Release(addr netip.Addr, owner types.Attachment) error {
	have, err := tx.Owner(addr)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (have != owner || owner == types.Attachment{}) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := tx.remove(tx.file(addr)); err != nil {
		return err
	}
	tx.removeLink(owner, addr)
	return nil
}

// SetCursor implements [Tx].
func (tx *fileTx) SetCursor(set int, addr netip.Addr) error {
	draft := filepath.Join(tx.path, newName)
	if err := tx.write(draft, []byte(addr.String()), ""); err != nil {
		return err
	}
	err := tx.before("rename")
	if err == nil {
		err = os.Rename(draft, tx.cursor(set))
	}
	if err != nil {
		err = errors.Join(err, tx.remove(draft))
	}
	return err
}

// write writes a new file with the mark of a boot, and removes it again if it cannot.
func (tx *fileTx) write(path string, data []byte, boot string) error {
	tx.changed = true
	err := newFile(path, data, boot, tx.before)
	if errors.Is(err, fs.ErrExist) {
		// Left behind by somebody who died. It may be another name of a reservation, so
		// it must not be written to.
		if err := tx.remove(path); err != nil {
			return err
		}
		err = newFile(path, data, boot, tx.before)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("write %s: somebody makes it again and again", path)
	case err != nil:
		return errors.Join(err, tx.remove(path))
	}
	return nil
}

// remove removes a file; that it is gone is success.
func (tx *fileTx) remove(path string) error {
	tx.changed = true
	if err := tx.before("remove"); err != nil {
		return err
	}
	err := os.Remove(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrExist):
		// ENOTEMPTY is fs.ErrExist too, which in Reserve says that an address is taken.
		return fmt.Errorf("remove %s: directory not empty", path)
	}
	return err
}

// addLink and removeLink keep the links up to date, or the map from which they
// will be written.

func (tx *fileTx) addLink(owner types.Attachment, addr netip.Addr) {
	if tx.owners != nil {
		tx.owners[owner] = append(tx.owners[owner], addr)
		return
	}
	for n := 0; ; n++ {
		err := tx.before("symlink")
		if err == nil {
			err = os.Symlink(tx.target(addr), tx.link(owner, n))
		}
		if !errors.Is(err, fs.ErrExist) {
			tx.broken = tx.broken || err != nil
			return
		}
	}
}

func (tx *fileTx) removeLink(owner types.Attachment, addr netip.Addr) {
	if tx.owners != nil {
		rest := tx.owners[owner]
		if i := slices.Index(rest, addr); i >= 0 {
			tx.owners[owner] = slices.Delete(rest, i, i+1)
		}
		return
	}
	err := tx.dropLink(owner, addr)
	tx.broken = tx.broken || err != nil
}

// dropLink removes the link to the address, and moves the last link of the owner
// into its place so that there is no gap.
func (tx *fileTx) dropLink(owner types.Attachment, addr netip.Addr) error {
	place, n := -1, 0
	for ; ; n++ {
		have, err := readLink(tx.link(owner, n))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		if have == addr {
			place = n
		}
	}
	if place < 0 {
		return errBadLink
	}
	if err := tx.before("unlink"); err != nil {
		return err
	}
	if place == n-1 {
		return os.Remove(tx.link(owner, place))
	}
	return os.Rename(tx.link(owner, n-1), tx.link(owner, place))
}

// writeIndex makes the links what the map says. The directories of the links are
// ours alone, so there is no reason for one of them to be a link itself, and what is
// behind it is somebody else's.
func (tx *fileTx) writeIndex() error {
	for _, dir := range []string{filepath.Dir(tx.index), tx.index} {
		if err := tx.makeOwn(dir); err != nil {
			return err
		}
	}
	want := map[string]netip.Addr{}
	for owner, addrs := range tx.owners {
		for n, addr := range addrs {
			want[tx.link(owner, n)] = addr
		}
	}
	names, err := readNames(tx.index)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(tx.index, name)
		addr, err := readLink(path)
		if err == nil && want[path] == addr {
			delete(want, path)
			continue
		}
		if err := tx.before("index"); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for path, addr := range want {
		if err := tx.before("index"); err != nil {
			return err
		}
		if err := os.Symlink(tx.target(addr), path); err != nil {
			return err
		}
	}
	return nil
}

// makeOwn makes a directory with mode 0755, whatever the umask is, unless it is there.
func (tx *fileTx) makeOwn(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := tx.before("index"); err != nil {
			return err
		}
		return makeDirs(dir)
	case err == nil && !info.IsDir():
		err = &fs.PathError{Op: "open", Path: dir, Err: errNotDirectory}
	}
	return err
}

// target returns what a link to an address holds: the path of its file, for
// whoever looks at it.
func (tx *fileTx) target(addr netip.Addr) string {
	return filepath.Join("..", "..", filepath.Base(tx.path), addr.String())
}

// readLink returns the address that a link names.
func readLink(path string) (netip.Addr, error) {
	target, err := os.Readlink(path)
	if errors.Is(err, fs.ErrNotExist) {
		return netip.Addr{}, err
	}
	if err != nil {
		return netip.Addr{}, errBadLink // another thing in the place of a link
	}
	addr, ok := parseName(filepath.Base(target))
	if !ok {
		return netip.Addr{}, errBadLink
	}
	return addr, nil
}

// longestName is the longest name of a link, well below what file systems allow.
const longestName = 200

// link returns the path of the link with number n of an owner. A container ID
// holds no "@", so two owners have different names; one whose name cannot be a
// file name has a hash instead, which is why the files are what counts.
func (tx *fileTx) link(owner types.Attachment, n int) string {
	name := owner.ContainerID + "@" + owner.IfName
	if len(name) > longestName || strings.Contains(name, "/") {
		name = "@" + hash(name)
	}
	return filepath.Join(tx.index, fmt.Sprintf("%s#%d", name, n))
}
