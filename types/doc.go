// SPDX-License-Identifier: Apache-2.0

// Package types is the wire format of the Container Network Interface: plugin
// and network configurations, results, errors, arguments and versions, for
// every released version of the specification, 0.1.0 to 1.1.0.
package types
