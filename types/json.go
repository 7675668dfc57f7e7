// SPDX-License-Identifier: Apache-2.0

package types

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A node is one value of a JSON document that is known to be valid. Most nodes
// have no path: an error of theirs is about ": 5 is not valid", and each caller
// puts its own part of the path in front, see under. So a path costs nothing
// until there is an error.
//
// The protocol's own documents are read through nodes rather than by
// encoding/json, because four rules hold for all of them: keys match ignoring
// case, the exact spelling winning; null is absent; a member that nobody knows
// survives; and an error names the path and the value.
//
// Spec: checklist CONF-045, RES-035, CHAIN-017, AMB-022, AMB-023.
type node struct {
	raw    json.RawMessage
	path   string
	secret bool // a key on the path looks like that of a secret, so no error shows the value
}

// here is the path of a value that a method UnmarshalJSON reads, which cannot
// know where the value stands. Its caller puts the path in its place: see
// decodeError.
const here = "(value)"

// document is the path of a whole document, for the error that it is no object.
// It is no part of the paths inside.
const document = "the document"

// parseDocument checks that data is one JSON value in UTF-8 and returns it.
//
// Spec: checklist CONF-044: no comments, no trailing commas, no trailing data.
func parseDocument(data []byte) (node, error) {
	if !utf8.Valid(data) {
		return node{}, NewError(ErrDecodingFailure, "not valid JSON: not UTF-8", nil)
	}
	if !json.Valid(data) {
		return node{}, NewError(ErrDecodingFailure, "not valid JSON", syntaxError(data))
	}
	return node{raw: bytes.TrimSpace(data), path: document}, nil
}

// syntaxError returns what is wrong with data, and where.
func syntaxError(data []byte) error {
	var v struct{}
	err := json.Unmarshal(data, &v)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	before := data[:min(int(syntax.Offset), len(data))]
	line := 1 + bytes.Count(before, []byte("\n"))
	return errors.New("line " + strconv.Itoa(line) + ": " + syntax.Error())
}

// invalid returns the error for a value of the right JSON type that is wrong,
// or missing.
func invalid(path, what string) error {
	return NewError(ErrInvalidNetworkConfig, path+": "+what, nil)
}

// under puts the path of a value in front of an error about something inside it.
func under(path string, err error) error {
	e, ok := err.(*Error) // never wrapped: it comes from a node
	if !ok {
		return err
	}
	if e.Msg[0] != ':' && e.Msg[0] != '[' {
		path += "."
	}
	e.Msg = path + e.Msg
	return e
}

// mismatch returns the error for a value of the wrong JSON type.
func (n node) mismatch(want string) error {
	return NewError(ErrDecodingFailure, n.path+": "+n.show()+" is not valid; want "+want, nil)
}

// invalid returns the error for a value of the right JSON type that is wrong.
func (n node) invalid(err error) error {
	return invalid(n.path, err.Error())
}

// show returns the value for a message; see shown.
func (n node) show() string {
	if n.secret {
		return notShown
	}
	return shown(n.raw)
}

func (n node) isNull() bool { return len(n.raw) == 0 || n.raw[0] == 'n' }

// A member is one key of an object with its value. The value is a slice of the
// document up to the document's capacity, which is how its place is known.
type member struct {
	key string
	raw json.RawMessage
}

// walk calls visit for each member of an object in document order, with its key
// in quotes as it is written.
func (n node) walk(visit func(quoted, value json.RawMessage)) error {
	if len(n.raw) == 0 || n.raw[0] != '{' {
		return n.mismatch("an object")
	}
	for rest := skipSpace(n.raw[1:]); rest[0] != '}'; {
		quoted, after := cutValue(rest)
		value, after := cutValue(skipSpace(skipSpace(after)[1:])) // the colon
		visit(quoted, value)
		rest = skipComma(after)
	}
	return nil
}

// members returns the members of an object in document order.
func (n node) members() ([]member, error) {
	var all []member
	err := n.walk(func(quoted, value json.RawMessage) {
		all = append(all, member{unquote(quoted), value})
	})
	return all, err
}

// each calls visit for each element of an array, with its position.
func (n node) each(visit func(i int, value node) error) error {
	if len(n.raw) == 0 || n.raw[0] != '[' {
		return n.mismatch("an array")
	}
	rest := skipSpace(n.raw[1:])
	for i := 0; rest[0] != ']'; i++ {
		value, after := cutValue(rest)
		if err := visit(i, node{raw: value, secret: n.secret}); err != nil {
			return under(position(i), err)
		}
		rest = skipComma(after)
	}
	return nil
}

