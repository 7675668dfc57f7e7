// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// legacyEnv marks the run of the tests in which iptables is not a front end of nftables.
const legacyEnv = "CNIKIT_TEST_IPTABLES_LEGACY"

// TestLegacy runs the tests of the iptables backend once more, with the iptables that
// is not a front end of nftables.
func TestLegacy(t *testing.T) {
	t.Parallel()
	if os.Getenv(legacyEnv) != "" {
		t.Skip("this is that run")
	}
	passes(t, legacyRun(t, "^Test(Masquerade|PortMap).*/(^iptables|snat|masqAll|C-|long)"))
}

// passes fails the test unless tests that a command runs pass, and there are some.
func passes(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("no tests to run")) {
		t.Errorf("%v:\n%s", err, out)
	}
}

// legacyRun returns the command that runs tests with the iptables that is not a front end
// of nftables.
func legacyRun(t *testing.T, tests string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-restore"} {
			program, err := exec.LookPath(name + "-legacy" + suffix)
			if err != nil {
				nstest.Lacks(t, "program "+name+"-legacy", err)
			}
			if err := os.Symlink(program, filepath.Join(dir, name+suffix)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", tests, "-test.count=1")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), legacyEnv+"=1")
	return cmd
}

// TestLegacy_realLock is a node where somebody keeps the lock of all iptables: the wait ends,
// with an error that says so, and when the lock is free all works.
func TestLegacy_realLock(t *testing.T) {
	t.Parallel()
	if os.Getenv(legacyEnv) == "" {
		cmd := legacyRun(t, "^TestLegacy_realLock$")
		cmd.Env = append(cmd.Env, "XTABLES_LOCKFILE="+filepath.Join(t.TempDir(), "lock"))
		passes(t, cmd)
		return
	}
	lock, err := os.Create(os.Getenv("XTABLES_LOCKFILE"))
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, lock)
	o, addrs := numbered(1)
	p := portMap(&container{addrs: addrs}, firewall.TCP, 80)
	for _, backend := range []string{firewall.IPTables, iptablesOnly} {
		h := open(t, nstest.New(t), backend)
		steps := map[string]func() error{
			"masquerade": func() error { return h.EnsureMasquerade(t.Context(), o, addrs) },
			"port map":   func() error { return h.EnsurePortMap(t.Context(), o, p) },
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		h.SetLockWait(time.Second)
		for name, step := range steps {
			if err := step(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %s: %v while somebody has the lock, want %v", backend, name, err, os.ErrDeadlineExceeded)
			}
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_UN); err != nil {
			t.Fatal(err)
		}
		h.SetLockWait(time.Minute)
		for name, step := range steps {
			if err := step(); err != nil {
				t.Errorf("%s, %s: %v when the lock is free", backend, name, err)
			}
		}
		if err := errors.Join(h.CheckMasquerade(t.Context(), o, addrs), h.CheckPortMap(t.Context(), o, p)); err != nil {
			t.Errorf("%s: %v", backend, err)
		}
	}
}

// A lock of iptables that somebody holds is waited for with a bound, and the error says
// what was waited for. LIFE-010. Not parallel: it sets the environment.
func TestLegacy_lock(t *testing.T) {
	n := nstest.New(t)
	dir := t.TempDir()
	const held = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'iptables v1.8.9 (legacy)' && exit\n" +
		"echo 'Another app is currently holding the xtables lock; still 9s 0us time ahead to have a chance to grab the lock...' >&2\nexit 4\n"
	for _, program := range []string{"iptables", "ip6tables", "iptables-restore", "ip6tables-restore"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte(held), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, backend := range []string{firewall.IPTables, iptablesOnly} {
		o, addrs := numbered(1)
		err := open(t, n, backend).EnsureMasquerade(t.Context(), o, addrs)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "lock of iptables was not free within 10 s") {
			t.Errorf("EnsureMasquerade() with %s = %v, want one that is os.ErrDeadlineExceeded and names the lock", backend, err)
		}
	}
}

// TestLegacy_only is a node whose kernel has no nf_tables, with and without ipset: the whole life of a
// container, by the iptables that is left, and at the end nothing.
func TestLegacy_only(t *testing.T) {
	t.Parallel()
	if os.Getenv(legacyEnv) == "" {
		passes(t, legacyRun(t, "^TestLegacy_only$"))
		return
	}
	for name, withoutIPSet := range map[string]bool{"ipset": false, "no ipset": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			c := n.newContainer(t)
			serve(t, n.outside, "tcp", 7, "outside")
			serve(t, c.ns, "tcp", 7, "c")
			start := func() *firewall.Host {
				t.Helper()
				h := open(t, n.host, "")
				if err := h.WithoutNFTables(); err != nil {
					t.Fatal(err)
				}
				if withoutIPSet {
					h.WithoutIPSet()
				}
				return h
			}
			h, p := start(), portMap(c, firewall.TCP, 8080)
			for range 2 {
				err := errors.Join(h.EnsureMasquerade(t.Context(), c.owner, c.addrs), h.EnsurePortMap(t.Context(), c.owner, p),
					start().CheckMasquerade(t.Context(), c.owner, c.addrs), start().CheckPortMap(t.Context(), c.owner, p))
				if err != nil {
					t.Fatal(err)
				}
			}
			if got := h.Backend(); got != firewall.IPTables {
				t.Errorf("Backend() = %q, want %q", got, firewall.IPTables)
			}
			bothFamilies(t, func(t *testing.T, family int) {
				sees(t, c, "tcp", outsideAddr[family], hostAddr[family], "outside")
				answers(t, &container{ns: n.outside}, "tcp", netip.AddrPortFrom(hostAddr[family], 8080), "c", outsideAddr[family])
			})
			if err := h.EnsureSpoofFilter(t.Context(), firewall.Port{Owner: c.owner, Index: 1, MAC: make(net.HardwareAddr, 6)}); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("EnsureSpoofFilter() = %v, want %v", err, errors.ErrUnsupported)
			}
			h = start()
			for range 2 {
				if err := errors.Join(h.DelMasquerade(t.Context(), c.owner), h.DelPortMap(t.Context(), c.owner)); err != nil {
					t.Fatal(err)
				}
			}
			bothFamilies(t, func(t *testing.T, family int) {
				sees(t, c, "tcp", outsideAddr[family], c.addr(family), "outside")
				silent(t, &container{ns: n.outside}, "tcp", netip.AddrPortFrom(hostAddr[family], 8080))
			})
			if err := errors.Join(h.CollectMasquerade(t.Context(), "mynet", nil), h.CollectPortMap(t.Context(), "mynet", nil)); err != nil {
				t.Fatal(err)
			}
			for _, program := range []string{"iptables-legacy", "ip6tables-legacy"} {
				for _, table := range []string{"nat", "raw"} {
					if got := string(n.host.Output(t, program, "-t", table, "-S")); strings.Contains(strings.ToLower(got), "cnikit") {
						t.Errorf("%s, table %s, left:\n%s", program, table, got)
					}
				}
			}
			if got := ruleset(t, n.host); strings.Contains(got, "cnikit") {
				t.Errorf("nftables was used:\n%s", got)
			}
		})
	}
}

