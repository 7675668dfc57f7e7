// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/types"
)

// KindRuntime is the kind of a [Report] about a container runtime.
const KindRuntime Kind = "runtime"

// Examine judges a runtime by what the recorders were sent so far for these networks,
// which are what the administrator wrote. Plugins of a network that are no recorders
// run unseen. A rule for which nothing was recorded does not apply.
//
// It sees what the runtime sends, and not what its callers want and get:
// [ExamineRuntime] asks for that as well.
func (r *Recorder) Examine(networks ...*types.Network) (*Report, error) {
	names, err := r.Plugins()
	if err != nil {
		return nil, err
	}
	records, err := r.Records()
	if err != nil {
		return nil, err
	}
	l := newLedger()
	l.judge(networks, names, records)
	return l.report(), nil
}

// A ledger collects what is found about rules that bind runtimes.
type ledger struct {
	rules map[string]Rule
	// strays are networks that may have lost records, so that their order tells nothing.
	strays map[*types.Network]bool
	found  map[string]map[types.Version]*Outcome
}

func newLedger() *ledger {
	l := &ledger{rules: map[string]Rule{}, strays: map[*types.Network]bool{}, found: map[string]map[types.Version]*Outcome{}}
	for _, r := range ruleBook() {
		l.rules[r.ID] = r
	}
	return l
}

// tried notes that there was an occasion to break a rule, and returns nil if the
// rule is not one of that version.
func (l *ledger) tried(id string, v types.Version) *Outcome {
	rule, ok := l.rules[id]
	if !ok || !rule.appliesTo(v) {
		return nil
	}
	if l.found[id] == nil {
		l.found[id] = map[types.Version]*Outcome{}
	}
	if l.found[id][v] == nil {
		l.found[id][v] = &Outcome{Rule: rule, Version: v, Status: Passed}
	}
	return l.found[id][v]
}

// storyLimit is how many findings and executions the story of a rule has.
const storyLimit = 4

// expect notes that a rule was tried, and that it is broken unless good.
func (l *ledger) expect(good bool, id string, v types.Version, records []*Record, format string, args ...any) {
	o := l.tried(id, v)
	if o == nil || good {
		return
	}
	o.Status = Failed
	if why := fmt.Sprintf(format, args...); len(o.Why) < storyLimit && !slices.Contains(o.Why, why) {
		o.Why = append(o.Why, why)
		for _, r := range records {
			if len(o.Steps) < storyLimit {
				o.Steps = append(o.Steps, Step{Execution: r.Execution})
			}
		}
	}
}

// report returns an outcome for every rule.
func (l *ledger) report() *Report {
	r := &Report{Plugin: "the runtime", Kind: KindRuntime}
	for _, rule := range ruleBook() {
		versions := l.found[rule.ID]
		if len(versions) == 0 {
			status, why := unjudged(rule)
			r.Outcomes = append(r.Outcomes, Outcome{Rule: rule, Status: status, Why: []string{why}})
		}
		for v, o := range versions {
			r.Outcomes = append(r.Outcomes, *o)
			if !slices.Contains(r.Versions, v) {
				r.Versions = append(r.Versions, v)
			}
		}
	}
	slices.Sort(r.Versions)
	slices.SortStableFunc(r.Outcomes, byRule())
	return r
}

// twins are rules that say what another rule says, which is the one that is judged.
var twins = map[string]string{
	"CACHE-003": "DEL-022", "CACHE-008": "CHAIN-021", "CACHE-013": "GC-013", "CHAIN-005": "DEL-019 and CHK-003",
	"CHAIN-007": "CHAIN-006", "CHAIN-028": "ADD-016, CHK-020 and DEL-018", "CHAIN-030": "RES-037", "CONF-001": "PROTO-028",
	"CONF-012": "CHK-017", "CONF-019": "CONF-016", "CONF-030": "CHAIN-012", "CONF-040": "CHAIN-002",
	"LIFE-023": "GC-016", "PROTO-005": "PROTO-028", "ARG-001": "PROTO-027",
}

