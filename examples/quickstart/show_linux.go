// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// show attaches two containers to a network, shows what that did, and detaches
// them.
func show(ctx context.Context, n *types.Network) (err error) {
	heading("Network %q: CNI %s, plugin %s", n.Name, n.CNIVersion, n.Plugins[0].Type)
	s, err := newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	heading("ADD: attach two containers")
	results := make([]*types.Result, len(s.containers))
	for i, c := range s.containers {
		results[i], err = s.runtime.Add(ctx, n, c.attachment())
		if err := errors.Join(err, s.step("container "+c.name+" is attached")); err != nil {
			return err
		}
		fmt.Println(skeltest.Pretty(s.runtime.Executions()[s.told-1].Stdout))
	}
	if err := s.showKernel(ctx, results); err != nil {
		return err
	}
	if err := s.showTraffic(ctx, results); err != nil {
		return err
	}
	return s.showEnd(ctx, n)
}

func heading(format string, args ...any) {
	fmt.Printf("\n== "+format+"\n\n", args...)
}

// step tells of the executions since it was last called, which did this.
func (s *stage) step(what string) (err error) {
	fmt.Println(what)
	executed := s.runtime.Executions()
	for _, e := range executed[s.told:] {
		err = errors.Join(err, e.WriteText(os.Stdout, skeltest.TextOptions{}))
	}
	s.told = len(executed)
	return err
}

// showKernel shows links, addresses and routes, and who is connected to what.
func (s *stage) showKernel(ctx context.Context, results []*types.Result) error {
	heading("What appeared")
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "WHERE\tLINK\tKIND\tMAC\tMTU\tADDRESSES")
	for _, p := range append([]*place{s.host, s.outside}, s.containers...) {
		links, err := p.conn.ListLinks(ctx, netutil.LinkFilter{})
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Name == "lo" {
				continue
			}
			addrs, err := p.conn.ListAddrs(ctx, l.Index)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", p.name, l.Name, l.Kind, l.MAC, l.MTU, joinAddrs(addrs))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Println()
	for _, p := range s.containers {
		routes, err := p.conn.ListRoutes(ctx, netutil.RouteFilter{Table: netutil.MainTable})
		if err != nil {
			return err
		}
		for _, r := range routes {
			if !r.Dst.Addr().IsLinkLocalUnicast() {
				fmt.Printf("container %s: %s\n", p.name, words(r))
			}
		}
	}
	return s.draw(ctx, results)
}

// words describes a route of a container, which has one link to route by.
func words(r netutil.Route) string {
	text := r.Dst.String()
	if r.Dst.Bits() == 0 {
		text = "default"
	}
	if r.Gateway.IsValid() {
		text += " via " + r.Gateway.String()
	}
	return text + " dev eth0"
}

// joinAddrs lists the addresses that somebody gave a link.
func joinAddrs(addrs []netutil.Addr) string {
	var text []string
	for _, a := range addrs {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			text = append(text, a.Prefix.String())
		}
	}
	return strings.Join(text, " ")
}

// draw draws who is connected to what.
func (s *stage) draw(ctx context.Context, results []*types.Result) error {
	bridge, err := s.bridge(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\n  outside %s ───── %s host\n                                 │\n                             [%s]\n", outsideAddr.Addr(), hostAddr.Addr(), bridge)
	for i, c := range s.containers {
		corner := "├"
		if i == len(s.containers)-1 {
			corner = "└"
		}
		var addrs []string
		for _, ip := range results[i].IPs {
			addrs = append(addrs, ip.Address.Addr().String())
		}
		fmt.Printf("                                 %s── eth0 container %s  %s\n", corner, c.name, strings.Join(addrs, "  "))
	}
	return nil
}

// bridge returns the name of the bridge that the containers are on. Results of the
// first versions do not tell.
func (s *stage) bridge(ctx context.Context) (string, error) {
	links, err := s.host.conn.ListLinks(ctx, netutil.LinkFilter{Kind: "bridge"})
	if err != nil || len(links) == 0 {
		return "no bridge", err
	}
	return links[0].Name, nil
}

// showTraffic sends HTTP requests from container to container and to the outside.
func (s *stage) showTraffic(ctx context.Context, results []*types.Result) error {
	heading("HTTP")
	for _, c := range s.containers {
		if err := serve(c.ns, "container "+c.name); err != nil {
			return err
		}
	}
	one := s.containers[0]
	ask := func(to netip.Addr) error {
		begin := time.Now()
		said, err := get(ctx, one.ns, to)
		if err != nil {
			return err
		}
		fmt.Printf("container %s asks %s: %q, in %.1f ms\n", one.name, to, said, float64(time.Since(begin).Microseconds())/1000)
		return nil
	}
	for _, ip := range results[1].IPs {
		if err := ask(ip.Address.Addr()); err != nil {
			return err
		}
	}
	return ask(outsideAddr.Addr())
}

// showEnd checks and detaches the containers, and looks for what is left.
func (s *stage) showEnd(ctx context.Context, n *types.Network) error {
	heading("CHECK and DEL")
	for _, c := range s.containers {
		if n.CNIVersion < types.V040 {
			break // these versions have no CHECK
		}
		err := s.runtime.Check(ctx, n, c.attachment())
		if err := errors.Join(err, s.step("container "+c.name+" is as ADD left it")); err != nil {
			return err
		}
	}
	for _, c := range s.containers {
		err := s.runtime.Del(ctx, n, c.attachment())
		if err := errors.Join(err, s.step("container "+c.name+" is detached")); err != nil {
			return err
		}
	}
	left, err := s.leftovers(ctx, n)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return errLeft(left)
	}
	fmt.Println("no link, no reservation and no rule of theirs is left")
	return nil
}
