// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// conf is the configuration of the plugins of these tests.
type conf struct {
	Greeting string `json:"greeting"`
	Count    int    `json:"count"`
	Password string `json:"password"`
}

func (c *conf) Validate() error {
	if c.Count < 0 {
		return errors.New("count: want at least 0")
	}
	return nil
}

// A recorder keeps the requests that reach the handlers of its plugin.
type recorder struct {
	mu       sync.Mutex
	requests []*skel.Request[conf]
}

func (r *recorder) add(q *skel.Request[conf]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, q)
}

// plugin returns a plugin whose handlers record and succeed. ADD returns PrevResult,
// or else an address.
func (r *recorder) plugin() skel.Plugin[conf] {
	done := func(_ context.Context, q *skel.Request[conf]) error {
		r.add(q)
		return nil
	}
	return skel.Plugin[conf]{
		Name: "tester",
		Add: func(_ context.Context, q *skel.Request[conf]) (*types.Result, error) {
			r.add(q)
			if q.PrevResult != nil {
				return q.PrevResult, nil
			}
			return sample(), nil
		},
		Del:    done,
		Check:  done,
		GC:     done,
		Status: done,
	}
}

// only returns the one request that reached a handler.
func (r *recorder) only(t *testing.T) *skel.Request[conf] {
	t.Helper()
	if len(r.requests) != 1 {
		t.Fatalf("requests = %d, want 1", len(r.requests))
	}
	return r.requests[0]
}

// sample returns a result that every version can express.
func sample() *types.Result {
	result, err := types.DecodeResult([]byte(`{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.5/24"}]}`), 0)
	if err != nil {
		panic(err)
	}
	return result
}

// environ returns the environment of a good request, changed by the variables of
// changes.
func environ(command string, changes ...string) []string {
	return append([]string{
		"CNI_COMMAND=" + command,
		"CNI_CONTAINERID=c1",
		"CNI_NETNS=/no/such/netns",
		"CNI_IFNAME=eth0",
		"CNI_PATH=/opt/cni/bin",
	}, changes...)
}

// request returns a configuration; more are further members, with a comma first.
func request(version string, more ...string) string {
	return `{"cniVersion":"` + version + `","name":"net1","type":"tester"` + strings.Join(more, "") + `}`
}

// attachments is the list that every GC needs.
const attachments = `,"cni.dev/valid-attachments":[]`

// prevResult is what every CHECK needs.
const prevResult = `,"prevResult":{"ips":[{"address":"10.0.0.9/24"}]}`

// An answer is what a runtime sees of an execution.
type answer struct {
	exit           int
	stdout, stderr string
}

// run executes a plugin as Plugin.Run does it in the process.
func run(t testing.TB, p skel.Runner, stdin string, environ []string) answer {
	t.Helper()
	return runEnv(t.Context(), p, skel.Env{Environ: environ, Stdin: strings.NewReader(stdin)})
}

func runEnv(ctx context.Context, p skel.Runner, env skel.Env) answer {
	var stdout, stderr bytes.Buffer
	if env.Stdout == nil {
		env.Stdout = &stdout
	}
	if env.Stderr == nil {
		env.Stderr = &stderr
	}
	exit := p.Run(ctx, env)
	return answer{exit, stdout.String(), stderr.String()}
}

// soon returns env with times that do not keep a test waiting for what is stuck. What
// is not has as long as ever: a slow machine fails no test.
func soon(env skel.Env) skel.Env {
	return skel.WithTimes(env, 50*time.Millisecond, 0, 50*time.Millisecond)
}

// silent fails the test unless the answer is a success with nothing on standard
// output.
func (a answer) silent(t testing.TB) {
	t.Helper()
	if a.exit != 0 || a.stdout != "" {
		t.Fatalf("exit = %d, stdout = %q, want 0 and nothing; stderr %s", a.exit, a.stdout, a.stderr)
	}
}

// result fails the test unless the answer is a success with one result.
func (a answer) result(t testing.TB) *types.Result {
	t.Helper()
	if a.exit != 0 {
		t.Fatalf("exit = %d, want 0; stdout %s; stderr %s", a.exit, a.stdout, a.stderr)
	}
	if err := oneDocument(a.stdout); err != nil {
		t.Fatalf("stdout = %q: %v", a.stdout, err)
	}
	result, err := types.DecodeResult([]byte(a.stdout), 0)
	if err != nil {
		t.Fatalf("stdout = %q: %v", a.stdout, err)
	}
	return result
}

// failure fails the test unless the answer is a clean error with that code, whose
// text holds all of want.
func (a answer) failure(t testing.TB, code types.Code, want ...string) *types.Error {
	t.Helper()
	if err := a.cleanError(); err != nil {
		t.Fatalf("%v; stderr %s", err, a.stderr)
	}
	e, err := types.DecodeError([]byte(a.stdout))
	if err != nil {
		t.Fatal(err)
	}
	if e.Code != code {
		t.Errorf("code = %d, want %d: %v", e.Code, code, e)
	}
	for _, text := range want {
		if !strings.Contains(e.Error(), text) {
			t.Errorf("error = %q, want %q in it", e.Error(), text)
		}
	}
	return e
}

// cleanError reports how the answer differs from a clean error.
func (a answer) cleanError() error {
	if a.exit != 1 {
		return errors.New("exit status is not 1 on " + a.stdout)
	}
	if err := oneDocument(a.stdout); err != nil {
		return err
	}
	var e struct {
		CNIVersion string
		Code       json.Number
		Msg        string
	}
	if err := json.Unmarshal([]byte(a.stdout), &e); err != nil {
		return err
	}
	code, err := e.Code.Int64()
	if err != nil || code < 1 || e.Msg == "" || strings.Contains(e.Msg, "\n") || e.CNIVersion == "" {
		return errors.New("no clean error: " + a.stdout)
	}
	return nil
}

// oneDocument reports whether text is one JSON object and a newline.
func oneDocument(text string) error {
	d := json.NewDecoder(strings.NewReader(text))
	var document map[string]json.RawMessage
	if err := d.Decode(&document); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF { //nolint:errorlint // as io.Reader says
		return errors.New("more than one document")
	}
	if !strings.HasSuffix(text, "}\n") || !utf8.ValidString(text) {
		return errors.New("no UTF-8 line")
	}
	return nil
}
