// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package portmap is a CNI plugin that leads ports of the host to a container, which
// a plugin before it has attached. It changes nothing in the container and hands on the
// result as it came.
package portmap
