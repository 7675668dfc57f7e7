// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// TestFallback is a kernel with nf_tables that lacks NAT in family inet, as before 5.2 or
// by configuration: iptables does the work, the log says so and why, CHECK finds
// it, and DEL and GC leave nothing. Who asks for nftables by name is told what is missing.
func TestFallback(t *testing.T) {
	t.Parallel()
	needsProgram(t, firewall.IPTables)
	n := newNode(t)
	c := n.newContainer(t)
	serve(t, n.outside, "tcp", 7, "outside")
	serve(t, c.ns, "tcp", 7, "c")
	p := portMap(c, firewall.TCP, 8080)
	steps := func(h *firewall.Host) error {
		return errors.Join(h.EnsureMasquerade(t.Context(), c.owner, c.addrs), h.EnsurePortMap(t.Context(), c.owner, p))
	}
	named := open(t, n.host, firewall.NFTables)
	named.WithoutNAT()
	if err := steps(named); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "cnikit-masq-mynet") || !strings.Contains(err.Error(), "cnikit-ports-mynet") {
		t.Errorf("with nftables by name: %v, want %v and what for", err, errors.ErrUnsupported)
	}
	if got := ruleset(t, n.host); got != "" {
		t.Errorf("what the kernel refused left something:\n%s", got)
	}

	var log bytes.Buffer
	var h *firewall.Host
	n.host.Do(t, func() {
		var err error
		if h, err = firewall.Open(t.Context(), firewall.Config{Log: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
			t.Fatal(err)
		}
	})
	defer closeIt(t, h)
	h.WithoutNAT()
	for range 2 {
		if err := steps(h); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.Backend(); got != firewall.IPTables {
		t.Errorf("Backend() = %q, want %q", got, firewall.IPTables)
	}
	if got := strings.Count(log.String(), "NAT in family inet"); got != 1 {
		t.Errorf("the reason is logged %d times, want once:\n%s", got, log.String())
	}
	check := func() error { // of a process that has not tried
		h := open(t, n.host, "")
		return errors.Join(h.CheckMasquerade(t.Context(), c.owner, c.addrs), h.CheckPortMap(t.Context(), c.owner, p))
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	bothFamilies(t, func(t *testing.T, family int) {
		sees(t, c, "tcp", outsideAddr[family], hostAddr[family], "outside")
		answers(t, &container{ns: n.outside}, "tcp", netip.AddrPortFrom(hostAddr[family], 8080), "c", outsideAddr[family])
	})
	del := open(t, n.host, "")
	if err := errors.Join(del.DelMasquerade(t.Context(), c.owner), del.DelPortMap(t.Context(), c.owner)); err != nil {
		t.Fatal(err)
	}
	if err := check(); err == nil {
		t.Error("the check after DEL is content")
	}
	if err := errors.Join(del.CollectMasquerade(t.Context(), "mynet", nil), del.CollectPortMap(t.Context(), "mynet", nil)); err != nil {
		t.Fatal(err)
	}
	if got := ownRules(t, n.host); got != "" {
		t.Errorf("left after GC:\n%s", got)
	}
}

// TestHost_ready is the answer for STATUS, before anything was set up and after: C-32. It
// leaves nothing.
func TestHost_ready(t *testing.T) {
	t.Parallel()
	needsProgram(t, firewall.IPTables)
	n := nstest.New(t)
	ready := func(h *firewall.Host) [2]error {
		return [2]error{h.ReadyMasquerade(t.Context()), h.ReadyPortMap(t.Context(), firewall.PortMap{SNAT: true})}
	}
	named, unnamed := open(t, n, firewall.NFTables), open(t, n, "")
	for _, h := range []*firewall.Host{named, unnamed, open(t, n, firewall.IPTables)} {
		if errs := ready(h); errs != [2]error{} {
			t.Errorf("ready with %s: %v", h.Backend(), errs)
		}
	}
	named.WithoutNAT()
	unnamed.WithoutNAT()
	for i, err := range ready(named) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("ready without NAT (%d) = %v, want %v", i, err, errors.ErrUnsupported)
		}
	}
	if errs := ready(unnamed); errs != [2]error{} {
		t.Errorf("ready without NAT, but with iptables: %v", errs)
	}
	if got := ruleset(t, n); got != "" {
		t.Errorf("the attempts left something:\n%s", got)
	}
	h := open(t, n, firewall.NFTables)
	o, addrs := numbered(1)
	p := portMap(&container{owner: o, addrs: addrs}, firewall.TCP, 80)
	if err := errors.Join(h.EnsureMasquerade(t.Context(), o, addrs), h.EnsurePortMap(t.Context(), o, p)); err != nil {
		t.Fatal(err)
	}
	before := ruleset(t, n)
	if errs := ready(named); errs != [2]error{} { // what is there shows that it can be
		t.Errorf("ready beside tables: %v", errs)
	}
	if after := ruleset(t, n); after != before {
		t.Errorf("changed by a look:\n%s", after)
	}
}

// TestOpen_unprivileged is a process without CAP_NET_ADMIN, whom the kernel does not even
// tell whether it has nf_tables: the error says what is missing, for each backend.
func TestOpen_unprivileged(t *testing.T) {
	t.Parallel()
	needsProgram(t, firewall.IPTables)
	n := nstest.New(t)
	for _, backend := range []string{"", firewall.NFTables, firewall.IPTables} {
		n.Do(t, func() {
			defer withoutNetAdmin(t)()
			h, err := firewall.Open(t.Context(), firewall.Config{Backend: backend})
			if !errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
				t.Errorf("Open(%q) = %v, %v, want an error about CAP_NET_ADMIN", backend, h, err)
			}
		})
	}
}

// withoutNetAdmin takes CAP_NET_ADMIN from the calling thread, and returns a function that
// gives it back.
func withoutNetAdmin(t *testing.T) (restore func()) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if err := unix.Capget(&header, &has[0]); err != nil {
		t.Fatal(err)
	}
	set := func(data [2]unix.CapUserData) {
		if err := unix.Capset(&header, &data[0]); err != nil {
			t.Fatal(err)
		}
	}
	less := has
	less[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	set(less)
	return func() { set(has) }
}

// TestHost_alone is a process that keeps our lock of the network namespace: the wait ends.
func TestHost_alone(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, iptablesOnly)
	h.SetLockWait(50 * time.Millisecond)
	lock, err := os.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, lock)
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	o, addrs := numbered(1)
	if err := h.EnsureMasquerade(t.Context(), o, addrs); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("EnsureMasquerade() = %v while somebody has the lock, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	h.SetLockWait(time.Minute)
	if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
		t.Errorf("EnsureMasquerade() = %v when the lock is free", err)
	}
}
