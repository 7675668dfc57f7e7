// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cnikit/cnikit/internal/nsfs"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Recorder stands in for the plugins of a network and records what a runtime sends
// them, for [ExamineRecords] to judge. Its executables are the running program by
// other names: a program with recorders calls [PlayRecorder] first, as [Main] does.
//
// Until it is told otherwise a recorder answers as a plugin would that works: to ADD
// with a result that no other ADD has, to VERSION with all versions, and to the rest
// with nothing.
type Recorder struct {
	// Dir is the directory with the executables, for CNI_PATH.
	Dir string
}

// Record is what a recorder was sent, and what it said. Of the environment it has the
// variables of CNI.
type Record struct {
	Execution
	// Begin and End are places in the order of all beginnings and ends in one
	// directory, from 1 on. End is 0 if it was ended before it could answer.
	Begin, End int
	// Netns is the network namespace that it ran in, and Sandbox the one at CNI_NETNS
	// when it began, as "net:[4026531840]". Sandbox is empty if nothing is there, and
	// "file" if it is not a namespace.
	Netns, Sandbox string
	// Open says that standard input did not end.
	Open bool
}

// recorderFile is what makes a directory one of recorders.
const recorderFile = "cnirecord.json"

// recorderConfig is what is in it.
type recorderConfig struct {
	Plugins []string          `json:"plugins"`
	Answers map[string]Answer `json:"answers,omitempty"`
}

// NewRecorder makes recorders of these names in dir, which exists.
func NewRecorder(dir string, plugins ...string) (*Recorder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &Recorder{Dir: dir}
	for _, name := range plugins {
		if err := types.ValidatePluginType(name); err != nil {
			return nil, fmt.Errorf("recorder %w", err)
		}
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return r, r.write(recorderConfig{Plugins: plugins})
}

// OpenRecorder returns the recorders that are in dir. It fails with [fs.ErrNotExist]
// if there are none.
func OpenRecorder(dir string) (*Recorder, error) {
	r := &Recorder{Dir: dir}
	_, err := r.config()
	return r, err
}

func (r *Recorder) config() (c recorderConfig, err error) {
	data, err := os.ReadFile(filepath.Join(r.Dir, recorderFile))
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", filepath.Join(r.Dir, recorderFile), err)
	}
	return c, nil
}

// write replaces the file as a whole: recorders may be running.
func (r *Recorder) write(c recorderConfig) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	temporary := filepath.Join(r.Dir, "."+recorderFile)
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(r.Dir, recorderFile))
}

// Plugins returns the names of the recorders.
func (r *Recorder) Plugins() ([]string, error) {
	c, err := r.config()
	return c.Plugins, err
}

// Answer sets what a recorder says to a command. It waits for the time of a.Sleep, or
// until another recorder of the directory begins.
func (r *Recorder) Answer(plugin string, command types.Command, a Answer) error {
	c, err := r.config()
	if err != nil {
		return err
	}
	if c.Answers == nil {
		c.Answers = map[string]Answer{}
	}
	c.Answers[answerKey(plugin, command)] = a
	return r.write(c)
}

// Revert makes a recorder answer a command as a plugin that works again.
func (r *Recorder) Revert(plugin string, command types.Command) error {
	c, err := r.config()
	if err != nil {
		return err
	}
	delete(c.Answers, answerKey(plugin, command))
	return r.write(c)
}

func answerKey(plugin string, command types.Command) string { return plugin + " " + string(command) }

func (r *Recorder) log() string { return filepath.Join(r.Dir, "cnirecord.log") }

