// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"testing"

	"github.com/cnikit/cnikit/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }
