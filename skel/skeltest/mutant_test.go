// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// A request is what a mutant gets, to be spoiled on its way to a good plugin.
type request struct {
	env    map[string]string
	stdin  []byte
	plugin func(context.Context, skel.Env) int
	stderr io.Writer
}

// command is CNI_COMMAND.
func (r *request) command() string { return r.env["CNI_COMMAND"] }

// conf returns the configuration, and nil if it is none.
func (r *request) conf() map[string]any {
	var conf map[string]any
	decoder := json.NewDecoder(bytes.NewReader(r.stdin))
	decoder.UseNumber()
	if decoder.Decode(&conf) != nil {
		return nil
	}
	return conf
}

// edit changes the configuration, if there is one.
func (r *request) edit(f func(conf map[string]any)) {
	if conf := r.conf(); conf != nil && json.Valid(r.stdin) {
		f(conf)
		if data, err := json.Marshal(conf); err == nil {
			r.stdin = data
		}
	}
}

// good lets the good plugin answer.
func (r *request) good() (stdout string, exit int) {
	var out bytes.Buffer
	env := skel.Env{Stdin: bytes.NewReader(r.stdin), Stdout: &out, Stderr: r.stderr}
	if r.stdin == nil {
		env.Stdin = unreadable{}
	}
	for _, key := range slices.Sorted(maps.Keys(r.env)) {
		env.Environ = append(env.Environ, key+"="+r.env[key])
	}
	exit = r.plugin(context.Background(), env)
	return out.String(), exit
}

type unreadable struct{}

type unwritable struct{}

func (unwritable) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func (unreadable) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// object changes the object that the good plugin prints.
func object(stdout string, f func(o map[string]any)) string {
	var o map[string]any
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.UseNumber()
	if decoder.Decode(&o) != nil {
		return stdout
	}
	f(o)
	data, err := json.Marshal(o)
	if err != nil {
		return stdout
	}
	return string(data)
}

// onError changes the error objects of the good plugin.
func onError(f func(o map[string]any)) func(*request) (string, int) {
	return func(r *request) (string, int) {
		stdout, exit := r.good()
		if exit != 0 {
			stdout = object(stdout, f)
		}
		return stdout, exit
	}
}

// onResult changes the results of ADD.
func onResult(f func(o map[string]any)) func(*request) (string, int) {
	return func(r *request) (string, int) {
		stdout, exit := r.good()
		if exit == 0 && r.command() == "ADD" {
			stdout = object(stdout, f)
		}
		return stdout, exit
	}
}

// on is a mutant that differs for one command.
func on(command string, f func(*request) (string, int)) func(*request) (string, int) {
	return func(r *request) (string, int) {
		if r.command() == command {
			return f(r)
		}
		return r.good()
	}
}

// before changes the request.
func before(f func(*request)) func(*request) (string, int) {
	return func(r *request) (string, int) {
		f(r)
		return r.good()
	}
}

func says(stdout string, exit int) func(*request) (string, int) {
	return func(*request) (string, int) { return stdout, exit }
}

func fails(code int, msg string) (string, int) {
	return fmt.Sprintf(`{"cniVersion":"1.1.0","code":%d,"msg":%q}`, code, msg), 1
}

func first(o map[string]any, key string) map[string]any {
	all, _ := o[key].([]any)
	if len(all) == 0 {
		return map[string]any{}
	}
	entry, _ := all[0].(map[string]any)
	return entry
}

// A mutant is a plugin that is good but for one thing.
type mutant struct {
	name  string
	spoil func(*request) (string, int)
	// deaf says that it does not hear that its output is lost.
	deaf bool
	// versions are those to examine; the newest if empty.
	versions []types.Version
}

// runMutant plays a mutant.
func runMutant(m mutant, plugin func(context.Context, skel.Env) int, env skel.Env) int {
	r := &request{env: map[string]string{}, plugin: plugin, stderr: env.Stderr}
	for _, pair := range env.Environ {
		key, value, _ := strings.Cut(pair, "=")
		r.env[key] = value
	}
	if env.Stdin != nil && r.command() != "VERSION" {
		if data, err := io.ReadAll(env.Stdin); err == nil {
			r.stdin = append([]byte{}, data...)
		}
	} else if env.Stdin != nil {
		// As much as a VERSION request has, which may be kept open.
		buffer := make([]byte, 1<<16)
		if n, err := env.Stdin.Read(buffer); err == nil || err == io.EOF {
			r.stdin = append([]byte{}, buffer[:n]...)
		}
	}
	stdout, exit := m.spoil(r)
	if env.Stdout == nil {
		env.Stdout = unwritable{}
	}
	if _, err := io.WriteString(env.Stdout, stdout); err != nil && !m.deaf {
		return 1
	}
	return exit
}

