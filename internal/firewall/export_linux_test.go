// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// WithoutNAT makes h behave as if the kernel had nf_tables without NAT: it asks for a kind
// of chain that no kernel has, so what the kernel answers is real.
func (h *Host) WithoutNAT() { h.conn.noNAT = true }

// WithoutNFTables makes h behave as if the kernel had no nf_tables at all.
func (h *Host) WithoutNFTables() error {
	h.hasNFT = false
	return h.detect(unix.EINVAL)
}

// SetLockWait sets how long h waits for locks.
func (h *Host) SetLockWait(d time.Duration) { h.xtablesWait, h.exclusiveWait = d, d }

// WithoutIPSet makes h behave as if the kernel had no ip_set.
func (h *Host) WithoutIPSet() { h.noIPSet = true }

// RemovalOf finds what DEL would remove for o in nf_tables, and returns what removes that.
func (h *Host) RemovalOf(o Owner) (remove func() error, err error) {
	found, err := h.nft().remove(o)
	return func() error { return h.conn.batch(found) }, err
}

// PortRemovalOf is RemovalOf for port maps.
func (h *Host) PortRemovalOf(o Owner) (remove func() error, err error) {
	found, _, err := h.nftPorts().remove(o)
	return func() error { return h.conn.batch(found) }, err
}

// WhenLooked makes GC of h, or ADD with ipset, call f once: between its first look and what it
// does then.
func (h *Host) WhenLooked(f func()) {
	h.conn.looked = func() {
		h.conn.looked = nil
		f()
	}
}

// Congest fills the socket of h, so that the kernel has no room for its next answer. The
// calling thread is in the namespace of the socket.
func (h *Host) Congest(t testing.TB) {
	t.Helper()
	name, err := unix.Getsockname(h.conn.fd)
	if err != nil {
		t.Fatal(err)
	}
	from, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	junk := make([]byte, unix.SizeofNlMsghdr) // no larger than an answer
	binary.NativeEndian.PutUint32(junk, uint32(len(junk)))
	for err == nil {
		err = unix.Sendto(from, junk, unix.MSG_DONTWAIT, name)
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	if err := unix.Close(from); err != nil {
		t.Fatal(err)
	}
}

// WhenSending calls f before h sends its nth message from here on.
func (h *Host) WhenSending(n int, f func()) {
	h.conn.sending = func() {
		if n--; n == 0 {
			f()
		}
	}
}

// Sent calls f and returns how many messages h sends meanwhile.
func (h *Host) Sent(f func()) int {
	n := 0
	h.conn.sending = func() { n++ }
	f()
	h.conn.sending = nil
	return n
}

// DieWhenSending makes h send nothing from its nth message from here on, as if its process
// was killed.
func (h *Host) DieWhenSending(n int) (died func() bool, err error) {
	dead, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	done := false
	h.WhenSending(n, func() {
		err := unix.Close(h.conn.fd)
		h.conn.fd, done = dead, err == nil
	})
	return func() bool {
		if h.conn.fd != dead {
			_ = unix.Close(dead) // nothing was written
		}
		return done
	}, nil
}

// ReceiveLimit is how long the kernel lets h wait for an answer.
func (h *Host) ReceiveLimit() (time.Duration, error) {
	tv, err := unix.GetsockoptTimeval(h.conn.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO)
	if err != nil {
		return 0, err
	}
	return time.Duration(tv.Nano()), nil
}

// Unanswered waits for an answer that does not come, and returns how that ends.
func Unanswered(limit time.Duration) error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c := &conn{fd: ends[0], buf: make([]byte, receiveBytes)}
	if err := c.limit(limit); err != nil {
		return errors.Join(err, c.close(), unix.Close(ends[1]))
	}
	_, err = (&inbox{conn: c}).read()
	return errors.Join(err, c.close(), unix.Close(ends[1]))
}
