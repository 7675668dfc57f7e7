// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cnikit/cnikit/types"
)

// A call is a request to the plugin under examination, with what a check changes of
// it.
type call struct {
	env     map[string]string
	bare    bool // no PATH and HOME
	conf    map[string]any
	stdin   []byte // instead of conf, if raw
	raw     bool
	dir     string
	input   string
	output  string
	timeout time.Duration
}

// The addresses of the examination are from a private network; they exist inside its
// namespaces alone.
var (
	testAddr    = netip.MustParsePrefix("10.88.0.2/24")
	testGateway = netip.MustParseAddr("10.88.0.1")
)

// container returns a container ID of the trial's own.
func (t *trial) container(i int) string {
	if i == 0 {
		return t.id
	}
	return fmt.Sprintf("%s.%d", t.id, i)
}

// netns returns the namespace of the container, and a path to nowhere if there are no
// namespaces.
func (t *trial) netns() string {
	if !t.x.namespaces {
		return "/run/netns/" + t.id
	}
	return t.box().Path()
}

// box returns the namespace of the container.
func (t *trial) box() *Namespace {
	if t.sandbox == nil {
		n, err := NewNamespace()
		t.must(err)
		if t.x.target.Profile.Existing {
			t.must(n.setDown(1)) // as a container has its loopback
		}
		t.sandbox, t.sandboxPath = n, n.Path()
	}
	return t.sandbox
}

// another returns a further namespace.
func (t *trial) another() *Namespace {
	n, err := NewNamespace()
	t.must(err)
	t.more = append(t.more, n)
	return n
}

// call returns the baseline of a request: one that a runtime would send, and that a
// plugin has no reason to refuse.
func (t *trial) call(command string) *call {
	c := &call{env: map[string]string{"CNI_COMMAND": command}}
	switch command {
	case "VERSION":
		c.conf = map[string]any{"cniVersion": t.v.String()}
		return c
	case "GC", "STATUS":
	default:
		c.env["CNI_CONTAINERID"], c.env["CNI_IFNAME"], c.env["CNI_NETNS"] = t.container(0), t.x.target.Profile.ifName(), t.netns()
	}
	dirs := append([]string{filepath.Join(t.dir, "bin")}, t.x.target.Profile.Path...)
	c.env["CNI_PATH"] = strings.Join(dirs, string(os.PathListSeparator))
	c.conf = t.config()
	switch {
	case command == "GC":
		c.conf["cni.dev/valid-attachments"], c.conf["cni.dev/attachments"] = []any{}, []any{}
	case command == "CHECK" || command == "ADD" && t.x.target.Profile.Kind == KindChained:
		if t.v >= types.V030 {
			c.conf["prevResult"] = t.prevResult()
		}
	}
	if t.x.target.Profile.Kind == KindChained && (command == "GC" || command == "STATUS") {
		delete(c.conf, "runtimeConfig")
	}
	return c
}

// config returns the configuration of the profile.
func (t *trial) config() map[string]any {
	text := strings.NewReplacer("${DIR}", t.dir, "${IPAM}", "cnitest-ipam").Replace(string(t.x.target.Profile.Config))
	conf := map[string]any{}
	if text != "" {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		t.keep(decoder.Decode(&conf))
	}
	conf["cniVersion"], conf["name"], conf["type"] = t.v.String(), "conformance", t.x.target.Name
	return conf
}

// prevResult returns the result of a plugin before this one, which made a veth. The
// veth exists if there are namespaces.
func (t *trial) prevResult() map[string]any {
	r := t.previous()
	v := t.v
	data, err := r.Encode(v)
	t.must(err)
	return decoded(data)
}