// chainedPlugin is a good plugin that needs no privileges.
func chainedPlugin() skel.Plugin[struct{}] {
	return skel.Plugin[struct{}]{
		Name: "good", Chained: true,
		Add: func(_ context.Context, r *skel.Request[struct{}]) (*types.Result, error) { return r.PrevResult, nil },
		Del: skel.NothingToDo[struct{}], Check: skel.NothingToDo[struct{}],
		GC: skel.NothingToDo[struct{}], Status: skel.NothingToDo[struct{}],
	}
}

// withCode changes the code of the errors whose text matches.
func withCode(text string, code int) func(*request) (string, int) {
	pattern := regexp.MustCompile(text)
	return onError(func(o map[string]any) {
		if pattern.MatchString(fmt.Sprint(o["msg"], o["details"], o["code"])) {
			o["code"] = code
		}
	})
}

// accepts is a mutant that answers as if nothing were wrong where the good plugin
// gives this code and the text matches.
func accepts(code int, text string) func(*request) (string, int) {
	pattern := regexp.MustCompile(text)
	return func(r *request) (string, int) {
		stdout, exit := r.good()
		got := 0
		matches := false
		object(stdout, func(o map[string]any) {
			_, _ = fmt.Sscan(fmt.Sprint(o["code"]), &got)
			matches = pattern.MatchString(fmt.Sprint(o["msg"]))
		})
		if exit == 0 || got != code || !matches {
			return stdout, exit
		}
		if r.command() == "ADD" {
			return `{"cniVersion":"1.1.0"}`, 0
		}
		return "", 0
	}
}

