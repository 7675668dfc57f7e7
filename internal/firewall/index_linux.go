// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// An index is a map by which the things of an owner are found without a list of
// everybody's: from a hash of the ownership mark and a number, counted from 0, to what
// names the thing. No packet meets it.

// indexKey is the type of the keys of an index. Nothing in nft is called a hash; a mark
// is as wide as any number.
func indexKey() []uint32 { return []uint32{typeMark, typeMark, typeMark} }

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

// removeOthers returns the requests that remove what has not one of the marks.
func (c *conn) removeOthers(t table, sets []string, marks map[string]bool) ([]request, error) {
	var requests []request
	for _, set := range sets {
		all, err := c.elements(t, set)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		gone := slices.DeleteFunc(all, func(e element) bool { return marks[e.comment] })
		requests = append(requests, t.delElements(set, gone)...)
	}
	return requests, nil
}

// removeEmpty removes a table if its sets are empty, and leaves it if they are not or
// somebody fills them meanwhile.
func (c *conn) removeEmpty(ctx context.Context, t table, sets []string) error {
	return retry(ctx, func() error {
		generation, err := c.generation()
		if err != nil {
			return err
		}
		for _, set := range sets {
			switch left, err := c.elements(t, set); {
			case errors.Is(err, unix.ENOENT):
				return nil // no table, or one that the next ADD repairs
			case err != nil:
				return err
			case len(left) > 0:
				return nil
			}
		}
		return changedIfGone(c.batch(generation, []request{t.delTable()}))
	})
}

// changedIfGone turns the failure of a request about something that came or went since
// the look into errChanged. Of the requests that create rules and what they need, only
// the kernel's lack of something fails so.
func changedIfGone(err error) error {
	var b *batchError
	if !errors.As(err, &b) {
		return err
	}
	switch b.Command {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWRULE:
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			return unsupported(NFTables, err)
		}
		return err
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) {
		return errors.Join(errChanged, err)
	}
	return err
}
