// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// A test of a plugin as its author writes it: ptp leaves nothing on the host.
func TestNew(t *testing.T) {
	t.Parallel()
	host, container := skeltest.New(t), skeltest.New(t)
	if err := host.Conn().SetForwarding(netip.MustParsePrefix("0.0.0.0/0")); err != nil { // a host that forwards stays one
		t.Fatal(err)
	}
	before := snapshot(t, host)
	fake, err := skeltest.NewDelegate(t.TempDir(), "ipam")
	if err != nil {
		t.Fatal(err)
	}
	result := `{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.3/24","gateway":"10.1.2.1"}],"routes":[{"dst":"0.0.0.0/0"}]}`
	if err := fake.Answer(types.CommandAdd, "", skeltest.Answer{Stdout: result}); err != nil {
		t.Fatal(err)
	}
	r := &skeltest.Runtime{Path: []string{filepath.Dir(skeltest.Self(t, "ptp")), fake.Dir}, Start: host.Start}
	n := network(t, `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"ptp","ipam":{"type":"ipam"}}]}`)
	at := skeltest.Attachment{ContainerID: "c1", Netns: container.Path(), IfName: "eth0"}
	if _, err := r.Add(t.Context(), n, at); err != nil {
		t.Fatal(err)
	}
	inside := snapshot(t, container)
	for _, want := range []string{"address 10.1.2.3/24 dev eth0", "route 0.0.0.0/0 via 10.1.2.1 dev eth0", "link eth0 kind=veth up=true"} {
		if !strings.Contains(string(inside), want) {
			t.Errorf("the container has no %q:\n%s", want, inside)
		}
	}
	if diff := skeltest.Diff(before, snapshot(t, host)); !strings.Contains(diff, "+link veth") {
		t.Errorf("ADD changes this on the host, want a link:\n%s", diff)
	}
	if err := r.Del(t.Context(), n, at); err != nil {
		t.Fatal(err)
	}
	if diff := skeltest.Diff(before, snapshot(t, host)); diff != "" {
		t.Errorf("DEL leaves on the host:\n%s", diff)
	}
}

func snapshot(t *testing.T, n *skeltest.Namespace) skeltest.Snapshot {
	t.Helper()
	s, err := n.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The host of a process is the namespace that it was started in.
func TestNamespace_Start(t *testing.T) {
	t.Parallel()
	n := skeltest.New(t)
	want, err := os.Readlink(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("readlink", "/proc/self/ns/net")
	var out strings.Builder
	cmd.Stdout = &out
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || strings.TrimSpace(out.String()) != want {
		t.Errorf("namespace of the process = %q, %v, want %q", out.String(), err, want)
	}
}

// A slow delegate is slow.
func TestDelegate_Sleep(t *testing.T) {
	t.Parallel()
	d := newDelegate(t)
	if err := d.Answer(types.CommandAdd, "", skeltest.Answer{Sleep: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	ask(t, d, "{}", "CNI_COMMAND=ADD")
	if took := time.Since(begin); took < time.Second {
		t.Errorf("it answers after %v, want a second, to which it rounds up", took)
	}
}

// A fresh pair of namespaces. The mean has the kernel in it, which removes the pairs
// before and lets nobody make a namespace meanwhile; a test sees the median.
func BenchmarkNew(b *testing.B) {
	if _, err := skeltest.NewNamespace(); err != nil {
		b.Skip(err)
	}
	var all []time.Duration
	for b.Loop() {
		begin := time.Now()
		host, err := skeltest.NewNamespace()
		if err != nil {
			b.Fatal(err)
		}
		container, err := skeltest.NewNamespace()
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(begin))
		if err := host.Close(); err != nil {
			b.Fatal(err)
		}
		if err := container.Close(); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2]), "median-ns")
}
