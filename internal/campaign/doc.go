// SPDX-License-Identifier: Apache-2.0

// Package campaign proves that plugins on cnikit lose nothing and leak nothing: they are
// killed, refused, raced, loaded and lied to, and then what is left is looked at.
//
// Each campaign is a test: it runs a short campaign when it runs with the others, and a long
// one when it is given time:
//
//	go test ./internal/campaign -v -timeout 0 -run Races -args -for 10m -seed 7
//
// The power cuts are in package ipam, beside the store whose every step they look at, the
// race of two stores is in internal/interop, beside the other one, and fuzz targets are
// with what they fuzz. All of them one after the other, each for a time:
//
//	.ci/campaigns 10m 7
//
// Run it as root, or where the kernel lets users make namespaces. A campaign that fails
// names its seed. RESULTS.md beside this file has the figures of long runs.
package campaign
