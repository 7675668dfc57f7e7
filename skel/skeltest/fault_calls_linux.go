// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package skeltest

import (
	"fmt"
	"maps"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A changeRule names a system call, and tells what a call is about if it changes something.
type changeRule struct {
	name string
	on   func(t *tracer, tid int, c call6) (what string, changes bool)
}

// changeRules are the system calls that change something outside of a process, by number.
var changeRules = sync.OnceValue(func() map[uint64]changeRule {
	rules := oldChanges()
	if rules == nil {
		rules = map[uint64]changeRule{}
	}
	maps.Copy(rules, map[uint64]changeRule{
		unix.SYS_OPENAT:      {"openat", creates(1, 2)},
		unix.SYS_OPENAT2:     {"openat2", paths(1)},
		unix.SYS_RENAMEAT:    {"renameat", paths(1, 3)},
		unix.SYS_RENAMEAT2:   {"renameat2", paths(1, 3)},
		unix.SYS_LINKAT:      {"linkat", paths(1, 3)},
		unix.SYS_SYMLINKAT:   {"symlinkat", paths(0, 2)},
		unix.SYS_UNLINKAT:    {"unlinkat", paths(1)},
		unix.SYS_MKDIRAT:     {"mkdirat", paths(1)},
		unix.SYS_MKNODAT:     {"mknodat", paths(1)},
		unix.SYS_FCHMODAT:    {"fchmodat", paths(1)},
		unix.SYS_FCHMODAT2:   {"fchmodat2", paths(1)},
		unix.SYS_FCHOWNAT:    {"fchownat", paths(1)},
		unix.SYS_UTIMENSAT:   {"utimensat", paths(1)},
		unix.SYS_TRUNCATE:    {"truncate", paths(0)},
		unix.SYS_SETXATTR:    {"setxattr", paths(0)},
		unix.SYS_MOUNT:       {"mount", paths(1)},
		unix.SYS_UMOUNT2:     {"umount2", paths(0)},
		unix.SYS_MOVE_MOUNT:  {"move_mount", paths(3)},
		unix.SYS_FTRUNCATE:   {"ftruncate", descriptor},
		unix.SYS_FALLOCATE:   {"fallocate", descriptor},
		unix.SYS_FSYNC:       {"fsync", descriptor},
		unix.SYS_FDATASYNC:   {"fdatasync", descriptor},
		unix.SYS_FCHMOD:      {"fchmod", descriptor},
		unix.SYS_FCHOWN:      {"fchown", descriptor},
		unix.SYS_FLOCK:       {"flock", descriptor},
		unix.SYS_SETNS:       {"setns", descriptor},
		unix.SYS_UNSHARE:     {"unshare", anything},
		unix.SYS_WRITE:       {"write", writes},
		unix.SYS_PWRITE64:    {"pwrite64", writes},
		unix.SYS_WRITEV:      {"writev", writes},
		unix.SYS_FCNTL:       {"fcntl", locks},
		unix.SYS_IOCTL:       {"ioctl", controls},
		unix.SYS_SETSOCKOPT:  {"setsockopt", replaces},
		unix.SYS_SENDTO:      {"sendto", never},
		unix.SYS_SENDMSG:     {"sendmsg", never},
		unix.SYS_SETHOSTNAME: {"sethostname", anything},
	})
	return rules
})

// changes returns the call of a thread if it changes something.
func (t *tracer) changes(tid int, c call6) (SystemCall, bool) {
	rule, ok := changeRules()[c.number]
	if !ok {
		return SystemCall{}, false
	}
	if protocol, ok := t.sends(tid, c); ok {
		on := request(protocol, tid, c)
		return SystemCall{Name: rule.name, On: on, netlink: true, waits: waits(tid, c)}, on != ""
	}
	on, ok := rule.on(t, tid, c)
	return SystemCall{Name: rule.name, On: on}, ok
}

// paths are the arguments that are paths.
func paths(positions ...int) func(*tracer, int, call6) (string, bool) {
	return func(_ *tracer, tid int, c call6) (string, bool) {
		var all []string
		for _, i := range positions {
			all = append(all, peekString(tid, c.args[i]))
		}
		return strings.Join(all, " "), true
	}
}

// creates is opening a file, which changes something if it may make or empty one.
func creates(path, flags int) func(*tracer, int, call6) (string, bool) {
	return func(_ *tracer, tid int, c call6) (string, bool) {
		if c.args[flags]&(unix.O_CREAT|unix.O_TRUNC) == 0 {
			return "", false
		}
		name := peekString(tid, c.args[path])
		return name, isFile(name)
	}
}

// isFile tells files from devices, sockets and pipes, by their paths.
func isFile(path string) bool {
	return path != "/dev/null" && path != "/dev/tty" && !strings.HasPrefix(path, "/dev/pts/") &&
		!strings.HasPrefix(path, "/memfd:") && !strings.Contains(path, ":[")
}

func descriptor(_ *tracer, tid int, c call6) (string, bool) { return target(tid, c.args[0]), true }

func anything(*tracer, int, call6) (string, bool) { return "", true }

// never is a call that counts only if it sends a netlink request.
func never(*tracer, int, call6) (string, bool) { return "", false }

// writes is writing, which counts if it is to a file.
func writes(_ *tracer, tid int, c call6) (string, bool) {
	to := target(tid, c.args[0])
	return to, strings.HasPrefix(to, "/") && isFile(to)
}

// locks is fcntl, which counts if it locks a file.
func locks(_ *tracer, tid int, c call6) (string, bool) {
	switch c.args[1] {
	case unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return target(tid, c.args[0]), true
	}
	return "", false
}

// controls is ioctl, which counts if it sets something of a link.
func controls(_ *tracer, _ int, c call6) (string, bool) {
	switch c.args[1] {
	case unix.SIOCSIFFLAGS, unix.SIOCSIFADDR, unix.SIOCSIFNETMASK, unix.SIOCSIFMTU, unix.SIOCSIFHWADDR, unix.SIOCSIFNAME,
		unix.SIOCADDRT, unix.SIOCDELRT, unix.SIOCBRADDBR, unix.SIOCBRDELBR, unix.SIOCBRADDIF, unix.SIOCBRDELIF,
		unix.SIOCETHTOOL, unix.TUNSETIFF:
		return fmt.Sprintf("%#x", c.args[1]), true
	}
	return "", false
}

// replaces is setsockopt, which counts if it replaces a table of the older iptables.
//
// Kernel: IPT_SO_SET_REPLACE and IPT_SO_SET_ADD_COUNTERS, for IPv6 the same numbers;
// include/uapi/linux/netfilter_ipv4/ip_tables.h.
func replaces(_ *tracer, _ int, c call6) (string, bool) {
	const replace, addCounters = 64, 65
	inet := c.args[1] == unix.SOL_IP || c.args[1] == unix.SOL_IPV6
	return "a table of iptables", inet && (c.args[2] == replace || c.args[2] == addCounters)
}
