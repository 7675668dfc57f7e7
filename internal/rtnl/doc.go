// SPDX-License-Identifier: Apache-2.0

// Package rtnl speaks rtnetlink, and is the one door to it: package netutil says what
// a link or a route should be, and this package what messages that takes.
//
// A [Conn] is one socket and stays in the namespace that the socket was made in. Here
// once, so that no caller has to remember it:
//
//   - a dump that the kernel declares inconsistent is done again, until the context ends;
//   - dumps are filtered by the kernel (NETLINK_GET_STRICT_CHK), and one thing is asked
//     for by name or number, without a dump;
//   - what the kernel made it tells in the same exchange (NLM_F_ECHO), where it can;
//   - errors are [fs.ErrNotExist], [fs.ErrExist], [fs.ErrPermission] or
//     [errors.ErrUnsupported] where that is what they mean, and carry the kernel's own
//     explanation (NETLINK_EXT_ACK).
//
// Messages, attributes and constants are those of the netlink library, mostly of its
// package nl. Its Handle is not used, because a message says more here than its functions
// do: a veth with the place of both ends, a port of a bridge with all that is set on it,
// what the kernel shall tell back; nor are its sockets, which are made for programs that
// live longer than a plugin.
package rtnl
