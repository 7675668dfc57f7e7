// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/types"
)

// patience is how long an execution may take before it counts as a deadlock: far more
// than the plugins' own limits.
const patience = 3 * time.Minute

// A raceNode is a host whose plugins run as executables, the delegate too, and whose
// processes can be struck while they work.
type raceNode struct {
	*plugintest.Node
	path    []string // CNI_PATH
	network *types.Network
	book    ledger
}

// newRaceNode makes a host for one network. The delegate is a copy of the executable,
// since the same one would be called without a process.
func newRaceNode(t *testing.T, network string) *raceNode {
	t.Helper()
	n := &raceNode{Node: plugintest.NewNode(t, "bridge", "ptp", "portmap"), book: ledger{held: map[netip.Addr]string{}}}
	dir := t.TempDir()
	copyExecutable(t, filepath.Join(dir, "host-local"))
	n.path = []string{n.Runtime.Path[0], dir}
	n.network = n.Network(t, network)
	return n
}

// copyExecutable copies the running executable to a file.
func copyExecutable(t *testing.T, to string) {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, self)
	if err := errors.Join(err, f.Close(), self.Close()); err != nil {
		t.Fatal(err)
	}
}

// A pod is a container with its namespace, as the runtime knows it.
type pod struct {
	id     string
	ns     *ns.NS
	result []byte // of the last ADD
	ports  string // the capability portMappings
}

func (p *pod) netns() string {
	if p.ns == nil {
		return ""
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), p.ns.Fd())
}

// A strike is a signal to an execution while it works.
type strike struct {
	after    time.Duration
	signal   syscall.Signal
	delegate bool // to its child processes instead
}

// An outcome is how one execution ended.
type outcome struct {
	stdout []byte
	err    error
	struck bool // a signal was sent to it or to a child
	later  bool // it failed, and said no more than to come again
	state  *os.ProcessState
}

