// SPDX-License-Identifier: Apache-2.0

package hostlocal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/skel"
)

// TestMain lets the test binary play the plugin, as a runtime sees it.
func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		skel.Main(hostlocal.Plugin())
	}
	os.Exit(m.Run())
}

// A node is a data directory with the calls that use it.
type node struct {
	t   testing.TB
	dir string
}

func newNode(t testing.TB) node { return node{t, t.TempDir()} }

// An answer is what the plugin said.
type answer struct {
	Code    uint
	Msg     string
	Details string
	text    string
	exit    int
}

// request describes one call. Config is the configuration with <DIR> in the place of
// the data directory, and without cniVersion and name.
type request struct {
	command, id, ifName, args string
	version                   string // empty: 1.1.0
	network                   string // empty: mynet
	config                    string
}

func (n node) stdin(r request) string {
	version, network := r.version, r.network
	if version == "" {
		version = "1.1.0"
	}
	if network == "" {
		network = "mynet"
	}
	config := strings.ReplaceAll(strings.TrimPrefix(r.config, "{"), "<DIR>", n.dir)
	return fmt.Sprintf(`{"cniVersion":%q,"name":%q,"type":"bridge",%s`, version, network, config)
}

func (r request) environ() []string {
	environ := []string{"CNI_COMMAND=" + r.command, "CNI_PATH=/opt/cni/bin"}
	if r.command == "GC" || r.command == "STATUS" {
		return environ
	}
	ifName := r.ifName
	if ifName == "" {
		ifName = "eth0"
	}
	environ = append(environ, "CNI_CONTAINERID="+r.id, "CNI_IFNAME="+ifName, "CNI_ARGS="+r.args)
	if r.command != "DEL" {
		environ = append(environ, "CNI_NETNS=/proc/1/ns/none")
	}
	return environ
}

// call runs the plugin in this process.
func (n node) call(r request) answer {
	n.t.Helper()
	var stdout, stderr bytes.Buffer
	exit := hostlocal.Plugin().Run(context.Background(), skel.Env{
		Environ: r.environ(), Stdin: strings.NewReader(n.stdin(r)), Stdout: &stdout, Stderr: &stderr,
	})
	return n.answer(exit, stdout.String())
}

func (n node) answer(exit int, stdout string) answer {
	n.t.Helper()
	a := answer{text: strings.ReplaceAll(strings.TrimSuffix(stdout, "\n"), n.dir, "<DIR>"), exit: exit}
	if exit != 0 {
		if err := json.Unmarshal([]byte(stdout), &a); err != nil {
			n.t.Fatalf("the error %q is no JSON: %v", stdout, err)
		}
	}
	return a
}

// want runs the plugin and compares what it prints.
func (n node) want(r request, want string) {
	n.t.Helper()
	if got := n.call(r); got.exit != 0 || got.text != want {
		n.t.Errorf("%s %s = %d, %s\nwant 0, %s", r.command, r.id, got.exit, got.text, want)
	}
}

// wantError runs the plugin and looks for an error.
func (n node) wantError(r request, code uint, text string) {
	n.t.Helper()
	got := n.call(r)
	if got.exit != 1 || got.Code != code || !strings.Contains(got.text, text) {
		n.t.Errorf("%s %s = %d, %s\nwant 1, error %d with %q", r.command, r.id, got.exit, got.text, code, text)
	}
}

// ips runs ADD and returns the addresses.
func (n node) ips(r request) string {
	n.t.Helper()
	r.command = "ADD"
	got := n.call(r)
	var result struct{ IPs []struct{ Address string } }
	if err := json.Unmarshal([]byte(got.text), &result); err != nil || got.exit != 0 {
		n.t.Errorf("ADD %s = %d, %s", r.id, got.exit, got.text)
	}
	var all []string
	for _, ip := range result.IPs {
		all = append(all, ip.Address)
	}
	return strings.Join(all, " ")
}

func (n node) wantIPs(r request, want string) {
	n.t.Helper()
	if got := n.ips(r); got != want {
		n.t.Errorf("ADD %s = %s, want %s", r.id, got, want)
	}
}

// files returns the reservations of a network.
func (n node) files(network string) map[string]string {
	n.t.Helper()
	all := map[string]string{}
	dir := filepath.Join(n.dir, network)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() || e.Name() == "lock" || strings.HasPrefix(e.Name(), "last_reserved_ip.") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			n.t.Fatal(err)
		}
		all[e.Name()] = strings.ReplaceAll(string(data), "\r\n", "/")
	}
	return all
}

