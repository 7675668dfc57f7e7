// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cnikit/cnikit/types"
)

// Delegate is an executable that plays a plugin: it records what it is sent and
// answers as it was told. An IPAM plugin that always gives the same address, or
// never answers, is one. It needs nothing but a POSIX shell.
type Delegate struct {
	// Dir is the directory that it is in, for CNI_PATH.
	Dir string
	// Name is the name of the executable, for the type of a configuration.
	Name string
}

// Answer is what a [Delegate] or a [Recorder] says. Standard output may be anything, JSON
// or not.
type Answer struct {
	Stdout, Stderr string
	// Times is how often Stdout is printed. Zero: once.
	Times int
	// Flood is how many bytes of noise, which are zeros, follow Stdout.
	Flood int64
	// Exit is the exit status.
	Exit int
	// Sleep is how long it takes before the answer. For a delegate, it is rounded up to
	// whole seconds.
	Sleep time.Duration
	// Hang says that there is neither answer nor end. A delegate then ends by SIGKILL and
	// not by SIGTERM, and by itself after ten minutes, lest it outlive a test by much.
	Hang bool
}

// script is the plugin. The directory of its records and answers lies beside it. A
// record is a file named after the process, which no other may have begun, and the line
// in "order" is written in one piece, so executions may overlap. Each program that a
// shell runs takes as long as all the rest, so it runs one for the record and one for
// the answer.
const script = `#!/bin/sh
d="$0.d"
r="$d/$$"
set -C
until true >"$r" || [ ${#r} -gt 4000 ]; do r="$r+"; done 2>/dev/null
set +C
/bin/cat /proc/self/environ "$d/mark" - >"$r" 2>/dev/null
echo "$r" >>"$d/order"
a="$d/$CNI_COMMAND"
[ -n "$CNI_CONTAINERID" ] && [ -d "$a.$CNI_CONTAINERID" ] && a="$a.$CNI_CONTAINERID"
[ -d "$a" ] || exit 0
[ -f "$a/hang" ] && { trap '' TERM; exec /bin/sleep 600; }
[ -f "$a/sleep" ] && { read -r s <"$a/sleep"; /bin/sleep "$s"; }
[ -s "$a/stderr" ] && /bin/cat "$a/stderr" >&2
n=1
[ -f "$a/times" ] && read -r n <"$a/times"
while [ "$n" -gt 0 ]; do /bin/cat "$a/stdout"; n=$((n-1)); done
[ -f "$a/flood" ] && { read -r n <"$a/flood"; PATH=/usr/bin:/bin head -c "$n" /dev/zero; }
read -r e <"$a/exit"
exit "$e"
`

// mark stands between the environment and standard input in a record. The environment
// ends with a zero, and has no empty string before that.
const mark = "\x00standard input:\x00"

// NewDelegate writes the executable into dir, which exists. Until it is told
// otherwise it says nothing and succeeds.
func NewDelegate(dir, name string) (*Delegate, error) {
	d := &Delegate{Dir: dir, Name: name}
	if err := os.Mkdir(d.records(), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(d.records(), "mark"), []byte(mark), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Delegate) records() string { return filepath.Join(d.Dir, d.Name+".d") }

// Answer sets what the delegate says to a command, for one container or, if that is
// empty, for all that have no answer of their own.
func (d *Delegate) Answer(command types.Command, containerID string, a Answer) error {
	dir := filepath.Join(d.records(), string(command))
	if containerID != "" {
		dir += "." + containerID
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	files := map[string]string{"stdout": a.Stdout, "stderr": a.Stderr, "exit": strconv.Itoa(a.Exit) + "\n"}
	if a.Sleep > 0 {
		files["sleep"] = fmt.Sprintln(int((a.Sleep + time.Second - 1) / time.Second))
	}
	if a.Times > 0 {
		files["times"] = fmt.Sprintln(a.Times)
	}
	if a.Flood > 0 {
		files["flood"] = fmt.Sprintln(a.Flood)
	}
	if a.Hang {
		files["hang"] = ""
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Calls returns what the delegate was sent so far, in the order in which it had read
// it. Only Plugin, Command, Environ and Stdin of the records are set.
func (d *Delegate) Calls() ([]Execution, error) {
	order, err := os.ReadFile(filepath.Join(d.records(), "order"))
	if err != nil {
		if os.IsNotExist(err) {
			return nil, nil
		}
		return nil, err
	}
	var all []Execution
	for line := range strings.Lines(string(order)) {
		e, err := d.record(strings.TrimSpace(line))
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func (d *Delegate) record(path string) (Execution, error) {
	e := Execution{Plugin: d.Name}
	data, err := os.ReadFile(path)
	if err != nil {
		return e, err
	}
	environ, stdin, _ := bytes.Cut(data, []byte(mark))
	for pair := range bytes.SplitSeq(bytes.Trim(environ, "\x00"), []byte{0}) {
		e.Environ = append(e.Environ, string(pair))
		if command, ok := strings.CutPrefix(string(pair), "CNI_COMMAND="); ok {
			e.Command = types.Command(command)
		}
	}
	slices.Sort(e.Environ)
	e.Stdin = stdin
	return e, nil
}

// Commands returns the commands of [Delegate.Calls].
func (d *Delegate) Commands() ([]types.Command, error) {
	calls, err := d.Calls()
	var all []types.Command
	for _, e := range calls {
		all = append(all, e.Command)
	}
	return all, err
}

// Forget drops all records, and keeps the answers.
func (d *Delegate) Forget() error {
	err := os.Remove(filepath.Join(d.records(), "order"))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
