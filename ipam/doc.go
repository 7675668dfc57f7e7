// SPDX-License-Identifier: Apache-2.0

// Package ipam manages addresses, from both sides.
//
// A plugin that needs addresses for its interface delegates to the IPAM plugin
// that the configuration names: [Add], [Del], [Check], [GC] and [Status] run it
// with the very bytes and environment that the plugin itself got. [Delegate] runs
// any other plugin in the same way, for a plugin that wraps another one.
//
// A plugin that hands addresses out combines three parts: a [RangeSet] says which
// addresses there are, an [Allocator] decides which one is next and a [Store]
// remembers who has which. [FileStore] is the directory that host-local plugins
// keep on every node, and takes turns with them; [MemoryStore] is for tests and for
// daemons. Package storetest tests any other.
package ipam
