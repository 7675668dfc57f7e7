// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// playing makes the test binary the command.
const playing = "CNICHECK_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(playing) != "" {
		main()
	}
	os.Exit(m.Run())
}

// good is a plugin that obeys a few rules, and breaks others.
const good = `#!/bin/sh
conf=$(cat)
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
ADD) echo '{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"'"$CNI_NETNS"'"}]}' ;;
DEL|CHECK|GC|STATUS) echo "$CNI_COMMAND $CNI_CONTAINERID" >&2 ;;
*) echo '{"cniVersion":"1.1.0","code":4,"msg":"CNI_COMMAND: unknown"}'; exit 1 ;;
esac
`

// cnicheck runs the command.
func cnicheck(t *testing.T, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = ids(args[i])
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), playing+"=1")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	var failed *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func plugin(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "good")
	if err := os.WriteFile(path, []byte(good), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExamine(t *testing.T) {
	t.Parallel()
	path := plugin(t)
	tests := []struct {
		name string
		args []string
		exit int
		want []string
	}{
		{"a rule that it obeys", []string{"-only", "VER/002,DEL/017", path}, 0, []string{"good, a plugin of kind", "all"}},
		{"a rule that it breaks", []string{"-only", "CONF/008", "-kind", "ipam", path}, 1, []string{"failure CONF/008", "CNI_COMMAND=ADD", "ADD without name: accepted"}},
		{"every rule", []string{"-v", "-only", "VER/002,CONF/003", "-kind", "ipam", path}, 0, []string{"passed         VER/002", "not applicable CONF/003"}},
		{"in colour", []string{"-color", "always", "-only", "VER/002", path}, 0, []string{"\x1b["}},
		{"no such plugin", []string{path + "-none"}, 2, nil},
		{"no plugin", nil, 2, nil},
		{"no such kind", []string{"-kind", "x", path}, 2, nil},
		{"a bad version", []string{"-versions", "x", path}, 2, nil},
		{"a bad configuration", []string{"-config", "[]", path}, 2, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, exit := cnicheck(t, tt.args...)
			if exit != tt.exit || exit == 2 && stderr == "" {
				t.Errorf("cnicheck %q: exit status %d, want %d: %s", tt.args, exit, tt.exit, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout, ids(want)) {
					t.Errorf("cnicheck %q: want %q in the report:\n%s", tt.args, want, stdout)
				}
			}
		})
	}
}

func TestExamine_profile(t *testing.T) {
	t.Parallel()
	profile := filepath.Join(t.TempDir(), "profile.json")
	if err := os.WriteFile(profile, []byte(`{"kind":"ipam","config":{"x":"${DIR}"},"versions":["1.0.0"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, exit := cnicheck(t, "-profile", profile, "-only", "VER/002", plugin(t))
	if want := "kind ipam, at 1.0.0"; exit != 0 || !strings.Contains(stdout, want) {
		t.Errorf("exit status %d, want 0 and %q in the report: %s%s", exit, want, stdout, stderr)
	}
}

func TestExamine_machine(t *testing.T) {
	t.Parallel()
	junit := filepath.Join(t.TempDir(), "junit.xml")
	stdout, stderr, exit := cnicheck(t, "-json", "-junit", junit, "-kind", "ipam", "-only", "CONF/008,VER/002,CONF/003,CONF/045", plugin(t))
	if exit != 1 {
		t.Errorf("exit status = %d, want 1: %s", exit, stderr)
	}
	var report struct {
		Plugin   string
		Failures int
		Advice   int
		Rules    []struct {
			ID, Status, Severity string
			Versions, Shell      []string
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if report.Plugin != "good" || report.Failures != 1 || report.Advice != 1 || len(report.Rules) != 4 {
		t.Errorf("report = %+v, want one failure and one advice among four rules", report)
	}
	for _, r := range report.Rules {
		if broken := r.Status == "failed"; broken != (len(r.Shell) > 0) || broken != (r.Severity != "") {
			t.Errorf("rule %+v: want commands and a severity if it is broken, and only then", r)
		}
	}
	data, err := os.ReadFile(junit)
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure *struct {
				Text string `xml:",chardata"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal(data, &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != 4 || suite.Failures != 1 || suite.Skipped != 1 || len(suite.Cases) != 4 {
		t.Errorf("JUnit: %+v, want four cases, one failed and one skipped", suite)
	}
	for _, c := range suite.Cases {
		if c.Failure != nil && !strings.Contains(c.Failure.Text, "CNI_COMMAND") {
			t.Errorf("JUnit: failure of %s = %q, want the commands in it", c.Name, c.Failure.Text)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Dir(plugin(t))
	list := filepath.Join(dir, "net.conflist")
	text := `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"good","capabilities":{"mac":true}}]}`
	if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	common := []string{"-path", dir, "-cache", filepath.Join(dir, "cache")}
	tests := []struct {
		args   []string
		exit   int
		stdout string
		stderr string
	}{
		{[]string{"version", list}, 0, "good: 1.0.0, 1.1.0", "VERSION good"},
		{[]string{"check", list, "c1"}, 1, "", "no result of ADD"},
		{[]string{"add", list, "c1", "-v", "-cap", `{"mac":"02:00:00:00:00:01"}`}, 0, `"sandbox": "/run/netns/c1"`, "CNI_NETNS=/run/netns/c1"},
		{[]string{"check", list, "c1", "-v"}, 0, "", `"prevResult"`},
		{[]string{"gc", list, "-v"}, 0, "", `"containerID": "c1"`},
		{[]string{"status", list, "-v"}, 0, "", "STATUS  good"},
		{[]string{"del", list, "c1", "-v"}, 0, "", "DEL c1"},
		{[]string{"check", list, "c1"}, 1, "", "no result of ADD"},
		{[]string{"gc", list, "-valid", "c7/eth0", "-v"}, 0, "", `"containerID": "c7"`},
		{[]string{"gc", list, "-valid", "c7"}, 1, "", "want ID/IFNAME"},
		{[]string{"frob", list}, 1, "", `command "frob"`},
		{[]string{"add", list}, 2, "", "usage"},
		{[]string{"add", list, "c1", "-cap", "x"}, 1, "", "-cap"},
		{[]string{"status", list + "-none"}, 1, "", "no such file"},
	}
	for _, tt := range tests {
		stdout, stderr, exit := cnicheck(t, append(append([]string{"run"}, tt.args...), common...)...)
		if exit != tt.exit || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("cnicheck run %q: exit status %d, want %d, with %q:\n%s\nand %q:\n%s", tt.args, exit, tt.exit, tt.stdout, stdout, tt.stderr, stderr)
		}
	}
}

var slashed = regexp.MustCompile(`\b([A-Z]+)/([0-9]{3})\b`)

// ids turns the identifiers of rules into what they are; see the tests of skeltest.
func ids(text string) string { return slashed.ReplaceAllString(text, "$1-$2") }
