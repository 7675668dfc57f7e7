// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cnikit/cnikit/examples/bridge/bridge"
	"github.com/cnikit/cnikit/examples/host-local/hostlocal"
	"github.com/cnikit/cnikit/examples/ptp/ptp"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

var attachments = flag.Int("attachments", 40, "how many attachments the campaign Load puts on one node")

// loadNetworks are the networks of the campaign, by plugin. %d numbers the networks: a
// bridge has 1,023 ports at most (BR_PORT_BITS), so the containers are spread over bridges of
// a thousand.
var loadNetworks = map[string]string{
	"ptp": `{"cniVersion":"1.1.0","name":"load%d","plugins":[{"type":"ptp","ipMasq":true,"ipMasqBackend":"nftables",
		"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.64.0.0/14"}],[{"subnet":"2001:db8:64::/64"}]]}}]}`,
	"bridge": `{"cniVersion":"1.1.0","name":"load%[1]d","plugins":[{"type":"bridge","bridge":"br%[1]d","isGateway":true,"ipMasq":true,"ipMasqBackend":"nftables",
		"ipam":{"type":"host-local","dataDir":"DATADIR","ranges":[[{"subnet":"10.7%[1]d.0.0/16"}],[{"subnet":"2001:db8:7%[1]d::/64"}]]}}]}`,
}

// Load: thousands of attachments on one node, added, checked, collected and deleted. What one
// more of each costs is measured on the way, as a runtime sees it: by executables.
func TestLoad(t *testing.T) {
	for plugin, format := range loadNetworks {
		t.Run(plugin, func(t *testing.T) {
			perNetwork := *attachments
			if plugin == "bridge" {
				perNetwork = min(perNetwork, 1000)
			}
			load(t, format, *attachments, perNetwork)
		})
	}
}

func load(t *testing.T, format string, many, perNetwork int) {
	var networks []string
	for i := 0; i*perNetwork < many; i++ {
		networks = append(networks, fmt.Sprintf(format, i))
	}
	n := newRaceNode(t, networks[0])
	l := n.startLoader(t, networks, perNetwork)
	steps := []int{0, many / 10, many / 2, many}
	n.sample(t, 0, validOf(0, 0, 1))
	for i, at := range steps[1:] {
		l.do(t, "ADD", steps[i], at)
		n.sample(t, at, validOf(0, min(at, perNetwork), 1))
	}
	l.do(t, "CHECK", 0, many)

	// Half are forgotten, and GC finds them, network by network.
	for i, network := range networks {
		n.network = n.Network(t, network)
		valid := validOf(i*perNetwork, min(many, (i+1)*perNetwork), 2)
		for _, what := range []string{"half of them", "nothing"} {
			start, again := time.Now(), 0
			o := n.gc(valid)
			for ; o.late() && again < 20; again++ {
				o = n.gc(valid) // goes on where the one that ran out of time had come to
			}
			if o.err != nil {
				t.Fatal(o.err)
			}
			t.Logf("GC of network %d with %d valid, collects %s: %v, %d times out of time, %s", i, len(valid), what, time.Since(start).Round(time.Millisecond), again, o.usage())
		}
	}
	n.network = n.Network(t, networks[0])
	if got, want := len(n.Reservations(t, "load0")), 2*((min(many, perNetwork)+1)/2); got != want {
		t.Errorf("%d reservations after GC, want %d", got, want)
	}
	l.do(t, "CHECK even", 0, many)
	l.do(t, "DEL odd", 0, many)  // collected before, which succeeds
	l.do(t, "DEL even", 0, many) // attached still
	n.sample(t, 0, validOf(0, 0, 1))
	for i, network := range networks {
		n.network = n.Network(t, network)
		if got := n.Reservations(t, n.network.Name); len(got) > 0 {
			t.Errorf("%d reservations of network %d left", len(got), i)
		}
		if o := n.gc([]types.Attachment{}); o.err != nil {
			t.Error(o.err)
		}
	}
	for _, link := range strings.Split(string(n.Host.Output(t, "ip", "-o", "link", "show", "type", "veth")), "\n") {
		if link != "" {
			t.Errorf("left: %s", link)
		}
	}
	if rules := string(n.Host.Output(t, "nft", "list", "ruleset")); rules != "" {
		t.Errorf("left:\n%.2000s", rules)
	}
	l.end(t)
}

// validOf lists every so manieth of the containers from first to before end.
func validOf(first, end, every int) []types.Attachment {
	valid := []types.Attachment{}
	for i := first; i < end; i += every {
		valid = append(valid, types.Attachment{ContainerID: podID(i), IfName: "eth0"})
	}
	return valid
}