func (t *trial) previous() *types.Result {
	ifName := t.x.target.Profile.ifName()
	if t.mac == [2]string{} {
		t.mac = [2]string{"02:00:00:88:00:01", "02:00:00:88:00:02"}
		if t.x.namespaces && t.x.target.Profile.Kind == KindChained {
			var err error
			t.mac[0], t.mac[1], err = t.host.addVeth(t.box(), "cnitesth0", ifName, testAddr, testGateway)
			t.must(err)
		}
	}
	r := &types.Result{}
	r.Interfaces = []types.Interface{{Name: "cnitesth0", MAC: t.mac[0]}, {Name: ifName, MAC: t.mac[1], Sandbox: t.netns()}}
	r.IPs = []types.IP{{Address: testAddr, Gateway: testGateway, Interface: types.Some(1)}}
	r.Routes = []types.Route{{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), GW: testGateway}}
	r.DNS = types.DNS{Nameservers: []string{"192.0.2.53", "192.0.2.1"}, Search: []string{"b.example", "a.example"}}
	return r
}

func decoded(data []byte) map[string]any {
	var object map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	if decoder.Decode(&object) != nil {
		return nil
	}
	return object
}

// answer sets what the IPAM plugin of the kit gives a container, or all if that is
// empty.
func (t *trial) answer(containerID string, addr netip.Prefix, gateway netip.Addr) error {
	r := types.Result{IPs: []types.IP{{Address: addr, Gateway: gateway}}, Routes: []types.Route{{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}}}
	data, err := r.Encode(t.v)
	if err != nil || t.delegate == nil {
		return err
	}
	return t.delegate.Answer(types.CommandAdd, containerID, Answer{Stdout: string(data)})
}

// set sets a variable; unset takes variables away.
func (c *call) set(key, value string) *call {
	c.env[key] = value
	return c
}

func (c *call) unset(keys ...string) *call {
	for _, key := range keys {
		delete(c.env, key)
	}
	return c
}

// with sets a member of the configuration; without takes members away.
func (c *call) with(key string, value any) *call {
	c.conf[key] = value
	return c
}

func (c *call) without(keys ...string) *call {
	for _, key := range keys {
		delete(c.conf, key)
	}
	return c
}

// unconfigured takes all members away but those that every plugin gets.
func (c *call) unconfigured() *call {
	maps.DeleteFunc(c.conf, func(key string, _ any) bool {
		return !slices.Contains([]string{"cniVersion", "name", "type", "prevResult"}, key)
	})
	return c
}

// sends replaces all of standard input.
func (c *call) sends(text string) *call {
	c.stdin, c.raw = []byte(text), true
	return c
}

// reads says what is odd about standard input, writes about standard output.
func (c *call) reads(input string) *call {
	c.input = input
	return c
}

func (c *call) writes(output string) *call {
	c.output = output
	return c
}

// in sets the working directory and takes everything but CNI's own variables away.
func (c *call) in(dir string) *call {
	c.dir, c.bare = dir, true
	return c
}

// named is a request about another container, in a namespace.
func (c *call) named(containerID, netns string) *call {
	return c.set("CNI_CONTAINERID", containerID).set("CNI_NETNS", netns)
}

// text is the configuration as it is sent.
func (c *call) text() []byte {
	if c.raw {
		return c.stdin
	}
	data, err := json.Marshal(c.conf)
	if err != nil {
		return []byte(err.Error()) // no configuration of a check is beyond JSON
	}
	return data
}

// step returns the execution that c asks for.
func (c *call) step(plugin string) Step {
	s := Step{Dir: c.dir, Input: c.input, Output: c.output}
	s.Plugin, s.Command, s.Stdin = plugin, types.Command(c.env["CNI_COMMAND"]), c.text()
	if !c.bare {
		for _, key := range []string{"PATH", "HOME"} {
			if value, ok := os.LookupEnv(key); ok {
				s.Environ = append(s.Environ, key+"="+value)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.env)) {
		s.Environ = append(s.Environ, key+"="+c.env[key])
	}
	return s
}

// clone returns a copy that shares nothing that checks change.
func (c *call) clone() *call {
	d := *c
	d.env, d.conf = maps.Clone(c.env), maps.Clone(c.conf)
	return &d
}
