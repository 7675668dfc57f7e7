// SPDX-License-Identifier: Apache-2.0

package ipam

import "github.com/cnikit/cnikit/types"

// WithHook returns a copy of the store that calls before for each step that
// changes the file system.
func (s FileStore) WithHook(before func(step string) error) FileStore {
	s.before = before
	return s
}

// Signed reports whether the links are said to be up to date.
func (s FileStore) Signed() bool {
	d, err := s.open()
	return err == nil && d.signed()
}

// WithBoot returns a copy of the store as of another boot; none if id is empty.
func (s FileStore) WithBoot(id string) FileStore {
	s.boot = func() string { return id }
	return s
}

// ParseRecord and FormatRecord are the content of a reservation.
func ParseRecord(data []byte) (types.Attachment, bool) { return parseRecord(data) }
func FormatRecord(owner types.Attachment) []byte       { return formatRecord(owner) }
