// SPDX-License-Identifier: Apache-2.0

// Package arch is the laws of this repository as tests: who imports whom, which
// modules there are, what a small plugin links, what each file and each exported name
// has to say, and which rules of the specification have a test. It holds nothing but
// tests. Each failure says what to do.
package arch
