// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// sysctlRoot is where the kernel shows the settings of the namespace of the thread that
// looks.
const sysctlRoot = "/proc/sys/net/"

// Sysctl is a setting of a namespace.
type Sysctl struct {
	Name  string // path below /proc/sys/net, such as "ipv4/conf/eth0/arp_notify"
	Value string
}

// Sysctl reads a setting by its path below /proc/sys/net; nothing else can be reached.
// Path elements are separated by slashes only, names of links may hold dots. The error
// is [fs.ErrNotExist] if the kernel has no such setting, or no such link.
//
// Equivalent to: sysctl -n net/NAME
func (c *Conn) Sysctl(name string) (value string, err error) {
	file, err := sysctlFile(name)
	if err != nil {
		return "", err
	}
	err = c.inside(func() error {
		value, err = readSysctl(file)
		return err
	})
	return value, err
}

// SetSysctl writes settings, in order, and stops at the first that fails. A setting
// that cannot be written but has the value already is fine: /proc/sys is read-only in
// most containers, also for those who may configure the namespace otherwise.
//
// Equivalent to: sysctl -w net/NAME=VALUE …
func (c *Conn) SetSysctl(settings ...Sysctl) error {
	for _, s := range settings {
		if _, err := sysctlFile(s.Name); err != nil {
			return err
		}
	}
	return c.inside(func() error {
		for _, s := range settings {
			if err := setSysctl(s); err != nil {
				return err
			}
		}
		return nil
	})
}

// CompareSysctl compares settings with what they should be, in one visit. The error is a
// [MismatchError] that tells all that differ. A setting that the kernel does not have, or
// whose link is gone, does not differ.
func (c *Conn) CompareSysctl(settings ...Sysctl) error {
	var m mismatch
	err := c.inside(func() error {
		for _, s := range settings {
			file, err := sysctlFile(s.Name)
			if err != nil {
				return err
			}
			have, err := readSysctl(file)
			if isGone(err) {
				continue
			}
			if err != nil {
				return err
			}
			m.add(have != s.Value, s.Name, have, s.Value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.err("sysctl")
}

// CompareForwarding compares the namespace with what [Conn.SetForwarding] of the same
// addresses makes it: it forwards packets of their families. The error is a [MismatchError]
// that tells for which it does not.
func (c *Conn) CompareForwarding(of ...netip.Prefix) error {
	var want []Sysctl
	ipv4, ipv6 := families(of)
	if ipv4 {
		want = append(want, Sysctl{forwarding4, "1"})
	}
	if ipv6 {
		want = append(want, Sysctl{forwarding6, "1"})
	}
	if len(want) == 0 {
		return nil
	}
	return c.CompareSysctl(want...)
}

// families tells which families there are among addresses.
func families(of []netip.Prefix) (ipv4, ipv6 bool) {
	for _, p := range of {
		ipv4, ipv6 = ipv4 || p.Addr().Is4(), ipv6 || p.Addr().Is6()
	}
	return ipv4, ipv6
}

// Where forwarding is switched on.
const (
	forwarding4 = "ipv4/ip_forward"
	forwarding6 = "ipv6/conf/all/forwarding"
)

// sysctlFile is the file of a setting. There are no symbolic links below /proc/sys, so
// a valid path cannot lead out of it.
func sysctlFile(name string) (string, error) {
	if !fs.ValidPath(name) || name == "." || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("sysctl %q: %w", name, fs.ErrInvalid)
	}
	return sysctlRoot + name, nil
}

// readSysctl reads by system calls. The os package would hand a file of /proc to its
// poller first, which takes more of them than reading does.
func readSysctl(file string) (string, error) {
	var buf [4096]byte // the kernel gives no more than a page
	n, err := withSysctl(file, syscall.O_RDONLY, func(fd int) (int, error) { return syscall.Read(fd, buf[:]) })
	return strings.TrimSpace(string(buf[:max(n, 0)])), err
}

// withSysctl opens a file for one system call.
func withSysctl(file string, flags int, call func(fd int) (int, error)) (n int, err error) {
	fd, err := untilDone(func() (int, error) { return syscall.Open(file, flags|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return 0, &fs.PathError{Op: "open", Path: file, Err: err}
	}
	n, err = untilDone(func() (int, error) { return call(fd) })
	if err = errors.Join(err, syscall.Close(fd)); err != nil {
		return n, &fs.PathError{Op: "access", Path: file, Err: err}
	}
	return n, nil
}

// untilDone repeats a system call that a signal interrupts.
func untilDone(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR { //nolint:errorlint // a system call's own, never wrapped
			return n, err
		}
	}
}

func setSysctl(s Sysctl) error {
	file := sysctlRoot + s.Name
	err := writeSysctl(file, s.Value)
	if err == nil || isGone(err) {
		return err
	}
	if have, readErr := readSysctl(file); readErr == nil && have == s.Value {
		return nil
	}
	return err
}

// writeSysctl writes without creating or truncating, neither of which /proc knows.
func writeSysctl(file, value string) error {
	_, err := withSysctl(file, syscall.O_WRONLY, func(fd int) (int, error) { return syscall.Write(fd, []byte(value)) })
	return err
}

// ignoreRouters keeps a link on the host from taking addresses and routes from router
// advertisements, which a container could send. Where there is no IPv6 there is nothing
// to keep it from.
func (c *Conn) ignoreRouters(link string) error {
	return ignoreGone(c.SetSysctl(Sysctl{"ipv6/conf/" + link + "/accept_ra", "0"}))
}

// SetForwarding makes the namespace forward packets of the families that addresses are
// of, such as those of gateways.
//
// A link that learns its addresses and routes from routers would stop doing so when
// IPv6 forwarding is switched on, and the host lose its default route. So such links
// are told to go on first (accept_ra=2). Nothing happens where forwarding is on already.
//
// Equivalent to: sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
// Kernel: Documentation/networking/ip-sysctl.rst, "accept_ra".
func (c *Conn) SetForwarding(of ...netip.Prefix) error {
	ipv4, ipv6 := families(of)
	if !ipv4 && !ipv6 {
		return nil
	}
	return c.inside(func() error {
		if ipv4 {
			if err := setForwarding(forwarding4, nil); err != nil {
				return err
			}
		}
		if ipv6 {
			return setForwarding(forwarding6, keepRouters)
		}
		return nil
	})
}

// setForwarding switches one family on, after doing what has to come before.
func setForwarding(name string, before func() error) error {
	if have, err := readSysctl(sysctlRoot + name); err != nil || have == "1" {
		return err
	}
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	return setSysctl(Sysctl{name, "1"})
}

// keepRouters lets each link that listens to routers do so while forwarding.
func keepRouters() error {
	const conf = "ipv6/conf/"
	links, err := os.ReadDir(sysctlRoot + conf)
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Name() == "all" || l.Name() == "default" {
			continue
		}
		name := conf + l.Name() + "/accept_ra"
		have, err := readSysctl(sysctlRoot + name)
		if isGone(err) {
			continue // the link went meanwhile
		}
		if err != nil {
			return err
		}
		if have != "1" {
			continue // it does not listen
		}
		if err := ignoreGone(setSysctl(Sysctl{name, "2"})); err != nil {
			return err
		}
	}
	return nil
}
