// SPDX-License-Identifier: Apache-2.0

package main

func runCommand([]string) int { return 2 }
