// SPDX-License-Identifier: Apache-2.0

// Command cnicheck examines a CNI plugin, in whatever language it is written, by the
// rules of the specification:
//
//	cnicheck ./myplugin
//	cnicheck -profile profile.json -junit report.xml ./myplugin
//
// It works in namespaces of its own, so that nothing a plugin does reaches the
// machine. Without privileges, and where the kernel allows an ordinary user no
// namespaces, it examines what needs none.
//
// A profile is a JSON object with the members of skeltest.Profile:
//
//	{"kind": "interface", "config": {"bridge": "br7", "ipam": {"type": "${IPAM}"}}}
//
// With -keep, the commands in the report run as they are: what is left is to make the
// namespace of the container, by "ip netns add cnitest", for those that name it.
//
// The exit status is 1 if the plugin breaks a MUST of the specification, and 2 if it
// could not be examined, for example since not even a plain ADD succeeds with this
// profile. Warnings and advice do not change it.
//
// With "run" for its first argument it plays a runtime, for one command, and with
// "runtime" it examines one instead of a plugin; see cnicheck run -h and cnicheck
// runtime -h.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

func main() {
	playRecorder()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "run":
			os.Exit(runCommand(os.Args[2:]))
		case "runtime":
			os.Exit(runtimeCommand(os.Args[2:]))
		}
	}
	os.Exit(examineCommand(os.Args[1:]))
}

// options are those of the command line.
type options struct {
	profile  string
	kind     string
	config   string
	versions string
	only     string
	json     bool
	junit    string
	verbose  bool
	color    string
	parallel int
	timeout  time.Duration
	keep     string
}

const usage = `usage: cnicheck [flags] PLUGIN
       cnicheck run COMMAND CONFLIST NETNS [flags]
       cnicheck runtime install|check|forget DIR ...

Examines a CNI plugin by the rules of the specification.

`

func parse(args []string) (o options, plugin string, err error) {
	flags := flag.NewFlagSet("cnicheck", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.profile, "profile", "", "`file` with the profile of the plugin, JSON")
	flags.StringVar(&o.kind, "kind", "", "interface, chained, ipam or meta (default: found out)")
	flags.StringVar(&o.config, "config", "", "`JSON` object with further members of the configuration")
	flags.StringVar(&o.versions, "versions", "", "`list` of versions to examine, with commas (default: all that the plugin supports)")
	flags.StringVar(&o.only, "only", "", "`list` of rules or groups to examine, with commas, such as DEL,ADD-003")
	o.outputFlags(flags)
	flags.StringVar(&o.keep, "keep", "", "`directory` to leave cases in that break a rule, so that the commands of the report run")
	flags.IntVar(&o.parallel, "parallel", 0, "how many cases run at once (default: three for each processor)")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long the examination may take")
	if err := flags.Parse(args); err != nil {
		return o, "", err
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return o, "", flag.ErrHelp
	}
	return o, flags.Arg(0), nil
}

// outputFlags are the flags that say what to print.
func (o *options) outputFlags(flags *flag.FlagSet) {
	flags.BoolVar(&o.json, "json", false, "print the report as JSON")
	flags.StringVar(&o.junit, "junit", "", "write the report as JUnit XML to `file` as well")
	flags.BoolVar(&o.verbose, "v", false, "list every rule")
	flags.StringVar(&o.color, "color", "auto", "auto, always or never")
}

// parseAnywhere parses flags that may stand before, between and after other words.
func parseAnywhere(flags *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return words, err
		}
		if flags.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, flags.Arg(0)), flags.Args()[1:]
	}
}

// target makes the target of the options.
func (o options) target(plugin string) (skeltest.Target, error) {
	t := skeltest.Target{Executable: plugin}
	if o.profile != "" {
		data, err := os.ReadFile(o.profile)
		if err != nil {
			return t, err
		}
		if err := json.Unmarshal(data, &t.Profile); err != nil {
			return t, fmt.Errorf("profile %s: %w", o.profile, err)
		}
	}
	if o.kind != "" {
		t.Profile.Kind = skeltest.Kind(o.kind)
	}
	if o.config != "" {
		t.Profile.Config = json.RawMessage(o.config)
	}
	for _, text := range words(o.versions) {
		v, err := types.ParseVersion(text)
		if err != nil {
			return t, err
		}
		t.Profile.Versions = append(t.Profile.Versions, v)
	}
	return t, nil
}

// words splits a list with commas.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func examineCommand(args []string) int {
	o, plugin, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		return complain(err)
	}
	if code, done := isolate(); done {
		return code
	}
	t, err := o.target(plugin)
	if err != nil {
		return complain(err)
	}
	if err := hide(plugin, o.keep); err != nil {
		return complain(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	examine := skeltest.ExamineOptions{Only: words(o.only), Parallel: o.parallel, Keep: o.keep}
	if isTerminal(os.Stderr) {
		examine.Progress = progress(os.Stderr)
	}
	report, err := skeltest.Examine(ctx, t, examine)
	endProcesses()
	if report == nil {
		return complain(err)
	}
	if err := errors.Join(err, o.write(report)); err != nil {
		return complain(err)
	}
	if len(report.Broken(skeltest.Failure)) > 0 {
		return 1
	}
	if report.AddFails != "" {
		return 2
	}
	return 0
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "cnicheck:", err)
	return 2
}

// progress shows on a terminal how far the examination is.
func progress(w io.Writer) func(done, total int, o skeltest.Outcome) {
	return func(done, total int, o skeltest.Outcome) {
		fmt.Fprintf(w, "\r\x1b[K%d of %d  %s at %s", done, total, o.Rule.ID, o.Version)
		if done == total {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
}

// write writes the report in all forms that are asked for.
func (o options) write(report *skeltest.Report) error {
	if o.junit != "" {
		if err := writeFile(o.junit, report.WriteJUnit); err != nil {
			return err
		}
	}
	if o.json {
		return report.WriteJSON(os.Stdout)
	}
	return report.WriteText(os.Stdout, skeltest.TextOptions{Color: inColor(o.color, os.Stdout), Verbose: o.verbose})
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// inColor reports whether to write to f in colours, by the flag -color.
func inColor(when string, f *os.File) bool {
	return when == "always" || when == "auto" && isTerminal(f) && os.Getenv("NO_COLOR") == ""
}

// isTerminal reports whether somebody looks at a file.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
