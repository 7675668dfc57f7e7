// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// A trial is one check at one version, with namespaces and a directory of its own.
type trial struct {
	x        *examiner
	v        types.Version
	dir      string
	id       string // for container IDs
	delegate *Delegate

	host    *Namespace
	sandbox *Namespace // made when it is needed
	// sandboxPath is the path of sandbox, which is closed before anybody reads of it.
	sandboxPath string
	more        []*Namespace
	kept        bool      // dir stays
	mac         [2]string // of the link that stands before a chained plugin, host and container
	steps       []Step

	failures     []string
	inapplicable string
	broken       error
}

// trial makes a trial. A problem of that stands in broken.
func (x *examiner) trial(v types.Version) *trial {
	serial := x.serial.Add(1)
	t := &trial{x: x, v: v, id: fmt.Sprintf("cnitest-%d-%d", os.Getpid(), serial), dir: filepath.Join(x.dir, fmt.Sprint(serial))}
	if x.target.Executable == "" && !x.target.delegates() {
		t.broken = os.Mkdir(t.dir, 0o755)
		return t.inHost()
	}
	bin := filepath.Join(t.dir, "bin")
	t.broken = os.MkdirAll(bin, 0o755)
	if t.broken == nil && x.target.Executable != "" {
		t.broken = os.Symlink(x.target.Executable, filepath.Join(bin, filepath.Base(x.target.Executable)))
	}
	if t.broken == nil && x.target.delegates() {
		t.delegate, t.broken = NewDelegate(bin, "cnitest-ipam")
	}
	if t.delegate != nil {
		t.broken = t.answer("", testAddr, testGateway)
	}
	return t.inHost()
}

// inHost gives the trial a namespace for its host.
func (t *trial) inHost() *trial {
	if t.broken == nil && t.x.namespaces {
		t.host, t.broken = NewNamespace()
	}
	return t
}

// close ends the trial. What it cannot let go of ends with the process.
func (t *trial) close() {
	for _, n := range append(t.more, t.sandbox, t.host) {
		if n != nil {
			t.keep(n.Close())
		}
	}
	if t.kept {
		t.keep(t.renew())
		return
	}
	t.keep(os.RemoveAll(t.dir))
}

// keep keeps the first error of the kit's own.
func (t *trial) keep(err error) {
	t.broken = errors.Join(t.broken, err)
}

// fail records that the rule is broken.
func (t *trial) fail(format string, args ...any) {
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}

// na ends the check: the rule does not bind here.
func (t *trial) na(format string, args ...any) {
	t.inapplicable = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// must ends the check on an error of the kit's own.
func (t *trial) must(err error) {
	if err != nil {
		t.keep(err)
		runtime.Goexit()
	}
}

// run executes the plugin.
func (t *trial) run(c *call) *Step {
	t.steps = append(t.steps, t.execute(c, nil))
	s := t.steps[len(t.steps)-1] // a copy: the slice may move
	return &s
}

func (t *trial) execute(c *call, progress func(*os.Process)) Step {
	s := c.step(t.x.target.Name)
	x := &executor{run: t.x.target.inProcess(), timeout: t.x.target.Profile.timeout(), busy: machineBusy, progress: progress}
	if c.timeout > 0 {
		x.timeout = c.timeout
	}
	if t.x.target.Executable != "" {
		x.path = filepath.Join(t.dir, "bin", filepath.Base(t.x.target.Executable))
	}
	if t.host != nil {
		x.start = t.host.Start
	}
	if t.x.keep {
		var err error
		s.Before, err = t.keepAnswers()
		t.keep(err)
	}
	if t.broken != nil {
		s.Problem, s.Exit = t.broken.Error(), -1
		return s
	}
	x.execute(t.x.ctx, &s)
	if s.stopped() {
		t.x.hung.Add(1)
	}
	return s
}

// refusedPrivileges reports whether the plugin says that the kernel refused it something.
func (t *trial) refusedPrivileges() bool {
	return slices.ContainsFunc(t.steps, func(s Step) bool {
		said := string(s.Stdout) + string(s.Stderr)
		return containsFold(said, "operation not permitted") || containsFold(said, "permission denied")
	})
}

// plain replaces the paths of the trial, which are gone when somebody reads of them.
func (t *trial) plain() *strings.Replacer {
	var pairs []string
	if t.kept {
		if t.sandboxPath == "" {
			return nil
		}
		return strings.NewReplacer(t.sandboxPath, "/run/netns/cnitest")
	}
	if t.x.target.Executable != "" {
		bin := filepath.Join(t.dir, "bin")
		pairs = append(pairs, filepath.Join(bin, filepath.Base(t.x.target.Executable)), t.x.target.Executable, bin, filepath.Dir(t.x.target.Executable))
	}
	pairs = append(pairs, t.dir, "/tmp/cnitest")
	if t.sandboxPath != "" {
		pairs = append(pairs, t.sandboxPath, "/run/netns/cnitest")
	}
	return strings.NewReplacer(pairs...)
}

// inOrder returns the pairs of a map in the order of their keys, so that what a check does
// and says is the same each time.
func inOrder[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
