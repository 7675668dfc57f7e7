// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"strconv"

	"github.com/cnikit/cnikit/types"
)

// A need says what a command does with a variable or a member of the request.
type need int

const (
	unused need = iota
	optional
	required
)

// A command is a row of the specification's table of operations.
type command struct {
	name  types.Command
	since types.Version

	containerID, netns, ifName need
	prevResult                 need
	attachments                need

	// lenient: clean up as much as can be, whatever the configuration says.
	lenient bool
}

// commands returns the operations that have a handler. VERSION has none.
//
// Spec: CNI 1.1.0, section 2, and section 3, "Deriving request configuration";
// checklist 1.3, 1.4, 1.5, CHK-004, DEL-026.
func commands() []command {
	return []command{
		{name: types.CommandAdd, since: types.V010, containerID: required, netns: required, ifName: required, prevResult: optional},
		{name: types.CommandDel, since: types.V010, containerID: required, netns: optional, ifName: required, prevResult: optional, lenient: true},
		{name: types.CommandCheck, since: types.V040, containerID: required, netns: required, ifName: required, prevResult: required},
		{name: types.CommandGC, since: types.V110, attachments: required, lenient: true},
		{name: types.CommandStatus, since: types.V110},
	}
}

// findCommand returns the row of CNI_COMMAND, which is compared exactly.
//
// Spec: checklist PROTO-006, PROTO-007, AMB-032.
func findCommand(name string) (command, error) {
	for _, c := range commands() {
		if string(c.name) == name {
			return c, nil
		}
	}
	text := envCommand + ": required and missing"
	if name != "" {
		text = envCommand + ": " + strconv.Quote(clip(name, mostName)) + " is not valid"
	}
	return command{}, types.NewError(types.ErrInvalidEnvironmentVariables, text+"; want ADD, DEL, CHECK, GC, STATUS or VERSION", nil)
}
