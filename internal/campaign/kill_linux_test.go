// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package campaign_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/campaign"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

var (
	onlyScene = flag.String("scene", "", "regular expression of the scenes of the campaigns Kill and Errors")
	onlyPoint = flag.String("point", "", "regular expression of their points, as they name them")
	fromPoint = flag.Int("from", 0, "how many of their points to pass over, to go on where another run with the seed ended")
)

// What cleans up after a plugin that something happened to.
const (
	byDel    = "DEL"
	byGC     = "GC"
	byItself = "the plugin itself"
)

// A point is something that happens to a plugin, at one call of one command.
type point struct {
	scene   scene
	path    string
	fresh   bool
	command types.Command
	kind    skeltest.FaultKind
	errno   syscall.Errno
	at      int
	clean   string
}

func (p point) String() string {
	where := map[bool]string{true: " on a fresh host"}[p.fresh]
	what := string(p.kind)
	if p.errno != 0 {
		what += " " + p.errno.Error()
	}
	return fmt.Sprintf("%s%s: %s: %s call %d, cleaned by %s", p.scene.name, where, p.command, what, p.at, p.clean)
}

func (p point) fault() *skeltest.Fault {
	return &skeltest.Fault{Kind: p.kind, At: p.at, Errno: p.errno, Command: p.command}
}

// constants are what stays of the first container of a fresh host: after DEL, and what GC
// leaves of that.
type constants struct{ del, gc map[string]bool }

// calls lists the calls of ADD, DEL and GC of a scene, and what stays of the first
// container.
func calls(t *testing.T, s scene, path string, fresh bool) (found map[types.Command][]skeltest.SystemCall, stays *constants, err error) {
	st, err := newStage(t, s, path, fresh)
	if err != nil {
		return nil, nil, err
	}
	found = map[types.Command][]skeltest.SystemCall{}
	if fresh {
		stays = &constants{del: map[string]bool{}, gc: map[string]bool{}}
	}
	c := st.container("guest")
	for _, step := range []struct {
		command types.Command
		run     func(*skeltest.Fault) error
	}{
		{types.CommandAdd, func(f *skeltest.Fault) error { _, err := st.add(f, c); return err }},
		{types.CommandDel, func(f *skeltest.Fault) error { return st.del(f, c) }},
		{types.CommandAdd, func(f *skeltest.Fault) error { _, err := st.add(nil, c); return err }},
		{types.CommandGC, st.gc},
	} {
		fault := &skeltest.Fault{}
		if err := step.run(fault); err != nil {
			return nil, nil, err
		}
		if list := fault.Calls(); len(list) > 0 {
			found[step.command] = list
		}
		if !fresh || step.command == types.CommandAdd {
			continue
		}
		these := map[types.Command]map[string]bool{types.CommandDel: stays.del, types.CommandGC: stays.gc}[step.command]
		if err := st.constants(these); err != nil {
			return nil, nil, err
		}
	}
	return found, stays, nil
}

// constants adds to stays what is there now and was not before, or the reverse: the
// bridge with its addresses, the rules of the network until GC finds it without
// containers, that the host forwards, and the directories of the reservations.
func (st *stage) constants(stays map[string]bool) error {
	now, err := st.state()
	if err != nil {
		return err
	}
	for _, pair := range [][2][]string{{st.before, now}, {now, st.before}} {
		for _, line := range pair[0] {
			if !slices.Contains(pair[1], line) {
				stays[line] = true
				stays[strings.Replace(line, " up=true", " up=false", 1)] = true // killed before that
			}
		}
	}
	return nil
}

// A tally counts points and what came of them.
type tally struct {
	mu              sync.Mutex
	tried, survived map[string]int
	missed          int
}

func (c *tally) count(s scene, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, errMissed):
		c.missed++
		return
	case err == nil:
		c.survived[s.name]++
	}
	c.tried[s.name]++
}