// unseen says why rules that demand something of a runtime are not judged.
var unseen = map[string]string{
	"CACHE-011": "where and how a runtime keeps what it knows is its own affair; that it knows it is for CACHE-001 and CACHE-006",
	"LIFE-002":  "no plugin is told when the namespace goes, and after its last DEL nobody knows whether it is still in use",
	"LIFE-015":  "that a DEL is still to come does not show; for what failed there is ADD-018, and for what is not valid any more GC-013",
	"LIFE-016":  "the administrator changes a configuration, and a runtime may send what it finds or what it has kept",
}

// unjudged says why nothing is known about a rule.
func unjudged(rule Rule) (Status, string) {
	switch {
	case rule.Who != "runtime" && rule.Who != "both" && rule.Who != "admin":
		return NotApplicable, "binds the plugin"
	case twins[rule.ID] != "":
		return NotApplicable, "judged as " + twins[rule.ID]
	case rule.Level == "MAY":
		return NotTestable, "it permits something and demands nothing"
	case recordedRules[rule.ID]:
		return NotApplicable, "nothing was recorded that it is about"
	case drivenRules[rule.ID]:
		return NotApplicable, "it takes a runtime that is driven; see ExamineRuntime"
	}
	if why := unseen[rule.ID]; why != "" {
		return NotTestable, why
	}
	return NotTestable, "it does not show in what plugins are sent"
}

// A tape is what was recorded for one network.
type tape struct {
	*ledger
	n *types.Network
	// seen are the positions in the list whose plugins are recorders.
	seen    []int
	records []Record
	// attachments is what is known of each while the tape runs.
	attachments map[attachmentKey]*history
}

// judge judges records. Those with a name that no network has belong to the only
// network with such a plugin, or to none.
func (l *ledger) judge(networks []*types.Network, recorders []string, records []Record) {
	var operations []*operation
	l.judgeStrays(networks, records)
	for _, n := range networks {
		t := &tape{ledger: l, n: n, attachments: map[attachmentKey]*history{}}
		for i, p := range n.Plugins {
			if slices.Contains(recorders, p.Type) {
				t.seen = append(t.seen, i)
			}
		}
		for _, r := range records {
			if r.Command != types.CommandVersion && belongs(&r, n, networks) {
				t.records = append(t.records, r)
			}
		}
		operations = append(operations, t.judge()...)
	}
	l.judgeOverlaps(operations)
	l.judgeNetworks(operations)
	l.judgeVersions(records)
	for i, r := range records {
		if r.Command == types.CommandVersion {
			l.judgeVersionCall(&records[i])
		}
	}
}

// judgeStrays judges the names of records that no network can claim.
func (l *ledger) judgeStrays(networks []*types.Network, records []Record) {
	for i := range records {
		r := &records[i]
		if r.Command == types.CommandVersion || r.End == 0 {
			continue
		}
		claimed := slices.ContainsFunc(networks, func(n *types.Network) bool { return belongs(r, n, networks) })
		for _, n := range networks {
			if !claimed && slices.ContainsFunc(n.Plugins, func(p types.NetworkPlugin) bool { return p.Type == r.Plugin }) {
				l.expect(false, "CHAIN-002", r.version(n), []*Record{r}, "name is %s, which no network has", asJSON(r.object()["name"]))
				l.strays[n] = true
			}
		}
	}
}

func belongs(r *Record, n *types.Network, networks []*types.Network) bool {
	name, _ := r.object()["name"].(string)
	holds := func(m *types.Network) bool {
		return slices.ContainsFunc(m.Plugins, func(p types.NetworkPlugin) bool { return p.Type == r.Plugin })
	}
	if !holds(n) || name == n.Name {
		return holds(n)
	}
	for _, other := range networks {
		if other != n && (other.Name == name || holds(other)) {
			return false
		}
	}
	return true
}

// object returns the request, and nil if it is no JSON object.
func (r *Record) object() map[string]any {
	return decoded(r.Stdin)
}

func (r *Record) version(n *types.Network) types.Version {
	text, _ := r.object()["cniVersion"].(string)
	if v, err := types.ParseVersion(text); err == nil && v.Known() {
		return v
	}
	return n.CNIVersion
}

