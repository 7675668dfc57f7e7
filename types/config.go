// SPDX-License-Identifier: Apache-2.0

package types

import (
	"encoding/json"
	"errors"
	"slices"
)

// PluginConfig is the request configuration that a plugin reads from standard
// input: the protocol's part of it. The plugin's own part is read with
// [PluginConfig.Decode].
//
// Spec: CNI 1.1.0, section 3, "Deriving request configuration from plugin
// configuration"; checklist 1.2, 1.5.
type PluginConfig struct {
	// CNIVersion is the version of the request. Absent and empty are 0.1.0. It need
	// not be known to this package.
	//
	// Spec: checklist VER-013, AMB-005.
	CNIVersion Version
	// Name is the name of the network. It is valid.
	Name string
	// Type is the name of the plugin's executable: valid, or empty.
	Type string
	// IPAM is the configuration of address management.
	IPAM IPAM
	// DNS is the administrator's configuration of name resolution. If it is not
	// zero it takes the place of what an IPAM plugin says.
	//
	// Spec: checklist DLG-023, AMB-085.
	DNS DNS
	// RuntimeConfig are the values of the capabilities that the plugin declared,
	// by name of the capability. See [PluginConfig.Capability].
	RuntimeConfig map[string]json.RawMessage
	// Raw is the whole configuration as it came.
	Raw json.RawMessage

	prevResult    node
	hasPrevResult bool
	problems      []error // what is wrong with the members that DEL and GC can do without
}

// IPAM is the protocol's part of the ipam object.
type IPAM struct {
	// Type is the name of the IPAM plugin's executable: valid, or empty if the
	// network has no address management.
	//
	// Spec: checklist CONF-036, CONF-037, DLG-021.
	Type string
}

