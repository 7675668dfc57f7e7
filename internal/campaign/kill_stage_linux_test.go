// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package campaign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// hang is when a plugin is taken to hang.
const hang = time.Minute

// A scene is a network whose plugins something happens to.
type scene struct {
	name     string
	plugins  []string
	together bool // the plugins are one executable, and delegate inside of it
	network  string
	ports    string // the value of the capability portMappings
	short    bool   // it is in the short version
}

const dualStack = `"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.60.0.0/24"}],[{"subnet":"fd60::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`

const twoPorts = `[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},{"hostPort":8053,"containerPort":53,"protocol":"udp"}]`

const (
	bridgePlugin   = `{"type":"bridge","bridge":"kill0","isDefaultGateway":true,"hairpinMode":true,"ipMasq":true,"macspoofchk":true,` + dualStack + `}`
	portmapPlugin  = `{"type":"portmap","capabilities":{"portMappings":true}}`
	iptablesBridge = `{"type":"bridge","bridge":"kill0","isDefaultGateway":true,"ipMasq":true,"ipMasqBackend":"iptables",` + dualStack + `}`
	iptablesPorts  = `{"type":"portmap","backend":"iptables","capabilities":{"portMappings":true}}`
	ptpPlugin      = `{"type":"ptp","ipMasq":true,` + dualStack + `}`
	hostLocal      = `{"type":"host-local",` + dualStack + `}`
)

func list(plugins ...string) string {
	return `{"cniVersion":"1.1.0","name":"kill","plugins":[` + strings.Join(plugins, ",") + `]}`
}

// scenes are all scenes, each with executables of their own and in one.
func scenes() []scene {
	var all []scene
	for _, together := range []bool{false, true} {
		suffix := map[bool]string{true: ", one executable"}[together]
		all = append(all,
			scene{"bridge, portmap" + suffix, []string{"bridge", "portmap", "host-local"}, together, list(bridgePlugin, portmapPlugin), twoPorts, !together},
			scene{"ptp" + suffix, []string{"ptp", "host-local"}, together, list(ptpPlugin), "", together})
	}
	return append(all,
		scene{"bridge, portmap by iptables", []string{"bridge", "portmap", "host-local"}, false, list(iptablesBridge, iptablesPorts), twoPorts, false},
		scene{"host-local", []string{"host-local"}, false, list(hostLocal), "", true})
}

// A stage is a host on which a scene is played. It has another container already, which
// is not to notice anything, unless it is fresh: then nothing was there before.
type stage struct {
	scene
	net          *types.Network
	path         string // of the plugins
	dir          string // of the reservations
	host         *skeltest.Namespace
	guest, other *skeltest.Namespace
	fresh        bool

	before []string           // what is there without the guest
	stays  *constants         // what may stay of the first guest of a fresh host
	shape  string             // of the host and the guest with the guest attached
	kept   []netip.Addr       // addresses of the other container
	keep   []types.Attachment // the other container, if there is one
}

// executables makes a directory with a plugin of each name, which is the test binary.
func executables(t *testing.T, s scene) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range s.plugins {
		path := filepath.Join(dir, name)
		if s.together {
			err = os.Symlink(self, path)
		} else {
			err = copyFile(self, path) // another file is another plugin
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), in.Close())
}

// newStage sets the stage.
func newStage(t *testing.T, s scene, path string, fresh bool) (*stage, error) {
	t.Helper()
	st := &stage{scene: s, path: path, dir: t.TempDir(), fresh: fresh, host: skeltest.New(t), guest: skeltest.New(t), other: skeltest.New(t), keep: []types.Attachment{}}
	var err error
	if st.net, err = types.ParseNetwork([]byte(strings.ReplaceAll(s.network, "DATADIR", st.dir))); err != nil {
		return nil, err
	}
	if fresh {
		st.before, err = st.state()
		return st, err
	}
	result, err := st.add(nil, st.container("other"))
	if err != nil {
		return nil, err
	}
	for _, ip := range result.IPs {
		st.kept = append(st.kept, ip.Address.Addr())
	}
	st.keep = append(st.keep, types.Attachment{ContainerID: "other", IfName: "eth0"})
	// Once around, for what the first and the second container make and leave.
	if _, err := st.add(nil, st.container("guest")); err != nil {
		return nil, err
	}
	attached, err := st.state()
	if err != nil {
		return nil, err
	}
	st.shape = shape(withoutHints(attached))
	if err := st.del(nil, st.container("guest")); err != nil {
		return nil, err
	}
	st.before, err = st.state()
	return st, err
}

// subject is a container of a stage.
type subject struct {
	id, netns string
	ports     string
	result    []byte // of its ADD, if that succeeded
}

func (st *stage) container(id string) *subject {
	c := &subject{id: id, netns: st.guest.Path()}
	c.ports = st.ports
	if id == "other" {
		c.netns, c.ports = st.other.Path(), strings.ReplaceAll(st.ports, `"hostPort":8`, `"hostPort":9`)
	}
	return c
}

