// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"syscall"

	"github.com/cnikit/cnikit/internal/rtnl"
	"github.com/cnikit/cnikit/types"
)

// ApplyConfig says how to apply addresses and routes to a link.
type ApplyConfig struct {
	// DetectDuplicates makes Apply wait until the kernel has made sure that nobody else
	// has the IPv6 addresses, for more than a second. False: they can be used at once.
	DetectDuplicates bool
	// NoPrefixRoute keeps the kernel from adding routes to the subnets of the addresses,
	// for a plugin that makes its own, such as to the gateways of ips. Other gateways are
	// taken to be on the link, in whatever subnet they are.
	NoPrefixRoute bool
	// Notify makes the kernel announce the addresses of the link whenever it is set up or
	// its hardware address is set, see [Conn.Readvertise]. For IPv6 that is done as
	// Sysctls are.
	//
	// Equivalent to: sysctl -w net.ipv4.conf.NAME.arp_notify=1 net.ipv6.conf.NAME.ndisc_notify=1
	Notify bool
	// Sysctls are written before the link is set up. Those that the kernel or the
	// mode of /proc/sys does not allow are passed over.
	Sysctls []Sysctl
}

// Apply gives a link addresses and routes, the first half of what a result of ADD
// promises, and sets it up in between: addresses, up, routes. What is there already is
// fine. When it fails, what it did stays; remove the link, and all of it goes.
//
// A route without a gateway goes by way of the first gateway of its family in ips, unless
// its scope is link or host; without such a gateway it is on the link, and so it is with
// the gateway 0.0.0.0 or ::. A gateway that is in no subnet of ips is taken to be on the
// link. A route that is listed twice, also
// once with the gateway and once without, is added once. One whose destination another
// link or gateway has a route to is added as by [Conn.PrependRoute].
//
// A route may be of a family that ips has none of. The error is [ErrUnfit] if the kernel
// refuses that one, or an IPv6 address for the MTU of the link.
//
// IPv6 addresses stay when the link is set down (keep_addr_on_down=1).
//
// Spec: CNI 1.1.0, section 5, "Success", "routes".
func (c *Conn) Apply(ctx context.Context, link *Link, ips []types.IP, routes []types.Route, cfg ApplyConfig) error {
	if err := c.applySysctls(link, ips, cfg); err != nil {
		return err
	}
	addr := AddrConfig{DetectDuplicates: cfg.DetectDuplicates, NoPrefixRoute: cfg.NoPrefixRoute}
	for _, ip := range ips {
		if _, err := c.EnsureAddr(ctx, link.Index, ip.Address, addr); err != nil {
			return err
		}
	}
	up := &rtnl.LinkSpec{Index: link.Index, Up: rtnl.On}
	if cfg.Notify {
		up.ARPNotify = rtnl.On
	}
	if err := c.rt.SetLink(ctx, up); err != nil {
		return wrap(err, "set link %s up", link.Name)
	}
	if cfg.DetectDuplicates {
		if err := c.WaitAddrs(ctx, link.Index); err != nil {
			return err
		}
	}
	for _, r := range resolveRoutes(link.Index, ips, routes) {
		if cfg.NoPrefixRoute && r.Gateway.IsValid() && !r.Gateway.IsLinkLocalUnicast() {
			r.OnLink = !isGateway(r.Gateway, ips)
		}
		if err := c.PrependRoute(ctx, r); err != nil {
			return r.explain(err, ips)
		}
	}
	return nil
}

// explain says more of the kernel's refusal of a route. What it takes of a family without an
// address depends on much: IPv4 by a gateway wants an address somewhere in the namespace,
// that of lo will do; IPv6 wants not to be switched off.
//
// Kernel: fib_check_nh_v4_gw, net/ipv4/fib_semantics.c; fib6_nh_init, net/ipv6/route.c.
func (r Route) explain(err error, ips []types.IP) error {
	by := r.Dst.Addr()
	if r.Gateway.IsValid() {
		by = r.Gateway
	}
	family, has := "IPv6", hasIPv6(ips)
	if by.Is4() {
		family, has = "IPv4", hasIPv4(ips)
	}
	switch {
	case !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ERANGE) && !errors.Is(err, fs.ErrPermission):
		return err
	case r.Dst.Addr().Is6() && by.Is4():
		return fmt.Errorf("%w: an IPv6 route has no IPv4 gateway: %w", ErrUnfit, err)
	case !has:
		return fmt.Errorf("%w: there is no %s address: %w", ErrUnfit, family, err)
	}
	return err
}

