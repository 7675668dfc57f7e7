// SPDX-License-Identifier: Apache-2.0

package skel_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// configuration returns an ADD request of about 4 KB with a prevResult.
func configuration() []byte {
	var b bytes.Buffer
	b.WriteString(`{"cniVersion":"1.1.0","name":"net1","type":"tester","greeting":"hello","count":3,` +
		`"ipam":{"type":"host-local","ranges":[[{"subnet":"10.0.0.0/16"}]]},"runtimeConfig":{"mac":"00:11:22:33:44:55"},` +
		`"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"br0","mac":"00:11:22:33:44:01"},{"name":"veth1","mac":"00:11:22:33:44:02"},` +
		`{"name":"eth0","mac":"00:11:22:33:44:55","sandbox":"/run/netns/c1"}],"ips":[{"address":"10.0.0.5/16","gateway":"10.0.0.1","interface":2},` +
		`{"address":"fd00::5/64","gateway":"fd00::1","interface":2}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],"dns":{"nameservers":["10.0.0.2"]}}`)
	for i := 0; b.Len() < 4000; i++ {
		fmt.Fprintf(&b, `,"member%d":{"list":[1,2,3],"text":"some words of a configuration"}`, i)
	}
	b.WriteString("}")
	return b.Bytes()
}

func BenchmarkRun(b *testing.B) {
	p := adder(func(_ context.Context, r *skel.Request[conf]) (*types.Result, error) { return r.PrevResult, nil })
	stdin := configuration()
	for _, command := range []string{"ADD", "CHECK", "DEL", "VERSION"} {
		b.Run(command, func(b *testing.B) {
			b.ReportAllocs()
			env := skel.Env{Environ: environ(command, "PATH=/usr/bin"), Stdout: io.Discard, Stderr: io.Discard}
			for b.Loop() {
				env.Stdin = bytes.NewReader(stdin)
				if exit := p.Run(b.Context(), env); exit != 0 {
					b.Fatalf("exit = %d, want 0", exit)
				}
			}
		})
	}
}

// build compiles a program as it is shipped, and returns its path.
func build(b *testing.B, pkg string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "program")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("go build %s: %v: %s", pkg, err, out)
	}
	return path
}

// empty is a program that does nothing.
func empty(b *testing.B) string {
	b.Helper()
	file := filepath.Join(b.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	return build(b, file)
}

const hello = "github.com/cnikit/cnikit/examples/hello"

// BenchmarkSize reports the size in bytes of a plugin on types and skel alone, and of
// a program that does nothing.
func BenchmarkSize(b *testing.B) {
	plugin, nothing := build(b, hello), empty(b)
	for b.Loop() { // which forgets the metrics reported before
	}
	for unit, path := range map[string]string{"plugin-bytes": plugin, "empty-bytes": nothing} {
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size()), unit)
	}
}

// BenchmarkProcess reports the median time in which a plugin answers VERSION as a
// process, that of a program which does nothing, and their ratio. The runs take turns,
// so that what else happens on the machine meets both.
func BenchmarkProcess(b *testing.B) {
	plugin, nothing := build(b, hello), empty(b)
	var plugins, empties []time.Duration
	for b.Loop() {
		for range 200 {
			plugins = append(plugins, elapsed(b, plugin))
			empties = append(empties, elapsed(b, nothing))
		}
	}
	b.ReportMetric(float64(median(plugins).Microseconds()), "plugin-µs")
	b.ReportMetric(float64(median(empties).Microseconds()), "empty-µs")
	b.ReportMetric(float64(median(plugins))/float64(median(empties)), "ratio")
}

func elapsed(b *testing.B, path string) time.Duration {
	b.Helper()
	cmd := exec.Command(path)
	cmd.Env = []string{"CNI_COMMAND=VERSION"}
	cmd.Stdin, cmd.Stdout = strings.NewReader(`{"cniVersion":"1.1.0"}`), io.Discard
	start := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
