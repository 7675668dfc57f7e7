// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"math/big"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// recordedRules are the rules that [Recorder.Examine] judges.
var recordedRules = set(`CONF-004 CONF-015 PROTO-019 PROTO-020 PROTO-023 PROTO-025 PROTO-027 PROTO-028 PROTO-036
	PROTO-037 PROTO-038 PROTO-039 VER-019 VER-020 ADD-006 ADD-016 ADD-017 ADD-018 DEL-018 DEL-019 DEL-020 DEL-021 DEL-022
	CHK-003 CHK-016 CHK-017 CHK-018 CHK-020 CHK-024 STA-010 STA-015 STA-016 GC-001 GC-002 GC-004 GC-013 GC-014 GC-015
	GC-016 GC-025 CHAIN-001 CHAIN-002 CHAIN-003 CHAIN-004 CHAIN-006 CHAIN-009 CHAIN-010 CHAIN-011 CHAIN-012 CHAIN-021
	CHAIN-032 CACHE-004 CACHE-005 LIFE-001 LIFE-003 LIFE-018 CAP-002 VER-016 VER-017`)

func set(words string) map[string]bool {
	all := map[string]bool{}
	for _, word := range strings.Fields(words) {
		all[word] = true
	}
	return all
}

// reservedPrefix begins the keys that only a runtime sets.
const reservedPrefix = "cni.dev/"

// judgeRecord judges one request for itself.
func (t *tape) judgeRecord(r *Record) {
	if r.End == 0 {
		return // ended before it could read
	}
	v := r.version(t.n)
	t.judgeEnvironment(r, v)
	conf, ok := t.judgeInput(r, v)
	if !ok {
		return
	}
	i := slices.IndexFunc(t.n.Plugins, func(p types.NetworkPlugin) bool { return p.Type == r.Plugin })
	p := t.n.Plugins[i]
	these := []*Record{r}
	t.expect(conf["name"] == t.n.Name, "CHAIN-002", v, these, "name is %s, and that of the list %q", asJSON(conf["name"]), t.n.Name)
	said, _ := conf["cniVersion"].(string)
	offered := slices.ContainsFunc(t.n.Offered, func(o types.Version) bool { return o.String() == said })
	t.expect(offered, "CHAIN-001", v, these, "cniVersion is %s, and the list has %s", asJSON(conf["cniVersion"]), joined(t.n.Offered))
	t.judgeMembers(r, v, conf, decoded(p.Raw))
	t.judgeCapabilities(r, v, conf, p)
	t.judgeAdded(r, v, conf, decoded(p.Raw))
}

// judgeInput judges the form of standard input.
func (t *tape) judgeInput(r *Record, v types.Version) (conf map[string]any, ok bool) {
	s := Step{Execution: Execution{Stdout: r.Stdin}}
	conf, err := s.object()
	why := "standard input did not end"
	if err != nil && !r.Open {
		why = strings.Replace(err.Error(), "standard output", "standard input", 1)
	}
	t.expect(!r.Open && err == nil, "PROTO-028", v, []*Record{r}, "%s", why)
	return conf, !r.Open && err == nil
}

// judgeEnvironment judges variables and namespace.
func (t *tape) judgeEnvironment(r *Record, v types.Version) {
	these := []*Record{r}
	value := func(key string) string { return variable(r.Environ, key) }
	t.expect(value("CNI_PATH") != "", "PROTO-019", v, these, "%s has no CNI_PATH", r.Command)
	if args := value("CNI_ARGS"); args != "" {
		_, err := types.ParseArgs(args)
		t.expect(err == nil, "PROTO-027", v, these, "%v", err)
	}
	if r.Netns != "" {
		t.expect(r.Netns != r.Sandbox, "PROTO-036", v, these, "%s runs inside the namespace of the container, %s", r.Command, r.Netns)
	}
	if r.Command == types.CommandGC || r.Command == types.CommandStatus {
		id := map[types.Command]string{types.CommandGC: "GC-025", types.CommandStatus: "STA-010"}[r.Command]
		for _, key := range []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"} {
			t.expect(value(key) == "", id, v, these, "%s has %s=%s", r.Command, key, value(key))
		}
		return
	}
	err := types.ValidateContainerID(value("CNI_CONTAINERID"))
	t.expect(err == nil, "PROTO-020", v, these, "CNI_CONTAINERID %q: %v", value("CNI_CONTAINERID"), err)
	err = types.ValidateInterfaceName(value("CNI_IFNAME"))
	t.expect(err == nil, "PROTO-023", v, these, "CNI_IFNAME %q: %v", value("CNI_IFNAME"), err)
	netns := value("CNI_NETNS")
	if r.Command == types.CommandDel && netns == "" {
		return
	}
	t.expect(filepath.IsAbs(netns), "PROTO-025", v, these, "%s has CNI_NETNS=%q, want a path", r.Command, netns)
	if r.Command == types.CommandAdd && filepath.IsAbs(netns) {
		t.expect(r.Sandbox != "", "LIFE-001", v, these, "nothing is at CNI_NETNS=%s when ADD begins", netns)
	}
}

