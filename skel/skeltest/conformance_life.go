// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cnikit/cnikit/types"
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
		{id: "LIFE-008", needs: needPlainAdd, once: true, run: func(t *trial) {
			t.withoutLeftovers("ADD and DEL of one attachment at once, and then DEL", func() {
				for range 4 {
					add, del := t.call("ADD"), t.call("DEL")
					t.parallel(2, func(i int) *call { return []*call{add, del}[i] })
					t.accepts(t.call("DEL"), "DEL after ADD and DEL of one attachment at once")
				}
			})
		}},
		{id: "LIFE-010", needs: needPlainAdd, kinds: kernel, once: true, run: func(t *trial) {
			t.patience()
			t.works(t.call("ADD"), "ADD")
			t.works(t.call("DEL"), "DEL")
			release, n, err := holdLocks(filepath.Join(t.dir, "data"))
			t.must(err)
			defer release()
			if n == 0 {
				t.na("it keeps no lock in its directory")
			}
			if s := t.bounded(t.call("ADD")); s.failed() && s.Problem == "" {
				t.wantCode(s, "ADD while another process holds the lock", types.ErrTryAgainLater)
			} else if s.Problem == "" {
				t.na("the file is not its lock")
			}
		}},
		{id: "LIFE-011", needs: needDelegate, kinds: kernel, once: true, run: func(t *trial) { t.unlocked() }},
		{id: "LIFE-012", needs: needPlainAdd, once: true, run: func(t *trial) {
			cycle := func(i int) {
				t.works(t.call("ADD").set("CNI_CONTAINERID", t.container(i)), "ADD")
				t.works(t.call("DEL").set("CNI_CONTAINERID", t.container(i)), "DEL")
			}
			cycle(1)
			before, size := t.states(), t.size()
			const cycles = 10
			for i := range cycles {
				cycle(i + 2)
			}
			if diff := Diff(before, t.states()); diff != "" {
				t.fail("%d cycles of ADD and DEL leave:\n%s", cycles, diff)
			}
			for _, dir := range []string{os.TempDir(), "/run", "/var/lib/cni"} {
				t.leftIn(dir)
			}
			// A counter may have a digit more; a journal has a line more each time.
			if grown := t.size() - size; grown >= 8*cycles {
				t.fail("%d cycles of ADD and DEL let the files grow by %d bytes", cycles, grown)
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
			for what, other := range inOrder(map[string]func(*call) *call{
				"another interface": func(c *call) *call { return c.set("CNI_IFNAME", "net1") },
				// Its ID begins like that of the first.
				"another container": func(c *call) *call { return c.set("CNI_CONTAINERID", t.container(1)) },
			}) {
				t.works(other(t.call("ADD")), "ADD of "+what)
				before := t.states()
				t.works(t.call("ADD"), "ADD")
				t.works(t.call("DEL"), "DEL")
				if diff := Diff(before, t.states()); strings.Contains(diff, "-file") {
					t.fail("DEL takes from %s:\n%s", what, diff)
				}
				t.run(other(t.call("DEL")))
			}
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
		{id: "LIFE-017", needs: needPlainAdd, once: true, run: func(t *trial) {
			t.withoutLeftovers("ADD, and DEL when the configuration has lost what it said", func() {
				t.works(t.call("ADD"), "ADD")
				c := t.call("DEL")
				for key, value := range c.conf {
					if ipam, ok := value.(map[string]any); ok && key == "ipam" {
						maps.DeleteFunc(ipam, func(_ string, v any) bool { _, text := v.(string); return !text })
					} else if !slices.Contains([]string{"cniVersion", "name", "type"}, key) {
						delete(c.conf, key)
					}
				}
				t.run(c)
				t.gone()
			})
		}},
		{id: "LIFE-019", needs: needAdd, kinds: []Kind{KindInterface}, once: true, run: func(t *trial) {
			stem := strings.Repeat("0", 63-len(t.id)) + t.id
			t.must(t.answer(stem+"b", netip.MustParsePrefix("10.88.0.3/24"), testGateway))
			for id, ns := range inOrder(map[string]string{stem + "a": t.netns(), stem + "b": t.another().Path()}) {
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
		if s.stopped() {
			t.x.hung.Add(-1)
		}
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

// size is the size of all that the plugin keeps in the directory of the case.
func (t *trial) size() (bytes int64) {
	t.must(filepath.WalkDir(filepath.Join(t.dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	}))
	return bytes
}

// unlocked checks that an ADD whose delegate takes its time keeps no other ADD waiting.
func (t *trial) unlocked() {
	slow := t.container(1)
	pipe, err := t.delegate.hold(types.CommandAdd, slow)
	t.must(err)
	waiting := make(chan Step, 1)
	c := t.call("ADD").named(slow, t.another().Path())
	c.timeout = 2 * t.x.target.Profile.timeout() // it waits for the other one
	go func() { waiting <- t.execute(c, nil) }()
	release, err := openWhenRead(pipe, t.x.target.Profile.timeout())
	if err != nil {
		t.steps = append(t.steps, <-waiting)
		t.na("its delegate is not run: %v", err)
	}
	if s := t.run(t.call("ADD")); s.Problem != "" {
		t.fail("while the IPAM plugin of one ADD takes its time, another ADD waits: %s", s.Problem)
	}
	_, err = release.Write(mustJSON(t.ipamResult()))
	err = errors.Join(err, release.Close()) // the end of the pipe is the end of the answer
	if s := <-waiting; s.Problem != "" {
		t.steps = append(t.steps, s)
		t.na("with the answer, the ADD that waits does not end well, which other rules judge: %s", s.Problem)
	}
	t.must(err)
}

// leftIn checks that no file below a directory has the name of a container of the
// case: it is the same for all of the machine, so that others may come and go.
func (t *trial) leftIn(dir string) {
	for _, pattern := range []string{"*", "*/*"} {
		all, err := filepath.Glob(filepath.Join(dir, pattern))
		t.must(err)
		for _, path := range all {
			if strings.Contains(filepath.Base(path), t.id) && !strings.HasPrefix(path, t.x.dir) {
				t.fail("ADD and DEL leave %s", path)
			}
		}
	}
}
