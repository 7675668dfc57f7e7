// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// careless is a plugin that asks its IPAM plugin for an address, and accepts a
// configuration without a name as well as an IPAM plugin that fails. It keeps what it was
// asked in the dataDir of its configuration.
const careless = `#!/bin/sh
conf=$(cat)
data=${conf#*\"dataDir\":\"}
[ "$data" = "$conf" ] || { data=${data%%\"*}; mkdir -p "$data" && echo "$CNI_COMMAND" >>"$data/asked"; }
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}' ;;
ADD) printf %s "$conf" | "${CNI_PATH%%:*}/cnitest-ipam" || true ;;
DEL|CHECK|GC|STATUS) printf %s "$conf" | "${CNI_PATH%%:*}/cnitest-ipam" >/dev/null || true ;;
esac
`

// What a report tells to run by hand does run, and says what it said before: also where
// the IPAM plugin of the kit answers, differently from step to step.
func TestExamine_keep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, keep := filepath.Join(dir, "careless"), filepath.Join(dir, "it's kept")
	if err := os.WriteFile(path, []byte(careless), 0o755); err != nil {
		t.Fatal(err)
	}
	target := skeltest.Target{Executable: path, Profile: skeltest.Profile{
		Kind: skeltest.KindMeta, Versions: []types.Version{types.V110},
		Config: json.RawMessage(`{"dataDir":"${DIR}/data","ipam":{"type":"${IPAM}"}}`),
	}}
	report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: []string{"CONF", "DLG", "STA"}, Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	// The plugin begins anew when it is run by hand.
	asked := filepath.Join(keep, "*", "*", "data", "asked")
	if left, err := filepath.Glob(asked); err != nil || len(left) > 0 {
		t.Errorf("what the plugin kept is left: %q, %v", left, err)
	}
	delegated, ran := 0, 0
	for _, o := range append(report.Broken(skeltest.Failure), report.Broken(skeltest.Warning)...) {
		for _, s := range o.Steps {
			if s.Input != "" || s.Output != "" || s.Problem != "" {
				continue // takes its time, or cannot be repeated
			}
			var stdout, stderr bytes.Buffer
			cmd := exec.Command("/bin/sh", "-c", s.Shell())
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			var failed *exec.ExitError
			if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
				t.Fatal(err)
			}
			if stdout.String() != string(s.Stdout) || cmd.ProcessState.ExitCode() != s.Exit {
				t.Errorf("%s: %s\nsays %q, exit status %d (%s), want %q, exit status %d", o.Rule.ID, s.Shell(), stdout.String(), cmd.ProcessState.ExitCode(), stderr.String(), s.Stdout, s.Exit)
			}
			ran++
			if s.Before != "" && strings.Contains(string(s.Stdout), "cniVersion") {
				delegated++
			}
		}
	}
	if data, err := filepath.Glob(asked); err != nil || len(data) == 0 {
		t.Errorf("no command kept anything in %s, %v: the test is of no use", asked, err)
	}
	if ran < 5 || delegated == 0 {
		t.Errorf("%d commands were run, %d of them with an answer of the kit's IPAM plugin, want some of each", ran, delegated)
	}
}

// Without a broken rule, and without a directory to keep them in, nothing stays.
func TestExamine_keepNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, keep := filepath.Join(dir, "careless"), filepath.Join(dir, "kept")
	if err := os.WriteFile(path, []byte(careless), 0o755); err != nil {
		t.Fatal(err)
	}
	target := skeltest.Target{Executable: path, Profile: skeltest.Profile{Kind: skeltest.KindMeta}}
	if _, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: []string{ids("VER/002")}, Keep: keep}); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(keep); err != nil || len(entries) > 0 {
		t.Errorf("%v are kept, %v, want nothing", entries, err)
	}
}
