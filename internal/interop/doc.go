// SPDX-License-Identifier: Apache-2.0

// Package interop tests the example plugins under the reference runtime library.
// It is a module of its own, so that nobody who uses cnikit gets that library too.
package interop
