// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnikit/cnikit/netutil"
)

// Snapshot returns the state of the namespace: links, addresses, routes, rules, lasting
// neighbours, queueing disciplines, the sysctls of net that plugins change, nftables,
// and what iptables-legacy has. Without the program nft, rules of nftables are shown as
// the kernel has them; without iptables-legacy-save, a line says that there are tables
// that cannot be read. The MAC and MTU of a bridge follow its ports and are left out, as
// are counters and what the kernel learns in its own time.
func (n *Namespace) Snapshot() (Snapshot, error) {
	links, err := n.links()
	if err != nil {
		return "", err
	}
	var lines []string
	for _, part := range []func([]linkState) ([]string, error){n.linkLines, n.ruleLines, n.neighLines, n.qdiscLines, n.sysctlLines} {
		these, err := part(links)
		if err != nil {
			return "", err
		}
		lines = append(lines, these...)
	}
	slices.Sort(lines)
	for _, part := range []func() ([]string, error){n.nftables, n.legacy} {
		these, err := part()
		if err != nil {
			return "", err
		}
		slices.Sort(these)
		lines = append(lines, these...)
	}
	return Snapshot(strings.Join(lines, "\n")), nil
}

func (n *Namespace) linkLines(links []linkState) (lines []string, err error) {
	for _, l := range links {
		line := fmt.Sprintf("link %s kind=%s up=%t", l.name, l.kind, l.up)
		if l.kind != "bridge" {
			line += fmt.Sprintf(" mac=%s mtu=%d", l.mac, l.mtu)
		}
		if i := slices.IndexFunc(links, func(m linkState) bool { return m.index == l.master }); i >= 0 {
			line += " master=" + links[i].name
		}
		// The loopback ends with its namespace, and a mark on it with the loopback.
		if l.alias != "" && l.name != "lo" {
			line += fmt.Sprintf(" alias=%q", l.alias)
		}
		lines = append(lines, line)
		for _, a := range l.addrs {
			lines = append(lines, fmt.Sprintf("address %s dev %s", a.prefix, l.name))
		}
		for _, r := range l.routes {
			if r.table != 255 { // RT_TABLE_LOCAL follows the addresses
				lines = append(lines, fmt.Sprintf("route %s via %s dev %s table %d metric %d mtu %d", r.dst, r.gateway, l.name, r.table, r.priority, r.mtu))
			}
		}
	}
	return lines, nil
}

func (n *Namespace) ruleLines([]linkState) (lines []string, err error) {
	rules, err := n.conn.ListRules(context.Background(), 0)
	for _, r := range rules {
		lines = append(lines, "rule "+r.String())
	}
	return lines, err
}

func (n *Namespace) neighLines(links []linkState) (lines []string, err error) {
	for _, l := range links {
		all, err := n.conn.ListNeighs(context.Background(), l.index)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since it was listed
		}
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			if e.Permanent {
				lines = append(lines, fmt.Sprintf("neighbour %s %s dev %s", e.IP, e.MAC, l.name))
			}
		}
	}
	return lines, nil
}

func (n *Namespace) qdiscLines(links []linkState) (lines []string, err error) {
	all, err := n.qdiscs(links)
	for _, q := range all {
		lines = append(lines, q.String())
	}
	return lines, err
}

// sysctls are what plugins change, of the whole namespace and of each link.
func sysctls() (whole, perLink []string) {
	return []string{"ipv4/ip_forward", "ipv4/ip_nonlocal_bind", "ipv6/bindv6only", "bridge/bridge-nf-call-iptables"},
		[]string{
			"ipv4/conf/%s/forwarding", "ipv4/conf/%s/rp_filter", "ipv4/conf/%s/route_localnet", "ipv4/conf/%s/proxy_arp", "ipv4/conf/%s/proxy_arp_pvlan",
			"ipv4/conf/%s/arp_notify", "ipv4/conf/%s/arp_filter", "ipv4/conf/%s/arp_ignore", "ipv4/conf/%s/accept_local", "ipv4/conf/%s/promote_secondaries",
			"ipv6/conf/%s/forwarding", "ipv6/conf/%s/disable_ipv6", "ipv6/conf/%s/accept_ra", "ipv6/conf/%s/accept_dad", "ipv6/conf/%s/autoconf",
			"ipv6/conf/%s/proxy_ndp", "ipv6/conf/%s/keep_addr_on_down",
		}
}

