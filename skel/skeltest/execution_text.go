// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteText tells people of the execution: in a line how it went and how long it took,
// and with Verbose what the plugin was sent and what it said.
func (e *Execution) WriteText(w io.Writer, o TextOptions) error {
	p := painter{o.Color}
	outcome := p.paint(green, "ok")
	if e.Exit != 0 {
		outcome = p.paint(red, fmt.Sprintf("exit status %d", e.Exit))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-7s %-12s %8.1f ms  %s\n", e.Command, e.Plugin, float64(e.Duration.Microseconds())/1000, outcome)
	if o.Verbose {
		for _, pair := range e.Environ {
			if strings.HasPrefix(pair, "CNI_") {
				b.WriteString(p.paint(dim, "        "+printable(pair)) + "\n")
			}
		}
		p.stream(&b, "stdin ", e.Stdin)
		p.stream(&b, "stdout", e.Stdout)
		p.stream(&b, "stderr", e.Stderr)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// stream shows what was sent or said.
func (p painter) stream(b *strings.Builder, name string, data []byte) {
	text := Pretty(data)
	if text == "" {
		return
	}
	for i, line := range strings.Split(text, "\n") {
		label := strings.Repeat(" ", len(name))
		if i == 0 {
			label = p.paint(bold, name)
		}
		fmt.Fprintf(b, "        %s  %s\n", label, line)
	}
}

// Pretty writes a JSON document for people, on as many lines as it likes. What is no
// JSON remains, less what a terminal should not get.
func Pretty(document []byte) string {
	document = bytes.TrimSpace(document)
	var b bytes.Buffer
	if json.Indent(&b, document, "", "  ") != nil {
		return printable(string(document))
	}
	return printable(b.String())
}
