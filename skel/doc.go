// SPDX-License-Identifier: Apache-2.0

// Package skel is the main of a CNI plugin: environment and standard input in,
// one JSON document out.
//
// An author fills in a [Plugin], whose handlers are ordinary functions that take
// a [Request] and return a value, and calls [Main]. The package owns the
// protocol around them:
//
//   - The command, the variables, the configuration, its version and the
//     namespace are checked, in that order, before a handler runs. What is wrong
//     is answered with one error object that names it.
//   - Standard output belongs to this package. During a handler descriptor 1 is
//     standard error, so that a stray print cannot corrupt the answer.
//   - A handler that fails, panics, or gets cancelled ends in an error object, and
//     what ADD registered with [Request.Undo] is undone in reverse order.
//   - The result is converted to the version of the request.
//
// What the author leaves out is said aloud: [NothingToDo] for a command that has
// nothing to do.
//
// [Plugin.Run] is all of that without the process: it reads and writes only what
// its [Env] holds, so tests run it in parallel. Main binds it to the process.
//
// # Threads and goroutines
//
// A handler runs on a goroutine of its own. A panic in a goroutine that the
// handler starts cannot be caught and ends the process as usual.
package skel
