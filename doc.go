// SPDX-License-Identifier: Apache-2.0

// Package cnikit is a library for writing CNI plugins: the programs that
// container runtimes run to connect a container to a network. This page is a tour
// of the specification, in its order, with the names of the library that do what
// each section says. There is no code here; the packages are
//
//   - [github.com/cnikit/cnikit/types]: the wire format of every version.
//   - [github.com/cnikit/cnikit/skel]: the main of a plugin.
//   - [github.com/cnikit/cnikit/skel/skeltest]: a runtime in a test.
//   - [github.com/cnikit/cnikit/ns]: network namespaces.
//   - [github.com/cnikit/cnikit/netutil]: links, bridges, addresses, routes, sysctls, NAT.
//   - [github.com/cnikit/cnikit/ipam]: delegation to an IPAM plugin, and writing one.
//   - examples: bridge, host-local, ptp, portmap and others, built on the packages
//     above and nothing else; quickstart.
//
// Package types needs only the standard library, and skel only types, so a
// plugin that edits results links neither netlink nor a firewall.
//
// # A first plugin
//
// This is a whole plugin. It checks its input, speaks every version of the
// specification, answers VERSION, and reports errors as the specification wants
// them:
//
//	type Conf struct {
//		Greeting string `json:"greeting"`
//	}
//
//	func main() {
//		skel.Main(skel.Plugin[Conf]{
//			Name:    "hello",
//			Chained: true,
//			Add: func(ctx context.Context, r *skel.Request[Conf]) (*types.Result, error) {
//				slog.InfoContext(ctx, r.Conf.Greeting)
//				return r.PrevResult, nil
//			},
//			Del:    skel.NothingToDo[Conf],
//			Check:  skel.NothingToDo[Conf],
//			GC:     skel.NothingToDo[Conf],
//			Status: skel.NothingToDo[Conf],
//		})
//	}
//
// # Versions
//
// The released versions are 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0:
// [types.Versions]. A [types.Version] is parsed strictly and compares as a number.
// The text of 1.1.0 went on after its tag (disableGC, loadOnlyInlinedPlugins, the
// key of GC); the library follows the newer text and reads both.
//
// # Section 1: network configuration format
//
// An administrator writes a network configuration: a name, a version and a list
// of plugins. [types.Network] is one, loaded by [types.LoadNetwork] from a file or
// by [types.FindNetwork] from a directory in the order that runtimes use. Unknown
// keys of a plugin stay as they are, byte for byte. Keys match ignoring case,
// because existing configurations rely on it.
//
// A plugin sees one entry of that list, with what the runtime added: skel parses
// the protocol's part into a [types.PluginConfig], and the author's part into the
// author's own struct, which holds only the author's fields.
//
// # Section 2: execution protocol
//
// A runtime runs the plugin with parameters in the environment and the request on
// standard input. Both arrive as a [skel.Request]; names that become paths are
// checked before ([types.ValidateNetworkName], [types.ValidateContainerID],
// [types.ValidateInterfaceName], [types.ValidatePluginType]), and CNI_ARGS is
// parsed into [types.Args]. The operations are the handlers of a [skel.Plugin]:
//
//   - ADD attaches a container. What a handler did is undone, in reverse, when it
//     fails or is interrupted: [skel.Request.Undo].
//   - DEL detaches it, as often as it is asked to, with the namespace gone and
//     without the result of ADD.
//   - CHECK compares the attachment with the result of ADD.
//   - STATUS says whether ADD could be served.
//   - GC removes what belongs to no valid attachment. The list of valid ones may be
//     empty, and must be there.
//   - VERSION is answered by skel.
//
// [skel.NothingToDo] is for an operation that a plugin has no work for.
//
// # Section 3: execution of network configurations
//
// Runtimes derive each plugin's request from the list: [types.Network.Request].
// The results of plugins chain: [skel.Request] carries the previous one decoded,
// from any version, and [types.Result.Merge] adds to it without losing what it
// held; [skel.Request.Extend] is that for a plugin that makes an interface. The runtime
// of a test is [github.com/cnikit/cnikit/skel/skeltest.Runtime], and
// [github.com/cnikit/cnikit/skel/skeltest.Conformance] examines a plugin by the rules
// of the specification.
//
// # Section 4: plugin delegation
//
// A plugin may leave work to another one, above all the choice of addresses to an
// IPAM plugin. [github.com/cnikit/cnikit/ipam.Add] and its siblings find the
// delegate, run it with the same environment and the same bytes, convert its
// result, keep its error, and undo a failed ADD. A plugin that has work of its own
// beside the delegate's lets the two overlap: [github.com/cnikit/cnikit/ipam.Start] for
// ADD, [github.com/cnikit/cnikit/ipam.With] for the other operations.
//
// # Section 5: result types
//
// [types.Result] is the success result in the newest schema. Older versions exist
// as bytes only: [types.DecodeResult] reads and [types.Result.Encode] writes each
// of them. [types.Error] is the error result, with the codes of the specification
// as [types.Code], which are errors themselves: errors.Is(err,
// types.ErrTryAgainLater).
//
// # Appendix: the kernel's side
//
// The specification does not say how an interface comes to be. For Linux, package
// [github.com/cnikit/cnikit/ns] enters namespaces, and package
// [github.com/cnikit/cnikit/netutil] makes links, bridges, addresses and routes in
// them: Ensure creates and agrees with what is there, Compare is the same for CHECK
// and changes nothing, Del agrees with what is gone. An attachment is a
// [github.com/cnikit/cnikit/netutil.Owner], by whose mark DEL and GC find what ADD made
// when nothing else is left to tell: [github.com/cnikit/cnikit/netutil.Detach] and
// [github.com/cnikit/cnikit/netutil.Collect].
//
// Masquerading (the well-known key ipMasq) and port maps (the capability
// portMappings) keep a container as an element of a set, so that rules do not grow
// with containers: [github.com/cnikit/cnikit/netutil.Masquerade] and
// [github.com/cnikit/cnikit/netutil.PortMapper].
package cnikit
