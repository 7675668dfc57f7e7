// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package loopback is a CNI plugin that sets up the loopback link of a container.
// Every namespace has that link, and its name is not for the runtime to choose:
// the plugin ignores CNI_IFNAME.
//
// Spec: checklist AMB-064.
package loopback
