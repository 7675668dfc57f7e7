// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package ipam

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/cnikit/cnikit/types"
)

// The files are opened by system calls and not by package os, which would make a
// poller for them in every process of a plugin, and a thread that waits for it.

// lock takes the lock that host-local plugins take, and returns what gives it
// back. The kernel gives it back when the process dies. The error is
// [fs.ErrNotExist] if the directory of the lock is not there, and
// [types.ErrTryAgainLater] if the lock cannot be had in time. What is no regular file
// is not followed, waited for or changed.
//
// Source: containernetworking/plugins v1.9.1,
// plugins/ipam/host-local/backend/disk/lock.go, which uses alexflint/go-filemutex
// v1.3.0, filemutex_flock.go: an empty file, made with mode 0750, and flock.
func lock(ctx context.Context, path string, limit time.Duration) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("not free within "+limit.String()))
	defer cancel()
	for {
		fd, err := openLock(path)
		if err != nil {
			return nil, err
		}
		err = flock(ctx, fd)
		if err == nil {
			if isFile(fd, path) {
				return func() { _ = syscall.Close(fd) }, nil
			}
			// Whoever removed the directory in the meantime has left us a lock that nobody
			// else will ask for.
			err = errors.Join(context.Cause(ctx), syscall.Close(fd))
		}
		switch {
		case ctx.Err() != nil:
			return nil, types.NewError(types.ErrTryAgainLater, "waiting for lock "+path, err)
		case err != nil:
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
	}
}

// errNotRegular says that something else is in the place of a file.
var errNotRegular = errors.New("not a regular file")

func openLock(path string) (fd int, err error) {
	fd, err = open(path, syscall.O_RDONLY|syscall.O_CREAT, 0o750)
	switch {
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EISDIR):
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	case err == nil:
		err = readable(fd, path)
	}
	return fd, err
}

// readable makes sure that a lock which was just made can be opened again, whatever
// the umask is: LIFE-024. If it fails, the file is closed.
func readable(fd int, path string) error {
	var st syscall.Stat_t
	err := syscall.Fstat(fd, &st)
	switch {
	case err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFREG:
		err = errNotRegular
	case err == nil && st.Mode&0o400 == 0:
		err = syscall.Fchmod(fd, 0o750)
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: errors.Join(err, syscall.Close(fd))}
	}
	return nil
}

// open opens a file, and neither follows a link in its place nor waits for a pipe or
// a device.
func open(path string, flags int, mode uint32) (fd int, err error) {
	const always = syscall.O_NONBLOCK | syscall.O_NOFOLLOW | syscall.O_CLOEXEC
	err = retry(func() (err error) {
		fd, err = syscall.Open(path, flags|always, mode)
		return err
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// flock waits for the lock until ctx ends. If it fails, the file is closed, at the
// latest when the lock has come.
func flock(ctx context.Context, fd int) error {
	err := flockOnce(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.Join(err, syscall.Close(fd))
	}
	// A blocking wait takes its turn among the waiters; asking again and again
	// would not.
	locked := make(chan error, 1)
	go func() { locked <- flockOnce(fd, syscall.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			return errors.Join(err, syscall.Close(fd))
		}
		return nil
	case <-ctx.Done():
		go func() {
			<-locked
			_ = syscall.Close(fd) // gives the lock back; nobody waits for this
		}()
		return context.Cause(ctx)
	}
}

func flockOnce(fd, how int) error {
	return retry(func() error { return syscall.Flock(fd, how) })
}

// isFile reports whether a path leads to an open file.
func isFile(fd int, path string) bool {
	var have, there syscall.Stat_t
	return syscall.Fstat(fd, &have) == nil && syscall.Stat(path, &there) == nil && have.Dev == there.Dev && have.Ino == there.Ino
}

// writable reports whether names can be added to a directory.
func writable(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "access", Path: dir, Err: syscall.ENOTDIR}
	}
	const write, search = 2, 1 // W_OK, X_OK; POSIX, unistd.h
	return syscall.Access(dir, write|search)
}

// readRecord returns the content of a file in few system calls, since a look at
// all records is thousands of these. A device or a pipe is not waited for. If the file
// is one that can be a record, it is shown to look while it is open; look may be nil.
func readRecord(path string, look func(fd int, data []byte) error) ([]byte, error) {
	fd, err := open(path, syscall.O_RDONLY, 0)
	switch {
	case errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO):
		return []byte(noRecord), nil
	case err != nil:
		return nil, err
	}
	data, err := readFD(fd)
	if err == nil && look != nil && string(data) != noRecord {
		err = look(fd, data)
	}
	if err = errors.Join(err, syscall.Close(fd)); err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return data, nil
}

func readFD(fd int) ([]byte, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Size > mostRecord {
		return []byte(noRecord), nil
	}
	data := make([]byte, st.Size)
	n := 0
	for n < len(data) {
		m, err := read(fd, data[n:])
		if err != nil || m <= 0 {
			return data[:n], err
		}
		n += m
	}
	return data, nil
}

func read(fd int, p []byte) (n int, err error) {
	err = retry(func() (err error) {
		n, err = syscall.Read(fd, p)
		return err
	})
	return n, err
}

// newFile makes a file that was not there, with mode 0600 whatever the umask is
// (LIFE-024) and the mark of a boot unless it is empty. The error is [fs.ErrExist] if
// the name is taken; after another one the file may be there.
func newFile(path string, data []byte, boot string, before func(step string) error) error {
	if err := before("create"); err != nil {
		return err
	}
	fd, err := open(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = before("write"); err == nil {
		err = writeAll(fd, data)
	}
	if err == nil {
		err = syscall.Fchmod(fd, 0o600)
	}
	if err == nil && boot != "" && before("mark") == nil {
		// Without the mark the next boot cannot tell that the reservation is stale; that
		// is no reason to fail.
		_ = writeMark(fd, boot)
	}
	if err = errors.Join(err, syscall.Close(fd)); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		var n int
		err := retry(func() (err error) {
			n, err = syscall.Write(fd, data)
			return err
		})
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// readBoot returns the identity of the running boot, the empty string if it is not
// known.
func readBoot() string {
	fd, err := open(bootFile, syscall.O_RDONLY, 0)
	if err != nil {
		return ""
	}
	var id [longestBoot]byte
	n, err := read(fd, id[:])
	if syscall.Close(fd) != nil || err != nil {
		return ""
	}
	return string(bytes.TrimSpace(id[:n]))
}

// trusted reports whether a link in the place of a directory may be followed: if
// root or we ourselves put it there, as for the kernel's protected_symlinks.
//
// Kernel: Documentation/admin-guide/sysctl/fs.rst, "protected_symlinks".
func trusted(link fs.FileInfo) bool {
	st, ok := link.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
