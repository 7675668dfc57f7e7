// SPDX-License-Identifier: Apache-2.0

package types

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Network is a network configuration as an administrator writes it: the list of
// plugins that attach a container to one network. It is what a runtime reads;
// what it makes of it for a plugin is [Network.Request].
//
// Spec: CNI 1.1.0, section 1; checklist 1.2, CONF.
type Network struct {
	// Name is the name of the network. It is valid, so it may become part of a
	// path.
	Name string
	// CNIVersion is the version of every request: the highest of Offered that this
	// package knows. A runtime that supports less sets another, with [Negotiate].
	CNIVersion Version
	// Offered are the versions in cniVersion and cniVersions together, ascending
	// and without repetition.
	Offered []Version
	// DisableCheck: the runtime must not send CHECK. Since 0.4.0.
	DisableCheck bool
	// DisableGC: the runtime must not send GC. Since 1.1.0.
	DisableGC bool
	// LoadOnlyInlinedPlugins: only the plugins of the file itself count, as in a
	// file that holds a single plugin. Since 1.1.0.
	LoadOnlyInlinedPlugins bool
	// Plugins are the plugins in the order of ADD: those of the file itself, then
	// those of the folder.
	Plugins []NetworkPlugin
	// Path is the file that the network comes from. Empty: it comes from
	// [ParseNetwork].
	Path string
	// Raw is the whole file as it is.
	Raw json.RawMessage
	// Warnings are what the administrator should know, one line each, for the log
	// of the runtime.
	Warnings []string
}

// NetworkPlugin is the configuration of one plugin of a [Network].
type NetworkPlugin struct {
	// Type is the name of the executable. It is valid.
	Type string
	// Capabilities are the capabilities that the administrator declares, by name.
	Capabilities map[string]bool
	// Path is the file that the plugin comes from. Empty: it comes from
	// [ParseNetwork].
	Path string
	// Raw is the configuration as it is in the file.
	Raw json.RawMessage
}

// ParseNetwork reads a network configuration. The configuration of a single
// plugin, which older files hold, becomes a list of one.
//
// The error has the code [ErrDecodingFailure] for what is not JSON or has the
// wrong JSON type, [ErrInvalidNetworkConfig] for a value that is wrong, missing
// or no plugin at all, and [ErrIncompatibleCNIVersion] if no version is offered
// that this package knows. It names the member and its value. The result refers
// to data, which must not be changed afterwards.
//
// Spec: checklist CONF-001 to CONF-030, CONF-041, AMB-009, AMB-010, AMB-024 to
// AMB-026, AMB-031.
func ParseNetwork(data []byte) (*Network, error) {
	n, err := parseNetwork(data)
	if err != nil {
		return nil, err
	}
	if len(n.Plugins) == 0 {
		return nil, errNoPlugins()
	}
	return n, nil
}

// errNoPlugins is the error of a network without any plugin.
//
// Spec: checklist CONF-023.
func errNoPlugins() error {
	return invalid("plugins", "is missing or empty; want at least one plugin")
}