func position(i int) string { return "[" + strconv.Itoa(i) + "]" }

// elements returns the values of an array, with their paths.
func (n node) elements() (all []node, err error) {
	err = n.each(func(i int, value node) error {
		all = append(all, node{raw: value.raw, path: strings.TrimPrefix(n.path, document) + position(i), secret: n.secret})
		return nil
	})
	return all, err
}

// child returns the node of a member, with its path.
func (n node) child(key string, raw json.RawMessage) node {
	path := pathKey(key)
	if at := strings.TrimPrefix(n.path, document); at != "" {
		path = at + "." + path
	}
	return node{raw: raw, path: path, secret: n.secret || isSecret(key)}
}

// pathKey returns a key for a path: as it is, or quoted if it is long or would
// make the path hard to read.
func pathKey(key string) string {
	const most = 64
	if len(key) > most || key == "" || strings.IndexByte(".:[(", key[0]) >= 0 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return quote(key)
	}
	return key
}

// maxFields is the largest number of members that an object is read for.
const maxFields = 16

// fields calls set for each known member that is there and not null, in the
// order of known. Keys match ignoring case; where a key occurs more than once the
// exact spelling wins, and then the last.
func (n node) fields(set func(key string, v node) error, known ...string) error {
	return n.split(set, func(_, _ json.RawMessage) {}, known)
}

// fieldsAndExtra is fields, and returns the members that match none of known.
func (n node) fieldsAndExtra(set func(key string, v node) error, known ...string) (extra map[string]json.RawMessage, err error) {
	err = n.split(set, func(quoted, value json.RawMessage) {
		if extra == nil {
			extra = make(map[string]json.RawMessage)
		}
		extra[unquote(quoted)] = slices.Clip(value)
	}, known)
	if err != nil {
		return nil, err
	}
	return extra, nil
}

// split calls set for the known members, and keep for all others.
func (n node) split(set func(key string, v node) error, keep func(quoted, value json.RawMessage), known []string) error {
	var picked [maxFields]struct {
		value json.RawMessage
		exact bool
	}
	err := n.walk(func(quoted, value json.RawMessage) {
		k, exact := match(quoted, known)
		switch {
		case k < 0:
			keep(quoted, value)
		case exact || !picked[k].exact:
			picked[k].value, picked[k].exact = value, exact
		}
	})
	if err != nil {
		return err
	}
	for k, key := range known {
		v := node{raw: picked[k].value}
		if v.isNull() {
			continue
		}
		if err := set(key, v); err != nil {
			return under(key, err)
		}
	}
	return nil
}

// match returns the position of the known key that a key in quotes matches, or
// -1, and whether it is spelled exactly so.
func match(quoted json.RawMessage, known []string) (k int, exact bool) {
	key := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(key, '\\') >= 0 {
		key = []byte(unquote(quoted))
	}
	k = -1
	for i, name := range known {
		if string(key) == name {
			return i, true
		}
		if k < 0 && strings.EqualFold(string(key), name) {
			k = i
		}
	}
	return k, false
}