// ParsePluginConfig reads a request configuration. The error is
// [ErrDecodingFailure] for what is not a JSON object, or has a name or cniVersion of
// the wrong JSON type, [ErrInvalidNetworkConfig] for a bad name, and
// [ErrIncompatibleCNIVersion] for a cniVersion that is no version.
//
// A wrong type, ipam, dns or runtimeConfig is left zero, and is an error of
// [PluginConfig.Decode]: DEL and GC, which use [PluginConfig.DecodeLenient], clean
// up what they can without.
//
// A prevResult and a list of attachments are left alone, since whether they
// matter depends on the command: see [PluginConfig.PrevResult] and
// [PluginConfig.ValidAttachments].
//
// Spec: checklist CONF-001, CONF-002, CONF-008, CONF-009, CONF-044, CONF-045,
// PROTO-030, VER-011.
func ParsePluginConfig(data []byte) (*PluginConfig, error) {
	doc, err := parseDocument(data)
	if err != nil {
		return nil, err
	}
	c := &PluginConfig{CNIVersion: V010, Raw: doc.raw}
	named := false
	err = doc.fields(func(key string, v node) (err error) {
		switch key {
		case "name":
			named = true
			c.Name, err = v.name(ValidateNetworkName)
			return err
		case "cniVersion":
			c.CNIVersion, err = v.requestVersion()
			return err
		case "type":
			c.Type, err = v.pluginType()
		case "ipam":
			c.IPAM, err = v.ipam()
		case "dns":
			c.DNS, err = v.dns()
		case runtimeConfig:
			c.RuntimeConfig, err = v.object()
		case "prevResult":
			c.prevResult, c.hasPrevResult = v, true
		}
		if err != nil {
			c.problems = append(c.problems, under(key, err))
		}
		return nil
	}, "name", "cniVersion", "type", "ipam", "dns", runtimeConfig, "prevResult")
	if !named && !errors.Is(err, ErrDecodingFailure) {
		err = invalid("name", "is missing; want the name of the network")
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// name reads a string that has to pass a check of package types.
func (n node) name(check func(string) error) (string, error) {
	s, err := n.text()
	if err != nil {
		return "", err
	}
	if err := check(s); err != nil {
		return "", n.invalid(err)
	}
	return s, nil
}

// pluginType reads a type; an empty string is as good as none.
func (n node) pluginType() (string, error) {
	if string(n.raw) == `""` {
		return "", nil
	}
	return n.name(ValidatePluginType)
}

func (n node) requestVersion() (Version, error) {
	v, err := n.version()
	if v == 0 {
		v = V010
	}
	return v, err
}

func (n node) ipam() (i IPAM, err error) {
	err = n.fields(func(_ string, v node) (err error) {
		i.Type, err = v.pluginType()
		return err
	}, "type")
	return i, err
}

// object reads the members of an object as they are; null ones are left out.
func (n node) object() (map[string]json.RawMessage, error) {
	members, err := n.members()
	if err != nil {
		return nil, err
	}
	all := make(map[string]json.RawMessage, len(members))
	for _, m := range members {
		if (node{raw: m.raw}).isNull() {
			delete(all, m.key) // the last one counts: AMB-023
			continue
		}
		all[m.key] = slices.Clip(m.raw)
	}
	return all, nil
}

// PrevResult decodes the result of the plugin before this one. It is nil if the
// request has none, or null, and if the version of the request is older than
// chaining. The errors are those of [DecodeResult].
//
// Spec: CNI 1.1.0, section 3; checklist CHAIN-022 to CHAIN-024, CHAIN-032.
func (c *PluginConfig) PrevResult() (*Result, error) {
	if !c.hasPrevResult || c.CNIVersion < V030 {
		return nil, nil
	}
	r, err := c.prevResult.result(c.CNIVersion)
	return r, under("prevResult", err)
}

// The keys of the list of valid attachments: that of the specification, and that
// of the text when it was tagged as 1.1.0.
//
// Spec: checklist GC-002, GC-003, AMB-002.
const (
	validAttachments = "cni.dev/valid-attachments"
	olderAttachments = "cni.dev/attachments"
)

// errNoAttachments is the error of a GC request without a list.
var errNoAttachments = errors.New("a missing list is not an empty one: nothing is removed")

// ValidAttachments returns the attachments that are still valid, for GC; any
// other attachment of the network is stale. It fails with
// [ErrInvalidNetworkConfig] if the request has no list at all, which is not the
// same as an empty one, and if the list is malformed.
//
// Spec: CNI 1.1.0, section 2, "GC"; checklist GC-002, GC-003, GC-018 to GC-021,
// AMB-002, AMB-061.
func (c *PluginConfig) ValidAttachments() ([]Attachment, error) {
	doc := node{raw: c.Raw}
	var newer, older node
	err := doc.walk(func(quoted, value json.RawMessage) {
		switch unquote(quoted) {
		case validAttachments:
			newer = node{raw: value, path: validAttachments}
		case olderAttachments:
			older = node{raw: value, path: olderAttachments}
		}
	})
	if err != nil {
		return nil, err
	}
	list := newer
	if list.path == "" {
		list = older
	}
	if list.path == "" {
		return nil, NewError(ErrInvalidNetworkConfig, validAttachments+": is missing; want the list of valid attachments", errNoAttachments)
	}
	if list.isNull() {
		return []Attachment{}, nil
	}
	all, err := attachments(node{raw: list.raw})
	return all, invalidConfig(under(list.path, err))
}

// attachments reads a list of attachments.
//
// Spec: checklist GC-021.
func attachments(list node) ([]Attachment, error) {
	return collect(list, func(n node) (a Attachment, err error) {
		err = n.fields(func(key string, v node) (err error) {
			switch key {
			case "containerID":
				a.ContainerID, err = v.text()
			case "ifname":
				a.IfName, err = v.text()
			}
			return err
		}, "containerID", "ifname")
		if err == nil && a.ContainerID == "" {
			err = invalid("containerID", "is missing")
		}
		if err == nil && a.IfName == "" {
			err = invalid("ifname", "is missing")
		}
		return a, err
	})
}