// play tries points until the time is over, of all scenes side by side, and at least one of
// each.
func play(ctx context.Context, t *testing.T, lots *rand.Rand, points []point, stays map[string]*constants, try func(*stage, point) error) {
	t.Helper()
	filter := regexp.MustCompile(*onlyPoint)
	points = slices.DeleteFunc(points, func(p point) bool { return !filter.MatchString(p.String()) })
	lots.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	points = points[min(max(*fromPoint, 0), len(points)):]
	queues := map[string]chan point{}
	for _, p := range points {
		if queues[p.scene.name] == nil {
			queues[p.scene.name] = make(chan point, len(points))
		}
		queues[p.scene.name] <- p
	}
	players := 1
	if campaign.Long() {
		players = max(1, 8/max(1, len(queues))) // most of the time the kernel makes a plugin wait
	}
	c := &tally{tried: map[string]int{}, survived: map[string]int{}}
	var all sync.WaitGroup
	for name, queue := range queues {
		close(queue)
		for range players {
			all.Go(func() {
				player := player{t: t, stays: stays[name], tally: c, try: try}
				for p := range queue {
					player.play(p)
					if ctx.Err() != nil {
						return
					}
				}
			})
		}
	}
	all.Wait()
	c.report(t, points)
}

// A player tries points of one scene.
type player struct {
	t     *testing.T
	stays *constants // of a fresh host
	tally *tally
	try   func(*stage, point) error

	stage *stage // as good as new; nil: there is none
}

// play tries a point, on the stage that is there if it can be.
func (pl *player) play(p point) {
	st := pl.stage
	if st == nil || p.fresh {
		var err error
		if st, err = newStage(pl.t, p.scene, p.path, p.fresh); err != nil {
			pl.t.Errorf("%v: %v", p, err)
			return
		}
		if p.fresh {
			st.stays = pl.stays
		}
	}
	err := pl.try(st, p)
	missed := errors.Is(err, errMissed)
	if !p.fresh {
		if pl.stage = st; err != nil && !missed {
			pl.stage = nil
		}
	}
	if err != nil && !missed {
		pl.t.Errorf("%v: %v", p, err)
	}
	pl.tally.count(p.scene, err)
}