func (n node) wantFiles(want map[string]string) {
	n.t.Helper()
	if diff := cmp.Diff(want, n.files("mynet")); diff != "" {
		n.t.Errorf("reservations mismatch (-want +got):\n%s", diff)
	}
}

const plain = `{"ipam":{"type":"host-local","subnet":"10.1.2.0/24","dataDir":"<DIR>"}}`

// The configuration that the README shows works.
func TestAdd_example(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../testdata/10-pods.conflist")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Plugins []struct{ IPAM map[string]any }
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	ipam := list.Plugins[0].IPAM
	ipam["dataDir"] = "<DIR>"
	delete(ipam, "resolvConf") // that of this machine may be anything
	config, err := json.Marshal(map[string]any{"ipam": ipam})
	if err != nil {
		t.Fatal(err)
	}
	newNode(t).want(request{command: "ADD", id: "c1", config: strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(config))},
		`{"cniVersion":"1.1.0","ips":[{"address":"10.22.1.20/16","gateway":"10.22.0.1"},{"address":"2001:db8:22::2/64","gateway":"2001:db8:22::1"}],`+
			`"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`)
}

// DLG-012, DLG-014, DLG-017, DLG-027, RES-041: the result in each version.
func TestAdd_versions(t *testing.T) {
	t.Parallel()
	const config = `{"ipam":{"type":"host-local","dataDir":"<DIR>",
		"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"2001:db8::/64","rangeStart":"2001:db8::ff"}]],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"2001:db8:1::/48","gw":"2001:db8::1"}]}}`
	const list = `"ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"},{"address":"2001:db8::ff/64","gateway":"2001:db8::1"}],` +
		`"routes":[{"dst":"0.0.0.0/0"},{"dst":"2001:db8:1::/48","gw":"2001:db8::1"}]}`
	versioned := strings.NewReplacer(`{"address":"10`, `{"version":"4","address":"10`, `{"address":"2001`, `{"version":"6","address":"2001`).Replace(list)
	flat := `"ip4":{"ip":"10.1.2.2/24","gateway":"10.1.2.1","routes":[{"dst":"0.0.0.0/0"}]},` +
		`"ip6":{"ip":"2001:db8::ff/64","gateway":"2001:db8::1","routes":[{"dst":"2001:db8:1::/48","gw":"2001:db8::1"}]}}`
	for version, want := range map[string]string{
		"0.1.0": flat, "0.2.0": flat, "0.3.0": versioned, "0.3.1": versioned, "0.4.0": versioned, "1.0.0": list, "1.1.0": list,
	} {
		n := newNode(t)
		n.want(request{command: "ADD", id: "c1", version: version, config: config}, fmt.Sprintf(`{"cniVersion":%q,%s`, version, want))
		n.wantFiles(map[string]string{"10.1.2.2": "c1/eth0", "2001:db8::ff": "c1/eth0"})
		n.want(request{command: "DEL", id: "c1", version: version, config: config}, "")
		n.want(request{command: "DEL", id: "c1", version: version, config: config}, "")
		n.wantFiles(map[string]string{})
	}
	newNode(t).wantError(request{command: "ADD", id: "c1", version: "99.0.0", config: config}, 1, "99.0.0") // DLG-015
}

// Routes are copied with all that they hold.
func TestAdd_routes(t *testing.T) {
	t.Parallel()
	const routes = `[{"dst":"10.9.0.0/16","gw":"10.1.2.9","mtu":1400,"advmss":1300,"priority":5,"table":100,"scope":253,"x-own":{"a":1}}]`
	newNode(t).want(request{command: "ADD", id: "c1", config: strings.Replace(plain, `"subnet"`, `"routes":`+routes+`,"subnet"`, 1)},
		`{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"}],"routes":`+routes+`}`)
}

