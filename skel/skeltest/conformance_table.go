// SPDX-License-Identifier: Apache-2.0

package skeltest

import "slices"

// A check is the test of one rule.
type check struct {
	id    string
	kinds []Kind // empty: all
	needs need
	// once says that one version is enough, the newest of those it applies to. It always
	// is for what can only give advice.
	once bool
	run  func(*trial)
}

// A need is what a check cannot do without.
type need int

const (
	needNothing   need = iota
	needNamespace      // privileges for network namespaces
	needAdd            // namespaces, and a configuration that ADD succeeds with
	needDelegate       // the same, and that the plugin runs an IPAM plugin
	needPlainAdd       // an ADD that succeeds, which takes no privileges for an IPAM plugin, and for a chained one perhaps
)

// checks returns all checks that there are.
func checks() []check {
	return slices.Concat(confChecks(), protoChecks(), versionChecks(), argsChecks(), errorChecks(),
		addChecks(), resultChecks(), checkChecks(), delChecks(), statusChecks(), gcChecks(), chainChecks(), delegateChecks(), ipamChecks(), lifeChecks(),
		convertChecks(), capabilityChecks(), bandwidthChecks(), rangeChecks(), sourceChecks())
}
