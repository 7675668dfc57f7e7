// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/campaign"
	"github.com/cnikit/cnikit/internal/plugintest"
	"github.com/cnikit/cnikit/types"
)

// planted is what must not show up. It is hex, so no program quotes it differently.
const planted = "c0ffee5ec2e7c0ffee5ec2e7"

// A letter is a request that is being written.
type letter struct {
	environ []string
	version string
	top     string // members of the request, each with a comma before
	ipam    string // members of ipam
	runtime string // members of runtimeConfig
	args    string // members of args
	prev    string // members of prevResult
	end     string // what follows the request
}

func (l *letter) text(plugin string) string {
	kind := `"type":"` + plugin + `"`
	ipamType := "host-local"
	if strings.Contains(l.ipam, `"type"`) {
		ipamType = "" // an own one
	}
	members := []string{`"cniVersion":"` + l.version + `"`, `"name":"net"`, kind, `"bridge":"br0"`, `"isGateway":true`, `"ipMasq":true`,
		`"ipam":{"dataDir":"DATADIR","ranges":[[{"subnet":"10.1.2.0/24"}]]` + l.ipam + `}`,
		`"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]` + l.runtime + `}`,
		`"args":{"cni":{"labels":[]}` + l.args + `}`,
		`"cni.dev/valid-attachments":[]`,
		`"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"NETNS"}],"ips":[{"address":"10.1.2.200/24","gateway":"10.1.2.1","interface":0}]` + l.prev + `}`}
	if ipamType != "" {
		members[6] = strings.TrimSuffix(members[6], "}") + `,"type":"` + ipamType + `"}`
	}
	return "{" + strings.Join(members, ",") + l.top + "}" + l.end
}

// hidingPlaces are where a request may have a secret. The name of each is what an error
// begins with that blames it.
var hidingPlaces = []struct {
	name string
	hide func(l *letter)
}{
	{"FOO", func(l *letter) { l.environ = append(l.environ, "FOO="+planted) }},
	{"HTTPS_PROXY", func(l *letter) { l.environ = append(l.environ, "HTTPS_PROXY=https://user:"+planted+"@proxy") }},
	{"CNI_ARGS", func(l *letter) { l.environ = append(l.environ, "CNI_ARGS=IgnoreUnknown=1;X="+planted) }},
	{"PASSWORD of CNI_ARGS", func(l *letter) {
		l.environ = append(l.environ, "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web;PASSWORD="+planted)
	}},
	{"rest of TOKEN of CNI_ARGS", func(l *letter) { l.environ = append(l.environ, "CNI_ARGS=IgnoreUnknown=1;TOKEN=a;"+planted) }},
	{"TRACEPARENT", func(l *letter) { l.environ = append(l.environ, "TRACEPARENT=00-"+planted+"-1") }},
	{"CNI_NETNS_OVERRIDE", func(l *letter) { l.environ = append(l.environ, "CNI_NETNS_OVERRIDE="+planted) }},
	{"x-vendor", func(l *letter) { l.top += `,"x-vendor":"` + planted + `"` }},
	{"x-vendor", func(l *letter) { l.top += `,"x-vendor":{"a":[{"b":"` + planted + `"}]}` }},
	{"password", func(l *letter) { l.top += `,"password":"` + planted + `"` }},
	{"password as another type", func(l *letter) { l.top += `,"credentials":{"list":["` + planted + `",1]}` }},
	{"key", func(l *letter) { l.top += `,"` + planted + `":1` }},
	{"capabilities", func(l *letter) { l.top += `,"capabilities":{"x":"` + planted + `"}` }},
	{"args", func(l *letter) { l.args += `,"x":{"y":"` + planted + `"}` }},
	{"args.cni", func(l *letter) { l.args += `,"cni":{"labels":[{"key":"` + planted + `"}]}` }},
	{"runtimeConfig.x", func(l *letter) { l.runtime += `,"x":"` + planted + `"` }},
	{"runtimeConfig.io.kubernetes.cri.pod-annotations", func(l *letter) {
		l.runtime += `,"io.kubernetes.cri.pod-annotations":{"token":"` + planted + `","a":"` + planted + `"}`
	}},
	{"ipam.x", func(l *letter) { l.ipam += `,"x":"` + planted + `"` }},
	{"ipam.secretKey", func(l *letter) { l.ipam += `,"secretKey":"` + planted + `"` }},
	{"prevResult.x", func(l *letter) { l.prev += `,"x":"` + planted + `"` }},
	{"prevResult.dns", func(l *letter) { l.prev += `,"dns":{"x":{"y":"` + planted + `"}}` }},
}

