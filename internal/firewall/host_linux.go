// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"time"

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
	// Backend is [NFTables] or [IPTables]. If empty, nftables where the kernel has what
	// is needed of it, else iptables.
	Backend string
	// Log is told which backend was chosen and why, on level debug unless that is not
	// the better one, and what is repaired. If nil, nothing is logged.
	Log *slog.Logger
}

// Host is the firewall of a network namespace. Its methods may be called concurrently.
type Host struct {
	conn   *conn
	log    *slog.Logger
	wanted string // backend, by the configuration
	hasNFT bool   // whether the kernel has nf_tables
	ns     int    // descriptor of the network namespace, for programs
	nsID   nsfs.ID

	noIPSet       bool          // for tests: as if the kernel had no ip_set
	xtablesWait   time.Duration // for the lock that all iptables share
	exclusiveWait time.Duration // for our own lock of the network namespace

	mu        sync.Mutex // of the choice
	backend   string
	why       string // the backend was chosen, if nothing was wanted
	fallback  bool   // whether nftables would have been better
	announced bool
}

// How long to wait for a lock that others may hold. Who holds ours may run several
// iptables, each of which waits.
const (
	xtablesWait   = 10 * time.Second
	exclusiveWait = time.Minute
)

// Open opens the firewall of the network namespace of the calling thread. The error is
// [errors.ErrUnsupported] if the machine lacks the backend asked for, or any, and
// [fs.ErrPermission] if the process may not even look.
func Open(_ context.Context, c Config) (*Host, error) {
	h := &Host{log: c.Log, ns: -1, wanted: c.Backend, xtablesWait: xtablesWait, exclusiveWait: exclusiveWait}
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
	noNFT := h.conn.askNFT()
	if errors.Is(noNFT, unix.EPERM) {
		err := fmt.Errorf("open the firewall: the process lacks CAP_NET_ADMIN in the user namespace of its network namespace: %w", noNFT)
		return nil, errors.Join(err, h.Close())
	}
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
func (h *Host) Backend() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.backend
}

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
	h.fallBack("the kernel has no nf_tables: " + noNFT.Error())
	return nil
}

// fallBack makes iptables the backend.
func (h *Host) fallBack(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.backend, h.why, h.fallback, h.announced = IPTables, why, true, false
}

// ensuring calls f, which sets something up with the backend in use. If the configuration left
// the backend open and the kernel turns out to lack something of nftables, it calls f
// again with iptables. That is known only by trying: the kernel has no list of what it can.
func (h *Host) ensuring(ctx context.Context, f func() error) error {
	err := f()
	if errors.Is(err, errLacks) && h.wanted == "" {
		if e := findIPTables(); e != nil {
			return errors.Join(err, e)
		}
		h.fallBack(err.Error())
		err = f()
	}
	if err == nil {
		h.announce(ctx)
	}
	return err
}

// checking returns the error of a check with the backend in use. If the configuration left the
// backend open, and nftables has no table t, what is to be there may have been made with
// iptables: then by, which checks that, decides.
func (h *Host) checking(err error, t table, by func() error) error {
	if err == nil || h.wanted != "" || h.Backend() != NFTables || findIPTables() != nil {
		return err
	}
	if there, e := h.conn.hasTable(t); e != nil || there {
		return errors.Join(err, e)
	}
	if by() == nil {
		return nil
	}
	return err
}

// ready returns an error unless something can be set up that needs a layout of nftables, or
// iptables in its place. Where a table of the kind is, which its prefix tells, it can; else it
// is tried, and nothing is left of that. The error is [errors.ErrUnsupported] if not.
func (h *Host) ready(prefix string, l layout) error {
	if h.Backend() == IPTables {
		return nil // it was looked for
	}
	there, err := h.conn.hasTableLike(l.table.family, prefix)
	if err != nil || there {
		return err
	}
	if h.conn.noNAT {
		l = l.withoutNAT()
	}
	err = h.conn.try(l)
	if !errors.Is(err, errLacks) || h.wanted != "" {
		return err
	}
	if e := findIPTables(); e != nil {
		return errors.Join(err, e)
	}
	return nil
}

// announce tells once which backend was chosen and why, if the configuration did not
// say. Only who sets something up wants to know, and a node where all is well does not
// want to hear it at each ADD.
func (h *Host) announce(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.announced || h.why == "" {
		return
	}
	h.announced = true
	level := slog.LevelDebug
	if h.fallback {
		level = slog.LevelInfo
	}
	h.log.Log(ctx, level, "firewall backend chosen", "backend", h.backend, "why", h.why)
}

// unsupported says that the machine lacks a backend.
func unsupported(backend string, err error) error {
	return fmt.Errorf("firewall backend %s: %w: %w", backend, errors.ErrUnsupported, err)
}

// findIPTables looks for the program without running it.
func findIPTables() error {
	if _, err := exec.LookPath("iptables"); err != nil {
		return unsupported(IPTables, err)
	}
	return nil
}
