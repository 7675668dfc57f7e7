// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"errors"

	"github.com/cnikit/cnikit/types"
)

// With shares a DEL, CHECK, GC or STATUS between the caller, whose part is own, and the
// IPAM plugin, whose process comes up meanwhile:
//
//	DEL, GC   own first: until it is done nobody else may get the address
//	CHECK     both at once
//	STATUS    own first, and the plugin only if that succeeded
//
// All but STATUS run both parts, whatever becomes of the other one, and join the errors.
// An empty plugin is a network without addresses: then own is all there is. All else is
// as for [Add]. An ADD is not shared like that, see [Start].
//
// Spec: CNI 1.1.0, section 4; checklist DLG-007, DEL-014 to DEL-016, CHK-014, GC-011,
// STA-008.
func With(ctx context.Context, call types.Call, plugin string, own func(ctx context.Context) error) error {
	s := Start(ctx, call, plugin)
	defer s.Abandon()
	if call.Command == types.CommandCheck {
		s.Release()
	}
	err := own(ctx)
	if err != nil && call.Command == types.CommandStatus {
		return err
	}
	_, delegated := s.Finish()
	return errors.Join(err, delegated)
}
