// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cnikit/cnikit/internal/early"
	"github.com/cnikit/cnikit/types"
)

// A program is a Plugin without its type parameter: the protocol around the
// handlers.
type program struct {
	name, about         string
	versions            []types.Version
	chained, needsNetns bool
	strict              bool
	timeout             time.Duration

	// lacks reports whether there is no handler for a command.
	lacks func(types.Command) bool
	// prepare decodes the plugin's own configuration.
	prepare func(command, *request) (job, error)
}

// A job is a handler that has its request, and where it wants the log.
type job struct {
	log LogOptions
	run func(context.Context, *slog.Logger) (*types.Result, error)
}

// A request is what a program knows of one execution. Only the goroutine that runs
// the program writes to it: a handler may have been left alone.
type request struct {
	program *program
	env     Env
	times   times

	call       types.Call
	net        *types.PluginConfig
	prevResult *types.Result
	valid      []types.Attachment
	traceID    string
	undo       *undoStack
	ownNetns   bool

	log     *slog.Logger
	logFile *os.File
}

func (p *program) run(ctx context.Context, env Env) (exit int) {
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.timeout, &timeoutError{p.name, p.timeout})
		defer cancel()
	}
	q := &request{program: p, env: env, times: env.times.orDefault(), traceID: env.traceID(), undo: &undoStack{}}
	defer q.closeLog()
	var document []byte
	err := guarded(func() (err error) {
		document, err = q.answer(ctx)
		return err
	})
	if err != nil {
		return q.refuse(ctx, err)
	}
	if err := q.deliver(ctx, document); err != nil {
		// Standard output is broken: there is nowhere to put an error object.
		if q.log == nil {
			q.openLog(LogOptions{}) // VERSION needs none otherwise
		}
		q.log.Error("the answer cannot be written", "cause", errors.Join(err, q.undo.run(ctx, q.times)))
		return 1
	}
	return 0
}

// A timeoutError is the error of a plugin whose Timeout is over. It is a type since one is
// made for each request, and hardly any is read.
type timeoutError struct {
	plugin  string
	timeout time.Duration
}

func (e *timeoutError) Error() string {
	return e.plugin + " did not finish within " + e.timeout.String() + ": " + e.Unwrap().Error()
}

func (e *timeoutError) Unwrap() error { return types.ErrTryAgainLater }

// refuse undoes what a failed ADD did and answers with an error.
func (q *request) refuse(ctx context.Context, err error) (exit int) {
	var p *panicError
	if errors.As(err, &p) {
		fmt.Fprint(q.env.stderr(), q.redact(fmt.Sprintf("%v\n%s", p, p.stack)))
	}
	if q.call.Command == types.CommandAdd {
		if undone := q.undo.run(ctx, q.times); undone != nil {
			// Not wrapped: the code is that of the failure, not of the undoing.
			err = fmt.Errorf("%w\nundo: %v", err, undone) //nolint:errorlint
		}
	}
	if werr := q.deliver(ctx, q.errorDocument(err)); werr != nil {
		q.log.Error("the error cannot be written", "error", err, "cause", werr)
	}
	return 1
}

// errNoStdout is the error of an answer that has nowhere to go.
var errNoStdout = errors.New("standard output is closed, or the null device")

// deliver writes a document and a newline to standard output, at once.
func (q *request) deliver(ctx context.Context, document []byte) error {
	if len(document) == 0 {
		return nil
	}
	if q.env.Stdout == nil {
		return errNoStdout
	}
	write := func() error {
		_, err := q.env.Stdout.Write(append(document, '\n'))
		return err
	}
	if ctx.Done() == nil {
		return guarded(write)
	}
	// A reader that stopped reading must not keep a cancelled plugin alive.
	return await(ctx, q.times.stop, write)
}

// answer returns the document for standard output, or nil for none. The steps
// have the order of the specification's own checks.
//
// Spec: checklist PROTO-048.
func (q *request) answer(ctx context.Context) ([]byte, error) {
	name := q.env.getenv(envCommand)
	if name == string(types.CommandVersion) {
		return q.versionInfo(ctx), nil
	}
	early.GrowStack()
	q.openLog(LogOptions{})
	cmd, err := findCommand(name)
	if err != nil {
		if name == "" {
			q.program.help(q.env.stderr())
		}
		return nil, err
	}
	if err := q.program.complete(); err != nil {
		return nil, err
	}
	if q.call, err = q.env.parameters(cmd, q.log); err != nil {
		return nil, err
	}
	if err := q.readConfig(ctx, cmd); err != nil {
		return nil, err
	}
	q.call.Netns, q.ownNetns, err = guardNetns(cmd, q.call.Netns, q.program.needsNetns, q.env.getenv(envOverride), q.log)
	if err != nil {
		return nil, err
	}
	return q.execute(ctx, cmd)
}

