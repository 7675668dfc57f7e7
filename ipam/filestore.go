// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cnikit/cnikit/types"
)

const (
	// DefaultDir is where nodes keep their reservations.
	//
	// Source: containernetworking/plugins v1.9.1,
	// plugins/ipam/host-local/backend/disk/backend.go (defaultDataDir).
	DefaultDir = "/var/lib/cni/networks"

	// DefaultLockLimit is how long a [FileStore] waits for its lock. Whoever holds it does so
	// for milliseconds, or for a tenth of a second where there are ten thousand
	// reservations and others write some, so a queue of a hundred processes is served.
	DefaultLockLimit = 15 * time.Second

	lockName     = "lock"
	cursorPrefix = "last_reserved_ip."
	// newName is a file that is being written. Only the holder of the lock has one,
	// so one name is enough, and what a crash leaves behind does not add up.
	newName = ".new"
)

// FileStore is the [Store] that host-local plugins keep on every node: a directory
// with a file for each reserved address. It takes turns with them on the same
// directory, under the same lock.
//
//	<Dir>/<Network>/
//		10.1.2.2            container ID, CR, LF, interface name; mode 0600
//		last_reserved_ip.0  the cursor of the first range set
//		lock                taken with flock for every change
//	<Dir>/.owners/<Network>/
//		c1@eth0#0           link to ../../<Network>/10.1.2.2
//
// A reservation appears in one step with its content, by link, and disappears in
// one step. Update waits for the lock at most LockLimit. A network without
// directory has no reservations; the directory is made by the first one.
//
// # Finding by owner
//
// The links under .owners find the addresses of an owner without reading the
// files of all the others. They are a hint and never the truth, which is only in
// the files: an address that a link names is read before it counts. What a link
// cannot tell is that one is missing, because another program reserved the
// address. Therefore whoever of us has brought the links up to date signs for it,
// by giving both directories the same modification time, one that no clock shows.
// Whoever adds or removes a name thereafter, or dies half-way, leaves another
// time behind by doing so, and then the next Update reads every file and brings
// the links up to date. So while only we write, the cost of an operation does not
// grow with the number of reservations; the first operation after somebody else's
// costs what it costs them.
//
// The invariant is: under the lock, if both directories are signed, each file
// named as an address has content, and each owner of one has links to all of its
// own, numbered from 0 without a gap. Every step keeps one of two states: signed
// and true, or not signed. Changes are made under the lock: a name that somebody
// adds without it, in the microseconds before a signature, is not seen until the
// next change.
//
// # Power cuts
//
// Nothing is forced to the disk. The signature is that of the running boot, so
// after a power cut every file is read once, by which time no container of before
// is left. A file whose content did not reach the disk is empty then, or has zeros in it,
// and its address is free; one whose name did not reach the disk is free as well. No
// address is lost, and none is handed out that a living container has. An fsync of the
// file and of the directory for each ADD would cost two waits for the disk, of
// 0.3 ms each on a virtual disk and 10 ms on a turning one, to protect addresses
// that nobody has any more. The plugins that nodes have today do not wait either.
//
// So an empty file, seen under the lock, is what a crash or a power cut left of a
// reservation, and is removed. To keep an address from being handed out, use the
// ranges, or a file that says for what: text that is no container ID is never
// touched.
//
// # Boots
//
// Containers do not survive a boot, but their reservations do, and nobody may ever
// release them. GC does, if the runtime asks for it. Besides, each file has an extended
// attribute, user.cnikit.boot, with the identity of the boot in which it was made, or in
// which it was first read if another program made it. If that is not the running boot,
// the reservation is stale: an [Allocator] that has no address left takes it away from
// its owner. The clock has no say in this, since a clock that is set after the start makes
// what is young look old. Where the kernel or the file system has no such attributes,
// nothing is ever stale. Everybody who uses the directory has to be of one boot: a
// system container with a boot ID of its own needs a directory of its own.
//
// # Others in the directory
//
// What is no regular file of at most 4 KiB is not read, whatever its name; its address
// is taken. Nothing is followed out of the directory: not a link in the place of a
// file, of the lock or of .owners. In the place of <Network> itself a link is followed if
// root or the user of this process made it. A pipe is not waited for. A directory that
// everybody can write to is used, since to refuse would stop every container of the
// node, and the log warns: whoever can write there can take, free and block
// addresses, but nothing else.
type FileStore struct {
	// Dir is the directory of all networks. Empty: [DefaultDir].
	Dir string
	// Network is the name of the network, which names its directory. It must be valid.
	Network string
	// LockLimit is the longest wait for the lock. Zero: [DefaultLockLimit].
	LockLimit time.Duration

	// before is called before each step that changes the file system, in tests.
	before func(step string) error
	// boot returns the identity of the running boot, in tests.
	boot func() string
}

