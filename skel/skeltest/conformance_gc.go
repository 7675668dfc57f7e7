// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

func gcChecks() []check {
	stateful := []Kind{KindInterface, KindIPAM}
	gc := func(t *trial, valid any) *call {
		return t.call("GC").with("cni.dev/valid-attachments", valid).with("cni.dev/attachments", valid)
	}
	// collects checks that GC, by the request of f, removes what belongs to one of two
	// attachments and leaves the other.
	collects := func(id string, f func(t *trial, valid any) *call) check {
		return check{id: id, needs: needPlainAdd, kinds: stateful, run: func(t *trial) {
			one, both := t.two()
			if one == both {
				t.na("an attachment leaves nothing outside of its container")
			}
			t.works(gc(t, t.valid(0)), "GC")
			if id != "GC-005" && t.states() != one {
				t.na("GC does not remove what is stale, which GC-005 judges")
			}
			t.works(t.call("DEL").named(t.container(1), ""), "DEL")
			t.second()
			t.accepts(f(t, t.valid(0)), "GC")
			if diff := Diff(one, t.states()); diff != "" {
				t.fail("GC with one of two attachments valid: this differs from the state with that one alone:\n%s", diff)
			}
		}}
	}
	// harmless checks that GC, by the request of f, removes nothing.
	harmless := func(id, what string, refused bool, f func(t *trial) *call) check {
		return check{id: id, needs: needPlainAdd, kinds: stateful, run: func(t *trial) {
			t.warm()
			t.works(t.call("ADD"), "ADD")
			before := t.states()
			if s := t.run(f(t)); refused && !s.failed() {
				t.fail("%s: accepted: %s", what, s.summary())
			} else if refused {
				t.wantCode(s, what, types.ErrInvalidNetworkConfig, types.ErrDecodingFailure)
			}
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("%s changes:\n%s", what, diff)
			}
			t.run(t.call("DEL"))
		}}
	}
	// empties checks that GC with nothing valid leaves nothing.
	empties := func(id string, valid any) check {
		return check{id: id, needs: needPlainAdd, kinds: stateful, run: func(t *trial) {
			t.warm()
			before := t.states()
			t.works(t.call("ADD"), "ADD")
			t.abandon()
			if t.states() == before {
				t.na("an attachment leaves nothing outside of its container")
			}
			t.collected(before, gc(t, t.valid(7)))
			t.accepts(gc(t, valid), fmt.Sprintf("GC with %v valid", valid))
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("GC with %v valid leaves:\n%s", valid, diff)
			}
		}}
	}
	return []check{
		collects("GC-002", func(t *trial, valid any) *call { return gc(t, valid).without("cni.dev/attachments") }),
		collects("GC-003", func(t *trial, valid any) *call { return gc(t, valid).without("cni.dev/valid-attachments") }),
		collects("GC-005", gc),
		{id: "GC-006", needs: needPlainAdd, kinds: stateful, run: func(t *trial) {
			t.warm()
			result := t.added()
			before := t.states()
			t.run(gc(t, t.valid(0)))
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("GC touches an attachment that is valid:\n%s", diff)
			}
			t.accepts(t.check(result), "CHECK of a valid attachment after GC")
			t.run(t.call("DEL"))
		}},
		harmless("GC-007", "GC of another network", false, func(t *trial) *call { return gc(t, []any{}).with("name", "conformance-b") }),
		{id: "GC-009", needs: needDelegate, kinds: []Kind{KindInterface}, run: func(t *trial) {
			one, both := t.two()
			if one == both {
				t.na("an attachment leaves nothing outside of its container")
			}
			t.delegateFails(types.CommandGC)
			t.run(gc(t, t.valid(0)))
			if diff := Diff(one, t.states()); diff != "" {
				t.fail("GC when that of the IPAM plugin fails leaves:\n%s", diff)
			}
		}},
		{id: "GC-009", needs: needPlainAdd, kinds: []Kind{KindIPAM}, run: func(t *trial) { t.obstructed(gc(t, t.valid(0))) }},
		{id: "GC-010", run: func(t *trial) { t.accepts(gc(t, []any{}), "GC with nothing stale") }},
		{id: "GC-011", needs: needDelegate, run: func(t *trial) {
			t.forward(gc(t, t.valid(0)))
			t.forward(gc(t, []any{}))
		}},
		{id: "GC-012", needs: needDelegate, run: func(t *trial) {
			t.delegateFails(types.CommandGC)
			t.refuses(gc(t, []any{}), "GC when that of the IPAM plugin fails")
		}},
		{id: "GC-017", run: func(t *trial) {
			if s := t.works(gc(t, []any{}), "GC"); len(s.Stdout) > 0 {
				t.fail("GC prints something: %s", s.summary())
			}
		}},
		empties("GC-018", []any{}),
		empties("GC-019", nil),
		harmless("GC-020", "GC without a list", true, func(t *trial) *call {
			return t.call("GC").without("cni.dev/valid-attachments", "cni.dev/attachments")
		}),
		harmless("GC-021", "GC with an object for a list", true, func(t *trial) *call { return gc(t, map[string]any{}) }),
		harmless("GC-021", "GC with texts for attachments", true, func(t *trial) *call { return gc(t, []any{"a"}) }),
		harmless("GC-021", "GC with an attachment without ifname", true, func(t *trial) *call { return gc(t, []any{map[string]any{"containerID": "a"}}) }),
		{id: "GC-021", run: func(t *trial) {
			t.refuses(gc(t, map[string]any{}), "GC with an object for a list")
			t.refuses(gc(t, []any{"a"}), "GC with texts for attachments")
			t.refuses(gc(t, []any{map[string]any{"containerID": "a"}}), "GC with an attachment without ifname")
		}},
		{id: "GC-022", needs: needPlainAdd, kinds: stateful, run: func(t *trial) {
			t.warm()
			before := t.states()
			t.works(t.call("ADD"), "ADD")
			t.abandon()
			if t.states() == before {
				t.na("an attachment leaves nothing outside of its container")
			}
			t.collected(before, gc(t, t.valid(7)))
			t.works(gc(t, []any{map[string]any{"containerID": t.container(0), "ifname": "other0"}}), "GC")
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("an attachment of the same container with another interface protects:\n%s", diff)
			}
		}},
		{id: "GC-023", run: func(t *trial) {
			t.accepts(gc(t, []any{map[string]any{"containerID": "never-seen", "ifname": "eth7"}}), "GC with an attachment that never was")
		}},
		{id: "GC-024", run: func(t *trial) {
			t.works(gc(t, []any{}), "GC")
			t.accepts(gc(t, []any{}), "a second GC")
		}},
		{id: "GC-026", needs: needPlainAdd, kinds: stateful, run: func(t *trial) {
			t.works(t.call("ADD"), "ADD")
			foreign := t.foreign()
			if len(foreign) == 0 {
				t.na("it keeps nothing in its directory")
			}
			t.run(gc(t, []any{}))
			for _, path := range foreign {
				if _, err := os.Lstat(path); err != nil {
					t.fail("GC removes %s, which the plugin has not made", strings.TrimPrefix(path, t.dir))
				}
			}
			t.run(t.call("DEL"))
		}},
		{id: "GC-028", needs: needPlainAdd, kinds: stateful, once: true, run: func(t *trial) {
			t.works(t.check(t.readable()), "CHECK after ADD")
			t.works(t.call("DEL"), "DEL")
			const n = 4
			add := t.crowded(n)
			var valid []any
			for i := range n {
				valid = append(valid, map[string]any{"containerID": add(i).env["CNI_CONTAINERID"], "ifname": t.x.target.Profile.ifName()})
			}
			for range 3 {
				steps := t.parallel(n+1, func(i int) *call {
					if i == n {
						return gc(t, valid)
					}
					return add(i)
				})
				for i, s := range steps[:n] {
					if result, err := s.object(); err == nil && !s.failed() {
						c := add(i).set("CNI_COMMAND", "CHECK").with("prevResult", result)
						t.accepts(c, "CHECK of what was attached while GC ran")
					}
					t.works(add(i).set("CNI_COMMAND", "DEL").without("prevResult"), "DEL")
				}
			}
		}},
	}
}

