// SPDX-License-Identifier: Apache-2.0

package hostlocal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/types"
)

func TestParseResolvConf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       types.DNS
	}{
		{"empty", "", types.DNS{}},
		{"all", "nameserver 10.0.0.53\nnameserver 2001:db8::53\ndomain example.org\nsearch a.example b.example\noptions ndots:5 edns0\n",
			types.DNS{Nameservers: []string{"10.0.0.53", "2001:db8::53"}, Domain: "example.org", Search: []string{"a.example", "b.example"}, Options: []string{"ndots:5", "edns0"}}},
		{"comments, blanks and others", "# nameserver 1.1.1.1\n;nameserver 1.1.1.1\n \t\nsortlist 10.0.0.0\nnameserver\n  nameserver\t10.0.0.53  # the first word counts\r\n",
			types.DNS{Nameservers: []string{"10.0.0.53"}}},
		{"adding up, and the last domain", "search a\nsearch b c\noptions x\noptions y\ndomain one\ndomain two",
			types.DNS{Domain: "two", Search: []string{"a", "b", "c"}, Options: []string{"x", "y"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, parseResolvConf([]byte(tt.text))); diff != "" {
				t.Errorf("parseResolvConf(%q) mismatch (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestConfig_dns(t *testing.T) {
	t.Parallel()
	var c Config
	if got, err := c.dns(); !got.IsZero() || err != nil {
		t.Errorf("dns() = %v, %v; want none", got, err)
	}
	c.IPAM.ResolvConf = filepath.Join(t.TempDir(), "resolv.conf")
	if got, err := c.dns(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dns() = %v, %v; want fs.ErrNotExist", got, err)
	}
	if err := os.WriteFile(c.IPAM.ResolvConf, []byte("nameserver 10.0.0.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := c.dns()
	if diff := cmp.Diff(types.DNS{Nameservers: []string{"10.0.0.53"}}, got); diff != "" || err != nil {
		t.Errorf("dns() error %v, mismatch (-want +got):\n%s", err, diff)
	}
}

// What has no end, or keeps its reader waiting, is no such file.
func TestConfig_dns_hostile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/zero", "/dev/tty", dir, big} {
		var c Config
		c.IPAM.ResolvConf = path
		if got, err := c.dns(); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "resolvConf") {
			t.Errorf("dns() of %s = %v, %v; want an error", path, got, err)
		}
	}
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 10.0.0.53\nsearch a b\noptions ndots:5\ndomain x\n#"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dns := parseResolvConf(data)
		for _, list := range [][]string{dns.Nameservers, dns.Search, dns.Options, {dns.Domain + "x"}} {
			for _, word := range list {
				if word == "" {
					t.Errorf("parseResolvConf(%q) = %+v, with an empty word", data, dns)
				}
			}
		}
	})
}
