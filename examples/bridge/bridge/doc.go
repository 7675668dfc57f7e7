// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package bridge is a CNI plugin that connects containers by a bridge on the host:
// each one gets a veth, whose other end is a port of the bridge. Addresses come
// from the IPAM plugin that the configuration names; without one, the network is
// a cable and nothing more.
package bridge
