// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// FuzzDirectory puts two files and a cursor into a data directory, and a link into its
// index. Whatever they are called and whatever is in them, nothing panics, an address is
// handed out once, one that a file holds for somebody stays his, and one that is held by
// what nobody understands stays as it is.
func FuzzDirectory(f *testing.F) {
	for _, s := range []struct{ name, data, cursor, link string }{
		{"10.0.0.2", "c1\r\neth0", "10.0.0.2", "../../net/10.0.0.2"},
		{"10.0.0.3", "c9", "10.0.0.99", "10.0.0.3"},
		{"10.0.0.4", "", "2001:db8::1", "/etc/passwd"},
		{"10.0.0.5", "d1\r\neth0\n", "fe80::1%eth0", ""},
		{"010.0.0.2", "\x00\x00", "::ffff:10.0.0.3", ".."},
		{"::ffff:10.0.0.2", "kept for the router", "\n10.0.0.4 ", "../../net/::"},
		{".new", "c1\r\neth0", "", "10.0.0.5"},
		{"lock", "10.0.0.3", "x", "lock"},
	} {
		f.Add(s.name, []byte(s.data), "10.0.0.6", []byte("c7\r\neth0"), []byte(s.cursor), s.link)
	}
	f.Fuzz(func(t *testing.T, name1 string, data1 []byte, name2 string, data2 []byte, cursor []byte, link string) {
		root, err := os.MkdirTemp("/dev/shm", "cnikit") // in memory it is faster
		if err != nil {
			root, err = os.MkdirTemp("", "cnikit")
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.RemoveAll(root); err != nil {
				t.Error(err)
			}
		}()
		dir, index := filepath.Join(root, "net"), filepath.Join(root, ".owners/net")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.MkdirAll(index, 0o755)); err != nil {
			t.Fatal(err)
		}
		files := map[string][]byte{"last_reserved_ip.0": cursor, name1: data1, name2: data2}
		for name, data := range files {
			if !filepath.IsLocal(name) || strings.ContainsAny(name, "/\x00") || name == "." || len(name) > 255 {
				delete(files, name)
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if link != "" && !strings.Contains(link, "\x00") && len(link) < 4096 {
			if err := os.Symlink(link, filepath.Join(index, "d1@eth0#0")); err != nil {
				t.Fatal(err)
			}
		}
		testDirectory(t, ipam.FileStore{Dir: root, Network: "net"}, files)
	})
}

func testDirectory(t *testing.T, s ipam.FileStore, files map[string][]byte) {
	a := ipam.Allocator{Store: s, Sets: sets(t, "10.0.0.0/29")}
	// Who holds what, as the files say; the zero owner is nobody we know.
	held := map[netip.Addr]types.Attachment{}
	for name, data := range files {
		addr, err := netip.ParseAddr(name)
		if err != nil || addr.String() != name || addr.Zone() != "" || addr.Is4In6() {
			continue
		}
		if o, blank := ipam.ParseRecord(data); len(data) > 4096 {
			held[addr] = types.Attachment{}
		} else if !blank {
			held[addr] = o
		}
	}
	if err := a.Status(t.Context()); err != nil && !errors.Is(err, types.ErrPluginNotAvailable) {
		t.Errorf("Status() = %v", err)
	}
	given := map[netip.Addr]types.Attachment{}
	for _, id := range []string{"d1", "d2", "d3", "d4", "d5", "d6"} {
		got, err := a.Allocate(t.Context(), owner(id))
		if err != nil {
			if !errors.Is(err, types.ErrTryAgainLater) && !strings.Contains(err.Error(), "run DEL first") {
				t.Errorf("Allocate(%s) = %v", id, err)
			}
			continue
		}
		addr := got.IPs[0].Address.Addr()
		if have, ok := held[addr]; ok && have != owner(id) {
			t.Errorf("Allocate(%s) = %s, which is %+v's", id, addr, have)
		}
		if have, ok := given[addr]; ok {
			t.Errorf("Allocate(%s) = %s, which %s has got", id, addr, have.ContainerID)
		}
		given[addr] = owner(id)
		mustCheck(t, a, owner(id), addr)
	}
	for addr, o := range held {
		if o != (types.Attachment{}) {
			mustCheck(t, a, o, addr)
		}
	}
	if err := a.GC(t.Context(), nil); err != nil {
		t.Errorf("GC() = %v", err)
	}
	for addr, text := range contents(t, s) {
		if held[netip.MustParseAddr(addr)] != (types.Attachment{}) || text != "/" {
			t.Errorf("GC() left %s, which is %s's", addr, text)
		}
	}
	for addr, o := range held {
		data, err := os.ReadFile(filepath.Join(s.Dir, s.Network, addr.String()))
		if o == (types.Attachment{}) && (err != nil || string(data) != string(files[addr.String()])) {
			t.Errorf("the file of %s is %q, %v; want it as it was", addr, data, err)
		}
	}
}

func mustCheck(t *testing.T, a ipam.Allocator, o types.Attachment, addr netip.Addr) {
	t.Helper()
	if err := a.Check(t.Context(), o, []netip.Addr{addr}); err != nil {
		t.Errorf("Check(%+v, %s) = %v", o, addr, err)
	}
}
