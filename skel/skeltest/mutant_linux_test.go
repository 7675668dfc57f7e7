// SPDX-License-Identifier: Apache-2.0

package skeltest_test

// playMutant makes the process a mutant, if the name of the executable says so.
func playMutant(argv0 string) {}