// Forget drops all records, and keeps the answers.
func (r *Recorder) Forget() error {
	if err := os.Remove(r.log()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// logLine is a line of the log: the beginning of an execution, or its end.
type logLine struct {
	ID      string        `json:"id"`
	Plugin  string        `json:"plugin,omitempty"`
	Environ []string      `json:"environ,omitempty"`
	Netns   string        `json:"netns,omitempty"`
	Sandbox string        `json:"sandbox,omitempty"`
	End     bool          `json:"end,omitempty"`
	Stdin   []byte        `json:"stdin,omitempty"`
	Open    bool          `json:"open,omitempty"`
	Stdout  []byte        `json:"stdout,omitempty"`
	Stderr  []byte        `json:"stderr,omitempty"`
	Exit    int           `json:"exit,omitempty"`
	Time    time.Duration `json:"time,omitempty"`
}

// append adds a line. The file may hold secrets of a configuration.
func (r *Recorder) append(l logLine) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(r.log(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n')) // in one piece, so lines do not mix
	return errors.Join(err, f.Close())
}

// Records returns what the recorders were sent so far, in the order in which they began.
func (r *Recorder) Records() ([]Record, error) {
	data, err := os.ReadFile(r.log())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []Record
	index := map[string]int{}
	position := 0
	for line := range bytes.Lines(data) {
		var l logLine
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", r.log(), position+1, err)
		}
		position++
		i, known := index[l.ID]
		if !known {
			i = len(all)
			index[l.ID] = i
			all = append(all, Record{Begin: position, Netns: l.Netns, Sandbox: l.Sandbox})
			e := &all[i].Execution
			e.Plugin, e.Environ = l.Plugin, l.Environ
			e.Command = types.Command(variable(l.Environ, "CNI_COMMAND"))
		}
		if l.End {
			e := &all[i]
			e.End, e.Open, e.Stdin, e.Stdout, e.Stderr, e.Exit, e.Duration = position, l.Open, l.Stdin, l.Stdout, l.Stderr, l.Exit, l.Time
		}
	}
	return all, nil
}

// variable returns a variable of an environment, and the last if there are several.
func variable(environ []string, key string) string {
	for _, pair := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(pair, key+"="); ok {
			return value
		}
	}
	return ""
}

// PlayRecorder plays the recorder whose executable is at path, usually os.Args[0], and
// returns its exit status. It returns false at once if there is no recorder of that name,
// there or in CNI_PATH.
func PlayRecorder(path string, env skel.Env) (exit int, ok bool) {
	name := filepath.Base(path)
	for _, dir := range append([]string{filepath.Dir(path)}, filepath.SplitList(variable(env.Environ, "CNI_PATH"))...) {
		r, err := OpenRecorder(dir)
		if err != nil {
			continue
		}
		if names, err := r.Plugins(); err == nil && slices.Contains(names, name) {
			return r.play(name, env), true
		}
	}
	return 0, false
}

// playRecorder ends the process as a recorder, if it is one.
func playRecorder() {
	if os.Getenv("CNI_COMMAND") == "" {
		return
	}
	env := skel.Env{Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if exit, ok := PlayRecorder(os.Args[0], env); ok {
		os.Exit(exit)
	}
}

// stdinLimit and stdinPatience bound what a recorder reads.
const (
	stdinLimit    = 64 << 20
	stdinPatience = 2 * time.Second
)

// play is one execution.
func (r *Recorder) play(name string, env skel.Env) (exit int) {
	start := time.Now()
	begin := logLine{ID: rand.Text(), Plugin: name, Environ: ofProtocol(env.Environ), Sandbox: namespaceAt(variable(env.Environ, "CNI_NETNS"))}
	begin.Netns = ownNamespace()
	if err := r.append(begin); err != nil {
		return complaint(env, types.ErrInternal, err)
	}
	end := logLine{ID: begin.ID, End: true}
	end.Stdin, end.Open = readAll(env.Stdin)
	a := r.answer(name, begin, end)
	end.Stdout, end.Stderr, end.Exit, end.Time = []byte(a.Stdout), []byte(a.Stderr), a.Exit, time.Since(start)
	if err := r.append(end); err != nil {
		return complaint(env, types.ErrInternal, err)
	}
	if a.write(env) != nil {
		return 1 // whoever should hear of it is gone
	}
	return a.Exit
}

// write says what is to be said.
func (a Answer) write(env skel.Env) error {
	if a.Hang {
		time.Sleep(10 * time.Minute)
		return nil
	}
	_, err := io.WriteString(env.Stderr, a.Stderr)
	for range max(a.Times, 1) {
		_, err2 := io.WriteString(env.Stdout, a.Stdout)
		err = errors.Join(err, err2)
	}
	zeros := make([]byte, min(a.Flood, 1<<20))
	for left := a.Flood; left > 0 && err == nil; left -= int64(len(zeros)) {
		_, err = env.Stdout.Write(zeros[:min(left, int64(len(zeros)))])
	}
	return err
}

// ofProtocol returns the variables that matter here. Others may be anybody's secrets.
func ofProtocol(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(pair string) bool { return !strings.HasPrefix(pair, "CNI_") })
}

func complaint(env skel.Env, code types.Code, cause error) (exit int) {
	e := types.Error{CNIVersion: types.Newest, Code: code, Msg: "recorder: " + cause.Error()}
	_, _ = env.Stdout.Write(e.Encode()) // the exit status tells as well
	return 1
}

// namespaceAt names the network namespace at a path.
func namespaceAt(path string) string {
	if path == "" {
		return ""
	}
	if id, err := nsfs.Stat(path); err == nil {
		return fmt.Sprintf("net:[%d]", id.Ino)
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return "file"
}

// ownNamespace names the network namespace of the calling thread.
func ownNamespace() string {
	id, err := nsfs.Self()
	if err != nil {
		return ""
	}
	return fmt.Sprintf("net:[%d]", id.Ino)
}

// readAll reads standard input to its end, if that comes.
func readAll(stdin io.Reader) (data []byte, open bool) {
	if stdin == nil {
		return nil, false
	}
	done := make(chan []byte, 1)
	go func() {
		data, _ := io.ReadAll(io.LimitReader(stdin, stdinLimit)) // what there is of it
		done <- data
	}()
	select {
	case data := <-done:
		return data, false
	case <-time.After(stdinPatience):
		return nil, true
	}
}

// answer returns what the recorder says.
func (r *Recorder) answer(name string, begin, end logLine) Answer {
	command := types.Command(variable(begin.Environ, "CNI_COMMAND"))
	c, err := r.config()
	if err != nil {
		return failure(types.Newest, err)
	}
	if a, ok := c.Answers[answerKey(name, command)]; ok {
		r.await(begin.ID, a.Sleep)
		return a
	}
	if command == types.CommandVersion {
		return Answer{Stdout: string(types.VersionInfo{CNIVersion: types.Newest, SupportedVersions: types.Versions()}.Encode())}
	}
	if command != types.CommandAdd {
		return Answer{}
	}
	conf, err := types.ParsePluginConfig(end.Stdin)
	if err != nil {
		return failure(types.Newest, err)
	}
	result, err := conf.PrevResult()
	if err == nil {
		result = addition(result, name, begin, variable(begin.Environ, "CNI_IFNAME"), variable(begin.Environ, "CNI_NETNS"))
		var data []byte
		if data, err = result.Encode(conf.CNIVersion); err == nil {
			return Answer{Stdout: string(data)}
		}
	}
	return failure(conf.CNIVersion, err)
}

func failure(v types.Version, err error) Answer {
	e := types.Error{CNIVersion: v, Code: types.ErrInternal, Msg: "recorder: " + err.Error()}
	return Answer{Stdout: string(e.Encode()), Exit: 1}
}

// addition returns a result that no other execution gives: what was there, or an
// interface with an address, and a link by the name of the recorder.
func addition(previous *types.Result, name string, begin logLine, ifName, netns string) *types.Result {
	mac := func(kind byte) string {
		return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", kind, begin.ID[0], begin.ID[1], begin.ID[2], begin.ID[3])
	}
	result := previous
	if result == nil {
		result = &types.Result{}
		address := netip.AddrFrom4([4]byte{198, 18, begin.ID[4], begin.ID[5]}) // RFC 2544: for tests of devices
		i := result.AddInterface(types.Interface{Name: ifName, MAC: mac(0), Sandbox: netns})
		result.IPs = append(result.IPs, types.IP{Address: netip.PrefixFrom(address, 15), Interface: types.Some(i)})
	}
	result.AddInterface(types.Interface{Name: name, MAC: mac(1)})
	return result
}

// await returns after a time, or as soon as another execution begins.
func (r *Recorder) await(id string, limit time.Duration) {
	for end := time.Now().Add(limit); time.Now().Before(end) && r.isLast(id); {
		time.Sleep(2 * time.Millisecond)
	}
}

// isLast reports whether nothing was begun after an execution.
func (r *Recorder) isLast(id string) bool {
	data, err := os.ReadFile(r.log())
	if err != nil {
		return false
	}
	after := false
	for line := range bytes.Lines(data) {
		var l logLine
		if json.Unmarshal(line, &l) != nil {
			return false
		}
		if after && !l.End {
			return false
		}
		after = after || l.ID == id
	}
	return true
}
