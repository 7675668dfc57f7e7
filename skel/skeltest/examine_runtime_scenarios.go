// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cnikit/cnikit/types"
)

// drivenRules are the rules that [ExamineRuntime] judges and [Recorder.Examine] does not.
var drivenRules = set(`CONF-003 CONF-007 CONF-010 CONF-013 CONF-014 CONF-016 CONF-017 CONF-018 CONF-020 CONF-021 CONF-022 CONF-023
	CONF-024 CONF-025 CONF-026 CONF-027 CONF-028 CONF-042 CONF-043 PROTO-002 PROTO-003 PROTO-004 PROTO-026 CHAIN-027 CHAIN-029 RES-037 RES-043 RES-044
	ERR-017 ERR-023 ERR-024 ERR-029 CACHE-001 CACHE-002 CACHE-006 CACHE-007 CACHE-009 CACHE-010 CACHE-014`)

// scenarios are all stories.
func scenarios() []scenario {
	return []scenario{
		{name: "a life", since: types.V010, play: life},
		{name: "ADD fails", since: types.V030, play: addFails},
		{name: "DEL fails", since: types.V040, play: delFails},
		{name: "ADD is to be tried again", play: addTriedAgain},
		{name: "CHECK fails", since: types.V040, play: checkFails},
		{name: "CHECK of what is not attached", play: checkNothing},
		{name: "too old for CHECK, STATUS and GC", since: types.V031, until: types.V031, play: tooOld},
		{name: "switched off", play: switchedOff},
		{name: "switched off, in words", play: switchedOffInWords},
		{name: "STATUS fails", play: statusFails},
		{name: "GC", play: collect},
		{name: "GC fails", play: collectFails},
		{name: "at once", play: atOnce},
		{name: "a choice of versions", play: choice},
		{name: "another version at DEL", play: newVersion},
		{name: "a restart", play: restart},
		{name: "GC after a restart", play: collectAfterRestart},
		{name: "a plugin without VERSION", play: withoutVersion},
		{name: "a plugin with VERSION of 0.2.0", play: oldVersion},
		{name: "names that look alike", play: lookAlike},
		{name: "a cache that nobody can read", play: spoiled, blind: true},
		{name: "a cache that nobody can write", play: blocked, blind: true},
		{name: "the folder of a network", play: folder},
		{name: "only what is inlined", play: inlined},
		{name: "files that do not load", play: refusals, blind: true},
		{name: "files beside", play: beside, blind: true},
		{name: "directories of plugins", play: directories},
		{name: "results", play: odd, blind: true},
		{name: "errors", play: oddErrors, blind: true},
	}
}

// oddMembers are members that an entry may have by mistake or for the plugin's own use.
const oddMembers = `,"name":"other","cniVersion":"0.3.1","prevResult":{"cniVersion":"0.4.0","ips":[]},"cni.dev/foo":1,
	"x":{"big":9007199254740993,"null":null,"list":[],"text":"ä\u0001","float":-1.50,"deep":{"a":{}}}`

// life is an attachment as it should be, twice.
func life(d *drive) {
	d.list("", oddMembers+`,"capabilities":{"mac":true,"ips":false,"portMappings":true}`, `,"capabilities":{"portMappings":true}`)
	if d.v < types.V030 {
		d.list("", `,"x":{"big":9007199254740993,"null":null,"list":[],"text":"ä"}`)
	}
	a := d.container(0)
	a.Args = "IgnoreUnknown=1;K8S_POD_NAME=web-0"
	a.Capabilities = rawCapabilities("mac", `"02:00:00:00:00:07"`, "ips", `["10.1.0.9/16"]`,
		"portMappings", `[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`, "org.example.other", `1`)
	if d.v >= types.V110 {
		d.works(d.runtime.Status(d.ctx, "net"), "STA-016", "STATUS")
	}
	for range 2 {
		result, err := d.add(a)
		d.works(err, "ADD-016", "ADD")
		if last := d.last(d.lastPlugin(), types.CommandAdd); last != nil && err == nil {
			d.that(sameResult(last.Stdout, any(decoded(result)), d.v), "CHAIN-027", "the caller gets %s, and the last plugin said %s", short(result), short(last.Stdout))
		}
		if d.v >= types.V040 {
			d.works(d.check(a), "CHK-020", "CHECK")
			d.that(d.count(types.CommandCheck) > 0, "CONF-013", "without disableCheck, no CHECK is sent")
		}
		d.works(d.del(a), "DEL-018", "DEL")
		d.works(d.del(a), "DEL-018", "a second DEL")
	}
	d.wantCapabilities()
}

