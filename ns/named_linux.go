// SPDX-License-Identifier: Apache-2.0

package ns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nsfs"
)

// Create makes a network namespace with a name: a file at path on which the namespace
// is mounted, so that it lasts until [Del]. Missing directories are made. It fails
// with an error that is [fs.ErrExist] if there is anything at path, and [fs.ErrPermission]
// without CAP_SYS_ADMIN, and leaves nothing but directories behind when it fails. The
// caller closes the namespace, which does not delete it.
//
// The mount is visible in other mount namespaces as far as the directory's mount is
// shared with them; "ip netns" sees namespaces below /run/netns.
//
// Equivalent to: ip netns add NAME
func Create(path string) (*NS, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", path, err)
	}
	var n *NS
	if err = f.Close(); err == nil {
		n, err = mountNew(path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create namespace %s: %w", path, err), os.Remove(path))
	}
	return n, nil
}

// mountNew mounts a new namespace on the file at path and opens it.
func mountNew(path string) (*NS, error) {
	var n *NS
	err := onThread(func() (err error) {
		if err := unshare(); err != nil {
			return err
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return os.NewSyscallError("mount", err)
		}
		if n, err = Open(path); err != nil {
			return errors.Join(err, unmount(path))
		}
		return nil
	})
	return n, err
}

// Del removes the name that [Create] gave to a namespace; the namespace itself ends
// when no process and no descriptor holds it. It agrees when there is nothing at path.
// An empty file is removed, being what a namespace leaves when it is unmounted by
// others; anything else fails with [ErrNotNamespace] and is left alone.
//
// Equivalent to: ip netns delete NAME
func Del(path string) error {
	for {
		_, err := nsfs.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, ErrNotNamespace):
			return removeEmpty(path)
		case err != nil:
			return fmt.Errorf("delete namespace: %w", err)
		}
		// Namespaces may be mounted one over the other. ENOENT means that someone else
		// removed it first; EINVAL that someone else unmounted it first, or that path is no
		// mount point, such as /proc/PID/ns/net.
		err = unmount(path)
		gone := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) && !mounted(path)
		if err != nil && !gone {
			return fmt.Errorf("delete namespace %s: %w", path, err)
		}
	}
}

// mounted reports whether path still leads to a namespace.
func mounted(path string) bool {
	_, err := nsfs.Stat(path)
	return err == nil
}

// unmount detaches what is mounted on path, at once for who looks and in the kernel
// when the last user is gone.
func unmount(path string) error {
	return os.NewSyscallError("umount", unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
}

// removeEmpty removes the file at path if it is regular and empty.
func removeEmpty(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete namespace: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() != 0 {
		return fmt.Errorf("delete namespace %s: %w", path, ErrNotNamespace)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete namespace: %w", err)
	}
	return nil
}