// The order of the sets, hence the numbers of the cursors, and CONF-045: keys in
// any case. CAP-012, CAP-013.
func TestAdd_rangeSets(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wantIPs(request{id: "c1", config: `{"RuntimeConfig":{"IPRanges":[[{"Subnet":"10.1.0.0/24"},{"subnet":"10.1.1.0/24"}],[{"subnet":"2001:db8::/64"}]]},
		"Ipam":{"type":"host-local","DATADIR":"<DIR>","Subnet":"10.1.2.0/24","rangestart":"10.1.2.20","RangeEnd":"10.1.2.29","GATEWAY":"10.1.2.254",
		"Ranges":[[{"subnet":"10.1.3.0/24"}]]}}`},
		"10.1.0.2/24 2001:db8::2/64 10.1.2.20/24 10.1.3.2/24")
	for i, want := range []string{"10.1.0.2", "2001:db8::2", "10.1.2.20", "10.1.3.2"} {
		got, err := os.ReadFile(filepath.Join(n.dir, "mynet", fmt.Sprint("last_reserved_ip.", i)))
		if err != nil || string(got) != want {
			t.Errorf("cursor %d = %q, %v; want %q", i, got, err, want)
		}
	}
	// CAP-019: DEL without the values that ADD had; C-28.
	n.want(request{command: "DEL", id: "c1", config: `{"ipam":{"type":"host-local","dataDir":"<DIR>"}}`}, "")
	n.wantFiles(map[string]string{})
}

// C-31, ARG-012 to ARG-015, CAP-014: requested addresses, the highest source of
// which counts.
func TestAdd_requests_C31(t *testing.T) {
	t.Parallel()
	with := func(more string) string {
		return `{` + more + `"ipam":{"type":"host-local","dataDir":"<DIR>","ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"2001:db8::/64"}]]}}`
	}
	tests := []struct{ name, args, more, want string }{
		{"CNI_ARGS", "IP=10.1.2.5", "", "10.1.2.5/24 2001:db8::2/64"},
		{"CNI_ARGS with prefix length", "IP=2001:db8::5/48", "", "10.1.2.2/24 2001:db8::5/64"},
		{"CNI_ARGS, empty", "IP=", "", "10.1.2.2/24 2001:db8::2/64"},
		{"CNI_ARGS, unknown keys ignored", "IgnoreUnknown=1;K8S_POD_NAME=../../x;IP=10.1.2.5", "", "10.1.2.5/24 2001:db8::2/64"},
		{"args", "", `"args":{"cni":{"ips":["10.1.2.6","2001:db8::6/64"]}},`, "10.1.2.6/24 2001:db8::6/64"},
		{"args over CNI_ARGS", "IP=10.1.2.5", `"args":{"cni":{"ips":["10.1.2.6"]}},`, "10.1.2.6/24 2001:db8::2/64"},
		{"args, empty", "IP=10.1.2.5", `"args":{"cni":{"ips":[]}},`, "10.1.2.5/24 2001:db8::2/64"},
		{"args, in capitals", "", `"ARGS":{"CNI":{"IPS":["10.1.2.6"]}},`, "10.1.2.6/24 2001:db8::2/64"},
		{"args of others", "", `"args":{"cni":{"labels":5},"x":[],"ips":["10.9.9.9"]},`, "10.1.2.2/24 2001:db8::2/64"},
		{"args of another type", "", `"args":[1],`, "10.1.2.2/24 2001:db8::2/64"},
		{"args.cni of another type", "", `"args":{"cni":"x"},`, "10.1.2.2/24 2001:db8::2/64"},
		{"runtimeConfig", "", `"runtimeConfig":{"ips":["10.1.2.7/16","2001:db8::7"]},`, "10.1.2.7/24 2001:db8::7/64"},
		{"runtimeConfig over all", "IP=10.1.2.5", `"args":{"cni":{"ips":["10.1.2.6"]}},"runtimeConfig":{"ips":["10.1.2.7"]},`, "10.1.2.7/24 2001:db8::2/64"},
		{"C-33 null", "", `"runtimeConfig":{"ips":[null]},"args":{"cni":{"ips":[null]}},`, "10.1.2.2/24 2001:db8::2/64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			newNode(t).wantIPs(request{id: "c1", args: tt.args, config: with(tt.more)}, tt.want)
		})
	}
	bad := []struct {
		name, args, more string
		code             uint
		want             string
	}{
		{"foreign", "", `"runtimeConfig":{"ips":["10.1.2.7","10.9.9.9"]},`, 7, "10.9.9.9"},
		{"gateway", "IP=10.1.2.1", "", 7, "gateway"},
		{"broadcast", "IP=10.1.2.255", "", 7, "10.1.2.255"},
		{"two of one set", "", `"runtimeConfig":{"ips":["10.1.2.7","10.1.2.8"]},`, 7, "same range set"},
		{"taken, the second one", "", `"runtimeConfig":{"ips":["10.1.2.7","2001:db8::99"]},`, 11, "2001:db8::99 is taken"},
		{"nonsense", "IP=10.1.2", "", 4, "IP"},
		{"unknown key", "FOO=1", "", 4, "FOO"},
		{"nonsense in args", "", `"args":{"cni":{"ips":["x"]}},`, 7, "args"},
		{"another type in args", "", `"args":{"cni":{"ips":7}},`, 6, "args"},
		{"nonsense in runtimeConfig", "", `"runtimeConfig":{"ips":["x"]},`, 7, "runtimeConfig.ips[0]"},
	}
	for _, tt := range bad {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			n.ips(request{id: "c0", args: "IP=2001:db8::99", config: with("")})
			before := n.files("mynet")
			n.wantError(request{command: "ADD", id: "c1", args: tt.args, config: with(tt.more)}, tt.code, tt.want)
			n.wantFiles(before)
		})
	}
}