func podID(i int) string { return fmt.Sprintf("load%06d", i) }

// usage is what the last process of an outcome used.
func (o outcome) usage() string {
	if o.state == nil {
		return ""
	}
	used, ok := o.state.SysUsage().(*syscall.Rusage)
	if !ok {
		return ""
	}
	return fmt.Sprintf("cpu %v, memory %d KiB", (o.state.UserTime() + o.state.SystemTime()).Round(time.Millisecond), used.Maxrss)
}

// sample measures one more attachment on a node that has some: the middle of several. The
// first network has the valid ones, and the sample in the end.
func (n *raceNode) sample(t *testing.T, at int, valid []types.Attachment) {
	t.Helper()
	times := map[string][]time.Duration{}
	usage := map[string]string{}
	rounds := min(21, max(3, *attachments/100))
	for i := range rounds {
		p := &pod{id: fmt.Sprint("sample", i), ns: newNS(t)}
		everyone := append(slices.Clip(valid), types.Attachment{ContainerID: p.id, IfName: "eth0"})
		for _, step := range []struct {
			name string
			do   func() outcome
		}{
			{"ADD", func() outcome { return n.add(p, nil, 0) }},
			{"CHECK", func() outcome { return n.check(p) }},
			{"STATUS", func() outcome { return n.plugins(types.CommandStatus, nil, types.RequestParams{}, nil, 0) }},
			{"GC of none", func() outcome { return n.gc(everyone) }},
			{"DEL", func() outcome { return n.del(p, nil, 0) }},
			{"ADD", func() outcome { return n.add(p, nil, 0) }},
			{"GC of one", func() outcome { n.book.release(p.id); return n.gc(valid) }},
		} {
			start := time.Now()
			o := step.do()
			times[step.name] = append(times[step.name], time.Since(start))
			usage[step.name] = o.usage()
			if o.err != nil {
				t.Errorf("%s with %d attachments: %v", step.name, at, o.err)
			}
		}
		if err := p.ns.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"ADD", "CHECK", "STATUS", "GC of none", "GC of one", "DEL"} {
		all := times[name]
		t.Logf("with %d attachments: %s %v (%v to %v), %s", at, name, middle(all).Round(100*time.Microsecond),
			slices.Min(all).Round(100*time.Microsecond), slices.Max(all).Round(100*time.Microsecond), usage[name])
	}
	t.Logf("with %d attachments: %d MiB of memory available to the machine", at, availableMiB(t))
}

// availableMiB is the memory that the machine has left, whoever uses the rest.
func availableMiB(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	return kibibytes(text, "MemAvailable:") / 1024
}

// A loader is a process on the node's host that holds the containers' namespaces by
// descriptors, and runs the plugins inside itself: so it shows what they leak, too.
type loader struct {
	cmd   *exec.Cmd
	in    *json.Encoder
	out   *json.Decoder
	close func() error
	fds   int // descriptors after the first order
}

// An order is what a loader is to do for the containers from First to before End.
type order struct {
	Command    string
	First, End int
}

// A report is what a loader says of an order.
type report struct {
	Errors               []string
	First, Last, Slowest time.Duration // the medians of the first and of the last tenth
	FDs, RSS             int           // descriptors beside those of namespaces; memory in KiB
}

// loaderEnv marks the process that is a loader, and holds its networks.
const loaderEnv = "CAMPAIGN_LOADER"

// An assignment is what a loader is started with.
type assignment struct {
	Networks   []string
	PerNetwork int
}

func (n *raceNode) startLoader(t *testing.T, networks []string, perNetwork int) *loader {
	t.Helper()
	for i := range networks {
		networks[i] = strings.ReplaceAll(networks[i], "DATADIR", n.DataDir)
	}
	// A name of the running executable, for the delegate to be found in the process.
	links := n.Runtime.Path[0]
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(links, "host-local")); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(assignment{networks, perNetwork})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), loaderEnv+"="+string(text), "CNI_PATH="+links)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return &loader{cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out)), close: in.Close}
}

// spareFDs is how many descriptors the Go runtime and package os may come to keep after the
// first order, whatever the number of attachments is.
const spareFDs = 4

