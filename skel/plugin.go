// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"log/slog"
	"time"

	"github.com/cnikit/cnikit/types"
)

// Plugin is a CNI plugin: a handler for each command, with what the author wants
// the package to check before. T is the plugin's own part of the configuration, a
// struct with the fields that the plugin reads and nothing else.
//
// A Plugin is complete if it has a handler for every command of the versions it
// supports; one that is not refuses to do anything.
//
// Spec: CNI 1.1.0, section 2; checklist VER-001, AMB-062.
type Plugin[T any] struct {
	// Name is the name of the plugin's executable, which is the type that
	// configurations give.
	Name string
	// About is one line for somebody who runs the plugin by hand.
	About string
	// Versions are the versions that the plugin supports. Empty: [types.Versions].
	// Attachments outlive upgrades: a version that once was supported has to stay.
	Versions []types.Version

	// Add attaches the container to the network and returns the result, which must
	// not be nil. The request's PrevResult, if there is one, is the base of the
	// result.
	Add func(ctx context.Context, r *Request[T]) (*types.Result, error)
	// Del detaches the container. It succeeds if that is done already, and does as
	// much as it can: it needs neither namespace nor PrevResult, runs every step
	// even when one fails, and joins the errors.
	Del func(ctx context.Context, r *Request[T]) error
	// Check compares the attachment with PrevResult, which is not nil, and changes
	// nothing. Since 0.4.0.
	Check func(ctx context.Context, r *Request[T]) error
	// GC removes what belongs to attachments of this network that are not among
	// ValidAttachments. Since 1.1.0.
	//
	// A runtime runs neither ADD nor DEL beside it. One that does, or a second runtime, has to
	// put an attachment on the list from before its first ADD until after its last DEL, and
	// then GC is to take nothing from an ADD that runs beside it. Whoever is not on the list
	// loses what is there, also in the middle of an ADD: nobody can tell such an attachment
	// from one that was forgotten.
	//
	// Spec: checklist GC-016, GC-028.
	GC func(ctx context.Context, r *Request[T]) error
	// Status reports whether the plugin can serve ADD, by
	// [types.ErrPluginNotAvailable] or [types.ErrLimitedConnectivity] if not. It
	// changes nothing. Since 1.1.0.
	Status func(ctx context.Context, r *Request[T]) error

	// Chained refuses an ADD without PrevResult: the plugin works on the interface
	// of another.
	//
	// Spec: checklist CHAIN-019.
	Chained bool
	// NeedsNetns says that CNI_NETNS is the path of a network namespace for this
	// plugin. ADD and CHECK are refused if it is anything else; DEL gets an empty
	// Netns if the namespace is gone.
	//
	// Spec: checklist ADD-012, CHK-023, DEL-006, DEL-007.
	NeedsNetns bool
	// Strict refuses members of the configuration that neither T nor the protocol
	// has.
	//
	// Spec: checklist CONF-031.
	Strict bool
	// Timeout bounds the request. When it is over the context ends, and the answer
	// is [types.ErrTryAgainLater] with what the handler says it waited for. What ADD did
	// is undone in a time of its own, see [Request.Undo]. Zero: none.
	//
	// A plugin that waits for anybody else wants one: another plugin, a lock, a daemon. It is
	// to end well before the runtime loses patience, which is after two minutes where a
	// kubelet asks (runtimeRequestTimeout), since the runtime may be unable to stop it.
	//
	// Spec: checklist ADD-026.
	Timeout time.Duration
	// Log says where the log goes, once the configuration is read. Nil: the zero
	// LogOptions.
	Log func(conf *T) LogOptions
}

// Request is one execution of a plugin, decoded.
type Request[T any] struct {
	// Call is what the runtime asked for: command, container, interface and so on.
	// To a delegate it is handed on as it is.
	types.Call
	// Conf is the plugin's own part of the configuration. For ADD, CHECK and STATUS
	// it is read whole, and its method Validate() error, if T has one, has
	// succeeded. For DEL and GC what cannot be read is left zero, and Validate is not
	// called: they clean up as much as they can.
	Conf *T
	// Net is the protocol's part of the configuration: the network's name, ipam,
	// dns, runtimeConfig.
	Net *types.PluginConfig
	// PrevResult is the result of the plugin before this one (ADD) or of the whole
	// chain (CHECK, DEL). It is nil if the request has none, as it often has for
	// DEL.
	PrevResult *types.Result
	// ValidAttachments are the attachments that GC leaves alone. Nil for all other
	// commands.
	ValidAttachments []types.Attachment
	// OwnNetns says that Netns leads to the plugin's own namespace, which nobody gets
	// who did not ask for it by CNI_NETNS_OVERRIDE. Without it a plugin that opens Netns and
	// finds itself there has to leave everything alone: what is at a path may have changed
	// since the package looked. [github.com/cnikit/cnikit/netutil.OpenEnds] and
	// [github.com/cnikit/cnikit/netutil.Detach] look again, whatever OwnNetns says;
	// [github.com/cnikit/cnikit/ns.NS.IsCurrent] is for everybody else.
	//
	// Spec: checklist PROTO-044, DEL-008, AMB-048.
	OwnNetns bool
	// TraceID is the trace that the request is part of, from TRACEPARENT; empty if
	// there is none. A delegate gets the variable with the others.
	TraceID string
	// Log is the log of the request. slog's functions that take a context write to
	// it too, in a process that runs Main. Secrets of the request are taken out of each
	// record; see [types.Call.Redact] for what counts as one.
	Log *slog.Logger

	undo *undoStack
}

