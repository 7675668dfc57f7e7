// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cnikit/cnikit/types"
)

// RuntimeDriver does with a runtime what its callers do. Networks go by their names in
// the directory of configurations.
type RuntimeDriver interface {
	// Add attaches a container and returns the final result in JSON, in the version of
	// the network. A runtime that leaves the DEL after a failed ADD to its callers has it
	// here.
	Add(ctx context.Context, network string, a Attachment) (result []byte, err error)
	// Check, Del, GC and Status are the other operations.
	Check(ctx context.Context, network string, a Attachment) error
	Del(ctx context.Context, network string, a Attachment) error
	GC(ctx context.Context, network string, valid []types.Attachment) error
	Status(ctx context.Context, network string) error
}

// RuntimeSetup is what a runtime that is examined finds on its node.
type RuntimeSetup struct {
	// Path are the directories with the plugins, which are recorders.
	Path []string
	// ConfDir is the directory with the configurations of networks.
	ConfDir string
	// CacheDir is a directory of the runtime's own. It may be missing.
	CacheDir string
}

// ExamineRuntime runs a runtime through every rule of the checklist that binds runtimes
// and shows in what plugins are sent and what callers get, at every version. The
// function opens the runtime as after a start of its process; it is called several times
// on one setup, and for several setups.
//
// The plugins are the running program by other names; see [Recorder]. Of the options,
// only Only counts. It fails only where the examination could not be made.
func ExamineRuntime(ctx context.Context, open func(RuntimeSetup) (RuntimeDriver, error), o ExamineOptions) (*Report, error) {
	x := runtimeExaminer{open: open, patience: 400 * time.Millisecond, namespaces: true}
	return x.examine(ctx, o)
}

// A runtimeExaminer examines one runtime.
type runtimeExaminer struct {
	open func(RuntimeSetup) (RuntimeDriver, error)
	// patience is how long a recorder waits for what may not begin.
	patience time.Duration
	// namespaces says that containers have namespaces, and not just files.
	namespaces bool
	// versions are those to examine. Nil: all.
	versions []types.Version
}

func (x *runtimeExaminer) examine(ctx context.Context, o ExamineOptions) (*Report, error) {
	l := newLedger()
	dir, err := os.MkdirTemp("", "cnitest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	sandboxes, closeSandboxes, err := newSandboxes(dir, x.namespaces)
	if err != nil {
		return nil, err
	}
	defer closeSandboxes()
	for i, s := range scenarios() {
		for _, v := range s.versions() {
			if len(x.versions) > 0 && !slices.Contains(x.versions, v) {
				continue
			}
			d := &drive{ledger: l, ctx: ctx, patience: x.patience, v: v, open: x.open, sandboxes: sandboxes, dir: filepath.Join(dir, fmt.Sprint(i, "-", v))}
			if err := d.play(s); err != nil {
				return nil, fmt.Errorf("%s, version %s: %w", s.name, v, err)
			}
		}
	}
	r := l.report()
	if len(o.Only) > 0 {
		r.Outcomes = slices.DeleteFunc(r.Outcomes, func(out Outcome) bool {
			return !slices.Contains(o.Only, out.Rule.ID) && !slices.Contains(o.Only, out.Rule.Group())
		})
	}
	return r, ctx.Err()
}

// newSandboxes makes namespaces for two containers, or files where there are none to be
// had: a recorder does not enter them.
func newSandboxes(dir string, namespaces bool) (paths []string, closeAll func(), err error) {
	var open []*Namespace
	closeAll = func() {
		for _, n := range open {
			_ = n.Close() // it ends with the process at the latest
		}
	}
	for i := range 2 {
		path := filepath.Join(dir, fmt.Sprint("netns", i))
		paths = append(paths, path)
		if namespaces {
			if n, err := NewNamespace(); err == nil {
				open = append(open, n)
				paths[i] = n.Path()
				continue
			}
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return nil, closeAll, err
		}
	}
	return paths, closeAll, nil
}

// A scenario is a story with a runtime in it.
type scenario struct {
	name string
	// since and until bound its versions; the newest alone if both are zero.
	since, until types.Version
	play         func(*drive)
	// blind says that the rules of [Recorder.Examine] are not judged: the story is odd.
	blind bool
}

func (s scenario) versions() []types.Version {
	if s.since == 0 {
		return []types.Version{types.Newest}
	}
	return slices.DeleteFunc(types.Versions(), func(v types.Version) bool { return v < s.since || s.until != 0 && v > s.until })
}

// A drive is a scenario on its way.
type drive struct {
	*ledger
	ctx       context.Context
	v         types.Version
	dir       string
	open      func(RuntimeSetup) (RuntimeDriver, error)
	sandboxes []string
	patience  time.Duration
	recorder  *Recorder
	setup     RuntimeSetup
	runtime   RuntimeDriver
}

// errDrive ends a scenario on an error of the kit's own.
type errDrive struct{ error }

// must panics with an error of the kit's own, which play returns.
func (d *drive) must(err error) {
	if err != nil {
		panic(errDrive{err})
	}
}

func (d *drive) play(s scenario) (err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case errDrive:
			err = e.error
		default:
			panic(e)
		}
	}()
	d.setup = RuntimeSetup{ConfDir: d.dir + "/net.d", CacheDir: d.dir + "/cache", Path: []string{d.dir + "/bin"}}
	d.must(errors.Join(os.MkdirAll(d.setup.ConfDir, 0o755), os.MkdirAll(d.setup.Path[0], 0o755)))
	d.recorder, err = NewRecorder(d.setup.Path[0], "one", "two", "three")
	d.must(err)
	d.start()
	s.play(d)
	if s.blind {
		return nil
	}
	var networks []*types.Network
	all, err := types.LoadNetworks(d.setup.ConfDir)
	d.must(err)
	networks = append(networks, all...)
	d.judge(networks, []string{"one", "two", "three"}, d.records())
	return nil
}

