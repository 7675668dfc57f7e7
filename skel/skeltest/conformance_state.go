// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cnikit/cnikit/types"
)

// state returns the state of a namespace, and nothing if there are none.
func (t *trial) state(n *Namespace) Snapshot {
	if n == nil {
		return ""
	}
	s, err := n.Snapshot()
	t.must(err)
	return s
}

// states returns all that the plugin can change: the host, the container and the
// directory of the case.
func (t *trial) states() Snapshot {
	files, err := SnapshotDir(filepath.Join(t.dir, "data"))
	t.must(err)
	return "HOST\n" + t.state(t.host) + "\nCONTAINER\n" + t.state(t.sandbox) + "\n" + files
}

// warm makes the plugin make what all attachments share, such as a bridge, by another
// attachment that comes and goes. What is left of that is not what one attachment
// leaves.
func (t *trial) warm() {
	add := t.call("ADD")
	ns := t.netns()
	if t.x.namespaces && t.x.target.Profile.Kind == KindInterface {
		ns = t.another().Path()
	}
	t.works(add.named(t.container(9), ns), "ADD of a first container")
	t.works(t.call("DEL").named(t.container(9), ns), "DEL of a first container")
	t.steps = nil
}

// withoutLeftovers checks that nothing is left of what f does.
func (t *trial) withoutLeftovers(what string, f func()) {
	t.warm()
	before := t.states()
	f()
	if diff := Diff(before, t.states()); diff != "" {
		t.fail("%s leaves changes:\n%s", what, diff)
	}
}

// added is an ADD that has to succeed for the check to go on, and its result.
func (t *trial) added() map[string]any {
	s := t.works(t.call("ADD"), "ADD")
	all, _ := s.documents()
	if len(all) == 0 {
		t.na("ADD prints no result: %s", s.summary())
	}
	object, ok := all[0].(map[string]any)
	if !ok {
		t.na("ADD prints no JSON object: %s", s.summary())
	}
	return object
}

// readResult returns the result that a step prints, for checks that are about what is in
// it, and nil if it failed.
func (t *trial) readResult(s *Step) map[string]any {
	object, err := s.object()
	if err != nil && !s.failed() {
		t.na("the result is not in order, which RES-001 judges: %v", err)
	}
	return object
}

// readable is added for checks that send the result back, and end if it is not in
// order.
func (t *trial) readable() map[string]any {
	object := t.added()
	if _, err := types.DecodeResult(mustJSON(object), t.v); err != nil {
		t.na("the result of ADD is not in order, which other rules judge: %v", err)
	}
	return object
}

// del and check are requests with the result of ADD.
func (t *trial) del(result map[string]any) *call {
	c := t.call("DEL")
	if t.v >= types.V040 && result != nil {
		c.with("prevResult", result)
	}
	return c
}

func (t *trial) check(result map[string]any) *call { return t.call("CHECK").with("prevResult", result) }

// link returns a link of a namespace, and nil if there is none.
func (t *trial) link(n *Namespace, name string) *linkState {
	all, err := n.links()
	t.must(err)
	for i := range all {
		if all[i].name == name {
			return &all[i]
		}
	}
	return nil
}

// own returns the link that ADD has made or changed.
func (t *trial) own() *linkState {
	l := t.link(t.box(), t.x.target.Profile.ifName())
	if l == nil {
		t.na("ADD makes no link %s", t.x.target.Profile.ifName())
	}
	return l
}

// creates ends the check unless the plugin makes the interface of the container.
func (t *trial) creates() {
	if t.x.target.Profile.Existing {
		t.na("the profile says that the interface is there already")
	}
}

func (t *trial) linkNames(n *Namespace) []string {
	all, err := n.links()
	t.must(err)
	var names []string
	for _, l := range all {
		names = append(names, l.name)
	}
	return names
}

// list returns the objects of an array in a JSON object.
func list(object map[string]any, key string) []map[string]any {
	array, ok := object[key].([]any)
	if !ok {
		return nil
	}
	var all []map[string]any
	for _, entry := range array {
		if e, ok := entry.(map[string]any); ok {
			all = append(all, e)
		}
	}
	return all
}

// sandboxed returns the names of the interfaces that a result places in a container.
func (t *trial) sandboxed(s *Step) []string {
	object, _ := s.object()
	var names []string
	for _, i := range list(object, "interfaces") {
		if sandbox, _ := i["sandbox"].(string); sandbox != "" {
			names = append(names, fmt.Sprint(i["name"]))
		}
	}
	return names
}

// integer returns a JSON number without a fraction.
func integer(value any) (int64, bool) {
	number, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := number.Int64()
	return n, err == nil
}

// addresses returns the addresses of a result, of whatever version.
func addresses(object map[string]any) []string {
	var all []string
	for _, entry := range list(object, "ips") {
		all = append(all, fmt.Sprint(entry["address"]))
	}
	for _, key := range []string{"ip4", "ip6"} {
		if block, ok := object[key].(map[string]any); ok {
			all = append(all, fmt.Sprint(block["ip"]))
		}
	}
	return all
}

// killed ends ADD at several points and checks that DEL cleans up after it.
func (t *trial) killed() {
	t.warm()
	before := t.states()
	begin := time.Now()
	t.works(t.call("ADD"), "ADD")
	whole := time.Since(begin)
	t.works(t.call("DEL"), "DEL")
	const points = 8
	for i := range points {
		t.steps = append(t.steps, t.execute(t.call("ADD"), func(p *os.Process) {
			time.Sleep(whole * time.Duration(i) / points)
			_ = killGroup(p) // which may have ended
		}))
		if s := t.run(t.call("DEL")); s.failed() {
			t.fail("DEL after an ADD that was killed: %s", s.summary())
		}
		if diff := Diff(before, t.states()); diff != "" {
			t.fail("killed after %v of %v, ADD and then DEL leave:\n%s", (whole * time.Duration(i) / points).Round(time.Microsecond), whole.Round(time.Microsecond), diff)
			return
		}
	}
}

// prefix reads an address with its length.
func prefix(text any) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(fmt.Sprint(text))
	return p, err == nil
}

// same reports whether two JSON values are equal, whatever the order of members.
func same(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// has reports whether a list of JSON objects has one that is equal to want in all of
// want's members.
func has(all []map[string]any, want map[string]any) bool {
	return slices.ContainsFunc(all, func(entry map[string]any) bool {
		for key, value := range want {
			if !same(entry[key], value) {
				return false
			}
		}
		return true
	})
}

func removeAll(files []string) error {
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

func writeEmpty(file string) error { return os.WriteFile(file, nil, 0o600) }

// removeState removes what a plugin keeps in the directory of the case, as a reboot
// does with a file system in memory.
func removeState(dir string) error { return os.RemoveAll(filepath.Join(dir, "data")) }
