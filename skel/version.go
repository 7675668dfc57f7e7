// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/cnikit/cnikit/types"
)

// versionWait is how long VERSION waits for the version that it repeats. Runtimes
// of old send none, and some leave standard input open.
const versionWait = 200 * time.Millisecond

// versionInfo returns the answer to VERSION, which nothing on standard input can
// make fail.
//
// Spec: CNI 1.1.0, section 2, "VERSION"; checklist VER-002 to VER-008, AMB-004,
// AMB-012.
func (q *request) versionInfo(ctx context.Context) []byte {
	versions := slices.Clone(q.program.versions)
	slices.Sort(versions)
	versions = slices.Compact(versions)
	info := types.VersionInfo{CNIVersion: q.askedVersion(ctx), SupportedVersions: versions}
	if !slices.Contains(versions, info.CNIVersion) {
		info.CNIVersion = q.program.newest()
	}
	return info.Encode()
}

// askedVersion returns the cniVersion of standard input, or zero.
func (q *request) askedVersion(ctx context.Context) types.Version {
	if q.env.Stdin == nil {
		return 0
	}
	asked := make(chan types.Version, 1)
	go func() {
		// A Decoder returns at the end of the object, which need not be the end of
		// the input. Whatever is wrong with it, no version was asked for.
		var document struct{ CNIVersion json.RawMessage }
		var version types.Version
		if json.NewDecoder(q.env.Stdin).Decode(&document) == nil && json.Unmarshal(document.CNIVersion, &version) != nil {
			version = 0
		}
		asked <- version
	}()
	timer := time.NewTimer(versionWait)
	defer timer.Stop()
	select {
	case version := <-asked:
		return version
	case <-timer.C:
	case <-ctx.Done():
	}
	return 0
}