// report logs points tried and survived of each scene.
func (c *tally) report(t *testing.T, points []point) {
	t.Helper()
	total := map[string]int{}
	var names []string
	for _, p := range points {
		if total[p.scene.name]++; total[p.scene.name] == 1 {
			names = append(names, p.scene.name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		t.Logf("%-35s points %4d, tried %4d, survived %4d", name, total[name], c.tried[name], c.survived[name])
	}
	t.Logf("%d points were not met, since threads ran in another order", c.missed)
}

// errMissed says that a run had fewer calls than the one that was listed.
var errMissed = errors.New("the call was not made")

// TestKill kills plugins before and after each call that changes something, without their
// children at each of theirs, and asks them to end at each: nothing is left by DEL or GC, or
// by the plugin itself.
func TestKill(t *testing.T) {
	t.Parallel()
	needHost(t)
	ctx, lots := campaign.Begin(t, 10*time.Second)
	points, stays := pointsOf(t, func(p point, calls []skeltest.SystemCall) []point {
		var all []point
		add := func(kind skeltest.FaultKind, clean string) {
			q := p
			q.kind, q.clean = kind, clean
			all = append(all, q)
		}
		if calls != nil && calls[p.at-1].ByChild() {
			alone := point{scene: p.scene, path: p.path, fresh: p.fresh, command: p.command, kind: skeltest.KillAlone}
			alone.at = count(calls[:p.at], skeltest.SystemCall.ByChild)
			for _, alone.clean = range []string{byDel, byGC} {
				all = append(all, alone)
			}
		}
		for _, kind := range []skeltest.FaultKind{skeltest.KillBefore, skeltest.KillAfter} {
			add(kind, byDel)
			add(kind, byGC)
		}
		if p.command == types.CommandAdd {
			add(skeltest.Terminate, byItself)
		} else {
			add(skeltest.Terminate, byDel)
		}
		return all
	})
	play(ctx, t, lots, points, stays, (*stage).survive)
}

// count counts the calls of which something is so.
func count(calls []skeltest.SystemCall, is func(skeltest.SystemCall) bool) (n int) {
	for _, c := range calls {
		if is(c) {
			n++
		}
	}
	return n
}

// A GC that is killed half-way leaves nothing that DEL does not find: not the claim to a
// port, which nobody else could have then.
func TestKill_claims(t *testing.T) {
	t.Parallel()
	needHost(t)
	s := scenes()[0]
	st, err := newStage(t, s, executables(t, s), false)
	if err != nil {
		t.Fatal(err)
	}
	for fault := range skeltest.Faults(&skeltest.Fault{Kind: skeltest.KillAfter}) {
		c := st.container("guest")
		if _, err := st.add(nil, c); err != nil {
			t.Fatal(err)
		}
		const portmap = 1
		_, err := st.run(fault, portmap, types.CommandGC, nil, nil)
		if _, ok := fault.Struck(); ok != (err != nil) {
			t.Errorf("%v: GC = %v", fault, err)
		}
		if err := st.del(nil, c); err != nil {
			t.Errorf("%v: %v", fault, err)
		}
		if err := st.clean("DEL"); err != nil {
			t.Errorf("%v: %v", fault, err)
		}
	}
}

// pointsOf returns what each says of each call of each command, and what stays of the
// first container of a scene on a fresh host.
func pointsOf(t *testing.T, each func(p point, calls []skeltest.SystemCall) []point) (all []point, stays map[string]*constants) {
	t.Helper()
	if !campaign.Long() && *onlyScene == "" {
		return shortPoints(t, each), nil
	}
	stays = map[string]*constants{}
	var mu sync.Mutex
	var group sync.WaitGroup
	filter := regexp.MustCompile(*onlyScene)
	for _, s := range scenes() {
		if !filter.MatchString(s.name) {
			continue
		}
		path := executables(t, s)
		for _, fresh := range []bool{false, true} {
			group.Go(func() {
				found, stay, err := calls(t, s, path, fresh)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("%s: %v", s.name, err)
				}
				if fresh {
					stays[s.name] = stay
				}
				for command, list := range found {
					for i := range list {
						all = append(all, each(point{scene: s, path: path, fresh: fresh, command: command, at: i + 1}, list)...)
					}
				}
			})
		}
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	slices.SortFunc(all, func(a, b point) int { return strings.Compare(a.String(), b.String()) })
	return all, stays
}

// shortPoints is the short version of pointsOf, for the scenes that are most different: it
// takes as many calls for granted as there are about, since to list them takes longer
// than to try some. What is beyond is missed.
func shortPoints(t *testing.T, each func(p point, calls []skeltest.SystemCall) []point) (all []point) {
	t.Helper()
	about := map[types.Command]int{types.CommandAdd: 36, types.CommandDel: 8, types.CommandGC: 8}
	for _, s := range scenes() {
		if !s.short {
			continue
		}
		path := executables(t, s)
		for _, command := range []types.Command{types.CommandAdd, types.CommandDel, types.CommandGC} {
			for i := range about[command] {
				all = append(all, each(point{scene: s, path: path, command: command, at: i + 1}, nil)...)
			}
		}
	}
	return all
}

// undisturbed ends a try whose point was not met. The plugin has to have done its work
// then, with err, and DEL has to succeed.
func (st *stage) undisturbed(c *subject, err error) error {
	if err == nil {
		err = st.del(nil, c)
	}
	if err != nil {
		return fmt.Errorf("undisturbed: %w", err)
	}
	return errMissed
}

// survive tries a point of the campaign Kill.
func (st *stage) survive(p point) error {
	c, fault := st.container("guest"), p.fault()
	err := st.struck(p, c, fault)
	if _, ok := fault.Struck(); !ok {
		return st.undisturbed(c, err)
	}
	if err := st.cleaned(p, c, err); err != nil {
		return fmt.Errorf("%v: %w", fault, err)
	}
	if err := st.again(); err != nil {
		return fmt.Errorf("%v: %w", fault, err)
	}
	if st.fresh {
		// Whatever happened, nobody has to tidy up by hand behind the last container.
		if err := st.gc(nil); err != nil {
			return fmt.Errorf("%v: the last GC: %w", fault, err)
		}
		if err := st.clean(byGC); err != nil {
			return fmt.Errorf("%v: the last GC: %w", fault, err)
		}
	}
	return nil
}

// struck runs the command of a point under its fault.
func (st *stage) struck(p point, c *subject, fault *skeltest.Fault) error {
	if p.command != types.CommandAdd {
		if _, err := st.add(nil, c); err != nil {
			return fmt.Errorf("undisturbed ADD: %w", err)
		}
	}
	switch p.command {
	case types.CommandAdd:
		_, err := st.add(fault, c)
		return err
	case types.CommandDel:
		return st.del(fault, c)
	}
	return st.gc(fault)
}

// cleaned cleans up as the point says, and compares; err is what came of the fault.
func (st *stage) cleaned(p point, c *subject, err error) error {
	var o *ending
	if err != nil && !errors.As(err, &o) {
		return err
	}
	switch {
	case p.clean == byGC:
		err = st.gc(nil)
	case p.clean == byItself && o != nil && !o.gaveUp():
		// The plugins before have had no reason to undo anything.
		err = st.delBefore(nil, o.position, c)
	default:
		err = st.del(nil, c)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.clean, err)
	}
	return st.clean(p.clean)
}
