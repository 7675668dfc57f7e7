// SPDX-License-Identifier: Apache-2.0

package arch_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// modules are all that go.mod may name, with their versions: users inherit each of
// them. The indirect ones are what the direct ones bring.
var modules = map[string]string{
	"github.com/vishvananda/netlink": "v1.3.1",
	"github.com/vishvananda/netns":   "v0.0.5",
	"github.com/coreos/go-iptables":  "v0.8.0",
	"github.com/google/nftables":     "v0.3.0",
	"github.com/google/go-cmp":       "v0.7.0",  // tests only
	"golang.org/x/sys":               "v0.41.0", // the newest that is content with go 1.25

	"github.com/mdlayher/netlink": "v1.7.3-0.20250113171957-fbb4dce95f42",
	"github.com/mdlayher/socket":  "v0.5.0",
	"golang.org/x/net":            "v0.50.0", // its package bpf alone; older ones have advisories that scanners report
	"golang.org/x/sync":           "v0.6.0",
}

func TestModules(t *testing.T) {
	t.Parallel()
	text := read(t, "go.mod")
	for _, m := range regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+/\S+) (v\S+)`).FindAllStringSubmatch(text, -1) {
		switch want, ok := modules[m[1]]; {
		case !ok:
			t.Errorf("go.mod requires %s: the list is closed; put what tests need into a nested module", m[1])
		case m[2] != want:
			t.Errorf("go.mod requires %s %s, want %s: change both with a reason", m[1], m[2], want)
		}
	}
	for _, word := range []string{"replace", "exclude", "toolchain", "tool"} {
		if regexp.MustCompile(`(?m)^` + word + `\b`).MatchString(text) {
			t.Errorf("go.mod has %s, which users do not get or should not", word)
		}
	}
	if !regexp.MustCompile(`(?m)^go 1\.25$`).MatchString(text) {
		t.Error("go.mod: want go 1.25, the oldest release that the library is for")
	}
}

// hello is a plugin on types and skel alone.
const hello = "./examples/hello"

// denied are packages that no plugin on types and skel alone may link: for size, for
// what they do when they start, or because skel has no business there.
var denied = []string{
	"C", "crypto", "database", "embed", "encoding/gob", "encoding/xml", "expvar", "flag", "go", "hash", "html", "image",
	"math/big", "mime", "net/http", "net/rpc", "net/url", "net", "os/exec", "os/user", "plugin", "regexp", "runtime/cgo",
	"runtime/debug", "runtime/pprof", "runtime/trace", "testing", "text/template", "text/tabwriter",
}

// allowedBelowDenied are the exceptions of denied.
var allowedBelowDenied = []string{"net/netip"}

// What hello links is known: golden without the internal packages of the standard
// library, which come and go with its releases.
func TestBuildList(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-deps", hello)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []string
	for _, pkg := range strings.Fields(string(out)) {
		if isDenied(pkg) {
			t.Errorf("%s links %s: types and skel do without; see who imports it by: go mod why %[2]s", hello, pkg)
		}
		if isStandard(pkg) && (strings.Contains("/"+pkg+"/", "/internal/") || strings.HasPrefix(pkg, "vendor/")) {
			continue
		}
		if !isStandard(pkg) && !strings.HasPrefix(pkg, module+"/") {
			t.Errorf("%s links %s, which is not ours", hello, pkg)
		}
		list = append(list, pkg)
	}
	slices.Sort(list)
	golden(t, "deps.txt", strings.Join(list, "\n")+"\n", "look at what the new package costs (go test -bench Size ./skel), then UPDATE_GOLDEN=1 go test ./internal/arch")
}

func isDenied(pkg string) bool {
	if slices.Contains(allowedBelowDenied, pkg) {
		return false
	}
	return slices.ContainsFunc(denied, func(bad string) bool { return pkg == bad || strings.HasPrefix(pkg, bad+"/") })
}
