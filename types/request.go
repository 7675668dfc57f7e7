// SPDX-License-Identifier: Apache-2.0

package types

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// RequestParams are what a runtime adds to the configuration of a plugin.
type RequestParams struct {
	// Command is the operation.
	Command Command
	// Capabilities are the values that the runtime has, by name of the capability.
	// A plugin gets those that it declares. They are for ADD, CHECK and DEL, with
	// equal values each time.
	Capabilities map[string]json.RawMessage
	// PrevResult is a result in JSON: for ADD the one of the plugin before, for
	// CHECK and DEL the final one. Nil: there is none, as for the first ADD. A
	// result of another version is converted.
	PrevResult []byte
	// ValidAttachments are the attachments to keep, for GC. Nil is an error, since
	// GC removes all others; an empty list says that none is valid.
	ValidAttachments []Attachment
}

// Request returns the configuration that the plugin at position i reads from its
// standard input: cniVersion, name and type, then the members of the plugin's
// configuration byte for byte in their order, without capabilities and without
// what only a runtime may write, then what p adds for the command.
//
// It fails with [ErrInvalidNetworkConfig] if there is no such plugin, if a value
// in p is not JSON, if PrevResult is no valid result, if it is nil for CHECK,
// and if ValidAttachments is nil for GC. It does not ask whether the version of
// the network has the command.
//
// Spec: CNI 1.1.0, section 3, "Deriving request configuration from plugin
// configuration"; checklist 1.5, CHAIN-001 to CHAIN-012, CHAIN-021, CHAIN-029,
// CONF-030, CONF-040, GC-001, GC-002, GC-004, GC-025, AMB-015 to AMB-018,
// AMB-030, AMB-065.
func (n *Network) Request(i int, p RequestParams) ([]byte, error) {
	if i < 0 || i >= len(n.Plugins) {
		return nil, invalid("plugins", "has no position "+strconv.Itoa(i))
	}
	plugin := n.Plugins[i]
	doc, err := parseDocument(plugin.Raw)
	if err != nil {
		return nil, err
	}
	o := &object{buf: make([]byte, 0, len(plugin.Raw)+len(p.PrevResult)+256)}
	o.open()
	o.text("cniVersion", n.CNIVersion.String())
	if p.Command == CommandVersion {
		o.close()
		return o.buf, nil
	}
	o.text("name", n.Name)
	o.text("type", plugin.Type)
	err = doc.walk(func(quoted, value json.RawMessage) {
		if !isReplaced(unquote(quoted)) {
			o.raw(quoted, value)
		}
	})
	if err == nil {
		err = o.params(n.CNIVersion, plugin, p)
	}
	if err != nil {
		return nil, err
	}
	o.close()
	return o.buf, nil
}

// isReplaced reports whether a member of a plugin's configuration does not reach
// the plugin as it is.
func isReplaced(key string) bool {
	for _, name := range [...]string{"cniVersion", "name", "type", "capabilities"} {
		if strings.EqualFold(key, name) {
			return true
		}
	}
	return isGenerated(key)
}

// params writes what the runtime adds for a command.
func (o *object) params(v Version, plugin NetworkPlugin, p RequestParams) error {
	switch p.Command {
	case CommandAdd, CommandCheck, CommandDel:
		if err := o.prevResult(v, p); err != nil {
			return err
		}
		return o.runtimeConfig(v, plugin, p)
	case CommandGC:
		return o.attachments(p.ValidAttachments)
	}
	return nil
}

// prevResult writes the result of the plugin before. No version before 0.3.0 has
// it, and DEL has it since 0.4.0.
//
// Spec: checklist 1.5, CHAIN-004, CHAIN-005, CHAIN-021, CHAIN-029, CHAIN-030,
// CHAIN-032, RES-043, RES-044.
func (o *object) prevResult(v Version, p RequestParams) error {
	switch {
	case p.Command == CommandCheck && p.PrevResult == nil:
		return invalid("prevResult", "is missing; want the result of ADD")
	case p.PrevResult == nil, v < V030, p.Command == CommandDel && v < V040:
		return nil
	}
	raw, err := resultIn(p.PrevResult, v)
	if err != nil {
		return err
	}
	o.key("prevResult")
	o.buf = append(o.buf, raw...)
	return nil
}

// resultIn returns a result in version v: the very bytes if they are.
func resultIn(data []byte, v Version) (json.RawMessage, error) {
	doc, err := parseDocument(data)
	if err != nil {
		return nil, err
	}
	if doc.isNull() {
		return (&Result{}).Encode(v)
	}
	doc.path = ""
	have, err := doc.resultVersion(v)
	if err != nil {
		return nil, under("prevResult", err)
	}
	r, err := doc.result(v)
	if err != nil || have == v {
		return doc.raw, under("prevResult", err)
	}
	return r.Encode(v)
}

// runtimeConfig writes the values of the capabilities that the plugin declares,
// sorted by name. The object is there even if it is empty, unless the plugin
// declares nothing.
//
// Spec: checklist CHAIN-006 to CHAIN-009, AMB-015, AMB-016.
func (o *object) runtimeConfig(v Version, plugin NetworkPlugin, p RequestParams) error {
	var names []string
	declared := false
	for name, on := range plugin.Capabilities {
		declared = declared || on
		if raw, ok := p.Capabilities[name]; on && ok {
			if !json.Valid(raw) {
				return invalid(runtimeConfig+"."+name, "is not JSON")
			}
			names = append(names, name)
		}
	}
	if v < V030 || !declared {
		return nil
	}
	slices.Sort(names)
	o.key(runtimeConfig)
	o.open()
	for _, name := range names {
		o.key(name)
		o.buf = append(o.buf, p.Capabilities[name]...)
	}
	o.close()
	return nil
}

// errNoValidAttachments is why GC needs a list.
var errNoValidAttachments = errors.New("GC removes all other attachments; an empty list says that none is valid")

// attachments writes the list of valid attachments, under the name that the tag
// of 1.1.0 gives it as well.
//
// Spec: checklist GC-001, GC-002, GC-004, AMB-002.
func (o *object) attachments(valid []Attachment) error {
	if valid == nil {
		return NewError(ErrInvalidNetworkConfig, validAttachments+": is missing", errNoValidAttachments)
	}
	for _, key := range [...]string{validAttachments, olderAttachments} {
		o.key(key)
		o.buf = append(o.buf, '[')
		for i, a := range valid {
			if i > 0 {
				o.buf = append(o.buf, ',')
			}
			o.open()
			o.text("containerID", a.ContainerID)
			o.text("ifname", a.IfName)
			o.close()
		}
		o.buf, o.comma = append(o.buf, ']'), true
	}
	return nil
}