// C-32, C-33: what is wrong with a configuration is told by code 6 or 7, for ADD,
// CHECK and STATUS (STA-017), and leaves no trace.
func TestConfig_invalid_C32_C33(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, config string
		code         uint
		want         string
	}{
		{"nothing", `{"ipam":{"dataDir":"<DIR>"}}`, 7, "no ranges"},
		{"relative directory", `{"ipam":{"dataDir":"../data","subnet":"10.1.2.0/24"}}`, 7, "is not an absolute path"},
		{"no ranges", `{"ipam":{"type":"host-local"}}`, 7, "no ranges"},
		{"empty ranges", `{"ipam":{"type":"host-local","ranges":[]}}`, 7, "no ranges"},
		{"empty set", `{"ipam":{"type":"host-local","ranges":[[]]}}`, 7, "range set 0"},
		{"null set", `{"ipam":{"type":"host-local","ranges":[null]}}`, 7, "range set 0"},
		{"null range", `{"ipam":{"type":"host-local","ranges":[[null]]}}`, 7, "subnet"},
		{"no subnet", `{"ipam":{"type":"host-local","ranges":[[{"rangeStart":"10.1.2.3"}]]}}`, 7, "subnet"},
		{"host bits", `{"ipam":{"type":"host-local","subnet":"10.1.2.3/24"}}`, 7, "host bits"},
		{"no prefix length", `{"ipam":{"type":"host-local","subnet":"10.1.2.0"}}`, 7, `ipam.subnet: \"10.1.2.0\" is not an address with prefix length; want one such as`},
		{"no gateway", `{"ipam":{"type":"host-local","subnet":"10.1.2.0/24","gateway":"x"}}`, 7, `ipam.gateway: \"x\" is not an address; want one such as`},
		{"too small", `{"ipam":{"type":"host-local","subnet":"10.1.2.0/31"}}`, 7, "too small"},
		{"two families in a set", `{"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.2.0/24"},{"subnet":"2001:db8::/64"}]]}}`, 7, "both families"},
		{"overlap", `{"ipam":{"type":"host-local","subnet":"10.1.0.0/16","ranges":[[{"subnet":"10.1.2.0/24"}]]}}`, 7, "overlap"},
		{"ranges of another type", `{"ipam":{"type":"host-local","ranges":{}}}`, 6, "ipam.ranges"},
		{"routes of another type", `{"ipam":{"type":"host-local","subnet":"10.1.2.0/24","routes":{}}}`, 6, "ipam.routes: {}"},
		{"null route", `{"ipam":{"type":"host-local","subnet":"10.1.2.0/24","routes":[null]}}`, 6, "ipam.routes[0]: null"},
		{"route without dst", `{"ipam":{"type":"host-local","subnet":"10.1.2.0/24","routes":[{}]}}`, 7, "ipam.routes[0].dst"},
		{"addresses of another type", `{"args":{"cni":{"ips":5}},"ipam":{"type":"host-local","subnet":"10.1.2.0/24"}}`, 6, "cni.ips: 5 is not valid; want an array of addresses"},
		{"bad address", `{"args":{"cni":{"ips":["x"]}},"ipam":{"type":"host-local","subnet":"10.1.2.0/24"}}`, 7, `\"x\" is not an address`},
		{"bad capability", `{"runtimeConfig":{"ipRanges":7},"ipam":{"type":"host-local","subnet":"10.1.2.0/24"}}`, 7, "ipRanges"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			config := strings.Replace(tt.config, `"host-local"`, `"host-local","dataDir":"<DIR>"`, 1)
			n.wantError(request{command: "ADD", id: "c1", config: config}, tt.code, tt.want)
			n.wantError(request{command: "STATUS", config: config}, tt.code, tt.want)
			n.want(request{command: "DEL", id: "c1", config: config}, "") // C-28, DEL-026
			n.wantFiles(map[string]string{})
			if _, err := os.Stat(filepath.Join(n.dir, "mynet")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Stat() = %v, want no directory", err)
			}
		})
	}
}

