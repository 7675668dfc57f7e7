// SPDX-License-Identifier: Apache-2.0

// Package ns opens, makes, compares and enters network namespaces.
//
//	sandbox, err := ns.Open(path)
//	if errors.Is(err, fs.ErrNotExist) { … } // gone, which DEL takes for done
//	defer sandbox.Close()
//	err = sandbox.Do(func() error { … })
//
// [NS.Do] runs a function inside a namespace on a thread of its own, which is thrown
// away afterwards. So there is no way back that could fail, nothing to restore, and
// no thread of the Go runtime is ever left in the wrong place. It nests, and any
// number of goroutines may call it, each call holding one thread while it lasts.
//
// Entering is the exception. What talks to the kernel through a socket needs only
// that the socket was made in the namespace, see [NS.Socket]; package netutil works
// so, and configures links in a sandbox from outside.
package ns