// start starts the runtime, again perhaps.
func (d *drive) start() {
	var err error
	d.runtime, err = d.open(d.setup)
	d.must(err)
}

// write writes a file of a network.
func (d *drive) write(name, text string) {
	path := filepath.Join(d.setup.ConfDir, name)
	d.must(errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)))
}

// listText is a network of the recorders one, two and three, with members at its top and
// in its entries. Versions before lists have a file of the first alone.
func (d *drive) listText(top string, entries ...string) string {
	entry := func(i int) string {
		if i < len(entries) {
			return entries[i]
		}
		return ""
	}
	if d.v < types.V030 {
		return fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"one"%s%s}`, d.v, top, entry(0))
	}
	var plugins []string
	for i, name := range []string{"one", "two", "three"} {
		plugins = append(plugins, fmt.Sprintf(`{"type":%q%s}`, name, entry(i)))
	}
	return fmt.Sprintf(`{"cniVersion":%q,"name":"net"%s,"plugins":[%s]}`, d.v, top, strings.Join(plugins, ","))
}

// list writes that network.
func (d *drive) list(top string, entries ...string) {
	name := "10-net.conflist"
	if d.v < types.V030 {
		name = "10-net.conf"
	}
	d.write(name, d.listText(top, entries...))
}

// container is the i-th container, from 0 on.
func (d *drive) container(i int) Attachment {
	return Attachment{ContainerID: fmt.Sprint("c", i+1), Netns: d.sandboxes[i%len(d.sandboxes)], IfName: "eth0"}
}

func (d *drive) add(a Attachment) ([]byte, error) { return d.runtime.Add(d.ctx, "net", a) }
func (d *drive) check(a Attachment) error         { return d.runtime.Check(d.ctx, "net", a) }
func (d *drive) del(a Attachment) error           { return d.runtime.Del(d.ctx, "net", a) }
func (d *drive) gc(valid ...Attachment) error {
	list := []types.Attachment{}
	for _, a := range valid {
		list = append(list, types.Attachment{ContainerID: a.ContainerID, IfName: a.IfName})
	}
	return d.runtime.GC(d.ctx, "net", list)
}

func (d *drive) records() []Record {
	all, err := d.recorder.Records()
	d.must(err)
	return all
}

// last returns the last record of a plugin and command, and nil if there is none.
func (d *drive) last(plugin string, command types.Command) *Record {
	for _, r := range slices.Backward(d.records()) {
		if r.Plugin == plugin && r.Command == command {
			return &r
		}
	}
	return nil
}

// count counts the executions of a command.
func (d *drive) count(command types.Command) (n int) {
	for _, r := range d.records() {
		if r.Command == command {
			n++
		}
	}
	return n
}

// that judges a rule by what the caller gets.
func (d *drive) that(good bool, id, format string, args ...any) {
	v := d.v
	if !d.rules[id].appliesTo(v) {
		v = types.Newest
	}
	d.expect(good, id, v, nil, format, args...)
}

// works judges that an operation succeeds.
func (d *drive) works(err error, id, what string) {
	d.that(err == nil, id, "%s: %v", what, err)
}

// answer sets what a recorder says, and says it in the version of the drive.
func (d *drive) answer(plugin string, command types.Command, a Answer) {
	a.Stdout = strings.ReplaceAll(a.Stdout, "VERSION", d.v.String())
	d.must(d.recorder.Answer(plugin, command, a))
}

const toldToFail = "told to fail"

// breaks makes a recorder fail.
func (d *drive) breaks(plugin string, command types.Command) {
	d.answer(plugin, command, Answer{Stdout: `{"cniVersion":"VERSION","code":111,"msg":"` + toldToFail + `"}`, Exit: 1})
}

// tells judges that the caller gets the error of the recorder.
func (d *drive) tells(err error, id, what string) {
	d.that(err != nil && strings.Contains(err.Error(), toldToFail), id, "%s gives the caller the error %v, want the one of the plugin", what, err)
}

// has judges that a request has a prevResult, or has none.
func (d *drive) hasPrevious(r *Record, want bool, id, what string) {
	if r == nil {
		d.that(false, id, "%s is not sent", what)
		return
	}
	_, has := r.object()["prevResult"]
	d.that(has == want, id, "%s: that it has a prevResult is %t, want %t", what, has, want)
}

// spoilCache replaces what a runtime keeps by what nobody can read.
func (d *drive) spoilCache() {
	d.must(filepath.WalkDir(d.setup.CacheDir, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing was kept
		}
		if err != nil || e.IsDir() {
			return err
		}
		return os.WriteFile(path, []byte("{ this is not JSON"), 0o600)
	}))
}

// blockCache puts a file where the directory of the runtime is.
func (d *drive) blockCache() {
	d.must(errors.Join(os.RemoveAll(d.setup.CacheDir), os.WriteFile(d.setup.CacheDir, nil, 0o600)))
}

func rawCapabilities(pairs ...string) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return all
}
