// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Target is a plugin to be examined, and what has to be known about it.
type Target struct {
	// Executable is the path of the plugin, in whatever language it is written.
	Executable string
	// Plugin is run in-process instead, if it is not nil. What needs a namespace for the
	// plugin's host is not examined then.
	Plugin skel.Runner
	// Name is the type in configurations. Empty: the base name of Executable, without
	// ".exe".
	Name string
	// Profile says what kind of plugin it is. The zero Profile finds out.
	Profile Profile

	run runFunc // instead of Plugin
}

// inProcess returns how to run the plugin in-process, and nil for an executable.
func (t Target) inProcess() runFunc {
	if t.Plugin != nil {
		return t.Plugin.Run
	}
	return t.run
}

// delegates reports whether the configuration names the IPAM plugin of the kit. One that
// is not known yet may.
func (t Target) delegates() bool {
	return len(t.Profile.Config) == 0 || strings.Contains(string(t.Profile.Config), "${IPAM}")
}

// Kind is the kind of a plugin.
type Kind string

// The kinds of plugins.
const (
	// KindInterface makes or configures the interface of the container.
	KindInterface Kind = "interface"
	// KindChained adjusts what a plugin before it has made.
	KindChained Kind = "chained"
	// KindIPAM manages addresses for another plugin.
	KindIPAM Kind = "ipam"
	// KindMeta does its work through other plugins.
	KindMeta Kind = "meta"
)

// Profile says what a plugin is and what it needs. Its JSON form is what cnicheck
// reads.
type Profile struct {
	// Kind is the kind of the plugin. Empty: from the name of a well-known plugin, or
	// by trying.
	Kind Kind `json:"kind,omitempty"`
	// Config are the members that its configuration has beyond cniVersion, name and
	// type. In it, "${DIR}" stands for a directory of the case's own, and "${IPAM}" for
	// the name of an IPAM plugin that the kit plays. Empty: that of a well-known plugin,
	// or an ipam of the kit's.
	Config json.RawMessage `json:"config,omitempty"`
	// IfName is the interface to ask for. Empty: eth0.
	IfName string `json:"ifName,omitempty"`
	// Existing says that the plugin works on an interface that is there already and
	// stays, as loopback does.
	//
	// Spec: checklist AMB-064.
	Existing bool `json:"existing,omitempty"`
	// Versions are those to examine. Empty: all that the plugin claims to support.
	Versions []types.Version `json:"versions,omitempty"`
	// Path are directories with further plugins, for CNI_PATH.
	Path []string `json:"path,omitempty"`
	// TimeoutSeconds bounds each execution. Zero: 10. While there is more to run than the
	// machine has processors, by the load average that Linux tells, a plugin has as many
	// times that, at most six: one that waits for a processor is not said to hang.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
}

func (p Profile) timeout() time.Duration {
	if p.TimeoutSeconds <= 0 {
		return 10 * time.Second
	}
	return time.Duration(p.TimeoutSeconds) * time.Second
}

func (p Profile) ifName() string {
	if p.IfName == "" {
		return "eth0"
	}
	return p.IfName
}

// wellKnown returns the profile of a plugin by its name. The keys are those of the
// plugins that everybody has.
//
// Source: https://github.com/containernetworking/plugins/tree/v1.9.1/plugins
func wellKnown(name string) Profile {
	const delegate = `"ipam":{"type":"${IPAM}"}`
	known := map[string]Profile{
		"bridge":     {Kind: KindInterface, Config: json.RawMessage(`{"bridge":"cnitest0","isGateway":true,` + delegate + `}`)},
		"ptp":        {Kind: KindInterface, Config: json.RawMessage(`{` + delegate + `}`)},
		"loopback":   {Kind: KindInterface, Config: json.RawMessage(`{}`), IfName: "lo", Existing: true},
		"host-local": {Kind: KindIPAM, Config: json.RawMessage(`{"ipam":{"type":"host-local","dataDir":"${DIR}/data","ranges":[[{"subnet":"10.88.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}`)},
		"static":     {Kind: KindIPAM, Config: json.RawMessage(`{"ipam":{"type":"static","addresses":[{"address":"10.88.0.2/24","gateway":"10.88.0.1"}]}}`)},
		"portmap":    {Kind: KindChained, Config: json.RawMessage(`{"runtimeConfig":{"portMappings":[{"hostPort":18080,"containerPort":80,"protocol":"tcp"}]}}`)},
		"tuning":     {Kind: KindChained, Config: json.RawMessage(`{"mtu":1400}`)},
		"bandwidth":  {Kind: KindChained, Config: json.RawMessage(`{"runtimeConfig":{"bandwidth":{"ingressRate":8000000,"ingressBurst":800000,"egressRate":8000000,"egressBurst":800000}}}`)},
		"firewall":   {Kind: KindChained, Config: json.RawMessage(`{}`)},
		"sbr":        {Kind: KindChained, Config: json.RawMessage(`{}`)},
	}
	return known[name]
}

// complete checks the target and fills in what its name tells.
func (t Target) complete() (Target, error) {
	if t.inProcess() == nil {
		path, err := filepath.Abs(t.Executable)
		if err != nil {
			return t, err
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return t, fmt.Errorf("plugin %w", err)
		case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
			return t, fmt.Errorf("plugin %s: not an executable file", t.Executable)
		}
		t.Executable = path
	}
	if t.Name == "" {
		t.Name = strings.TrimSuffix(filepath.Base(t.Executable), ".exe")
		if t.Executable == "" {
			t.Name = "plugin"
		}
	}
	known := wellKnown(t.Name)
	if t.Profile.Kind == "" {
		t.Profile.Kind = known.Kind
	}
	if len(t.Profile.Config) == 0 {
		t.Profile.Config = known.Config
	}
	if t.Profile.IfName == "" {
		t.Profile.IfName, t.Profile.Existing = known.IfName, t.Profile.Existing || known.Existing
	}
	if len(t.Profile.Config) > 0 {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(t.Profile.Config, &object); err != nil {
			return t, fmt.Errorf("profile: config: %w", err)
		}
	}
	switch t.Profile.Kind {
	case "", KindInterface, KindChained, KindIPAM, KindMeta:
		return t, nil
	}
	return t, fmt.Errorf("profile: kind %q: want interface, chained, ipam or meta", t.Profile.Kind)
}