// failed reports whether the recorder reported an error.
func (r *Record) failed() bool { return r.Exit != 0 }

// attachment is the attachment that a record is about; the commands that are about none
// have the empty one.
func (r *Record) attachment() (k attachmentKey) {
	if r.Command != types.CommandGC && r.Command != types.CommandStatus {
		k.containerID, k.ifName = variable(r.Environ, "CNI_CONTAINERID"), variable(r.Environ, "CNI_IFNAME")
	}
	return k
}

// An operation is what one command of the caller made the runtime send.
type operation struct {
	network   *types.Network
	command   types.Command
	key       attachmentKey
	records   []*Record
	positions []int
	// whole says that every recorder was reached.
	whole bool
}

// failedAt returns the index of the first record that failed, and -1 if none did.
func (o *operation) failedAt() int {
	return slices.IndexFunc(o.records, (*Record).failed)
}

// operations groups the records. An operation ends where its command ends, where it has
// reached every recorder, and where it would reach one again.
func (t *tape) operations() []*operation {
	var all []*operation
	current := map[attachmentKey]*operation{}
	for i := range t.records {
		r := &t.records[i]
		position := slices.IndexFunc(t.n.Plugins, func(p types.NetworkPlugin) bool { return p.Type == r.Plugin })
		key := r.attachment()
		o := current[key]
		if o == nil || o.command != r.Command || o.whole || slices.Contains(o.positions, position) {
			o = &operation{network: t.n, command: r.Command, key: key}
			current[key] = o
			all = append(all, o)
		}
		o.records, o.positions = append(o.records, r), append(o.positions, position)
		o.whole = len(o.positions) == len(t.seen)
	}
	return all
}

// history is what is known of an attachment.
type history struct {
	// add is its last ADD, if there was one since the last DEL that succeeded.
	add *operation
	// asked says that there was a DEL since.
	asked bool
	// del is the last DEL since the last ADD.
	del *operation
	// origin is the last ADD of all.
	origin *operation
}

// judge judges each record for itself and then in its order.
func (t *tape) judge() []*operation {
	for i := range t.records {
		r := &t.records[i]
		t.judgeRecord(r)
		if first := &t.records[0]; r.Netns != "" {
			t.expect(r.Netns == first.Netns, "PROTO-036", r.version(t.n), []*Record{first, r}, "plugins run in the namespaces %s and %s", first.Netns, r.Netns)
		}
	}
	if t.strays[t.n] {
		return nil
	}
	operations := t.operations()
	for _, o := range operations {
		t.judgeOperation(o)
	}
	for k, h := range t.attachments {
		if h.origin != nil && h.origin.failedAt() >= 0 {
			t.expect(h.asked || h.origin != h.add, "ADD-018", t.n.CNIVersion, h.origin.records, "after the failed ADD of container %s, interface %s, there is no DEL", k.containerID, k.ifName)
		}
	}
	return operations
}

func (t *tape) of(k attachmentKey) *history {
	if t.attachments[k] == nil {
		t.attachments[k] = &history{}
	}
	return t.attachments[k]
}

// judgeOperation judges the records of an operation together.
func (t *tape) judgeOperation(o *operation) {
	v := o.records[0].version(t.n)
	t.judgeUniform(o, v)
	switch h := t.of(o.key); o.command {
	case types.CommandAdd:
		t.judgeAdd(o, h, v)
	case types.CommandCheck:
		t.judgeCheck(o, h, v)
	case types.CommandDel:
		t.judgeDel(o, h, v)
	case types.CommandStatus:
		t.expect(v >= types.V110, "STA-015", types.Newest, o.records[:1], "STATUS is sent in version %s", v)
		t.judgeOrder(o, v, "STA-016", "STA-016", "STA-016")
	case types.CommandGC:
		t.judgeGC(o, v)
	case types.CommandVersion:
	}
}

