// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
)

// suite is the published tests of a reference plugin.
type suite struct {
	folder string
	focus  string // which of them run the plugin; empty: all
	// edits make them run ours where they do more than call the commands.
	edits []edit
	// differ are those that fail with ours, with the version left out of their names, and why
	// they are to.
	differ map[string]string
}

type edit struct{ file, old, text string }

const oneNamespace = "the container is in the namespace of the host, which is an error since it would change the host"

// leaveOut are tests that are not judged when they fail, by name and error, and why.
var leaveOut = []struct {
	test *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`with vlan filtering: operation not supported`), "the kernel lacks VLAN filtering of bridges"},
	{regexp.MustCompile(`ipam: required in CNI version 0\.`), "a result of 0.1.0 and 0.2.0 has addresses, so ADD without ipam is refused, before anything is made and in other words"},
	{regexp.MustCompile(`peer state down\n(?s:.*)netlink\.Addr \| len:0`), "it does not wait for the kernel to give the bridge a link-local address"},
}

var suites = []suite{
	{folder: "ipam/host-local", differ: map[string]string{
		"repeat allocating addresses on specific interface for same container ID with ADD": "an owner who asks again gets what it has",
		"ignores whitespace in disk files":                                                 "its container ID has blanks, which the specification forbids",
		"fails if a requested custom IP is not used":                                       "it is refused, in other words",
	}},
	{folder: "main/loopback", edits: []edit{
		{"loopback_suite_test.go", `gexec.Build("github.com/containernetworking/plugins/plugins/main/loopback")`, `os.Getenv("CNIKIT_PLUGIN"), error(nil)`},
		{"loopback_suite_test.go", "import (", "import (\n\t\"os\""},
		{"loopback_test.go", `fmt.Sprintf("CNI_ARGS=%s", "none")`, `fmt.Sprintf("CNI_ARGS=%s", "")`}, // "none" is no pair
	}},
	{folder: "main/ptp"},
	{folder: "main/bridge", differ: map[string]string{
		"checks ip release in case of error":                                                oneNamespace,
		`configures a bridge and ipMasq rules with ipMasqBackend ""`:                        oneNamespace,
		`configures a bridge and ipMasq rules with ipMasqBackend "iptables"`:                oneNamespace,
		`configures a bridge and ipMasq rules with ipMasqBackend "nftables"`:                oneNamespace,
		"configures mac spoof-check (no mac spoofing)":                                      oneNamespace,
		"(3) configures and deconfigures a bridge and veth with default route with ADD/DEL": "at 0.1.0 and 0.2.0 DEL takes what ADD refuses, so that nothing leaks",
	}},
	{folder: "meta/portmap", focus: "integration", edits: []edit{
		// The port is tried; which chain leads to it is the plugin's own.
		{"portmap_integ_test.go", `_, err = ipt.List("nat", dnatChainName)
				Expect(err).NotTo(HaveOccurred())`, `_, _ = ipt, dnatChainName`},
		{"portmap_integ_test.go", `_, err = ipt.List("nat", dnatChainName)
				Expect(err).To(HaveOccurred())`, ``},
	}},
}

// ours stands in for the commands of a reference plugin. CNI_NETNS_OVERRIDE is as the
// tests set it. Keys of CNI_ARGS that are for one plugin do not reach another there; two errors
// are compared word for word.
const ours = `package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

func ours(command string, args *skel.CmdArgs) error {
	cmd := exec.Command(os.Getenv("CNIKIT_PLUGIN"))
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CNI_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "CNI_COMMAND="+command, "CNI_CONTAINERID="+args.ContainerID, "CNI_NETNS="+args.Netns,
		"CNI_IFNAME="+args.IfName, "CNI_ARGS=IgnoreUnknown=1;"+args.Args, "CNI_PATH="+os.Getenv("PATH"), "CNI_NETNS_OVERRIDE=1")
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(args.StdinData), &out, os.Stderr
	if cmd.Run() == nil {
		_, err := os.Stdout.Write(out.Bytes())
		return err
	}
	e := &types.Error{}
	if err := json.Unmarshal(out.Bytes(), e); err != nil {
		return err
	}
	words := strings.Fields(e.Msg)
	switch {
	case strings.Contains(e.Msg, "has no CHECK"):
		return &types.Error{Msg: "config version does not allow CHECK"}
	case strings.Contains(e.Msg, "several range sets of one family"):
		return &types.Error{Msg: "CNI version " + words[len(words)-1] + " does not support more than 1 address per family"}
	}
	return e
}
`

var referenceCommand = regexp.MustCompile(`(?m)^func cmd(Add|Del|Check|Status)\(`)