// ending is how an execution ended.
type ending struct {
	plugin         string
	command        types.Command
	position       int
	exit           int
	killed         bool
	stdout, stderr string
}

func (o *ending) Error() string {
	return fmt.Sprintf("%s %s: exit %d, killed %t, stdout %q, stderr %q", o.plugin, o.command, o.exit, o.killed, o.stdout, o.stderr)
}

// gaveUp reports whether a plugin said that it had no time to undo what it did, which
// happens on a machine that is far too busy. DEL is what is left to do then.
func (o *ending) gaveUp() bool {
	return strings.Contains(o.stdout, "undo: ") && strings.Contains(o.stdout, context.DeadlineExceeded.Error())
}

// run runs a plugin of the network; the error is an ending if it ran and did not succeed.
// Undisturbed, a plugin that says to try again later is tried again.
func (st *stage) run(fault *skeltest.Fault, i int, command types.Command, c *subject, prev []byte) (stdout []byte, err error) {
	for range 3 {
		stdout, err = st.runOnce(fault, i, command, c, prev)
		var o *ending
		if fault != nil || !errors.As(err, &o) || !strings.Contains(o.stdout, `"code":11,`) {
			break
		}
	}
	return stdout, err
}

func (st *stage) runOnce(fault *skeltest.Fault, i int, command types.Command, c *subject, prev []byte) ([]byte, error) {
	p := types.RequestParams{Command: command, PrevResult: prev}
	if command == types.CommandGC {
		p.ValidAttachments = st.keep
	} else if c.ports != "" {
		p.Capabilities = map[string]json.RawMessage{"portMappings": json.RawMessage(c.ports)}
	}
	stdin, err := st.net.Request(i, p)
	if err != nil {
		return nil, err
	}
	name := st.net.Plugins[i].Type
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(st.path, name))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+string(command), "CNI_PATH="+st.path)
	if command != types.CommandGC {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID="+c.id, "CNI_NETNS="+c.netns, "CNI_IFNAME=eth0")
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second
	start := cmd.Start
	if fault != nil {
		start = func() error { return fault.Start(cmd) }
	}
	if err := st.host.Do(start); err != nil {
		return nil, err
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s %s hangs: %s", name, command, stderr.String())
	}
	if err == nil {
		return stdout.Bytes(), nil
	}
	return nil, &ending{
		plugin: name, command: command, position: i, exit: cmd.ProcessState.ExitCode(), killed: !cmd.ProcessState.Exited(),
		stdout: stdout.String(), stderr: stderr.String(),
	}
}

// add attaches a container as far as it goes.
func (st *stage) add(fault *skeltest.Fault, c *subject) (*types.Result, error) {
	var result []byte
	for i := range st.net.Plugins {
		next, err := st.run(fault, i, types.CommandAdd, c, result)
		if err != nil {
			return nil, err
		}
		result = next
	}
	c.result = result
	return types.DecodeResult(result, st.net.CNIVersion)
}

// del detaches a container from all plugins, in reverse order.
func (st *stage) del(fault *skeltest.Fault, c *subject) error {
	return st.delBefore(fault, len(st.net.Plugins), c)
}

// delBefore detaches a container from the plugins before a position.
func (st *stage) delBefore(fault *skeltest.Fault, position int, c *subject) error {
	for i := position - 1; i >= 0; i-- {
		if _, err := st.run(fault, i, types.CommandDel, c, c.result); err != nil {
			return err
		}
	}
	return nil
}

func (st *stage) check(c *subject) error {
	if st.net.Plugins[0].Type == "host-local" {
		_, err := st.run(nil, 0, types.CommandCheck, c, c.result)
		return err
	}
	for i := range st.net.Plugins {
		if _, err := st.run(nil, i, types.CommandCheck, c, c.result); err != nil {
			return err
		}
	}
	return nil
}

