// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"testing"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/ipam/storetest"
)

func TestFileStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) ipam.Store {
		return ipam.FileStore{Dir: t.TempDir(), Network: "net"}
	})
}
