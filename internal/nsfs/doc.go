// SPDX-License-Identifier: Apache-2.0

// Package nsfs tells network namespaces from other files, and one namespace from
// another. It needs only the standard library, so that package skel can refuse the
// caller's own namespace without linking what package ns links.
package nsfs
