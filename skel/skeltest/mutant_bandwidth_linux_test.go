// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// A limit is a request to limit bandwidth, with three flaws to choose from.
type limit struct {
	RuntimeConfig struct {
		Bandwidth struct{ IngressRate, IngressBurst, EgressRate, EgressBurst int }
	}
	Bytes, Kind, Swapped bool
}

// bandwidthPlugin limits what the container gets by tc(8), as the plugin of that name
// does. What the container sends it limits at the container's own end.
func bandwidthPlugin() skel.Plugin[limit] {
	return skel.Plugin[limit]{
		Name: "bandwidth", Chained: true, Add: addLimit,
		Del: skel.NothingToDo[limit], Check: skel.NothingToDo[limit], GC: skel.NothingToDo[limit], Status: skel.NothingToDo[limit],
	}
}

func addLimit(_ context.Context, r *skel.Request[limit]) (*types.Result, error) {
	b := r.Conf.RuntimeConfig.Bandwidth
	if (b.IngressRate == 0) != (b.IngressBurst == 0) || (b.EgressRate == 0) != (b.EgressBurst == 0) {
		if !r.Conf.Kind {
			return nil, types.NewError(types.ErrInvalidNetworkConfig, "bandwidth: a rate needs a burst", nil)
		}
	}
	inside := []string{"nsenter", "--net=" + r.Netns, "tc", "qdisc", "replace", "dev", r.IfName}
	outside := []string{"tc", "qdisc", "replace", "dev", "cnitesth0"}
	if r.Conf.Swapped {
		inside, outside = outside, inside
	}
	unit := "bit"
	if r.Conf.Bytes {
		unit = "bps" // which is bytes a second to tc
	}
	for _, side := range []struct {
		command []string
		rate    int
	}{{outside, b.IngressRate}, {inside, b.EgressRate}} {
		if side.rate == 0 {
			continue
		}
		command := append(side.command, "root", "tbf", "rate", fmt.Sprint(side.rate, unit), "burst", "100kb", "latency", "25ms")
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w: %s", command, err, out)
		}
	}
	return r.PrevResult, nil
}
