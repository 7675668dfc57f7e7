// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Runtime runs network configurations as a container runtime does. It keeps the
// results of ADD for CHECK and DEL, and records each execution. Its methods may be called
// concurrently: those about one container wait for each other, and GC excludes all.
//
// Spec: CNI 1.1.0, section 3; checklist CHAIN, CACHE.
type Runtime struct {
	// Path are the directories with the plugins' executables: CNI_PATH.
	Path []string
	// Plugins are run in-process, without an executable. They win over Path.
	Plugins []skel.Runner
	// Environ is the environment of the plugins as "key=value", less the variables
	// of the protocol. Nil: that of the process.
	Environ []string
	// Stderr takes what plugins write to standard error, as they write it. It is
	// recorded as well. Nil: only recorded.
	Stderr io.Writer
	// CacheDir is a directory to keep results in, for runtimes in one process after the
	// other. It is made if it is missing. Empty: they are kept in memory.
	CacheDir string
	// Start starts the process of a plugin, for a runtime whose plugins are to run
	// in another namespace. Nil: cmd.Start.
	Start func(cmd *exec.Cmd) error

	// operations excludes GC from the rest: GC-016.
	operations sync.RWMutex

	mu         sync.Mutex
	busy       map[string]chan struct{} // containers with an operation under way; closed at its end
	executions []Execution
	cache      map[attachmentKey]*entry
}

// Attachment says what to attach where.
type Attachment struct {
	// ContainerID is CNI_CONTAINERID.
	ContainerID string
	// Netns is CNI_NETNS. For Del it may be empty, when the namespace is gone.
	Netns string
	// IfName is CNI_IFNAME.
	IfName string
	// Args is CNI_ARGS.
	Args string
	// Capabilities are the values for runtimeConfig, by name of the capability. A
	// plugin gets those that it declares.
	Capabilities map[string]json.RawMessage
}

// Execution is the record of one execution of a plugin.
type Execution struct {
	// Plugin is the type of the plugin, and Command what it was asked to do.
	Plugin  string
	Command types.Command
	// Environ and Stdin are what it was sent.
	Environ []string
	Stdin   []byte
	// Stdout, Stderr and Exit are what it said.
	Stdout, Stderr []byte
	Exit           int
	// Duration is the time from before its start to after its end.
	Duration time.Duration
}

// Executions returns the record of all executions so far, in the order in which
// they ended.
func (r *Runtime) Executions() []Execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.executions)
}

// Add attaches a container: each plugin of the network in order, with the result
// of the one before. The result is that of the last one. When a plugin fails, all
// plugins get DEL, in reverse order, and the error is that of the ADD, joined with
// any of the DELs.
//
// Spec: CNI 1.1.0, section 3, "Attaching a container"; checklist ADD-016 to
// ADD-018, CHAIN-003, CHAIN-004, CHAIN-027, CACHE-001, CACHE-005, AMB-075.
func (r *Runtime) Add(ctx context.Context, n *types.Network, a Attachment) (*types.Result, error) {
	unlock, err := r.begin(ctx, a)
	if err != nil {
		return nil, err
	}
	defer unlock()
	result, err := r.add(ctx, n, a)
	if err != nil {
		return nil, errors.Join(err, r.del(context.WithoutCancel(ctx), n, a, nil))
	}
	decoded, err := types.DecodeResult(result, n.CNIVersion)
	if err != nil {
		return nil, errors.Join(err, r.del(context.WithoutCancel(ctx), n, a, nil))
	}
	if err := r.remember(keyOf(n, a), &entry{a, result}); err != nil {
		return nil, errors.Join(err, r.del(context.WithoutCancel(ctx), n, a, nil))
	}
	return decoded, nil
}

func keyOf(n *types.Network, a Attachment) attachmentKey {
	return attachmentKey{n.Name, a.ContainerID, a.IfName}
}

func (r *Runtime) add(ctx context.Context, n *types.Network, a Attachment) (result []byte, err error) {
	for i := range n.Plugins {
		result, err = r.run(ctx, n, i, types.CommandAdd, a, types.RequestParams{PrevResult: result})
		if err != nil {
			return nil, err
		}
		if result, err = usable(result, n.CNIVersion); err != nil {
			return nil, fmt.Errorf("plugin %s: ADD: %w", n.Plugins[i].Type, err)
		}
	}
	return result, nil
}

// usable returns what a plugin printed as a result: null is an empty one, and an error
// object is none, whatever the exit status.
//
// Spec: checklist RES-044, ERR-024.
func usable(stdout []byte, v types.Version) ([]byte, error) {
	switch text := bytes.TrimSpace(stdout); {
	case len(text) == 0:
		return nil, errors.New("printed no result")
	case string(text) == "null":
		return (&types.Result{}).Encode(v)
	}
	object := decoded(stdout)
	if object["code"] != nil && object["msg"] != nil {
		return nil, fmt.Errorf("printed an error, with exit status 0: %s", short(stdout))
	}
	return stdout, nil
}

