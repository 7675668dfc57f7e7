// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"fmt"
	"io"
)

// help tells somebody who runs the plugin by hand what it is.
//
// Spec: checklist AMB-032.
func (p *program) help(w io.Writer) {
	if p.about != "" {
		fmt.Fprintf(w, "%s: %s\n\n", p.name, p.about)
	}
	fmt.Fprintf(w, `%[1]s is a CNI plugin for versions %[2]s of the
specification. A container runtime runs it, with a command in CNI_COMMAND and
a configuration on standard input. To see it answer:

	echo '{"cniVersion":"%[3]s"}' | CNI_COMMAND=VERSION %[1]s

`, p.name, versionList(p.versions), p.newest())
}
