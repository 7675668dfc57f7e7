// SPDX-License-Identifier: Apache-2.0

package skeltest

// untested says why a rule has no check.
func untested(rule Rule) string {
	switch {
	case rule.Level == "MAY":
		return "it permits something and demands nothing"
	case rule.Group() == "CONV":
		return "a plugin shows one result and no conversion; ADD, RES and VER judge the result of each version"
	}
	return "it does not show from outside, or only with knowledge of the plugin"
}
