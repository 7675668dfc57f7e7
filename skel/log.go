// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"io"
	"log/slog"
	"os"
)

// LogOptions say where the log of a plugin goes. The zero LogOptions are text on
// standard error, from [slog.LevelInfo] on.
type LogOptions struct {
	// Level is the least level that is logged. Nil: slog.LevelInfo.
	Level slog.Leveler
	// File is the path of a file that records are appended to, instead of standard
	// error. It is created with mode 0600. If it cannot be opened, the log goes to
	// standard error and says so. Empty: standard error.
	File string
	// JSON makes each record one JSON object instead of text.
	JSON bool
}

// openLog makes the log of the request.
func (q *request) openLog(o LogOptions) {
	w := q.env.stderr()
	var failed error
	if o.File != "" {
		// O_APPEND keeps the records of many plugins whole.
		f, err := os.OpenFile(o.File, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err == nil {
			w, q.logFile = f, f
		}
		failed = err
	}
	w = redactor{q.redact, w}
	options := &slog.HandlerOptions{Level: o.Level}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if o.JSON {
		handler = slog.NewJSONHandler(w, options)
	}
	q.log = slog.New(handler.WithAttrs(q.logAttrs()))
	if failed != nil {
		q.log.Warn("log to standard error instead of the file", "cause", failed)
	}
}

// A redactor takes the secrets of the request out of each record: a handler may log an
// error that repeats one, or its whole configuration. It costs nothing until something is
// logged.
//
// Spec: checklist ERR-025.
type redactor struct {
	redact func(text string) string
	w      io.Writer
}

// Write writes one record, at once, as slog does.
func (r redactor) Write(record []byte) (int, error) {
	if _, err := io.WriteString(r.w, r.redact(string(record))); err != nil {
		return 0, err
	}
	return len(record), nil
}

// closeLog closes the file of the log. Until then a handler's undo steps write to
// it, and what is said of the answer.
func (q *request) closeLog() {
	if q.logFile != nil {
		_ = q.logFile.Close() // there is no log left to tell
	}
}

// logAttrs returns what each record of the request says. The configuration and the
// environment are never logged: they may hold secrets.
func (q *request) logAttrs() []slog.Attr {
	attrs := make([]slog.Attr, 0, 6)
	for _, a := range [...][2]string{
		{"plugin", q.program.name},
		{"command", string(q.call.Command)},
		{"network", q.network()},
		{"container", q.call.ContainerID},
		{"interface", q.call.IfName},
		{"trace", q.traceID},
	} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	return attrs
}

// network returns the name of the network once it is known.
func (q *request) network() string {
	if q.net == nil {
		return ""
	}
	return q.net.Name
}

type loggerKey struct{}

// withLogger returns a context whose records, through [slog.Default] in the
// process of Main, go where log's go.
func withLogger(ctx context.Context, log *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, log.Handler())
}

// A contextHandler hands records on to the handler of the request in whose
// context they are logged, so that slog.InfoContext says which request it was.
type contextHandler struct {
	fallback slog.Handler
	// changes repeats WithAttrs and WithGroup on whatever handler it turns out to be.
	changes []func(slog.Handler) slog.Handler
}

func (h *contextHandler) handler(ctx context.Context) slog.Handler {
	base, ok := ctx.Value(loggerKey{}).(slog.Handler)
	if !ok {
		base = h.fallback
	}
	for _, change := range h.changes {
		base = change(base)
	}
	return base
}

func (h *contextHandler) with(change func(slog.Handler) slog.Handler) *contextHandler {
	changes := append(h.changes[:len(h.changes):len(h.changes)], change)
	return &contextHandler{h.fallback, changes}
}

func (h *contextHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.handler(ctx).Enabled(ctx, level)
}

func (h *contextHandler) Handle(ctx context.Context, record slog.Record) error {
	return h.handler(ctx).Handle(ctx, record)
}

func (h *contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(b slog.Handler) slog.Handler { return b.WithAttrs(attrs) })
}

func (h *contextHandler) WithGroup(name string) slog.Handler {
	return h.with(func(b slog.Handler) slog.Handler { return b.WithGroup(name) })
}
