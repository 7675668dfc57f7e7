// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/cnikit/cnikit/types"
)

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

// maxVersionInput bounds what VERSION reads of standard input, in bytes.
const maxVersionInput = 64 << 10

// askedVersion returns the cniVersion of standard input, or zero.
func (q *request) askedVersion(ctx context.Context) types.Version {
	if q.env.Stdin == nil {
		return 0
	}
	asked := make(chan types.Version, 1)
	go func() { asked <- statedVersion(readDocument(q.env.Stdin)) }()
	timer := time.NewTimer(q.times.version)
	defer timer.Stop()
	select {
	case version := <-asked:
		return version
	case <-timer.C:
	case <-ctx.Done():
	}
	return 0
}

// readDocument reads to the end of a JSON document, which need not be the end of
// the input.
func readDocument(r io.Reader) []byte {
	var data []byte
	chunk := make([]byte, 4096)
	for len(data) < maxVersionInput {
		n, err := r.Read(chunk)
		data = append(data, chunk[:n]...)
		if err != nil || json.Valid(data) {
			break
		}
	}
	return data
}

// statedVersion returns the cniVersion of a document. It is zero if there is none,
// whatever is wrong with it.
func statedVersion(document []byte) types.Version {
	var stated struct{ CNIVersion types.Version }
	if json.Unmarshal(document, &stated) != nil {
		return 0
	}
	return stated.CNIVersion
}