func (d *drive) lastPlugin() string {
	if d.v < types.V030 {
		return "one"
	}
	return "three"
}

// wantCapabilities judges that each plugin got all it declared.
func (d *drive) wantCapabilities() {
	want := map[string][]string{"one": {"mac", "portMappings"}, "two": {"portMappings"}}
	if d.v < types.V030 {
		return
	}
	for _, r := range d.records() {
		if r.Command != types.CommandAdd {
			continue
		}
		object, _ := r.object()["runtimeConfig"].(map[string]any)
		for _, key := range want[r.Plugin] {
			_, has := object[key]
			d.expect(has, "CHAIN-006", d.v, []*Record{&r}, "runtimeConfig of plugin %s lacks %s", r.Plugin, key)
		}
	}
}

func addFails(d *drive) {
	d.list("")
	d.breaks("two", types.CommandAdd)
	_, err := d.add(d.container(0))
	d.tells(err, "ADD-016", "ADD")
}

// addTriedAgain has a plugin that asks to be tried again later. Callers do that, and the
// runtime has to let them. That they are told of the error is for other stories.
func addTriedAgain(d *drive) {
	d.list("")
	d.answer("two", types.CommandAdd, Answer{Stdout: `{"cniVersion":"VERSION","code":11,"msg":"` + toldToFail + `"}`, Exit: 1})
	if _, err := d.add(d.container(0)); err == nil {
		return
	}
	d.must(errors.Join(d.recorder.Revert("two", types.CommandAdd), d.recorder.Forget()))
	_, err := d.add(d.container(0))
	d.works(err, "ERR-017", "ADD after one that was to be tried again")
	d.works(d.del(d.container(0)), "DEL-018", "DEL")
}

func delFails(d *drive) {
	d.list("")
	a := d.container(0)
	_, err := d.add(a)
	d.works(err, "ADD-016", "ADD")
	d.breaks("two", types.CommandDel)
	d.tells(d.del(a), "DEL-021", "DEL")
	d.must(d.recorder.Revert("two", types.CommandDel))
	d.works(d.del(a), "DEL-021", "DEL once the plugin works")
}

func checkFails(d *drive) {
	d.list("")
	a := d.container(0)
	_, err := d.add(a)
	d.works(err, "ADD-016", "ADD")
	d.breaks("two", types.CommandCheck)
	d.tells(d.check(a), "CHK-020", "CHECK")
	d.works(d.del(a), "DEL-018", "DEL")
}

// checkNothing asks for CHECK before ADD and after DEL.
func checkNothing(d *drive) {
	d.list("")
	a, other := d.container(0), d.container(1)
	_, err := d.add(a)
	d.works(err, "ADD-016", "ADD")
	d.that(d.check(other) != nil, "CHK-003", "CHECK of a container that never was attached succeeds")
	d.works(d.del(a), "DEL-018", "DEL")
	d.that(d.check(a) != nil, "CHK-003", "CHECK after DEL succeeds")
	d.that(d.count(types.CommandCheck) == 0, "CHK-016", "CHECK is sent for what is not attached")
}

func tooOld(d *drive) {
	d.list("")
	a := d.container(0)
	_, err := d.add(a)
	d.works(err, "ADD-016", "ADD")
	d.that(d.check(a) != nil, "CHK-024", "CHECK of a list of version %s succeeds", d.v)
	d.works(d.runtime.Status(d.ctx, "net"), "STA-015", "STATUS of a list of version "+d.v.String())
	d.works(d.del(a), "DEL-018", "DEL")
}

func switchedOff(d *drive) {
	d.list(`,"disableCheck":true,"disableGC":true`)
	d.off("CHK-017", "CONF-015")
}

func switchedOffInWords(d *drive) {
	d.list(`,"disableCheck":"TRUE","disableGC":"false"`)
	if _, err := d.add(d.container(0)); err != nil {
		d.works(err, "CONF-014", "ADD of a list with a boolean in words")
		return
	}
	d.works(d.check(d.container(0)), "CONF-014", "CHECK")
	d.that(d.count(types.CommandCheck) == 0, "CONF-014", "CHECK is sent, with disableCheck in words")
	d.works(d.gc(d.container(0)), "CONF-014", "GC")
	d.that(d.count(types.CommandGC) > 0, "CONF-014", "GC is not sent, with disableGC false in words")
	d.works(d.del(d.container(0)), "DEL-018", "DEL")
}

