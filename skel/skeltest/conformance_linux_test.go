// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// The plugins of this module obey every rule, at every version: there is neither a
// failure nor a warning nor advice.
func TestExamine_examples(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	for _, name := range []string{"bridge", "ptp", "loopback", "portmap", "host-local", "chained"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := skeltest.Target{Executable: skeltest.Self(t, name)}
			if name == "chained" {
				target.Profile.Kind = skeltest.KindChained
			}
			if os.Getenv(examineAll) == "" {
				target.Profile.Versions = []types.Version{types.Newest}
			}
			if passed := flawless(t, target); passed < 150 {
				t.Errorf("rules passed = %d, want more than 150: the examination was not whole", passed)
			}
			if os.Getenv(examineAll) != "" || testing.Short() {
				return
			}
			// Of older versions, what has to do with versions.
			target.Profile.Versions = []types.Version{types.V020, types.V031, types.V100}
			flawless(t, target, "VER", "RES", ids("ADD/005"), ids("ADD/010"), ids("ADD/020"), ids("DEL/003"), ids("CHK/001"), ids("CHAIN/014"), ids("DLG/026"))
		})
	}
}

// flawless examines a plugin that breaks no rule, and returns how many rules it passed.
func flawless(t *testing.T, target skeltest.Target, only ...string) (passed int) {
	t.Helper()
	report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: only})
	if err != nil {
		t.Fatal(err)
	}
	if got := report.IDs(skeltest.Failed); len(got) > 0 {
		var text strings.Builder
		if err := report.WriteText(&text, skeltest.TextOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Errorf("rules broken: %v\n%s", got, text.String())
	}
	for _, note := range append(report.Notes, report.AddFails) {
		if note != "" {
			t.Error(note)
		}
	}
	return len(report.IDs(skeltest.Passed))
}

// An author's test, whole.
func TestConformance(t *testing.T) {
	skeltest.Conformance(t, skeltest.Target{
		Executable: skeltest.Self(t, "chained"),
		Profile:    skeltest.Profile{Kind: skeltest.KindChained, Versions: []types.Version{types.Newest}},
	})
}

// The kind of a plugin that nobody has told about is found out.
func TestExamine_kind(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	tests := []struct {
		plugin string
		config string
		want   skeltest.Kind
	}{
		{"chained", "", skeltest.KindChained},
		{"ptp", `{"ipam":{"type":"${IPAM}"}}`, skeltest.KindInterface},
		{"host-local", `{"ipam":{"type":"host-local","dataDir":"${DIR}/data","ranges":[[{"subnet":"10.88.0.0/24"}]]}}`, skeltest.KindIPAM},
	}
	for _, tt := range tests {
		// By another name, since those of well-known plugins say what they are.
		path := filepath.Join(t.TempDir(), tt.plugin)
		if err := os.Symlink(skeltest.Self(t, tt.plugin), path); err != nil {
			t.Fatal(err)
		}
		target := skeltest.Target{Executable: path, Name: "nobody-knows", Profile: skeltest.Profile{Config: json.RawMessage(tt.config)}}
		report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: []string{ids("VER/002")}})
		if err != nil || report.Kind != tt.want {
			t.Errorf("%s: kind = %s, %v, want %s", tt.plugin, report.Kind, err, tt.want)
		}
	}
}

// A plugin whose ADD does not even succeed is not taken for a good one.
func TestExamine_addFails(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	tests := []struct {
		plugin string
		config string
		fails  bool
	}{
		{"ptp", `{"ipam":{"type":"${IPAM}"}}`, false},
		{"ptp", `{"ipam":{"type":"no-such-plugin"}}`, true},
		{"host-local", `{"ipam":{"type":"host-local"}}`, true},
	}
	for _, tt := range tests {
		target := skeltest.Target{Executable: skeltest.Self(t, tt.plugin), Profile: skeltest.Profile{Config: json.RawMessage(tt.config)}}
		report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: []string{ids("VER/002")}})
		if err != nil {
			t.Fatal(err)
		}
		if got := report.AddFails != ""; got != tt.fails {
			t.Errorf("%s with %s: AddFails = %q, want one: %t", tt.plugin, tt.config, report.AddFails, tt.fails)
		}
	}
}

// The ADD that a check keeps waiting ends when its delegate has answered, and not when
// the kit loses patience, which would leave the rule open.
func TestExamine_unlocked(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	only := []string{ids("LIFE/011")}
	target := skeltest.Target{Executable: skeltest.Self(t, "ptp"), Profile: skeltest.Profile{Versions: []types.Version{types.Newest}}}
	report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: only})
	if err != nil {
		t.Fatal(err)
	}
	if got := report.IDs(skeltest.Passed); !slices.Equal(got, only) {
		t.Errorf("rules passed = %q, want %q: %v", got, only, report.Outcomes)
	}
}

// A plugin that misbehaves does no harm: the examination ends, says what happened, and
// leaves no process behind.
func TestExamine_misbehaviour(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	tests := []struct {
		name   string
		script string
		only   string
		rule   string // one that is broken
		story  string // in the report
	}{
		{"hangs", "sleep 60", "VER/002", "VER/002", "no end after 1s"},
		{"floods", "yes", "VER/002", "VER/002", "bytes of output"},
		{"garbage", "head -c 5000 /dev/urandom", "VER/002", "VER/002", "JSON documents"},
		{"lingers", `echo '{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}'; sleep 60 & exit 0`, "PROTO/041", "PROTO/041", "still holds its output open"},
		{"succeeds always", "exit 0", "PROTO/006", "PROTO/006", "accepted, want an error"},
		{"crashes", "kill -SEGV $$", "PROTO/047", "PROTO/047", "segmentation fault"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "bad")
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			target := skeltest.Target{Executable: path, Profile: skeltest.Profile{
				Kind: skeltest.KindInterface, TimeoutSeconds: 1, Versions: []types.Version{types.V110},
			}}
			begin := time.Now()
			report, err := skeltest.Examine(t.Context(), target, skeltest.ExamineOptions{Only: []string{ids(tt.only)}})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("it took %v", time.Since(begin))
			var text strings.Builder
			if err := report.WriteText(&text, skeltest.TextOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(report.IDs(skeltest.Failed), " "); got != ids(tt.rule) || !strings.Contains(text.String(), tt.story) {
				t.Errorf("rules broken = %q, want %q, and in the report %q:\n%s", got, tt.rule, tt.story, text.String())
			}
		})
	}
}

// A good plugin may be written in any language.
func TestExamine_shell(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	const script = `#!/bin/sh
read -r conf
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}' ;;
DEL|CHECK|GC|STATUS) ;;
*) echo '{"cniVersion":"1.1.0","code":4,"msg":"CNI_COMMAND: unknown"}'; exit 1 ;;
esac
`
	path := filepath.Join(t.TempDir(), "shell")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	only := strings.Fields(ids("PROTO/005 PROTO/006 PROTO/007 VER/002 DEL/017 STA/011 CONF/008"))
	report, err := skeltest.Examine(t.Context(), skeltest.Target{Executable: path, Profile: skeltest.Profile{Kind: skeltest.KindIPAM}}, skeltest.ExamineOptions{Only: only})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(report.IDs(skeltest.Failed), " "); got != ids("CONF/008") {
		t.Errorf("rules broken by a shell script = %q, want CONF/008, which it does break", got)
	}
}
