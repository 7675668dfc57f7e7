// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// junit is what a CI system reads.
type junit struct {
	Name     string `xml:"name,attr"`
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Skipped  int    `xml:"skipped,attr"`
	Cases    []struct {
		Class   string `xml:"classname,attr"`
		Name    string `xml:"name,attr"`
		Time    string `xml:"time,attr"`
		Failure *struct {
			Message string `xml:"message,attr"`
			Text    string `xml:",chardata"`
		} `xml:"failure"`
		Skipped *struct {
			Message string `xml:"message,attr"`
		} `xml:"skipped"`
		Output string `xml:"system-out"`
	} `xml:"testcase"`
}

// A CI system counts a broken MUST as a failure, a rule that was not tried as skipped,
// and everything else as passed, with what was found in its output.
func TestReport_WriteJUnit(t *testing.T) {
	t.Parallel()
	r := sample(t)
	r.Outcomes[0].Steps[0].Duration = 1500 * time.Millisecond
	var data bytes.Buffer
	if err := r.WriteJUnit(&data); err != nil {
		t.Fatal(err)
	}
	var suite junit
	if err := xml.Unmarshal(data.Bytes(), &suite); err != nil {
		t.Fatal(err)
	}
	if got := [3]int{suite.Tests, suite.Failures, suite.Skipped}; got != [3]int{6, 1, 2} || suite.Name != "cnicheck p" {
		t.Errorf("suite %q has tests, failures, skipped = %v, want 6, 1, 2", suite.Name, got)
	}
	var kinds []string
	for _, c := range suite.Cases {
		id, _, _ := strings.Cut(c.Name, " ")
		switch {
		case c.Failure != nil:
			kinds = append(kinds, id+" failed in "+c.Time)
			if !strings.Contains(c.Failure.Text, "because of "+id) || strings.ContainsAny(c.Failure.Text, "\x00\x1b") {
				t.Errorf("%s: text = %q, want the story without control characters", id, c.Failure.Text)
			}
		case c.Skipped != nil:
			kinds = append(kinds, id+" skipped: "+c.Skipped.Message)
		case c.Output != "":
			word, _, _ := strings.Cut(c.Output, ":")
			kinds = append(kinds, id+" "+word)
		default:
			kinds = append(kinds, id+" passed")
		}
	}
	want := strings.Split(ids("CONF/008 failed in 1.500;VER/002 passed;VER/009 warning;VER/015 skipped: not applicable: of another kind;ERR/005 advice;ERR/007 skipped: not testable: it does not show"), ";")
	if diff := gocmp.Diff(want, kinds); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
}

// A plugin whose ADD fails has one failure more, in every form of the report.
func TestReport_addFails(t *testing.T) {
	t.Parallel()
	r := sample(t)
	r.AddFails = "no ADD\x1b"
	var text, machine, ci strings.Builder
	for _, err := range []error{r.WriteText(&text, skeltest.TextOptions{}), r.WriteJSON(&machine), r.WriteJUnit(&ci)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct{ got, want string }{
		"text":  {text.String(), "not examined: no ADD"},
		"JSON":  {machine.String(), `"addFails": "no ADD`},
		"JUnit": {ci.String(), `failures="2"`},
	} {
		if !strings.Contains(tt.got, tt.want) || strings.Contains(tt.got, "\x1b") {
			t.Errorf("%s: want %q and no control characters in\n%q", name, tt.want, tt.got)
		}
	}
}

// Of many executions the story has the first and the last ones, and says how many it
// leaves out.
func TestReport_WriteText_manySteps(t *testing.T) {
	t.Parallel()
	o := skeltest.Outcome{Rule: rule(t, "CONF/008"), Version: types.V110, Status: skeltest.Failed, Why: []string{"x"}}
	for i := range 10 {
		var s skeltest.Step
		s.Plugin, s.Exit = "p", i
		o.Steps = append(o.Steps, s)
	}
	r := skeltest.Report{Plugin: "p", Outcomes: []skeltest.Outcome{o}}
	var b strings.Builder
	if err := r.WriteText(&b, skeltest.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"… 5 executions": true, "exit status 1,": true, "exit status 2,": false, "exit status 6,": false, "exit status 7,": true, "exit status 9,": true} {
		if got := strings.Contains(b.String(), text); got != want {
			t.Errorf("the story has %q: %t, want %t:\n%s", text, got, want, b.String())
		}
	}
}

// What is odd about an execution is in the command that repeats it.
func TestStep_Shell_odd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		step skeltest.Step
		want string
	}{
		{"usual", skeltest.Step{Path: "/p"}, "printf %s '' | env -i /p"},
		{"in-process", skeltest.Step{Execution: skeltest.Execution{Plugin: "p"}}, "printf %s '' | env -i ./p"},
		{"directory", skeltest.Step{Path: "/p", Dir: "/a b"}, "cd '/a b' && printf %s '' | env -i /p"},
		{"closed input", skeltest.Step{Path: "/p", Input: "closed"}, "env -i /p <&-"},
		{"directory as input", skeltest.Step{Path: "/p", Input: "a directory"}, "env -i /p </"},
		{"full output", skeltest.Step{Path: "/p", Output: "a full device"}, "printf %s '' | env -i /p >/dev/full"},
		{"closed output", skeltest.Step{Path: "/p", Output: "closed"}, "printf %s '' | env -i /p >&-"},
		{"gone path", skeltest.Step{Path: "/tmp/7/p", Plain: strings.NewReplacer("/tmp/7", "/d")}, "printf %s '' | env -i /d/p"},
	}
	for _, tt := range tests {
		if got := tt.step.Shell(); got != tt.want {
			t.Errorf("%s: Shell() = %q, want %q", tt.name, got, tt.want)
		}
	}
}