// mishaps are ways in which a request fails, none of which blames a hiding place. Ours
// says that what is on standard error is our log, and not that of another program.
var mishaps = []struct {
	name   string
	happen func(l *letter)
	others bool
}{
	{"none", func(*letter) {}, false},
	{"wrong type beside it", func(l *letter) { l.top += `,"dns":[{"a":"b"}]` }, false},
	{"wrong type of the plugin's", func(l *letter) {
		l.top += `,"mtu":{"a":1},"snat":5,"ipMasqBackend":["x"]`
		l.ipam += `,"dataDir":[1]`
	}, false},
	{"wrong value", func(l *letter) { l.top += `,"ipMasqBackend":"x","backend":"y"`; l.ipam += `,"subnet":"10.0.0.300/8"` }, false},
	{"bad capability", func(l *letter) {
		l.runtime += `,"portMappings":[{"hostPort":99999,"containerPort":1}],"ips":["x"],"mac":5`
	}, false},
	{"bad prevResult", func(l *letter) { l.prev += `,"ips":[{"address":5}]` }, false},
	{"prevResult of an unknown version", func(l *letter) { l.prev += `,"cniVersion":"9.9.9"` }, false},
	{"unknown version", func(l *letter) { l.version = "9.9.9" }, false},
	{"no version", func(l *letter) { l.version = "one" }, false},
	{"wrong name", func(l *letter) { l.top += `,"name":"a/b"` }, false},
	{"no JSON", func(l *letter) { l.end = "}" }, false},
	{"no JSON in the middle", func(l *letter) { l.top += `,"a":tru` }, false},
	{"no UTF-8", func(l *letter) { l.top += ",\"a\":\"\xff\"" }, false},
	{"bad variables", func(l *letter) { l.environ = append(l.environ, "CNI_IFNAME=a/b", "CNI_CONTAINERID=-") }, false},
	{"no namespace", func(l *letter) { l.environ = append(l.environ, "CNI_NETNS=/no/such") }, false},
	{"no IPAM plugin", func(l *letter) { l.ipam += `,"type":"none"` }, false},
	{"no command", func(l *letter) { l.environ = append(l.environ, "CNI_COMMAND=NO") }, false},
	{"garbage of the IPAM plugin", func(l *letter) { l.ipam += `,"type":"garbage"` }, false},
	{"IPAM plugin that dumps its request", func(l *letter) { l.ipam += `,"type":"dump"` }, true},
	{"IPAM plugin that dumps to standard output", func(l *letter) { l.ipam += `,"type":"dumpout"` }, false},
	{"IPAM plugin that hands its request back", func(l *letter) { l.ipam += `,"type":"echo"` }, false},
}

// ERR-025: a planted secret shows in no log, no error and no file, whatever happens.
func TestSecrets(t *testing.T) {
	t.Parallel()
	ctx, lots := campaign.Begin(t, 2*time.Second)
	n := newNode(t)
	for name, script := range map[string]string{
		"garbage": "cat >/dev/null; echo garbage",
		"dump":    "cat >&2; env >&2; exit 1",
		"dumpout": "cat; env; exit 1",
		"echo":    "cat",
	} {
		n.Script(t, name, script+"\n")
	}
	type trial struct{ plugin, place, mishap, command int }
	var trials []trial
	commands := []types.Command{types.CommandAdd, types.CommandCheck, types.CommandDel, types.CommandGC, types.CommandStatus}
	for p := range everyPlugin {
		for i := range hidingPlaces {
			for j := range mishaps {
				for k := range commands {
					trials = append(trials, trial{p, i, j, k})
				}
			}
		}
	}
	lots.Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
	c := n.Container(t, "c1")
	done := 0
	for ; done < len(trials) && ctx.Err() == nil; done++ {
		now := trials[done]
		plugin, place, mishap := everyPlugin[now.plugin].name, hidingPlaces[now.place], mishaps[now.mishap]
		name := fmt.Sprintf("%s %s, secret in %s, %s", plugin, commands[now.command], place.name, mishap.name)
		l := letter{version: "1.1.0"}
		mishap.happen(&l)
		place.hide(&l)
		a := write(t, n, c, plugin, commands[now.command], l)
		if a.exit != 0 && strings.Contains(a.stdout, planted[:8]) && !blames(a.stdout, place.name) {
			t.Errorf("%s: the error is %s", name, a.stdout)
		}
		if !mishap.others && strings.Contains(a.stderr, planted[:8]) {
			t.Errorf("%s: the log is %s", name, a.stderr)
		}
		if commands[now.command] == types.CommandAdd && a.exit == 0 {
			write(t, n, c, plugin, types.CommandDel, l)
		}
	}
	t.Logf("%d of %d requests", done, len(trials))
	for _, dir := range []string{n.DataDir, n.Runtime.Path[0]} {
		searchFiles(t, dir)
	}
}

// blames reports whether an error object is about a place: the key of a secret is
// nobody's secret.
func blames(document, place string) bool {
	e, err := types.DecodeError([]byte(document))
	return err == nil && (strings.HasPrefix(e.Msg, place) || place == "key" && strings.Contains(e.Msg, planted))
}

func write(t *testing.T, n *plugintest.Node, c *plugintest.Container, plugin string, command types.Command, l letter) answer {
	t.Helper()
	var p *exec.Cmd
	request := strings.ReplaceAll(l.text(plugin), "NETNS", c.Path())
	p = process(n, plugin, command, c, request)
	p.Env = append(slices.DeleteFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "CNIKIT") }), l.environ...)
	return start(t, n.Host, p)
}

// searchFiles looks for what is planted in the files below a directory.
func searchFiles(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data)+path, planted[:8]) {
			t.Errorf("the secret is in %s: %s", path, data)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
