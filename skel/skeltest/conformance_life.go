// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"net/netip"
	"strings"
	"sync"
	"time"
)

func lifeChecks() []check {
	kernel := []Kind{KindInterface, KindIPAM}
	return []check{
		{id: "LIFE-002", needs: needAdd, run: func(t *trial) {
			t.works(t.call("ADD"), "ADD")
			t.works(t.call("DEL"), "DEL")
			if _, err := t.box().Snapshot(); err != nil {
				t.fail("after DEL the namespace is gone: %v", err)
			}
		}},
		{id: "LIFE-005", needs: needPlainAdd, kinds: kernel, once: true, run: func(t *trial) { t.crowd(8) }},
		{id: "LIFE-006", needs: needPlainAdd, kinds: kernel, once: true, run: func(t *trial) {
			// The first attachments of all make what is shared, at once.
			for _, s := range t.parallel(6, t.crowded(6)) {
				if s.failed() {
					t.fail("ADD at once with others, as the first of all: %s", s.summary())
				}
			}
		}},
		{id: "LIFE-007", needs: needDelegate, kinds: []Kind{KindInterface}, once: true, run: func(t *trial) {
			ns := t.netns()
			names := []string{"eth0", "eth1"}
			for _, s := range t.parallel(2, func(i int) *call {
				return t.call("ADD").named(t.container(0), ns).set("CNI_IFNAME", names[i]).without("ipam").with("isGateway", false)
			}) {
				if s.failed() && len(t.failures) == 0 {
					t.fail("ADD of two interfaces of one container at once: %s", s.summary())
				}
			}
			if len(t.failures) > 0 {
				t.failures = nil
				t.na("it does not work without ipam")
			}
		}},
		{id: "LIFE-009", needs: needPlainAdd, once: true, run: func(t *trial) { t.survives() }},
		{id: "LIFE-013", needs: needPlainAdd, kinds: kernel, once: true, run: func(t *trial) {
			if t.x.target.inProcess() != nil {
				t.na("a plugin in-process cannot be killed")
			}
			t.killed()
		}},
		{id: "LIFE-014", needs: needPlainAdd, kinds: []Kind{KindIPAM}, run: func(t *trial) {
			t.works(t.call("ADD"), "ADD")
			before := t.states()
			t.works(t.call("ADD").with("name", "conformance-b"), "ADD of the same container to another network")
			t.works(t.call("DEL").with("name", "conformance-b"), "DEL from the other network")
			if diff := Diff(before, t.states()); strings.Contains(diff, "-file") {
				t.fail("DEL from one network takes from another:\n%s", diff)
			}
		}},
		{id: "LIFE-019", needs: needAdd, kinds: []Kind{KindInterface}, once: true, run: func(t *trial) {
			stem := strings.Repeat("0", 63-len(t.id)) + t.id
			t.must(t.answer(stem+"b", netip.MustParsePrefix("10.88.0.3/24"), testGateway))
			for id, ns := range map[string]string{stem + "a": t.netns(), stem + "b": t.another().Path()} {
				t.accepts(t.call("ADD").named(id, ns), "ADD of two containers whose IDs differ in the last of 64 characters")
			}
		}},
		{id: "LIFE-021", needs: needPlainAdd, kinds: []Kind{KindChained}, once: true, run: func(t *trial) {
			want := ""
			for range 10 {
				s := t.works(t.call("ADD"), "ADD")
				if got := string(s.Stdout); want != "" && got != want {
					t.fail("the same request gives %s, and then %s", short([]byte(want)), short([]byte(got)))
				} else {
					want = got
				}
				t.run(t.call("DEL"))
			}
		}},
		{id: "LIFE-022", needs: needPlainAdd, run: func(t *trial) {
			result := t.added()
			t.must(removeState(t.dir))
			t.accepts(t.del(result).unset("CNI_NETNS"), "DEL after a reboot, with state and namespace gone")
		}},
		{id: "LIFE-024", needs: needPlainAdd, once: true, run: func(t *trial) {
			t.accepts(t.call("ADD").in("/"), "ADD with nothing but CNI's variables in the environment")
			t.run(t.call("DEL"))
		}},
	}
}

// parallel runs requests at once.
func (t *trial) parallel(n int, request func(i int) *call) []*Step {
	calls := make([]*call, n)
	for i := range calls {
		calls[i] = request(i)
	}
	steps := make([]*Step, n)
	var wait sync.WaitGroup
	for i := range calls {
		wait.Go(func() {
			s := t.execute(calls[i], nil)
			steps[i] = &s
		})
	}
	wait.Wait()
	for _, s := range steps {
		if s.failed() {
			t.steps = append(t.steps, *s)
		}
	}
	return steps
}

// crowded returns the ADDs of n containers with addresses of their own.
func (t *trial) crowded(n int) func(i int) *call {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = t.netns()
		if t.x.target.Profile.Kind != KindIPAM {
			paths[i] = t.another().Path()
		}
		addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 88, 0, byte(10 + i)}), 24)
		t.must(t.answer(t.container(i+10), addr, testGateway))
	}
	return func(i int) *call { return t.call("ADD").named(t.container(i+10), paths[i]) }
}

// crowd attaches and detaches n containers at once and checks that nothing is left.
func (t *trial) crowd(n int) {
	t.withoutLeftovers("ADD and DEL of containers at once", func() {
		add := t.crowded(n)
		for _, s := range t.parallel(n, add) {
			if s.failed() {
				t.fail("ADD at once with others: %s", s.summary())
			}
		}
		for _, s := range t.parallel(n, func(i int) *call { return add(i).set("CNI_COMMAND", "DEL").without("prevResult") }) {
			if s.failed() {
				t.fail("DEL at once with others: %s", s.summary())
			}
		}
	})
}

// survives checks that an ADD that is killed does not keep the next one waiting.
func (t *trial) survives() {
	if t.x.target.inProcess() != nil {
		t.na("a plugin in-process cannot be killed")
	}
	add := t.call("ADD")
	add.timeout = 3 * time.Millisecond
	for range 3 {
		s := t.execute(add, nil)
		t.x.hung.Add(-1)
		t.steps = append(t.steps, s)
		t.run(t.call("DEL"))
	}
	next := t.call("ADD")
	next.timeout = t.x.target.Profile.timeout() / 2
	if s := t.execute(next, nil); s.Problem != "" {
		t.steps = append(t.steps, s)
		t.fail("after an ADD that was killed, the next one does not end: %s", s.Problem)
	}
	t.run(t.call("DEL"))
}
