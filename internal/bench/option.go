// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/types"
)

// A group is networks that differ in one thing, to see what that costs. The first is
// what the others are compared with.
type group []scenario

const portmapKeys = `,"capabilities":{"portMappings":true}`

// withPortmap is a bridge and behind it portmap, for a container with so many ports.
func withPortmap(name string, ports int, keys string) scenario {
	list := strings.TrimSuffix(bridge("", v4), "]}") + `,{"type":"portmap"` + portmapKeys + keys + `}]}`
	mappings := make([]string, ports)
	for i := range mappings {
		mappings[i] = fmt.Sprintf(`{"hostPort":%d,"containerPort":80,"protocol":"tcp"}`, 8000+i)
	}
	return scenario{name: name, network: list, ports: "[" + strings.Join(mappings, ",") + "]"}
}

// groups are what the options of NAT are measured by.
func groups() []group {
	masquerade := bridge(`"ipMasq":true,`, v4)
	ptp := func(keys string) string { return strings.Replace(ptpFormat, `"ptp",`, `"ptp",`+keys, 1) + v4 + `}}]}` }
	return []group{
		{
			{name: "bridge", network: bridge("", v4)},
			{name: "bridge, ipMasq", network: masquerade},
			{name: "bridge, ipMasq iptables", network: bridge(`"ipMasq":true,"ipMasqBackend":"iptables",`, v4)},
		},
		{
			{name: "ptp", network: ptp("")},
			{name: "ptp, ipMasq", network: ptp(`"ipMasq":true,`)},
		},
		{
			{name: "bridge, ipMasq, 1 container", network: masquerade},
			{name: "bridge, ipMasq, 1000 containers", network: masquerade, masqueraded: 999},
		},
		{
			withPortmap("portmap, no port", 0, ""),
			withPortmap("portmap, 10 ports", 10, ""),
			withPortmap("portmap, 10 ports, iptables", 10, `,"backend":"iptables"`),
		},
	}
}

// populate masquerades other containers of the network, as cnikit's plugins do.
func (c *contender) populate(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	return c.host.Do(func() error {
		m, err := netutil.OpenMasquerade(ctx, netutil.FirewallConfig{})
		if err != nil {
			return err
		}
		for i := range n {
			o := netutil.Owner{Network: "bench", ContainerID: fmt.Sprintf("other%d", i), IfName: "eth0"}
			addr := netip.AddrFrom4([4]byte{10, 20, byte(128 + i/250), byte(1 + i%250)})
			err = errors.Join(err, m.Ensure(ctx, o, []netip.Prefix{netip.PrefixFrom(addr, 16)}))
		}
		return errors.Join(err, m.Close())
	})
}

// options measures the groups whose first name contains only: all networks of a group, in
// all folders, take turns.
func options(ctx context.Context, folders []folder, n int, only string) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "network\tfolder\tADD ms\t×\tleast\t×\tcpu\t×\tDEL ms\t×\tleast\t×\tcpu\t×\t")
	for _, g := range groups() {
		if !strings.Contains(g[0].name, only) {
			continue
		}
		if err := g.measure(ctx, w, folders, n); err != nil {
			return fmt.Errorf("%s: %w", g[0].name, err)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// measure measures one group.
func (g group) measure(ctx context.Context, w *tabwriter.Writer, folders []folder, n int) (err error) {
	all := make([][]*contender, len(folders)) // by folder and network
	defer func() {
		for _, cs := range all {
			for _, c := range cs {
				err = errors.Join(err, c.close())
			}
		}
	}()
	for d, f := range folders {
		for _, s := range g {
			c, err := newContender(s, f)
			if err != nil {
				return err
			}
			all[d] = append(all[d], c)
		}
	}
	for i := range n + 1 {
		for _, cs := range all {
			for k, s := range g {
				if err := cs[k].cycle(ctx, s, fmt.Sprintf("c%d", i)); err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, cs[k].name(), err)
				}
				if i > 0 {
					continue
				}
				if err := cs[k].populate(ctx, s.masqueraded); err != nil {
					return err
				}
				cs[k].forget() // it made the bridge and the tables
			}
		}
	}
	for _, cs := range all {
		for k, s := range g {
			fmt.Fprintf(w, "%s\t%s\t%s\t\n", s.name, cs[k].name(), strings.Join(cs[k].optionCells(cs[0]), "\t"))
		}
	}
	return nil
}

// optionCells returns the columns of a network, each number with its ratio to that of base.
func (c *contender) optionCells(base *contender) []string {
	var cells []string
	add := func(have, base time.Duration) {
		ratio := "-"
		if base > 0 {
			ratio = fmt.Sprintf("%.2f", float64(have)/float64(base))
		}
		cells = append(cells, fmt.Sprintf("%.2f", have.Seconds()*1000), ratio)
	}
	for _, command := range []types.Command{types.CommandAdd, types.CommandDel} {
		add(c.median(command).wall, base.median(command).wall)
		add(c.least(command), base.least(command))
		add(c.median(command).cpu, base.median(command).cpu)
	}
	return cells
}

// least returns the shortest time that was measured of a command.
func (c *contender) least(command types.Command) time.Duration {
	all := c.measured[command]
	if len(all) == 0 {
		return 0
	}
	least := all[0].wall
	for _, m := range all {
		least = min(least, m.wall)
	}
	return least
}

// capabilities returns what the runtime sends of an attachment.
func (s scenario) capabilities() map[string]json.RawMessage {
	if s.ports == "" {
		return nil
	}
	return map[string]json.RawMessage{"portMappings": json.RawMessage(s.ports)}
}