// DLG-031: before 0.3.0 there is room for one address of each family.
func TestAdd_oldVersions(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	config := `{"ipam":{"type":"host-local","dataDir":"<DIR>","ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"2001:db8::/64"}],[{"subnet":"10.1.3.0/24"}]]}}`
	for _, version := range []string{"0.1.0", "0.2.0"} { // RES-040, AMB-076
		n.wantError(request{command: "ADD", id: "c1", version: version, config: config}, 7, "0.3.0")
	}
	n.wantFiles(map[string]string{})
	n.wantIPs(request{id: "c1", version: "0.3.0", config: config}, "10.1.2.2/24 2001:db8::2/64 10.1.3.2/24")
	n.want(request{command: "DEL", id: "c1", version: "0.2.0", config: config}, "")
	n.wantFiles(map[string]string{})
}

// C-19: an ADD that fails takes back what it took, and nothing that a running
// container has.
func TestAdd_rollback_C19(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wantIPs(request{id: "c1", config: plain}, "10.1.2.2/24")
	front := func(more string) string {
		return strings.Replace(plain, `"subnet"`, more+`"ranges":[[{"subnet":"10.1.9.0/24"}]],"subnet"`, 1)
	}
	n.wantError(request{command: "ADD", id: "c1", args: "IP=10.1.2.9", config: front("")}, 999, "has 10.1.2.2")
	n.wantFiles(map[string]string{"10.1.2.2": "c1/eth0"})
	n.wantError(request{command: "ADD", id: "c1", config: front(`"resolvConf":"/no/such/file",`)}, 999, "/no/such/file")
	n.wantFiles(map[string]string{"10.1.2.2": "c1/eth0"})

	// The result cannot be delivered: what this ADD took goes, what it had stays.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full to write to: ", err)
	}
	defer full.Close()
	for range 2 {
		r := request{command: "ADD", id: "c1", config: front("")}
		exit := hostlocal.Plugin().Run(t.Context(), skel.Env{Environ: r.environ(), Stdin: strings.NewReader(n.stdin(r)), Stdout: full})
		if exit == 0 {
			t.Error("ADD to a full device succeeded")
		}
		n.wantFiles(map[string]string{"10.1.2.2": "c1/eth0"})
	}
}

// DLG-033: ADD twice, DEL once.
func TestAdd_again(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wantIPs(request{id: "c1", config: plain}, "10.1.2.2/24")
	n.wantIPs(request{id: "c1", config: plain}, "10.1.2.2/24")
	n.wantIPs(request{id: "c1", ifName: "eth1", config: plain}, "10.1.2.3/24")
	n.wantIPs(request{id: "c1", network: "other", config: plain}, "10.1.2.2/24") // LIFE-014
	n.want(request{command: "DEL", id: "c1", config: plain}, "")
	n.wantFiles(map[string]string{"10.1.2.3": "c1/eth1"})
	if diff := cmp.Diff(map[string]string{"10.1.2.2": "c1/eth0"}, n.files("other")); diff != "" {
		t.Errorf("reservations of the other network mismatch (-want +got):\n%s", diff)
	}
}