// do has a loader do something and logs what it reports. No operation keeps a descriptor.
func (l *loader) do(t *testing.T, command string, first, end int) {
	t.Helper()
	if err := l.in.Encode(order{command, first, end}); err != nil {
		t.Fatal(err)
	}
	var r report
	start := time.Now()
	if err := l.out.Decode(&r); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s of %d to %d in one process: %v, each %v at first, %v at last, at worst %v; %d descriptors, %d KiB", command, first, end,
		time.Since(start).Round(time.Millisecond), r.First.Round(10*time.Microsecond), r.Last.Round(10*time.Microsecond), r.Slowest.Round(10*time.Microsecond), r.FDs, r.RSS)
	if l.fds == 0 {
		l.fds = r.FDs
	}
	if r.FDs > l.fds+spareFDs {
		t.Errorf("%s: %d descriptors are open, want %d as after the first order", command, r.FDs, l.fds)
	}
	for i, e := range r.Errors {
		if i == 5 {
			t.Errorf("and %d errors more", len(r.Errors)-i)
			break
		}
		t.Errorf("%s: %s", command, e)
	}
}

func (l *loader) end(t *testing.T) {
	t.Helper()
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if err := l.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// beLoader is the process of a loader, if this is one.
func beLoader() {
	text := os.Getenv(loaderEnv)
	if text == "" {
		return
	}
	if err := loadHere(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func loadHere(text string) error {
	var a assignment
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return err
	}
	s := stock{perNetwork: a.PerNetwork}
	for _, text := range a.Networks {
		network, err := types.ParseNetwork([]byte(text))
		if err != nil {
			return err
		}
		s.networks = append(s.networks, network)
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			return nil // the end
		}
		r, err := s.carryOut(o)
		if err != nil {
			return err
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

// A stock is the containers of a loader.
type stock struct {
	networks   []*types.Network
	perNetwork int
	pods       []*pod
}

// carryOut runs a command for some of the containers, two at a time.
func (s *stock) carryOut(o order) (report, error) {
	for len(s.pods) < o.End {
		n, err := ns.New()
		if err != nil {
			return report{}, err
		}
		s.pods = append(s.pods, &pod{id: podID(len(s.pods)), ns: n})
	}
	command, which, _ := strings.Cut(o.Command, " ")
	var mu sync.Mutex
	var times []time.Duration
	var r report
	var next atomic.Int64
	next.Store(int64(o.First) - 1)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				i := int(next.Add(1))
				if i >= o.End {
					return
				}
				if which == "even" && i%2 == 1 || which == "odd" && i%2 == 0 {
					continue
				}
				start := time.Now()
				err := s.run(types.Command(command), i)
				mu.Lock()
				times = append(times, time.Since(start))
				if err != nil {
					r.Errors = append(r.Errors, err.Error())
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(times) > 0 {
		tenth := (len(times) + 9) / 10
		r.First, r.Last, r.Slowest = middle(times[:tenth]), middle(times[len(times)-tenth:]), slices.Max(times)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	r.FDs, r.RSS = len(fds)-len(s.pods), residentKiB()
	return r, err
}

// middle returns the median.
func middle(times []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(times))[len(times)/2]
}

// run runs one command inside this process.
func (s *stock) run(command types.Command, i int) error {
	p, network := s.pods[i], s.networks[i/s.perNetwork]
	stdin, err := network.Request(0, types.RequestParams{Command: command, PrevResult: p.result})
	if err != nil {
		return err
	}
	var stdout, stderr bytes.Buffer
	plugins := []skel.Runner{bridge.Plugin(), ptp.Plugin(), hostlocal.Plugin()}
	run := skel.Local(plugins...)(network.Plugins[0].Type)
	environ := []string{"CNI_COMMAND=" + string(command), "CNI_CONTAINERID=" + p.id, "CNI_NETNS=" + p.netns(), "CNI_IFNAME=eth0", "CNI_PATH=" + os.Getenv("CNI_PATH")}
	if exit := run(context.Background(), environ, bytes.NewReader(stdin), &stdout, &stderr); exit != 0 {
		return fmt.Errorf("%s: %s%s", p.id, stdout.Bytes(), stderr.Bytes())
	}
	if command == types.CommandAdd {
		p.result = bytes.Clone(stdout.Bytes())
	}
	return nil
}

// residentKiB is the memory of this process.
func residentKiB() int {
	text, _ := os.ReadFile("/proc/self/status")
	return kibibytes(text, "VmRSS:")
}

// kibibytes is the number behind a name in a file of /proc, 0 if it is not there.
func kibibytes(text []byte, name string) int {
	var n int
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			_, _ = fmt.Sscan(rest, &n)
		}
	}
	return n
}