// protocolMutants are plugins that need no privileges, each with one flaw.
func protocolMutants() []mutant {
	return []mutant{
		{name: "good", versions: types.Versions()},
		{name: "command in any case", spoil: before(func(r *request) {
			if c, ok := r.env["CNI_COMMAND"]; ok && c != "" {
				r.env["CNI_COMMAND"] = strings.ToUpper(strings.TrimSpace(c))
			}
		})},
		{name: "unknown command accepted", spoil: accepts(4, "^CNI_COMMAND")},
		{name: "unknown command is code 100", spoil: withCode("CNI_COMMAND", 100)},
		{name: "unknown command is not named", spoil: onError(func(o map[string]any) {
			if strings.Contains(fmt.Sprint(o["msg"]), "CNI_COMMAND") {
				o["msg"], o["details"] = "bad command", "?"
			}
		})},
		{name: "missing variables accepted on ADD", spoil: on("ADD", before(func(r *request) {
			for _, key := range []string{"CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"} {
				r.env[key] = cmp.Or(r.env[key], "x0")
			}
		}))},
		{name: "missing variables accepted on DEL", spoil: on("DEL", before(func(r *request) {
			for _, key := range []string{"CNI_CONTAINERID", "CNI_IFNAME"} {
				r.env[key] = cmp.Or(r.env[key], "x0")
			}
		}))},
		{name: "DEL demands CNI_NETNS", spoil: on("DEL", func(r *request) (string, int) {
			if r.env["CNI_NETNS"] == "" {
				return fails(4, "CNI_NETNS: missing")
			}
			return r.good()
		})},
		{name: "GC demands CNI_CONTAINERID", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			if r.env["CNI_CONTAINERID"] == "" && exit == 0 {
				return fails(4, "CNI_CONTAINERID: missing")
			}
			return stdout, exit
		})},
		{name: "VERSION demands CNI_PATH", spoil: on("VERSION", func(r *request) (string, int) {
			if r.env["CNI_PATH"] == "" {
				return fails(4, "CNI_PATH: missing")
			}
			return r.good()
		})},
		{name: "an empty variable is not an unset one", spoil: on("DEL", before(func(r *request) {
			if id, ok := r.env["CNI_CONTAINERID"]; ok && id == "" {
				r.env["CNI_CONTAINERID"] = "x0"
			}
		}))},
		{name: "variables are not named", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "4" && !strings.Contains(fmt.Sprint(o["msg"]), "CNI_COMMAND") {
				o["msg"], o["details"] = "bad environment", "?"
			}
		})},
		{name: "container ID of any kind", spoil: before(func(r *request) {
			if r.env["CNI_CONTAINERID"] != "" {
				r.env["CNI_CONTAINERID"] = "x0"
			}
		})},
		{name: "container ID without dots", spoil: on("DEL", func(r *request) (string, int) {
			if strings.Contains(r.env["CNI_CONTAINERID"], ".") {
				return fails(4, "CNI_CONTAINERID: dot")
			}
			return r.good()
		})},
		{name: "interface name of any kind", spoil: before(func(r *request) {
			if r.env["CNI_IFNAME"] != "" {
				r.env["CNI_IFNAME"] = "x0"
			}
		})},
		{name: "unreadable input is code 6", spoil: withCode("standard input|stdin", 6)},
		{name: "undecodable input is code 7", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "6" {
				o["code"] = 7
			}
		})},
		{name: "invalid configuration is code 100", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "7" {
				o["code"] = 100
			}
		})},
		{name: "exit status 0 for errors", spoil: func(r *request) (string, int) {
			stdout, _ := r.good()
			return stdout, 0
		}},
		{name: "exit status 3 for errors", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			return stdout, 3 * exit
		}},
		{name: "exit status 1 for success of DEL", spoil: on("DEL", func(r *request) (string, int) {
			stdout, _ := r.good()
			return stdout, 1
		})},
		{name: "errors to standard error", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				fmt.Fprint(r.stderr, stdout)
				stdout = ""
			}
			return stdout, exit
		}},
		{name: "a log before the error", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				stdout = "starting\n" + stdout
			}
			return stdout, exit
		}},
		{name: "two documents", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				stdout = "{}" + stdout
			}
			return stdout, exit
		}},
		{name: "VERSION with a log", spoil: on("VERSION", func(r *request) (string, int) {
			stdout, exit := r.good()
			return stdout + " done", exit
		})},
		{name: "arrays accepted", spoil: func(r *request) (string, int) {
			if strings.HasPrefix(string(r.stdin), "[]") {
				return "", 0
			}
			return r.good()
		}},
		{name: "any type of cniVersion", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if _, ok := conf["cniVersion"].(string); !ok && conf["cniVersion"] != nil {
					conf["cniVersion"] = "1.1.0"
				}
			})
		})},
		{name: "no name accepted", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if name, ok := conf["name"]; !ok || name == "" {
					conf["name"] = "x"
				}
			})
		})},
		{name: "names of any kind", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if name, ok := conf["name"].(string); ok && name != "" {
					conf["name"] = "x"
				}
			})
		})},
		{name: "names of two characters at least", spoil: func(r *request) (string, int) {
			if name, _ := r.conf()["name"].(string); len(name) == 1 {
				return fails(7, "name: too short")
			}
			return r.good()
		}},
		{name: "trailing data accepted", spoil: before(func(r *request) {
			var first json.RawMessage
			if json.NewDecoder(bytes.NewReader(r.stdin)).Decode(&first) == nil {
				r.stdin = first
			}
		})},
		{name: "unknown keys refused without a name", spoil: on("STATUS", func(r *request) (string, int) {
			if r.conf()["x-cnitest"] != nil {
				return fails(2, "unknown key")
			}
			return r.good()
		})},
		{name: "args refused", spoil: func(r *request) (string, int) {
			if r.conf()["args"] != nil {
				return fails(7, "args: unknown")
			}
			return r.good()
		}},
		{name: "args refused before 1.0.0", versions: []types.Version{types.V040}, spoil: func(r *request) (string, int) {
			if args, _ := r.conf()["args"].(map[string]any); args["other"] != nil {
				return fails(7, "args: unknown")
			}
			return r.good()
		}},
		{name: "keys in exact case only", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["CNIVERSION"] != nil {
					delete(conf, "CNIVERSION")
				}
			})
		})},
		{name: "a nameserver that crashes it", spoil: func(r *request) (string, int) {
			if r.conf()["dns"] != nil {
				return "panic: oh no", 2
			}
			return r.good()
		}},
		{name: "VERSION without versions", spoil: on("VERSION", says(`{"cniVersion":"1.1.0"}`, 0))},
		{name: "VERSION without cniVersion", spoil: on("VERSION", says(`{"supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}`, 0))},
		{name: "VERSION always 1.1.0", versions: []types.Version{types.V040, types.V100}, spoil: on("VERSION", before(func(r *request) { r.stdin = []byte("{}") }))},
		{name: "VERSION needs input", versions: []types.Version{types.V040}, spoil: on("VERSION", func(r *request) (string, int) {
			if r.conf() == nil {
				return fails(6, "no input")
			}
			return r.good()
		})},
		{name: "VERSION of the future", versions: []types.Version{types.V040}, spoil: on("VERSION", func(r *request) (string, int) {
			stdout, exit := r.good()
			return object(stdout, func(o map[string]any) { o["cniVersion"] = "7" }), exit
		})},
		{name: "VERSION lists twice", spoil: on("VERSION", says(`{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","0.4.0","1.0.0","1.1.0"]}`, 0))},
		{name: "VERSION lists downwards", spoil: on("VERSION", says(`{"cniVersion":"1.1.0","supportedVersions":["1.1.0","1.0.0","0.4.0","0.3.1"]}`, 0))},
		{name: "VERSION lists few", spoil: on("VERSION", says(`{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}`, 0))},
		{name: "VERSION is refused", spoil: on("VERSION", says(`{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}`, 1))},
		{name: "any version accepted", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["cniVersion"] == "99.0.0" {
					conf["cniVersion"] = "1.1.0"
				}
			})
		})},
		{name: "versions compared kindly", spoil: before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if v, ok := conf["cniVersion"].(string); ok && strings.Contains(v, "1.1") {
					conf["cniVersion"] = "1.1.0"
				}
			})
		})},
		{name: "a listed version refused", spoil: on("GC", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(1, "GC is too new")
		})},
		{name: "no STATUS", spoil: on("STATUS", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(4, "CNI_COMMAND: STATUS is not known")
		})},
		{name: "no cniVersion is 7", spoil: func(r *request) (string, int) {
			if conf := r.conf(); conf != nil && conf["cniVersion"] == nil && conf["CNIVERSION"] == nil && r.command() == "DEL" && conf["name"] != nil {
				return fails(7, "cniVersion: missing")
			}
			return r.good()
		}},
		{name: "CHECK in any version", versions: []types.Version{types.V040}, spoil: on("CHECK", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["cniVersion"] == "0.3.1" {
					conf["cniVersion"] = "0.4.0"
				}
			})
		}))},
		{name: "GC in any version", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["cniVersion"] == "1.0.0" {
					conf["cniVersion"] = "1.1.0"
				}
			})
		}))},
		{name: "code is a text", spoil: onError(func(o map[string]any) { o["code"] = fmt.Sprint(o["code"]) })},
		{name: "msg is empty", spoil: onError(func(o map[string]any) { o["msg"] = "" })},
		{name: "msg has two lines", spoil: onError(func(o map[string]any) { o["msg"] = fmt.Sprint(o["msg"], "\nand more") })},
		{name: "details is a number", spoil: onError(func(o map[string]any) { o["details"] = 7 })},
		{name: "errors without cniVersion", spoil: onError(func(o map[string]any) { delete(o, "cniVersion") })},
		{name: "code 42", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "7" {
				o["code"] = 42
			}
		})},
		{name: "code 0", spoil: onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "7" {
				o["code"] = 0
			}
		})},
		{name: "code 50 for ADD", spoil: on("ADD", onError(func(o map[string]any) {
			if fmt.Sprint(o["code"]) == "7" {
				o["code"] = 50
			}
		}))},
		{name: "errors repeat the configuration", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				stdout = object(stdout, func(o map[string]any) { o["details"] = string(r.stdin) })
			}
			return stdout, exit
		}},
		{name: "DEL of the unknown fails", spoil: on("DEL", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(3, "unknown container")
		})},
		{name: "DEL prints", spoil: on("DEL", func(r *request) (string, int) {
			stdout, exit := r.good()
			return cmp.Or(stdout, "{}"), exit
		})},
		{name: "CHECK prints", spoil: on("CHECK", func(r *request) (string, int) {
			stdout, exit := r.good()
			return cmp.Or(stdout, "{}"), exit
		})},
		{name: "CHECK fails", spoil: on("CHECK", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(101, "not well")
		})},
		{name: "CHECK without prevResult", spoil: on("CHECK", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["prevResult"] == nil {
					conf["prevResult"] = map[string]any{}
				}
			})
		}))},
		{name: "STATUS fails", spoil: on("STATUS", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(50, "not ready")
		})},
		{name: "STATUS prints", spoil: on("STATUS", func(r *request) (string, int) {
			stdout, exit := r.good()
			return cmp.Or(stdout, "{}"), exit
		})},
		{name: "GC fails", spoil: on("GC", func(r *request) (string, int) {
			if stdout, exit := r.good(); exit != 0 {
				return stdout, exit
			}
			return fails(101, "not done")
		})},
		{name: "GC prints", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			return cmp.Or(stdout, "{}"), exit
		})},
		{name: "GC of any list", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				conf["cni.dev/valid-attachments"], conf["cni.dev/attachments"] = []any{}, []any{}
			})
		}))},
		{name: "GC refuses the unknown", spoil: on("GC", func(r *request) (string, int) {
			if strings.Contains(string(r.stdin), "never-seen") {
				return fails(7, "never-seen: unknown")
			}
			return r.good()
		})},
		{name: "CNI_ARGS refused", spoil: func(r *request) (string, int) {
			if strings.Contains(r.env["CNI_ARGS"], "FOO") {
				return fails(4, "CNI_ARGS: FOO")
			}
			return r.good()
		}},
		{name: "one pair in CNI_ARGS", spoil: func(r *request) (string, int) {
			if strings.Count(r.env["CNI_ARGS"], "=") == 3 {
				return fails(4, "CNI_ARGS: too many")
			}
			return r.good()
		}},
		{name: "VERSION differs", spoil: on("VERSION", func(r *request) (string, int) {
			stdout, exit := r.good()
			return object(stdout, func(o map[string]any) { o["now"] = time.Now().UnixNano() }), exit
		})},
		{name: "CNI_VERSION heeded", spoil: func(r *request) (string, int) {
			if r.env["CNI_VERSION"] != "" {
				return fails(1, "CNI_VERSION: unknown")
			}
			return r.good()
		}},
		{name: "unknown variables refused", spoil: func(r *request) (string, int) {
			if r.env["CNI_FUTURE"] != "" {
				return fails(4, "CNI_FUTURE: unknown")
			}
			return r.good()
		}},
		{name: "HOME needed", spoil: func(r *request) (string, int) {
			if r.env["PATH"] == "" && r.command() == "DEL" {
				return fails(100, "no PATH")
			}
			return r.good()
		}},
		{name: "crash on odd input", spoil: on("DEL", func(r *request) (string, int) {
			if name, ok := r.conf()["name"]; ok && name == nil {
				return "panic: nil", 2
			}
			return r.good()
		})},
		{name: "ADD prints nothing", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit == 0 {
				stdout = ""
			}
			return stdout, exit
		})},
		{name: "ADD prints an error with success", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit == 0 {
				stdout = `[` + stdout + `]`
			}
			return stdout, exit
		})},
		{name: "result in the newest version", versions: []types.Version{types.V100}, spoil: onResult(func(o map[string]any) { o["cniVersion"] = "1.1.0" })},
		{name: "result without version", spoil: onResult(func(o map[string]any) { delete(o, "cniVersion") })},
		{name: "result of 0.2.0", spoil: onResult(func(o map[string]any) { o["ip4"] = map[string]any{"ip": "10.88.0.2/24"} })},
		{name: "ip for ips", versions: []types.Version{types.V031}, spoil: onResult(func(o map[string]any) { o["ip"] = []any{} })},
		{name: "no version of addresses", versions: []types.Version{types.V040}, spoil: onResult(func(o map[string]any) { delete(first(o, "ips"), "version") })},
		{name: "version of addresses", spoil: onResult(func(o map[string]any) { first(o, "ips")["version"] = "4" })},
		{name: "interface without name", spoil: onResult(func(o map[string]any) { first(o, "interfaces")["name"] = "" })},
		{name: "upper case MAC", spoil: onResult(func(o map[string]any) { first(o, "interfaces")["mac"] = "02-AB" })},
		{name: "relative socketPath", spoil: onResult(func(o map[string]any) { first(o, "interfaces")["socketPath"] = "s" })},
		{name: "address without length", spoil: onResult(func(o map[string]any) { first(o, "ips")["address"] = "10.88.0.2" })},
		{name: "gateway with length", spoil: onResult(func(o map[string]any) { first(o, "ips")["gateway"] = "10.88.0.1/24" })},
		{name: "interface out of range", spoil: onResult(func(o map[string]any) { first(o, "ips")["interface"] = 9 })},
		{name: "interface -1", spoil: onResult(func(o map[string]any) { first(o, "ips")["interface"] = -1 })},
		{name: "dst without length", spoil: onResult(func(o map[string]any) { first(o, "routes")["dst"] = "default" })},
		{name: "dst with host bits", spoil: onResult(func(o map[string]any) { first(o, "routes")["dst"] = "10.1.2.3/8" })},
		{name: "gw of another family", versions: []types.Version{types.V040}, spoil: onResult(func(o map[string]any) { first(o, "routes")["gw"] = "fd00::1" })},
		{name: "mtu of a route is a text", spoil: onResult(func(o map[string]any) { first(o, "routes")["mtu"] = "1400" })},
		{name: "new members in an old result", versions: []types.Version{types.V100}, spoil: onResult(func(o map[string]any) { first(o, "interfaces")["mtu"] = 1500 })},
		{name: "null", spoil: onResult(func(o map[string]any) { o["x"] = nil })},
		{name: "interfaces of prevResult lost", spoil: onResult(func(o map[string]any) { delete(o, "interfaces") })},
		{name: "dns of prevResult lost", spoil: onResult(func(o map[string]any) { delete(o, "dns") })},
		{name: "interfaces reordered", spoil: onResult(func(o map[string]any) {
			all, _ := o["interfaces"].([]any)
			slices.Reverse(all)
		})},
		{name: "unknown members lost", spoil: onResult(func(o map[string]any) { delete(o, "x-cnitest") })},
		{name: "table 0 lost", spoil: onResult(func(o map[string]any) {
			if r := first(o, "routes"); fmt.Sprint(r["table"]) == "0" {
				delete(r, "table")
			}
		})},
		{name: "ADD without prevResult", spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if _, ok := conf["prevResult"]; !ok {
					conf["prevResult"] = map[string]any{}
				}
			})
		}))},
		{name: "prevResult in its own version only", spoil: on("ADD", func(r *request) (string, int) {
			conf := r.conf()
			if prev, ok := conf["prevResult"].(map[string]any); ok && prev["cniVersion"] != nil && prev["cniVersion"] != "1.1.0" && conf["name"] != nil {
				return fails(1, "prevResult: version")
			}
			return r.good()
		})},
		{name: "runtimeConfig needed", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if _, ok := r.conf()["runtimeConfig"]; exit == 0 && ok {
				return fails(7, "runtimeConfig: empty")
			}
			return stdout, exit
		})},
		{name: "a random member", spoil: onResult(func(o map[string]any) { o["x"] = time.Now().UnixNano() })},
		{name: "a full device ignored", deaf: true},
	}
}

