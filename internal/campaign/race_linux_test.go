// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/campaign"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/types"
)

// racers is how many containers are attached and detached at one time, each by
// processes of its own.
const racers = 64

// raceNetwork has few more addresses than racers, so that each one is soon handed out
// again.
const raceNetwork = `{"cniVersion":"1.1.0","name":"race","plugins":[
	{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"ipMasqBackend":"BACKEND","macspoofchk":true,
		"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[
			[{"subnet":"10.66.0.0/24","rangeStart":"10.66.0.10","rangeEnd":"10.66.0.99"}],
			[{"subnet":"2001:db8:66::/64","rangeStart":"2001:db8:66::10","rangeEnd":"2001:db8:66::69"}]]}},
	{"type":"portmap","backend":"BACKEND","capabilities":{"portMappings":true}}]}`

// Races: adding, checking and deleting at random, with processes killed at random and
// containers that are forgotten, which GC collects beside it all.
//
// Seeds that are multiples of three have the backend iptables.
//
// What a runtime has to serialise is what this one does: a container is on the list of
// valid attachments from before its first ADD until after its last DEL, so it is not
// registered while a GC runs that has a list without it.
func TestRaces(t *testing.T) {
	backend := "nftables"
	if campaign.Seed()%3 == 0 {
		backend = "iptables"
	}
	n := newRaceNode(t, strings.ReplaceAll(raceNetwork, "BACKEND", backend))
	before := n.prime(t)
	ctx, lots := campaign.Begin(t, 4*time.Second)
	r := &race{raceNode: n, t: t, valid: map[string]bool{}, pace: 100 * time.Millisecond}
	var all sync.WaitGroup
	live := make([]*racer, racers)
	for i := range live {
		live[i] = &racer{race: r, slot: i, lots: campaign.Lots(uint64(i + 1))}
		all.Go(func() { live[i].run(ctx) })
	}
	stop := make(chan struct{})
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		r.collect(stop)
	}()
	all.Wait()
	close(stop)
	<-collected
	r.settle(live, lots.IntN(2) == 0)
	for _, p := range n.book.problems {
		t.Error(p)
	}
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(n.leftovers(t), "\n")); diff != "" {
		t.Errorf("left at the end (-before +after):\n%s", diff)
	}
	t.Logf("%d ADD, %d CHECK, %d DEL, %d GC; %d struck, %d late; %d containers forgotten; %d addresses handed out",
		r.count["ADD"], r.count["CHECK"], r.count["DEL"], r.count["GC"], r.count["struck"], r.count["late"], r.count["forgotten"], n.book.granted)
	if n.book.granted == 0 {
		t.Error("no address was handed out")
	}
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the campaign ended early: %v", err)
	}
}

// prime runs the network once, so that there is what stays for ever, such as the
// bridge, and returns what is left then.
func (n *raceNode) prime(t *testing.T) string {
	t.Helper()
	p := &pod{id: "prime", ports: portsOf(racers)}
	p.ns = newNS(t)
	for _, o := range []outcome{n.add(p, nil, 0), n.check(p), n.del(p, nil, 0), n.gc([]types.Attachment{})} {
		if o.err != nil {
			t.Fatal(o.err)
		}
	}
	return n.leftovers(t)
}

func newNS(t *testing.T) *ns.NS {
	t.Helper()
	n, err := ns.New()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// portsOf are the port mappings of the container in a slot.
func portsOf(slot int) string {
	protocol := "tcp"
	if slot%4 == 0 {
		protocol = "udp"
	}
	return fmt.Sprintf(`[{"hostPort":%d,"containerPort":80,"protocol":%q}]`, 20000+slot, protocol)
}

// A race is what all racers share.
type race struct {
	*raceNode
	t *testing.T

	registry sync.RWMutex // read: to register a container; write: GC
	mu       sync.Mutex
	valid    map[string]bool
	count    map[string]int
	pace     time.Duration // what an operation takes of late
}

// note counts an operation, and is told how long it took.
func (r *race) note(what string, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = map[string]int{}
	}
	r.count[what]++
	if took > 0 {
		r.pace += (took - r.pace) / 16
	}
}

