// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel"
)

// FuzzRun: every request is a success or a clean error, and a refused one never
// reaches a handler in part. PROTO-047, ERR-001, ERR-002, ERR-006, ERR-022, ERR-026
func FuzzRun(f *testing.F) {
	for _, command := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "", "add"} {
		for _, stdin := range []string{
			request("1.1.0"), request("0.2.0"), request("1.1.0", prevResult, attachments), request("99.0.0"), ``, `{`, `[]`,
			request("1.1.0", `,"count":"x","greeting":7`), request("1.0.0", `,"prevResult":{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.1/8"}}`),
			request("1.1.0", `,"cni.dev/attachments":[{"containerID":"a","ifname":"b"}]`), strings.Repeat(`[`, 11000),
			"{\"name\":\"a\xff\"}", `{"name":"a","Name":"../b","cniVersion":null}`,
		} {
			f.Add(command, stdin, "c1", "/no/such/netns", "eth0", "IgnoreUnknown=1;A=b")
		}
	}
	f.Add("ADD", request("1.1.0"), "../c", "", "eth0/", "=;=")
	f.Fuzz(func(t *testing.T, command, stdin, containerID, netns, ifName, args string) {
		var r recorder
		p := r.plugin()
		p.NeedsNetns = len(netns)%2 == 0
		p.Strict = len(args)%2 == 0
		env := environ(command, "CNI_CONTAINERID="+containerID, "CNI_NETNS="+netns, "CNI_IFNAME="+ifName, "CNI_ARGS="+args)
		got := runEnv(t.Context(), p, soon(skel.Env{Environ: env, Stdin: strings.NewReader(stdin)}))
		if got.exit == 0 {
			if document := command == "ADD" || command == "VERSION"; document && oneDocument(got.stdout) != nil || !document && got.stdout != "" {
				t.Errorf("%s: exit 0, stdout = %q", command, got.stdout)
			}
			return
		}
		if err := got.cleanError(); err != nil {
			t.Error(err)
		}
		if strings.Contains(got.stdout, "panic") && !strings.Contains(stdin+containerID+ifName+args+command+netns, "panic") {
			t.Errorf("a panic: %s", got.stderr)
		}
	})
}