// errNotDirectory says that something else is in the place of a directory.
var errNotDirectory = errors.New("not a directory")

// errForeignLink says that a link is in the place of a directory, and not by somebody
// who could have put the directory there.
var errForeignLink = errors.New("a link that neither root nor this user made")

// errAbsent says that an Update needs the directory, which is not there.
var errAbsent = errors.New("the directory is not there")

// View implements [Store]. It takes no lock.
func (s FileStore) View(_ context.Context, f func(Reader) error) error {
	d, err := s.open()
	if err != nil {
		return err
	}
	return f(d)
}

// Update implements [Store].
//
// Spec: checklist LIFE-006, LIFE-009, LIFE-010.
func (s FileStore) Update(ctx context.Context, f func(Tx) error) error {
	d, err := s.open()
	if err != nil {
		return err
	}
	if err := d.inspect(ctx); err != nil {
		return err
	}
	err = d.update(ctx, s.lockLimit(), f)
	if !errors.Is(err, errAbsent) {
		return err
	}
	if err := d.make(); err != nil {
		return err
	}
	if err = d.update(ctx, s.lockLimit(), f); errors.Is(err, errAbsent) {
		err = &fs.PathError{Op: "open", Path: d.path, Err: fs.ErrNotExist}
	}
	return err
}

// Ready reports whether reservations can be written: whether the directory of the
// network, or the nearest one above it that is there, is writable. It changes
// nothing. The error is [types.ErrPluginNotAvailable].
//
// Spec: checklist STA-002, STA-012.
func (s FileStore) Ready() error {
	d, err := s.open()
	if err != nil {
		return err
	}
	for dir := d.path; ; dir = filepath.Dir(dir) {
		err := writable(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			continue
		}
		if err != nil {
			return types.NewError(types.ErrPluginNotAvailable, "directory "+dir+" is not writable", err)
		}
		return nil
	}
}

func (s FileStore) lockLimit() time.Duration {
	if s.LockLimit == 0 {
		return DefaultLockLimit
	}
	return s.LockLimit
}

func (s FileStore) open() (directory, error) {
	if err := types.ValidateNetworkName(s.Network); err != nil {
		return directory{}, types.NewError(types.ErrInvalidNetworkConfig, "network name", err)
	}
	dir := s.Dir
	if dir == "" {
		dir = DefaultDir
	}
	before, boot := s.before, s.boot
	if before == nil {
		before = func(string) error { return nil }
	}
	if boot == nil {
		boot = readBoot
	}
	return directory{
		path:   filepath.Join(dir, s.Network),
		index:  filepath.Join(dir, ".owners", s.Network),
		before: before,
		boot:   sync.OnceValue(boot),
	}, nil
}

// directory is the directory of one network. It is the Reader.
type directory struct {
	path   string
	index  string
	before func(step string) error
	boot   func() string // the running boot; empty: it is not known
}

// make makes the directory, with the mode that host-local plugins give it
// whatever the umask is.
//
// Spec: checklist LIFE-024.
func (d directory) make() error {
	if err := d.before("mkdir"); err != nil {
		return err
	}
	return makeDirs(d.path)
}

// makeDirs makes a directory with its parents, of mode 0755 whatever the umask is:
// LIFE-024. The mode of one that is there is its owner's business.
func makeDirs(path string) error {
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o755)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return os.Chmod(path, 0o755)
}

// inspect looks whether the directory, if it is there, is one to write to, and warns
// if everybody can.
func (d directory) inspect(ctx context.Context) error {
	info, err := os.Lstat(d.path)
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		if !trusted(info) {
			return &fs.PathError{Op: "open", Path: d.path, Err: errForeignLink}
		}
		if info, err = os.Stat(d.path); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return &fs.PathError{Op: "open", Path: d.path, Err: errNotDirectory}
	case info.Mode().Perm()&0o002 != 0:
		slog.WarnContext(ctx, "everybody on this machine can write to the directory of reservations, and take, free and block addresses", "path", d.path)
	}
	return nil
}

func (d directory) update(ctx context.Context, limit time.Duration, f func(Tx) error) error {
	unlock, err := lock(ctx, filepath.Join(d.path, lockName), limit)
	if errors.Is(err, fs.ErrNotExist) {
		tx := &absent{}
		if err := f(tx); !tx.needed {
			return err
		}
		return errAbsent
	}
	if err != nil {
		return err
	}
	defer unlock()
	tx := &fileTx{directory: d}
	if err := tx.begin(); err != nil {
		return err
	}
	err = f(tx)
	tx.end()
	return err
}

func (d directory) file(addr netip.Addr) string { return filepath.Join(d.path, addr.String()) }

// Owner implements [Reader].
func (d directory) Owner(addr netip.Addr) (types.Attachment, error) {
	return d.look(addr, nil)
}

