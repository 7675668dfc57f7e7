// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// ownDriver is this package's runtime with a directory of networks.
type ownDriver struct {
	runtime *skeltest.Runtime
	confDir string
}

func newOwnDriver(s skeltest.RuntimeSetup) (skeltest.RuntimeDriver, error) {
	return &ownDriver{&skeltest.Runtime{Path: s.Path, CacheDir: s.CacheDir}, s.ConfDir}, nil
}

func (d *ownDriver) Add(ctx context.Context, network string, a skeltest.Attachment) ([]byte, error) {
	n, err := types.FindNetwork(d.confDir, network)
	if err != nil {
		return nil, err
	}
	result, err := d.runtime.Add(ctx, n, a)
	if err != nil {
		return nil, err
	}
	return result.Encode(n.CNIVersion)
}

func (d *ownDriver) Check(ctx context.Context, network string, a skeltest.Attachment) error {
	n, err := types.FindNetwork(d.confDir, network)
	if err != nil {
		return err
	}
	return d.runtime.Check(ctx, n, a)
}

func (d *ownDriver) Del(ctx context.Context, network string, a skeltest.Attachment) error {
	n, err := types.FindNetwork(d.confDir, network)
	if err != nil {
		return err
	}
	return d.runtime.Del(ctx, n, a)
}

func (d *ownDriver) GC(ctx context.Context, network string, valid []types.Attachment) error {
	n, err := types.FindNetwork(d.confDir, network)
	if err != nil {
		return err
	}
	return d.runtime.GC(ctx, n, valid)
}

func (d *ownDriver) Status(ctx context.Context, network string) error {
	n, err := types.FindNetwork(d.confDir, network)
	if err != nil {
		return err
	}
	return d.runtime.Status(ctx, n)
}

// The runtime of this package breaks no rule, with recorders that are processes.
func TestExamineRuntime(t *testing.T) {
	t.Parallel()
	report, err := skeltest.ExamineRuntime(t.Context(), newOwnDriver, skeltest.ExamineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := broken(report); len(got) > 0 {
		var story strings.Builder
		if err := report.WriteText(&story, skeltest.TextOptions{}); err != nil {
			t.Error(err)
		}
		t.Errorf("broken rules = %q, want none:\n%s", got, story.String())
	}
	if got := len(report.IDs(skeltest.Passed)); got < 85 {
		t.Errorf("%d rules passed, want at least 85", got)
	}
}
