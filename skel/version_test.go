// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// VERSION answers whatever is on standard input. VER-002, VER-003, VER-004, VER-005,
// VER-006, VER-019, PROTO-013, PROTO-031, AMB-004, AMB-012
func TestPlugin_Run_Version(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		stdin io.Reader
		want  string
	}{
		{"known version", strings.NewReader(`{"cniVersion":"0.4.0"}`), "0.4.0"},
		{"in two reads", io.MultiReader(strings.NewReader(`{"cniVersion"`), strings.NewReader(`:"1.0.0"} `)), "1.0.0"},
		{"before an open end", io.MultiReader(strings.NewReader(`{"cniVersion":"1.0.0"}`), openPipe{}), "1.0.0"},
		{"white space", strings.NewReader("\n{ \"cniVersion\"\t: \"0.4.0\" } "), "0.4.0"},
		{"escaped", strings.NewReader(`{"cniVersion":"0.\u0034.0"}`), "0.4.0"},
		{"cut off", strings.NewReader(`{"cniVersion":"0.4.0"`), "1.1.0"},
		{"another case", strings.NewReader(`{"CNIVersion":"0.4.0"}`), "0.4.0"},
		{"whole configuration", strings.NewReader(request("0.3.1")), "0.3.1"},
		{"no name", strings.NewReader(`{"cniVersion":"0.3.1","name":"../x"}`), "0.3.1"},
		{"unknown version", strings.NewReader(`{"cniVersion":"99.0.0"}`), "1.1.0"},
		{"malformed version", strings.NewReader(`{"cniVersion":"1.1"}`), "1.1.0"},
		{"version is a number", strings.NewReader(`{"cniVersion":1.1}`), "1.1.0"},
		{"version is null", strings.NewReader(`{"cniVersion":null}`), "1.1.0"},
		{"no version", strings.NewReader(`{}`), "1.1.0"},
		{"no object", strings.NewReader(`[]`), "1.1.0"},
		{"garbage", strings.NewReader(`zzz`), "1.1.0"},
		{"garbage behind", strings.NewReader(`{"cniVersion":"0.4.0"} zzz`), "1.1.0"},
		{"empty", strings.NewReader(``), "1.1.0"},
		{"closed", nil, "1.1.0"},
		{"unreadable", brokenReader{strings.NewReader(``), io.ErrClosedPipe}, "1.1.0"},
		{"open and silent", openPipe{}, "1.1.0"},
		{"endless", endless{}, "1.1.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var r recorder
			env := skel.Env{Environ: []string{"CNI_COMMAND=VERSION", "CNI_NETNS=dummy"}, Stdin: tt.stdin}
			if _, silent := tt.stdin.(openPipe); !silent {
				env = skel.WithTimes(env, 0, 0, time.Minute) // the answer does not wait for it
			}
			got := runEnv(t.Context(), r.plugin(), env)
			if got.exit != 0 {
				t.Fatalf("exit = %d, want 0: %s", got.exit, got.stdout)
			}
			if err := oneDocument(got.stdout); err != nil {
				t.Fatal(err)
			}
			info, err := types.DecodeVersionInfo([]byte(got.stdout))
			if err != nil {
				t.Fatal(err)
			}
			if info.CNIVersion.String() != tt.want || !slices.Equal(info.SupportedVersions, types.Versions()) {
				t.Errorf("VERSION = %+v, want %s and all versions", info, tt.want)
			}
		})
	}
}

// endless is a standard input without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	return len(p), nil
}

// A counter counts what is read of an endless input, in bytes.
type counter struct {
	endless
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.endless.Read(p)
}

// VERSION reads no more than a configuration can be.
func TestPlugin_Run_VersionInput(t *testing.T) {
	t.Parallel()
	var r recorder
	var input counter
	if got := runEnv(t.Context(), r.plugin(), skel.Env{Environ: environ("VERSION"), Stdin: &input}); got.exit != 0 {
		t.Errorf("exit = %d, want 0", got.exit)
	}
	if got := input.n.Load(); got > 128<<10 {
		t.Errorf("bytes read = %d, want at most %d", got, 128<<10)
	}
}

// VER-007, VER-008, VER-021
func TestPlugin_Run_VersionList(t *testing.T) {
	t.Parallel()
	tests := []struct {
		versions []types.Version
		want     string
	}{
		{nil, `"0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"`},
		{[]types.Version{}, `"0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"`},
		{[]types.Version{types.V100, types.V031, types.V100, types.V040}, `"0.3.1","0.4.0","1.0.0"`},
	}
	for _, tt := range tests {
		var r recorder
		p := r.plugin()
		p.Versions = tt.versions
		got := run(t, p, ``, environ("VERSION"))
		newest := tt.want[len(tt.want)-7:]
		if want := `{"cniVersion":` + newest + `,"supportedVersions":[` + tt.want + "]}\n"; got.stdout != want {
			t.Errorf("VERSION = %s, want %s", got.stdout, want)
		}
	}
}
