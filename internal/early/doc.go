// SPDX-License-Identifier: Apache-2.0

// Package early does for a plugin what is cheap only before the other packages are
// initialized. It acts when it is initialized itself, and is the only package of cnikit that
// does: ADD and CHECK are one in sixteen shorter than if main did it. With hardly an import,
// it comes before the packages that allocate.
//
// For ADD, CHECK and STATUS the goroutines share one processor, unless the variable GOMAXPROCS
// says otherwise; see skel.Main for why. The Go runtime begins with all processors, and main
// runs on any of them. If that is one that is taken away, what it has cached for the allocation
// of memory goes to lists that cost a page fault for each size of object that was allocated until
// then, and the next objects begin new pages.
//
// And the stack of main is made as deep as it will be; see [GrowStack].
package early