// Extend returns PrevResult with what the plugin added merged in, which is what an
// interface plugin returns from ADD. A dns of the configuration takes the place of what
// own says. Own is not changed; PrevResult may be nil.
//
// Spec: checklist CHAIN-018, DLG-023.
func (r *Request[T]) Extend(own *types.Result) *types.Result {
	result := r.PrevResult.Clone()
	result.Merge(own)
	if !r.Net.DNS.IsZero() {
		result.DNS = r.Net.DNS
	}
	return result
}

// Undo registers a step that undoes what ADD just did. If ADD fails, panics or is
// cancelled, or its result cannot be delivered, all steps run, the last first,
// each even if another fails; the error that ADD ends with tells what could not
// be undone. The context of the steps is not that of the request, which may have
// ended: it ends ten seconds after the first step begins. For other commands no
// step runs. Undo may be called from any goroutine. A step that ignores the end of its
// context is left alone, as is a handler; one that is registered after the undoing,
// by a handler that was left alone, runs at once.
//
// Steps run when the handler has returned, and so after what it deferred: a step
// opens what it needs itself, rather than use what the handler has closed.
//
// Spec: checklist ADD-009, PROTO-049.
func (r *Request[T]) Undo(step func(ctx context.Context) error) { r.undo.push(step) }

// NothingToDo is the handler of a command for which a plugin has nothing to do,
// such as GC for a plugin that keeps everything inside the container's
// namespace. It succeeds.
//
// Spec: checklist AMB-062, GC-027, STA-014.
func NothingToDo[T any](context.Context, *Request[T]) error { return nil }

// Runner is a [Plugin], whatever its T. There are no other implementations.
type Runner interface {
	// Run executes one command; see [Plugin.Run].
	Run(ctx context.Context, env Env) (exit int)
	program() *program
}

// Run executes the command that env asks for, writes one document to its Stdout
// or nothing, and returns the exit status: 0 for success, else 1. It touches
// nothing of the process, and may run concurrently with itself. When ctx ends the
// handler is cancelled; one that does not stop within 15 seconds is left
// alone.
//
// Spec: CNI 1.1.0, sections 2 and 5; checklist 1.6, PROTO-031 to PROTO-034,
// PROTO-048, ERR-026, ERR-027.
func (p Plugin[T]) Run(ctx context.Context, env Env) (exit int) {
	return p.program().run(ctx, env)
}

// program returns the plugin without its type parameter.
func (p Plugin[T]) program() *program {
	versions := p.Versions
	if len(versions) == 0 {
		versions = types.Versions()
	}
	return &program{
		name:       p.Name,
		about:      p.About,
		versions:   versions,
		chained:    p.Chained,
		needsNetns: p.NeedsNetns,
		timeout:    p.Timeout,
		lacks:      p.lacks,
		prepare:    p.prepare,
		strict:     p.Strict,
	}
}

// lacks reports whether the plugin has no handler for a command.
func (p *Plugin[T]) lacks(name types.Command) bool {
	if name == types.CommandAdd {
		return p.Add == nil
	}
	return p.handler(name) == nil
}

func (p *Plugin[T]) handler(name types.Command) func(context.Context, *Request[T]) error {
	switch name {
	case types.CommandDel:
		return p.Del
	case types.CommandCheck:
		return p.Check
	case types.CommandGC:
		return p.GC
	case types.CommandStatus:
		return p.Status
	}
	return nil
}

// prepare decodes the plugin's own configuration and returns what is left to do.
func (p *Plugin[T]) prepare(cmd command, q *request) (job, error) {
	conf := new(T)
	if err := q.decode(cmd, conf); err != nil {
		return job{}, err
	}
	r := &Request[T]{
		Call:             q.call,
		Conf:             conf,
		Net:              q.net,
		PrevResult:       q.prevResult,
		ValidAttachments: q.valid,
		TraceID:          q.traceID,
		OwnNetns:         q.ownNetns,
		undo:             q.undo,
	}
	var j job
	if p.Log != nil {
		j.log = p.Log(conf)
	}
	j.run = func(ctx context.Context, log *slog.Logger) (*types.Result, error) {
		r.Log = log
		if cmd.name == types.CommandAdd {
			return p.Add(ctx, r)
		}
		return nil, p.handler(cmd.name)(ctx, r)
	}
	return j, nil
}
