// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"fmt"
	"strings"
	"time"
)

// story tells what is wrong and how to see it.
func (o Outcome) story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, version %s: %s of the %s: %s\n", o.Rule.ID, o.Version, o.Rule.Level, basisInWords(o.Rule.Basis), o.Rule.Text)
	for _, why := range o.Why {
		fmt.Fprintf(&b, "  %s\n", why)
	}
	for i, s := range o.Steps {
		if len(o.Steps) > 6 && i >= 2 && i < len(o.Steps)-3 {
			if i == 2 {
				fmt.Fprintf(&b, "    … %d executions\n", len(o.Steps)-5)
			}
			continue
		}
		fmt.Fprintf(&b, "    $ %s\n      %s", s.Shell(), s.summary())
		if s.Dir == "" && len(s.Stderr) > 0 {
			fmt.Fprintf(&b, "; standard error %s", short(s.Stderr))
		}
		fmt.Fprintf(&b, " (%v)\n", s.Duration.Round(time.Millisecond/10))
	}
	return printable(b.String()) // what a plugin prints may be anything, and this goes to terminals
}

func basisInWords(basis string) string {
	return map[string]string{
		"S": "specification", "S~": "specification", "C": "conventions", "U": "upgrade guide",
		"R": "reference implementation", "D": "checklist",
	}[basis]
}
