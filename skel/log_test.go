// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

const traceparent = "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// logger returns a plugin that logs at three levels and then fails, after an undo
// step that logs.
func logger(options func(*conf) skel.LogOptions) skel.Plugin[conf] {
	p := adder(func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) {
		r.Undo(func(context.Context) error {
			r.Log.Info("undone")
			return nil
		})
		r.Log.Debug("low", "trace", r.TraceID)
		r.Log.Info("middle")
		r.Log.Warn("high")
		return nil, errors.New("no luck")
	})
	p.Log = options
	return p
}

// Each record says which request it is about.
func TestRequest_Log(t *testing.T) {
	t.Parallel()
	got := run(t, logger(nil), request("1.1.0"), environ("ADD", traceparent))
	want := " plugin=adder command=ADD network=net1 container=c1 interface=eth0 trace=0af7651916cd43dd8448eb211c80319c\n"
	for _, msg := range []string{"middle", "high", "undone"} {
		if !strings.Contains(got.stderr, " msg="+msg+want) {
			t.Errorf("log = %s, want %s and %s", got.stderr, msg, want)
		}
	}
	if strings.Contains(got.stderr, "low") {
		t.Errorf("log = %s, want nothing of level debug", got.stderr)
	}
}

// What a request does not have is left out.
func TestRequest_Log_Status(t *testing.T) {
	t.Parallel()
	p := adder(nil)
	p.Add = func(context.Context, *skel.Request[conf]) (*types.Result, error) { return sample(), nil }
	p.Status = func(_ context.Context, r *skel.Request[conf]) error {
		r.Log.Info("hello")
		return nil
	}
	got := run(t, p, request("1.1.0"), []string{"CNI_COMMAND=STATUS"})
	got.silent(t)
	if !strings.HasSuffix(got.stderr, " msg=hello plugin=adder command=STATUS network=net1\n") {
		t.Errorf("log = %s", got.stderr)
	}
}

func TestPlugin_Log(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	for range 2 { // the second appends
		got := run(t, logger(func(c *conf) skel.LogOptions {
			return skel.LogOptions{Level: slog.LevelDebug, File: c.Greeting, JSON: true}
		}), request("1.1.0", `,"greeting":"`+file+`"`), environ("ADD"))
		got.failure(t, types.ErrInternal, "no luck")
		if got.stderr != "" {
			t.Errorf("standard error = %s, want nothing", got.stderr)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var msgs []string
	for line := range strings.Lines(string(data)) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		if record["container"] != "c1" {
			t.Errorf("record = %s, want the container", line)
		}
		msgs = append(msgs, fmt.Sprint(record["msg"]))
	}
	if got, want := strings.Join(msgs, " "), "low middle high undone low middle high undone"; got != want {
		t.Errorf("messages = %s, want %s", got, want)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode = %v, want one for the owner alone", info.Mode())
	}
}

// A log that cannot be opened is no reason to fail.
func TestPlugin_Log_Unopenable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := run(t, logger(func(*conf) skel.LogOptions { return skel.LogOptions{File: dir} }), request("1.1.0"), environ("ADD"))
	got.failure(t, types.ErrInternal, "no luck")
	if !strings.Contains(got.stderr, dir) || !strings.Contains(got.stderr, "middle") {
		t.Errorf("log = %s, want the directory that is no file, and the records", got.stderr)
	}
}

// Neither the configuration nor the environment shows up where people look, but for
// what is wrong with it. ERR-025
func TestPlugin_Run_Secrets(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, command := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
		for _, more := range []string{``, `,"count":-1`, `,"count":"many"`} {
			var r recorder
			p := r.plugin()
			p.Log = func(*conf) skel.LogOptions { return skel.LogOptions{Level: slog.LevelDebug} }
			got := run(t, p, request("1.1.0", `,"password":"`+secret+`"`, more, attachments, prevResult), environ(command, "TOKEN="+secret, "CNI_ARGS=TOKEN="+secret))
			if all := got.stdout + got.stderr; strings.Contains(all, secret) {
				t.Errorf("%s with %s says the secret: %s", command, more, all)
			}
		}
	}
}

// An error names what it is about, once, and keeps its code. AMB-049, ERR-003, ERR-007, ERR-004, ERR-005, ERR-025
func TestPlugin_Run_ErrorText(t *testing.T) {
	t.Parallel()
	const where = "plugin adder, network net1, container c1, interface eth0"
	tests := []struct {
		err          error
		msg, details string
	}{
		{errors.New("no luck"), "no luck", where},
		{types.NewError(types.ErrInternal, "no luck", errors.New("file exists")), "no luck", "file exists (" + where + ")"},
		{types.NewError(types.ErrTryAgainLater, "busy", nil), "busy", where},
		{&types.Error{Code: 111, Msg: "busy", Details: "x (plugin ipam, network net1, container c1, interface eth0)"}, "busy", "x (plugin ipam, network net1, container c1, interface eth0)"},
		{fmt.Errorf("delegate: %w", types.NewError(111, "busy", nil)), "busy", "delegate: busy (" + where + ")"},
	}
	for _, tt := range tests {
		p := adder(func(context.Context, *skel.Request[conf]) (*types.Result, error) { return nil, tt.err })
		got := run(t, p, request("1.0.0"), environ("ADD"))
		e, err := types.DecodeError([]byte(got.stdout))
		if err != nil {
			t.Fatal(err)
		}
		if e.Msg != tt.msg || e.Details != tt.details || e.CNIVersion != types.V100 {
			t.Errorf("error for %v = %+v, want %q and %q", tt.err, e, tt.msg, tt.details)
		}
		want := types.ErrInternal
		if errors.As(tt.err, &want); e.Code != want {
			t.Errorf("code for %v = %d, want %d", tt.err, e.Code, want)
		}
	}
	for stdin, want := range map[string]string{
		`garbage`:                              "1.1.0",
		request("99.0.0"):                      "1.1.0",
		`{"name":"../x"}`:                      "1.1.0",
		`{"cniVersion":"0.4.0","name":"../x"}`: "0.4.0",
	} {
		got := run(t, adder(func(context.Context, *skel.Request[conf]) (*types.Result, error) { return sample(), nil }), stdin, environ("ADD"))
		if !strings.HasPrefix(got.stdout, `{"cniVersion":"`+want+`"`) {
			t.Errorf("error for %s = %s, want version %s", stdin, got.stdout, want)
		}
	}
}

func TestRequest_TraceID(t *testing.T) {
	t.Parallel()
	const id = "0af7651916cd43dd8448eb211c80319c"
	tests := []struct{ value, want string }{
		{"00-" + id + "-b7ad6b7169203331-01", id},
		{"cc-" + id + "-b7ad6b7169203331-01-what-the-future-is", id},
		{"", ""},
		{id, ""},
		{"00-" + id, ""},
		{"00-" + strings.ToUpper(id) + "-b7ad6b7169203331-01", ""},
		{"00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01", ""},
		{"00-" + id[1:] + "-b7ad6b7169203331-01", ""},
	}
	for _, tt := range tests {
		var r recorder
		run(t, r.plugin(), request("1.1.0"), environ("ADD", "TRACEPARENT="+tt.value)).result(t)
		if got := r.only(t).TraceID; got != tt.want {
			t.Errorf("TraceID of %q = %q, want %q", tt.value, got, tt.want)
		}
	}
}
