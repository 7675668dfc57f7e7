// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/cnikit/cnikit/internal/firewall"
	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/types"
)

// DefaultMarkMasqBit is the bit of the packet mark by which the iptables backend knows
// what to masquerade: 0x2000. Kubernetes uses bits 14 and 15.
const DefaultMarkMasqBit = 13

// PortMapConfig is what is to be mapped for a container.
type PortMapConfig struct {
	// Addrs are the addresses of the container, each with the prefix length of its
	// subnet. The first of each family is mapped to.
	Addrs []netip.Prefix
	// Ports are the mappings. One whose HostIP is of a family in which the container
	// has no address maps nothing.
	//
	// A port at one address of the host goes before the same port at all of them, and the
	// two are no conflict; of two networks, though, the one goes first that mapped ports first.
	Ports []types.PortMapping
	// NoSNAT leaves source addresses as they are. Otherwise connections from the subnets of
	// the network, from the container itself, and from loopback addresses of the
	// host are masqueraded: their answers would not find back. The configuration
	// key snat is the opposite.
	NoSNAT bool
	// MasqAll masquerades connections from anywhere.
	MasqAll bool
	// ConditionsV4 and ConditionsV6 are further matches that a packet has to fulfil,
	// as words of nft, or of iptables if the first begins with '-' or '!'. The
	// nftables backend knows "ip saddr|daddr [!=] ADDRESS|{ … }", the same with ip6,
	// and "iifname [!=] NAME".
	ConditionsV4, ConditionsV6 []string
	// MarkMasqBit is the bit of the packet mark that the iptables backend uses, 0 to
	// 31. Absent: [DefaultMarkMasqBit]. The nftables backend marks no packets.
	MarkMasqBit types.Opt[int]
	// ExternalSetMarkChain is a chain of the nat table that the iptables backend
	// jumps to instead of setting a mark; who owns it masquerades what it marked.
	ExternalSetMarkChain string
}

// PortMapper leads ports of the host to containers, from outside, from containers, and
// from the host itself. The destination address is always matched: to be one of the host,
// and HostIP if given. With nftables the rules of a network are constant, a mapping is
// an element of a map, so packets do not get slower with the number of ports. It may be used
// concurrently, from any thread.
//
// From the host, ports are mapped at its addresses, 127.0.0.1 included unless NoSNAT,
// but not at ::1, nor do the reference plugins: the request could be sent to the container, but
// its answer is not delivered, because the kernel looks for a loopback address of IPv6 on
// the link that the packet came in by only, and has no route_localnet to say otherwise. So
// [::1]:port is left alone: a service of the host that listens there is reached, and else
// the connection is refused at once.
type PortMapper struct {
	host *firewall.Host
	log  *slog.Logger
	ns   *ns.NS
}

// OpenPortMapper opens port mapping in the network namespace of the calling thread. The
// caller closes it. The errors are those of [OpenMasquerade], and its methods wait as
// those of [Masquerade] do.
func OpenPortMapper(ctx context.Context, c FirewallConfig) (*PortMapper, error) {
	h, err := firewall.Open(ctx, firewall.Config(c))
	if err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	n, err := ns.Current()
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return &PortMapper{host: h, log: c.Log, ns: n}, nil
}

// Close lets go of the connection to the kernel, as [Masquerade.Close] does.
func (m *PortMapper) Close() error { return errors.Join(m.host.Close(), m.ns.Close()) }

// PortConflictError means that a port of the host leads to another container already,
// or is asked for twice. Which backend mapped it is of no matter, where the kernel has
// nf_tables. What others than cnikit mapped is not seen: to look there would be a program
// run at each ADD.
type PortConflictError struct {
	Port   types.PortMapping
	Holder Owner // zero if the port is not held by one of ours
	Err    error
}

// Error names the port and who has it.
func (e *PortConflictError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PortConflictError) Unwrap() error { return e.Err }

// ErrCondition means that the conditions of a [PortMapConfig] are not in the words that
// the backend knows.
var ErrCondition = firewall.ErrCondition

// PortMappingError means that a mapping cannot be: a port out of range, or a protocol
// that has no ports.
type PortMappingError struct {
	Port types.PortMapping
	Err  error
}

// Error names the mapping and what is wrong with it.
func (e *PortMappingError) Error() string {
	return fmt.Sprintf("map port %d to %d, protocol %q: %v", e.Port.HostPort, e.Port.ContainerPort, e.Port.Protocol, e.Err)
}

