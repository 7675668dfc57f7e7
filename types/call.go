// SPDX-License-Identifier: Apache-2.0

package types

import (
	"context"
	"io"
)

// Command is the operation that CNI_COMMAND asks for.
type Command string

// The commands of the specification.
//
// Spec: CNI 1.1.0, section 2; checklist 1.3.
const (
	CommandAdd     Command = "ADD"
	CommandDel     Command = "DEL"
	CommandCheck   Command = "CHECK"   // Since 0.4.0.
	CommandGC      Command = "GC"      // Since 1.1.0.
	CommandStatus  Command = "STATUS"  // Since 1.1.0.
	CommandVersion Command = "VERSION" // Since 0.2.0.
)

// Call is one execution of a plugin as its runtime asked for it: the parameters
// of the environment and the bytes of standard input. Package skel makes it, and
// package ipam hands it on to a delegate.
//
// Spec: CNI 1.1.0, section 2, "Parameters", and section 4; checklist 1.4, DLG-002
// to DLG-004.
type Call struct {
	// Command is CNI_COMMAND.
	Command Command
	// ContainerID is CNI_CONTAINERID. Empty for GC and STATUS.
	ContainerID string
	// Netns is CNI_NETNS: the path of the container's network namespace. Empty for
	// GC and STATUS, and for a DEL that is to clean up outside the namespace only.
	Netns string
	// IfName is CNI_IFNAME: the name of the interface inside the container. Empty
	// for GC and STATUS.
	IfName string
	// Args are the pairs of CNI_ARGS.
	Args Args
	// Path are the directories of CNI_PATH in their order, less empty and relative
	// ones.
	Path []string

	// CNIVersion is the version of the request.
	CNIVersion Version
	// Environ is the whole environment as "key=value", which a delegate gets with
	// nothing changed but CNI_COMMAND.
	Environ []string
	// Stdin is the request as it came, byte for byte, which a delegate gets too.
	// It must not be written to.
	Stdin []byte
	// Stderr takes the standard error of a delegate. Nil: it is discarded.
	Stderr io.Writer
	// Local returns the plugin of that name which the running executable holds
	// itself, or nil if it holds none. Nil: it holds none.
	Local func(plugin string) LocalPlugin
}

// LocalPlugin runs a plugin inside the running process. It behaves as the
// executable would: it reads the request, writes one document and returns the
// exit status.
type LocalPlugin func(ctx context.Context, environ []string, stdin io.Reader, stdout, stderr io.Writer) (exit int)

// Attachment names one attachment of a container to a network, which is part of
// the context.
//
// Spec: CNI 1.1.0, section 2, "GC"; checklist 1.9, AMB-105 for the spelling.
type Attachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}
