// SPDX-License-Identifier: Apache-2.0

package types

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// notShown stands in an error for a value that may be a secret.
const notShown = "(not shown)"

// secretWords are what a key looks like that holds a secret: anywhere in it, or at
// the end of one of its words.
var (
	secretWords = [...]string{"password", "passwd", "passphrase", "secret", "token", "credential", "bearer", "authorization", "cookie"}
	secretEnds  = [...]string{"key", "keys", "pass", "pwd", "psk", "auth"}
)

// isSecret reports whether a key looks like that of a secret. It rather takes one too
// many for one: then a person reads the value where it was written.
func isSecret(key string) bool {
	letters := make([]byte, 0, 64) // on the stack: keys are asked about where nothing is wrong, too
	for i := range len(key) {
		if c := key[i] | 0x20; 'a' <= c && c <= 'z' {
			letters = append(letters, c)
		}
	}
	for _, word := range secretWords {
		if bytes.Contains(letters, []byte(word)) {
			return true
		}
	}
	for word := range words(key) {
		for _, end := range secretEnds {
			if len(word) >= len(end) && strings.EqualFold(word[len(word)-len(end):], end) {
				return true
			}
		}
	}
	return false
}

// words calls yield for the words of a key such as "client-key_data" or
// "clientKeyData".
func words(key string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		start, before := 0, ' '
		for i, r := range key {
			if !unicode.IsLetter(r) || unicode.IsUpper(r) && unicode.IsLower(before) {
				if start < i && !yield(key[start:i]) {
					return
				}
				start = i
			}
			before = r
			if !unicode.IsLetter(r) {
				start = i + utf8.RuneLen(max(r, 0))
			}
		}
		if start < len(key) {
			yield(key[start:])
		}
	}
}

// clip cuts a text that somebody else wrote, since it may repeat a value of any size.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// leastSecret is the length in bytes from which on a value is found in a text; a
// shorter one cannot be told from other words.
const leastSecret = 5

// Redact returns text without the secrets of the request, for what an error or a log
// says in words that somebody else chose, such as another program. What is taken out
// is "(not shown)" instead: the values, of five bytes or more, of keys of Stdin and of
// CNI_ARGS and of variables of Environ that look like secrets, see the package
// documentation; CNI_ARGS as a whole; and each variable together with its name, as who
// prints the environment shows it.
//
// Package skel redacts what a plugin answers.
//
// Spec: checklist ERR-025.
func (c Call) Redact(text string) string {
	secrets := c.secrets()
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // the longest first
	for _, s := range secrets {
		if len(s) < leastSecret {
			continue
		}
		asJSON := inner(string(appendString(nil, s)))
		// The last one is JSON that a log quotes.
		for _, spelling := range [...]string{s, inner(strconv.Quote(s)), inner(strconv.QuoteToASCII(s)), asJSON, inner(strconv.Quote(asJSON))} {
			text = strings.ReplaceAll(text, spelling, notShown)
		}
	}
	return text
}

// inner returns a quoted text without the quotes.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// secrets returns what must not be repeated of the request.
func (c Call) secrets() []string {
	var all []string
	for _, pair := range c.Environ {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case name == "CNI_ARGS":
			all = append(append(all, value), secretArgs(value)...)
		case isSecret(name):
			all = append(all, value)
		case value != "":
			all = append(all, pair)
		}
	}
	if doc, err := parseDocument(c.Stdin); err == nil {
		all = doc.secrets(all, false)
	}
	return all
}

// secretArgs returns the values of CNI_ARGS whose keys look like secrets. What follows
// one and is no pair may be the rest of a value that holds a semicolon.
func secretArgs(args string) []string {
	var all []string
	secret := false
	for pair := range strings.SplitSeq(args, ";") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			key, value = "", pair
		} else {
			secret = isSecret(key)
		}
		if secret {
			all = append(all, value)
		}
	}
	return all
}

// secrets appends the values below keys that look like secrets.
func (n node) secrets(all []string, inside bool) []string {
	switch c := n.raw[0]; {
	case c == '{':
		members, _ := n.members() // it is an object
		for _, m := range members {
			all = node{raw: m.raw}.secrets(all, inside || isSecret(m.key))
		}
	case c == '[':
		_ = n.each(func(_ int, e node) error { // it is an array
			all = e.secrets(all, inside)
			return nil
		})
	case inside && c == '"':
		all = append(all, unquote(n.raw))
	case inside && (c == '-' || '0' <= c && c <= '9'):
		all = append(all, string(n.raw))
	}
	return all
}

// mostShown is how many bytes of a value an error shows.
const mostShown = 60

// shown returns a JSON value for a message, cut where it is long. Of an object or an
// array that is not empty it says no more than what it is: it is the wrong thing here,
// whatever it holds.
func shown(raw json.RawMessage) string {
	if len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
		if end := skipSpace(raw[1:])[0]; end != '}' && end != ']' {
			return string(raw[:1]) + "…" + string(raw[len(raw)-1:])
		}
		return string(raw[:1]) + string(raw[len(raw)-1:])
	}
	return cut(string(raw))
}

// showInside is show for a message that has to give the value even of an object or an
// array: on one line. If a key in it looks like that of a secret, nothing inside is
// given.
func (n node) showInside() string {
	var line bytes.Buffer
	if n.secret || len(n.secrets(nil, false)) > 0 || json.Compact(&line, n.raw) != nil {
		return n.show()
	}
	return cut(line.String())
}

func cut(s string) string {
	if len(s) <= mostShown {
		return s
	}
	return strings.ToValidUTF8(s[:mostShown], "") + "…"
}
