// SPDX-License-Identifier: Apache-2.0

// Package plugintest runs the example plugins on a host of their own, as
// executables, the way a container runtime does. A plugin that makes an interface is an
// [Interface]: what all of them have to pass is written here once.
package plugintest
