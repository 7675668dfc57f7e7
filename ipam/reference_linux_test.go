// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/ipam"
)

// reference does on a directory what the existing host-local plugin does: its file
// protocol, written anew after its description.
//
// Source: containernetworking/plugins v1.9.1,
// plugins/ipam/host-local/backend/disk/backend.go and allocator/allocator.go.
type reference struct{ dir string }

func (r reference) locked(f func() error) error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	fd, err := syscall.Open(filepath.Join(r.dir, "lock"), syscall.O_CREAT|syscall.O_RDONLY|syscall.O_CLOEXEC, 0o750)
	if err != nil {
		return err
	}
	if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
		return errors.Join(err, syscall.Close(fd))
	}
	return errors.Join(f(), syscall.Close(fd))
}

// walk calls f for each file below the directory with its trimmed content.
func (r reference) walk(f func(path, content string) error) error {
	return filepath.Walk(r.dir, func(path string, info fs.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		return f(path, strings.TrimSpace(string(data)))
	})
}

func (r reference) add(id, ifName string, subnets ...string) ([]netip.Addr, error) {
	var got []netip.Addr
	for i, subnet := range subnets {
		p := netip.MustParsePrefix(subnet)
		err := r.locked(func() error {
			addr, err := r.reserve(id, ifName, i, p)
			got = append(got, addr)
			return err
		})
		if err != nil {
			return nil, errors.Join(err, r.del(id, ifName, i+1))
		}
	}
	return got, nil
}

func (r reference) reserve(id, ifName string, set int, subnet netip.Prefix) (netip.Addr, error) {
	err := r.walk(func(path, content string) error {
		ip := net.ParseIP(filepath.Base(path))
		if content == id+"\r\n"+ifName && ip != nil && subnet.Contains(netip.MustParseAddr(ip.String())) {
			return fmt.Errorf("%s has been allocated to %s, duplicate allocation is not allowed", ip, id)
		}
		return nil
	})
	if err != nil {
		return netip.Addr{}, err
	}
	gateway := subnet.Addr().Next()
	end := netip.MustParseAddr("2001:db8::ffff:ffff:ffff:ffff")
	if subnet.Addr().Is4() {
		end = netip.AddrFrom4([4]byte{10, 0, 0, 254})
	}
	cursorFile := filepath.Join(r.dir, fmt.Sprint("last_reserved_ip.", set))
	cursor := end
	if data, err := os.ReadFile(cursorFile); err == nil {
		if a, err := netip.ParseAddr(string(data)); err == nil && subnet.Contains(a) {
			cursor = a
		}
	}
	for addr := cursor; ; {
		if addr == end {
			addr = gateway
		} else {
			addr = addr.Next()
		}
		if addr != gateway {
			f, err := os.OpenFile(filepath.Join(r.dir, addr.String()), os.O_RDWR|os.O_EXCL|os.O_CREATE, 0o600)
			if err == nil {
				_, err = f.WriteString(id + "\r\n" + ifName)
				return addr, errors.Join(err, f.Close(), os.WriteFile(cursorFile, []byte(addr.String()), 0o600))
			}
			if !errors.Is(err, fs.ErrExist) {
				return netip.Addr{}, err
			}
		}
		if addr == cursor {
			return netip.Addr{}, errors.New("no IP addresses available")
		}
	}
}

func (r reference) del(id, ifName string, sets int) error {
	for range sets {
		err := r.locked(func() error {
			return r.walk(func(path, content string) error {
				if content == id+"\r\n"+ifName {
					return os.Remove(path)
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// The two implementations take turns on one directory: neither loses an address of
// the other, and the order is one.
func TestFileStore_turns(t *testing.T) {
	t.Parallel()
	s, dir := fileStore(t)
	subnets := []string{"10.0.0.0/24", "2001:db8::/64"}
	a := ipam.Allocator{Store: s, Sets: sets(t, subnets...)}
	r := reference{dir}
	random := rand.New(rand.NewPCG(5, 6))
	model := map[string]string{}
	var cursors [2]netip.Addr
	for step := range 600 {
		id := fmt.Sprint("c", random.IntN(40))
		ours := random.IntN(2) == 0
		if random.IntN(2) == 0 {
			var err error
			if ours {
				err = a.Release(t.Context(), owner(id))
			} else {
				err = r.del(id, "eth0", 2)
			}
			if err != nil {
				t.Fatalf("step %d: DEL of %s: %v", step, id, err)
			}
			maps.DeleteFunc(model, func(_, o string) bool { return o == id+"/eth0" })
		} else {
			var got []netip.Addr
			var err error
			held := false
			for _, o := range model {
				held = held || o == id+"/eth0"
			}
			if ours {
				var allocation ipam.Allocation
				allocation, err = a.Allocate(t.Context(), owner(id))
				for _, ip := range allocation.IPs {
					got = append(got, ip.Address.Addr())
				}
			} else if !held { // it would refuse, and release them on the way
				got, err = r.add(id, "eth0", subnets...)
			}
			if err != nil {
				t.Fatalf("step %d: ADD of %s: %v", step, id, err)
			}
			for i, addr := range got {
				if held {
					if model[addr.String()] != id+"/eth0" {
						t.Fatalf("step %d: ADD of %s again = %s, which is %s's", step, id, addr, model[addr.String()])
					}
					continue
				}
				taken := func(a netip.Addr) bool { return model[a.String()] != "" }
				want := addr
				if i == 0 {
					want = slowNext(a.Sets[i], cursors[i], taken)
				}
				if addr != want || taken(addr) {
					t.Fatalf("step %d: ADD of %s = %s, want %s", step, id, addr, want)
				}
				cursors[i] = addr
			}
			for _, addr := range got {
				model[addr.String()] = id + "/eth0"
			}
		}
		if diff := cmp.Diff(model, contents(t, s)); diff != "" {
			t.Fatalf("step %d: store mismatch (-want +got):\n%s", step, diff)
		}
	}
	wantConsistent(t, s, dir)
	for i := range 40 {
		mustRelease(t, a, fmt.Sprint("c", i))
	}
	wantContents(t, s, map[string]string{})
}
