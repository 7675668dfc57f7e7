// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// An index is a map by which the things of an owner are found without a list of
// everybody's: from a hash of the ownership mark and a number, counted from 0, to what
// names the thing. No packet meets it.

// indexKey is the type of the keys of an index. Nothing in nft is called a hash; a mark
// is as wide as any number.
func indexKey() []nftables.SetDatatype {
	return []nftables.SetDatatype{nftables.TypeMark, nftables.TypeMark, nftables.TypeMark}
}

// entryKey returns the key of the entry with a number of the owner with a mark. Half a
// hash is enough: whose a thing is, its own comment says.
func entryKey(mark string, number int) []byte {
	sum := sha256.Sum256([]byte(mark))
	return binary.BigEndian.AppendUint32(sum[:8:8], uint32(number))
}

// index returns the entries for things of an owner, each with data from names.
func index(mark string, names ...[]byte) []element {
	var entries []element
	for i, name := range names {
		entries = append(entries, element{key: entryKey(mark, i), data: name, comment: mark})
	}
	return entries
}

// entries reads the entries of an owner, none if there is no such index.
func (c *conn) entries(t table, set, mark string) ([]element, error) {
	var entries []element
	for i := 0; ; i++ {
		e, err := c.element(t, set, entryKey(mark, i))
		if errors.Is(err, unix.ENOENT) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
}

// hasEntry reports whether an owner has an entry.
func (c *conn) hasEntry(t table, set, mark string) (bool, error) {
	_, err := c.element(t, set, entryKey(mark, 0))
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// changedIfGone turns the errors of a change about something that came or went since
// the look into errChanged.
func changedIfGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) {
		return errors.Join(errChanged, err)
	}
	return err
}