// C-28, DEL-009, DEL-010, LIFE-017: DEL needs dataDir, name, container and interface, and nothing else.
func TestDel_C28(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]request{
		"no ranges":          {config: `{"ipam":{"type":"host-local","dataDir":"<DIR>"}}`},
		"other ranges":       {config: `{"ipam":{"type":"host-local","dataDir":"<DIR>","subnet":"10.9.0.0/16"}}`},
		"bad ranges":         {config: `{"ipam":{"type":"host-local","ranges":[[{"subnet":7}]],"dataDir":"<DIR>","routes":7}}`},
		"unknown CNI_ARGS":   {config: plain, args: "FOO=1;IP=nonsense"},
		"bad prevResult":     {config: strings.Replace(plain, "{", `{"prevResult":{"cniVersion":"99.0.0"},`, 1)},
		"several sets in v2": {config: `{"ipam":{"type":"host-local","dataDir":"<DIR>","ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.3.0/24"}]]}}`, version: "0.2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			n.wantIPs(request{id: "c1", config: plain}, "10.1.2.2/24")
			r.command, r.id = "DEL", "c1"
			n.want(r, "")
			n.wantFiles(map[string]string{})
		})
	}
}

// C-27, C6, DLG-028: CHECK compares prevResult with the reservations.
func TestCheck_C27(t *testing.T) {
	t.Parallel()
	with := func(ips string) string {
		return strings.Replace(plain, "{", `{"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/proc/1/ns/none"},{"name":"eth1","sandbox":"/proc/1/ns/none"}],"ips":[`+ips+`]},`, 1)
	}
	const own = `{"address":"10.1.2.2/24","interface":1}`
	n := newNode(t)
	n.wantIPs(request{id: "c1", config: plain}, "10.1.2.2/24")
	n.wantIPs(request{id: "c2", config: plain}, "10.1.2.3/24")
	for _, ips := range []string{own, `{"address":"10.1.2.2/24"}`, own + `,{"address":"10.1.2.3/24","interface":2}`, own + `,{"address":"192.168.0.1/24","interface":1}`} {
		n.want(request{command: "CHECK", id: "c1", config: with(ips)}, "")
	}
	n.wantError(request{command: "CHECK", id: "c1", config: with(`{"address":"10.1.2.4/24","interface":1}`)}, 999, "10.1.2.4")
	n.wantError(request{command: "CHECK", id: "c1", config: with(own + `,{"address":"10.1.2.3/24","interface":1}`)}, 999, "container c2")
	n.wantError(request{command: "CHECK", id: "c1", config: with(`{"address":"192.168.0.1/24"}`)}, 999, "no address")
	n.wantError(request{command: "CHECK", id: "c1", config: plain}, 7, "prevResult") // CHK-004
	// The reservation is renamed to something that is no address: the reference is content.
	path := filepath.Join(n.dir, "mynet/10.1.2.2")
	if err := os.Rename(path, filepath.Join(n.dir, "mynet/note")); err != nil {
		t.Fatal(err)
	}
	n.wantError(request{command: "CHECK", id: "c1", config: with(own)}, 999, "10.1.2.2")
	n.wantFiles(map[string]string{"note": "c1/eth0", "10.1.2.3": "c2/eth0"}) // CHK-021
}

// C6, GC-005 to GC-007, GC-018 to GC-024, DLG-030.
func TestGC_C6(t *testing.T) {
	t.Parallel()
	with := func(more string) string { return strings.Replace(plain, "{", "{"+more, 1) }
	const valid = `"cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"},{"containerID":"never","ifname":"eth0"}],`
	n := newNode(t)
	for _, id := range []string{"c1", "c2"} {
		n.ips(request{id: id, config: plain})
		n.ips(request{id: id, ifName: "eth1", config: plain})
		n.ips(request{id: id, network: "other", config: plain})
	}
	before := n.files("mynet")
	n.wantError(request{command: "GC", config: plain}, 7, "valid-attachments")
	n.wantError(request{command: "GC", config: with(`"cni.dev/valid-attachments":[{"containerID":"c1"}],`)}, 7, "ifname")
	n.wantFiles(before)
	for range 2 {
		n.want(request{command: "GC", config: with(valid)}, "")
		n.wantFiles(map[string]string{"10.1.2.2": "c1/eth0"})
	}
	n.want(request{command: "GC", config: `{"cni.dev/valid-attachments":[],"ipam":{"type":"host-local","dataDir":"<DIR>"}}`}, "")
	n.wantFiles(map[string]string{})
	if got := n.files("other"); len(got) != 2 { // GC-007
		t.Errorf("the other network has %v, want both reservations", got)
	}
}

