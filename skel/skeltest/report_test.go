// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// sample is a report with an outcome of each kind.
func sample(t *testing.T) *skeltest.Report {
	t.Helper()
	step := skeltest.Step{Path: "/opt/it's"}
	step.Plugin, step.Environ, step.Stdin, step.Stdout, step.Exit = "p", []string{"CNI_COMMAND=DEL", "X=a b"}, []byte("{\"name\":\"it's\x1b\x00\"}"), []byte("\x1b<&"), 3
	failed := func(id string, v types.Version) skeltest.Outcome {
		return skeltest.Outcome{Rule: rule(t, id), Version: v, Status: skeltest.Failed, Why: []string{"because of " + ids(id)}, Steps: []skeltest.Step{step}}
	}
	return &skeltest.Report{
		Plugin: "p", Kind: skeltest.KindIPAM, Versions: []types.Version{types.V100, types.V110}, Notes: []string{"a note"},
		Outcomes: []skeltest.Outcome{
			failed("CONF/008", types.V100),
			failed("CONF/008", types.V110),
			{Rule: rule(t, "VER/002"), Version: types.V110, Status: skeltest.Passed},
			failed("VER/009", types.V110),
			{Rule: rule(t, "VER/015"), Status: skeltest.NotApplicable, Why: []string{"of another kind"}},
			failed("ERR/005", types.V110),
			{Rule: rule(t, "ERR/007"), Status: skeltest.NotTestable, Why: []string{"it does not show"}},
		},
	}
}

func TestReport_WriteText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		options skeltest.TextOptions
		want    []string
		not     []string
	}{
		{"plain", skeltest.TextOptions{}, []string{
			"p, a plugin of kind ipam, at 1.0.0, 1.1.0", "note: a note", "failure CONF/008", "warning VER/009", "advice ERR/005",
			"MUST of the specification; at 1.0.0, 1.1.0", "because of CONF/008", "env -i CNI_COMMAND=DEL 'X=a b' ", "exit status 3",
		}, []string{"\x1b", "of another kind"}},
		{"verbose", skeltest.TextOptions{Verbose: true}, []string{"VER/015", "of another kind", "it does not show", "passed         VER/002"}, []string{"\x1b"}},
		{"in colour", skeltest.TextOptions{Color: true}, []string{"\x1b[31;1mfailure\x1b[0m"}, nil},
	}
	for _, tt := range tests {
		var b strings.Builder
		if err := sample(t).WriteText(&b, tt.options); err != nil {
			t.Error(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(b.String(), ids(want)) {
				t.Errorf("%s: want %q in\n%s", tt.name, want, b.String())
			}
		}
		for _, not := range tt.not {
			if strings.Contains(b.String(), not) {
				t.Errorf("%s: want no %q in\n%s", tt.name, not, b.String())
			}
		}
	}
}

// The summary counts each rule once.
func TestReport_WriteText_summary(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := sample(t).WriteText(&b, skeltest.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	got := strings.Fields(lines[len(lines)-1])
	if want := "all 1 1 1 1 1 1"; strings.Join(got, " ") != want {
		t.Errorf("summary = %q, want %q", got, want)
	}
}

func TestReport_machine(t *testing.T) {
	t.Parallel()
	var data bytes.Buffer
	if err := sample(t).WriteJSON(&data); err != nil {
		t.Fatal(err)
	}
	var report struct {
		Failures, Warnings, Advice int
		Rules                      []struct {
			ID       string
			Versions []string
		}
	}
	if err := json.Unmarshal(data.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if report.Failures != 1 || report.Warnings != 1 || report.Advice != 1 || len(report.Rules) != 6 || strings.Join(report.Rules[0].Versions, " ") != "1.0.0 1.1.0" {
		t.Errorf("JSON = %+v, want one of each severity among six rules, the first at two versions", report)
	}
	data.Reset()
	if err := sample(t).WriteJUnit(&data); err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(&data)
	for {
		if _, err := decoder.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("JUnit: %v", err)
		}
	}
}

func TestReport_Broken(t *testing.T) {
	t.Parallel()
	r := sample(t)
	for severity, want := range map[skeltest.Severity]int{skeltest.Failure: 2, skeltest.Warning: 1, skeltest.Advice: 1} {
		if got := len(r.Broken(severity)); got != want {
			t.Errorf("Broken(%s) = %d outcomes, want %d", severity, got, want)
		}
	}
	if got := strings.Join(r.IDs(skeltest.Failed), " "); got != ids("CONF/008 VER/009 ERR/005") {
		t.Errorf("IDs(failed) = %q, each once", got)
	}
}

// What a step says to type does what the kit has done.
func TestStep_Shell(t *testing.T) {
	t.Parallel()
	step := skeltest.Step{Path: "/bin/sh"}
	step.Stdin = []byte("echo \"$X\"; echo 'it''s $Y'\n")
	step.Environ = []string{"X=a 'b' \"c\" $d", "Y=\\"}
	got, err := exec.Command("/bin/sh", "-c", step.Shell()).Output()
	if want := "a 'b' \"c\" $d\nits $Y\n"; err != nil || string(got) != want {
		t.Errorf("%s\nprints %q, %v, want %q", step.Shell(), got, err, want)
	}
}
