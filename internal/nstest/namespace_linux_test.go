// SPDX-License-Identifier: Apache-2.0

package nstest_test

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// identity reads what the kernel calls the namespace at path.
func identity(t *testing.T, path string) string {
	t.Helper()
	s, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNew(t *testing.T) {
	t.Parallel()
	a, b := nstest.New(t), nstest.New(t)
	seen := map[string]string{
		"own":  identity(t, "/proc/thread-self/ns/net"),
		"main": identity(t, "/proc/self/ns/net"),
	}
	if seen["own"] != seen["main"] {
		t.Errorf("the test is in %s, want %s", seen["own"], seen["main"])
	}
	for name, n := range map[string]*nstest.NS{"a": a, "b": b} {
		id := identity(t, n.Path())
		for other, had := range seen {
			if id == had {
				t.Errorf("namespace of %s = %s, want another than that of %s", name, id, other)
			}
		}
		seen[name] = id
		n.Do(t, func() {
			if got := identity(t, "/proc/thread-self/ns/net"); got != id {
				t.Errorf("inside of %s = %s, want %s", name, got, id)
			}
			links, err := net.Interfaces()
			if err != nil {
				t.Fatal(err)
			}
			if len(links) != 1 || links[0].Name != "lo" {
				t.Errorf("links of a fresh namespace = %v, want lo alone", links)
			}
		})
	}
}

// The machine's own namespace is out of reach: Main has moved the tests elsewhere.
func TestMain_OwnNamespace(t *testing.T) {
	t.Parallel()
	nstest.New(t)
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != 1 || links[0].Name != "lo" {
		t.Errorf("links of the tests' process = %v, want lo alone", links)
	}
}

func TestNS_Do_Main(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	for range 100 {
		n.Do(t, func() {})
	}
	if got, want := identity(t, "/proc/self/ns/net"), identity(t, "/proc/thread-self/ns/net"); got != want {
		t.Errorf("namespace of the main thread = %s, want %s", got, want)
	}
}

func TestNS_Output(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	got := strings.TrimSpace(string(n.Output(t, "readlink", "/proc/self/ns/net")))
	if want := identity(t, n.Path()); got != want {
		t.Errorf("namespace of a child = %s, want %s", got, want)
	}
}

// A process started in one namespace reaches another by its path.
func TestNS_Path(t *testing.T) {
	t.Parallel()
	host, sandbox := nstest.New(t), nstest.New(t)
	cmd := exec.Command("sh", "-c", "readlink /proc/self/ns/net; readlink "+sandbox.Path())
	var out strings.Builder
	cmd.Stdout = &out
	if err := host.Run(cmd); err != nil {
		t.Fatal(err)
	}
	want := identity(t, host.Path()) + "\n" + identity(t, sandbox.Path()) + "\n"
	if out.String() != want {
		t.Errorf("namespaces seen by a child = %q, want %q", out.String(), want)
	}
}

func TestNeedSysctl(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	nstest.NeedSysctl(t, n)
	const file = "/proc/sys/net/ipv4/ip_forward"
	n.Do(t, func() {
		if err := os.WriteFile(file, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != "1\n" {
			t.Errorf("%s inside = %q, %v, want 1", file, got, err)
		}
	})
}

// fake records how a test ended.
type fake struct {
	testing.TB
	ended string
}

func (f *fake) Helper() {}

func (f *fake) Fatalf(string, ...any) { f.end("failed") }

func (f *fake) Skipf(string, ...any) { f.end("skipped") }

func (f *fake) FailNow() { f.end("failed") }

func (f *fake) end(how string) {
	f.ended = how
	runtime.Goexit()
}

// outcome tells how a test that does f ends.
func outcome(f func(testing.TB)) string {
	t := &fake{ended: "passed"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(t)
	}()
	<-done
	return t.ended
}

func TestNS_Do_End(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	tests := []struct {
		name string
		f    func(testing.TB)
		want string
	}{
		{"return", func(testing.TB) {}, "passed"},
		{"fatal", func(tb testing.TB) { tb.Fatalf("") }, "failed"},
		{"skip", func(tb testing.TB) { tb.Skipf("") }, "skipped"},
	}
	for _, tt := range tests {
		after := false
		got := outcome(func(tb testing.TB) {
			n.Do(tb, func() { tt.f(tb) })
			after = true
		})
		if got != tt.want || after != (tt.want == "passed") {
			t.Errorf("Do with %s: test %s, went on = %v, want %s", tt.name, got, after, tt.want)
		}
	}
}

// Not parallel: it sets the environment.
func TestGate(t *testing.T) {
	lacks := func(t testing.TB) { nstest.Lacks(t, "a feature", nil) }
	refused := func(t testing.TB) { nstest.Refuse(t, os.ErrPermission) }
	tests := []struct {
		require, name string
		f             func(testing.TB)
		want          string
	}{
		{"", "refused", refused, "skipped"},
		{"", "lacks", lacks, "skipped"},
		{"1", "refused", refused, "failed"},
		{"1", "lacks", lacks, "skipped"},
		{"all", "refused", refused, "failed"},
		{"all", "lacks", lacks, "failed"},
	}
	for _, tt := range tests {
		t.Setenv("REQUIRE_KERNEL_TESTS", tt.require)
		if got := outcome(tt.f); got != tt.want {
			t.Errorf("%s under REQUIRE_KERNEL_TESTS=%q: test %s, want %s", tt.name, tt.require, got, tt.want)
		}
	}
}
