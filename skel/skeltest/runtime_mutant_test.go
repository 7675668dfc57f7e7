// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// A flaw is one thing that a runtime does wrong, and the rules that it breaks.
type flaw struct {
	name string
	// rules are the identifiers, with a slash; see ids.
	rules string
	// send changes what a plugin is sent.
	send func(s *sending)
	// accept are words of files that do not load, which the runtime loads all the same.
	accept string
	// load changes what was loaded.
	load func(n *types.Network)
	// reply changes what a plugin answered.
	reply func(s *sending)
}

// versions are those to examine: the newest will do, but for rules about older ones and
// for the runtime without a flaw.
func (f flaw) versions() []types.Version {
	if f.rules == "" {
		return nil
	}
	for _, r := range skeltest.Rules() {
		old := strings.Contains(r.Since, "..") || r.ID == ids("CHK/024") || r.ID == ids("STA/015")
		if old && slices.Contains(strings.Fields(ids(f.rules)), r.ID) {
			return []types.Version{types.V020, types.V031, types.V040, types.V110}
		}
	}
	return []types.Version{types.V110}
}

// sending is one execution of a plugin.
type sending struct {
	command  types.Command
	position int
	env      map[string]string
	conf     map[string]any
	stdout   []byte
	exit     int
	n        *types.Network
	text     []byte // instead of conf, if not nil
}

// sends makes a flaw show with one command only, or with all if that is empty.
func sends(command types.Command, f func(*sending)) func(*sending) {
	return func(s *sending) {
		if command == "" || s.command == command {
			f(s)
		}
	}
}

// slowRuntime is a runtime that is as simple as can be, with a flaw.
type slowRuntime struct {
	setup skeltest.RuntimeSetup
	flaw  flaw
	*locks
}

// locks are for all openings of a runtime on one setup.
type locks struct {
	operations sync.RWMutex
	containers sync.Map
}

// is reports whether the runtime has a flaw of this name.
func (r *slowRuntime) is(name string) bool { return r.flaw.name == name }

// kept is an entry of the cache.
type kept struct {
	Network    string
	Attachment skeltest.Attachment
	Result     json.RawMessage
}

func (r *slowRuntime) path(network string, a skeltest.Attachment) string {
	separator := ","
	if r.is("joins the names of the cache with a dash") {
		separator = "-"
	}
	return filepath.Join(r.setup.CacheDir, strings.Join([]string{network, a.ContainerID, a.IfName}, separator))
}

func (r *slowRuntime) keep(network string, a skeltest.Attachment, result []byte) error {
	if r.is("forgets the arguments") {
		a.Args = ""
	}
	if r.is("forgets the capabilities") {
		a.Capabilities = nil
	}
	data, err := json.Marshal(kept{network, a, result})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.setup.CacheDir, 0o700); err != nil {
		if r.is("does without a cache that cannot be written") {
			return nil
		}
		return err
	}
	mode := os.FileMode(0o600)
	if r.is("a cache for everybody") {
		mode = 0o644
	}
	return os.WriteFile(r.path(network, a), data, mode)
}

// cached returns what is kept; nil if there is nothing.
func (r *slowRuntime) cached(path string) (*kept, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, err
	}
	return &k, nil
}

func (r *slowRuntime) network(name string) (*types.Network, error) {
	n, err := types.FindNetwork(r.setup.ConfDir, name)
	if err != nil && r.flaw.accept != "" {
		n, err = r.loose(name, err)
	}
	if err != nil {
		return nil, err
	}
	if r.flaw.load != nil {
		r.flaw.load(n)
	}
	return n, nil
}

// loose makes the best of a file that has the words which the runtime accepts.
func (r *slowRuntime) loose(name string, cause error) (*types.Network, error) {
	data, err := os.ReadFile(r.setup.ConfDir + "/10-net.conflist")
	if err != nil || !strings.Contains(string(data), r.flaw.accept) {
		return nil, cause
	}
	n := &types.Network{Name: name, CNIVersion: types.Newest, Offered: []types.Version{types.Newest}}
	var list struct{ Plugins json.RawMessage }
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	var plugins []json.RawMessage
	if json.Unmarshal(list.Plugins, &plugins) != nil {
		plugins = nil
	}
	if r.is("reads a folder by a bad name") {
		plugins = append(plugins, json.RawMessage(`{"type":"one"}`))
	}
	for _, raw := range plugins {
		var p struct{ Type any }
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, err
		}
		if name, ok := p.Type.(string); ok {
			n.Plugins = append(n.Plugins, types.NetworkPlugin{Type: name, Raw: raw})
		}
	}
	return n, nil
}

