// SPDX-License-Identifier: Apache-2.0

package netutil

// Sent returns how many messages c has sent to the kernel.
func Sent(c *Conn) int { return c.rt.Sent() }