// examine examines a mutant in-process and returns the rules that it breaks.
func examine(t *testing.T, m mutant, p skeltest.Profile, plugin func(context.Context, skel.Env) int) []string {
	t.Helper()
	p.Versions = m.versions
	if len(p.Versions) == 0 {
		p.Versions = []types.Version{types.V110}
	}
	if m.spoil == nil {
		m.spoil = func(r *request) (string, int) { return r.good() }
	}
	target := skeltest.InProcess("mutant", p, func(_ context.Context, env skel.Env) int { return runMutant(m, plugin, env) })
	report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return report.IDs(skeltest.Failed)
}

// matrix is the table of mutants and the rules that the kit finds each of them to
// break: these, and no other.
func matrix(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "mutants.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if cells := strings.Split(line, "|"); len(cells) == 4 {
			all[strings.TrimSpace(cells[1])] = strings.TrimSpace(cells[2])
		}
	}
	return all
}

// wantBroken compares what was found with the table. With UPDATE_GOLDEN=1 it writes a
// line of the table to standard output instead.
func wantBroken(t *testing.T, name string, got []string) {
	t.Helper()
	line := strings.Join(got, " ")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		fmt.Printf("| %s | %s |\n", name, line)
		return
	}
	if diff := gocmp.Diff(matrix(t)[name], line); diff != "" {
		t.Errorf("rules broken by %q (-want +got):\n%s", name, diff)
	}
}

