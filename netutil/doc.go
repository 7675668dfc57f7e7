// SPDX-License-Identifier: Apache-2.0

// Package netutil makes and inspects what a plugin needs in the kernel: veths, bridges,
// macvlans, vxlans, addresses, routes, policy rules, neighbours, sysctls; and, in the
// firewall, [Masquerade], [PortMapper] and [SpoofFilter].
//
// A [Conn] is a conversation with the kernel about one namespace. A plugin has one for
// the host and one for the sandbox, the [Ends] of an attachment, and enters neither:
//
//	ends, err := netutil.OpenEnds(netns)
//
//	br, _, err := ends.Host.EnsureBridge(ctx, "cni0", netutil.BridgeConfig{})
//	veth, err := ends.AddVeth(ctx, owner, netutil.VethConfig{Master: br.Index})
//	err = ends.Sandbox.Apply(ctx, veth.Peer, ips, routes, netutil.ApplyConfig{})
//	err = ends.Host.SetUp(ctx, veth.Host.Index)
//
// The verb of a method says what happens if the thing is there already. Ensure makes
// it, and reports whether it did; finding it, Ensure compares, and fails with a
// [MismatchError] if it is not what was asked for. Set overwrites. Compare is
// the half of Ensure and Set that changes nothing, for CHECK. Del agrees when the thing
// is gone. List reads. A method that needs a link to exist fails with an error that is
// [fs.ErrNotExist] if it does not.
//
// Errors of the kernel can be asked in the standard words: [fs.ErrNotExist],
// [fs.ErrExist], [fs.ErrPermission], and [errors.ErrUnsupported] for what the kernel
// lacks. [ErrUnfit] is what a configuration asks for and its other parts do not allow.
//
// An [Owner] is the attachment for which something is made. Its [Owner.HostName] is the
// name of the host end of its veth, and its [Owner.Alias] the mark on it, by which DEL
// and GC find it again when neither the sandbox nor the result of ADD is left:
// [Conn.DelOwned], [Conn.ListOwned].
package netutil