// TestLegacy_reference removes what the reference plugins left in the nat table that is
// not nftables: compat B5, B6, part 3. Until then CHECK takes it.
func TestLegacy_reference(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("iptables-legacy-restore")
	if err != nil {
		nstest.Lacks(t, "program iptables-legacy", err)
	}
	n := nstest.New(t)
	const rules = `*nat
:CNI-0e9965f3b290e853e37537d9 - [0:0]
:CNI-DN-0e9965f3b290e853e3753 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-other - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 10.1.2.2/32 -m comment --comment "name: \"pmnet\" id: \"c1\"" -j CNI-0e9965f3b290e853e37537d9
-A POSTROUTING -s 10.1.2.3/32 -m comment --comment "name: \"pmnet\" id: \"c2\"" -j CNI-other
-A CNI-0e9965f3b290e853e37537d9 -d 10.1.2.0/24 -m comment --comment "name: \"pmnet\" id: \"c1\"" -j ACCEPT
-A CNI-DN-0e9965f3b290e853e3753 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.2.2:80
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"pmnet\" id: \"c1\"" -m multiport --dports 80 -j CNI-DN-0e9965f3b290e853e3753
COMMIT
`
	if out, err := run(n, rules, program); err != nil {
		t.Fatalf("iptables-restore: %v: %s", err, out)
	}
	h := open(t, n, firewall.NFTables)
	o := firewall.Owner{Network: "pmnet", ContainerID: "c1", IfName: "eth0"}
	ports := firewall.PortMap{SNAT: true, MarkBit: 13, Forwards: []firewall.Forward{{
		Protocol: firewall.TCP, Host: netip.MustParseAddrPort("0.0.0.0:80"), Container: netip.MustParseAddrPort("10.1.2.2:80"),
	}}}
	if err := h.CheckPortMap(t.Context(), o, ports); err != nil {
		t.Errorf("CHECK of what the reference plugin mapped: %v", err)
	}
	for range 2 {
		if err := h.DelMasquerade(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if err := h.DelPortMap(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	const want = `-P PREROUTING ACCEPT
-P INPUT ACCEPT
-P OUTPUT ACCEPT
-P POSTROUTING ACCEPT
-N CNI-HOSTPORT-DNAT
-N CNI-other
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 10.1.2.3/32 -m comment --comment "name: \"pmnet\" id: \"c2\"" -j CNI-other
`
	if got := string(n.Output(t, "iptables-legacy", "-t", "nat", "-S")); got != want {
		t.Errorf("left:\n%s\nwant:\n%s", got, want)
	}
}

// TestLegacy_untouched looks for leftovers without making the tables it looks into.
func TestLegacy_untouched(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	h := open(t, n, firewall.NFTables)
	o, _ := numbered(1)
	if err := h.DelMasquerade(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := h.DelPortMap(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	n.Do(t, func() {
		b, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if len(b) > 0 {
			t.Errorf("DEL made the tables %q", b)
		}
	})
}