// Each mutant breaks exactly the rules that it is said to break.
func TestExamine_mutants(t *testing.T) {
	t.Parallel()
	for _, m := range protocolMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			wantBroken(t, m.name, examine(t, m, skeltest.Profile{Kind: skeltest.KindChained, Config: json.RawMessage("{}")}, chainedPlugin().Run))
		})
	}
	for _, m := range ipamMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			plugin := hostlocal.Plugin()
			wantBroken(t, m.name, examine(t, m, hostLocalProfile(), plugin.Run))
		})
	}
}

// hostLocalProfile is the profile of an IPAM plugin with ranges.
func hostLocalProfile() skeltest.Profile {
	return skeltest.Profile{Kind: skeltest.KindIPAM, Config: json.RawMessage(
		`{"ipam":{"type":"host-local","dataDir":"${DIR}/data","ranges":[[{"subnet":"10.88.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}`)}
}

// succeeds is a mutant that does nothing and says that it did.
func succeeds(r *request) (string, int) {
	if stdout, exit := (&request{env: r.env, stdin: r.stdin, plugin: chainedAs(), stderr: io.Discard}).good(); exit != 0 {
		return stdout, exit
	}
	return "", 0
}

// chainedAs is a plugin that does nothing, with the good manners of one.
func chainedAs() func(context.Context, skel.Env) int {
	p := chainedPlugin()
	p.Chained = false
	return p.Run
}

