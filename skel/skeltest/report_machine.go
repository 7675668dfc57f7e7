// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// jsonOutcome is the JSON form of the verdict on one rule.
type jsonOutcome struct {
	ID       string   `json:"id"`
	Group    string   `json:"group"`
	Level    string   `json:"level"`
	Basis    string   `json:"basis"`
	Since    string   `json:"since"`
	Rule     string   `json:"rule"`
	Status   Status   `json:"status"`
	Severity Severity `json:"severity,omitempty"`
	Versions []string `json:"versions,omitempty"`
	Why      []string `json:"why,omitempty"`
	Shell    []string `json:"shell,omitempty"`
}

// jsonReport is the JSON form of a report.
type jsonReport struct {
	Plugin   string        `json:"plugin"`
	Kind     Kind          `json:"kind"`
	Versions []string      `json:"versions"`
	Notes    []string      `json:"notes,omitempty"`
	AddFails string        `json:"addFails,omitempty"`
	Failures int           `json:"failures"`
	Warnings int           `json:"warnings"`
	Advice   int           `json:"advice"`
	Rules    []jsonOutcome `json:"rules"`
}

// WriteJSON writes the report for programs: one object, with one entry for each rule.
// An entry of a broken rule has the versions that show it, and the commands of the
// last of them.
func (r *Report) WriteJSON(w io.Writer) error {
	report := jsonReport{Plugin: r.Plugin, Kind: r.Kind, Notes: r.Notes, AddFails: r.AddFails, Versions: strings.Split(versionList(r), ", ")}
	for _, v := range r.verdicts() {
		entry := jsonOutcome{
			ID: v.rule.ID, Group: v.rule.Group(), Level: v.rule.Level, Basis: v.rule.Basis, Since: v.rule.Since,
			Rule: v.rule.Text, Status: v.status,
		}
		if v.status == Failed {
			entry.Severity = r.severity(v.rule)
			report.count(entry.Severity)
		}
		for _, o := range v.outcomes {
			if o.Status != v.status {
				continue
			}
			if o.Version != 0 {
				entry.Versions = append(entry.Versions, o.Version.String())
			}
			entry.Why, entry.Shell = o.Why, nil
			for _, s := range o.Steps {
				entry.Shell = append(entry.Shell, s.Shell())
			}
		}
		report.Rules = append(report.Rules, entry)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

func (r *jsonReport) count(s Severity) {
	switch s {
	case Failure:
		r.Failures++
	case Warning:
		r.Warnings++
	case Advice:
		r.Advice++
	}
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

// WriteJUnit writes the report in the XML of JUnit, as CI systems read it: one case for
// each rule. Warnings and advice are output of cases that pass.
func (r *Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{Name: "cnicheck " + r.Plugin}
	for _, v := range r.verdicts() {
		c := junitCase{Class: r.Plugin + "." + v.rule.Group(), Name: v.rule.ID + " " + v.rule.Text, Time: "0"}
		var story strings.Builder
		seconds := 0.0
		for _, o := range v.outcomes {
			for _, s := range o.Steps {
				seconds += s.Duration.Seconds()
			}
			if o.Status == Failed {
				story.WriteString(o.story())
			}
		}
		c.Time = fmt.Sprintf("%.3f", seconds)
		switch {
		case v.status == Failed && r.severity(v.rule) == Failure:
			c.Failure = &junitMessage{Message: v.rule.Text, Text: story.String()}
			suite.Failures++
		case v.status == Failed:
			c.Output = string(r.severity(v.rule)) + ": " + story.String()
		case v.status != Passed:
			c.Skipped = &junitMessage{Message: string(v.status) + ": " + strings.Join(v.outcomes[0].Why, "; ")}
			suite.Skipped++
		}
		suite.Cases = append(suite.Cases, c)
	}
	if r.AddFails != "" {
		suite.Cases = append(suite.Cases, junitCase{Class: r.Plugin, Name: "a plain ADD", Time: "0", Failure: &junitMessage{Message: printable(r.AddFails)}})
		suite.Failures++
	}
	suite.Tests = len(suite.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// printable replaces what neither XML nor a terminal should get.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return '�'
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
}
