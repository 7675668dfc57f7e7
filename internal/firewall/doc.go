// SPDX-License-Identifier: Apache-2.0

// Package firewall keeps the NAT and filter state of containers: masquerading, port
// maps, and the filter against forged source addresses. Package netutil is its only
// user and documents what is promised; this page says how it is kept.
//
// # Shape
//
// Rules are per network and constant. A container is an element of a set, or of a
// map, with an ownership mark in its comment (see [Owner]); so ADD and DEL are one
// transaction of a few elements, whatever the number of containers, and a packet
// meets the same rules whether there is one container or ten thousand.
//
// Each network has tables of its own. Nothing is ever put into a chain that somebody
// else made, nothing depends on the order of tables, and removing a network is
// removing its tables.
//
// # Look before you create
//
// A read costs microseconds. Creating a base chain that exists, flushing a chain, or
// deleting anything makes the kernel wait for a grace period of some 10 ms, at once or
// when the socket is closed. So ADD reads the rules of its table, a handful, and sends
// elements only. Rules that somebody removed or added show in that same read, because
// every rule carries a comment that says which rule it is, and are repaired; who
// changes what a rule does changes its comment, so that nodes get the new one.
//
// Two processes that repair at once do not double the rules: a chain is flushed in the
// transaction that fills it. Two that want the same port are told apart by the kernel,
// which refuses an element of a map that is there with other data.
//
// # GC beside ADD
//
// GC removes elements, and a table without elements, by a transaction that the kernel takes
// only if there was no other since GC looked. So nothing goes that an ADD put there
// meanwhile. With ipset, GC removes the rules first and then looks once more whether anybody
// came, and ADD looks once more whether the rules are there: one sees the other.
//
// # One socket
//
// Reads and transactions go over one netlink socket, whose messages are made here, but for
// the expressions of rules, which github.com/google/nftables writes. A connection of that
// library would be a second socket, with threads and a poller that an execution of some
// milliseconds notices; it cannot ask for one element of a set, for all rules of a table at
// once, or for a transaction that happens only if there was none since a look. The same
// socket speaks with ipset and connection tracking.
//
// # No program, few messages
//
// The nftables backend runs no program. The iptables backend keeps containers in an
// ipset, by netlink too, and runs iptables only when the constant rules are not there,
// which the reference counter of the ipset tells; without ipset, and for port maps, it
// needs one run to look and one to change.
//
// Port maps by iptables are the one thing whose rules grow with containers: each has a
// chain, and one rule that leads there for each protocol and fifteen ports. No constant
// shape exists. What iptables can look up in one step is an ipset, and that yields yes or no,
// or with skbinfo a mark, a priority and a queue; the target DNAT takes its address from
// the rule. A mark would have to be told apart by one rule for each container again. So
// a first packet for an address of the host meets one rule more for each container with
// ports on its network, and none for containers without, or for other packets. nftables has
// maps, and is the default.
//
// Which ports are taken, and by which backend, stands in one table of nftables, also for those
// that iptables maps: else an ADD with nftables had to run programs to see them.
//
// Source: https://git.netfilter.org/ipset/tree/src/ipset.8?h=v7.17 (SKBINFO); iptables-extensions(8), DNAT
//
// # What the kernel lacks
//
// Some kernels have nf_tables without NAT in family inet. None can be asked; so it is tried, in
// a transaction that leaves nothing, when the kernel has refused the rules of a network,
// and iptables is used instead if the configuration leaves the choice. A CHECK that finds
// no table looks whether iptables did the work.
package firewall
