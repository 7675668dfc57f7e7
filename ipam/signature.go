// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"encoding/hex"
	"hash/fnv"
	"os"
	"time"
)

// The signature is a modification time in the years from 1980 to 1990. Which
// second it is depends on the boot, and the fraction is another one each time, so
// that a directory put back from a copy does not go with the other as it is by
// then. Some file systems keep no fraction, and lose no more than that. No clock of
// a machine that runs this shows such a time, so nobody gives it to a directory by
// adding or removing a name.
const (
	firstSignature = 315532800               // 1980-01-01, seconds since 1970
	signatures     = 10 * 365 * 24 * 60 * 60 // seconds
)

// signature returns the second of a boot, and false if its identity is not known,
// in which case nothing is ever signed.
func signature(boot string) (second int64, ok bool) {
	if boot == "" {
		return 0, false
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(boot)) // a hash takes everything
	return firstSignature + int64(h.Sum64()%signatures), true
}

// signed reports whether both directories carry the same signature of the running
// boot.
func (d directory) signed() bool {
	a, err := os.Stat(d.path)
	if err != nil || !a.IsDir() {
		return false
	}
	b, err := os.Lstat(d.index)
	if err != nil || !b.IsDir() || !a.ModTime().Equal(b.ModTime()) {
		return false
	}
	second, ok := signature(d.boot())
	return ok && a.ModTime().Unix() == second
}

// sign gives both directories a new signature: first the index, since the other is
// the one that everybody changes.
func (d directory) sign() {
	second, ok := signature(d.boot())
	if !ok || d.before("sign") != nil {
		return
	}
	at := time.Unix(second, int64(time.Now().Nanosecond()))
	if os.Chtimes(d.index, time.Time{}, at) == nil && d.before("sign") == nil {
		// Without this one nothing is signed, which costs time and nothing else.
		_ = os.Chtimes(d.path, time.Time{}, at)
	}
}

// hash returns a name for a text that cannot be one.
func hash(text string) string {
	h := fnv.New128a()
	_, _ = h.Write([]byte(text)) // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}