// done counts an operation and reports whether it succeeded. An error is a failure of the
// test unless a signal explains it, or it is code 11: then the machine was too slow for so
// many at once, which shows when it is tried again with nothing else running.
func (r *race) done(what string, p *pod, start time.Time, o outcome) bool {
	took := time.Since(start)
	if o.struck {
		took = 0
		r.note("struck", 0)
	}
	r.note(what, took)
	if o.late() {
		r.note("late", 0)
		return false
	}
	if o.err != nil && !o.struck {
		id := ""
		if p != nil {
			id = p.id
		}
		r.t.Errorf("%s %s: %v", what, id, o.err)
	}
	return o.err == nil
}

// collect runs GC again and again.
func (r *race) collect(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(200 * time.Millisecond):
		}
		r.registry.Lock()
		start := time.Now()
		r.done("GC", nil, start, r.gc(r.attachments()))
		r.registry.Unlock()
	}
}

func (r *race) attachments() []types.Attachment {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []types.Attachment{}
	for id := range r.valid {
		all = append(all, types.Attachment{ContainerID: id, IfName: "eth0"})
	}
	return all
}

// settle detaches what is left: by DEL, of the containers that the runtime remembers, or
// by GC alone. In either case GC of nothing valid ends it.
func (r *race) settle(live []*racer, byDEL bool) {
	var all sync.WaitGroup
	for _, x := range live {
		if byDEL && x.pod != nil {
			all.Go(func() {
				o := r.del(x.pod, nil, 0)
				x.late = x.late || o.late()
				r.done("DEL", x.pod, time.Now(), o)
			})
		}
	}
	all.Wait()
	for _, x := range live {
		if x.late && x.pod != nil {
			r.retry(x.pod)
		}
	}
	if o := r.gc([]types.Attachment{}); o.err != nil {
		r.t.Errorf("GC with nothing else running: %v", o.err)
	}
	for _, x := range live {
		if x.pod != nil {
			r.wantBare(x.pod)
			if err := x.pod.ns.Close(); err != nil {
				r.t.Error(err)
			}
		}
	}
}

// retry does with nothing else running what was late before.
func (r *race) retry(p *pod) {
	for _, o := range []outcome{r.del(p, nil, 0), r.add(p, nil, 0), r.check(p), r.del(p, nil, 0)} {
		if o.err != nil {
			r.t.Errorf("again, with nothing else running: %v", o.err)
		}
	}
}

// late reports whether all that was said is that it should be tried again later.
func (o outcome) late() bool { return o.err != nil && !o.struck && o.later }

// A racer attaches and detaches one container after the other.
type racer struct {
	*race
	slot, generation int
	lots             *rand.Rand
	pod              *pod // nil before the first one
	attached, clean  bool // clean: the last DEL succeeded, or there was no ADD
	late             bool // an operation was told to come again
}

func (x *racer) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := x.step(); err != nil {
			x.t.Errorf("racer %d: %v", x.slot, err)
			return
		}
	}
}

func (x *racer) step() error {
	if x.pod == nil {
		return x.register()
	}
	start := time.Now()
	switch lot := x.lots.IntN(20); {
	case lot == 0:
		return x.forget()
	case x.clean:
		x.clean = false
		o := x.add(x.pod, x.strike(), x.lots.IntN(2))
		x.late = x.late || o.late()
		x.attached = x.done("ADD", x.pod, start, o)
	case x.attached && lot < 6:
		x.done("CHECK", x.pod, start, x.check(x.pod))
	default:
		x.attached = false
		o := x.del(x.pod, x.strike(), x.lots.IntN(2))
		x.late = x.late || o.late()
		x.clean = x.done("DEL", x.pod, start, o)
		if x.clean {
			x.wantBare(x.pod)
		}
	}
	return nil
}

// register makes a new container known to the runtime.
func (x *racer) register() error {
	n, err := ns.New()
	if err != nil {
		return err
	}
	x.generation++
	x.pod = &pod{id: fmt.Sprintf("slot%d-%d", x.slot, x.generation), ns: n, ports: portsOf(x.slot)}
	x.clean = true
	x.registry.RLock()
	defer x.registry.RUnlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.valid[x.pod.id] = true
	return nil
}