// valid is the list of valid attachments with one container.
func (t *trial) valid(i int) []any {
	return []any{map[string]any{"containerID": t.container(i), "ifname": t.x.target.Profile.ifName()}}
}

// collected ends the check unless GC removes an attachment that is not among those of
// the request, and makes it again.
func (t *trial) collected(before Snapshot, c *call) {
	t.works(c, "GC")
	if t.states() != before {
		t.na("GC does not remove what is stale, which GC-005 judges")
	}
	t.works(t.call("DEL"), "DEL")
	t.works(t.call("ADD"), "ADD")
	t.abandon()
}

// abandon takes the container's interface away, as its end does. What an attachment
// leaves outside of the container is what GC is for.
func (t *trial) abandon() {
	t.reset()
	if t.x.target.Profile.Kind == KindInterface && !t.x.target.Profile.Existing {
		t.must(t.box().delLink(t.x.target.Profile.ifName(), ""))
	}
}

// two makes two attachments, the second in a container that has ended, and returns
// the state with the first alone and with both.
func (t *trial) two() (one, both Snapshot) {
	t.warm()
	t.works(t.call("ADD"), "ADD")
	one = t.states()
	t.second()
	return one, t.states()
}

// second makes a second attachment, in a container that has ended.
func (t *trial) second() {
	ns := t.netns()
	kernel := t.x.target.Profile.Kind == KindInterface
	var n *Namespace
	if kernel {
		n = t.another()
		ns = n.Path()
		t.must(t.answer(t.container(1), netip.MustParsePrefix("10.88.0.3/24"), testGateway))
	}
	t.works(t.call("ADD").named(t.container(1), ns), "ADD of a second container")
	if kernel && slices.Contains(t.linkNames(n), t.x.target.Profile.ifName()) && !t.x.target.Profile.Existing {
		t.must(n.delLink(t.x.target.Profile.ifName(), ""))
	}
}