// C6, C-32, STA-001 to STA-005, STA-012, DLG-029.
func TestStatus_C6(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	config := strings.Replace(plain, "/24", "/30", 1) // one address less the gateway
	n.want(request{command: "STATUS", config: config}, "")
	if _, err := os.Stat(filepath.Join(n.dir, "mynet")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat() = %v, want no directory", err)
	}
	n.wantIPs(request{id: "c1", config: config}, "10.1.2.2/30")
	n.wantError(request{command: "STATUS", config: config}, 50, "10.1.2.1-10.1.2.2")
	n.wantError(request{command: "ADD", id: "c2", config: config}, 11, "no free address") // C-32
	n.want(request{command: "DEL", id: "c1", config: config}, "")
	n.want(request{command: "STATUS", config: config}, "")
	n.wantError(request{command: "STATUS", config: strings.Replace(config, `"subnet"`, `"resolvConf":"/no/such/file","subnet"`, 1)}, 50, "/no/such/file")
	file := filepath.Join(n.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.wantError(request{command: "STATUS", config: strings.Replace(config, "<DIR>", file, 1)}, 50, "not writable")
}

// The process: one document on standard output, and many at once.
func TestProcess(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const many = 24 // DLG-032, LIFE-005
	addresses := make([]string, many)
	var group sync.WaitGroup
	for i := range many {
		group.Go(func() {
			r := request{command: "ADD", id: fmt.Sprint("c", i), config: plain}
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), r.environ()...)
			cmd.Stdin = strings.NewReader(n.stdin(r))
			out, err := cmd.Output()
			var result struct{ IPs []struct{ Address string } }
			if err := errors.Join(err, json.Unmarshal(out, &result)); err != nil || len(result.IPs) != 1 {
				t.Errorf("ADD = %s, %v", out, err)
				return
			}
			addresses[i] = result.IPs[0].Address
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, a := range addresses {
		seen[a] = true
	}
	if len(seen) != many || len(n.files("mynet")) != many {
		t.Errorf("%d different addresses and %d reservations, want %d", len(seen), len(n.files("mynet")), many)
	}
}

// FuzzConfig checks that no configuration panics, and that an ADD that fails leaves
// nothing behind.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		`{"subnet":"10.1.2.0/24"}`, `{"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"2001:db8::/64"}]]}`,
		`{"ranges":[[null]],"routes":[null]}`, `{"subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0"}]}`, `{"subnet":"0.0.0.0/0"}`,
	} {
		f.Add(seed, `{"ips":["10.1.2.9"]}`)
	}
	f.Fuzz(func(t *testing.T, ipam, more string) {
		if strings.Contains(strings.ToLower(ipam), "dir") || strings.Contains(strings.ToLower(ipam), "resolv") || strings.Contains(ipam, `\u`) || !json.Valid([]byte(ipam)) || !json.Valid([]byte(more)) {
			t.Skip("not for the file system of this machine")
		}
		n := newNode(t)
		ipam = strings.TrimSpace(ipam)
		if !strings.HasPrefix(ipam, "{") || len(strings.TrimSpace(ipam[1:])) < 2 {
			t.Skip("no object")
		}
		r := request{command: "ADD", id: "c1", config: `{"runtimeConfig":` + more + `,"args":{"cni":` + more + `},"ipam":{"dataDir":"<DIR>",` + ipam[1:] + `}`}
		if got := n.call(r); got.exit != 0 {
			n.wantFiles(map[string]string{})
		}
		n.want(request{command: "DEL", id: "c1", config: `{"ipam":{"dataDir":"<DIR>"}}`}, "")
		n.wantFiles(map[string]string{})
	})
}

// The cost of ADD and DEL must not grow with the reservations: at 10,000 at most
// 1.2 times that at 10.
func BenchmarkAddDel_C30(b *testing.B) {
	config := strings.Replace(plain, "10.1.2.0/24", "10.0.0.0/8", 1)
	for _, count := range []int{10, 1000, 10_000} {
		n := newNode(b)
		for i := range count {
			n.ips(request{id: fmt.Sprint("x", i), config: config})
		}
		for _, commands := range []string{"ADD DEL", "DEL"} {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(commands, " ", "+"), count), func(b *testing.B) {
				for b.Loop() {
					for command := range strings.FieldsSeq(commands) {
						if got := n.call(request{command: command, id: "c1", config: config}); got.exit != 0 {
							b.Fatal(got.text)
						}
					}
				}
			})
		}
	}
}
