// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cnikit/cnikit/types"
)

// ExamineOptions are options of [Examine]. The zero value is good.
type ExamineOptions struct {
	// Only are the rules to examine, by identifier or group. Empty: all.
	Only []string
	// Parallel is how many cases run at once. Zero: two for each processor.
	Parallel int
	// Progress, if not nil, is called after each case, one call at a time.
	Progress func(done, total int, o Outcome)
}

// Conformance examines a plugin with one subtest for each rule. A rule that is a MUST
// of the specification fails the test when it is broken; warnings and advice are
// logged. Where the kernel allows no namespaces, rules that need them are skipped, and
// fail with REQUIRE_KERNEL_TESTS=1 in the environment.
//
//	func TestConformance(t *testing.T) {
//		skeltest.Conformance(t, skeltest.Target{Executable: skeltest.Self(t, "myplugin")})
//	}
func Conformance(t *testing.T, target Target) {
	t.Helper()
	report, err := Examine(t.Context(), target, ExamineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, note := range report.Notes {
		t.Log(note)
	}
	if report.AddFails != "" {
		t.Error(report.AddFails)
	}
	if len(report.Notes) > 0 && os.Getenv("REQUIRE_KERNEL_TESTS") != "" && target.inProcess() == nil {
		t.Error("the examination is not whole")
	}
	for _, v := range report.verdicts() {
		if v.rule.Who != "plugin" && v.rule.Who != "both" {
			continue
		}
		t.Run(v.rule.ID, func(t *testing.T) { v.test(t) })
	}
}

// test reports a verdict as the outcome of a test.
func (v verdict) test(t *testing.T) {
	t.Helper()
	for _, o := range v.outcomes {
		if o.Status != Failed {
			continue
		}
		tell := t.Logf
		if v.rule.Severity() == Failure {
			tell = t.Errorf
		}
		tell("%s", o.story())
	}
	if v.status == NotApplicable || v.status == NotTestable {
		t.Skipf("%s: %s", v.status, strings.Join(v.outcomes[0].Why, "; "))
	}
}

// An examiner examines one plugin.
type examiner struct {
	target Target
	ctx    context.Context
	// dir is a directory of the examination's own, with one for each case.
	dir      string
	versions []types.Version
	// newest is the newest version that the plugin says it supports.
	newest types.Version
	// namespaces says that there are namespaces to be had; whyNot is why not.
	namespaces bool
	whyNot     string
	// works says for which versions ADD succeeds as a baseline; delegates that it runs
	// the IPAM plugin of the kit then. cannot is why ADD does not work.
	works     map[types.Version]bool
	cannot    map[types.Version]string
	delegates bool

	hung   atomic.Int32
	serial atomic.Int64
}

// tooOften is how many executions of a plugin may hang or flood before the rest of the
// examination is left out, lest it take all day.
const tooOften = 8

// A check is the test of one rule.
type check struct {
	id    string
	kinds []Kind // empty: all
	needs need
	// once says that one version is enough, the newest of those it applies to. It always
	// is for what can only give advice.
	once bool
	run  func(*trial)
}

// A need is what a check cannot do without.
type need int

const (
	needNothing   need = iota
	needNamespace      // privileges for network namespaces
	needAdd            // namespaces, and a configuration that ADD succeeds with
	needDelegate       // the same, and that the plugin runs an IPAM plugin
	needPlainAdd       // an ADD that succeeds, which takes no privileges for an IPAM plugin, and for a chained one perhaps
)

// checks returns all checks that there are.
func checks() []check {
	return slices.Concat(confChecks(), protoChecks(), versionChecks(), argsChecks(), errorChecks(),
		addChecks(), resultChecks(), checkChecks(), delChecks(), statusChecks(), gcChecks(), chainChecks(), delegateChecks(), ipamChecks(), lifeChecks(), capabilityChecks())
}

// Examine runs every rule of the checklist that can be tested from outside against a
// plugin, at every version that the plugin supports, and reports what became of each.
// Each case has namespaces and a directory of its own. It fails only if there is no
// plugin to examine, or ctx ends.
func Examine(ctx context.Context, target Target, o ExamineOptions) (*Report, error) {
	target, err := target.complete()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cnitest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	x := &examiner{target: target, ctx: ctx, dir: dir, works: map[types.Version]bool{}, cannot: map[types.Version]string{}}
	report := &Report{Plugin: target.Name}
	report.Notes = x.probe()
	report.Kind, report.Versions, report.AddFails = x.target.Profile.Kind, x.versions, x.addFails()
	report.Outcomes = x.examine(o)
	slices.SortStableFunc(report.Outcomes, byRule())
	return report, ctx.Err()
}

// byRule orders outcomes as the checklist does, and by version.
func byRule() func(a, b Outcome) int {
	position := map[string]int{}
	for i, r := range ruleBook() {
		position[r.ID] = i
	}
	return func(a, b Outcome) int {
		if a.Rule.ID != b.Rule.ID {
			return position[a.Rule.ID] - position[b.Rule.ID]
		}
		return int(int64(a.Version) - int64(b.Version))
	}
}

// probe finds out what can be examined, and says what cannot.
func (x *examiner) probe() (notes []string) {
	if n, err := NewNamespace(); err != nil {
		x.whyNot = err.Error()
		notes = append(notes, "no network namespaces, and so no ADD of a real container: "+err.Error())
	} else if err := n.Close(); err != nil {
		x.whyNot = err.Error()
	} else if x.target.inProcess() != nil {
		x.whyNot = "a plugin in-process has the namespace of the test for its host"
		notes = append(notes, x.whyNot+"; pass an executable to examine all")
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

// A job is one check at one version.
type job struct {
	check check
	rule  Rule
	v     types.Version
}

// examine runs all checks and returns an outcome for each rule.
func (x *examiner) examine(o ExamineOptions) []Outcome {
	var outcomes []Outcome
	var jobs []job
	byID := map[string][]check{}
	for _, c := range checks() {
		byID[c.id] = append(byID[c.id], c)
	}
	for _, rule := range ruleBook() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, rule.ID) && !slices.Contains(o.Only, rule.Group()) {
			continue
		}
		these, why := x.plan(rule, byID[rule.ID])
		if len(these) == 0 {
			outcomes = append(outcomes, why)
		}
		jobs = append(jobs, these...)
	}
	parallel := o.Parallel
	if parallel <= 0 {
		parallel = 2 * runtime.GOMAXPROCS(0)
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	queue := make(chan job)
	done := 0
	for range parallel {
		wait.Go(func() {
			for j := range queue {
				outcome := x.judge(j)
				mu.Lock()
				outcomes = append(outcomes, outcome)
				if done++; o.Progress != nil {
					o.Progress(done, len(jobs), outcome)
				}
				mu.Unlock()
			}
		})
	}
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	wait.Wait()
	return outcomes
}

// plan returns the jobs for one rule, or why there are none.
func (x *examiner) plan(rule Rule, all []check) ([]job, Outcome) {
	none := func(s Status, format string, args ...any) ([]job, Outcome) {
		return nil, Outcome{Rule: rule, Status: s, Why: []string{fmt.Sprintf(format, args...)}}
	}
	if (rule.Who == "runtime" || rule.Who == "admin") && len(all) == 0 {
		return none(NotApplicable, "binds the %s", map[string]string{"runtime": "runtime", "admin": "author of a configuration"}[rule.Who])
	}
	if len(all) == 0 {
		return none(NotTestable, "%s", untested(rule))
	}
	all = slices.DeleteFunc(slices.Clone(all), func(c check) bool {
		return len(c.kinds) > 0 && !slices.Contains(c.kinds, x.target.Profile.Kind)
	})
	if len(all) == 0 {
		return none(NotApplicable, "the plugin is of kind %s", x.target.Profile.Kind)
	}
	var jobs []job
	var reason string
	status := NotApplicable
	for _, c := range all {
		var these []job
		for _, v := range slices.Backward(x.versions) {
			if !rule.appliesTo(v) {
				continue
			}
			if s, why := x.lacks(c, v); why != "" {
				status, reason = s, why
				continue
			}
			these = append(these, job{c, rule, v})
			if c.once || rule.Severity() == Advice {
				break
			}
		}
		jobs = append(jobs, these...)
	}
	if len(jobs) == 0 && reason == "" {
		reason = "applies to version " + rule.Since + ", which the plugin does not support"
	}
	if len(jobs) == 0 {
		return none(status, "%s", reason)
	}
	return jobs, Outcome{}
}

// untested says why a rule has no check.
func untested(rule Rule) string {
	switch {
	case rule.Level == "MAY":
		return "it permits something and demands nothing"
	case rule.Group() == "CONV":
		return "a plugin shows one result and no conversion; ADD, RES and VER judge the result of each version"
	}
	return "it does not show from outside, or only with knowledge of the plugin"
}

// lacks says what a check lacks at a version, if anything.
func (x *examiner) lacks(c check, v types.Version) (Status, string) {
	add := c.needs == needAdd || c.needs == needDelegate || c.needs == needPlainAdd
	plain := c.needs == needPlainAdd && (x.target.Profile.Kind == KindIPAM || x.target.Profile.Kind == KindChained)
	switch {
	case c.needs != needNothing && !plain && !x.namespaces:
		return NotTestable, "it takes network namespaces: " + x.whyNot
	case add && !x.works[v]:
		return NotApplicable, x.cannot[v]
	case c.needs == needDelegate && !x.delegates:
		return NotApplicable, "with this configuration, the plugin runs no IPAM plugin of the kit"
	}
	return "", ""
}

// judge runs one check at one version.
func (x *examiner) judge(j job) Outcome {
	o := Outcome{Rule: j.rule, Version: j.v, Status: Passed}
	if err := x.ctx.Err(); err != nil {
		o.Status, o.Why = NotTestable, []string{"the examination was ended: " + err.Error()}
		return o
	}
	if x.hung.Load() >= tooOften {
		o.Status, o.Why = NotTestable, []string{"the plugin did not end, or flooded its output, too often"}
		return o
	}
	t := x.trial(j.v)
	finished := make(chan struct{})
	go func() { // of its own, so that a check can end by runtime.Goexit
		defer close(finished)
		j.check.run(t)
	}()
	<-finished
	t.close()
	switch {
	case t.broken != nil:
		o.Status, o.Why = NotTestable, []string{"the kit could not do it: " + t.broken.Error()}
	case len(t.failures) > 0 && !x.namespaces && t.refusedPrivileges():
		o.Status, o.Why = NotTestable, []string{"the plugin lacks privileges for it, and so does the kit"}
	case len(t.failures) > 0:
		o.Status, o.Why, o.Steps = Failed, t.failures, t.steps
		plain := t.plain()
		for i := range o.Steps {
			o.Steps[i].Plain = plain
		}
	case t.inapplicable != "":
		o.Status, o.Why = NotApplicable, []string{t.inapplicable}
	}
	return o
}

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
	mac         [2]string // of the link that stands before a chained plugin, host and container
	steps       []Step

	failures     []string
	inapplicable string
	broken       error
}

// trial makes a trial. A problem of that stands in broken.
func (x *examiner) trial(v types.Version) *trial {
	serial := x.serial.Add(1)
	t := &trial{x: x, v: v, id: fmt.Sprintf("cnitest-%d", serial), dir: filepath.Join(x.dir, fmt.Sprint(serial))}
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
	x := &executor{run: t.x.target.inProcess(), timeout: t.x.target.Profile.timeout(), progress: progress}
	if c.timeout > 0 {
		x.timeout = c.timeout
	}
	if t.x.target.Executable != "" {
		x.path = filepath.Join(t.dir, "bin", filepath.Base(t.x.target.Executable))
	}
	if t.host != nil {
		x.start = t.host.Start
	}
	if t.broken != nil {
		s.Problem, s.Exit = t.broken.Error(), -1
		return s
	}
	x.execute(t.x.ctx, &s)
	if strings.HasPrefix(s.Problem, "ended by the kit") {
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

// story tells what is wrong and how to see it.
func (o Outcome) story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, version %s: %s of the %s: %s\n", o.Rule.ID, o.Version, o.Rule.Level, basisInWords(o.Rule.Basis), o.Rule.Text)
	for _, why := range o.Why {
		fmt.Fprintf(&b, "  %s\n", why)
	}
	for i, s := range o.Steps {
		if len(o.Steps) > 6 && i >= 2 && i < len(o.Steps)-3 {
			if i == 2 {
				fmt.Fprintf(&b, "    … %d executions\n", len(o.Steps)-5)
			}
			continue
		}
		fmt.Fprintf(&b, "    $ %s\n      %s", s.Shell(), s.summary())
		if s.Dir == "" && len(s.Stderr) > 0 {
			fmt.Fprintf(&b, "; standard error %s", short(s.Stderr))
		}
		fmt.Fprintf(&b, " (%v)\n", s.Duration.Round(time.Millisecond/10))
	}
	return printable(b.String()) // what a plugin prints may be anything, and this goes to terminals
}

func basisInWords(basis string) string {
	return map[string]string{
		"S": "specification", "S~": "specification", "C": "conventions", "U": "upgrade guide",
		"R": "reference implementation", "D": "checklist",
	}[basis]
}