// Unwrap returns the cause.
func (e *PortMappingError) Unwrap() error { return e.Err }

// Ensure maps the ports of c to the container, and removes the owner's other mappings
// if any of these is there already. All are mapped or none. Without ports it does
// nothing and asks nobody. The error is a [PortConflictError] if another container has
// one of the ports, a [PortMappingError] if a mapping makes no sense, and
// [ErrCondition] if a condition is not understood.
//
// Unless NoSNAT it sets route_localnet on the link that leads to the container, and
// drops packets from outside for 127.0.0.0/8, which the kernel then no longer does by
// itself. Where /proc/sys is read-only, 127.0.0.1 is not mapped; that is logged.
//
// UDP connections to the ports that the kernel tracks and that go elsewhere are
// forgotten, lest a sender that keeps its port is not answered.
//
// A node may change its backend while containers run. What the other backend maps to the owner
// goes if one of the ports is the same, after all are mapped, so that they always lead there.
// If none is, and for a family with conditions, it stays until [PortMapper.Del] or
// [PortMapper.Collect]: to look for it would cost every ADD a question.
func (m *PortMapper) Ensure(ctx context.Context, o Owner, c PortMapConfig) error {
	p, err := c.portMap()
	if err != nil {
		return err
	}
	m.warnUnmapped(ctx, c)
	if len(p.Forwards) == 0 {
		return nil
	}
	if err := m.host.EnsurePortMap(ctx, firewall.Owner(o), p); err != nil {
		return conflict(err)
	}
	if !c.NoSNAT {
		m.routeLoopback(ctx, p)
	}
	return nil
}

// warnUnmapped tells which mappings are for a family in which the container has no
// address.
func (m *PortMapper) warnUnmapped(ctx context.Context, c PortMapConfig) {
	for _, p := range c.Ports {
		if !slices.ContainsFunc(firstOfEach(c.Addrs), func(a netip.Prefix) bool { return hostAddr(p.HostIP, a.Addr()).IsValid() }) {
			m.log.WarnContext(ctx, "port is not mapped: the container has no address of that family", "port", p.HostPort, "hostIP", p.HostIP)
		}
	}
}

// routeLoopback lets packets from 127.0.0.1 leave to the container. It is no reason to
// fail: all other ways work without.
func (m *PortMapper) routeLoopback(ctx context.Context, p firewall.PortMap) {
	for _, f := range p.Forwards {
		if f.Container.Addr().Is4() {
			if err := m.setRouteLocalnet(ctx, f.Container.Addr()); err != nil {
				m.log.WarnContext(ctx, "ports are not mapped at 127.0.0.1", "container", f.Container.Addr(), "error", err)
			}
			return
		}
	}
}

