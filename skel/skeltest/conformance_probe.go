// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cnikit/cnikit/types"
)

// probe finds out what can be examined, and says what cannot.
func (x *examiner) probe() (notes []string) {
	if x.target.inProcess() != nil {
		x.whyNot = "a plugin in-process has the namespace of the test for its host"
		notes = append(notes, x.whyNot+"; pass an executable to examine all")
	} else if n, err := NewNamespace(); err != nil {
		x.whyNot = err.Error()
		notes = append(notes, "no network namespaces, and so no ADD of a real container: "+err.Error())
	} else if err := n.Close(); err != nil {
		x.whyNot = err.Error()
	} else {
		x.namespaces = true
	}
	x.versions = x.probeVersions()
	if len(x.versions) == 0 {
		notes = append(notes, "VERSION does not tell which versions the plugin supports: all are examined")
		x.versions = types.Versions()
	}
	x.newest = x.versions[len(x.versions)-1]
	if len(x.target.Profile.Versions) > 0 {
		x.versions = slices.Sorted(slices.Values(x.target.Profile.Versions))
	}
	x.probeKind()
	for _, v := range x.versions {
		x.probeAdd(v)
	}
	return notes
}

// addFails says why a plain ADD does not succeed; see [Report.AddFails]. A chained plugin
// that may lack privileges is not blamed.
func (x *examiner) addFails() string {
	if !x.namespaces && x.target.Profile.Kind != KindIPAM && (x.target.Profile.Kind != KindChained || x.target.inProcess() == nil) {
		return ""
	}
	for _, v := range slices.Backward(x.versions) {
		if x.works[v] || x.target.Profile.Kind == KindChained && v < types.V030 {
			continue
		}
		return fmt.Sprintf("at version %s ADD does not succeed, so that little can be examined; is the profile right? %s", v, x.cannot[v])
	}
	return ""
}

// canAdd reports whether an ADD of this kind of plugin can be tried here.
func (x *examiner) canAdd() bool {
	return x.namespaces || x.target.Profile.Kind == KindIPAM || x.target.Profile.Kind == KindChained
}

func (x *examiner) probeVersions() []types.Version {
	t := x.trial(types.Newest)
	defer t.close()
	s := t.run(t.call("VERSION"))
	object, err := s.object()
	if err != nil {
		return nil
	}
	list, ok := object["supportedVersions"].([]any)
	if !ok {
		return nil
	}
	var all []types.Version
	for _, text := range list {
		if v, err := types.ParseVersion(fmt.Sprint(text)); err == nil && v.Known() && !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return all
}

// probeKind finds out what kind of plugin it is by what ADD does. A plugin that says
// nothing of itself is taken for an interface plugin.
func (x *examiner) probeKind() {
	p := &x.target.Profile
	if len(p.Config) == 0 {
		p.Config = json.RawMessage(`{"ipam":{"type":"${IPAM}"}}`)
		if x.target.inProcess() != nil {
			p.Config = json.RawMessage(`{}`)
		}
	}
	if p.Kind != "" {
		return
	}
	newest := x.versions[len(x.versions)-1]
	for _, kind := range []Kind{KindInterface, KindChained} {
		p.Kind = kind
		t := x.trial(newest)
		s := t.run(t.call("ADD"))
		object, err := s.object()
		t.run(t.call("DEL"))
		t.close()
		if s.failed() || err != nil {
			continue
		}
		if _, has := object["interfaces"]; !has && object["ips"] != nil && kind == KindInterface {
			p.Kind = KindIPAM
		}
		return
	}
	p.Kind = KindInterface
}

// probeAdd finds out whether a baseline ADD succeeds at a version.
func (x *examiner) probeAdd(v types.Version) {
	if !x.canAdd() {
		return
	}
	if x.target.Profile.Kind == KindChained && v < types.V030 {
		x.cannot[v] = "version " + v.String() + " has no prevResult"
		return
	}
	t := x.trial(v)
	defer t.close()
	s := t.run(t.call("ADD"))
	defer func() { t.run(t.call("DEL")) }()
	if s.failed() {
		x.cannot[v] = "ADD of the baseline: " + s.summary()
		return
	}
	x.works[v] = true
	if t.delegate == nil {
		return
	}
	if calls, err := t.delegate.Commands(); err == nil && slices.Contains(calls, types.CommandAdd) {
		x.delegates = true
	}
}
