// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
)

// play makes the test binary the program itself.
const play = "QUICKSTART_PLAY"

func TestMain(m *testing.M) {
	if os.Getenv(play) != "" || os.Getenv("CNI_COMMAND") != "" {
		main()
		return
	}
	nstest.Main(m)
}

// quickstart runs the program, in namespaces of its own as always, and returns what
// it printed.
func quickstart(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	nstest.New(t) // skips where the kernel allows none
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), play+"=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The main job, as the README promises it: both networks, HTTP between containers
// and to the outside behind the host's address, and nothing left.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	out, err := quickstart(t)
	if err != nil {
		t.Fatalf("quickstart: %v\n%s", err, out)
	}
	for _, want := range []string{
		`Network "demo": CNI 1.1.0`,
		`container one asks 10.22.0.3: "container two sees you as 10.22.0.2"`,
		`container one asks fd00:22::3: "container two sees you as fd00:22::2"`,
		`container one asks 192.0.2.2: "the outside sees you as 192.0.2.1"`,
		"container two is as ADD left it",
		`Network "demo_br": CNI 0.2.0`,
		`"ip4": {`,
		`container one asks 10.0.10.3: "container two sees you as 10.0.10.2"`,
		"container one: 1.1.1.1/32 via 10.0.10.1 dev eth0",
		"All done, and nothing is left.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

func TestQuickstart_file(t *testing.T) {
	t.Parallel()
	out, err := quickstart(t, "testdata/tutorial-2020.conf")
	if err != nil || !strings.Contains(out, "[cni_net0]") || strings.Contains(out, `Network "demo"`) {
		t.Errorf("quickstart FILE = %v\n%s", err, out)
	}
	for _, args := range [][]string{{"testdata/missing"}, {"a", "b"}} {
		if out, err := quickstart(t, args...); err == nil || !strings.Contains(out, "quickstart: ") {
			t.Errorf("quickstart %q = %v\n%s\nwant an error", args, err, out)
		}
	}
}