// setRouteLocalnet sets route_localnet on the link that leads to a container.
func (m *PortMapper) setRouteLocalnet(ctx context.Context, container netip.Addr) (err error) {
	n := m.ns
	if here, err := n.IsCurrent(); err == nil && here {
		n = nil // no thread has to be moved
	}
	c, err := Open(n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r, err := c.RouteTo(ctx, container)
	if err != nil {
		return err
	}
	l, err := c.LinkByIndex(ctx, r.Index)
	if err != nil {
		return err
	}
	return c.SetSysctl(Sysctl{Name: "ipv4/conf/" + l.Name + "/route_localnet", Value: "1"})
}

// Ready returns an error unless [PortMapper.Ensure] would find all that it needs of the machine
// for c, whose ports and addresses are of no matter; see [Masquerade.Ready]. Conditions and
// chains that only iptables has need iptables.
func (m *PortMapper) Ready(ctx context.Context, c PortMapConfig) error {
	c.Addrs, c.Ports = nil, nil
	p, err := c.portMap()
	if err != nil {
		return err
	}
	return m.host.ReadyPortMap(ctx, p)
}

// Check returns an error if the firewall is not as [PortMapper.Ensure] of the same
// arguments makes it. The error lists all that differs. Ports that the reference plugin mapped
// to the container, before the node changed over, are not judged as long as its rules are there.
func (m *PortMapper) Check(ctx context.Context, o Owner, c PortMapConfig) error {
	p, err := c.portMap()
	if err != nil || len(p.Forwards) == 0 {
		return err
	}
	return conflict(m.host.CheckPortMap(ctx, firewall.Owner(o), p))
}

// Del removes all ports mapped to the owner, by whichever backend, and what the reference
// plugin left for the same container. It needs neither ports nor addresses, and agrees if
// there is nothing. UDP connections that went through the mappings are forgotten.
func (m *PortMapper) Del(ctx context.Context, o Owner) error {
	return m.host.DelPortMap(ctx, firewall.Owner(o))
}

// MappedPort is a port of the host that leads to a container.
type MappedPort struct {
	// Owner is whose it is; see [Masqueraded].
	Owner    Owner
	Protocol string // "tcp", "udp" or "sctp"
	// Host has an unspecified address if the port of all addresses of the family is mapped.
	Host      netip.AddrPort
	Container netip.AddrPort
}

// List returns the ports mapped for a network, in no particular order.
func (m *PortMapper) List(ctx context.Context, network string) ([]MappedPort, error) {
	all, err := m.host.ListPortMap(ctx, network)
	list := make([]MappedPort, 0, len(all))
	for _, p := range all {
		list = append(list, MappedPort{Owner: Owner(p.Owner), Protocol: p.Protocol.String(), Host: p.Host, Container: p.Container})
	}
	return list, err
}

// Collect removes the ports mapped for a network that belong to nobody in keep, as
// [Masquerade.Collect] does.
func (m *PortMapper) Collect(ctx context.Context, network string, keep []Owner) error {
	if keep == nil {
		return errNoKeep
	}
	return m.host.CollectPortMap(ctx, network, owners(keep))
}

// portMap returns c in the words of package firewall.
func (c PortMapConfig) portMap() (firewall.PortMap, error) {
	p := firewall.PortMap{
		SNAT: !c.NoSNAT, MasqueradeAll: c.MasqAll,
		Conditions: [2][]string{c.ConditionsV4, c.ConditionsV6},
		MarkBit:    c.MarkMasqBit.Or(DefaultMarkMasqBit), MarkChain: c.ExternalSetMarkChain,
	}
	if p.MarkBit < 0 || p.MarkBit > 31 {
		return p, fmt.Errorf("mark bit %d: not 0 to 31", p.MarkBit)
	}
	containers := firstOfEach(c.Addrs)
	for _, a := range containers {
		p.Subnets = append(p.Subnets, a.Masked())
	}
	for _, m := range c.Ports {
		protocol, err := firewall.ParseProtocol(m.Protocol)
		if err == nil && (m.HostPort == 0 || m.ContainerPort == 0) {
			err = errors.New("port 0")
		}
		if err != nil {
			return p, &PortMappingError{Port: m, Err: err}
		}
		for _, a := range containers {
			if host := hostAddr(m.HostIP, a.Addr()); host.IsValid() {
				p.Forwards = append(p.Forwards, firewall.Forward{
					Protocol: protocol, Host: netip.AddrPortFrom(host, m.HostPort),
					Container: netip.AddrPortFrom(a.Addr(), m.ContainerPort),
				})
			}
		}
	}
	return p, nil
}

// firstOfEach returns the first address of each family.
func firstOfEach(addrs []netip.Prefix) []netip.Prefix {
	var found []netip.Prefix
	has := map[bool]bool{} // by whether it is IPv4
	for _, p := range addrs {
		if a := p.Addr().Unmap(); a.Is4() && p.Addr().Is4In6() {
			p = netip.PrefixFrom(a, max(p.Bits()-96, 0))
		}
		if p.IsValid() && !has[p.Addr().Is4()] {
			has[p.Addr().Is4()] = true
			found = append(found, p)
		}
	}
	return found
}

// hostAddr returns the address of the host to map for a container's address: that of the
// mapping, or an unspecified one for all. The zero Addr: the mapping is for the other family.
func hostAddr(hostIP, container netip.Addr) netip.Addr {
	hostIP = hostIP.Unmap()
	switch {
	case hostIP.IsValid() && hostIP.Is4() != container.Is4():
		return netip.Addr{}
	case hostIP.IsValid():
		return hostIP
	case container.Is4():
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// conflict turns a conflict into the exported error.
func conflict(err error) error {
	var c *firewall.ConflictError
	if !errors.As(err, &c) {
		return err
	}
	return &PortConflictError{
		Port: types.PortMapping{
			HostPort: c.Forward.Host.Port(), ContainerPort: c.Forward.Container.Port(),
			Protocol: c.Forward.Protocol.String(), HostIP: c.Forward.Host.Addr(),
		},
		Holder: Owner(c.Holder), Err: c,
	}
}
