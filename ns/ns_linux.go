// SPDX-License-Identifier: Apache-2.0

package ns

import (
	"fmt"
	"os"
	"sync"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nsfs"
)

// NS is an open network namespace, which cannot vanish before it is closed. It is
// safe for concurrent use.
type NS struct {
	path string
	id   nsfs.ID

	mu sync.RWMutex // held while fd is in use, so that Close cannot hand its number to another file
	fd int          // -1 once closed
}

// Open opens the network namespace at path, for example the value of CNI_NETNS. The
// error is [fs.ErrNotExist] if nothing is there, and [ErrNotNamespace] if something
// else is; whatever that is, it is not opened. The caller closes the namespace.
func Open(path string) (*NS, error) {
	fd, id, err := nsfs.Open(path)
	if err != nil {
		return nil, err
	}
	return &NS{path: path, id: id, fd: fd}, nil
}

// OpenPID opens the network namespace that the main thread of a process is in. The
// error is [fs.ErrNotExist] if there is no such process, or it has ended and only
// waits to be collected.
func OpenPID(pid int) (*NS, error) {
	return Open(fmt.Sprintf("/proc/%d/ns/net", pid))
}

// Current opens the network namespace of the calling thread: inside [NS.Do] that
// namespace, elsewhere that of the process.
func Current() (*NS, error) {
	fd, id, err := nsfs.OpenSelf()
	if err != nil {
		return nil, err
	}
	return &NS{path: fdPath(fd), id: id, fd: fd}, nil
}

// New makes a network namespace without a name. It lasts until n is closed and
// nothing else holds it: no process in it, no descriptor, no mount. Its only link is a
// loopback that is down. The error is [fs.ErrPermission] without CAP_SYS_ADMIN.
func New() (*NS, error) {
	var n *NS
	err := onThread(func() (err error) {
		if err := unshare(); err != nil {
			return err
		}
		n, err = Current()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create namespace: %w", err)
	}
	return n, nil
}

// Close lets go of the namespace; calls of [NS.Do] that have begun go on. What else
// is asked of a closed namespace fails with [os.ErrClosed], a second Close included.
func (n *NS) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return n.closed()
	}
	fd := n.fd
	n.fd = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close namespace %s: %w", n.path, err)
	}
	return nil
}

// Path returns the path that the namespace was opened or created by. For one without
// a name that is a path below /proc, good for this process and for others while n is open.
func (n *NS) Path() string { return n.path }

// Fd returns the descriptor of the namespace, for system calls and netlink messages
// that take one. It remains n's, and is -1 after Close; the caller sees to it that n is
// not closed meanwhile.
func (n *NS) Fd() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.fd
}

// Equal reports whether n and other are the same namespace, by device and inode.
// Their paths may differ. It works on closed namespaces too, but the kernel may have
// given the inode of one that is gone to a new one.
func (n *NS) Equal(other *NS) bool { return n.id == other.id }

// IsCurrent reports whether n is the namespace of the calling thread. As [NS.Equal] does,
// it works on closed namespaces, too.
func (n *NS) IsCurrent() (bool, error) {
	id, err := nsfs.Self()
	return err == nil && id == n.id, err
}

// Do calls f inside the namespace and returns its error. f runs on a thread of its
// own, which ends with it; so f need not put anything back, and a lock that the calling
// goroutine has on its own thread does not matter. Goroutines that f starts run
// outside of the namespace, processes that it starts run inside. A panic of f
// continues in the caller, and so does [runtime.Goexit].
//
// Each call holds a thread while f runs: the callers bound their number, since the
// Go runtime ends a process that has 10,000 threads.
//
// Equivalent to: nsenter --net=PATH
func (n *NS) Do(f func() error) error {
	return onThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return f()
	})
}

// Socket makes a socket in the namespace. It belongs to that namespace wherever it is
// used, and is close-on-exec. The parameters are those of socket(2). The caller
// closes it; it holds the namespace while it is open.
func (n *NS) Socket(domain, typ, proto int) (int, error) {
	fd := -1
	err := n.Do(func() (err error) {
		fd, err = unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return -1, fmt.Errorf("open socket in namespace %s: %w", n.path, err)
	}
	return fd, nil
}

// enter moves the calling thread, which must be one that is thrown away.
func (n *NS) enter() error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.fd < 0 {
		return n.closed()
	}
	if err := netns.Set(netns.NsHandle(n.fd)); err != nil {
		return fmt.Errorf("enter namespace %s: %w", n.path, err)
	}
	return nil
}

func (n *NS) closed() error { return fmt.Errorf("namespace %s: %w", n.path, os.ErrClosed) }

// unshare moves the calling thread, which must be one that is thrown away, to a new
// namespace.
func unshare() error {
	h, err := netns.New()
	if err != nil {
		return os.NewSyscallError("unshare", err)
	}
	return h.Close() // the thread holds the namespace by being in it
}

func fdPath(fd int) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd) }
