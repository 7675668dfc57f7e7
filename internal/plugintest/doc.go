// SPDX-License-Identifier: Apache-2.0

// Package plugintest runs the example plugins on a host of their own, as
// executables, the way a container runtime does.
package plugintest
