// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"slices"

	"github.com/cnikit/cnikit/types"
)

// judgeVersions judges that a plugin which was asked for its versions, and did not tell
// them as newer plugins do, is sent no others than such an answer means. A runtime that
// does not ask has nothing to heed.
func (l *ledger) judgeVersions(records []Record) {
	last := map[string]*Record{}
	for i := range records {
		r := &records[i]
		if r.Command == types.CommandVersion && r.End != 0 {
			last[r.Plugin] = r
			continue
		}
		asked := last[r.Plugin]
		if asked == nil {
			continue
		}
		text, _ := r.object()["cniVersion"].(string)
		v, err := types.ParseVersion(text)
		if id, means := meaning(asked); id != "" && err == nil {
			l.expect(slices.Contains(means, v), id, types.Newest, []*Record{asked, r}, "%s of plugin %s in version %s, after an answer to VERSION that means %q", r.Command, r.Plugin, v, joined(means))
		}
	}
}

// meaning returns the versions that an answer to VERSION without a list means, and the
// rule that says so; no rule if it has a list.
func meaning(r *Record) (id string, versions []types.Version) {
	if r.failed() {
		return "VER-016", []types.Version{types.V010}
	}
	object := decoded(r.Stdout)
	if _, has := object["supportedVersions"].([]any); has {
		return "", nil
	}
	if object["cniVersion"] == types.V020.String() {
		return "VER-017", []types.Version{types.V010, types.V020}
	}
	return "VER-017", nil // malformed
}