// exclusively takes the locks of an operation.
func (r *slowRuntime) exclusively(a skeltest.Attachment) (unlock func()) {
	if !r.is("runs GC beside others") {
		r.operations.RLock()
	}
	lock, _ := r.containers.LoadOrStore(a.ContainerID, &sync.Mutex{})
	if !r.is("runs two operations of a container at once") {
		lock.(*sync.Mutex).Lock()
	}
	return func() {
		if !r.is("runs two operations of a container at once") {
			lock.(*sync.Mutex).Unlock()
		}
		if !r.is("runs GC beside others") {
			r.operations.RUnlock()
		}
	}
}

func (r *slowRuntime) Add(ctx context.Context, network string, a skeltest.Attachment) ([]byte, error) {
	n, err := r.network(network)
	if err != nil {
		return nil, err
	}
	defer r.exclusively(a)()
	if r.is("asks for versions in vain") || r.is("asks for versions") {
		if err := r.ask(ctx, n); err != nil && r.is("asks for versions") {
			return nil, err
		}
	}
	if r.is("gives up for good") {
		if _, err := os.Stat(r.setup.ConfDir + "/failed"); err == nil {
			return nil, errors.New("it failed before")
		}
	}
	if r.is("adds twice") && a.Args != "" {
		if _, err := r.chain(ctx, n, a); err != nil {
			return nil, err
		}
	}
	result, err := r.chain(ctx, n, a)
	if e := (*types.Error)(nil); errors.As(err, &e) && e.Code == types.ErrTryAgainLater && r.is("gives up for good") {
		err = errors.Join(err, os.WriteFile(r.setup.ConfDir+"/failed", nil, 0o600))
	}
	if err == nil {
		err = r.keep(network, a, result)
	}
	if err == nil {
		return result, nil
	}
	if r.is("keeps the result of a failed ADD") {
		err = errors.Join(err, r.keep(network, a, []byte(`{"cniVersion":"`+n.CNIVersion.String()+`"}`)))
	}
	if r.is("does not clean up after a failed ADD") {
		return nil, err
	}
	if r.is("deletes a part after a failed ADD") {
		n.Plugins = n.Plugins[:len(n.Plugins)-1]
	}
	cleaned := r.delete(ctx, n, a)
	if r.is("hides the error of ADD") && strings.Contains(err.Error(), "told to fail") {
		return []byte("{}"), nil
	}
	return nil, errors.Join(err, cleaned)
}

// ask asks each plugin for its versions, and fails if the one of the network is not among
// them.
func (r *slowRuntime) ask(ctx context.Context, n *types.Network) error {
	for _, p := range n.Plugins {
		s := &sending{text: []byte(`{"cniVersion":"1.1.0"}`), env: map[string]string{
			"CNI_COMMAND": "VERSION", "CNI_NETNS": "dummy", "CNI_IFNAME": "dummy", "CNI_PATH": "dummy",
		}}
		if err := r.execute(ctx, p.Type, s); err != nil {
			return err
		}
		var answer struct{ SupportedVersions []string }
		if err := json.Unmarshal(s.stdout, &answer); s.exit != 0 || err != nil || !slices.Contains(answer.SupportedVersions, n.CNIVersion.String()) {
			return fmt.Errorf("plugin %s does not support version %s", p.Type, n.CNIVersion)
		}
	}
	return nil
}