// sysctlLines returns the sysctls of the namespace, and of a link those that are not
// what new links have.
func (n *Namespace) sysctlLines(links []linkState) (lines []string, err error) {
	whole, perLink := sysctls()
	err = n.Do(func() error {
		read := func(name string) (string, error) {
			data, err := os.ReadFile(filepath.Join("/proc/sys/net", name))
			if errors.Is(err, fs.ErrNotExist) {
				return "", nil
			}
			return strings.TrimSpace(string(data)), err
		}
		add := func(name, usual string) error {
			value, err := read(name)
			if err == nil && value != usual {
				lines = append(lines, "sysctl "+name+"="+value)
			}
			return err
		}
		for _, name := range whole {
			if err := add(name, ""); err != nil {
				return err
			}
		}
		for _, pattern := range perLink {
			usual, err := read(fmt.Sprintf(pattern, "default"))
			if err != nil {
				return err
			}
			if usual != "" {
				lines = append(lines, "sysctl "+fmt.Sprintf(pattern, "default")+"="+usual)
			}
			for _, l := range append([]linkState{{name: "all"}}, links...) {
				if err := add(fmt.Sprintf(pattern, l.name), usual); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return lines, err
}

// output runs a program in the namespace.
func (n *Namespace) output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := n.Start(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, stderr.Bytes())
	}
	return stdout.String(), nil
}

// nftables returns the rules of nftables, each line with the table and chain it is in.
func (n *Namespace) nftables() (lines []string, err error) {
	raw, err := n.rawNftables()
	// Most namespaces have none, and a program takes longer than all else here.
	if _, missing := exec.LookPath("nft"); missing != nil || err == nil && len(raw) == 0 {
		return raw, err
	}
	text, err := n.output("nft", "--stateless", "list", "ruleset")
	if err != nil {
		return nil, err
	}
	compat, err := n.compatTables()
	if err != nil {
		return nil, err
	}
	lines = nftLines(text, compat)
	for _, t := range compat {
		more, err := n.compatLines(t)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// nftLines reads what nft lists, but not the rules of some tables.
func nftLines(text string, without []compatTable) (lines []string) {
	var where []string
	for line := range strings.Lines(text) {
		switch line = strings.Join(strings.Fields(line), " "); {
		case line == "":
		case line == "}" && len(where) > 0:
			where = where[:len(where)-1]
		case strings.HasSuffix(line, "{") && !strings.Contains(line, "="):
			where = append(where, strings.TrimSuffix(line, " {"))
			lines = append(lines, "nft "+strings.Join(where, " "))
		default:
			isRule := len(where) == 2 && strings.HasPrefix(where[1], "chain ") && !strings.HasPrefix(line, "type ")
			if !isRule || !slices.ContainsFunc(without, func(t compatTable) bool { return where[0] == "table "+t.family+" "+t.name }) {
				lines = append(lines, "nft "+strings.Join(where, " ")+": "+line)
			}
		}
	}
	return lines
}

// compatLines returns the rules of a table that iptables made, as it shows them itself.
// What nft says of them is not enough: it leaves out what it does not know, such as the
// set of a match, and whether it knows a rule of one family is up to those it has listed
// before.
func (n *Namespace) compatLines(t compatTable) ([]string, error) {
	if program := map[string]string{"ip": "iptables-nft-save", "ip6": "ip6tables-nft-save"}[t.family]; program != "" {
		if _, err := exec.LookPath(program); err == nil {
			text, err := n.output(program, "-t", t.name)
			if err == nil && strings.Contains(text, "\nCOMMIT\n") { // it understands all of the table
				return savedRules("nft table "+t.family+" "+t.name, text), nil
			}
		}
	}
	raw, err := n.rawNftables()
	return slices.DeleteFunc(raw, func(line string) bool {
		rest, ok := strings.CutPrefix(line, "nft table "+t.family+" "+t.name+" chain ")
		_, rule, isRule := strings.Cut(rest, ": ")
		return !ok || !isRule || strings.HasPrefix(rule, "type ")
	}), err
}

// savedRules reads the rules in the output of iptables-save.
func savedRules(table, text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-A ") {
			lines = append(lines, table+": "+line)
		}
	}
	return lines
}

// legacy returns the chains and rules of iptables-legacy, without the built-in chains
// that only accept: a table that was looked at once has those.
func (n *Namespace) legacy() (lines []string, err error) {
	for _, family := range []struct{ names, program string }{
		{"ip_tables_names", "iptables-legacy-save"}, {"ip6_tables_names", "ip6tables-legacy-save"},
	} {
		var tables []string
		err := n.Do(func() error {
			data, err := os.ReadFile("/proc/thread-self/net/" + family.names)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil // the kernel has none, or none for who is asking
			}
			tables = strings.Fields(string(data))
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, table := range tables {
			if _, err := exec.LookPath(family.program); err != nil {
				lines = append(lines, fmt.Sprintf("%s %s: in use, and it takes %s to read it", strings.TrimSuffix(family.program, "-save"), table, family.program))
				continue
			}
			text, err := n.output(family.program, "-t", table)
			if err != nil {
				return nil, err
			}
			lines = append(lines, legacyLines(strings.TrimSuffix(family.program, "-save")+" "+table, text)...)
		}
	}
	return lines, nil
}

// legacyLines reads the output of iptables-save for one table.
func legacyLines(table, text string) (lines []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if chain, ok := strings.CutPrefix(line, ":"); ok {
			line, _, _ = strings.Cut(chain, " [")
			if strings.HasSuffix(line, " ACCEPT") {
				continue
			}
			line = "chain " + strings.TrimSuffix(line, " -")
		} else if !strings.HasPrefix(line, "-A") {
			continue
		}
		lines = append(lines, table+": "+line)
	}
	return lines
}

// links returns the links of the namespace, sorted by name.
func (n *Namespace) links() ([]linkState, error) {
	ctx := context.Background()
	links, err := n.conn.ListLinks(ctx, netutil.LinkFilter{})
	if err != nil {
		return nil, err
	}
	routes, err := n.conn.ListRoutes(ctx, netutil.RouteFilter{})
	if err != nil {
		return nil, err
	}
	var all []linkState
	for _, l := range links {
		state := linkState{name: l.Name, kind: l.Kind, alias: l.Alias, mac: l.MAC.String(), index: l.Index, mtu: l.MTU, up: l.Up, master: l.Master}
		addrs, err := n.conn.ListAddrs(ctx, l.Index)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since it was listed
		}
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if !a.Prefix.Addr().IsLinkLocalUnicast() {
				state.addrs = append(state.addrs, addrState{a.Prefix, a.Tentative})
			}
		}
		for _, r := range routes {
			if r.Index == l.Index && !r.Dst.Addr().IsLinkLocalUnicast() && !r.Dst.Addr().IsMulticast() {
				state.routes = append(state.routes, stateOf(r))
			}
		}
		all = append(all, state)
	}
	slices.SortFunc(all, func(a, b linkState) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

func stateOf(r netutil.Route) routeState {
	const protoKernel = 2 // RTPROT_KERNEL
	return routeState{dst: r.Dst, gateway: r.Gateway, priority: r.Priority, table: r.Table, mtu: r.MTU, advmss: r.AdvMSS, kernel: r.Protocol == protoKernel}
}
