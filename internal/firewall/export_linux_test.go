// SPDX-License-Identifier: Apache-2.0

package firewall

// WithoutIPSet makes h behave as if the kernel had no ip_set.
func (h *Host) WithoutIPSet() { h.noIPSet = true }
