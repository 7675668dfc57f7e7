// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command bench measures whole executions of plugins, process start included, and
// compares folders of plugins side by side:
//
//	go run ./internal/bench [-n 50] [-parallel 16] [-scenario NAME] DIR [DIR ...]
//
// Each DIR holds executables of the names that the scenarios use. All folders take
// turns in one run, so that a noisy machine is noisy for all of them alike; read
// the ratios, which are relative to the first folder, and not the times. It runs in
// network and mount namespaces of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// A scenario is a network to add containers to and remove them from.
type scenario struct {
	name    string
	network string // with %s in the place of the data directory
	ifName  string
}

const v4, dual = `"ranges":[[{"subnet":"10.20.0.0/16"}]]`, `"ranges":[[{"subnet":"10.20.0.0/16"}],[{"subnet":"fd00:20::/64"}]]`

func bridge(keys, ranges string) string {
	return `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"bridge","bridge":"br0","isGateway":true,"isDefaultGateway":true,` +
		keys + `"ipam":{"type":"host-local","dataDir":"%s",` + ranges + `}}]}`
}

func scenarios() []scenario {
	return []scenario{
		{name: "bridge L2", network: `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"bridge","bridge":"br0"}]}`},
		{name: "bridge v4", network: bridge("", v4)},
		{name: "bridge dual", network: bridge("", dual)},
		{name: "bridge v4 ipMasq", network: bridge(`"ipMasq":true,`, v4)},
		{name: "bridge v4 ipMasq iptables", network: bridge(`"ipMasq":true,"ipMasqBackend":"iptables",`, v4)},
		{name: "bridge v4 macspoofchk", network: bridge(`"macspoofchk":true,`, v4)},
		{name: "ptp v4", network: `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"ptp","ipam":{"type":"host-local","dataDir":"%s",` + v4 + `}}]}`},
		{name: "ptp dual", network: `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"ptp","ipam":{"type":"host-local","dataDir":"%s",` + dual + `}}]}`},
		{name: "loopback", network: `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"loopback"}]}`, ifName: "lo"},
	}
}

func main() {
	n := flag.Int("n", 50, "containers to measure, one after the other")
	parallel := flag.Int("parallel", 16, "containers to add at once, for the throughput; 0 for none")
	only := flag.String("scenario", "", "measure only scenarios whose name contains this")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if isolate() {
		return
	}
	if err := run(context.Background(), flag.Args(), *n, *parallel, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A contender is a folder of plugins, in a host namespace and with a data
// directory of its own.
type contender struct {
	dir     string
	host    *ns.NS
	runtime *skeltest.Runtime
	dataDir string
}

func newContender(dir string) (*contender, error) {
	host, err := ns.New()
	if err != nil {
		return nil, err
	}
	dataDir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	return &contender{dir: dir, host: host, dataDir: dataDir}, nil
}

func run(ctx context.Context, dirs []string, n, parallel int, only string) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "scenario\tfolder\tADD ms\t×\tCHECK ms\t×\tDEL ms\t×\tADDs/s\t×\t")
	for _, s := range scenarios() {
		if !strings.Contains(s.name, only) {
			continue
		}
		rows, err := measure(ctx, s, dirs, n, parallel)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\t%.2f\t\n", s.name, r.dir, r.times(rows[0]), r.rate, r.rate/rows[0].rate)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// A row is what was measured of one contender.
type row struct {
	dir    string
	median map[types.Command]time.Duration
	rate   float64
}

func (r row) times(base row) string {
	var text []string
	for _, c := range []types.Command{types.CommandAdd, types.CommandCheck, types.CommandDel} {
		text = append(text, fmt.Sprintf("%.2f\t%.2f", r.median[c].Seconds()*1000, r.median[c].Seconds()/base.median[c].Seconds()))
	}
	return strings.Join(text, "\t")
}

func measure(ctx context.Context, s scenario, dirs []string, n, parallel int) ([]row, error) {
	var contenders []*contender
	for _, dir := range dirs {
		c, err := newContender(dir)
		if err != nil {
			return nil, err
		}
		defer c.host.Close()
		defer os.RemoveAll(c.dataDir)
		contenders = append(contenders, c)
	}
	// The first one creates the bridge and the tables, and is not counted.
	for i := range n + 1 {
		for _, c := range contenders {
			if i < 2 {
				c.runtime = c.newRuntime()
			}
			if err := c.cycle(ctx, s, fmt.Sprintf("c%d", i)); err != nil {
				return nil, fmt.Errorf("%s: %w", c.dir, err)
			}
		}
	}
	var rows []row
	for _, c := range contenders {
		r := c.row()
		if parallel > 0 {
			rate, err := c.throughput(ctx, s, parallel)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.dir, err)
			}
			r.rate = rate
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (c *contender) newRuntime() *skeltest.Runtime {
	return &skeltest.Runtime{Path: []string{c.dir}, Start: c.start}
}

func (c *contender) network(s scenario) (*types.Network, error) {
	text := s.network
	if strings.Contains(text, "%s") {
		text = fmt.Sprintf(text, c.dataDir)
	}
	return types.ParseNetwork([]byte(text))
}

func (s scenario) attachment(id string, sandbox *ns.NS) skeltest.Attachment {
	ifName := "eth0"
	if s.ifName != "" {
		ifName = s.ifName
	}
	return skeltest.Attachment{ContainerID: id, Netns: sandbox.Path(), IfName: ifName}
}

// cycle adds, checks and removes a container.
func (c *contender) cycle(ctx context.Context, s scenario, id string) error {
	n, err := c.network(s)
	if err != nil {
		return err
	}
	sandbox, err := ns.New()
	if err != nil {
		return err
	}
	defer sandbox.Close()
	a := s.attachment(id, sandbox)
	if _, err := c.runtime.Add(ctx, n, a); err != nil {
		return err
	}
	// The reference fails CHECK without addresses; that is no reason to end here.
	_ = c.runtime.Check(ctx, n, a)
	return c.runtime.Del(ctx, n, a)
}

func (c *contender) row() row {
	times := map[types.Command][]time.Duration{}
	r := row{dir: c.dir, median: map[types.Command]time.Duration{}}
	for _, e := range c.runtime.Executions() {
		times[e.Command] = append(times[e.Command], e.Duration)
	}
	for command, all := range times {
		slices.Sort(all)
		r.median[command] = all[len(all)/2]
	}
	return r
}

// throughput adds containers at once, and returns how many ADDs end in a second.
func (c *contender) throughput(ctx context.Context, s scenario, parallel int) (float64, error) {
	n, err := c.network(s)
	if err != nil {
		return 0, err
	}
	sandboxes := make([]*ns.NS, parallel)
	for i := range sandboxes {
		if sandboxes[i], err = ns.New(); err != nil {
			return 0, err
		}
		defer sandboxes[i].Close()
	}
	runtime := c.newRuntime()
	errs := make(chan error, parallel)
	begin := time.Now()
	var all sync.WaitGroup
	for i, sandbox := range sandboxes {
		all.Go(func() {
			_, err := runtime.Add(ctx, n, s.attachment(fmt.Sprintf("p%d", i), sandbox))
			errs <- err
		})
	}
	all.Wait()
	took := time.Since(begin)
	for range parallel {
		if err := <-errs; err != nil {
			return 0, err
		}
	}
	for i, sandbox := range sandboxes {
		if err := runtime.Del(ctx, n, s.attachment(fmt.Sprintf("p%d", i), sandbox)); err != nil {
			return 0, err
		}
	}
	return float64(parallel) / took.Seconds(), nil
}
