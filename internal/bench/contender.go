// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// A contender is a folder of plugins, in a host namespace and with a data
// directory of its own.
type contender struct {
	folder  folder
	bare    string // the bare program, for a contender that is nothing else
	host    *ns.NS
	runtime *skeltest.Runtime
	dataDir string

	mu       sync.Mutex
	started  []*exec.Cmd // by the command that is being measured
	measured map[types.Command][]cost
	rates    []float64 // of the batches, in ADDs a second
}

// A cost is what one execution took.
type cost struct {
	wall, cpu time.Duration
}

func newContender(s scenario, f folder) (*contender, error) {
	host, err := ns.New()
	if err != nil {
		return nil, err
	}
	dataDir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	c := &contender{folder: f, host: host, dataDir: dataDir, measured: map[types.Command][]cost{}}
	c.runtime = &skeltest.Runtime{Path: []string{f.dir}, Start: c.start}
	return c, s.fill(dataDir)
}

func (c *contender) close() error { return errors.Join(c.host.Close(), os.RemoveAll(c.dataDir)) }

// name is what the table calls it.
func (c *contender) name() string {
	if c.bare != "" {
		return "(bare program)"
	}
	return c.folder.name
}

// start starts a plugin with the contender's namespace as its host.
func (c *contender) start(cmd *exec.Cmd) error {
	c.mu.Lock()
	c.started = append(c.started, cmd)
	c.mu.Unlock()
	return c.host.Do(cmd.Start)
}

// forget throws away what was measured.
func (c *contender) forget() { clear(c.measured) }

// cycle adds, checks and removes a container.
func (c *contender) cycle(ctx context.Context, s scenario, id string) error {
	sandbox, err := ns.New()
	if err != nil {
		return err
	}
	defer sandbox.Close()
	if c.bare != "" {
		return c.cycleBare(sandbox)
	}
	n, err := s.parse(c.dataDir)
	if err != nil {
		return err
	}
	a := s.attachment(id, sandbox)
	if err := c.measure(types.CommandAdd, func() error {
		_, err := c.runtime.Add(ctx, n, a)
		return err
	}); err != nil {
		return err
	}
	// The reference fails CHECK without addresses; that is no reason to end here.
	_ = c.measure(types.CommandCheck, func() error { return c.runtime.Check(ctx, n, a) })
	return c.measure(types.CommandDel, func() error { return c.runtime.Del(ctx, n, a) })
}

// measure notes the cost of the executions that do makes, one for each plugin of the
// network.
func (c *contender) measure(command types.Command, do func() error) error {
	before := len(c.runtime.Executions())
	c.started = nil
	if err := do(); err != nil {
		return err
	}
	var sum cost
	for _, e := range c.runtime.Executions()[before:] {
		sum.wall += e.Duration
	}
	for _, cmd := range c.started {
		sum.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	c.measured[command] = append(c.measured[command], sum)
	return nil
}

// cycleBare runs the bare program and removes what it made.
func (c *contender) cycleBare(sandbox *ns.NS) error {
	cmd := exec.Command(c.bare)
	cmd.Env = []string{"CNI_NETNS=" + sandbox.Path()}
	cmd.Stderr = os.Stderr
	begin := time.Now()
	err := c.host.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	took := time.Since(begin)
	if err != nil {
		return err
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	c.measured[types.CommandAdd] = append(c.measured[types.CommandAdd], cost{took, cpu})
	return c.delLink("bare0")
}

// batch adds containers at once, and notes how many ADDs end in a second.
func (c *contender) batch(ctx context.Context, s scenario, parallel int) error {
	if c.bare != "" || parallel == 0 {
		return nil
	}
	n, err := s.parse(c.dataDir)
	if err != nil {
		return err
	}
	sandboxes := make([]*ns.NS, parallel)
	for i := range sandboxes {
		if sandboxes[i], err = ns.New(); err != nil {
			return err
		}
		defer sandboxes[i].Close()
	}
	time.Sleep(settling)
	errs := make(chan error, parallel)
	begin := time.Now()
	for i, sandbox := range sandboxes {
		go func() {
			_, err := c.runtime.Add(ctx, n, s.attachment(fmt.Sprintf("p%d", i), sandbox))
			errs <- err
		}()
	}
	for range parallel {
		err = errors.Join(err, <-errs)
	}
	c.rates = append(c.rates, float64(parallel)/time.Since(begin).Seconds())
	for i, sandbox := range sandboxes {
		err = errors.Join(err, c.runtime.Del(ctx, n, s.attachment(fmt.Sprintf("p%d", i), sandbox)))
	}
	return err
}

// settling is how long the kernel gets to remove the namespaces of the containers before,
// which it does with processors and locks that the next ones want, too.
const settling = 500 * time.Millisecond

// rate returns the median of the batches in ADDs a second, or zero without any.
func (c *contender) rate() float64 {
	if len(c.rates) == 0 {
		return 0
	}
	slices.Sort(c.rates)
	return c.rates[len(c.rates)/2]
}

// addMemory returns the peak memory of an ADD in bytes: that of the plugin's process and
// of those that it starts, added up.
func (c *contender) addMemory(s scenario) (int, error) {
	sandbox, err := ns.New()
	if err != nil {
		return 0, err
	}
	defer sandbox.Close()
	n, err := s.parse(c.dataDir)
	if err != nil {
		return 0, err
	}
	plugin := n.Plugins[0].Type
	conf, err := n.Request(0, types.RequestParams{Command: types.CommandAdd})
	if err != nil {
		return 0, err
	}
	a := s.attachment("memory", sandbox)
	environ := func(command types.Command) []string {
		return []string{"CNI_COMMAND=" + string(command), "CNI_CONTAINERID=" + a.ContainerID, "CNI_NETNS=" + a.Netns,
			"CNI_IFNAME=" + a.IfName, "CNI_PATH=" + c.folder.dir, "PATH=" + os.Getenv("PATH")}
	}
	var peak int
	err = c.host.Do(func() (err error) {
		peak, err = peakMemory(filepath.Join(c.folder.dir, plugin), environ(types.CommandAdd), conf)
		if err == nil {
			_, err = peakMemory(filepath.Join(c.folder.dir, plugin), environ(types.CommandDel), conf)
		}
		return err
	})
	return peak, err
}

// median returns the medians of what was measured of a command.
func (c *contender) median(command types.Command) cost { return c.typical(command, 0.5) }

// typical returns what was measured of a command such that the given share of all was
// less: the median for 0.5.
func (c *contender) typical(command types.Command, share float64) cost {
	all := c.measured[command]
	if len(all) == 0 {
		return cost{}
	}
	at := func(of func(cost) time.Duration) time.Duration {
		times := make([]time.Duration, len(all))
		for i, m := range all {
			times[i] = of(m)
		}
		slices.Sort(times)
		return times[min(int(share*float64(len(times))), len(times)-1)]
	}
	return cost{at(func(m cost) time.Duration { return m.wall }), at(func(m cost) time.Duration { return m.cpu })}
}