// Check checks an attachment: each plugin in order, with the result of ADD, until
// one fails. It fails if there is no such result and for a version without CHECK,
// and succeeds at once if the network has disableCheck.
//
// Spec: CNI 1.1.0, section 3, "Checking an attachment"; checklist CHK-003,
// CHK-017, CHK-018, CHK-020, CHK-024, AMB-065.
func (r *Runtime) Check(ctx context.Context, n *types.Network, a Attachment) error {
	unlock, err := r.begin(ctx, a)
	if err != nil {
		return err
	}
	defer unlock()
	if n.CNIVersion < types.V040 {
		return fmt.Errorf("network %s: CNI version %s has no CHECK", n.Name, n.CNIVersion)
	}
	if n.DisableCheck {
		return nil
	}
	known, err := r.recall(keyOf(n, a))
	if err != nil {
		return err
	}
	if known == nil {
		return fmt.Errorf("network %s, container %s, interface %s: no result of ADD is known", n.Name, a.ContainerID, a.IfName)
	}
	for i := range n.Plugins {
		if _, err := r.run(ctx, n, i, types.CommandCheck, a, types.RequestParams{PrevResult: known.result}); err != nil {
			return err
		}
	}
	return nil
}

// Del detaches a container: each plugin in reverse order, with the result of ADD
// if it is known, until one fails. What is known of the attachment is forgotten
// when all succeed; that it cannot be read does not keep DEL from going on.
//
// Spec: CNI 1.1.0, section 3, "Deleting an attachment"; checklist DEL-018 to
// DEL-023, CACHE-003, CACHE-004.
func (r *Runtime) Del(ctx context.Context, n *types.Network, a Attachment) error {
	unlock, err := r.begin(ctx, a)
	if err != nil {
		return err
	}
	defer unlock()
	return r.forget(ctx, n, a)
}

// begin waits until neither GC nor an operation of the same container is under way.
//
// Spec: checklist LIFE-003, LIFE-004, GC-016.
func (r *Runtime) begin(ctx context.Context, a Attachment) (end func(), err error) {
	r.operations.RLock()
	for {
		r.mu.Lock()
		other, busy := r.busy[a.ContainerID]
		if !busy {
			break
		}
		r.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			r.operations.RUnlock()
			return nil, fmt.Errorf("container %s: wait for another operation: %w", a.ContainerID, ctx.Err())
		}
	}
	defer r.mu.Unlock()
	done := make(chan struct{})
	if r.busy == nil {
		r.busy = map[string]chan struct{}{}
	}
	r.busy[a.ContainerID] = done
	return func() {
		r.mu.Lock()
		delete(r.busy, a.ContainerID)
		r.mu.Unlock()
		close(done)
		r.operations.RUnlock()
	}, nil
}

func (r *Runtime) forget(ctx context.Context, n *types.Network, a Attachment) error {
	var result []byte
	if known, err := r.recall(keyOf(n, a)); err == nil && known != nil && n.CNIVersion >= types.V040 {
		result = known.result
	}
	if err := r.del(ctx, n, a, result); err != nil {
		return err
	}
	return r.drop(keyOf(n, a))
}

func (r *Runtime) del(ctx context.Context, n *types.Network, a Attachment, result []byte) error {
	for i := len(n.Plugins) - 1; i >= 0; i-- {
		if _, err := r.run(ctx, n, i, types.CommandDel, a, types.RequestParams{PrevResult: result}); err != nil {
			return err
		}
	}
	return nil
}

