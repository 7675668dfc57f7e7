// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cnikit/cnikit/netutil"
)

// barePackage is the program to compare with: what the kernel and a process cost.
const barePackage = "github.com/cnikit/cnikit/internal/bench/testdata/bare"

// buildBare builds the bare program into a directory, as small as plugins are, and returns a
// copy of it, as of those; see [installed].
func buildBare(dir string) (path string, err error) {
	built, copied := filepath.Join(dir, "built"), filepath.Join(dir, "bare")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(built, "bare"), barePackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the bare program: %w\n%s", err, out)
	}
	return filepath.Join(copied, "bare"), os.CopyFS(copied, os.DirFS(built))
}

// newBare returns the contender that the bare program is. Its host has the bridge that
// it wants.
func newBare(ctx context.Context, s scenario, path string) (*contender, error) {
	c, err := newContender(s, folder{})
	if err != nil {
		return nil, err
	}
	c.bare = path
	return c, c.onHost(func(host *netutil.Conn) error {
		_, _, err := host.EnsureBridge(ctx, "br0", netutil.BridgeConfig{})
		return err
	})
}

func (c *contender) delLink(name string) error {
	return c.onHost(func(host *netutil.Conn) error { return host.DelLink(context.Background(), name, "veth") })
}

func (c *contender) onHost(f func(*netutil.Conn) error) error {
	host, err := netutil.Open(c.host)
	if err != nil {
		return err
	}
	return errors.Join(f(host), host.Close())
}