// forget lets go of the container and its namespace without DEL, as a runtime does that
// crashed; GC takes what is left. The port of the slot is the next container's only then.
func (x *racer) forget() error {
	x.mu.Lock()
	delete(x.valid, x.pod.id)
	x.mu.Unlock()
	x.book.release(x.pod.id)
	x.note("forgotten", 0)
	err := x.pod.ns.Close()
	x.pod = nil
	start := time.Now()
	x.registry.Lock()
	defer x.registry.Unlock()
	x.done("GC", nil, start, x.gc(x.attachments()))
	return err
}

// strike draws whether, when and how an operation is struck.
func (x *racer) strike() *strike {
	if x.lots.IntN(3) > 0 {
		return nil
	}
	x.mu.Lock()
	pace := x.pace
	x.mu.Unlock()
	s := &strike{after: time.Duration(x.lots.Int64N(int64(pace)*5/4 + 1)), signal: syscall.SIGKILL, delegate: x.lots.IntN(3) == 0}
	if x.lots.IntN(4) == 0 {
		s.signal = syscall.SIGTERM
	}
	return s
}

// wantBare reports an interface that a detached container still has.
func (r *race) wantBare(p *pod) {
	err := p.ns.Do(func() error {
		links, err := net.Interfaces()
		if len(links) > 1 {
			err = fmt.Errorf("container %s has links %v, want lo alone", p.id, links)
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
}

// First ADD on a fresh node by 16 processes at once: bridge, tables and directory are
// made once, and everybody gets what they need.
//
// In its short version, only with nftables: iptables takes its time.
func TestRaces_freshNode(t *testing.T) {
	backends := []string{"nftables"}
	if campaign.Long() {
		backends = append(backends, "iptables")
	}
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) { freshNode(t, backend) })
	}
}

func freshNode(t *testing.T, backend string) {
	const many = 16
	n := newRaceNode(t, strings.ReplaceAll(raceNetwork, "BACKEND", backend))
	pods, late := make([]*pod, many), make([]bool, many)
	var all sync.WaitGroup
	for i := range pods {
		pods[i] = &pod{id: fmt.Sprint("fresh", i), ns: newNS(t), ports: portsOf(i)}
		all.Go(func() {
			o := n.add(pods[i], nil, 0)
			if late[i] = o.late(); o.err != nil && !late[i] {
				t.Errorf("ADD %s: %v", pods[i].id, o.err)
			}
		})
	}
	all.Wait()
	for i, p := range pods {
		if late[i] {
			if o := n.add(p, nil, 0); o.err != nil {
				t.Errorf("ADD %s, with nothing else running: %v", p.id, o.err)
			}
		}
	}
	for _, p := range n.book.problems {
		t.Error(p)
	}
	if got, want := n.book.granted, 2*many; got != want {
		t.Errorf("%d addresses were handed out, want %d", got, want)
	}
	for _, p := range pods {
		all.Go(func() {
			if o := n.check(p); o.err != nil {
				t.Errorf("CHECK %s: %v", p.id, o.err)
			}
			if o := n.del(p, nil, 0); o.err != nil {
				t.Errorf("DEL %s: %v", p.id, o.err)
			}
			if err := p.ns.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// What is left is what one container alone leaves.
	alone := newRaceNode(t, strings.ReplaceAll(raceNetwork, "BACKEND", backend))
	p := &pod{id: "alone", ns: newNS(t), ports: portsOf(1)}
	for _, o := range []outcome{alone.add(p, nil, 0), alone.del(p, nil, 0)} {
		if o.err != nil {
			t.Fatal(o.err)
		}
	}
	if err := p.ns.Close(); err != nil {
		t.Error(err)
	}
	rules := func(n *raceNode) []string {
		return strings.Split(string(n.Host.Output(t, "nft", "list", "ruleset")), "\n")
	}
	if diff := cmp.Diff(rules(alone), rules(n)); diff != "" {
		t.Errorf("rules of a network (-one container at a time +16 at once):\n%s", diff)
	}
	if got := n.Reservations(t, "race"); len(got) > 0 {
		t.Errorf("reservations left = %v, want none", got)
	}
}
