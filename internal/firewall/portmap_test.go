// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"net/netip"
	"testing"
)

func forward(p Protocol, host, container string) Forward {
	return Forward{Protocol: p, Host: netip.MustParseAddrPort(host), Container: netip.MustParseAddrPort(container)}
}

func TestParseProtocol(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Protocol{"tcp": TCP, "TCP": TCP, "Udp": UDP, "SCTP": SCTP} {
		if got, err := ParseProtocol(text); err != nil || got != want {
			t.Errorf("ParseProtocol(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "icmp", "tcp ", "6", "tcp\nadd table ip evil"} {
		if got, err := ParseProtocol(text); err == nil {
			t.Errorf("ParseProtocol(%q) = %v, want error", text, got)
		}
	}
}

// TestForward_marshal writes and reads back what stands in an index.
func TestForward_marshal(t *testing.T) {
	t.Parallel()
	for _, f := range []Forward{
		forward(TCP, "0.0.0.0:80", "10.1.2.2:8080"),
		forward(UDP, "192.0.2.1:65535", "10.1.2.2:1"),
		forward(SCTP, "[::]:80", "[fd00::2]:8080"),
		forward(TCP, "[2001:db8::1]:80", "[fd00::2]:8080"),
	} {
		b := f.marshal()
		if got, ok := parseForward(b); !ok || got != f || len(b) != forwardBytes {
			t.Errorf("parseForward(marshal(%v)) = %v, %t", f, got, ok)
		}
	}
}

// FuzzParseForward reads what somebody wrote into an index: what is read can be written.
func FuzzParseForward(f *testing.F) {
	f.Add(forward(TCP, "0.0.0.0:80", "10.1.2.2:8080").marshal())
	f.Add(forward(UDP, "[::]:80", "[fd00::2]:8080").marshal())
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fw, ok := parseForward(b)
		if !ok {
			return
		}
		if again, ok := parseForward(fw.marshal()); !ok || again != fw {
			t.Errorf("parseForward(%x) = %v, which reads back as %v", b, fw, again)
		}
	})
}

func TestPortMap_clean(t *testing.T) {
	t.Parallel()
	o := Owner{"n", "c", "i"}
	for name, fs := range map[string][]Forward{
		"no protocol":  {forward(0, "0.0.0.0:80", "10.0.0.1:80")},
		"host port 0":  {forward(TCP, "0.0.0.0:0", "10.0.0.1:80")},
		"port 0":       {forward(TCP, "0.0.0.0:80", "10.0.0.1:0")},
		"two families": {forward(TCP, "[::]:80", "10.0.0.1:80")},
		"nowhere":      {forward(TCP, "0.0.0.0:80", "0.0.0.0:80")},
		"no address":   {{Protocol: TCP}},
	} {
		if _, err := (PortMap{Forwards: fs}).clean(o); err == nil {
			t.Errorf("clean(%s) = nil, want error", name)
		}
	}
	once := forward(TCP, "0.0.0.0:80", "10.0.0.1:80")
	mapped := forward(TCP, "[::ffff:0.0.0.0]:80", "[::ffff:10.0.0.1]:80")
	p, err := (PortMap{Forwards: []Forward{once, mapped, once}}).clean(o)
	if err != nil || len(p.Forwards) != 1 || p.Forwards[0] != once {
		t.Errorf("clean = %v, %v, want %v", p.Forwards, err, once)
	}
	_, err = (PortMap{Forwards: []Forward{once, forward(TCP, "0.0.0.0:80", "10.0.0.1:81")}}).clean(o)
	var conflict *ConflictError
	if !errors.As(err, &conflict) || conflict.Holder != o {
		t.Errorf("clean of one port to two places = %v, want a conflict with %v", err, o)
	}
}
