// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/campaign"
	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// A happening is an op with its verdict and the time it took, from the call to the answer.
type happening struct {
	op       op
	verdict  verdict
	from, to time.Duration
}

// linearizable reports whether happenings at once can be put in an order, each at some
// moment between its call and its answer, in which the model says what they said.
//
// Source: J. M. Wing and C. Gong, Testing and Verifying Concurrent Objects, 1993: the
// search; G. Lowe, Testing for Linearizability, 2017: what has been tried once, the same
// ops done and the same state, is not tried again.
func linearizable(all []happening) bool {
	type tried struct {
		done uint64
		key  string
	}
	seen := map[tried]bool{}
	var search func(done uint64, m *model) bool
	search = func(done uint64, m *model) bool {
		if done == 1<<len(all)-1 {
			return true
		}
		if k := (tried{done, m.key()}); seen[k] {
			return false
		} else {
			seen[k] = true
		}
		// What has been answered first comes before all that was called later.
		first := time.Duration(1<<63 - 1)
		for i, h := range all {
			if done&(1<<i) == 0 {
				first = min(first, h.to)
			}
		}
		for i, h := range all {
			if done&(1<<i) != 0 || h.from > first {
				continue
			}
			if next := m.clone(); next.do(h.op) == h.verdict && search(done|1<<i, next) {
				return true
			}
		}
		return false
	}
	return search(0, newModel())
}

// mostHappenings is how many the search can tell apart.
const mostHappenings = 63

// record lets clients do their ops at once and returns what happened.
func record(t *testing.T, clients [][]op, do func(op) (verdict, error)) []happening {
	t.Helper()
	start := time.Now()
	var mu sync.Mutex
	var all []happening
	var group sync.WaitGroup
	for _, ops := range clients {
		group.Go(func() {
			for _, o := range ops {
				from := time.Since(start)
				got, err := do(o)
				to := time.Since(start)
				if err != nil {
					t.Errorf("%v: %v", o, err)
				}
				mu.Lock()
				all = append(all, happening{o, got, from, to})
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return all
}

// drawClients draws the ops of clients that are at it at once. Looking takes no lock,
// so looks are among them only where what they see appears at once: one address of one
// set.
func drawClients(random *rand.Rand, clients, each int) [][]op {
	plan := random.IntN(3)
	all := make([][]op, clients)
	for i := range all {
		for _, o := range drawOps(random, 4*each, func() int { return plan }) {
			if o.do == "status" || o.do == "check" && (plan > 0 || len(o.ask) > 1) {
				continue
			}
			if len(all[i]) < each {
				all[i] = append(all[i], o)
			}
		}
	}
	return all
}

func listHappenings(all []happening) string {
	slices.SortFunc(all, func(a, b happening) int { return int(a.from - b.from) })
	var lines []string
	for _, h := range all {
		lines = append(lines, fmt.Sprintf("%10v to %10v\t%v = %+v", h.from, h.to, h.op, h.verdict))
	}
	return strings.Join(lines, "\n")
}

// findDisorder looks for a history without an order until the context ends.
func findDisorder(ctx context.Context, t *testing.T, random *rand.Rand, open func(*testing.T) ipam.Store) (histories int, disorder []happening) {
	for ctx.Err() == nil && !t.Failed() {
		histories++
		s := open(t)
		all := record(t, drawClients(random, 2+random.IntN(4), 2+random.IntN(9)), func(o op) (verdict, error) { return apply(t.Context(), s, o) })
		if len(all) > mostHappenings {
			t.Fatalf("%d happenings, want at most %d", len(all), mostHappenings)
		}
		if !linearizable(all) {
			return histories, all
		}
	}
	return histories, nil
}

// What goroutines do at once with a store could have happened one after the other.
// LIFE-005 to LIFE-007.
func TestModelHistory(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) ipam.Store{"memory": openMemory, "files": openFiles} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, random := campaign.Begin(t, time.Second)
			histories, disorder := findDisorder(ctx, t, random, open)
			t.Logf("%d histories", histories)
			if disorder != nil {
				t.Errorf("this cannot have happened in any order:\n%s", listHappenings(disorder))
			}
		})
	}
}

// loose is a store whose Reserve looks first and then takes, whatever has happened in
// between: updates are not kept apart.
type loose struct{ *ipam.MemoryStore }

type looseTx struct {
	ipam.Tx
	s *ipam.MemoryStore
}

func (s loose) Update(ctx context.Context, f func(ipam.Tx) error) error {
	var inner ipam.Tx
	if err := s.MemoryStore.Update(ctx, func(tx ipam.Tx) error { inner = tx; return nil }); err != nil {
		return err
	}
	return f(looseTx{inner, s.MemoryStore}) // a transaction that has ended
}

func (tx looseTx) Reserve(addr netip.Addr, owner types.Attachment) error {
	if _, err := tx.Owner(addr); err == nil {
		return tx.Tx.Reserve(addr, owner)
	}
	runtime.Gosched()
	if have, err := tx.Owner(addr); err == nil {
		if err := tx.Release(addr, have); err != nil {
			return err
		}
	}
	return tx.Tx.Reserve(addr, owner)
}