// GC removes what belongs to attachments of the network that are not among valid:
// those that this runtime knows get DEL, and then all plugins get GC. An error
// does not stop it; all errors are joined. Nothing happens if the network has
// disableGC; for a version without GC only the DELs do.
//
// Spec: CNI 1.1.0, section 3, "Garbage collection"; checklist GC-001, GC-013 to
// GC-016, GC-025, CONF-015, CACHE-013.
func (r *Runtime) GC(ctx context.Context, n *types.Network, valid []types.Attachment) error {
	r.operations.Lock()
	defer r.operations.Unlock()
	if n.DisableGC {
		return nil
	}
	all, err := r.known(n.Name)
	errs := []error{err}
	for _, known := range all {
		if slices.Contains(valid, types.Attachment{ContainerID: known.ContainerID, IfName: known.IfName}) {
			continue
		}
		errs = append(errs, r.forget(ctx, n, known))
	}
	if n.CNIVersion < types.V110 {
		return errors.Join(errs...)
	}
	if valid == nil {
		valid = []types.Attachment{}
	}
	for i := range n.Plugins {
		_, err := r.run(ctx, n, i, types.CommandGC, Attachment{}, types.RequestParams{ValidAttachments: valid})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Status asks each plugin in order whether it could serve ADD, until one says no.
// It succeeds at once for a version without STATUS.
//
// Spec: checklist STA-010, STA-015, STA-016.
func (r *Runtime) Status(ctx context.Context, n *types.Network) error {
	if n.CNIVersion < types.V110 {
		return nil
	}
	for i := range n.Plugins {
		if _, err := r.run(ctx, n, i, types.CommandStatus, Attachment{}, types.RequestParams{}); err != nil {
			return err
		}
	}
	return nil
}

// Version asks one plugin of the network for the versions that it supports.
//
// Spec: checklist VER-016, VER-017.
func (r *Runtime) Version(ctx context.Context, n *types.Network, i int) (types.VersionInfo, error) {
	stdout, err := r.run(ctx, n, i, types.CommandVersion, Attachment{}, types.RequestParams{})
	if err != nil {
		return types.VersionInfo{}, err
	}
	return types.DecodeVersionInfo(stdout)
}

// run runs one plugin and returns its standard output. A plugin that fails gives
// its own error object as the error, or one made of whatever it said.
func (r *Runtime) run(ctx context.Context, n *types.Network, i int, command types.Command, a Attachment, p types.RequestParams) ([]byte, error) {
	p.Command, p.Capabilities = command, a.Capabilities
	stdin, err := n.Request(i, p)
	if err != nil {
		return nil, err
	}
	e := Execution{Plugin: n.Plugins[i].Type, Command: command, Stdin: stdin, Environ: r.environ(command, a)}
	start := time.Now()
	err = r.execute(ctx, &e)
	e.Duration = time.Since(start)
	r.mu.Lock()
	r.executions = append(r.executions, e)
	r.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %s: %w", e.Plugin, command, err)
	}
	if e.Exit != 0 {
		return nil, fmt.Errorf("plugin %s: %s: %w", e.Plugin, command, e.failure())
	}
	return e.Stdout, nil
}

// failure returns the error of an execution that failed.
//
// Spec: checklist ERR-023, ERR-029.
func (e *Execution) failure() error {
	if said, err := types.DecodeError(e.Stdout); err == nil {
		return said
	}
	return fmt.Errorf("exit status %d, without an error object on standard output %q; standard error %q", e.Exit, e.Stdout, e.Stderr)
}

// environ returns the environment of a plugin. All plugins of a list get the same.
//
// Spec: checklist PROTO-037, VER-019, 1.4.
func (r *Runtime) environ(command types.Command, a Attachment) []string {
	base := r.Environ
	if base == nil {
		base = os.Environ()
	}
	var environ []string
	for _, pair := range base {
		if !strings.HasPrefix(pair, "CNI_") {
			environ = append(environ, pair)
		}
	}
	set := func(key, value string) {
		if value != "" {
			environ = append(environ, key+"="+value)
		}
	}
	set("CNI_COMMAND", string(command))
	set("CNI_CONTAINERID", a.ContainerID)
	set("CNI_NETNS", a.Netns)
	set("CNI_IFNAME", a.IfName)
	set("CNI_ARGS", a.Args)
	set("CNI_PATH", strings.Join(r.Path, string(filepath.ListSeparator)))
	return environ
}

// execute runs a plugin in-process or as an executable.
func (r *Runtime) execute(ctx context.Context, e *Execution) error {
	var stdout, stderr bytes.Buffer
	errs := io.Writer(&stderr)
	if r.Stderr != nil {
		errs = io.MultiWriter(&stderr, r.Stderr)
	}
	defer func() { e.Stdout, e.Stderr = stdout.Bytes(), stderr.Bytes() }()
	if plugin := skel.Local(r.Plugins...)(e.Plugin); plugin != nil {
		e.Exit = plugin(ctx, e.Environ, bytes.NewReader(e.Stdin), &stdout, errs)
		return nil
	}
	path, err := r.find(e.Plugin)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = e.Environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(e.Stdin), &stdout, errs
	cmd.WaitDelay = time.Second
	start := r.Start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		return err
	}
	err = cmd.Wait()
	e.Exit = cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return nil
	}
	return err
}

// find returns the executable of a plugin: the first regular file of that name.
//
// Spec: checklist PROTO-002 to PROTO-004.
func (r *Runtime) find(plugin string) (string, error) {
	if err := types.ValidatePluginType(plugin); err != nil {
		return "", fmt.Errorf("type %w", err)
	}
	for _, dir := range r.Path {
		path := filepath.Join(dir, plugin)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no executable in %s", strings.Join(r.Path, string(filepath.ListSeparator)))
}
