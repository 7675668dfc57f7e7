// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// record runs a recorder in-process.
func record(t *testing.T, r *skeltest.Recorder, name, stdin string, environ ...string) (stdout string, exit int) {
	t.Helper()
	var out, errs bytes.Buffer
	exit, ok := skeltest.PlayRecorder(filepath.Join(r.Dir, name), skel.Env{Environ: environ, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	if !ok {
		t.Fatalf("PlayRecorder: no recorder %s", name)
	}
	return out.String(), exit
}

func newRecorder(t *testing.T, names ...string) *skeltest.Recorder {
	t.Helper()
	r, err := skeltest.NewRecorder(t.TempDir(), names...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	r := newRecorder(t, "a", "b")
	const request = `{"cniVersion":"1.1.0","name":"net","type":"a"}`
	first, exit := record(t, r, "a", request, "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/nowhere", "SECRET=x")
	if exit != 0 {
		t.Fatalf("ADD: exit status %d: %s", exit, first)
	}
	result, err := types.DecodeResult([]byte(first), types.V110)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(result); !cmp.Equal(got, []string{"eth0", "a"}) || len(result.IPs) != 1 {
		t.Errorf("ADD gives the interfaces %q and %d addresses, want eth0 with one, and a", got, len(result.IPs))
	}
	second, _ := record(t, r, "b", `{"cniVersion":"1.1.0","name":"net","type":"b","prevResult":`+first+`}`, "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0")
	if !strings.Contains(second, `"name":"b"`) || !strings.Contains(second, `"name":"eth0"`) {
		t.Errorf("ADD with a prevResult gives %s, want it with the interface b", second)
	}
	again, _ := record(t, r, "a", request, "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0")
	if again == first {
		t.Errorf("two ADDs give the same result: %s", first)
	}
	if got, exit := record(t, r, "a", "", "CNI_COMMAND=VERSION"); exit != 0 || !strings.Contains(got, "supportedVersions") {
		t.Errorf("VERSION: exit status %d, %s", exit, got)
	}
	if got, exit := record(t, r, "a", "{", "CNI_COMMAND=ADD"); exit != 1 || !strings.Contains(got, `"code"`) {
		t.Errorf("ADD with bad JSON: exit status %d, %s, want an error object", exit, got)
	}
	records, err := r.Records()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 5 {
		t.Fatalf("%d records, want 5", len(records))
	}
	got := records[0]
	if got.Plugin != "a" || got.Command != types.CommandAdd || string(got.Stdin) != request || string(got.Stdout) != first || got.Sandbox != "" || got.Begin != 1 || got.End != 2 {
		t.Errorf("the first record is %+v", got)
	}
	if want := []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/nowhere"}; !cmp.Equal(got.Environ, want) {
		t.Errorf("the environment is %q, want %q and no secrets", got.Environ, want)
	}
	if err := errors.Join(r.Forget(), r.Forget()); err != nil {
		t.Error(err)
	}
	if records, err := r.Records(); len(records) != 0 || err != nil {
		t.Errorf("%d records after Forget, %v", len(records), err)
	}
}

// A runtime that does not close standard input, and one that is ended meanwhile.
func TestRecorder_odd(t *testing.T) {
	t.Parallel()
	r := newRecorder(t, "a", "b")
	reader, writer := io.Pipe()
	defer writer.Close()
	var out bytes.Buffer
	if _, ok := skeltest.PlayRecorder(filepath.Join(r.Dir, "a"), skel.Env{Environ: []string{"CNI_COMMAND=DEL"}, Stdin: reader, Stdout: &out, Stderr: &out}); !ok {
		t.Fatal("no recorder")
	}
	records, err := r.Records()
	if err != nil || len(records) != 1 || !records[0].Open {
		t.Errorf("records = %+v, %v, want one with an open standard input", records, err)
	}
	log := filepath.Join(r.Dir, "cnirecord.log")
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	begin, _, _ := bytes.Cut(data, []byte("\n"))
	if err := os.WriteFile(log, append(begin, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if records, err := r.Records(); err != nil || len(records) != 1 || records[0].End != 0 {
		t.Errorf("records = %+v, %v, want one without an end", records, err)
	}
	if err := os.WriteFile(log, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Records(); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("Records of a broken log = %v, want an error with the line", err)
	}
}

// A scripted answer waits for its time, and ends early when another recorder begins.
func TestRecorder_Answer(t *testing.T) {
	t.Parallel()
	r := newRecorder(t, "a", "b")
	if err := r.Answer("a", types.CommandDel, skeltest.Answer{Stdout: "x", Stderr: "y", Exit: 7, Sleep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() {
		_, exit := record(t, r, "a", "{}", "CNI_COMMAND=DEL")
		done <- exit
	}()
	for {
		records, err := r.Records()
		if err != nil {
			t.Fatal(err)
		}
		if len(records) > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if stdout, exit := record(t, r, "b", "{}", "CNI_COMMAND=DEL"); stdout != "" || exit != 0 {
		t.Errorf("the other recorder says %q, exit status %d", stdout, exit)
	}
	if exit := <-done; exit != 7 {
		t.Errorf("exit status %d, want that of the answer", exit)
	}
	if err := r.Revert("a", types.CommandDel); err != nil {
		t.Fatal(err)
	}
	if _, exit := record(t, r, "a", "{}", "CNI_COMMAND=DEL"); exit != 0 {
		t.Errorf("exit status %d after Revert, want 0", exit)
	}
}

func TestRecorder_errors(t *testing.T) {
	t.Parallel()
	if _, err := skeltest.NewRecorder(t.TempDir(), "../x"); err == nil {
		t.Error("NewRecorder by a path = nil, want an error")
	}
	if _, err := skeltest.OpenRecorder(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenRecorder of an empty directory = %v, want fs.ErrNotExist", err)
	}
	r := newRecorder(t, "a")
	if _, ok := skeltest.PlayRecorder(filepath.Join(r.Dir, "other"), skel.Env{}); ok {
		t.Error("PlayRecorder plays a name that is no recorder's")
	}
	var out bytes.Buffer
	env := skel.Env{Environ: []string{"CNI_COMMAND=DEL", "CNI_PATH=/nowhere:" + r.Dir}, Stdout: &out, Stderr: &out}
	if _, ok := skeltest.PlayRecorder("a", env); !ok {
		t.Error("PlayRecorder does not find a recorder in CNI_PATH")
	}
	if _, err := skeltest.NewRecorder(r.Dir, "a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("NewRecorder once more = %v, want fs.ErrExist", err)
	}
}

// Two networks, one of them with a plugin that is no recorder, and a name that neither
// has.
func TestRecorder_Examine(t *testing.T) {
	t.Parallel()
	r := newRecorder(t, "a")
	one := network(t, `{"cniVersion":"1.1.0","name":"one","plugins":[{"type":"bridge"},{"type":"a"}]}`)
	two := network(t, `{"cniVersion":"1.1.0","name":"two","plugins":[{"type":"a"}]}`)
	sandbox := filepath.Join(t.TempDir(), "ns")
	if err := os.WriteFile(sandbox, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(command string) []string {
		return []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=" + sandbox, "CNI_PATH=" + r.Dir}
	}
	const prev = `,"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}]}}`
	record(t, r, "a", `{"cniVersion":"1.1.0","name":"one","type":"a"`+prev, env("ADD")...)
	records, err := r.Records()
	if err != nil {
		t.Fatal(err)
	}
	record(t, r, "a", `{"cniVersion":"1.1.0","name":"one","type":"a","prevResult":`+string(records[0].Stdout)+`}`, env("DEL")...)
	report, err := r.Examine(one, two)
	if err != nil {
		t.Fatal(err)
	}
	if got := broken(report); len(got) != 0 {
		t.Errorf("broken rules = %q, want none", got)
	}
	record(t, r, "a", `{"cniVersion":"1.1.0","name":"three","type":"a"`+prev, env("ADD")...)
	report, err = r.Examine(one, two)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(broken(report), " "); got != ids("CHAIN/002") {
		t.Errorf("broken rules = %q, want that of the name", got)
	}
	if rule := report.Broken(skeltest.Failure); len(rule) == 0 {
		t.Error("what binds runtimes is no failure in a report about one")
	}
}

// The networks of a container are torn down in the reverse of the order in which they
// were set up, unless something comes in between: LIFE/018.
func TestRecorder_Examine_networks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, version, story string
		want                 string
	}{
		{"in reverse", "0.4.0", "ADD a, ADD b, ADD c, DEL c, DEL b, DEL a", ""},
		{"in the same order", "0.4.0", "ADD a, ADD b, DEL a, DEL b", "LIFE/018"},
		{"two of three", "0.4.0", "ADD a, ADD b, ADD c, DEL c, DEL a, DEL b", "LIFE/018"},
		{"one is detached and the container lives on", "0.4.0", "ADD a, ADD b, DEL a, ADD c, DEL c, DEL b", ""},
		{"once more", "0.4.0", "ADD a, ADD b, DEL b, DEL b, DEL a", ""},
		{"a version that does not say so", "1.0.0", "ADD a, ADD b, DEL a, DEL b", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRecorder(t, "rec")
			sandbox := filepath.Join(t.TempDir(), "ns")
			if err := os.WriteFile(sandbox, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			results := map[string]string{}
			for step := range strings.SplitSeq(tt.story, ", ") {
				command, name, _ := strings.Cut(step, " ")
				conf := `{"cniVersion":"` + tt.version + `","name":"` + name + `","type":"rec"`
				if previous := results[name]; command == "DEL" && previous != "" {
					conf += `,"prevResult":` + previous
				}
				stdout, _ := record(t, r, "rec", conf+"}", "CNI_COMMAND="+command, "CNI_CONTAINERID=c1", "CNI_IFNAME=eth-"+name, "CNI_NETNS="+sandbox, "CNI_PATH="+r.Dir)
				results[name] = stdout
			}
			var networks []*types.Network
			for _, name := range []string{"a", "b", "c"} {
				networks = append(networks, network(t, `{"cniVersion":"`+tt.version+`","name":"`+name+`","plugins":[{"type":"rec"}]}`))
			}
			report, err := r.Examine(networks...)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(broken(report), " "); got != ids(tt.want) {
				t.Errorf("broken rules = %q, want %q", got, tt.want)
			}
		})
	}
}