// judgeUniform compares the records of an operation with each other.
func (t *tape) judgeUniform(o *operation, v types.Version) {
	uniform := true
	first := o.records[0]
	for _, r := range o.records[1:] {
		same := r.object()["cniVersion"] == first.object()["cniVersion"]
		uniform = uniform && same
		t.expect(same, "VER-020", v, []*Record{first, r}, "%s of one list in version %v and in version %v", o.command, first.object()["cniVersion"], r.object()["cniVersion"])
		key := differs(first, r)
		t.expect(key == "", "PROTO-037", v, []*Record{first, r}, "%s of one list: %s is %q for plugin %s and %q for %s", o.command, key,
			variable(first.Environ, key), first.Plugin, variable(r.Environ, key), r.Plugin)
	}
	if uniform && len(t.n.Offered) > 1 {
		t.expect(v == t.n.CNIVersion, "CONF-004", types.Newest, o.records[:1], "the list offers %s, and the runtime uses %s; or is that the highest that it supports?", joined(t.n.Offered), v)
	}
}

func joined(versions []types.Version) string {
	var all []string
	for _, v := range versions {
		all = append(all, v.String())
	}
	return strings.Join(all, ", ")
}

// differs returns the first of CNI's variables that differs, and "" if none does.
func differs(a, b *Record, except ...string) string {
	for _, key := range []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"} {
		if slices.Contains(except, key) {
			continue
		}
		x, y := variable(a.Environ, key), variable(b.Environ, key)
		if key == "CNI_ARGS" { // the order means nothing: ARG-010
			x, y = sortedArgs(x), sortedArgs(y)
		}
		if x != y {
			return key
		}
	}
	return ""
}

func sortedArgs(args string) string {
	pairs := strings.Split(args, ";")
	slices.Sort(pairs)
	return strings.Join(pairs, ";")
}

// judgeOrder judges in what order the recorders were reached, and that the first error
// stops the operation: order, stop and whole are the rules that say so, and empty for
// what no rule says.
func (t *tape) judgeOrder(o *operation, v types.Version, order, stop, whole string) {
	inOrder := slices.IsSorted(o.positions)
	if o.command == types.CommandDel {
		back := slices.Clone(o.positions)
		slices.Reverse(back)
		inOrder = slices.IsSorted(back)
	}
	t.expect(inOrder, order, v, o.records, "%s reaches %s in this order", o.command, t.reached(o))
	failed := o.failedAt()
	if failed >= 0 && stop != "" {
		t.expect(failed == len(o.records)-1, stop, v, o.records[failed:], "%s goes on after the error of plugin %s", o.command, o.records[failed].Plugin)
	}
	if inOrder && failed < 0 && whole != "" && len(t.seen) == len(t.n.Plugins) {
		t.expect(o.whole, whole, v, o.records, "%s reaches only %s, though no plugin failed", o.command, t.reached(o))
	}
}

func (t *tape) reached(o *operation) string {
	var all []string
	for _, r := range o.records {
		all = append(all, r.Plugin)
	}
	return strings.Join(all, ", ")
}

func (t *tape) judgeAdd(o *operation, h *history, v types.Version) {
	t.expect(h.add == nil || h.asked, "ADD-006", v, o.records[:1], "ADD of container %s, interface %s once more, without a DEL in between", o.key.containerID, o.key.ifName)
	t.judgeOrder(o, v, "ADD-016", "ADD-016", "ADD-016")
	for i, r := range o.records {
		if i > 0 && o.records[i-1].failed() {
			break
		}
		previous, has := r.object()["prevResult"]
		if o.positions[i] == 0 {
			t.expect(!has, "CHAIN-003", types.Newest, o.records[i:i+1], "ADD of the first plugin has a prevResult")
			continue
		}
		t.expect(has && previous != nil, "CHAIN-004", v, o.records[i:i+1], "ADD of plugin %s has no prevResult", r.Plugin)
		if has && i > 0 && o.positions[i-1] == o.positions[i]-1 && slices.IsSorted(o.positions) {
			t.expect(sameResult(o.records[i-1].Stdout, previous, v), "CHAIN-004", v, o.records[i-1:i+1], "the prevResult of plugin %s is not the result of plugin %s", r.Plugin, o.records[i-1].Plugin)
		}
	}
	*h = history{add: o, origin: o}
}