// foreign puts files into each directory in which the plugin keeps files, as another
// program may, and returns their paths: one of another name, and one that looks like a
// record and cannot be read.
func (t *trial) foreign() (paths []string) {
	dirs := map[string]string{}
	t.must(filepath.WalkDir(filepath.Join(t.dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			dirs[filepath.Dir(path)] = path
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}))
	for dir := range dirs {
		for _, name := range []string{"cnitest-foreign", "10.88.0.200"} {
			path := filepath.Join(dir, name)
			t.must(os.WriteFile(path, []byte("no record\nof any plugin\nthat there is\n"), 0o600))
			paths = append(paths, path)
		}
	}
	return paths
}

// obstructed checks that a GC which cannot remove one of two reservations removes the
// other.
func (t *trial) obstructed(c *call) {
	t.warm()
	t.works(t.call("ADD"), "ADD")
	var files [2][]string
	for i := range files {
		before := t.files()
		t.works(t.call("ADD").set("CNI_CONTAINERID", t.container(i+1)), "ADD of another container")
		files[i] = slices.DeleteFunc(t.files(), func(path string) bool { return slices.Contains(before, path) })
	}
	if len(files[0]) == 0 || len(files[1]) == 0 {
		t.na("an attachment leaves no file of its own")
	}
	for _, path := range files[0] {
		t.must(os.Remove(path))
		t.must(os.MkdirAll(filepath.Join(path, "full"), 0o755))
	}
	t.run(c)
	for _, path := range files[1] {
		if _, err := os.Lstat(path); err == nil {
			t.fail("GC cannot remove one reservation and does not go on to the other, %s", strings.TrimPrefix(path, t.dir))
		}
	}
}

// files returns the paths of the files that the plugin keeps, without hidden ones: an
// index beside the records may be behind them.
func (t *trial) files() (paths []string) {
	snapshot, err := SnapshotDir(filepath.Join(t.dir, "data"))
	t.must(err)
	for line := range strings.Lines(string(snapshot)) {
		if name := strings.TrimSpace(strings.TrimPrefix(line, "file ")); !strings.HasSuffix(name, "/") && !strings.Contains("/"+name, "/.") {
			paths = append(paths, filepath.Join(t.dir, "data", name))
		}
	}
	return paths
}
