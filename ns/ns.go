// SPDX-License-Identifier: Apache-2.0

package ns

import "github.com/cnikit/cnikit/internal/nsfs"

// ErrNotNamespace says that a path leads to something other than a network
// namespace: most often the empty file that remains where one was mounted. A path
// that leads nowhere gives [io/fs.ErrNotExist] instead. DEL takes both for gone.
var ErrNotNamespace = nsfs.ErrNotNamespace