// complete reports whether there is a handler for each command that the versions
// of the plugin have.
func (p *program) complete() error {
	var lacking []string
	for _, cmd := range commands() {
		if p.supportsSince(cmd.since) && p.lacks(cmd.name) {
			lacking = append(lacking, string(cmd.name))
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return fmt.Errorf("plugin %s has no handler for %s; a command with nothing to do wants skel.NothingToDo", p.name, strings.Join(lacking, ", "))
}

func (p *program) supportsSince(since types.Version) bool {
	for _, v := range p.versions {
		if v >= since {
			return true
		}
	}
	return false
}

// newest returns the newest version that the plugin supports.
func (p *program) newest() types.Version {
	var newest types.Version
	for _, v := range p.versions {
		newest = max(newest, v)
	}
	return newest
}

// readConfig reads standard input and judges the version.
func (q *request) readConfig(ctx context.Context, cmd command) error {
	stdin, err := q.env.readStdin(ctx)
	if err != nil {
		return types.NewError(types.ErrIOFailure, "read standard input", err)
	}
	q.call.Stdin = stdin
	if q.env.secrets != nil {
		q.env.secrets.Store(&types.Call{Environ: q.env.Environ, Stdin: stdin})
	}
	net, err := types.ParsePluginConfig(stdin)
	if err != nil {
		return err
	}
	if err := q.judgeVersion(cmd, net.CNIVersion); err != nil {
		return err
	}
	q.net, q.call.CNIVersion = net, net.CNIVersion
	q.openLog(LogOptions{})
	return q.readContext(cmd)
}

// judgeVersion refuses a version that the plugin does not support, and one that
// does not have the command.
//
// Spec: CNI 1.1.0, section 5, "Error", code 1; checklist VER-009, VER-010,
// VER-014, VER-015, AMB-013.
func (q *request) judgeVersion(cmd command, v types.Version) error {
	if !types.Supports(q.program.versions, v) {
		return &types.Error{
			Code:    types.ErrIncompatibleCNIVersion,
			Msg:     "CNI version " + v.String() + " is not supported",
			Details: "supported: " + versionList(q.program.versions),
		}
	}
	if v < cmd.since {
		return types.NewError(types.ErrIncompatibleCNIVersion, "CNI version "+v.String()+" has no "+string(cmd.name)+", which is since "+cmd.since.String(), nil)
	}
	return nil
}

func versionList(versions []types.Version) string {
	var text []string
	for _, v := range versions {
		text = append(text, v.String())
	}
	return strings.Join(text, ", ")
}

// readContext reads what the runtime added to the configuration.
//
// Spec: checklist CHAIN-019, CHAIN-022 to CHAIN-024, CHK-004, DEL-009, DEL-010,
// GC-018 to GC-021, AMB-065, AMB-067.
func (q *request) readContext(cmd command) (err error) {
	if cmd.prevResult != unused {
		q.prevResult, err = q.net.PrevResult()
	}
	switch {
	case err != nil && cmd.lenient:
		q.log.Warn("prevResult: passed over", "cause", err)
		q.prevResult = nil
	case err != nil:
		return err
	case q.prevResult == nil && (cmd.prevResult == required || cmd.name == types.CommandAdd && q.program.chained):
		text := "prevResult: required for " + string(cmd.name) + " and missing"
		if v := q.net.CNIVersion; v < types.V030 { // one that is there is ignored: CHAIN-032
			text += "; CNI version " + v.String() + " has none, " + types.V030.String() + " is the first that chains plugins"
		}
		return types.NewError(types.ErrInvalidNetworkConfig, text, nil)
	}
	if cmd.attachments == required {
		q.valid, err = q.net.ValidAttachments()
		return err
	}
	return nil
}

// execute calls the handler and encodes what it returns.
func (q *request) execute(ctx context.Context, cmd command) ([]byte, error) {
	var j job
	err := await(ctx, q.times.stop, func() (err error) {
		j, err = q.program.prepare(cmd, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	if j.log != (LogOptions{}) {
		q.openLog(j.log)
	}
	var result *types.Result
	log := q.log
	err = await(ctx, q.times.stop, func() (err error) {
		result, err = j.run(withLogger(ctx, log), log)
		return err
	})
	switch {
	case err != nil:
		return nil, ended(ctx, err)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case cmd.name != types.CommandAdd:
		return nil, nil
	case result == nil:
		return nil, errors.New("ADD returned no result")
	}
	if lost := result.Lost(q.call.CNIVersion); len(lost) > 0 {
		q.log.Debug("the version of the request cannot express all of the result", "lost", lost)
	}
	document, err := result.Encode(q.call.CNIVersion)
	if err != nil {
		// The plugin is wrong, not the configuration: ERR-006.
		return nil, types.NewError(types.ErrInternal, "the result cannot be sent", err)
	}
	return document, nil
}

// ended returns the error of a handler with why its context ended, if it did. What a
// handler says then is what it waited for: the context's error, or that of a program that
// was killed. An error that has a code keeps it.
func ended(ctx context.Context, err error) error {
	var coded *types.Error
	var c types.Code
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) || errors.As(err, &coded) || errors.As(err, &c) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// decode reads the plugin's own part of the configuration.
func (q *request) decode(cmd command, conf any) error {
	switch {
	case cmd.lenient:
		for _, err := range q.net.DecodeLenient(conf) {
			q.log.Warn("configuration: passed over", "cause", err)
		}
		return nil
	case q.program.strict:
		return q.net.DecodeStrict(conf)
	}
	return q.net.Decode(conf)
}

// errorDocument returns the error object for err. An error without a code gets
// one here and nowhere else.
//
// Spec: checklist ERR-004, ERR-005, ERR-021, ERR-022, ERR-025.
func (q *request) errorDocument(err error) []byte {
	e := types.Error{Code: code(err), Msg: err.Error()}
	var coded *types.Error
	if errors.As(err, &coded) {
		e = *coded
		if text := err.Error(); text != coded.Error() {
			e.Details = strings.TrimPrefix(text, e.Msg+": ")
		}
	}
	e.Details = q.details(e)
	e.Msg = q.said(e.Msg)
	e.CNIVersion = q.program.newest()
	if v := statedVersion(q.call.Stdin); types.Supports(q.program.versions, v) {
		e.CNIVersion = v
	}
	return e.Encode()
}

// said returns a text of a handler, of a delegate or of a panic as the runtime gets it:
// without the secrets of the request, and cut where somebody put a document into it.
//
// Spec: checklist ERR-025, AMB-058.
func (q *request) said(text string) string {
	const most = 16 << 10
	// More than is said, so that what is cut is no half of a secret.
	text = clip(text, 4*most)
	return clip(q.redact(text), most)
}

// redact returns a text without the secrets of the request.
func (q *request) redact(text string) string {
	return types.Call{Environ: q.env.Environ, Stdin: q.call.Stdin}.Redact(text)
}

// clip cuts a text that is longer than so many bytes.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// code returns the code of an error that is no types.Error.
func code(err error) types.Code {
	var c types.Code
	switch {
	case errors.As(err, &c):
		return c
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return types.ErrTryAgainLater
	}
	return types.ErrInternal
}

// details returns the details of an error, which tell what the request was about.
// If they name the container already, as those of a delegate do, they stay as they
// are.
func (q *request) details(e types.Error) string {
	text := e.Details
	if text == "" && e.Err != nil {
		text = e.Err.Error()
	}
	text = q.said(text)
	where := q.where()
	switch {
	case text == "":
		return where
	case q.call.ContainerID != "" && strings.Contains(text, "container "+q.call.ContainerID):
		return text
	}
	return text + " (" + where + ")"
}

// mostName is how many bytes of a name an error gives: one that is not valid may be of
// any size.
const mostName = 80

// where names what the request was about.
func (q *request) where() string {
	text := "plugin " + q.program.name
	for _, part := range [...][2]string{
		{", network ", q.network()},
		{", container ", q.call.ContainerID},
		{", interface ", q.call.IfName},
	} {
		if part[1] != "" {
			text += part[0] + clip(part[1], mostName)
		}
	}
	return text
}
