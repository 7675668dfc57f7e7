// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// TextOptions say how [Report.WriteText] writes.
type TextOptions struct {
	// Color uses the colours of a terminal.
	Color bool
	// Verbose lists the rules that were passed, that do not apply and that cannot be
	// tested as well.
	Verbose bool
}

// painter writes words in colours, or not.
type painter struct{ on bool }

func (p painter) paint(color, text string) string {
	if !p.on {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

const (
	red    = "31;1"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	bold   = "1"
	dim    = "2"
)

func (p painter) severity(s Severity) string {
	return p.paint(map[Severity]string{Failure: red, Warning: yellow, Advice: cyan}[s], string(s))
}

// WriteText writes the report for people: what is broken, with how to see it, and a
// summary by group.
func (r *Report) WriteText(w io.Writer, o TextOptions) error {
	p := painter{o.Color}
	var b strings.Builder
	kind := "a plugin of kind " + string(r.Kind)
	if r.Kind == KindRuntime {
		kind = "as its plugins see it"
	}
	fmt.Fprintf(&b, "%s, %s, at %s\n", p.paint(bold, r.Plugin), kind, versionList(r))
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "%s %s\n", p.paint(yellow, "note:"), note)
	}
	if r.AddFails != "" {
		fmt.Fprintf(&b, "%s %s\n", p.paint(red, "not examined:"), printable(r.AddFails))
	}
	for _, severity := range []Severity{Failure, Warning, Advice} {
		r.writeBroken(&b, p, severity)
	}
	if o.Verbose {
		r.writeRest(&b, p)
	}
	r.writeSummary(&b, p)
	_, err := io.WriteString(w, b.String())
	return err
}

func versionList(r *Report) string {
	var all []string
	for _, v := range r.Versions {
		all = append(all, v.String())
	}
	return strings.Join(all, ", ")
}

// writeBroken tells of each broken rule of a severity, with the story of the newest
// version that shows it.
func (r *Report) writeBroken(b *strings.Builder, p painter, severity Severity) {
	for _, v := range r.verdicts() {
		if v.status != Failed || r.severity(v.rule) != severity {
			continue
		}
		broken := slices.DeleteFunc(slices.Clone(v.outcomes), func(o Outcome) bool { return o.Status != Failed })
		last := broken[len(broken)-1]
		_, story, _ := strings.Cut(last.story(), "\n")
		var versions []string
		for _, o := range broken {
			if text := o.Version.String(); !slices.Contains(versions, text) {
				versions = append(versions, text)
			}
		}
		fmt.Fprintf(b, "\n%s %s %s\n  %s of the %s; at %s\n%s", p.severity(severity), p.paint(bold, v.rule.ID), v.rule.Text,
			v.rule.Level, basisInWords(v.rule.Basis), strings.Join(versions, ", "), story)
	}
}

func (r *Report) writeRest(b *strings.Builder, p painter) {
	b.WriteString("\n")
	for _, v := range r.verdicts() {
		why := ""
		switch v.status {
		case Failed:
			continue
		case NotApplicable, NotTestable:
			why = " (" + strings.Join(v.outcomes[0].Why, "; ") + ")"
		case Passed:
		}
		color := map[Status]string{Passed: green, NotApplicable: dim, NotTestable: dim}[v.status]
		fmt.Fprintf(b, "%s %s %s%s\n", p.paint(color, fmt.Sprintf("%-14s", v.status)), v.rule.ID, v.rule.Text, why)
	}
}

// writeSummary counts rules by group. Those that bind others are left out.
func (r *Report) writeSummary(b *strings.Builder, p painter) {
	type count struct {
		passed, na, nt int
		broken         map[Severity]int
	}
	counts := map[string]*count{}
	var groups []string
	add := func(group string, v verdict) {
		c := counts[group]
		if c == nil {
			c = &count{broken: map[Severity]int{}}
			counts[group] = c
			groups = append(groups, group)
		}
		switch v.status {
		case Passed:
			c.passed++
		case Failed:
			c.broken[r.severity(v.rule)]++
		case NotApplicable:
			c.na++
		case NotTestable:
			c.nt++
		}
	}
	for _, v := range r.verdicts() {
		if r.binds(v.rule) || v.status == Passed || v.status == Failed {
			add(v.rule.Group(), v)
			add("all", v)
		}
	}
	slices.SortStableFunc(groups, func(x, y string) int {
		return map[bool]int{true: 1}[x == "all"] - map[bool]int{true: 1}[y == "all"]
	})
	fmt.Fprintf(b, "\n%s\n", p.paint(bold, "group   passed  failure  warning  advice  not applicable  not testable"))
	for _, group := range groups {
		c := counts[group]
		cell := func(color string, width, n int) string {
			text := fmt.Sprintf("%*d", width, n)
			if n == 0 {
				return text
			}
			return p.paint(color, text)
		}
		fmt.Fprintf(b, "%-6s %s %s %s %s %15d %13d\n", group, cell(green, 7, c.passed), cell(red, 8, c.broken[Failure]),
			cell(yellow, 8, c.broken[Warning]), cell(cyan, 7, c.broken[Advice]), c.na, c.nt)
	}
}
