// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command bench measures whole executions of plugins, process start included, and
// compares folders of plugins side by side:
//
//	go run ./internal/bench [-n 50] [-share 0.5] [-parallel 16] [-scenario NAME] DIR [DIR ...]
//	go run ./internal/bench -options [-n 50] [-scenario NAME] DIR [DIR ...]
//
// Each DIR holds executables of the names that the scenarios use, or links of these
// names to one executable. Copies of them are measured, which is what a node has. All
// folders take turns in one run, so that a noisy machine is noisy for all of them alike;
// read the ratios, which are relative to the first folder, and not the times. Times are medians, or with -share 0.1 such that a tenth of all
// was less, which is what a busy machine disturbs the least; cpu is what the processes used, user and
// system together; MB is the peak of the memory of an ADD. It runs in network and mount
// namespaces of its own.
//
// With -options it measures what NAT costs: networks that differ in one thing take turns,
// and the ratios are relative to the first network of the group in the same folder. The
// containers that a network has before are masqueraded as cnikit's plugins do it. A
// network of several plugins costs the sum of theirs.
//
// ADDs/s is the median of seven batches of -parallel ADDs at once.
//
// In the scenario "bridge v4" a bare program runs, too, that makes the same veth,
// address and route and is no plugin.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/cnikit/cnikit/types"
)

func main() {
	n := flag.Int("n", 50, "containers to measure, one after the other")
	parallel := flag.Int("parallel", 16, "containers to add at once, for the throughput; 0 for none")
	share := flag.Float64("share", 0.5, "which of the times, sorted, to show: 0 for the least, 0.5 for the median")
	only := flag.String("scenario", "", "measure only scenarios whose name contains this")
	nat := flag.Bool("options", false, "measure what the options of NAT cost")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if exit, done := isolate(); done {
		os.Exit(exit)
	}
	err := installed(flag.Args(), func(root string, folders []folder) error {
		if *nat {
			return options(context.Background(), folders, *n, *only)
		}
		return run(context.Background(), root, folders, settings{*n, *parallel, *share, *only})
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are what the command line says.
type settings struct {
	n, parallel int
	share       float64
	only        string
}

func run(ctx context.Context, root string, folders []folder, o settings) error {
	bare, err := buildBare(root)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "scenario\tfolder\tADD ms\t×\tcpu\t×\tCHECK ms\t×\tcpu\t×\tDEL ms\t×\tcpu\t×\tADDs/s\t×\tMB\t×\t")
	for _, s := range scenarios() {
		if !strings.Contains(s.name, o.only) {
			continue
		}
		rows, err := measure(ctx, s, folders, bare, o.n, o.parallel)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t\n", s.name, r.name(), r.cells(rows[0], o.share))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// A row is what was measured of one contender.
type row struct {
	*contender
	rate   float64 // ADDs in a second
	memory int     // bytes
}

// cells returns the columns of a row, each number with its ratio to that of base.
func (r row) cells(base row, share float64) string {
	var cells []string
	add := func(format string, have, base float64) {
		if have == 0 {
			cells = append(cells, "", "")
			return
		}
		ratio := ""
		if base != 0 {
			ratio = fmt.Sprintf("%.2f", have/base)
		}
		cells = append(cells, fmt.Sprintf(format, have), ratio)
	}
	for _, command := range []types.Command{types.CommandAdd, types.CommandCheck, types.CommandDel} {
		have, base := r.typical(command, share), base.typical(command, share)
		add("%.2f", have.wall.Seconds()*1000, base.wall.Seconds()*1000)
		add("%.2f", have.cpu.Seconds()*1000, base.cpu.Seconds()*1000)
	}
	add("%.0f", r.rate, base.rate)
	add("%.1f", float64(r.memory)/1e6, float64(base.memory)/1e6)
	return strings.Join(cells, "\t")
}

func measure(ctx context.Context, s scenario, folders []folder, bare string, n, parallel int) (rows []row, err error) {
	var contenders []*contender
	defer func() {
		for _, c := range contenders {
			err = errors.Join(err, c.close())
		}
	}()
	for _, f := range folders {
		c, err := newContender(s, f)
		if err != nil {
			return nil, err
		}
		contenders = append(contenders, c)
	}
	if s.bare {
		c, err := newBare(ctx, s, bare)
		if err != nil {
			return nil, err
		}
		contenders = append(contenders, c)
	}
	for i := range n + 1 {
		for _, c := range contenders {
			if err := c.cycle(ctx, s, fmt.Sprintf("c%d", i)); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name(), err)
			}
			if i == 0 {
				c.forget() // it made the bridge and the tables
			}
		}
	}
	for range batches {
		for _, c := range contenders {
			if err := c.batch(ctx, s, parallel); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name(), err)
			}
		}
	}
	for _, c := range contenders {
		r, err := c.row(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name(), err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// batches is how often many containers are added at once. What one batch takes depends
// much on what else the kernel has to do.
const batches = 7

func (c *contender) row(s scenario) (r row, err error) {
	r.contender = c
	if c.bare != "" {
		return r, nil
	}
	r.rate = c.rate()
	r.memory, err = c.addMemory(s)
	return r, err
}
