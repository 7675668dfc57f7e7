// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nsfs"
)

// Backends, as configurations name them.
const (
	NFTables = "nftables"
	IPTables = "iptables"
)

// Config says how to open the firewall.
type Config struct {
	// Backend is [NFTables] or [IPTables]. If empty, nftables where the kernel has it,
	// else iptables.
	Backend string
	// Log is told which backend was chosen and why, and what is repaired. If nil,
	// nothing is logged.
	Log *slog.Logger
}

// Host is the firewall of a network namespace. Its methods may be called concurrently.
type Host struct {
	conn    *conn
	log     *slog.Logger
	backend string
	wanted  string // by the configuration
	why     string // the backend was chosen, if nothing was wanted
	hasNFT  bool   // whether the kernel has nf_tables
	ns      int    // descriptor of the network namespace, for programs
	nsID    nsfs.ID
	noIPSet bool // for tests: as if the kernel had no ip_set

	announced sync.Once
}

// Open opens the firewall of the network namespace of the calling thread. The error is
// [errors.ErrUnsupported] if the machine lacks the backend asked for, or any.
func Open(_ context.Context, c Config) (*Host, error) {
	h := &Host{log: c.Log, ns: -1, wanted: c.Backend}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if h.conn, err = dial(); err != nil {
		return nil, err
	}
	if h.ns, h.nsID, err = nsfs.OpenSelf(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.conn.enter = h.inside
	noNFT := h.conn.askNFT()
	h.hasNFT = noNFT == nil
	if err := h.choose(c.Backend, noNFT); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Close lets go of the firewall. Nothing may use it any longer.
func (h *Host) Close() error {
	err := h.conn.close()
	if h.ns >= 0 {
		err = errors.Join(err, unix.Close(h.ns))
		h.ns = -1
	}
	return err
}

// Backend returns the backend in use, [NFTables] or [IPTables].
func (h *Host) Backend() string { return h.backend }

// choose settles the backend: the one wanted or, if that is empty, the best there is.
// noNFT says why the kernel does not offer nf_tables.
func (h *Host) choose(wanted string, noNFT error) error {
	switch wanted {
	case NFTables:
		if noNFT != nil {
			return unsupported(NFTables, noNFT)
		}
		h.backend = NFTables
	case IPTables:
		if err := findIPTables(); err != nil {
			return err
		}
		h.backend = IPTables
	case "":
		return h.detect(noNFT)
	default:
		return fmt.Errorf("firewall backend %q: neither %q nor %q", wanted, NFTables, IPTables)
	}
	return nil
}

// detect chooses the backend when the configuration does not.
func (h *Host) detect(noNFT error) error {
	if noNFT == nil {
		h.backend, h.why = NFTables, "the kernel has nf_tables"
		return nil
	}
	if err := findIPTables(); err != nil {
		return errors.Join(unsupported(NFTables, noNFT), err)
	}
	h.backend, h.why = IPTables, "the kernel has no nf_tables: "+noNFT.Error()
	return nil
}

// announce tells once which backend was chosen and why, if the configuration did not
// say. Only who sets something up wants to know.
func (h *Host) announce(ctx context.Context) {
	h.announced.Do(func() {
		if h.why != "" {
			h.log.InfoContext(ctx, "firewall backend chosen", "backend", h.backend, "why", h.why)
		}
	})
}

// unsupported says that the machine lacks a backend. Lack of permission is not that.
func unsupported(backend string, err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("firewall backend %s: %w", backend, err)
	}
	return fmt.Errorf("firewall backend %s: %w: %w", backend, errors.ErrUnsupported, err)
}

// findIPTables looks for the program without running it.
func findIPTables() error {
	if _, err := exec.LookPath("iptables"); err != nil {
		return unsupported(IPTables, err)
	}
	return nil
}
