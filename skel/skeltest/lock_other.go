// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package skeltest

import (
	"errors"
	"os"
	"time"

	"github.com/cnikit/cnikit/types"
)

func holdLocks(string) (release func(), n int, err error) { return func() {}, 0, nil }

func (*Delegate) hold(types.Command, string) (pipe string, err error) {
	return "", errors.ErrUnsupported
}

func openWhenRead(string, time.Duration) (*os.File, error) { return nil, errors.ErrUnsupported }
