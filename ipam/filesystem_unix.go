// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package ipam

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/cnikit/cnikit/types"
)

// lock takes the lock that host-local plugins take, and returns what gives it
// back. The kernel gives it back when the process dies. The error is
// [fs.ErrNotExist] if the directory of the lock is not there, and
// [types.ErrTryAgainLater] if the lock cannot be had in time.
//
// Source: containernetworking/plugins v1.9.1,
// plugins/ipam/host-local/backend/disk/lock.go, which uses alexflint/go-filemutex
// v1.3.0, filemutex_flock.go: an empty file, made with mode 0750, and flock.
func lock(ctx context.Context, path string, limit time.Duration) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("not free within "+limit.String()))
	defer cancel()
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o750)
		if err == nil {
			err = readable(f)
		}
		if err != nil {
			return nil, err
		}
		if err := flock(ctx, f); err != nil {
			if ctx.Err() != nil {
				return nil, types.NewError(types.ErrTryAgainLater, "waiting for lock "+path, err)
			}
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
		// Whoever removed the directory in the meantime has left us a lock that nobody
		// else will ask for.
		if isFile(f, path) {
			return func() { _ = f.Close() }, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// readable makes sure that a lock which was just made can be opened again, whatever
// the umask is: LIFE-024. If it fails, the file is closed.
func readable(f *os.File) error {
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o400 == 0 {
		err = f.Chmod(0o750)
	}
	if err != nil {
		_ = f.Close()
	}
	return err
}

// flock waits for the lock until ctx ends. If it fails, the file is closed, at the
// latest when the lock has come.
func flock(ctx context.Context, f *os.File) error {
	err := flockOnce(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.Join(err, f.Close())
	}
	// A blocking wait takes its turn among the waiters; asking again and again
	// would not.
	locked := make(chan error, 1)
	go func() { locked <- flockOnce(f, syscall.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			return errors.Join(err, f.Close())
		}
		return nil
	case <-ctx.Done():
		go func() {
			<-locked
			_ = f.Close() // gives the lock back; nobody waits for this
		}()
		return context.Cause(ctx)
	}
}

func flockOnce(f *os.File, how int) error {
	return retry(func() error { return syscall.Flock(int(f.Fd()), how) })
}

func isFile(f *os.File, path string) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(have, now)
}

// writable reports whether names can be added to a directory.
func writable(dir string) error {
	const write, search = 2, 1 // W_OK, X_OK; POSIX, unistd.h
	return syscall.Access(dir, write|search)
}

// readRecord returns the content of a file in few system calls, since a look at
// all records is thousands of these. A device or a pipe is not waited for.
func readRecord(path string) ([]byte, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
		return err
	})
	switch {
	case errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO):
		return []byte(noRecord), nil
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	data, err := readFD(fd)
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
		var m int
		err := retry(func() (err error) {
			m, err = syscall.Read(fd, data[n:])
			return err
		})
		if err != nil || m <= 0 {
			return data[:n], err
		}
		n += m
	}
	return data, nil
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
