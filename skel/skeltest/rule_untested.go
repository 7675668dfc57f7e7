// SPDX-License-Identifier: Apache-2.0

package skeltest

// untested says why a rule has no check.
func untested(rule Rule) string {
	if why, ok := untestable()[rule.ID]; ok {
		return why
	}
	return "it permits something and demands nothing"
}

// untestable are the rules that bind plugins, demand something, and have no check: why
// that is. A rule that only permits something needs no entry.
func untestable() map[string]string {
	const (
		library  = "it is about a library that converts results, of which a plugin shows nothing else than what the other rules of CONV judge"
		guidance = "it is advice to who designs a configuration, and no behaviour"
		network  = "a case has no way out of its namespaces, so a plugin that needs one fails; that it does not try does not show"
	)
	return map[string]string{
		"CONF-013":  "disableCheck is a key of the list, which a plugin is not sent",
		"CONF-035":  "which of the well-known keys a plugin reads, and what they mean to it, only its author knows",
		"DEL-013":   "which of its steps are a mere courtesy only the plugin knows",
		"CHK-012":   "why a container cannot be reached is in the world of the plugin, such as a daemon that is down",
		"STA-003":   "a service that the plugin needs is unknown to the kit, which cannot stop it",
		"CHAIN-020": "whether a plugin cares who made the interface is its own decision; behind others it is judged by CHAIN-013 and CHAIN-018",
		"RES-030":   "it permits to drop a zero; that a plugin drops nothing else is for ADD-022",
		"CONV-001":  library,
		"CONV-002":  library,
		"CONV-004":  library,
		"CONV-005":  library,
		"CONV-012":  "when a plugin decides is hidden; that a refusal leaves nothing is for RES-040 and ADD-005",
		"CONV-014":  library,
		"CONV-015":  library,
		"CONV-016":  library,
		"CONV-017":  library,
		"ERR-021":   "whether there is a better code for an error only the plugin knows",
		"CACHE-012": "the cache lies where runtimes of the machine write at the same time; nothing in it says who wrote",
		"LIFE-020":  "that a value is random, and needs to be, does not show; that it is reported is for RES-036",
		"LIFE-025":  network,
		"CAP-020":   guidance,
		"ARG-017":   guidance,
		"ARG-018":   guidance,
	}
}
