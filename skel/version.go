// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"time"

	"github.com/cnikit/cnikit/types"
)

// versionInfo returns the answer to VERSION, which nothing on standard input can
// make fail.
//
// Spec: CNI 1.1.0, section 2, "VERSION"; checklist VER-002 to VER-008, AMB-004,
// AMB-012.
func (q *request) versionInfo(ctx context.Context) []byte {
	info := types.VersionInfo{CNIVersion: q.askedVersion(ctx)}
	newest := q.program.newest()
	for v := types.Version(0); v != newest; {
		v = q.program.next(v)
		info.SupportedVersions = append(info.SupportedVersions, v)
	}
	if !types.Supports(info.SupportedVersions, info.CNIVersion) {
		info.CNIVersion = newest
	}
	return info.Encode()
}

// next returns the oldest version that the plugin supports and that is newer than v.
func (p *program) next(v types.Version) types.Version {
	next := p.newest()
	for _, have := range p.versions {
		if have > v {
			next = min(next, have)
		}
	}
	return next
}

// maxVersionInput bounds what VERSION reads of standard input, in bytes.
const maxVersionInput = 64 << 10

// A poller is a reader that can tell, without reading, whether there is something to
// read.
type poller interface {
	io.Reader
	// readable reports whether Read would return at once, and waits for that.
	readable(wait time.Duration) bool
}

// A timedReader reads until a deadline.
type timedReader struct {
	poller
	deadline time.Time
}

func (r timedReader) Read(p []byte) (int, error) {
	if !r.readable(time.Until(r.deadline)) {
		return 0, os.ErrDeadlineExceeded
	}
	return r.poller.Read(p)
}

// askedVersion returns the cniVersion of standard input, or zero.
func (q *request) askedVersion(ctx context.Context) types.Version {
	if q.env.Stdin == nil {
		return 0
	}
	if p, ok := q.env.Stdin.(poller); ok {
		// Neither goroutine nor timer: each would cost a thread, and the plugin starts
		// and ends with this.
		return statedVersion(readDocument(timedReader{p, time.Now().Add(q.times.version)}))
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
		if err != nil || bareVersion(data) != 0 || json.Valid(data) {
			break
		}
	}
	return data
}

// statedVersion returns the cniVersion of a document. It is zero if there is none,
// whatever is wrong with it.
func statedVersion(document []byte) types.Version {
	if v := bareVersion(document); v != 0 {
		return v
	}
	var stated struct{ CNIVersion types.Version }
	if json.Unmarshal(document, &stated) != nil {
		return 0
	}
	return stated.CNIVersion
}

// bareVersion returns the version of a document that has nothing else, which is what
// runtimes send with VERSION, and zero for any other. It saves the process from
// touching the pages of package json.
func bareVersion(document []byte) types.Version {
	rest := string(document)
	for _, token := range [...]string{"{", `"cniVersion"`, ":", `"`} {
		var ok bool
		if rest, ok = strings.CutPrefix(strings.TrimSpace(rest), token); !ok {
			return 0
		}
	}
	text, rest, _ := strings.Cut(rest, `"`)
	if strings.TrimSpace(rest) != "}" {
		return 0
	}
	v, err := types.ParseVersion(text)
	if err != nil {
		return 0
	}
	return v
}