// off judges a list with disableCheck and disableGC.
func (d *drive) off(check, gc string) {
	a := d.container(0)
	_, err := d.add(a)
	d.works(err, "ADD-016", "ADD")
	d.works(d.check(a), check, "CHECK")
	d.that(d.count(types.CommandCheck) == 0, check, "CHECK is sent, with disableCheck")
	d.works(d.gc(), gc, "GC")
	d.that(d.count(types.CommandGC)+d.count(types.CommandDel) == 0, gc, "GC or DEL is sent, with disableGC")
	d.works(d.del(a), "DEL-018", "DEL")
}

func statusFails(d *drive) {
	d.list("")
	d.breaks("two", types.CommandStatus)
	d.tells(d.runtime.Status(d.ctx, "net"), "STA-016", "STATUS")
}

// collect leaves one of two attachments.
func collect(d *drive) {
	d.list("", `,"cni.dev/foo":1`)
	for i := range 2 {
		_, err := d.add(d.container(i))
		d.works(err, "ADD-016", "ADD")
	}
	d.works(d.gc(d.container(0)), "GC-014", "GC")
	r := d.last("one", types.CommandGC)
	if r == nil {
		d.that(false, "GC-014", "GC is not sent")
		return
	}
	want := []any{map[string]any{"containerID": "c1", "ifname": "eth0"}}
	if valid, has := r.object()["cni.dev/valid-attachments"]; has {
		d.expect(sameJSON(valid, want), "GC-001", d.v, []*Record{r}, "the valid attachments are %s, want %s", asJSON(valid), asJSON(want))
	}
	d.works(d.check(d.container(0)), "CHK-020", "CHECK of the valid attachment after GC")
	d.works(d.gc(), "GC-014", "GC of all")
}

func collectFails(d *drive) {
	d.list("")
	d.breaks("one", types.CommandGC)
	d.tells(d.gc(), "GC-014", "GC")
	d.that(d.last("three", types.CommandGC) != nil, "GC-014", "after the error of the first plugin, GC does not reach the last one")
}

// atOnce starts what may not run at once.
func atOnce(d *drive) {
	d.list("")
	d.write("20-net2.conflist", `{"cniVersion":"1.1.0","name":"net2","plugins":[{"type":"one"}]}`)
	for _, second := range []func(){
		func() { _ = d.gc(d.container(0)) }, // nor are the results of these
		func() {
			a := d.container(0)
			a.IfName = "eth1"
			_, _ = d.runtime.Add(d.ctx, "net2", a)
		},
	} {
		before := d.count(types.CommandAdd)
		d.answer("two", types.CommandAdd, Answer{Sleep: d.patience, Stdout: `{"cniVersion":"VERSION"}`})
		added := make(chan struct{})
		go func() {
			defer close(added)
			_, _ = d.add(d.container(0)) // what it gives is not the matter here
		}()
		d.awaitAdd(before+2, added)
		second()
		<-added
		d.must(d.recorder.Revert("two", types.CommandAdd))
		_ = d.del(d.container(0))
	}
}