// ipamMutants are IPAM plugins, each with one flaw.
func ipamMutants() []mutant {
	return []mutant{
		{name: "IPAM, good", versions: types.Versions()},
		{name: "IPAM, DEL keeps the address", spoil: on("DEL", succeeds)},
		{name: "IPAM, DEL needs the namespace", spoil: on("DEL", func(r *request) (string, int) {
			if r.env["CNI_NETNS"] == "" {
				return succeeds(r)
			}
			return r.good()
		})},
		{name: "IPAM, DEL needs prevResult", spoil: on("DEL", func(r *request) (string, int) {
			if prev, ok := r.conf()["prevResult"].(map[string]any); !ok || len(prev) < 2 {
				return succeeds(r)
			}
			return r.good()
		})},
		{name: "IPAM, DEL once", spoil: on("DEL", func(r *request) (string, int) {
			before, _ := os.ReadDir(dataDir(r))
			stdout, exit := r.good()
			if after, _ := os.ReadDir(dataDir(r)); exit == 0 && len(after) == len(before) {
				return fails(101, "no such reservation")
			}
			return stdout, exit
		})},
		{name: "IPAM, interfaces in the result", spoil: onResult(func(o map[string]any) {
			o["interfaces"] = []any{map[string]any{"name": "eth0"}}
			first(o, "ips")["interface"] = 0
		})},
		{name: "IPAM, nameservers sorted", spoil: func(r *request) (string, int) {
			stdout, exit := r.good()
			if dns, ok := r.conf()["dns"]; ok && r.command() == "ADD" && exit == 0 {
				stdout = object(stdout, func(o map[string]any) {
					names, _ := dns.(map[string]any)["nameservers"].([]any)
					slices.SortFunc(names, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
					o["dns"] = map[string]any{"nameservers": names}
				})
			}
			return stdout, exit
		}},
		{name: "IPAM, no addresses", spoil: onResult(func(o map[string]any) { o["ips"] = []any{} })},
		{name: "IPAM, the newest version", versions: []types.Version{types.V100}, spoil: onResult(func(o map[string]any) { o["cniVersion"] = "1.1.0" })},
		{name: "IPAM, no result of 0.2.0", versions: []types.Version{types.V020}, spoil: onResult(func(o map[string]any) {
			o["ips"] = []any{map[string]any{"address": "10.88.0.2/24"}}
			delete(o, "ip4")
		})},
		{name: "IPAM, one address for all", spoil: onResult(func(o map[string]any) { first(o, "ips")["address"] = "10.88.0.2/24" })},
		{name: "IPAM, an address for each ADD", spoil: on("ADD", func(r *request) (string, int) {
			r.env["CNI_IFNAME"] = fmt.Sprintf("x%d", time.Now().UnixNano()%1e9)
			return r.good()
		})},
		{name: "IPAM, CHECK sees nothing", spoil: on("CHECK", succeeds)},
		{name: "IPAM, CHECK gives up", spoil: on("CHECK", func(r *request) (string, int) {
			stdout, exit := r.good()
			removeReservations(r)
			return stdout, exit
		})},
		{name: "IPAM, STATUS sees nothing", spoil: on("STATUS", succeeds)},
		{name: "IPAM, STATUS makes files", spoil: on("STATUS", func(r *request) (string, int) {
			if err := os.MkdirAll(dataDir(r)+"/status", 0o755); err != nil {
				return fails(101, err.Error())
			}
			return r.good()
		})},
		{name: "IPAM, GC does nothing", spoil: on("GC", succeeds)},
		{name: "IPAM, GC of an empty list does nothing", spoil: on("GC", func(r *request) (string, int) {
			if list, ok := r.conf()["cni.dev/valid-attachments"].([]any); ok && len(list) == 0 {
				return succeeds(r)
			}
			return r.good()
		})},
		{name: "IPAM, GC of null does nothing", spoil: on("GC", func(r *request) (string, int) {
			if list, ok := r.conf()["cni.dev/valid-attachments"]; ok && list == nil {
				return succeeds(r)
			}
			return r.good()
		})},
		{name: "IPAM, GC takes all", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit == 0 {
				removeReservations(r)
			}
			return stdout, exit
		})},
		{name: "IPAM, GC takes all when refused", spoil: on("GC", func(r *request) (string, int) {
			stdout, exit := r.good()
			if exit != 0 {
				removeReservations(r)
			}
			return stdout, exit
		})},
		{name: "IPAM, GC of any network", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["name"] == "conformance-b" {
					conf["name"] = "conformance"
				}
			})
		}))},
		{name: "IPAM, GC knows the old key only", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) { delete(conf, "cni.dev/valid-attachments") })
		}))},
		{name: "IPAM, GC knows the new key only", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) { delete(conf, "cni.dev/attachments") })
		}))},
		{name: "IPAM, GC without a list takes all", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if _, ok := conf["cni.dev/valid-attachments"]; !ok && conf["cni.dev/attachments"] == nil {
					conf["cni.dev/valid-attachments"] = []any{}
				}
			})
		}))},
		{name: "IPAM, GC compares containers only", spoil: on("GC", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if all, ok := conf["cni.dev/valid-attachments"].([]any); ok {
					for _, entry := range all {
						if entry, ok := entry.(map[string]any); ok && entry["ifname"] == "other0" {
							entry["ifname"] = "eth0"
						}
					}
				}
			})
		}))},
		{name: "IPAM, IP of CNI_ARGS ignored", spoil: on("ADD", before(func(r *request) { delete(r.env, "CNI_ARGS") }))},
		{name: "IPAM, two addresses for 0.2.0", versions: []types.Version{types.V020}, spoil: on("ADD", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if ipam, ok := conf["ipam"].(map[string]any); ok {
					if all, _ := ipam["ranges"].([]any); len(all) > 1 {
						ipam["ranges"] = all[:1]
					}
				}
			})
		}))},
		{name: "IPAM, a failed ADD keeps what it has", spoil: on("ADD", func(r *request) (string, int) {
			stdout, exit := r.good()
			if dir := dataDir(r); exit != 0 && strings.Contains(string(r.stdin), "fd00:88::") && dir != "" {
				if err := os.WriteFile(dir+"/conformance/10.88.0.200", nil, 0o600); err != nil {
					return fails(101, err.Error())
				}
			}
			return stdout, exit
		})},
		{name: "IPAM, networks share reservations", spoil: on("DEL", before(func(r *request) {
			r.edit(func(conf map[string]any) {
				if conf["name"] == "conformance-b" {
					conf["name"] = "conformance"
				}
			})
		}))},
	}
}