// final returns the final result of the last ADD, and nil if it was not recorded.
func (t *tape) final(h *history) []byte {
	if h.origin == nil || len(h.origin.records) == 0 {
		return nil
	}
	last := h.origin.records[len(h.origin.records)-1]
	if h.origin.positions[len(h.origin.positions)-1] != len(t.n.Plugins)-1 || last.failed() {
		return nil
	}
	return last.Stdout
}

func (t *tape) judgeCheck(o *operation, h *history, v types.Version) {
	t.expect(!t.n.DisableCheck, "CHK-017", v, o.records[:1], "CHECK is sent, though the list has disableCheck")
	t.expect(v >= types.V040, "CHK-024", types.Newest, o.records[:1], "CHECK is sent in version %s", v)
	if h.origin != nil || len(t.attachments) > 1 {
		t.expect(h.add != nil && h.add.failedAt() < 0, "CHK-016", v, o.records[:1], "CHECK of container %s, interface %s, which is not attached", o.key.containerID, o.key.ifName)
	}
	t.judgeOrder(o, v, "CHK-020", "CHK-018", "CHK-020")
	if h.add == nil || h.add.failedAt() >= 0 {
		return
	}
	t.judgePrevious(o, h, v, "CHK-003")
	t.judgeParameters(o, h, v, "PROTO-038")
}

// judgePrevious judges that every plugin gets the final result.
func (t *tape) judgePrevious(o *operation, h *history, v types.Version, id string) {
	final := t.final(h)
	for i, r := range o.records {
		previous := r.object()["prevResult"]
		t.expect(previous != nil, id, v, o.records[i:i+1], "%s has no prevResult, though ADD has succeeded", o.command)
		if previous != nil && final != nil {
			t.expect(sameResult(final, previous, v), id, v, o.records[i:i+1], "%s of plugin %s has another prevResult than the final result of ADD, %s", o.command, r.Plugin, short(final))
		}
	}
}

// judgeParameters judges that the parameters are those of ADD.
func (t *tape) judgeParameters(o *operation, h *history, v types.Version, id string) {
	for i, r := range o.records {
		j := slices.Index(h.origin.positions, o.positions[i])
		if j < 0 {
			continue
		}
		add := h.origin.records[j]
		except := []string{"CNI_PATH"}
		if o.command == types.CommandDel && variable(r.Environ, "CNI_NETNS") == "" {
			except = append(except, "CNI_NETNS") // it may be gone
		}
		both := []*Record{add, r}
		key := differs(add, r, except...)
		t.expect(key == "", id, v, both, "%s: %s is %q, and was %q for ADD", o.command, key, variable(r.Environ, key), variable(add.Environ, key))
		before, after := add.object()["runtimeConfig"], r.object()["runtimeConfig"]
		if before != nil || after != nil {
			t.expect(sameJSON(before, after), "CHAIN-009", types.Newest, both, "%s: runtimeConfig is %s, and was %s for ADD", o.command, asJSON(after), asJSON(before))
		}
	}
}

func (t *tape) judgeDel(o *operation, h *history, v types.Version) {
	cleansUp := h.add != nil && h.add.failedAt() >= 0 && !h.asked
	if cleansUp {
		t.judgeOrder(o, v, "DEL-018", "DEL-021", "ADD-017")
	} else {
		t.judgeOrder(o, v, "DEL-018", "DEL-021", "DEL-018")
	}
	first := o.records[:1]
	_, has := first[0].object()["prevResult"]
	switch {
	case v < types.V040:
		for i, r := range o.records {
			_, has := r.object()["prevResult"]
			t.expect(!has, "DEL-020", v, o.records[i:i+1], "DEL in version %s has a prevResult", v)
		}
	case h.origin == nil: // its ADD was not recorded
	case h.origin.failedAt() >= 0:
		t.expect(!has, "CACHE-005", v, first, "DEL after an ADD that failed has a prevResult")
	case h.add == nil:
		t.expect(!has, "DEL-022", v, first, "DEL after a DEL that succeeded has a prevResult")
	case h.asked && !has:
		t.expect(false, "CACHE-004", v, first, "DEL after a DEL that failed has no prevResult")
	default:
		t.judgePrevious(o, h, v, "DEL-019")
		if h.asked {
			t.tried("CACHE-004", v)
		}
	}
	if h.origin != nil {
		t.judgeParameters(o, h, v, "PROTO-039")
	}
	h.asked, h.del = true, o
	if o.failedAt() < 0 {
		h.add = nil
	}
}

