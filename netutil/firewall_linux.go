// SPDX-License-Identifier: Apache-2.0

package netutil

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cnikit/cnikit/internal/firewall"
)

// Backends of the firewall, as the configuration keys ipMasqBackend and backend name
// them.
const (
	NFTables = firewall.NFTables
	IPTables = firewall.IPTables
)

// String returns the owner as errors name it.
func (o Owner) String() string { return firewall.Owner(o).String() }

// FirewallConfig says how to open the firewall of a network namespace.
type FirewallConfig struct {
	// Backend is [NFTables] or [IPTables]. If empty, nftables is used where the kernel
	// has what is needed of it, else iptables; the choice is logged, on level debug unless
	// it is iptables. What removes and lists looks at both, so for DEL and GC it is best
	// left empty: a backend that the machine has lost does not stand in the way then.
	Backend string
	// Log gets the choice of the backend and what is repaired. If nil, nothing is logged.
	Log *slog.Logger
}

// Validate refuses a backend that there is not. Whether the machine has it shows when it is
// opened.
func (c FirewallConfig) Validate() error {
	switch c.Backend {
	case "", NFTables, IPTables:
		return nil
	}
	return fmt.Errorf("%q is not valid; want %q or %q", c.Backend, NFTables, IPTables)
}

// errNoKeep refuses a garbage collection without a list: absent is not empty.
var errNoKeep = errors.New("collect: the list of what to keep is absent")

// openIfThere is nil and no error on a host without a firewall, which has nothing to
// remove.
func openIfThere[T any](opened *T, err error) (*T, error) {
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	return opened, err
}

// owners converts a list.
func owners(list []Owner) []firewall.Owner {
	all := make([]firewall.Owner, len(list))
	for i, o := range list {
		all[i] = firewall.Owner(o)
	}
	return all
}