// dataDir is where the good IPAM plugin keeps its reservations.
func dataDir(r *request) string {
	ipam, _ := r.conf()["ipam"].(map[string]any)
	dir, _ := ipam["dataDir"].(string)
	return dir
}

// removeReservations spoils the reservations of all networks.
func removeReservations(r *request) {
	files, _ := filepath.Glob(dataDir(r) + "/*/10.*") // the pattern is good
	for _, file := range files {
		_ = os.Remove(file) // a mutant does not care
	}
}

// unproven are the MUSTs whose check no mutant shows at work, and why.
var unproven = map[string]string{}

// Every MUST of the text that the kit looks at has a mutant that breaks it.
func TestExamine_everyMustHasAMutant(t *testing.T) {
	t.Parallel()
	broken := map[string]bool{}
	for _, line := range matrix(t) {
		for _, id := range strings.Fields(line) {
			broken[id] = true
		}
	}
	checked := skeltest.Checked()
	for _, r := range skeltest.Rules() {
		if !checked[r.ID] || r.Severity() != skeltest.Failure {
			continue
		}
		if _, excused := unproven[r.ID]; broken[r.ID] == excused {
			t.Errorf("%s: a mutant breaks it: %t, excused: %t", r.ID, broken[r.ID], excused)
		}
	}
}

var slashed = regexp.MustCompile(`\b([A-Z]+)/([0-9]{3})\b`)

// ids turns the identifiers of rules into what they are. Tests of the kit write them
// with a slash: the name of a rule in a test says that the test proves it of this
// module's own code.
func ids(text string) string { return slashed.ReplaceAllString(text, "$1-$2") }