func (t *tape) judgeGC(o *operation, v types.Version) {
	first := o.records[:1]
	t.expect(!t.n.DisableGC, "CONF-015", v, first, "GC is sent, though the list has disableGC")
	t.judgeOrder(o, v, "GC-015", "", "")
	if len(t.seen) == len(t.n.Plugins) {
		t.expect(o.whole, "GC-014", v, o.records, "GC reaches only %s", t.reached(o))
	}
	valid, ok := first[0].object()["cni.dev/valid-attachments"].([]any)
	if !ok || !entriesGood(valid) || t.n.DisableGC {
		return
	}
	for k, h := range t.attachments {
		isValid := slices.ContainsFunc(valid, func(entry any) bool {
			e, _ := entry.(map[string]any)
			return e["containerID"] == k.containerID && e["ifname"] == k.ifName
		})
		if h.add != nil && h.add.failedAt() < 0 && !isValid {
			t.expect(h.asked, "GC-013", v, first, "GC is sent without a DEL of container %s, interface %s, which is attached and not valid", k.containerID, k.ifName)
		}
	}
	for _, h := range t.attachments {
		if h.del != nil {
			t.tried("GC-013", v)
		}
	}
}

// entriesGood reports whether the entries of a list for GC have what they need.
func entriesGood(list []any) bool {
	return !slices.ContainsFunc(list, func(entry any) bool {
		e, _ := entry.(map[string]any)
		id, _ := e["containerID"].(string)
		ifName, _ := e["ifname"].(string)
		return id == "" || ifName == ""
	})
}

// judgeOverlaps looks for operations that may not run at once: GC and others of its
// network, and any two of one container, whatever the network.
func (l *ledger) judgeOverlaps(operations []*operation) {
	for i, a := range operations {
		for _, b := range operations[i+1:] {
			id := exclusive(a, b)
			if id == "" {
				continue
			}
			begin, end := a.span()
			begin2, end2 := b.span()
			l.expect(begin > end2 || begin2 > end, id, a.network.CNIVersion, []*Record{a.records[0], b.records[0]},
				"%s and %s run at once for container %s", a.command, b.command, cmp.Or(a.key.containerID, b.key.containerID))
		}
	}
}

// exclusive returns the rule that keeps two operations from running at once, and "" if
// they may.
func exclusive(a, b *operation) string {
	if a.command == types.CommandGC {
		a, b = b, a
	}
	switch {
	case a.command == types.CommandStatus || b.command == types.CommandStatus:
	case b.command == types.CommandGC:
		if a.network == b.network && (a.command == types.CommandAdd || a.command == types.CommandDel) {
			return "GC-016"
		}
	case a.key.containerID == b.key.containerID:
		return "LIFE-003"
	}
	return ""
}

// span returns when the operation began and ended. One that was cut off ended when it
// began.
func (o *operation) span() (begin, end int) {
	begin, end = o.records[0].Begin, 0
	for _, r := range o.records {
		begin, end = min(begin, r.Begin), max(end, r.Begin, r.End)
	}
	return begin, end
}

// sameResult reports whether a plugin's result and a prevResult in version v say the
// same. The encodings may differ.
func sameResult(stdout []byte, previous any, v types.Version) bool {
	data, err := json.Marshal(previous)
	if err != nil {
		return false
	}
	said, _ := decoded(stdout)["cniVersion"].(string)
	from, err := types.ParseVersion(said)
	if err != nil {
		from = v
	}
	a, err := types.DecodeResult(stdout, from)
	if err != nil {
		return true // what becomes of such a result is not the matter here
	}
	b, err := types.DecodeResult(data, v)
	if err != nil {
		return false
	}
	x, err := a.Encode(v)
	y, err2 := b.Encode(v)
	return err == nil && err2 == nil && sameJSON(decoded(x), decoded(y))
}