// parseNetwork reads a network configuration, which may have no plugins if it
// may have a folder.
func parseNetwork(data []byte) (*Network, error) {
	doc, err := parseDocument(data)
	if err != nil {
		return nil, err
	}
	members, err := doc.members()
	if err != nil {
		return nil, err
	}
	n := &Network{Raw: doc.raw}
	inlined := hasMember(members, "plugins")
	flat := !inlined && hasMember(members, "type")
	if err := n.readList(doc, flat); err != nil {
		return nil, err
	}
	switch {
	case flat:
		err = n.wrap(doc)
	case inlined && n.Plugins == nil:
		err = node{raw: json.RawMessage("null"), path: "plugins"}.mismatch("an array") // CONF-025
	case !inlined && n.LoadOnlyInlinedPlugins:
		err = invalid("plugins", "is missing, and loadOnlyInlinedPlugins is true; want at least one plugin") // CONF-018
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

func hasMember(members []member, key string) bool {
	return slices.ContainsFunc(members, func(m member) bool { return strings.EqualFold(m.key, key) })
}

// listKeys are the keys of a list that is not its plugins. They are lifted from
// the configuration of a single plugin too: AMB-026.
func listKeys() []string {
	return []string{"name", "cniVersion", "cniVersions", "disableCheck", "disableGC", "loadOnlyInlinedPlugins"}
}

// readList reads the keys of the list, and its plugins.
func (n *Network) readList(doc node, flat bool) error {
	var single Version
	err := doc.fields(func(key string, v node) (err error) {
		switch key {
		case "name":
			n.Name, err = v.name(ValidateNetworkName)
		case "cniVersion":
			single, err = v.version()
		case "cniVersions":
			n.Offered, err = collect(v, node.offeredVersion)
		case "disableCheck":
			n.DisableCheck, err = v.flag()
		case "disableGC":
			n.DisableGC, err = v.flag()
		case "loadOnlyInlinedPlugins":
			n.LoadOnlyInlinedPlugins, err = v.flag()
		case "plugins":
			n.Plugins, err = n.readPlugins(v)
		}
		return err
	}, append(listKeys(), "plugins")...)
	switch {
	case err != nil:
		return err
	case n.Name == "":
		return invalid("name", "is missing; want the name of the network")
	}
	return n.selectVersion(single, flat)
}

// selectVersion completes the offered versions and chooses the highest.
//
// Spec: checklist CONF-004, CONF-007, AMB-010.
func (n *Network) selectVersion(single Version, flat bool) (err error) {
	switch {
	case single != 0:
		n.Offered = append(n.Offered, single)
	case len(n.Offered) > 0:
	case flat:
		n.Offered = []Version{V010} // VER-013
	default:
		return invalid("cniVersion", "is missing; want a version such as "+quote(Newest.String()))
	}
	slices.Sort(n.Offered)
	n.Offered = slices.Compact(n.Offered)
	n.CNIVersion, err = Negotiate(n.Offered, nil)
	return err
}

// offeredVersion reads an element of cniVersions.
//
// Spec: checklist CONF-003, AMB-011.
func (n node) offeredVersion() (Version, error) {
	v, err := n.version()
	if err == nil && v == 0 {
		err = n.invalid(errors.New("is empty; want a version such as " + quote(Newest.String())))
	}
	return v, err
}

// flag reads a boolean, which may be written as a string.
//
// Spec: checklist CONF-013, CONF-014, AMB-024.
func (n node) flag() (bool, error) {
	if len(n.raw) == 0 || n.raw[0] != '"' {
		return n.boolean()
	}
	switch s := unquote(n.raw); {
	case strings.EqualFold(s, "true"):
		return true, nil
	case strings.EqualFold(s, "false"):
		return false, nil
	default:
		return false, n.invalid(errors.New(quote(s) + " is not valid; want true or false"))
	}
}

// readPlugins reads the plugins of a list. The slice is not nil, even if the
// array is empty.
func (n *Network) readPlugins(list node) ([]NetworkPlugin, error) {
	all := []NetworkPlugin{}
	err := list.each(func(i int, v node) error {
		p, err := n.readPlugin(v, "plugins"+position(i)+".")
		all = append(all, p)
		return err
	})
	return all, err
}

// readPlugin checks the configuration of one plugin, whose members warnings call
// by their names after at.
//
// Spec: checklist CONF-021, CONF-026 to CONF-029.
func (n *Network) readPlugin(v node, at string) (p NetworkPlugin, err error) {
	p.Raw = slices.Clip(v.raw)
	err = v.fields(func(key string, c node) (err error) {
		switch key {
		case "type":
			p.Type, err = c.name(ValidatePluginType)
		case "capabilities":
			p.Capabilities, err = c.capabilities()
		}
		return err
	}, "type", "capabilities")
	if err == nil && p.Type == "" {
		err = invalid("type", "is missing; want the name of the plugin's executable")
	}
	if err != nil {
		return NetworkPlugin{}, err
	}
	n.warnGenerated(v, at)
	return p, nil
}

// capabilities reads the declared capabilities.
//
// Spec: checklist CONF-028.
func (n node) capabilities() (map[string]bool, error) {
	members, err := n.members()
	if err != nil {
		return nil, err
	}
	all := make(map[string]bool, len(members))
	for _, m := range members {
		v := node{raw: m.raw}
		if v.isNull() {
			delete(all, m.key)
			continue
		}
		if all[m.key], err = v.boolean(); err != nil {
			v.secret = isSecret(m.key) // not asked before, for it takes time
			_, err = v.boolean()
			return nil, under(pathKey(m.key), err)
		}
	}
	return all, nil
}

// warnGenerated warns of members that only a runtime may write and which
// [Network.Request] leaves out.
//
// Spec: checklist CONF-029, CHAIN-011, AMB-017, AMB-030.
func (n *Network) warnGenerated(v node, at string) {
	members, err := v.members()
	if err != nil {
		return
	}
	for _, m := range members {
		if isGenerated(m.key) {
			n.Warnings = append(n.Warnings, at+pathKey(m.key)+": is for the runtime to write, and is left out")
		}
	}
}

// isGenerated reports whether a member of a plugin's configuration may come from
// a runtime only.
func isGenerated(key string) bool {
	return strings.EqualFold(key, "prevResult") || strings.EqualFold(key, runtimeConfig) || hasPrefixFold(key, "cni.dev/")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// wrap makes a list of the configuration of a single plugin. What belongs to a
// list is lifted from it.
//
// Spec: checklist CONF-041, AMB-025, AMB-026.
func (n *Network) wrap(doc node) error {
	p, err := n.readPlugin(doc, "")
	if err != nil {
		return err
	}
	p.Raw = without(doc, listKeys())
	n.LoadOnlyInlinedPlugins = true // such a file never had a folder
	n.Plugins = []NetworkPlugin{p}
	text := "the file holds a single plugin, which is deprecated; want a list with plugins"
	if n.CNIVersion >= V100 {
		text = "the file holds a single plugin, which version " + n.CNIVersion.String() + " does not have any more; want a list with plugins"
	}
	n.Warnings = append(n.Warnings, text)
	return nil
}

// without returns an object without some members, which match ignoring case. The
// other members stay byte for byte.
func without(n node, keys []string) json.RawMessage {
	var o object
	o.open()
	n.walk(func(quoted, value json.RawMessage) {
		key := unquote(quoted)
		if !slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, key) }) {
			o.raw(quoted, value)
		}
	})
	o.close()
	return o.buf
}