// chain runs ADD for each plugin.
func (r *slowRuntime) chain(ctx context.Context, n *types.Network, a skeltest.Attachment) (result []byte, err error) {
	order := r.order(n, "ADD")
	var first []byte
	var failed error
	for _, i := range order {
		result, err = r.run(ctx, n, i, types.CommandAdd, a, types.RequestParams{PrevResult: result})
		if err != nil && r.is("goes on after an error of ADD") {
			failed = errors.Join(failed, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if string(result) == "null" {
			result = []byte("{}")
		}
		if _, err := types.DecodeResult(result, n.CNIVersion); err != nil && !r.is("takes any result") {
			return nil, err
		}
		if first == nil {
			first = result
		}
		if r.is("gives every plugin the first result") {
			result = first
		}
	}
	if r.is("returns the first result") {
		return first, failed
	}
	return result, failed
}

// order returns the positions in the order of ADD and the others.
func (r *slowRuntime) order(n *types.Network, command types.Command) (all []int) {
	for i := range n.Plugins {
		all = append(all, i)
	}
	if r.is("reverses " + string(command)) {
		slices.Reverse(all)
	}
	if r.is("leaves one out of "+string(command)) && len(all) > 2 {
		all = slices.Delete(all, 1, 2)
	}
	return all
}

func (r *slowRuntime) Check(ctx context.Context, network string, a skeltest.Attachment) error {
	n, err := r.network(network)
	if err != nil {
		return err
	}
	defer r.exclusively(a)()
	if n.DisableCheck && !r.is("checks in spite of disableCheck") {
		return nil
	}
	if r.is("never checks") {
		return nil
	}
	if n.CNIVersion < types.V040 && !r.is("checks what is too old") {
		return fmt.Errorf("version %s has no CHECK", n.CNIVersion)
	}
	known, err := r.cached(r.path(network, a))
	if err != nil && r.is("checks with a cache that cannot be read") {
		return nil
	}
	if err != nil {
		return err
	}
	if known == nil {
		switch {
		case r.is("finds in order what is not attached"):
			return nil
		case r.is("checks what is not attached"):
			known = &kept{Result: json.RawMessage(`{"cniVersion":"1.1.0"}`)}
		default:
			return errors.New("not attached")
		}
	}
	var failed error
	for _, i := range r.order(n, "CHECK") {
		_, err := r.run(ctx, n, i, types.CommandCheck, a, types.RequestParams{PrevResult: known.Result})
		if failed = errors.Join(failed, err); err != nil && !r.is("goes on after an error of CHECK") {
			return failed
		}
	}
	if known.Network == "" {
		return errors.New("not attached")
	}
	return failed
}

func (r *slowRuntime) Del(ctx context.Context, network string, a skeltest.Attachment) error {
	n, err := r.network(network)
	if err != nil {
		return err
	}
	defer r.exclusively(a)()
	return r.delete(ctx, n, a)
}

func (r *slowRuntime) delete(ctx context.Context, n *types.Network, a skeltest.Attachment) error {
	path := r.path(n.Name, a)
	var result []byte
	known, err := r.cached(path)
	if err != nil && r.is("does not delete with a cache that cannot be read") {
		return err
	}
	if known != nil && n.CNIVersion >= types.V040 {
		result = known.Result
	}
	order := r.order(n, "DEL")
	slices.Reverse(order)
	var failed error
	for _, i := range order {
		_, err := r.run(ctx, n, i, types.CommandDel, a, types.RequestParams{PrevResult: result})
		if err != nil && r.is("forgets what could not be deleted") {
			_ = os.Remove(path) // there it is
		}
		if failed = errors.Join(failed, err); err != nil && !r.is("goes on after an error of DEL") {
			return failed
		}
	}
	if r.is("never forgets") || failed != nil {
		return failed
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) && known != nil {
		return err
	}
	return nil
}

func (r *slowRuntime) GC(ctx context.Context, network string, valid []types.Attachment) error {
	n, err := r.network(network)
	if err != nil {
		return err
	}
	if !r.is("runs GC beside others") {
		r.operations.Lock()
		defer r.operations.Unlock()
	}
	if n.DisableGC && !r.is("collects in spite of disableGC") {
		return nil
	}
	entries, err := os.ReadDir(r.setup.CacheDir)
	if errors.Is(err, os.ErrNotExist) || r.is("collects without a cache that can be read") {
		err = nil
	}
	errs := []error{err}
	for _, e := range entries {
		k, err := r.cached(filepath.Join(r.setup.CacheDir, e.Name()))
		if err != nil || k == nil || k.Network != network || r.is("collects without DEL") || n.DisableGC {
			errs = append(errs, err)
			continue
		}
		if !slices.Contains(valid, types.Attachment{ContainerID: k.Attachment.ContainerID, IfName: k.Attachment.IfName}) {
			errs = append(errs, r.delete(ctx, n, k.Attachment))
		}
	}
	for _, i := range r.order(n, "GC") {
		_, err := r.run(ctx, n, i, types.CommandGC, skeltest.Attachment{}, types.RequestParams{ValidAttachments: valid})
		if errs = append(errs, err); err != nil && r.is("stops after an error of GC") {
			break
		}
	}
	if r.is("hides the errors of GC") {
		return nil
	}
	return errors.Join(errs...)
}

func (r *slowRuntime) Status(ctx context.Context, network string) error {
	n, err := r.network(network)
	if err != nil {
		return err
	}
	if n.CNIVersion < types.V110 && !r.is("asks for a STATUS that is too old") {
		return nil
	}
	for _, i := range r.order(n, "STATUS") {
		if _, err := r.run(ctx, n, i, types.CommandStatus, skeltest.Attachment{}, types.RequestParams{}); err != nil && !r.is("goes on after an error of STATUS") {
			return err
		}
	}
	return nil
}

// run runs one plugin.
func (r *slowRuntime) run(ctx context.Context, n *types.Network, i int, command types.Command, a skeltest.Attachment, p types.RequestParams) ([]byte, error) {
	p.Command, p.Capabilities = command, a.Capabilities
	text, err := n.Request(i, p)
	if err != nil {
		return nil, err
	}
	s := &sending{command: command, position: i, n: n, conf: map[string]any{}, env: map[string]string{
		"CNI_COMMAND": string(command), "CNI_CONTAINERID": a.ContainerID, "CNI_NETNS": a.Netns, "CNI_IFNAME": a.IfName,
		"CNI_ARGS": a.Args, "CNI_PATH": strings.Join(r.setup.Path, string(filepath.ListSeparator)),
	}}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&s.conf); err != nil {
		return nil, err
	}
	if r.flaw.send != nil {
		r.flaw.send(s)
	}
	if s.text == nil {
		if s.text, err = json.Marshal(s.conf); err != nil {
			return nil, err
		}
	}
	if err := r.execute(ctx, n.Plugins[i].Type, s); err != nil {
		return nil, err
	}
	if r.flaw.reply != nil {
		r.flaw.reply(s)
	}
	return s.answer()
}

// answer returns what a plugin said, as a result or an error.
func (s *sending) answer() ([]byte, error) {
	if s.exit == 0 {
		if e, err := types.DecodeError(s.stdout); err == nil && s.command == types.CommandAdd && e.Msg != "" {
			return nil, fmt.Errorf("malformed result: %w", e)
		}
		return s.stdout, nil
	}
	if e, err := types.DecodeError(s.stdout); err == nil {
		return nil, e
	}
	return nil, fmt.Errorf("exit status %d: %s", s.exit, s.stdout)
}

func (r *slowRuntime) execute(_ context.Context, plugin string, s *sending) error {
	dirs := slices.Clone(r.setup.Path)
	if r.is("takes the last directory") {
		slices.Reverse(dirs)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, plugin)
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if info.IsDir() {
			if r.is("takes a directory for a plugin") {
				return errors.New("is a directory")
			}
			continue
		}
		var environ []string
		for _, key := range slices.Sorted(maps.Keys(s.env)) {
			environ = append(environ, key+"="+s.env[key])
		}
		var stdout, stderr bytes.Buffer
		env := skel.Env{Environ: environ, Stdin: bytes.NewReader(s.text), Stdout: &stdout, Stderr: &stderr}
		exit, ok := skeltest.PlayRecorder(path, env)
		if !ok {
			return fmt.Errorf("%s is no recorder", path)
		}
		s.exit, s.stdout = exit, stdout.Bytes()
		if exit != 0 {
			s.stdout = append(s.stdout, stderr.Bytes()...)
		}
		return nil
	}
	if r.is("does without a plugin that is missing") {
		s.stdout = []byte("{}")
		return nil
	}
	return fmt.Errorf("no executable %s", plugin)
}

