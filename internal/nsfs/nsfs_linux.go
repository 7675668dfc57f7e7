// SPDX-License-Identifier: Apache-2.0

package nsfs

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

const (
	// magic is NSFS_MAGIC, what statfs reports for a namespace file.
	// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/magic.h
	magic = 0x6e736673

	// getNSType is NS_GET_NSTYPE, the ioctl that names the type of a namespace. Since Linux 4.11.
	// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/nsfs.h
	getNSType = 0xb703

	// getSocketNS is SIOCGSKNS, the ioctl that opens the network namespace of a socket. Since
	// Linux 4.10.
	// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/sockios.h
	getSocketNS = 0x894c
)

// Self returns the identity of the network namespace of the calling thread. It does
// not ask for that of the process, which is the main thread's and may differ.
func Self() (ID, error) {
	fd, id, err := OpenSelf()
	if err != nil {
		return ID{}, err
	}
	return id, closeFD(fd, "of the thread")
}

// OpenSelf opens the network namespace of the calling thread, as [Open] does.
//
// It goes by a new socket, which is in that namespace. Who looks below
// /proc/thread-self leaves entries in the kernel's cache that have to be removed when
// the thread ends and again when the process is collected; if that falls together, as
// it does for short-lived processes, one waits for the other in a busy loop, for
// milliseconds. Where the ioctl is not allowed, to who has no CAP_NET_ADMIN, there is
// no other way.
//
// Kernel: proc_invalidate_siblings_dcache in fs/proc/inode.c, shrink_dcache_parent in
// fs/dcache.c.
func OpenSelf() (int, ID, error) {
	if fd, err := socketNS(); err == nil {
		if id, err := Fstat(fd); err == nil {
			return fd, id, nil
		}
		if err := closeFD(fd, "of a socket"); err != nil {
			return -1, ID{}, err
		}
	}
	return Open("/proc/thread-self/ns/net")
}

// socketNS opens the namespace of a new socket, close-on-exec as the kernel does it.
func socketNS() (int, error) {
	s, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	fd, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), getSocketNS, 0)
	if err := syscall.Close(s); err != nil {
		return -1, err
	}
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// Stat returns the identity of the network namespace at path. The error is
// [fs.ErrNotExist] when nothing is there and [ErrNotNamespace] when something else
// is. Nothing but a namespace is opened, so a device or a pipe at path is left alone.
func Stat(path string) (ID, error) {
	fd, id, err := Open(path)
	if err != nil {
		return ID{}, err
	}
	return id, closeFD(fd, path)
}

// Open opens the network namespace at path, close-on-exec, and returns its
// descriptor and identity. The caller closes the descriptor. Errors are those of [Stat].
func Open(path string) (int, ID, error) {
	var st syscall.Statfs_t
	if err := retry(func() error { return syscall.Statfs(path, &st) }); err != nil {
		return -1, ID{}, pathError(path, err)
	}
	if int64(st.Type) != magic {
		return -1, ID{}, pathError(path, ErrNotNamespace)
	}
	// Not blocking, lest somebody put a pipe in its place meanwhile.
	fd := -1
	err := retry(func() (err error) {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return -1, ID{}, pathError(path, err)
	}
	id, err := Fstat(fd)
	if err != nil {
		return -1, ID{}, errors.Join(pathError(path, err), closeFD(fd, path))
	}
	return fd, id, nil
}

// Fstat returns the identity of the network namespace that fd is open on. The error
// is [ErrNotNamespace] when fd is open on something else.
//
// Kernel: NS_GET_NSTYPE, since 4.11; include/uapi/linux/nsfs.h.
func Fstat(fd int) (ID, error) {
	typ, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), getNSType, 0)
	switch {
	case errno == syscall.EBADF:
		return ID{}, errno
	case errno != 0, typ != syscall.CLONE_NEWNET:
		return ID{}, ErrNotNamespace
	}
	var st syscall.Stat_t
	if err := retry(func() error { return syscall.Fstat(fd, &st) }); err != nil {
		return ID{}, err
	}
	return ID{Dev: uint64(st.Dev), Ino: st.Ino}, nil
}

// pathError names the path, and makes the kernel's ways of saying "gone" one.
// A namespace below /proc/PID answers ESRCH once the process is being reaped, and a
// path through something that is no directory names nothing either.
func pathError(path string, err error) error {
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("open namespace %s: %w: %w", path, fs.ErrNotExist, err)
	}
	return fmt.Errorf("open namespace %s: %w", path, err)
}

func closeFD(fd int, path string) error {
	if err := syscall.Close(fd); err != nil {
		return fmt.Errorf("close namespace %s: %w", path, err)
	}
	return nil
}

// retry repeats f while a signal interrupts it: the Go runtime preempts by signals.
func retry(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR { //nolint:errorlint // a system call's own, never wrapped
			return err
		}
	}
}