// applySysctls writes the settings of a link, in one visit to its namespace.
func (c *Conn) applySysctls(link *Link, ips []types.IP, cfg ApplyConfig) error {
	var settings []Sysctl
	if hasIPv6(ips) {
		conf := "ipv6/conf/" + link.Name
		settings = append(settings, Sysctl{conf + "/keep_addr_on_down", "1"})
		if cfg.Notify {
			settings = append(settings, Sysctl{conf + "/ndisc_notify", "1"})
		}
	}
	settings = append(settings, cfg.Sysctls...)
	for _, s := range settings {
		if _, err := sysctlFile(s.Name); err != nil {
			return err
		}
	}
	if len(settings) == 0 {
		return nil
	}
	return c.inside(func() error {
		for _, s := range settings {
			if err := setSysctl(s); err != nil && !notAllowed(err) {
				return fmt.Errorf("set %s: %w", s.Name, err)
			}
		}
		return nil
	})
}

// notAllowed tells what the kernel does not have or not allow, which is passed over as
// promised, since addresses and routes work without, from what went wrong.
func notAllowed(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EINVAL)
}

func hasIPv4(ips []types.IP) bool {
	return slices.ContainsFunc(ips, func(ip types.IP) bool { return ip.Address.Addr().Is4() })
}

func hasIPv6(ips []types.IP) bool {
	return slices.ContainsFunc(ips, func(ip types.IP) bool { return ip.Address.Addr().Is6() })
}

// resolveRoutes says what the routes of a result mean on a link.
func resolveRoutes(index int, ips []types.IP, routes []types.Route) []Route {
	resolved := make([]Route, len(routes))
	for i, r := range routes {
		gw := r.GW
		if gw.IsValid() && gw.IsUnspecified() {
			gw = netip.Addr{}
		} else if !gw.IsValid() && r.Scope.Or(rtnl.ScopeUniverse) < rtnl.ScopeLink {
			gw = firstGateway(ips, r.Dst.Addr().Is4())
		}
		resolved[i] = Route{
			Dst: r.Dst.Masked(), Gateway: gw, Index: index, Table: r.Table.Value, Scope: r.Scope,
			Priority: r.Priority, MTU: r.MTU, AdvMSS: r.AdvMSS,
			OnLink: gw.IsValid() && !reachable(gw, ips),
		}
	}
	return resolved
}

// isGateway reports whether one of the addresses has the gateway gw.
func isGateway(gw netip.Addr, ips []types.IP) bool {
	return slices.ContainsFunc(ips, func(ip types.IP) bool { return ip.Gateway == gw })
}

func firstGateway(ips []types.IP, is4 bool) netip.Addr {
	for _, ip := range ips {
		if ip.Gateway.IsValid() && ip.Gateway.Is4() == is4 {
			return ip.Gateway
		}
	}
	return netip.Addr{}
}

// reachable reports whether gw is in the subnet of one of the addresses, or is
// link-local in IPv6, where every link has that subnet.
func reachable(gw netip.Addr, ips []types.IP) bool {
	if gw.Is6() && gw.IsLinkLocalUnicast() {
		return true
	}
	for _, ip := range ips {
		if ip.Address.Contains(gw) {
			return true
		}
	}
	return false
}

// Compare compares a link with addresses and routes that [Conn.Apply] gave it: the
// other half, for CHECK. It takes one question about the link and one list each of its
// addresses and routes. The error is a [MismatchError] that tells all that is missing or
// different, and [fs.ErrNotExist] if there is no such link.
//
// The link must be up; each address must be there, usable, with the length of its
// subnet; each route must be there in its table, with the gateway, scope, priority, MTU
// and advertised segment size that it was given. What others have added does not
// matter, and what a result does not mention is not asked for: in particular, an address
// alone in its subnet needs no route to that.
func (c *Conn) Compare(ctx context.Context, name string, ips []types.IP, routes []types.Route) error {
	return c.compare(ctx, name, "", ips, wantedRoutes{routes: routes})
}

// wantedRoutes are the routes of a result, as an interface looks at them.
type wantedRoutes struct {
	routes  []types.Route // that the interface should have, or one of others in its place
	foreign []types.Route // of others, as their gateways tell
	others  []string      // names of interfaces
}

// skipForeign leaves out the routes whose gateway another interface reaches by its
// addresses, and the interface with ips does not: things of others are not judged.
//
// Spec: checklist CHK-010.
func (w *wantedRoutes) skipForeign(ips, others []types.IP) {
	var routes []types.Route
	for _, r := range w.routes {
		if r.GW.IsValid() && reachable(r.GW, others) && !reachable(r.GW, ips) {
			w.foreign = append(w.foreign, r)
		} else {
			routes = append(routes, r)
		}
	}
	w.routes = routes
}

// compare is Compare, and compares the hardware address unless mac is empty. Routes may be
// those of others.
func (c *Conn) compare(ctx context.Context, name, mac string, ips []types.IP, want wantedRoutes) error {
	link, err := c.Link(ctx, name)
	if err != nil {
		return err
	}
	var m mismatch
	m.add(!link.Up, "state", "down", "up")
	m.addMAC(link, mac)
	addrs, err := c.ListAddrs(ctx, link.Index)
	if err != nil {
		return err
	}
	compareAddrs(&m, addrs, ips)
	if err := c.compareRoutes(ctx, &m, link, ips, want); err != nil {
		return err
	}
	return m.err("link " + name)
}

