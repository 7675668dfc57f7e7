// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	reference "github.com/containernetworking/cni/pkg/types"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// libcniDriver is the reference runtime library, used as container runtimes use it:
// what it leaves to its callers is here.
type libcniDriver struct {
	cni     *libcni.CNIConfig
	confDir string
}

func newLibcniDriver(s skeltest.RuntimeSetup) (skeltest.RuntimeDriver, error) {
	return &libcniDriver{libcni.NewCNIConfigWithCacheDir(s.Path, s.CacheDir, nil), s.ConfDir}, nil
}

// conf returns a network and what to attach to it.
func (d *libcniDriver) conf(network string, a skeltest.Attachment) (*libcni.NetworkConfigList, *libcni.RuntimeConf, error) {
	l, err := libcni.LoadNetworkConf(d.confDir, network)
	rt := &libcni.RuntimeConf{ContainerID: a.ContainerID, NetNS: a.Netns, IfName: a.IfName, CapabilityArgs: map[string]any{}}
	for pair := range strings.SplitSeq(a.Args, ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			rt.Args = append(rt.Args, [2]string{key, value})
		}
	}
	for name, raw := range a.Capabilities {
		var value any
		err = errors.Join(err, json.Unmarshal(raw, &value))
		rt.CapabilityArgs[name] = value
	}
	return l, rt, err
}

func (d *libcniDriver) Add(ctx context.Context, network string, a skeltest.Attachment) ([]byte, error) {
	l, rt, err := d.conf(network, a)
	if err != nil {
		return nil, err
	}
	result, err := d.cni.AddNetworkList(ctx, l, rt)
	if err != nil {
		return nil, errors.Join(err, d.cni.DelNetworkList(ctx, l, rt))
	}
	return json.Marshal(result)
}

func (d *libcniDriver) Check(ctx context.Context, network string, a skeltest.Attachment) error {
	l, rt, err := d.conf(network, a)
	if err != nil {
		return err
	}
	return d.cni.CheckNetworkList(ctx, l, rt)
}

func (d *libcniDriver) Del(ctx context.Context, network string, a skeltest.Attachment) error {
	l, rt, err := d.conf(network, a)
	if err != nil {
		return err
	}
	return d.cni.DelNetworkList(ctx, l, rt)
}

func (d *libcniDriver) GC(ctx context.Context, network string, valid []types.Attachment) error {
	l, _, err := d.conf(network, skeltest.Attachment{})
	if err != nil {
		return err
	}
	args := &libcni.GCArgs{ValidAttachments: []reference.GCAttachment{}}
	for _, a := range valid {
		args.ValidAttachments = append(args.ValidAttachments, reference.GCAttachment{ContainerID: a.ContainerID, IfName: a.IfName})
	}
	return d.cni.GCNetworkList(ctx, l, args)
}

func (d *libcniDriver) Status(ctx context.Context, network string) error {
	l, _, err := d.conf(network, skeltest.Attachment{})
	if err != nil {
		return err
	}
	return d.cni.GetStatusNetworkList(ctx, l)
}

// deviations are the rules that libcni v1.3.0 is known to break, and how.
var deviations = map[string]string{
	"CACHE-002": "joins the names of an entry with dashes",
	"CACHE-014": "GC passes over a cache that it cannot read",
	"CHAIN-003": "a prevResult of the file reaches the first plugin",
	"CHAIN-010": "sends capabilities",
	"CHAIN-011": "sends the reserved keys of the file",
	"CHAIN-012": "reads numbers as floats",
	"CHAIN-029": "passes a result of another version on as it is",
	"CHK-003":   "has no prevResult after DEL, and sends CHECK without one",
	"CHK-016":   "the same",
	"CONF-007":  "keeps a version that it does not know, and lets the plugin answer",
	"CONF-043":  "one broken file keeps all networks from being found",
	"DEL-020":   "a prevResult of the file reaches the plugin",
	"ERR-024":   "an error object with exit status 0 is an empty result",
	"GC-016":    "a library takes no locks: its callers have to",
	"LIFE-003":  "the same",
	"RES-043":   "does not judge results",
	"STA-010":   "a prevResult of the file reaches the plugin",
}

// The reference runtime library, by the rules that bind runtimes, at every version. What
// it breaks is what it is known to break.
func TestExamineRuntime_libcni(t *testing.T) {
	t.Parallel()
	report, err := skeltest.ExamineRuntime(t.Context(), newLibcniDriver, skeltest.ExamineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{}
	for id := range deviations {
		want = append(want, id)
	}
	got := report.IDs(skeltest.Failed)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		var story strings.Builder
		if err := report.WriteText(&story, skeltest.TextOptions{}); err != nil {
			t.Error(err)
		}
		t.Errorf("libcni breaks %q, want %q:\n%s", got, want, story.String())
	}
}
