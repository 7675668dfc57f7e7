// SPDX-License-Identifier: Apache-2.0

// Package skel is the main of a CNI plugin: environment and standard input in,
// one JSON document out.
//
// An author fills in a [Plugin], whose handlers are ordinary functions that take
// a [Request] and return a value, and calls [Main]. The package owns the
// protocol around them:
//
//   - The command, the variables, standard input, its JSON, the network's name, the
//     version and the namespace are checked, in that order, before a handler runs.
//     What is wrong is answered with one error object that names it.
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
// Package skeltest plays the runtime.
//
// # Commands
//
// ADD, CHECK and STATUS are refused if anything about the request is wrong. DEL and
// GC clean up: they pass over what they can do without, which is logged. A DEL gets
// neither a prevResult that cannot be read nor a namespace that is gone or is the
// plugin's own; it still has to succeed. GC is refused without a list of
// attachments, since a missing list is not an empty one.
//
// # Errors
//
// A handler returns any error. One that is, or wraps, a types.Error or a types.Code
// keeps its code; the end of the context, and a wait that was too long, which is
// os.ErrDeadlineExceeded, is types.ErrTryAgainLater; the rest is types.ErrInternal. The
// details of the error object name plugin, network, container and interface.
//
// # Log
//
// [Request.Log] and, in a process, slog's functions with a context say in each record
// which request it is about. The log goes to standard error in text, or where
// Plugin.Log says. Neither configuration nor environment is logged, and what a handler
// logs is without the secrets of either, as [types.Call.Redact] finds them. What a
// delegate or another program writes to standard error is its own, and passes as it is.
//
// # Variables
//
// Besides those of the specification, CNI_NETNS_OVERRIDE=1 permits the plugin's own
// namespace as the container's, and the trace of TRACEPARENT stands in each record
// and in [Request.TraceID]. All variables reach a delegate as they came.
//
// # Threads and goroutines
//
// A handler runs on a goroutine of its own, which is not locked to a thread. A panic in
// a goroutine that the handler starts cannot be caught and ends the process as usual.
// A handler that ignores the end of its context is left alone after 15 seconds: its
// undo steps run while it may still be at work, and the process ends.
package skel