// look returns the owner of an address, and shows the open file to f if there is one.
func (d directory) look(addr netip.Addr, f func(fd int) error) (owner types.Attachment, err error) {
	blank := false
	parse := func(data []byte) { owner, blank = parseRecord(data) }
	data, err := readRecord(d.file(addr), func(fd int, data []byte) error {
		parse(data)
		if f == nil || blank || owner == (types.Attachment{}) {
			return nil
		}
		return f(fd)
	})
	if err != nil {
		return types.Attachment{}, err
	}
	if parse(data); blank {
		return types.Attachment{}, &fs.PathError{Op: "read", Path: d.file(addr), Err: fs.ErrNotExist}
	}
	return owner, nil
}

// Stale implements [Reader]. What cannot be read is not stale.
func (d directory) Stale(addr netip.Addr) (stale bool, err error) {
	_, err = d.look(addr, func(fd int) error {
		mark, err := readMark(fd)
		stale = err == nil && mark != "" && d.boot() != "" && mark != d.boot()
		return nil
	})
	return stale && err == nil, nil
}

// Taken implements [Reader].
func (d directory) Taken() (map[netip.Addr]bool, error) {
	names, err := readNames(d.path)
	if err != nil {
		return nil, err
	}
	taken := make(map[netip.Addr]bool, len(names))
	for _, name := range names {
		if addr, ok := parseName(name); ok {
			taken[addr] = true
		}
	}
	return taken, nil
}

// readNames returns the names in a directory, none if it is not there.
func readNames(path string) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// Cursor implements [Reader]. A cursor that cannot be read counts for none: it
// decides which address is next, and nothing that could go wrong.
func (d directory) Cursor(set int) (netip.Addr, error) {
	data, err := readRecord(d.cursor(set), nil)
	if err != nil {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(string(bytes.TrimSpace(data)))
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, nil
	}
	return addr.Unmap(), nil
}

func (d directory) cursor(set int) string {
	return filepath.Join(d.path, cursorPrefix+strconv.Itoa(set))
}

// parseName returns the address that a file name stands for. Any other spelling
// than the usual one is a foreign file.
func parseName(name string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(name)
	if err != nil || addr.Zone() != "" || addr.Is4In6() || addr.String() != name {
		return netip.Addr{}, false
	}
	return addr, true
}

// mostRecord is the size of a record in bytes beyond which it is nobody's.
const mostRecord = 4 << 10

// noRecord is the content of what is no file, or no small one. Nobody can read it.
const noRecord = "\x7f"

// recordSeparator is between the container ID and the interface name.
//
// Source: containernetworking/plugins v1.9.1,
// plugins/ipam/host-local/backend/disk/backend.go (LineBreak).
const recordSeparator = "\r\n"

// formatRecord returns the content of the file of a reserved address.
func formatRecord(owner types.Attachment) []byte {
	if owner.IfName == "" {
		return []byte(owner.ContainerID)
	}
	return []byte(owner.ContainerID + recordSeparator + owner.IfName)
}

// parseRecord reads the content of the file of a reserved address. It is blank if
// nothing was written, or not all, as the zeros tell that a file system fills a gap
// with: nobody writes any. The zero owner is that of a record that makes no sense, such as a note of
// the administrator's. Before there were interface names a record was the container
// ID alone.
func parseRecord(data []byte) (owner types.Attachment, blank bool) {
	text := string(bytes.TrimSpace(data))
	if text == "" || strings.Contains(text, "\x00") {
		return owner, true
	}
	id, ifName, _ := strings.Cut(text, recordSeparator)
	control := func(c rune) bool { return c < ' ' || c == 0x7f }
	if types.ValidateContainerID(id) != nil || strings.ContainsFunc(ifName, control) {
		return owner, false
	}
	return types.Attachment{ContainerID: id, IfName: ifName}, false
}

// absent is the Tx of a network that has no directory. It is enough for an Update
// that finds nothing to do.
type absent struct{ needed bool }

func (*absent) Owner(addr netip.Addr) (types.Attachment, error) {
	return types.Attachment{}, fmt.Errorf("address %s: %w", addr, fs.ErrNotExist)
}

func (*absent) Taken() (map[netip.Addr]bool, error) { return nil, nil }

func (*absent) Cursor(int) (netip.Addr, error) { return netip.Addr{}, nil }

func (*absent) Addrs(types.Attachment) ([]netip.Addr, error) { return nil, nil }

func (*absent) Stale(netip.Addr) (bool, error) { return false, nil }

func (a *absent) Renew(addr netip.Addr) error {
	_, err := a.Owner(addr)
	return err
}

func (*absent) Release(netip.Addr, types.Attachment) error { return nil }

func (a *absent) Reserve(netip.Addr, types.Attachment) error { return a.need() }

func (a *absent) SetCursor(int, netip.Addr) error { return a.need() }

func (a *absent) need() error {
	a.needed = true
	return errAbsent
}