// execute runs one command of one plugin.
func (n *raceNode) execute(plugin string, command types.Command, p *pod, stdin []byte, s *strike, environ ...string) outcome {
	path := ""
	for _, dir := range n.path {
		if _, err := os.Stat(filepath.Join(dir, plugin)); err == nil {
			path = filepath.Join(dir, plugin)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.WaitDelay = 30 * time.Second
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+string(command), "CNI_PATH="+strings.Join(n.path, ":"))
	if p != nil {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID="+p.id, "CNI_NETNS="+p.netns(), "CNI_IFNAME=eth0")
	}
	cmd.Env = append(cmd.Env, environ...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := n.Host.Start(cmd); err != nil {
		return outcome{err: err}
	}
	done := make(chan struct{})
	struck := make(chan bool, 1)
	go func() { struck <- s.deliver(cmd, done) }()
	err := cmd.Wait()
	close(done)
	o := outcome{stdout: stdout.Bytes(), err: err, struck: <-struck, state: cmd.ProcessState}
	switch said, bad := types.DecodeError(stdout.Bytes()); {
	case ctx.Err() != nil:
		o.err, o.struck = fmt.Errorf("%s %s: no end after %v", plugin, command, patience), false
	case err != nil && bad == nil:
		o.err, o.later = fmt.Errorf("%s %s: %w", plugin, command, said), said.Code == types.ErrTryAgainLater
	case err != nil:
		o.err = fmt.Errorf("%s %s: %w: stdout %q, stderr %q", plugin, command, err, stdout.Bytes(), stderr.Bytes())
	}
	return o
}

// deliver waits for the moment of the strike and sends the signal, and reports whether it
// did. The process cannot have been waited for, so its number is still its own; a child
// is held by a descriptor before it is looked at.
func (s *strike) deliver(cmd *exec.Cmd, done <-chan struct{}) bool {
	if s == nil {
		return false
	}
	select {
	case <-done:
		return false
	case <-time.After(s.after):
	}
	if !s.delegate {
		return cmd.Process.Signal(s.signal) == nil
	}
	hit := false
	for _, child := range children(cmd.Process.Pid) {
		fd, err := unix.PidfdOpen(child, 0)
		if err != nil {
			continue
		}
		if parentOf(child) == cmd.Process.Pid {
			hit = unix.PidfdSendSignal(fd, s.signal, nil, 0) == nil || hit
		}
		_ = unix.Close(fd)
	}
	return hit
}

// children lists the child processes of a process.
func children(pid int) []int {
	var all []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file) // the thread may have ended
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// parentOf returns the parent of a process, 0 if there is no such process.
func parentOf(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// request is the standard input of the plugin at a position.
func (n *raceNode) request(i int, params types.RequestParams, p *pod) ([]byte, error) {
	if p != nil && p.ports != "" {
		params.Capabilities = map[string]json.RawMessage{"portMappings": json.RawMessage(p.ports)}
	}
	return n.network.Request(i, params)
}

// plugins runs a command of all plugins of the network, in reverse for DEL. The strike
// hits the one at position victim.
func (n *raceNode) plugins(command types.Command, p *pod, params types.RequestParams, s *strike, victim int) outcome {
	var last outcome
	order := make([]int, len(n.network.Plugins))
	for i := range order {
		order[i] = i
	}
	if command == types.CommandDel {
		slices.Reverse(order)
	}
	var errs []error
	for _, i := range order {
		params.Command = command
		stdin, err := n.request(i, params, p)
		if err != nil {
			return outcome{err: err}
		}
		var hit *strike
		if i == victim {
			hit = s
		}
		o := n.execute(n.network.Plugins[i].Type, command, p, stdin, hit)
		last.struck = last.struck || o.struck
		last.stdout, last.state = o.stdout, o.state
		if o.err != nil {
			last.later = o.later && (last.later || len(errs) == 0)
			errs = append(errs, o.err)
		}
		if o.err != nil && command != types.CommandGC {
			break
		}
		if command == types.CommandAdd {
			params.PrevResult = o.stdout
		}
	}
	last.err = errors.Join(errs...)
	return last
}

// add attaches a pod and books its addresses.
func (n *raceNode) add(p *pod, s *strike, victim int) outcome {
	o := n.plugins(types.CommandAdd, p, types.RequestParams{}, s, victim)
	if o.err != nil {
		return o
	}
	result, err := types.DecodeResult(o.stdout, n.network.CNIVersion)
	if err != nil {
		o.err = err
		return o
	}
	p.result = o.stdout
	n.book.grant(p.id, result.IPs)
	return o
}

// del detaches a pod. From its beginning on the addresses may be another's.
func (n *raceNode) del(p *pod, s *strike, victim int) outcome {
	n.book.release(p.id)
	return n.plugins(types.CommandDel, p, types.RequestParams{PrevResult: p.result}, s, victim)
}

func (n *raceNode) check(p *pod) outcome {
	return n.plugins(types.CommandCheck, p, types.RequestParams{PrevResult: p.result}, nil, 0)
}

func (n *raceNode) gc(valid []types.Attachment) outcome {
	return n.plugins(types.CommandGC, nil, types.RequestParams{ValidAttachments: valid}, nil, 0)
}

// A ledger knows from the results alone who has which address.
type ledger struct {
	mu       sync.Mutex
	held     map[netip.Addr]string
	granted  int
	problems []string
}

func (l *ledger) grant(id string, ips []types.IP) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ip := range ips {
		a := ip.Address.Addr()
		if other, ok := l.held[a]; ok {
			l.problems = append(l.problems, fmt.Sprintf("%s was handed out to %s while %s had it", a, id, other))
		}
		l.held[a] = id
		l.granted++
	}
}

func (l *ledger) release(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a, holder := range l.held {
		if holder == id {
			delete(l.held, a)
		}
	}
}

// leftovers is everything on the host and in the data directory that a node which had
// containers may lose, as text.
func (n *raceNode) leftovers(t *testing.T) string {
	t.Helper()
	// Counters of handles and of networks' numbers go up; what matters has a name.
	return n.State(t) + string(n.Host.Output(t, "nft", "list", "ruleset"))
}
