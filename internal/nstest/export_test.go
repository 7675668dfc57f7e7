// SPDX-License-Identifier: Apache-2.0

package nstest

// Refuse is what New does when the kernel refuses.
var Refuse = refuse