// awaitAdd returns when so many executions of ADD have begun, or when ADD has returned.
func (d *drive) awaitAdd(n int, added <-chan struct{}) {
	for d.count(types.CommandAdd) < n {
		select {
		case <-added:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// choice offers several versions.
func choice(d *drive) {
	d.write("10-net.conflist", `{"cniVersion":"0.4.0","cniVersions":["0.3.1","1.1.0","99.0.0","1.0.0"],"name":"net","plugins":[{"type":"one"},{"type":"two"}]}`)
	_, err := d.add(d.container(0))
	d.works(err, "CONF-004", "ADD of a list with a choice of versions")
	d.works(d.del(d.container(0)), "CONF-004", "DEL of a list with a choice of versions")
}

// newVersion changes the version of the list between ADD and DEL.
func newVersion(d *drive) {
	d.v = types.V040
	d.list("")
	_, err := d.add(d.container(0))
	d.works(err, "ADD-016", "ADD")
	d.v = types.V110
	d.list("")
	d.start()
	d.works(d.check(d.container(0)), "CHAIN-021", "CHECK in a newer version")
	for _, command := range []types.Command{types.CommandCheck, types.CommandDel} {
		if command == types.CommandDel {
			d.works(d.del(d.container(0)), "CHAIN-021", "DEL in a newer version")
		}
		r := d.last("two", command)
		if r == nil {
			continue
		}
		previous, _ := r.object()["prevResult"].(map[string]any)
		ips, _ := previous["ips"].([]any)
		if len(ips) > 0 {
			first, _ := ips[0].(map[string]any)
			d.expect(first["version"] == nil, "CHAIN-021", d.v, []*Record{r}, "the prevResult of %s has a member of version 0.4.0: %s", command, asJSON(previous))
		}
	}
	d.must(d.recorder.Forget()) // written for two versions, it is judged here
}

// restart ends the process of the runtime between ADD and DEL.
func restart(d *drive) {
	d.list("")
	a := d.container(0)
	a.Args = "IgnoreUnknown=1"
	_, err := d.add(a)
	d.works(err, "ADD-016", "ADD")
	d.start()
	d.works(d.check(a), "CACHE-001", "CHECK after a restart")
	d.start()
	d.works(d.del(a), "CACHE-001", "DEL after a restart")
	d.hasPrevious(d.last("one", types.CommandDel), true, "CACHE-001", "DEL after a restart")
	d.must(d.recorder.Forget()) // what is wrong with it is wrong because of the restart
}

// collectAfterRestart has a runtime detach by GC what another process of it attached, of
// which it knows nothing but what was kept.
func collectAfterRestart(d *drive) {
	d.list("", `,"capabilities":{"mac":true}`)
	a := d.container(0)
	a.Args, a.Capabilities = "IgnoreUnknown=1;K8S_POD_NAME=web-0", rawCapabilities("mac", `"02:00:00:00:00:07"`)
	_, err := d.add(a)
	d.works(err, "ADD-016", "ADD")
	d.private()
	d.start()
	d.works(d.gc(), "CACHE-006", "GC after a restart")
	add, del := d.last("one", types.CommandAdd), d.last("one", types.CommandDel)
	if add != nil && del != nil {
		both := []*Record{add, del}
		key := differs(add, del, "CNI_PATH")
		d.expect(key == "", "CACHE-006", d.v, both, "for a DEL by GC after a restart, %s is %q, and was %q for ADD", key, variable(del.Environ, key), variable(add.Environ, key))
		before, after := add.object()["runtimeConfig"], del.object()["runtimeConfig"]
		d.expect(sameJSON(before, after), "CACHE-006", d.v, both, "for a DEL by GC after a restart, runtimeConfig is %s, and was %s for ADD", asJSON(after), asJSON(before))
	}
	d.must(d.recorder.Forget()) // what is wrong with it is wrong because of the restart
}

// private judges who may read what a runtime keeps, if it keeps it in its directory.
func (d *drive) private() {
	d.must(filepath.WalkDir(d.setup.CacheDir, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			d.that(info.Mode().Perm()&0o077 == 0, "CACHE-010", "%s, which the runtime keeps, has mode %v", filepath.Base(path), info.Mode())
		}
		return err
	}))
}

// withoutVersion has a plugin that does not know VERSION, and one that answers as none
// may.
func withoutVersion(d *drive) {
	d.answersVersion(Answer{Stdout: `{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}`, Exit: 1}, Answer{Exit: 1})
}

// oldVersion has plugins whose answer to VERSION has no list.
func oldVersion(d *drive) {
	d.answersVersion(Answer{Stdout: `{"cniVersion":"0.2.0"}`}, Answer{Stdout: `{"cniVersion":"1.1.0"}`})
}

// answersVersion runs a life with each answer of a plugin to VERSION. What comes of an ADD
// is the runtime's decision.
func (d *drive) answersVersion(answers ...Answer) {
	d.list("")
	for _, a := range answers {
		d.answer("one", types.CommandVersion, a)
		d.start()
		if _, err := d.add(d.container(0)); err == nil {
			d.works(d.del(d.container(0)), "DEL-018", "DEL")
		}
	}
	d.judgeVersions(d.records())
	d.must(d.recorder.Forget()) // which commands are sent is not the matter here
}

// lookAlike has networks and containers whose names give the same when joined.
func lookAlike(d *drive) {
	for _, name := range []string{"a-b", "a"} {
		d.write(name+".conflist", `{"cniVersion":"1.1.0","name":"`+name+`","plugins":[{"type":"one"}]}`)
	}
	first := Attachment{ContainerID: "c", Netns: d.sandboxes[0], IfName: "eth0"}
	second := Attachment{ContainerID: "b-c", Netns: d.sandboxes[1], IfName: "eth0"}
	for network, a := range map[string]Attachment{"a-b": first, "a": second} {
		_, err := d.runtime.Add(d.ctx, network, a)
		d.works(err, "CACHE-002", "ADD")
	}
	d.works(d.runtime.Del(d.ctx, "a-b", first), "CACHE-002", "DEL")
	d.works(d.runtime.Del(d.ctx, "a", second), "CACHE-002", "DEL")
	r := d.last("one", types.CommandDel)
	d.hasPrevious(r, true, "CACHE-002", "DEL of container b-c of network a, after that of container c of network a-b,")
	d.must(d.recorder.Forget()) // the rules about prevResult break with it
}

func spoiled(d *drive) {
	d.list("")
	_, err := d.add(d.container(0))
	d.works(err, "ADD-016", "ADD")
	d.spoilCache()
	d.start()
	d.that(d.check(d.container(0)) != nil, "CACHE-007", "CHECK succeeds with a cache that cannot be read")
	d.works(d.del(d.container(0)), "CACHE-007", "DEL with a cache that cannot be read")
	d.that(d.count(types.CommandDel) == 3, "CACHE-007", "DEL reaches %d of 3 plugins with a cache that cannot be read", d.count(types.CommandDel))
}

func blocked(d *drive) {
	d.list("")
	d.blockCache()
	_, err := d.add(d.container(0))
	d.that(err != nil, "CACHE-009", "ADD succeeds, though its result cannot be kept")
	d.that(d.gc() != nil, "CACHE-014", "GC succeeds, though nobody knows what is attached")
}

// plugins returns the plugins in the order in which they began, for a command.
func (d *drive) plugins(command types.Command) (all []string) {
	for _, r := range d.records() {
		if r.Command == command {
			all = append(all, r.Plugin)
		}
	}
	return all
}

// folder has plugins of a network in files of their own.
func folder(d *drive) {
	d.write("10-net.conflist", `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"one"}]}`)
	d.write("20-other.conflist", `{"cniVersion":"1.1.0","name":"other","plugins":[{"type":"one"}]}`)
	d.write("net/10-b.conf", `{"type":"two"}`)
	d.write("net/05-a.conf", `{"type":"three"}`)
	d.write("net/20-c.json", `{"type":"one","x":1}`)
	d.write("net/sub/30-d.conf", `{"type":"one","x":2}`)
	_, err := d.add(d.container(0))
	d.works(err, "CONF-016", "ADD of a network with a folder")
	got := d.plugins(types.CommandAdd)
	d.that(len(got) > 1 && got[0] == "one", "CONF-016", "ADD reaches %q, want the inlined plugin and then those of the folder", got)
	d.that(slices.Equal(got, []string{"one", "three", "two"}), "CONF-022", "ADD reaches %q, want one, three and two", got)
	d.works(d.del(d.container(0)), "CONF-016", "DEL")
	d.must(d.recorder.Forget())
	_, err = d.runtime.Add(d.ctx, "other", d.container(1))
	d.works(err, "CONF-020", "ADD of another network")
	got = d.plugins(types.CommandAdd)
	d.that(slices.Equal(got, []string{"one"}), "CONF-020", "ADD of a network without a folder reaches %q, want one", got)
	d.works(d.runtime.Del(d.ctx, "other", d.container(1)), "CONF-020", "DEL")
	d.must(d.recorder.Forget())
	d.write("net/40-bad.conf", `{"name":"x"}`)
	d.start()
	_, err = d.add(d.container(0))
	d.that(err != nil, "CONF-021", "a file without type in the folder is passed over")
	d.must(errors.Join(d.recorder.Forget(), os.RemoveAll(filepath.Join(d.setup.ConfDir, "net"))))
}

func inlined(d *drive) {
	d.write("10-net.conflist", `{"cniVersion":"1.1.0","name":"net","loadOnlyInlinedPlugins":true,"plugins":[{"type":"one"}]}`)
	d.write("net/05-a.conf", `{"type":"three"}`)
	_, err := d.add(d.container(0))
	d.works(err, "CONF-017", "ADD with loadOnlyInlinedPlugins")
	got := d.plugins(types.CommandAdd)
	d.that(slices.Equal(got, []string{"one"}), "CONF-017", "with loadOnlyInlinedPlugins, ADD reaches %q", got)
	d.works(d.del(d.container(0)), "CONF-017", "DEL")
}

// refusals are files that a runtime cannot make anything of.
func refusals(d *drive) {
	list := func(top, plugins string) string { return `{"name":"net",` + top + `"plugins":` + plugins + `}` }
	const v, one = `"cniVersion":"1.1.0",`, `[{"type":"one"}]`
	for _, tt := range []struct{ id, what, text string }{
		{"CONF-003", "cniVersions is a string", list(v+`"cniVersions":"1.1.0",`, one)},
		{"CONF-003", "cniVersions has a number", list(v+`"cniVersions":[1],`, one)},
		{"CONF-007", "only an unknown version", list(`"cniVersion":"99.0.0",`, one)},
		{"CONF-014", "disableCheck is yes", list(v+`"disableCheck":"yes",`, one)},
		{"CONF-014", "disableCheck is a number", list(v+`"disableCheck":1,`, one)},
		{"CONF-018", "loadOnlyInlinedPlugins without plugins", `{"cniVersion":"1.1.0","name":"net","loadOnlyInlinedPlugins":true}`},
		{"CONF-023", "no plugins", `{"cniVersion":"1.1.0","name":"net"}`},
		{"CONF-023", "an empty list of plugins", list(v, `[]`)},
		{"CONF-025", "plugins is a string", list(v, `"one"`)},
		{"CONF-025", "plugins is an object", list(v, `{"type":"one"}`)},
		{"CONF-026", "a plugin without type", list(v, `[{"x":1}]`)},
		{"CONF-026", "the type is a number", list(v, `[{"type":1}]`)},
		{"CONF-027", "the type is a path", list(v, `[{"type":"../bin/one"}]`)},
		{"CONF-027", "the type is an absolute path", list(v, `[{"type":"`+d.setup.Path[0]+`/one"}]`)},
		{"CONF-028", "a capability is a string", list(v, `[{"type":"one","capabilities":{"mac":"yes"}}]`)},
		{"PROTO-003", "no such executable", list(v, `[{"type":"four"}]`)},
	} {
		d.must(d.recorder.Forget())
		d.write("10-net.conflist", tt.text)
		d.start()
		_, err := d.add(d.container(0))
		d.that(err != nil, tt.id, "%s: ADD succeeds", tt.what)
		d.that(d.count(types.CommandAdd) == 0 || err == nil, tt.id, "%s: a plugin is run", tt.what)
	}
	// A folder by a name that leads elsewhere.
	d.write("../elsewhere/a.conf", `{"type":"one"}`)
	d.write("10-net.conflist", `{"cniVersion":"1.1.0","name":"../elsewhere","plugins":[{"type":"two"}]}`)
	d.must(d.recorder.Forget())
	for _, name := range []string{"one", "two"} { // a recorder refuses this name
		d.answer(name, types.CommandAdd, Answer{Stdout: `{"cniVersion":"VERSION"}`})
	}
	d.start()
	_, err := d.runtime.Add(d.ctx, "../elsewhere", d.container(0))
	d.that(err != nil, "CONF-010", "ADD of a network by the name ../elsewhere succeeds")
	d.that(!slices.Contains(d.plugins(types.CommandAdd), "one"), "CONF-024", "the folder ../elsewhere is read")
}

// beside has other files in the directory.
func beside(d *drive) {
	d.write("50-net.conflist", `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"two"}]}`)
	d.write("10-net.conf", `{"cniVersion":"1.1.0","name":"net","type":"one"}`)
	_, err := d.add(d.container(0))
	d.works(err, "CONF-042", "ADD of a network in two files")
	got := d.plugins(types.CommandAdd)
	d.that(slices.Equal(got, []string{"two"}), "CONF-042", "ADD reaches %q, want the plugin of the .conflist", got)
	d.write("00-bad.conflist", `{ this is not JSON`)
	d.start()
	_, err = d.add(d.container(1))
	d.works(err, "CONF-043", "ADD with a broken file of another network beside")
}

// directories has recorders and things of their names.
func directories(d *drive) {
	second := filepath.Join(d.dir, "bin2")
	empty := filepath.Join(d.dir, "bin0")
	d.must(errors.Join(os.MkdirAll(second, 0o755), os.MkdirAll(filepath.Join(empty, "one"), 0o755)))
	other, err := NewRecorder(second, "one", "two", "three")
	d.must(err)
	d.setup.Path = []string{empty, d.setup.Path[0], second}
	d.start()
	d.list("")
	_, err = d.add(d.container(0))
	d.works(err, "PROTO-004", "ADD with a directory of the plugin's name in CNI_PATH")
	records, err := other.Records()
	d.must(err)
	d.that(len(records) == 0, "PROTO-002", "a plugin of the second directory runs, though the first has it")
	if r := d.last("one", types.CommandAdd); r != nil {
		got := filepath.SplitList(variable(r.Environ, "CNI_PATH"))
		d.that(slices.Equal(got, d.setup.Path), "PROTO-026", "CNI_PATH is %q, want %q", got, d.setup.Path)
	}
	d.works(d.del(d.container(0)), "PROTO-004", "DEL")
}

// odd are results that are not as usual.
func odd(d *drive) {
	d.list("")
	for i, tt := range []struct {
		id, stdout string
		bad        bool
	}{
		{"RES-043", `{"cniVersion":"VERSION","ips":[{"address":"10.0.0.2"}]}`, true},
		{"RES-043", `{"cniVersion":"VERSION","ips":[{"address":"10.0.0.2/24","interface":7}]}`, true},
		{"RES-044", `null`, false},
		{"RES-037", `{"cniVersion":"VERSION","ips":[{"address":"10.0.0.2/24","x":1}],"y":{}}`, false},
		{"RES-037", `{"ips":[{"address":"10.0.0.2/24"}]}`, false},
		{"ERR-024", `{"cniVersion":"VERSION","code":7,"msg":"an error, with exit status 0"}`, true},
	} {
		d.answer("three", types.CommandAdd, Answer{Stdout: tt.stdout})
		d.must(d.recorder.Forget())
		_, err := d.add(d.container(i))
		if !tt.bad {
			d.works(err, tt.id, "ADD with the result "+tt.stdout)
			_ = d.del(d.container(i))
			continue
		}
		d.that(err != nil, tt.id, "ADD with the result %s succeeds", tt.stdout)
		if tt.id == "RES-043" {
			d.that(d.count(types.CommandDel) > 0, tt.id, "after the result %s there is no DEL", tt.stdout)
		}
	}
	d.must(d.recorder.Revert("three", types.CommandAdd))
	d.answer("two", types.CommandAdd, Answer{Stdout: `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}]}`})
	d.must(d.recorder.Forget())
	if _, err := d.add(d.container(9)); err == nil {
		if r := d.last("three", types.CommandAdd); r != nil {
			previous, _ := r.object()["prevResult"].(map[string]any)
			d.that(previous["cniVersion"] != "0.4.0", "CHAIN-029", "a result of version 0.4.0 becomes a prevResult of version %s as it is", d.v)
		}
	} else {
		d.tried("CHAIN-029", d.v)
	}
}

// oddErrors are errors that are not as usual.
func oddErrors(d *drive) {
	d.list("")
	for i, tt := range []struct {
		id, say string
		a       Answer
	}{
		{"ERR-023", "", Answer{Exit: 3}},
		{"ERR-023", "some text", Answer{Exit: 1, Stdout: "some text"}},
		{"ERR-023", "on standard error", Answer{Exit: 1, Stderr: "on standard error"}},
		{"ERR-029", "", Answer{Exit: 1, Stdout: `{"code":7}`}},
		{"ERR-029", "odd", Answer{Exit: 1, Stdout: `{"code":7,"msg":"odd","x":[1]}`}},
	} {
		d.answer("three", types.CommandAdd, tt.a)
		_, err := d.add(d.container(i))
		d.that(err != nil, tt.id, "ADD succeeds, though the plugin failed with %+v", tt.a)
		if err != nil {
			d.that(containsFold(err.Error(), tt.say), tt.id, "the error %q does not say %q", err, tt.say)
		}
	}
}