// collect reads an array with one function for each of its elements. The slice
// is not nil, even if the array is empty.
func collect[T any](n node, read func(node) (T, error)) ([]T, error) {
	all := []T{}
	err := n.each(func(i int, e node) error {
		v, err := read(e)
		if err != nil {
			return err
		}
		if i == 0 {
			all = make([]T, 0, 4)
		}
		all = append(all, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// text reads a string.
func (n node) text() (string, error) {
	if len(n.raw) == 0 || n.raw[0] != '"' {
		return "", n.mismatch("a string")
	}
	return unquote(n.raw), nil
}

// boolean reads true or false.
func (n node) boolean() (bool, error) {
	switch string(n.raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, n.mismatch("true or false")
}

// uint reads an unsigned integer of at most so many bits. A negative number is
// of the right JSON type, and invalid.
//
// Spec: checklist AMB-020.
func (n node) uint(bits int) (uint64, error) {
	v, err := strconv.ParseUint(string(n.raw), 10, bits)
	switch {
	case err == nil:
		return v, nil
	case n.isInteger():
		most := uint64(1)<<bits - 1
		return 0, n.invalid(errors.New(n.show() + " is out of range; want 0 to " + strconv.FormatUint(most, 10)))
	}
	return 0, n.mismatch("an unsigned integer")
}

func (n node) isInteger() bool {
	digits := bytes.TrimPrefix(n.raw, []byte("-"))
	return len(digits) > 0 && len(bytes.Trim(digits, "0123456789")) == 0
}

// version reads a version; an empty string is the zero Version. What is not a
// version is [ErrIncompatibleCNIVersion]: nobody can support it.
//
// Spec: checklist VER-011, VER-013.
func (n node) version() (Version, error) {
	s, err := n.text()
	if err != nil || s == "" {
		return 0, err
	}
	v, err := ParseVersion(s)
	if err != nil {
		return 0, NewError(ErrIncompatibleCNIVersion, n.path+": "+err.Error(), nil)
	}
	return v, nil
}

// addr reads a bare IP address; an empty string is the zero Addr.
//
// Spec: checklist RES-017; RES-042: an IPv4-mapped address is an IPv4 address.
func (n node) addr() (netip.Addr, error) {
	s, err := n.text()
	if err != nil || s == "" {
		return netip.Addr{}, err
	}
	a, ok := parseAddr(s)
	if !ok {
		return netip.Addr{}, n.invalid(errors.New(quote(s) + ` is not an IP address; want one such as "10.0.0.1", without prefix length or zone`))
	}
	return a, nil
}

func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// prefix reads an IP address with its prefix length, host bits kept.
//
// Spec: checklist RES-016, RES-042.
func (n node) prefix() (netip.Prefix, error) {
	s, err := n.text()
	if err != nil {
		return netip.Prefix{}, err
	}
	p, ok := parsePrefix(s)
	if !ok {
		return netip.Prefix{}, n.invalid(errors.New(quote(s) + ` is not an address with prefix length; want one such as "10.0.0.2/24"`))
	}
	return p, nil
}

func parsePrefix(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	p = unmap(p)
	return p, err == nil && p.IsValid()
}

// unmap returns the prefix of an IPv4 address for one of an IPv4-mapped address.
// It is not valid if it covers other IPv6 addresses too.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// skipSpace and cutValue walk a document that is known to be valid.
func skipSpace(b json.RawMessage) json.RawMessage {
	for i, c := range b {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return b[i:]
		}
	}
	return nil
}

// cutValue splits b after the value at its start.
func cutValue(b json.RawMessage) (value, rest json.RawMessage) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:])
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			if depth > 0 {
				continue
			}
			end := bytes.IndexAny(b[i:], ",]} \t\n\r")
			if end < 0 {
				end = len(b) - i
			}
			return b[:i+end], b[i+end:]
		}
		if depth == 0 {
			return b[:i+1], b[i+1:]
		}
	}
	return b, nil
}

// stringEnd returns the index of the quote that closes the string at the start
// of b.
func stringEnd(b json.RawMessage) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(b) - 1
}

// unquote returns the text of a JSON string.
func unquote(raw json.RawMessage) string {
	if !bytes.ContainsRune(raw, '\\') {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "" // not reached: the document is valid
	}
	return s
}

// appendString appends s as a JSON string. Unlike encoding/json it leaves "<",
// ">" and "&" alone.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c < ' ':
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			// What is not UTF-8 becomes U+FFFD.
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}

// An object writes a JSON object member by member, in the order of the calls.
type object struct {
	buf   []byte
	comma bool
}

func (o *object) open() { o.buf, o.comma = append(o.buf, '{'), false }

func (o *object) close() { o.buf, o.comma = append(o.buf, '}'), true }

// key starts a member; its value is appended to buf by the caller.
func (o *object) key(name string) {
	if o.comma {
		o.buf = append(o.buf, ',')
	}
	o.comma = true
	o.buf = append(appendString(o.buf, name), ':')
}

// raw writes a member as it stands in another document.
func (o *object) raw(quoted, value json.RawMessage) {
	if o.comma {
		o.buf = append(o.buf, ',')
	}
	o.comma = true
	o.buf = append(append(append(o.buf, quoted...), ':'), value...)
}

// The following write a member unless it has its zero value.

func (o *object) text(name, s string) {
	if s != "" {
		o.key(name)
		o.buf = appendString(o.buf, s)
	}
}

func (o *object) uint(name string, v uint64, set bool) {
	if set {
		o.key(name)
		o.buf = strconv.AppendUint(o.buf, v, 10)
	}
}

func (o *object) texts(name string, all []string) {
	if len(all) == 0 {
		return
	}
	o.key(name)
	separator := byte('[')
	for _, s := range all {
		o.buf = appendString(append(o.buf, separator), s)
		separator = ','
	}
	o.buf = append(o.buf, ']')
}

// extras writes members that nobody knows as they came, sorted by name.
func (o *object) extras(all map[string]json.RawMessage) {
	if len(all) == 0 {
		return
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		o.key(name)
		o.buf = append(o.buf, all[name]...)
	}
}
