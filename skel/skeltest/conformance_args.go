// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cnikit/cnikit/types"
)

func argsChecks() []check {
	return []check{
		{id: "ARG-001", run: func(t *trial) {
			t.baselineDEL()
			for _, args := range []string{"", "IgnoreUnknown=1", "IgnoreUnknown=1;A=b;C=d"} {
				t.accepts(t.call("DEL").set("CNI_ARGS", args), "CNI_ARGS="+args)
			}
		}},
		{id: "ARG-003", once: true, run: func(t *trial) {
			// A plugin that does not read CNI_ARGS succeeds.
			t.baselineDEL()
			if s := t.run(t.call("ADD").set("CNI_ARGS", "FOO=1")); s.failed() {
				if code, _ := s.code(); code == types.ErrInvalidEnvironmentVariables {
					t.names(s, "CNI_ARGS=FOO=1", "FOO")
				}
			}
		}},
		{id: "ARG-004", run: func(t *trial) {
			t.baselineDEL()
			for _, args := range []string{"FOO=1;IgnoreUnknown=1", "IgnoreUnknown=TRUE;FOO=1"} {
				t.accepts(t.call("DEL").set("CNI_ARGS", args), "CNI_ARGS="+args)
			}
		}},
		{id: "ARG-004", needs: needPlainAdd, run: func(t *trial) {
			for _, args := range []string{"FOO=1;IgnoreUnknown=1", "IgnoreUnknown=TRUE;FOO=1"} {
				t.accepts(t.call("ADD").set("CNI_ARGS", args), "ADD with CNI_ARGS="+args)
				t.run(t.call("DEL"))
			}
		}},
		{id: "ARG-006", once: true, run: func(t *trial) {
			t.baselineDEL()
			t.accepts(t.call("DEL").set("CNI_ARGS", "IgnoreUnknown=1;A=b=c;D="), "CNI_ARGS=IgnoreUnknown=1;A=b=c;D=")
		}},
		{id: "ARG-007", once: true, run: func(t *trial) {
			t.baselineDEL()
			for _, args := range []string{"IgnoreUnknown=1;", ";IgnoreUnknown=1", "IgnoreUnknown=1;;A=b"} {
				t.accepts(t.call("DEL").set("CNI_ARGS", args), "CNI_ARGS="+args)
			}
		}},
		{id: "ARG-011", once: true, run: func(t *trial) {
			t.baselineDEL()
			const args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=web-0.a_b;K8S_POD_INFRA_CONTAINER_ID=0f3a;X=fd00::1/64,10.0.0.1"
			t.accepts(t.call("DEL").set("CNI_ARGS", args), "the CNI_ARGS of Kubernetes")
		}},
		{id: "ARG-015", run: func(t *trial) {
			t.baselineDEL()
			t.accepts(t.call("DEL").with("args", map[string]any{"cni": map[string]any{"labels": 5}, "x": []any{}}), "args of odd types")
		}},
		{id: "ARG-019", needs: needPlainAdd, once: true, run: func(t *trial) {
			mark := "cnitest-escape-" + t.id
			for _, value := range []string{"../" + mark, "../../" + mark, "/" + mark, "$(touch " + mark + ")", "'; touch " + mark + "; '"} {
				c := t.call("ADD").set("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME="+value+";K8S_POD_NAMESPACE="+value)
				c.dir = t.dir
				t.run(c.with("args", map[string]any{"cni": map[string]any{"labels": []any{map[string]any{"key": value, "value": value}}, "name": value}}))
				t.run(t.call("DEL"))
			}
			t.must(filepath.WalkDir(t.dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Name() == mark {
					t.fail("an argument became a path: %s", strings.TrimPrefix(path, t.dir))
				}
				return err
			}))
			if _, err := os.Lstat(filepath.Join(filepath.Dir(t.dir), mark)); err == nil {
				t.fail("an argument became a path, outside of the directory of the case")
			}
		}},
		{id: "ARG-020", needs: needPlainAdd, once: true, run: func(t *trial) {
			t.withoutLeftovers("ADD with CNI_ARGS, DEL without", func() {
				t.works(t.call("ADD").set("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web"), "ADD")
				t.run(t.call("DEL"))
			})
		}},
	}
}