// The published tests of the reference plugins, run against our executables. They take two
// minutes and modules that nothing else here needs, so that they run when asked for:
//
//	REFERENCE_SUITES=1 go test . -v -timeout 20m -run TestReferenceSuites
func TestReferenceSuites(t *testing.T) {
	if os.Getenv("REFERENCE_SUITES") == "" {
		t.Skip("takes minutes; REFERENCE_SUITES=1 runs it")
	}
	if err := buildPlugin(bin, "portmap"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/containernetworking/plugins").Output()
	if err != nil {
		t.Fatal(err)
	}
	module := t.TempDir()
	if err := os.CopyFS(module, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("ping"); err != nil {
		nstest.Lacks(t, "program ping", err)
	}
	for _, s := range suites {
		t.Run(s.folder, func(t *testing.T) { s.run(t, module) })
	}
}

// run builds the tests around our plugin, runs them and compares what fails.
func (s suite) run(t *testing.T, module string) {
	folder := filepath.Join(module, "plugins", s.folder)
	s.disguise(t, folder)
	binary := filepath.Join(t.TempDir(), "suite.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-mod=mod", "-c", "-o", binary, ".")
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	failed, left := map[string]bool{}, map[string]int{}
	for _, r := range s.report(t, folder, binary) {
		name := r.Name[strings.Index(r.Name, "] ")+2:] // the version is in front
		why := r.unjudged()
		switch {
		case r.State == "passed" || r.State == "skipped":
		case why != "":
			left[why]++
		case s.differ[name] != "":
			failed[name] = true
		default:
			t.Errorf("%s: %s: %s", r.Name, r.State, r.Failure.Message)
		}
	}
	for why, n := range left {
		t.Logf("%d tests are not judged: %s", n, why)
	}
	for name := range s.differ {
		if !failed[name] {
			t.Errorf("%s: passes, want it to fail: %s", name, s.differ[name])
		}
	}
}

// disguise puts our plugin in the place of the commands.
func (s suite) disguise(t *testing.T, folder string) {
	sources, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	stand := ours
	for _, path := range sources {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if s.focus == "" { // else the tests leave it to the runtime library to call plugins
			b, stand = replaceCommands(b, stand)
		}
		for _, e := range s.edits {
			if e.file != filepath.Base(path) {
				continue
			}
			if !bytes.Contains(b, []byte(e.old)) {
				t.Fatalf("%s: no %q", e.file, e.old)
			}
			b = bytes.ReplaceAll(b, []byte(e.old), []byte(e.text))
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "ours.go"), []byte(stand), 0o666); err != nil {
		t.Fatal(err)
	}
}

// replaceCommands gives the commands in a source other names, and adds functions with theirs
// to the stand-in.
func replaceCommands(source []byte, stand string) ([]byte, string) {
	for _, m := range referenceCommand.FindAllSubmatch(source, -1) {
		stand += fmt.Sprintf("\nfunc cmd%s(args *skel.CmdArgs) error { return ours(%q, args) }\n", m[1], strings.ToUpper(string(m[1])))
	}
	return referenceCommand.ReplaceAll(source, []byte("func reference$1(")), stand
}

// spec is what the report says of one test.
type spec struct {
	Name    string `json:"LeafNodeText"`
	Kind    string `json:"LeafNodeType"`
	State   string
	Failure struct{ Message string }
}

// unjudged says why a test that fails is not judged, or nothing.
func (r spec) unjudged() string {
	for _, l := range leaveOut {
		if l.test.MatchString(r.Name + "\n" + r.Failure.Message) {
			return l.why
		}
	}
	return ""
}

// report runs the tests in a namespace of their own.
func (s suite) report(t *testing.T, folder, binary string) []spec {
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec",
		`mount -t tmpfs none /run; mkdir /run/netns; ip link set lo up; exec "$0" "$@"`,
		binary, "--ginkgo.json-report="+file, "--ginkgo.focus="+s.focus)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "CNIKIT_PLUGIN="+filepath.Join(bin, filepath.Base(folder)))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	failed := nstest.New(t).Run(cmd)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v, %v\n%s", failed, err, out.Bytes())
	}
	var reports []struct{ SpecReports []spec }
	if err := json.Unmarshal(b, &reports); err != nil {
		t.Fatal(err)
	}
	var all []spec
	for _, r := range reports {
		all = append(all, r.SpecReports...)
	}
	all = slices.DeleteFunc(all, func(r spec) bool { return r.Kind != "It" })
	if len(all) == 0 {
		t.Fatalf("no test ran: %v\n%s", failed, out.Bytes())
	}
	return all
}
