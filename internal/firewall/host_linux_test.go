// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/internal/nstest"
)

// TestOpen chooses a backend, and says which and why when it sets something up: once, and
// not so loud that a node hears it at each ADD.
func TestOpen(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	needsProgram(t, firewall.IPTables)
	for wanted, want := range map[string]string{"": firewall.NFTables, firewall.NFTables: firewall.NFTables, firewall.IPTables: firewall.IPTables} {
		var log bytes.Buffer
		var h *firewall.Host
		n.Do(t, func() {
			var err error
			if h, err = firewall.Open(t.Context(), firewall.Config{Backend: wanted, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}); err != nil {
				t.Fatal(err)
			}
		})
		o, addrs := numbered(1)
		for range 2 {
			if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.Backend(); got != want {
			t.Errorf("Backend() = %q for %q, want %q", got, wanted, want)
		}
		said := strings.Count(log.String(), `level=DEBUG msg="firewall backend chosen"`)
		if wants := map[bool]int{true: 1}[wanted == ""]; said != wants {
			t.Errorf("for %q the choice was logged %d times, want %d:\n%s", wanted, said, wants, log.String())
		}
		if err := h.DelMasquerade(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
		}
	}
	n.Do(t, func() {
		if h, err := firewall.Open(t.Context(), firewall.Config{Backend: "pf"}); err == nil {
			t.Errorf("Open(pf) = %v, want error", h)
		}
	})
}

// noProgramsEnv marks the run of TestOpen_noPrograms without any program in PATH.
const noProgramsEnv = "CNIKIT_TEST_NO_PROGRAMS"

// TestOpen_noPrograms is a machine with neither nft nor iptables: nftables works, and
// iptables says what is missing.
func TestOpen_noPrograms(t *testing.T) {
	t.Parallel()
	if os.Getenv(noProgramsEnv) == "" {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^TestOpen_noPrograms$", "-test.count=1")
		cmd.Env = append(os.Environ(), "PATH="+t.TempDir(), noProgramsEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	n := nstest.New(t)
	h := open(t, n, "")
	o, addrs := numbered(1)
	if err := h.EnsureMasquerade(t.Context(), o, addrs); err != nil {
		t.Error(err)
	}
	c := &container{addrs: addrs}
	if err := h.EnsurePortMap(t.Context(), o, portMap(c, firewall.UDP, 80)); err != nil {
		t.Error(err)
	}
	p := portMap(c, firewall.TCP, 81)
	p.Conditions[0] = []string{"-d", "192.0.2.1"}
	if err := h.EnsurePortMap(t.Context(), o, p); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("EnsurePortMap with the words of iptables = %v, want %v", err, errors.ErrUnsupported)
	}
	if err := errors.Join(h.DelPortMap(t.Context(), o), h.DelMasquerade(t.Context(), o)); err != nil {
		t.Error(err)
	}
	n.Do(t, func() {
		if _, err := firewall.Open(t.Context(), firewall.Config{Backend: firewall.IPTables}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Open(iptables) = %v, want %v", err, errors.ErrUnsupported)
		}
	})
}

// TestHost_namespace works in the namespace it was opened in, from whichever thread.
func TestHost_namespace(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, backend string) {
		n := nstest.New(t)
		h := open(t, n, backend)
		o, addrs := numbered(1)
		if err := h.EnsurePortMap(t.Context(), o, portMap(&container{addrs: addrs}, firewall.TCP, 80)); err != nil {
			t.Fatal(err)
		}
		if got := listedPorts(t, open(t, n, backend)); got != 2 {
			t.Errorf("%d ports mapped in the namespace, want 2", got)
		}
		if got := listedPorts(t, open(t, nstest.New(t), backend)); got != 0 {
			t.Errorf("%d ports mapped in another namespace, want none", got)
		}
	})
}

// listedPorts returns how many ports are mapped for the network of numbered.
func listedPorts(t *testing.T, h *firewall.Host) int {
	t.Helper()
	all, err := h.ListPortMap(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestEnsureMasquerade_invalid refuses what is no address of a container.
func TestEnsureMasquerade_invalid(t *testing.T) {
	t.Parallel()
	h := open(t, nstest.New(t), firewall.NFTables)
	o := firewall.Owner{Network: "n", ContainerID: "c", IfName: "i"}
	for _, a := range []string{"0.0.0.0/0", "::/0", "224.0.0.1/24", "ff02::1/64"} {
		if err := h.EnsureMasquerade(t.Context(), o, []netip.Prefix{netip.MustParsePrefix(a)}); err == nil {
			t.Errorf("EnsureMasquerade(%s) = nil, want error", a)
		}
	}
	if err := h.EnsureMasquerade(t.Context(), o, []netip.Prefix{{}}); err == nil {
		t.Error("EnsureMasquerade of no address = nil, want error")
	}
	if err := h.EnsureMasquerade(t.Context(), firewall.Owner{}, nil); err == nil {
		t.Error("EnsureMasquerade for nobody = nil, want error")
	}
	mapped := netip.MustParsePrefix("::ffff:10.1.2.2/120") // IPv4 in the clothes of IPv6
	if err := h.EnsureMasquerade(t.Context(), o, []netip.Prefix{mapped, mapped}); err != nil {
		t.Error(err)
	}
	if err := h.CheckMasquerade(t.Context(), o, []netip.Prefix{netip.MustParsePrefix("10.1.2.2/24")}); err != nil {
		t.Error(err)
	}
}

// No wait for the kernel is without an end, and what was waited for is said.
func TestHost_unanswered(t *testing.T) {
	t.Parallel()
	h := open(t, nstest.New(t), firewall.NFTables)
	const longest = 40 * time.Second // of a plugin, which is not to hang beyond that
	if got, err := h.ReceiveLimit(); err != nil || got <= 0 || got > longest {
		t.Errorf("the limit of a wait = %v, %v; want one up to %v", got, err, longest)
	}
	if err := firewall.Unanswered(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "netfilter") {
		t.Errorf("no answer = %v, want os.ErrDeadlineExceeded about netfilter", err)
	}
}
