// SPDX-License-Identifier: Apache-2.0

// Package hostlocal is an IPAM plugin that hands out addresses from ranges, and
// keeps track of them in a directory of the node. It takes the configurations of
// the plugin of the same name that nodes have today, and takes turns with it on
// the same directory.
//
// Where the two differ, this one:
//
//   - gives a repeated ADD the addresses it has, where the other fails and releases
//     them: an ADD is repeated when its answer was lost, and the container runs;
//   - takes the addresses that runtimeConfig asks for in the place of those of args,
//     and those of args in the place of that of CNI_ARGS, where the other asks for
//     all of them;
//   - never hands out the address of a network or, in IPv4, the broadcast address;
//   - takes back, when there is no other address, what was reserved before the node
//     was started, which the other leaves reserved for ever;
//   - needs no more than name, dataDir, container and interface for DEL;
//   - implements GC and STATUS, and its CHECK looks at the addresses.
package hostlocal