// gc collects what does not belong to the other container.
func (st *stage) gc(fault *skeltest.Fault) error {
	for i := range st.net.Plugins {
		if _, err := st.run(fault, i, types.CommandGC, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// state is everything that the plugins could leave: on the host, in both containers,
// and in the directory of the reservations, a thing a line.
func (st *stage) state() ([]string, error) {
	var all []string
	for _, where := range []struct {
		name string
		ns   *skeltest.Namespace
	}{{"host", st.host}, {"guest", st.guest}, {"other", st.other}} {
		s, err := where.ns.Snapshot()
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(s)) {
			for _, thing := range things(strings.TrimSpace(line)) {
				all = append(all, where.name+": "+thing)
			}
		}
	}
	err := filepath.WalkDir(st.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		line := "file " + strings.TrimPrefix(path, st.dir)
		switch {
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + to
		case d.Type().IsRegular() && !strings.HasPrefix(d.Name(), "last_reserved_ip"):
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", data)
		}
		all = append(all, line)
		return nil
	})
	return all, err
}

// left compares with what was there before, and returns what is different: nothing, but
// on a fresh host that what stays of the first container may be there or not, after GC
// what GC leaves alone. Hints are part of it or not.
func (st *stage) left(hints bool, after string) (string, error) {
	now, err := st.state()
	if err != nil {
		return "", err
	}
	before := st.before
	if !hints {
		now, before = withoutHints(now), withoutHints(before)
	}
	var stays map[string]bool
	if st.stays != nil {
		if stays = st.stays.del; after == byGC {
			stays = st.stays.gc
		}
	}
	differs := func(sign string, these, those []string) string {
		var b strings.Builder
		rest := slices.Clone(those)
		for _, line := range these {
			if i := slices.Index(rest, line); i >= 0 {
				rest = slices.Delete(rest, i, i+1)
			} else if !stays[line] {
				fmt.Fprintf(&b, "%s%s\n", sign, line)
			}
		}
		return b.String()
	}
	return differs("-", before, now) + differs("+", now, before), nil
}

// things splits a line of a snapshot that has several elements of a set, so that their
// order and number in a line are no matter.
func things(line string) []string {
	where, elements, ok := strings.Cut(line, ": ")
	if !ok || !strings.HasPrefix(line, "nft ") || !strings.Contains(elements, " comment ") {
		return []string{line}
	}
	elements = strings.TrimPrefix(elements, "elements = { ")
	elements = strings.TrimSuffix(strings.TrimSuffix(elements, ","), " }")
	var all []string
	for _, e := range strings.Split(elements, `", `) {
		all = append(all, where+": "+strings.TrimSuffix(e, `"`))
	}
	return all
}

var (
	ports = regexp.MustCompile(`\b\d{7,} comment`)
	macs  = regexp.MustCompile(`[0-9a-f]{2}(:[0-9a-f]{2}){5}`)
	guest = regexp.MustCompile(`\b10\.60\.0\.(?:[2-9]|[0-9]{2,3})\b|\bfd60::[1-9a-f][0-9a-f]*\b`)
)

// shape is a state without what differs from one ADD to the next: hardware addresses and
// which address was next.
func shape(state []string) string {
	var lines []string
	for _, line := range state {
		if strings.Contains(line, "gateway") {
			continue
		}
		line = ports.ReplaceAllString(line, "PORT comment")
		line = guest.ReplaceAllStringFunc(macs.ReplaceAllString(line, "MAC"), func(a string) string {
			if a == "fd60::1" {
				return a
			}
			return "ADDR"
		})
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// again attaches and detaches the guest, for which the host must be as good as new.
func (st *stage) again() error {
	c := st.container("guest")
	result, err := st.add(nil, c)
	if err != nil {
		return fmt.Errorf("ADD again: %w", err)
	}
	for _, ip := range result.IPs {
		if slices.Contains(st.kept, ip.Address.Addr()) {
			return fmt.Errorf("ADD again: %s is the address of the other container", ip.Address)
		}
	}
	if len(result.IPs) != 2 {
		return fmt.Errorf("ADD again: %d addresses, want 2", len(result.IPs))
	}
	reserved, err := st.reserved()
	if want := 2 + len(st.kept); err != nil || reserved != want {
		return fmt.Errorf("ADD again: %d reservations, %w, want %d", reserved, err, want)
	}
	if err := st.check(c); err != nil {
		return fmt.Errorf("CHECK after ADD again: %w", err)
	}
	if err := st.del(nil, c); err != nil {
		return fmt.Errorf("DEL after ADD again: %w", err)
	}
	return st.clean("DEL after ADD again")
}

// withoutHints leaves out by what the reservations of a container are found, which is not
// what counts: what cannot be written there is written by the next operation.
func withoutHints(state []string) []string {
	return slices.DeleteFunc(slices.Clone(state), func(line string) bool { return strings.HasPrefix(line, "file /.owners/") })
}

// clean is an error if something is different from before.
func (st *stage) clean(after string) error { return st.cleanBut(true, after) }

// cleanBut is clean, with hints or without.
func (st *stage) cleanBut(hints bool, after string) error {
	diff, err := st.left(hints, after)
	if err == nil && diff != "" {
		if lines := strings.SplitAfter(diff, "\n"); len(lines) > 15 {
			diff = strings.Join(lines[:15], "") + "…"
		}
		err = fmt.Errorf("after %s:\n%s", after, diff)
	}
	return err
}

// reserved counts the reservations.
func (st *stage) reserved() (n int, err error) {
	entries, err := os.ReadDir(filepath.Join(st.dir, st.net.Name))
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err == nil {
			n++
		}
	}
	return n, err
}

// needHost skips the test where plugins cannot do their work.
func needHost(t *testing.T) {
	t.Helper()
	nstest.NeedSysctl(t, nstest.New(t))
	cmd := exec.Command("true")
	err := (&skeltest.Fault{}).Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		nstest.Lacks(t, "ptrace", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
