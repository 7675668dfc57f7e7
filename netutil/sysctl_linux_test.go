// SPDX-License-Identifier: Apache-2.0

package netutil_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/netutil"
)

func TestConn_SetSysctl(t *testing.T) {
	t.Parallel()
	s, other := newSpace(t), newSpace(t)
	nstest.NeedSysctl(t, s.test)
	// Names of links may hold dots.
	s.test.Output(t, "ip", "link", "add", "eth0.100", "type", "bridge")
	settings := []netutil.Sysctl{{"ipv4/conf/eth0.100/arp_notify", "1"}, {"ipv4/ip_unprivileged_port_start", "80"}}
	if err := s.SetSysctl(settings...); err != nil {
		t.Fatal(err)
	}
	for _, want := range settings {
		if got, err := s.Sysctl(want.Name); err != nil || got != want.Value {
			t.Errorf("Sysctl(%s) = %q, %v, want %q", want.Name, got, err, want.Value)
		}
		if got := s.sysctl(t, want.Name); got != want.Value {
			t.Errorf("the kernel has %s = %q, want %q", want.Name, got, want.Value)
		}
	}
	if got, err := other.Sysctl(settings[1].Name); err != nil || got == "80" {
		t.Errorf("the setting of another namespace = %q, %v, want it as it was", got, err)
	}
	if err := s.SetSysctl(netutil.Sysctl{Name: "ipv4/conf/none/arp_notify", Value: "1"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SetSysctl for a link that is gone = %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := s.Sysctl("ipv4/conf/none/arp_notify"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Sysctl for a link that is gone = %v, want %v", err, fs.ErrNotExist)
	}
	if err := s.SetSysctl(netutil.Sysctl{Name: "ipv4/ip_forward", Value: "many"}); err == nil {
		t.Error("SetSysctl of nonsense = nil, want an error")
	}
}

// Nothing but the settings of a network namespace can be reached.
func TestConn_SetSysctl_Confined(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	for _, name := range []string{
		"", ".", "..", "/etc/passwd", "../kernel/hostname", "ipv4/../../kernel/hostname", "ipv4//ip_forward", "ipv4/", "ipv4/x\x00y",
	} {
		if _, err := s.Sysctl(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Sysctl(%q) = %v, want %v", name, err, fs.ErrInvalid)
		}
		if err := s.SetSysctl(netutil.Sysctl{Name: name, Value: "x"}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("SetSysctl(%q) = %v, want %v", name, err, fs.ErrInvalid)
		}
	}
}

// Links that learned their routes from routers go on when forwarding is switched on;
// those that did not still do not.
func TestConn_SetForwarding(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	nstest.NeedSysctl(t, s.test)
	ra := map[string]string{"listens": "1", "deaf": "0", "stubborn": "2"}
	for name, value := range ra {
		s.bridge(t, name, netutil.BridgeConfig{})
		if err := s.SetSysctl(netutil.Sysctl{Name: "ipv6/conf/" + name + "/accept_ra", Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(ipv4, ipv6 string, ra map[string]string) {
		t.Helper()
		want := map[string]string{"ipv4/ip_forward": ipv4, "ipv6/conf/all/forwarding": ipv6}
		for name, value := range ra {
			want["ipv6/conf/"+name+"/accept_ra"] = value
		}
		for name, value := range want {
			if got := s.sysctl(t, name); got != value {
				t.Errorf("%s = %s, want %s", name, got, value)
			}
		}
	}
	set := func(of ...netip.Prefix) {
		t.Helper()
		if err := s.SetForwarding(of...); err != nil {
			t.Fatal(err)
		}
	}
	check("0", "0", ra)
	set()
	check("0", "0", ra)
	ipv4, ipv6 := prefix("10.1.2.1/24"), prefix("fd00::1/64")
	set(ipv4, ipv4)
	check("1", "0", ra)
	set(ipv6)
	after := map[string]string{"listens": "2", "deaf": "0", "stubborn": "2"}
	check("1", "1", after)
	// It is on already: what an administrator sets afterwards stays.
	if err := s.SetSysctl(netutil.Sysctl{Name: "ipv6/conf/listens/accept_ra", Value: "1"}); err != nil {
		t.Fatal(err)
	}
	set(ipv4, ipv6)
	after["listens"] = "1"
	check("1", "1", after)
}

// Where it cannot be told whether a link listens to routers, forwarding is not switched on:
// a link that does would stop.
func TestConn_SetForwarding_unreadable(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	nstest.NeedSysctl(t, s.test)
	s.bridge(t, "listens", netutil.BridgeConfig{})
	onHost(t, s, func() error {
		// In mounts of this thread's own, something that cannot be read is in the place of a
		// setting: memory where there is none.
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("/proc/self/mem", "/proc/sys/net/ipv6/conf/listens/accept_ra", "", unix.MS_BIND, "")
		}
		if err != nil {
			nstest.Lacks(t, "mounts of a thread's own", err)
		}
		c, err := netutil.Open(nil)
		if err != nil {
			return err
		}
		if err := c.SetForwarding(prefix("fd00::1/64")); !errors.Is(err, unix.EIO) {
			t.Errorf("SetForwarding with a setting that cannot be read = %v, want %v", err, unix.EIO)
		}
		return c.Close()
	})
	if got := s.sysctl(t, "ipv6/conf/all/forwarding"); got != "0" {
		t.Errorf("forwarding = %s, want 0", got)
	}
}

// C-57: the other half of SetSysctl and SetForwarding.
func TestConn_CompareSysctl(t *testing.T) {
	t.Parallel()
	c := newSpace(t)
	nstest.NeedSysctl(t, c.test)
	want := []netutil.Sysctl{{Name: "ipv4/conf/lo/arp_ignore", Value: "2"}, {Name: "ipv4/conf/lo/arp_notify", Value: "1"}}
	if err := c.SetSysctl(want...); err != nil {
		t.Fatal(err)
	}
	if err := c.CompareSysctl(append(want, netutil.Sysctl{Name: "ipv4/conf/gone/arp_notify", Value: "1"})...); err != nil {
		t.Error(err)
	}
	want[1].Value = "0"
	diff := []netutil.Difference{{What: "ipv4/conf/lo/arp_notify", Have: "1", Want: "0"}}
	if got := asMismatch(t, c.CompareSysctl(want...)); len(got) != 1 || got[0] != diff[0] {
		t.Errorf("CompareSysctl = %v, want %v", got, diff)
	}
	if err := c.CompareSysctl(netutil.Sysctl{Name: "../kernel/hostname"}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("CompareSysctl outside = %v, want %v", err, fs.ErrInvalid)
	}
	both := []netip.Prefix{prefix("10.1.2.1/24"), prefix("fd00::1/64")}
	if err := c.CompareForwarding(); err != nil {
		t.Error(err)
	}
	if got := asMismatch(t, c.CompareForwarding(both...)); len(got) != 2 {
		t.Errorf("CompareForwarding where it is off = %v, want two differences", got)
	}
	if err := c.SetForwarding(both...); err != nil {
		t.Fatal(err)
	}
	if err := c.CompareForwarding(both...); err != nil {
		t.Error(err)
	}
}
