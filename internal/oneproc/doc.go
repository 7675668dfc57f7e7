// SPDX-License-Identifier: Apache-2.0

// Package oneproc has the goroutines of a plugin share one processor for ADD, CHECK and STATUS,
// unless the variable GOMAXPROCS says otherwise. See skel.Main for why.
//
// It acts when it is initialized, which no other package of cnikit does, and which makes an ADD
// and a CHECK one in sixteen shorter than to do the same in main. The Go runtime begins with all
// processors, and main runs on any of them. If that is one that is taken away, what it has cached
// for the allocation of memory goes to lists that cost a page fault for each size of object that
// was allocated until then, and the next objects begin new pages. Hardly anything has been, here:
// with hardly an import, this package is initialized before those that allocate.
package oneproc
