// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// Step is one execution of a plugin during an examination.
type Step struct {
	Execution
	// Path is the executable, and empty for a plugin in-process.
	Path string
	// Plain replaces what is gone after the examination in the text of Shell, such as
	// the path of a namespace. Nil: nothing.
	Plain *strings.Replacer
	// Before is a command of a shell that has to run first. Empty: none.
	Before string
	// Dir is the working directory. Empty: any.
	Dir string
	// Input and Output say what is odd about standard input and output, such as that
	// they are closed. Empty: nothing.
	Input, Output string
	// Problem is what the kit had to end: an execution that takes too long or prints
	// too much. Empty: nothing.
	Problem string
	// Lingered says that somebody held standard output or error open after the plugin
	// had ended.
	Lingered bool
}

// Shell returns the execution as a command of a shell, to repeat it by hand. In what
// [Examine] reports, /run/netns/cnitest stands for the namespace of the container, to
// be made by "ip netns add cnitest".
func (s *Step) Shell() string {
	var b strings.Builder
	if s.Before != "" {
		b.WriteString(s.Before + " && ")
	}
	if s.Dir != "" {
		fmt.Fprintf(&b, "cd %s && ", quote(s.Dir))
	}
	switch {
	case s.Input == "":
		fmt.Fprintf(&b, "printf %%s %s | ", quote(string(s.Stdin)))
	case s.Input == inputHeld:
		fmt.Fprintf(&b, "{ printf %%s %s; sleep 60; } | ", quote(string(s.Stdin)))
	}
	b.WriteString("env -i")
	for _, pair := range s.Environ {
		b.WriteString(" " + quote(pair))
	}
	path := s.Path
	if path == "" {
		path = "./" + s.Plugin
	}
	b.WriteString(" " + quote(path))
	b.WriteString(map[string]string{inputClosed: " <&-", inputDirectory: " </", "": "", inputHeld: ""}[s.Input])
	b.WriteString(map[string]string{outputClosed: " >&-", outputFull: " >/dev/full", "": ""}[s.Output])
	if s.Plain != nil {
		return s.Plain.Replace(b.String())
	}
	return b.String()
}

// quote writes a word for a shell.
func quote(word string) string {
	if word != "" && strings.IndexFunc(word, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-./=:,+@%", r)
	}) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// documents returns the JSON documents on standard output, as far as it has any, and
// what follows the last one.
func (s *Step) documents() (all []any, rest []byte) {
	decoder := json.NewDecoder(bytes.NewReader(s.Stdout))
	decoder.UseNumber()
	at := int64(0)
	for {
		var document any
		if err := decoder.Decode(&document); err != nil {
			return all, bytes.TrimSpace(s.Stdout[at:])
		}
		at = decoder.InputOffset()
		all = append(all, document)
	}
}

// object returns the one JSON object that standard output consists of.
func (s *Step) object() (map[string]any, error) {
	all, rest := s.documents()
	if len(all) != 1 || len(rest) > 0 {
		return nil, fmt.Errorf("standard output has %d JSON documents and %d further bytes, want one document: %s", len(all), len(rest), short(s.Stdout))
	}
	object, ok := all[0].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("standard output is not a JSON object: %s", short(s.Stdout))
	}
	return object, nil
}

// complaint returns the error object on standard output, read as kindly as possible:
// whether it is in order is for the rules about errors to judge, and for no other.
func (s *Step) complaint() (map[string]any, bool) {
	all, _ := s.documents()
	if at := bytes.IndexByte(s.Stdout, '{'); len(all) == 0 && at > 0 {
		clean := Step{Execution: Execution{Stdout: s.Stdout[at:]}}
		all, _ = clean.documents()
	}
	for _, document := range slices.Backward(all) {
		object, ok := document.(map[string]any)
		if !ok {
			continue
		}
		_, hasCode := object["code"]
		_, hasMsg := object["msg"]
		if hasCode || hasMsg {
			return object, true
		}
	}
	return nil, false
}

// failed reports whether the plugin refused. An error object with exit status 0 counts
// here, as does an exit status without an object: rules of their own judge those.
func (s *Step) failed() bool {
	_, complains := s.complaint()
	return s.Exit != 0 || complains
}

// code returns the code of the error, and false if there is none that can be read.
func (s *Step) code() (types.Code, bool) {
	object, ok := s.complaint()
	if !ok {
		return 0, false
	}
	var code types.Code
	if _, err := fmt.Sscan(fmt.Sprint(object["code"]), &code); err != nil {
		return 0, false
	}
	return code, true
}

// text returns message and details of the error.
func (s *Step) text() string {
	object, ok := s.complaint()
	if !ok {
		return ""
	}
	return fmt.Sprint(object["msg"], "\n", object["details"])
}

// summary tells in a line how the execution ended.
func (s *Step) summary() string {
	switch {
	case s.Problem != "":
		return s.Problem
	case len(bytes.TrimSpace(s.Stdout)) == 0:
		return fmt.Sprintf("exit status %d, nothing on standard output", s.Exit)
	}
	return fmt.Sprintf("exit status %d, standard output %s", s.Exit, short(s.Stdout))
}

// short shortens output for a message.
func short(data []byte) string {
	data = bytes.TrimSpace(data)
	if len(data) > 300 {
		return fmt.Sprintf("%.300q… (%d bytes)", data, len(data))
	}
	if json.Valid(data) {
		var b bytes.Buffer
		if json.Compact(&b, data) == nil {
			return b.String()
		}
	}
	return fmt.Sprintf("%q", data)
}

// limited collects output up to a limit, and tells when there is more.
type limited struct {
	data  bytes.Buffer // not embedded: its ReadFrom knows no limit
	limit int
	over  func()
}

var _ io.Writer = (*limited)(nil)

func (l *limited) Write(p []byte) (int, error) {
	if room := l.limit - l.data.Len(); len(p) > room {
		l.data.Write(p[:room])
		l.over()
		return 0, fmt.Errorf("more than %d bytes of output", l.limit)
	}
	return l.data.Write(p)
}
