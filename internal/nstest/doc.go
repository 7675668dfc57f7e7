// SPDX-License-Identifier: Apache-2.0

// Package nstest gives a test network namespaces of its own, and is the only gate of
// tests that need the kernel.
//
// A package with such tests says
//
//	func TestMain(m *testing.M) { nstest.Main(m) }
//
// and each test begins with
//
//	host := nstest.New(t)
//	sandbox := nstest.New(t)
//
// [New] tries; it does not ask who the user is. Where the kernel refuses, the test
// is skipped with what the kernel said and what to do about it. With the environment
// variable REQUIRE_KERNEL_TESTS set to 1 that skip is a failure; set to "all", so is
// the skip of [Lacks].
//
// The package makes its system calls itself and does not use package ns, lest a bug
// there turn into a skipped test.
package nstest
