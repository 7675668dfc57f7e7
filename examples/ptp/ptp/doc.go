// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package ptp is a CNI plugin that connects each container to the host by a veth
// of its own, and routes: there is no common segment. The host end has the
// container's gateway address, and the host a route to the container; all that the
// container sends goes to the gateway.
package ptp