// previous changes prevResult, if there is one.
func previous(f func(map[string]any)) func(*sending) {
	return func(s *sending) {
		if object, ok := s.conf["prevResult"].(map[string]any); ok {
			f(object)
		}
	}
}

func remove(key string) func(*sending) { return func(s *sending) { delete(s.conf, key) } }

func put(key string, value any) func(*sending) {
	return func(s *sending) { s.conf[key] = value }
}

func variable(key, value string) func(*sending) {
	return func(s *sending) { s.env[key] = value }
}

// notFirst makes a flaw show for all plugins but the first.
func notFirst(f func(*sending)) func(*sending) {
	return func(s *sending) {
		if s.position > 0 {
			f(s)
		}
	}
}

// lessInterfaces takes all interfaces but the first from a result.
func lessInterfaces(result map[string]any) {
	if all, ok := result["interfaces"].([]any); ok {
		result["interfaces"] = all[:1]
	}
}

// flaws are the mutants: each breaks the rules it names, and no other.
func flaws() []flaw {
	const add, check, del, gc, status = types.CommandAdd, types.CommandCheck, types.CommandDel, types.CommandGC, types.CommandStatus
	inlinedOnly := func(n *types.Network) {
		n.Plugins = slices.DeleteFunc(n.Plugins, func(p types.NetworkPlugin) bool { return strings.Contains(p.Path, "/net/") })
	}
	return []flaw{
		{name: "none"},
		// What is sent.
		{name: "two documents", rules: "PROTO/028", send: sends(gc, func(s *sending) {
			text, _ := json.Marshal(s.conf) // it was decoded
			s.text = append(text, text...)
		})},
		{name: "no CNI_PATH", rules: "PROTO/019", send: sends(del, variable("CNI_PATH", ""))},
		{name: "a bad container ID", rules: "PROTO/020 GC/013", send: sends("", func(s *sending) {
			if s.env["CNI_CONTAINERID"] != "" {
				s.env["CNI_CONTAINERID"] = "/" + s.env["CNI_CONTAINERID"]
			}
		})},
		{name: "a bad interface name", rules: "PROTO/023 GC/013", send: sends("", func(s *sending) {
			if s.env["CNI_IFNAME"] != "" {
				s.env["CNI_IFNAME"] += ":"
			}
		})},
		{name: "a name for a namespace", rules: "PROTO/025", send: sends("", func(s *sending) {
			if s.env["CNI_NETNS"] != "" {
				s.env["CNI_NETNS"] = "blue"
			}
		})},
		{name: "bad arguments", rules: "PROTO/027", send: func(s *sending) {
			if s.env["CNI_ARGS"] != "" {
				s.env["CNI_ARGS"] = "IgnoreUnknown"
			}
		}},
		{name: "inside the container", rules: "PROTO/036", send: sends("", func(s *sending) {
			if s.env["CNI_NETNS"] != "" {
				s.env["CNI_NETNS"] = "/proc/thread-self/ns/net"
			}
		})},
		{name: "another environment for the second plugin", rules: "PROTO/037", send: notFirst(func(s *sending) { s.env["CNI_PATH"] += ":/other" + strconv.Itoa(s.position) })},
		{name: "other arguments for CHECK", rules: "PROTO/038", send: sends(check, variable("CNI_ARGS", "IgnoreUnknown=0"))},
		{name: "other arguments for DEL", rules: "PROTO/039 CACHE/006", send: sends(del, variable("CNI_ARGS", "IgnoreUnknown=0"))},
		{name: "one version for each plugin", rules: "VER/020 CHAIN/001", send: sends(status, notFirst(put("cniVersion", "1.0.0")))},
		{name: "a version that nobody offers", rules: "CHAIN/001", send: sends(gc, put("cniVersion", "1.2.0"))},
		{name: "not the highest version", rules: "CONF/004", load: func(n *types.Network) {
			if len(n.Offered) > 1 {
				n.CNIVersion = types.V100
			}
		}},
		{name: "another name", rules: "CHAIN/002", send: func(s *sending) { s.conf["name"] = s.conf["name"].(string) + "-x" }},
		{name: "prevResult for the first plugin", rules: "CHAIN/003", send: sends(add, func(s *sending) {
			if s.position == 0 && s.n.CNIVersion >= types.V110 {
				s.conf["prevResult"] = map[string]any{"cniVersion": s.conf["cniVersion"], "ips": []any{}}
			}
		})},
		{name: "no prevResult for the second plugin", rules: "CHAIN/004", send: sends(add, notFirst(remove("prevResult")))},
		{name: "gives every plugin the first result", rules: "CHAIN/004 CHAIN/027 CHK/003 DEL/019"},
		{name: "half a prevResult", rules: "CHAIN/004", send: sends(add, previous(func(o map[string]any) { delete(o, "ips") }))},
		{name: "all capabilities", rules: "CHAIN/006", send: sends("", func(s *sending) {
			if c, ok := s.conf["runtimeConfig"].(map[string]any); ok {
				c["ips"] = []any{"10.1.0.9/16"}
			}
		})},
		{name: "no capabilities", rules: "CHAIN/006", send: remove("runtimeConfig")},
		{name: "no capabilities for DEL", rules: "CHAIN/009 CACHE/006", send: sends(del, remove("runtimeConfig"))},
		{name: "a port that is text", rules: "CAP/002", send: func(s *sending) {
			if c, ok := s.conf["runtimeConfig"].(map[string]any); ok {
				c["portMappings"] = []any{map[string]any{"hostPort": "8080", "containerPort": "80"}}
			}
		}},
		{name: "sends capabilities", rules: "CHAIN/010", send: func(s *sending) {
			if len(s.n.Plugins[s.position].Capabilities) > 0 {
				s.conf["capabilities"] = s.n.Plugins[s.position].Capabilities
			}
		}},
		{name: "sends reserved keys of the file", rules: "CHAIN/011", send: sends(add, func(s *sending) {
			if bytes.Contains(s.n.Plugins[s.position].Raw, []byte("cni.dev/foo")) {
				s.conf["cni.dev/foo"] = json.Number("1")
			}
		})},
		{name: "adds a key of its own", rules: "CHAIN/011", send: sends(add, put("traceID", "x"))},
		{name: "loses the precision of numbers", rules: "CHAIN/012", send: sends(add, func(s *sending) {
			if x, ok := s.conf["x"].(map[string]any); ok {
				x["big"] = json.Number("9007199254740992")
			}
		})},
		{name: "drops null", rules: "CHAIN/012", send: func(s *sending) {
			if x, ok := s.conf["x"].(map[string]any); ok {
				delete(x, "null")
			}
		}},
		{name: "a prevResult of another version", rules: "CHAIN/021", send: sends(del, previous(func(o map[string]any) {
			if o["cniVersion"] == "1.1.0" {
				o["cniVersion"] = "1.0.0"
			}
		}))},
		{name: "prevResult before there was one", rules: "CHAIN/032", send: sends(del, func(s *sending) {
			if s.n.CNIVersion < types.V030 {
				s.conf["prevResult"] = map[string]any{}
			}
		})},
		{name: "a namespace that is not there", rules: "LIFE/001", send: sends("", func(s *sending) {
			if s.env["CNI_NETNS"] != "" {
				s.env["CNI_NETNS"] = "/proc/nothing"
			}
		})},
		{name: "a container for STATUS", rules: "STA/010", send: sends(status, variable("CNI_CONTAINERID", "c1"))},
		{name: "prevResult for STATUS", rules: "STA/010", send: sends(status, put("prevResult", map[string]any{"cniVersion": "1.1.0"}))},
		{name: "a container for GC", rules: "GC/025", send: sends(gc, variable("CNI_CONTAINERID", "c1"))},
		{name: "prevResult for GC", rules: "GC/025", send: sends(gc, put("prevResult", map[string]any{"cniVersion": "1.1.0"}))},
		{name: "no list for GC", rules: "GC/001", send: sends(gc, func(s *sending) {
			delete(s.conf, "cni.dev/valid-attachments")
			delete(s.conf, "cni.dev/attachments")
		})},
		{name: "an empty list for GC", rules: "GC/001 GC/013", send: sends(gc, func(s *sending) {
			s.conf["cni.dev/valid-attachments"], s.conf["cni.dev/attachments"] = []any{}, []any{}
		})},
		{name: "the old list for GC", rules: "GC/002", send: sends(gc, remove("cni.dev/valid-attachments"))},
		{name: "the new list for GC alone", rules: "GC/004", send: sends(gc, remove("cni.dev/attachments"))},
		{name: "entries with another spelling", rules: "GC/001", send: sends(gc, func(s *sending) {
			list, _ := s.conf["cni.dev/valid-attachments"].([]any)
			for _, e := range list {
				e.(map[string]any)["ifName"] = e.(map[string]any)["ifname"]
				delete(e.(map[string]any), "ifname")
			}
			s.conf["cni.dev/attachments"] = list
		})},
		{name: "another result for CHECK", rules: "CHK/003", send: sends(check, previous(lessInterfaces))},
		{name: "another result for DEL", rules: "DEL/019", send: sends(del, previous(lessInterfaces))},
		{name: "no prevResult for DEL", rules: "DEL/019 CACHE/001 CACHE/002 CACHE/004", send: sends(del, remove("prevResult"))},
		// In what order.
		{name: "adds twice", rules: "ADD/006"},
		{name: "reverses ADD", rules: "ADD/016 CHAIN/003 CHAIN/004 CHAIN/027 CONF/016 CONF/022"},
		{name: "leaves one out of ADD", rules: "ADD/016 CONF/022"},
		{name: "goes on after an error of ADD", rules: "ADD/016"},
		{name: "hides the error of ADD", rules: "ADD/016"},
		{name: "returns the first result", rules: "CHAIN/027 CHK/003 DEL/019"},
		{name: "does not clean up after a failed ADD", rules: "ADD/018 RES/043"},
		{name: "deletes a part after a failed ADD", rules: "ADD/017"},
		{name: "keeps the result of a failed ADD", rules: "CACHE/005"},
		{name: "reverses DEL", rules: "DEL/018"},
		{name: "leaves one out of DEL", rules: "DEL/018 DEL/021 ADD/017 CACHE/007"},
		{name: "goes on after an error of DEL", rules: "DEL/021"},
		{name: "never forgets", rules: "DEL/022 CHK/003 CHK/016"},
		{name: "forgets what could not be deleted", rules: "CACHE/004"},
		{name: "sends prevResult with DEL of old versions", rules: "DEL/020", send: sends(del, func(s *sending) {
			if s.n.CNIVersion == types.V031 {
				s.conf["prevResult"] = map[string]any{}
			}
		})},
		{name: "reverses CHECK", rules: "CHK/020"},
		{name: "leaves one out of CHECK", rules: "CHK/020"},
		{name: "goes on after an error of CHECK", rules: "CHK/018"},
		{name: "checks what is not attached", rules: "CHK/016"},
		{name: "finds in order what is not attached", rules: "CHK/003"},
		{name: "checks in spite of disableCheck", rules: "CHK/017 CONF/014"},
		{name: "checks what is too old", rules: "CHK/024"},
		{name: "never checks", rules: "CONF/013 CHK/003 CHK/020 CHK/024 CACHE/007"},
		{name: "asks for a STATUS that is too old", rules: "STA/015"},
		{name: "reverses STATUS", rules: "STA/016"},
		{name: "goes on after an error of STATUS", rules: "STA/016"},
		{name: "reverses GC", rules: "GC/015"},
		{name: "stops after an error of GC", rules: "GC/014"},
		{name: "hides the errors of GC", rules: "GC/014 CACHE/014"},
		{name: "collects without DEL", rules: "GC/013"},
		{name: "collects in spite of disableGC", rules: "CONF/015"},
		{name: "runs GC beside others", rules: "GC/016"},
		{name: "runs two operations of a container at once", rules: "LIFE/003"},
		// What is kept.
		{name: "joins the names of the cache with a dash", rules: "CACHE/002"},
		{name: "does without a cache that cannot be written", rules: "CACHE/009"},
		{name: "a cache for everybody", rules: "CACHE/010"},
		{name: "forgets the arguments", rules: "CACHE/006"},
		{name: "forgets the capabilities", rules: "CACHE/006"},
		{name: "asks for versions"},
		{name: "asks for versions in vain", rules: "VER/016 VER/017"},
		{name: "gives up for good", rules: "ERR/017"},
		{name: "collects without a cache that can be read", rules: "CACHE/014"},
		{name: "checks with a cache that cannot be read", rules: "CACHE/007"},
		{name: "does not delete with a cache that cannot be read", rules: "CACHE/007"},
		// What is loaded, and found.
		{name: "no folders", rules: "CONF/016 CONF/022", load: inlinedOnly},
		{name: "does without a plugin that is missing", rules: "PROTO/003"},
		{name: "takes the last directory", rules: "PROTO/002"},
		{name: "takes a directory for a plugin", rules: "PROTO/004 DEL/018"},
		{name: "cniVersions may be a string", rules: "CONF/003", accept: `"cniVersions":"1.1.0"`},
		{name: "any version", rules: "CONF/007", accept: "99.0.0"},
		{name: "disableCheck may be yes", rules: "CONF/014", accept: `"disableCheck":"yes"`},
		{name: "inlined only, and nothing inlined", rules: "CONF/018", accept: "loadOnlyInlinedPlugins"},
		{name: "no plugins will do", rules: "CONF/023", accept: `"plugins":[]`},
		{name: "plugins may be a string", rules: "CONF/025", accept: `"plugins":"one"`},
		{name: "a type may be a number", rules: "CONF/026", accept: `"type":1`},
		{name: "a type may be a path", rules: "CONF/027", accept: `../bin/one`},
		{name: "a capability may be text", rules: "CONF/028", accept: `"mac":"yes"`},
		{name: "a name may lead elsewhere", rules: "CONF/010", accept: `"../elsewhere"`},
		{name: "reads a folder by a bad name", rules: "CONF/010 CONF/024", accept: `"../elsewhere"`},
		// What plugins answer.
		{name: "takes any result", rules: "RES/043"},
		{name: "no result for null", rules: "RES/044", reply: func(s *sending) {
			if string(s.stdout) == "null" {
				s.exit = 1
			}
		}},
		{name: "no result with members that it does not know", rules: "RES/037", reply: func(s *sending) {
			if bytes.Contains(s.stdout, []byte(`"y":{}`)) {
				s.exit = 1
			}
		}},
		{name: "an error with exit status 0 is a result", rules: "ERR/024", reply: func(s *sending) {
			if bytes.Contains(s.stdout, []byte("with exit status 0")) {
				s.stdout = []byte("{}")
			}
		}},
		{name: "no error without an object", rules: "ERR/023", reply: func(s *sending) {
			if s.exit == 3 {
				s.exit, s.stdout = 0, []byte("{}")
			}
		}},
		{name: "no error without a message", rules: "ERR/029", reply: func(s *sending) {
			if string(s.stdout) == `{"code":7}` {
				s.exit = 0
			}
		}},
	}
}

