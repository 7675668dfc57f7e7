// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package skeltest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/cnikit/cnikit/skel"
)

// Main is the TestMain of a package with plugins: when a runtime executes the test
// binary it is one of them. There are no network namespaces on this system.
func Main(m *testing.M, plugins ...skel.Runner) {
	if os.Getenv("CNI_COMMAND") != "" {
		playRecorder()
		skel.Main(plugins...)
	}
	os.Exit(m.Run())
}

// Namespace is a network namespace, which this system does not have.
type Namespace struct{}

// NewNamespace fails with an error that is [errors.ErrUnsupported].
func NewNamespace() (*Namespace, error) {
	return nil, fmt.Errorf("network namespace: %w", errors.ErrUnsupported)
}

// New skips the test.
func New(t testing.TB) *Namespace {
	t.Helper()
	t.Skip("this system has no network namespaces")
	return nil
}

// Close does nothing.
func (*Namespace) Close() error { return nil }

// Path returns nothing.
func (*Namespace) Path() string { return "" }

// Start starts a process.
func (*Namespace) Start(cmd *exec.Cmd) error { return cmd.Start() }

// Snapshot fails with an error that is [errors.ErrUnsupported].
func (*Namespace) Snapshot() (Snapshot, error) {
	return "", fmt.Errorf("network namespace: %w", errors.ErrUnsupported)
}

func (*Namespace) links() ([]linkState, error) { return nil, errors.ErrUnsupported }

func (*Namespace) addVeth(*Namespace, string, string, netip.Prefix, netip.Addr) (hostMAC, mac string, err error) {
	return "", "", errors.ErrUnsupported
}

func (*Namespace) setDown(int) error { return errors.ErrUnsupported }

func (*Namespace) addAddr(int, netip.Prefix) error { return errors.ErrUnsupported }

func (*Namespace) delAddr(int, netip.Prefix) error { return errors.ErrUnsupported }

func (*Namespace) delRoute(int, routeState) error { return errors.ErrUnsupported }

func (*Namespace) delLink(string, string) error { return errors.ErrUnsupported }

type qdiscState struct {
	link string
	rate uint64
}

func (*trial) shapers() []qdiscState { return nil }
