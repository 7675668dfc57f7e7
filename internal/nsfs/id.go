// SPDX-License-Identifier: Apache-2.0

package nsfs

import "errors"

// ErrNotNamespace says that something exists where a network namespace was
// expected, and that it is none: a plain file left behind by an unmounted
// namespace, a directory, or a namespace of another type.
var ErrNotNamespace = errors.New("not a network namespace")

// ID identifies a namespace for as long as someone keeps it alive: two paths or
// descriptors with equal IDs are the same namespace. The zero ID is no namespace.
type ID struct {
	Dev uint64 // device of the file that stands for the namespace
	Ino uint64 // inode of that file; never zero for a namespace
}