// broken lists the rules that a report says are broken, sorted.
func broken(r *skeltest.Report) []string {
	all := r.IDs(skeltest.Failed)
	slices.Sort(all)
	return all
}

// Each flaw is found by the rules it breaks, and by no other.
func TestExamineRuntime_mutants(t *testing.T) {
	t.Parallel()
	for _, f := range flaws() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			shared := map[string]*locks{}
			patience := time.Millisecond
			if strings.Contains(f.rules, "GC/016") || strings.Contains(f.rules, "LIFE/003") {
				patience = 10 * time.Second // which ends when the other one begins
			}
			report, err := skeltest.ExamineRuntimeInProcess(t.Context(), func(s skeltest.RuntimeSetup) (skeltest.RuntimeDriver, error) {
				if shared[s.CacheDir] == nil {
					shared[s.CacheDir] = &locks{}
				}
				return &slowRuntime{setup: s, flaw: f, locks: shared[s.CacheDir]}, nil
			}, patience, f.versions()...)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Fields(ids(f.rules))
			slices.Sort(want)
			if got := broken(report); !slices.Equal(got, want) {
				var story bytes.Buffer
				if err := report.WriteText(&story, skeltest.TextOptions{}); err != nil {
					t.Error(err)
				}
				t.Errorf("broken rules = %q, want %q", got, want)
				if f.name == "none" || testing.Verbose() {
					t.Log(story.String())
				}
			}
		})
	}
}
