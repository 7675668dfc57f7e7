// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"sync"

	"github.com/cnikit/cnikit/types"
)

// Started is a delegate on its way: its process has been started, but has not got
// its configuration, without which it cannot do anything. See [Start].
type Started struct {
	ctx    context.Context // ends the process; Start and Finish are one operation
	cancel context.CancelFunc
	call   types.Call
	d      delegate

	ended  chan struct{} // closed when stdout and err are there; nil if there is no process
	stdout []byte
	err    error

	once   sync.Once
	result *types.Result
}

// Start starts the IPAM plugin with call.Command, and does not wait for it. The
// plugin's process comes up while the caller does the work that has to be done
// first, such as making the interface that the addresses are for; then
// [Started.Finish] hands over the configuration. The time that a process takes to
// start is what a small plugin mostly costs.
//
// Whoever starts a delegate ends it by Finish or by [Started.Abandon]; of the two the
// second call does nothing:
//
//	s := ipam.Start(ctx, r.Call, r.Net.IPAM.Type)
//	defer s.Abandon()
//	… // make the interface; return if that fails
//	result, err := s.Finish()
//
// What a plugin inside this process costs is nothing, so it begins with Finish. An
// empty plugin is a network without addresses: nothing is started, and ADD has an empty
// result. All else is as for [Add] and, for the other commands, [Del].
func Start(ctx context.Context, call types.Call, plugin string) *Started {
	s := &Started{call: call}
	if plugin == "" {
		s.cancel = func() {}
		if call.Command == types.CommandAdd {
			s.result = &types.Result{}
		}
		return s
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.d, s.err = find(call, plugin)
	if s.err != nil || s.d.local != nil {
		return s
	}
	s.d.input = &heldInput{ready: make(chan struct{})}
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		s.stdout, s.err = s.d.run(s.ctx, call, call.Command)
	}()
	return s
}

// Release hands the configuration over and does not wait: the delegate is to work
// beside the caller. Finish or Abandon follow. A plugin inside this process does not begin
// before Finish.
func (s *Started) Release() {
	if s.ended != nil {
		s.d.input.release(s.call.Stdin)
	}
}

// Finish hands the configuration over, unless [Started.Release] has, waits for the end
// and returns the result, which is nil for all commands but ADD. After [Started.Abandon]
// the error is [context.Canceled].
func (s *Started) Finish() (*types.Result, error) {
	s.once.Do(func() {
		defer s.cancel()
		switch {
		case s.ended != nil:
			s.d.input.release(s.call.Stdin)
			<-s.ended
		case s.d.local != nil:
			s.stdout, s.err = s.d.run(s.ctx, s.call, s.call.Command)
		}
		if s.call.Command == types.CommandAdd && s.d.path != "" {
			s.result, s.err = s.d.settle(s.ctx, s.call, s.stdout, s.err, true)
		}
	})
	return s.result, s.err
}

// Abandon ends the delegate without a configuration. Should it have succeeded all
// the same, because it does not read any or has it already, then an ADD is followed by
// DEL.
func (s *Started) Abandon() {
	s.once.Do(func() {
		s.cancel()
		if s.ended != nil {
			s.d.input.release(nil)
			<-s.ended
			if s.err == nil && s.call.Command == types.CommandAdd {
				s.d.cleanUp(s.ctx, s.call)
			}
		}
		s.err = cmp.Or(s.err, context.Canceled)
	})
}

// Undo runs the delegate with DEL, to take back an ADD that Finish has returned the
// result of. It is a step for a caller whose own ADD fails later:
//
//	r.Undo(s.Undo)
//
// Spec: checklist DLG-009.
func (s *Started) Undo(ctx context.Context) error {
	if s.d.path == "" {
		return nil
	}
	d := s.d
	d.input = nil
	_, err := d.run(ctx, s.call, types.CommandDel)
	return err
}

// heldInput is standard input that waits until it is ready.
type heldInput struct {
	once  sync.Once
	ready chan struct{}
	text  bytes.Reader // not to be touched before
}

// release gives the text to who waits for it. What came first counts.
func (h *heldInput) release(text []byte) {
	h.once.Do(func() {
		h.text.Reset(text)
		close(h.ready)
	})
}

func (h *heldInput) Read(p []byte) (int, error) {
	<-h.ready
	return h.text.Read(p)
}

// stdin is what the delegate reads.
func (d delegate) stdin(call types.Call) io.Reader {
	if d.input != nil {
		return d.input
	}
	return bytes.NewReader(call.Stdin)
}
