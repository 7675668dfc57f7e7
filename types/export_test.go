// SPDX-License-Identifier: Apache-2.0

package types

// What the external tests need to see.
var (
	Distance = distance
	IsSecret = isSecret
)