// compareRoutes notes the routes that neither link nor, in its place, another one has.
func (c *Conn) compareRoutes(ctx context.Context, m *mismatch, link *Link, ips []types.IP, want wantedRoutes) error {
	if len(want.routes) == 0 {
		return nil
	}
	have, err := c.rt.Routes(ctx, rtnl.RouteFilter{Index: link.Index})
	if err != nil {
		return wrap(err, "list routes of %s", link.Name)
	}
	var missing []mismatch
	var lacks []types.Route
	for i, r := range resolveRoutes(link.Index, ips, want.routes) {
		var d mismatch
		if compareRoute(&d, have, r, link.Name); len(d) > 0 {
			missing, lacks = append(missing, d), append(lacks, want.routes[i])
		}
	}
	if len(missing) == 0 {
		return nil
	}
	others, err := c.routesOf(ctx, want.others)
	if err != nil {
		return err
	}
	for i, d := range missing {
		if !elsewhere(lacks[i], slices.Concat(lacks, want.foreign), others) {
			*m = append(*m, d...)
		}
	}
	return nil
}

// routesOf lists the routes of links by their names. A link that is gone has none.
func (c *Conn) routesOf(ctx context.Context, names []string) ([]rtnl.Route, error) {
	var all []rtnl.Route
	for _, name := range names {
		link, err := c.Link(ctx, name)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list, err := c.rt.Routes(ctx, rtnl.RouteFilter{Index: link.Index})
		if err != nil {
			return nil, wrap(err, "list routes of %s", name)
		}
		all = append(all, list...)
	}
	return all, nil
}

// elsewhere reports whether a route that an interface lacks is one of other links, by all
// that are listed and that it lacks. Where it is listed several times as many links have to
// have it, since it is the interface's own, too. A route of theirs that another one of the
// list describes more closely is that one.
func elsewhere(r types.Route, listed []types.Route, others []rtnl.Route) bool {
	candidates := slices.DeleteFunc(slices.Clone(others), func(have rtnl.Route) bool { return !mayBe(r, &have) })
	times := 0
	for _, l := range listed {
		switch {
		case l.GW.IsValid() && !r.GW.IsValid(), l.Priority != 0 && r.Priority == 0:
			if i := slices.IndexFunc(candidates, func(have rtnl.Route) bool { return mayBe(l, &have) }); i >= 0 {
				candidates = slices.Delete(candidates, i, i+1)
			}
		case l.Dst.Masked() == r.Dst.Masked() && l.GW == r.GW && l.Table == r.Table && l.Priority == r.Priority:
			times++
		}
	}
	links := map[int]bool{}
	for _, have := range candidates {
		links[have.Index] = true
	}
	return len(links) >= times
}

// mayBe reports whether a route that somebody else made may be the one that is listed as r:
// whether it has what r says of destination, table, priority, scope and gateway. Other
// things change, and those of others are not judged.
func mayBe(r types.Route, have *rtnl.Route) bool {
	switch {
	case have.Dst != r.Dst.Masked(), have.Table != orMain(r.Table.Value):
		return false
	case r.Priority != 0 && have.Priority != r.Priority:
		return false
	case have.Family == rtnl.IPv4 && have.Scope != r.Scope.Or(have.Scope):
		return false
	case r.GW.IsValid() && r.GW.IsUnspecified():
		return !have.Gateway.IsValid()
	}
	return !r.GW.IsValid() || have.Gateway == r.GW
}

func compareAddrs(m *mismatch, have []Addr, want []types.IP) {
	for _, ip := range want {
		found := closestAddr(have, ip.Address)
		switch {
		case found == nil:
			m.add(true, "address", "", ip.Address.String())
		case found.Prefix != ip.Address:
			m.add(true, "address", found.Prefix.String(), ip.Address.String())
		case found.Duplicate:
			m.add(true, "address "+ip.Address.String(), "a duplicate", "nobody else's")
		}
	}
}

// closestAddr returns the address that is as wanted, or else one that differs only in
// the length of its subnet.
func closestAddr(have []Addr, want netip.Prefix) *Addr {
	var other *Addr
	for i := range have {
		switch {
		case have[i].Prefix == want:
			return &have[i]
		case have[i].Prefix.Addr() == want.Addr():
			other = &have[i]
		}
	}
	return other
}

// compareRoute looks for a route that is as wanted, or else tells how the last one in
// its place differs. All of them are routes of one link, by this name.
func compareRoute(m *mismatch, have []rtnl.Route, want Route, link string) {
	var closest mismatch
	for i := range have {
		if !want.sameKey(&have[i]) {
			continue
		}
		if closest = want.differences(&have[i], func(int) string { return link }); len(closest) == 0 {
			return
		}
	}
	m.add(closest == nil, "route", "", want.words(link))
	for _, d := range closest {
		d.What += " of route " + want.words(link)
		*m = append(*m, d)
	}
}