// The search finds a store that does not keep its updates apart, and knows what can
// have happened from what cannot.
func TestModelHistory_planted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	random := campaign.Lots(2)
	histories, disorder := findDisorder(ctx, t, random, func(*testing.T) ipam.Store { return loose{&ipam.MemoryStore{}} })
	if disorder == nil {
		t.Errorf("%d histories of a loose store could all have happened", histories)
	}
	t.Logf("found in history %d", histories)

	c := func(n int) types.Attachment {
		return types.Attachment{ContainerID: fmt.Sprint("c", n), IfName: "eth0"}
	}
	add := func(n int, addr string, from, to time.Duration) happening {
		return happening{op{do: "add", owner: c(n)}, verdict{addrs: "[" + addr + "]"}, from, to}
	}
	del := func(n int, from, to time.Duration) happening {
		return happening{op{do: "del", owner: c(n)}, verdict{}, from, to}
	}
	tests := []struct {
		name string
		all  []happening
		want bool
	}{
		{"nothing", nil, true},
		{"one after the other", []happening{add(1, "10.0.0.2", 0, 1), add(2, "10.0.0.3", 2, 3)}, true},
		{"the other way round", []happening{add(1, "10.0.0.3", 0, 1), add(2, "10.0.0.2", 2, 3)}, false},
		{"the other way round, at once", []happening{add(1, "10.0.0.3", 0, 3), add(2, "10.0.0.2", 2, 4)}, true},
		{"twice the same", []happening{add(1, "10.0.0.2", 0, 3), add(2, "10.0.0.2", 2, 4)}, false},
		{"a DEL that did nothing", []happening{add(1, "10.0.0.2", 0, 1), del(1, 2, 3), add(1, "10.0.0.2", 4, 5)}, false},
		{"a DEL that came first", []happening{add(1, "10.0.0.2", 0, 9), del(1, 2, 3), add(1, "10.0.0.2", 4, 5)}, true},
	}
	for _, tt := range tests {
		if got := linearizable(tt.all); got != tt.want {
			t.Errorf("%s: linearizable(%v) = %t, want %t", tt.name, tt.all, got, tt.want)
		}
	}
}

// runProcess does an op by a process of the host-local plugin.
func runProcess(ctx context.Context, bin, dataDir string, o op) (verdict, error) {
	config := map[string]any{
		"cniVersion": "1.1.0", "name": "net", "type": "any",
		"ipam": map[string]any{"type": "host-local", "dataDir": dataDir, "ranges": plans[o.plan]},
	}
	environ := []string{"CNI_COMMAND=" + strings.ToUpper(o.do), "CNI_PATH=" + filepath.Dir(bin)}
	if o.do == "gc" {
		valid := []map[string]string{}
		for _, a := range o.valid {
			valid = append(valid, map[string]string{"containerID": a.ContainerID, "ifname": a.IfName})
		}
		config["cni.dev/valid-attachments"] = valid
	} else {
		environ = append(environ, "CNI_CONTAINERID="+o.owner.ContainerID, "CNI_IFNAME="+o.owner.IfName)
	}
	if o.do == "add" {
		environ = append(environ, "CNI_NETNS=/proc/1/ns/none")
		config["runtimeConfig"] = map[string]any{"ips": o.ask}
	}
	stdin, err := json.Marshal(config)
	if err != nil {
		return verdict{}, err
	}
	cmd := exec.CommandContext(ctx, bin)
	cmd.Env, cmd.Stdin = environ, bytes.NewReader(stdin)
	stdout, err := cmd.Output()
	var result struct {
		Code types.Code
		Msg  string
		IPs  []struct{ Address netip.Prefix }
	}
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0 {
		return verdict{}, err
	}
	if len(stdout) > 0 {
		if err := json.Unmarshal(stdout, &result); err != nil {
			return verdict{}, fmt.Errorf("%q: %w", stdout, err)
		}
	}
	if err != nil {
		switch result.Code {
		case types.ErrTryAgainLater, types.ErrInvalidNetworkConfig:
			return verdict{err: result.Code}, nil
		}
		return verdict{err: 999}, nil
	}
	if o.do != "add" {
		return verdict{}, nil
	}
	var got []netip.Addr
	for _, ip := range result.IPs {
		got = append(got, ip.Address.Addr())
	}
	return verdict{addrs: fmt.Sprint(got)}, nil
}

// What processes of the plugin do at once could have happened one after the other.
// LIFE-005 to LIFE-007.
func TestModelHistory_processes(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "host-local")
	if err := os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	ctx, random := campaign.Begin(t, 2*time.Second)
	histories, done := 0, 0
	for ctx.Err() == nil && !t.Failed() {
		dir := memoryDir(t)
		clients := drawClients(random, 4, 5)
		for i := range clients {
			clients[i] = slices.DeleteFunc(clients[i], func(o op) bool { return o.do == "check" })
		}
		all := record(t, clients, func(o op) (verdict, error) { return runProcess(t.Context(), bin, dir, o) })
		histories, done = histories+1, done+len(all)
		if !t.Failed() && !linearizable(all) {
			t.Errorf("this cannot have happened in any order:\n%s", listHappenings(all))
		}
	}
	t.Logf("%d histories of %d processes", histories, done)
}