// judgeMembers judges what the administrator wrote and what reached the plugin.
func (t *tape) judgeMembers(r *Record, v types.Version, conf, written map[string]any) {
	these := []*Record{r}
	for key, value := range written {
		_, arrived := conf[key]
		switch {
		case key == "capabilities":
			t.expect(!arrived, "CHAIN-010", v, these, "capabilities is in the request")
		case strings.HasPrefix(key, reservedPrefix):
			ours := r.Command == types.CommandGC && strings.HasSuffix(key, "attachments")
			t.expect(!arrived || ours, "CHAIN-011", types.Newest, these, "%s of the file is in the request", key)
		case key == "name" || key == "cniVersion" || key == "prevResult" || key == "runtimeConfig" || key == "args":
		default:
			t.expect(arrived && sameJSON(value, conf[key]), "CHAIN-012", v, these, "%s is %s, and in the file %s", key, asJSON(conf[key]), asJSON(value))
		}
	}
	for key := range conf {
		_, known := written[key]
		switch {
		case known, slices.Contains([]string{"name", "cniVersion", "type", "prevResult", "runtimeConfig", "args", "capabilities"}, key):
		case strings.HasPrefix(key, reservedPrefix):
		default:
			t.expect(false, "CHAIN-011", types.Newest, these, "%s is in the request, and not in the file", key)
		}
	}
}

// judgeCapabilities judges runtimeConfig.
func (t *tape) judgeCapabilities(r *Record, v types.Version, conf map[string]any, p types.NetworkPlugin) {
	if conf["runtimeConfig"] == nil || r.Command == types.CommandStatus || r.Command == types.CommandGC {
		return
	}
	these := []*Record{r}
	object, ok := conf["runtimeConfig"].(map[string]any)
	t.expect(ok, "CHAIN-006", v, these, "runtimeConfig is %s, want an object", asJSON(conf["runtimeConfig"]))
	for key := range object {
		t.expect(p.Capabilities[key], "CHAIN-006", v, these, "runtimeConfig has %s, which the plugin does not declare", key)
	}
	var known types.RuntimeConfig
	err := json.Unmarshal([]byte(asJSON(object)), &known)
	t.expect(err == nil, "CAP-002", v, these, "runtimeConfig: %v", err)
}

// judgeAdded judges what a runtime adds for a command.
func (t *tape) judgeAdded(r *Record, v types.Version, conf, written map[string]any) {
	these := []*Record{r}
	previous, hasPrevious := conf["prevResult"]
	if hasPrevious && previous != nil && !sameJSON(previous, written["prevResult"]) { // that of the file is the matter of others
		object, _ := previous.(map[string]any)
		said := object["cniVersion"]
		t.expect(said == nil || said == conf["cniVersion"], "CHAIN-021", v, these, "prevResult is of version %s, and the request of %s", asJSON(said), asJSON(conf["cniVersion"]))
	}
	t.expect(!hasPrevious, "CHAIN-032", v, these, "%s of version %s has a prevResult", r.Command, v)
	switch r.Command {
	case types.CommandStatus:
		for _, key := range []string{"prevResult", "runtimeConfig", "cni.dev/attachments", "cni.dev/valid-attachments"} {
			_, has := conf[key]
			t.expect(!has, "STA-010", v, these, "STATUS has %s", key)
		}
	case types.CommandGC:
		t.expect(!hasPrevious, "GC-025", v, these, "GC has a prevResult")
		t.judgeLists(r, v, conf)
	default:
		for key := range conf {
			if strings.HasPrefix(key, reservedPrefix) && strings.HasSuffix(key, "attachments") {
				t.expect(false, "CHAIN-011", types.Newest, these, "%s has %s, which is for GC", r.Command, key)
			}
		}
	}
}

// judgeLists judges the attachments of GC.
func (t *tape) judgeLists(r *Record, v types.Version, conf map[string]any) {
	these := []*Record{r}
	const key, old = "cni.dev/valid-attachments", "cni.dev/attachments"
	valid, has := conf[key]
	earlier, hasOld := conf[old]
	if !has && hasOld {
		t.expect(false, "GC-002", v, these, "GC has %s, and no %s", old, key)
		return
	}
	t.expect(has, "GC-001", v, these, "GC has no %s", key)
	if !has {
		return
	}
	t.tried("GC-002", v)
	t.expect(hasOld && sameJSON(valid, earlier), "GC-004", v, these, "GC has %s in %s, and %s in %s", asJSON(valid), key, asJSON(earlier), old)
	list, ok := valid.([]any)
	t.expect(ok || valid == nil, "GC-001", v, these, "%s is %s, want an array", key, asJSON(valid)) // null: GC-019
	for _, entry := range list {
		t.expect(entriesGood([]any{entry}), "GC-001", v, these, "%s has the entry %s, want containerID and ifname", key, asJSON(entry))
	}
}

// judgeVersionCall judges a VERSION, which is about no network.
func (l *ledger) judgeVersionCall(r *Record) {
	v := r.version(&types.Network{CNIVersion: types.Newest})
	for _, key := range []string{"CNI_NETNS", "CNI_IFNAME", "CNI_PATH"} {
		l.expect(variable(r.Environ, key) != "", "VER-019", v, []*Record{r}, "VERSION has no %s", key)
	}
}

// sameJSON reports whether two decoded values are equal. Numbers are equal if their
// values are, however they are written.
func sameJSON(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for key, value := range x {
			other, ok := y[key]
			if !ok || !sameJSON(value, other) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, sameJSON)
	case json.Number:
		y, ok := b.(json.Number)
		return ok && sameNumber(x.String(), y.String())
	}
	return a == b
}

// sameNumber compares numbers. Those too long to be meant are compared as text.
func sameNumber(a, b string) bool {
	const digits = 400
	if a == b || len(a) > digits || len(b) > digits || hugeExponent(a) || hugeExponent(b) {
		return a == b
	}
	x, ok := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	return ok && ok2 && x.Cmp(y) == 0
}

func hugeExponent(number string) bool {
	at := strings.IndexAny(number, "eE")
	return at >= 0 && len(strings.TrimLeft(number[at+1:], "+-0")) > 3
}

func asJSON(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
