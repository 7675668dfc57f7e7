// SPDX-License-Identifier: Apache-2.0

package types

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Decode reads the plugin's own part of the configuration into the value that v
// points to, by the rules of [encoding/json]: keys match ignoring case, and where
// a key occurs in several spellings the exact one wins. An error names the
// member, with its value. It is [ErrDecodingFailure] for a wrong JSON type,
// [ErrInvalidNetworkConfig] for a value that its type refuses and for anything
// that is wrong inside runtimeConfig. The protocol's own members have to be right
// too.
//
// If v has a method Validate() error, it is called when all is read, and its
// error is [ErrInvalidNetworkConfig] unless it has a code of its own.
//
// Spec: checklist CONF-045, AMB-022, CAP-004, ERR-014, ERR-015.
func (c *PluginConfig) Decode(v any) error {
	if err := c.decode(v); err != nil {
		return err
	}
	return validateTarget(v)
}

// DecodeStrict is [PluginConfig.Decode] for a plugin that refuses members which
// it does not know. A member that is neither one of the protocol's nor a field
// of v is [ErrUnsupportedField], with the nearest known name.
//
// Spec: CNI 1.1.0, section 5, "Error", code 2; checklist CONF-031, CONF-032.
func (c *PluginConfig) DecodeStrict(v any) error {
	if err := c.decode(v); err != nil {
		return err
	}
	if err := unknownMember(node{raw: c.Raw, path: document}, reflect.TypeOf(v), protocolMembers()); err != nil {
		return err
	}
	return validateTarget(v)
}

// DecodeLenient is [PluginConfig.Decode] for DEL and GC, which clean up as much
// as they can: a member that cannot be read is passed over and returned as an
// error for the log, and Validate is not called. If there are too many of them,
// or v cannot be read at all, v stays as it was.
//
// Spec: checklist DEL-012, DEL-026, LIFE-017.
func (c *PluginConfig) DecodeLenient(v any) (passedOver []error) {
	passedOver = slices.Clone(c.problems)
	target := reflect.ValueOf(v)
	before := reflect.New(target.Type().Elem()).Elem()
	before.Set(target.Elem())
	data := withoutShadowed(c.Raw, target.Type())
	for range mostPassedOver {
		target.Elem().Set(before)
		err := json.Unmarshal(data, v)
		if err == nil {
			return passedOver
		}
		at, err := locate(node{raw: data, path: document}, target.Type(), err)
		if at.isNull() && len(passedOver) > 0 {
			break // a type that refuses even null
		}
		passedOver = append(passedOver, decodeError(at, err))
		if len(at.raw) == len(data) {
			break // nothing inside it can be passed over
		}
		data = replace(data, at.raw)
	}
	target.Elem().Set(before)
	return passedOver
}

// mostPassedOver bounds the work that a hostile configuration can cause, since
// each bad member costs another reading.
const mostPassedOver = 100

func (c *PluginConfig) decode(v any) error {
	if len(c.problems) > 0 {
		return c.problems[0]
	}
	t := reflect.TypeOf(v)
	data := withoutShadowed(c.Raw, t)
	err := readFields(data, v)
	if err == nil {
		return nil
	}
	return decodeError(locate(node{raw: data, path: document}, t, err))
}

// readFields is [json.Unmarshal] for the members that a field takes, one by one, and so for those
// of a field that is a struct. Given a struct, package json would prepare to read and to write
// every type that is in it, where a configuration has a few: one in twenty of the microseconds of
// a CHECK. And it would read what nobody takes twice to pass it over, where prevResult can be most
// of a request. After an error v may have less than package json would have read.
func readFields(data json.RawMessage, v any) error {
	target := reflect.ValueOf(v)
	for target.Kind() == reflect.Pointer {
		target = target.Elem()
	}
	if target.Kind() != reflect.Struct || !target.CanAddr() || readsItself(target.Type()) {
		return json.Unmarshal(data, v)
	}
	fields := jsonFields(target.Type())
	if fields.needPackage() {
		return json.Unmarshal(data, v)
	}
	names := fields.names()
	var failed error
	err := node{raw: data}.walk(func(quoted, value json.RawMessage) {
		if k, _ := match(quoted, names); k >= 0 && failed == nil {
			failed = readFields(value, target.FieldByIndex(fields[k].index).Addr().Interface())
		}
	})
	if err != nil { // no object: that is for package json to say
		return json.Unmarshal(data, v)
	}
	return failed
}

func validateTarget(v any) error {
	validator, ok := v.(interface{ Validate() error })
	if !ok {
		return nil
	}
	err := validator.Validate()
	var coded *Error
	if err == nil || errors.As(err, &coded) {
		return err
	}
	return &Error{Code: ErrInvalidNetworkConfig, Msg: err.Error(), Err: unwrapped{err}}
}

// Capability reads the value of one capability into the value that v points to,
// and reports whether there is one. Whatever is wrong with it is
// [ErrInvalidNetworkConfig].
//
// Spec: CNI conventions, "Dynamic plugin specific fields"; checklist CAP-004,
// CAP-006, CHAIN-008.
func (c *PluginConfig) Capability(name string, v any) (bool, error) {
	raw, ok := c.capability(name)
	if !ok {
		return false, nil
	}
	t := reflect.TypeOf(v)
	at := node{raw: withoutShadowed(raw, t), path: runtimeConfig + "." + name, secret: isSecret(name)}
	err := json.Unmarshal(at.raw, v)
	if err == nil {
		return true, nil
	}
	return true, decodeError(locate(at, t, err))
}

// capability returns the value of a capability. Its name matches ignoring case,
// the exact spelling winning, and of several others the first one as text.
func (c *PluginConfig) capability(name string) (json.RawMessage, bool) {
	if raw, ok := c.RuntimeConfig[name]; ok {
		return raw, true
	}
	best, found := "", false
	for have := range c.RuntimeConfig {
		if strings.EqualFold(have, name) && (!found || have < best) {
			best, found = have, true
		}
	}
	return c.RuntimeConfig[best], found
}

const runtimeConfig = "runtimeConfig"

// protocolMembers are the members of a request that belong to the protocol, and
// which no plugin may call unknown.
func protocolMembers() []string {
	return []string{"cniVersion", "name", "type", "args", "ipMasq", "ipam", "dns", "capabilities", runtimeConfig,
		"prevResult", "disableCheck", "disableGC"}
}

// decodeError returns the protocol's error for the value at which decoding
// failed.
func decodeError(at node, err error) error {
	var coded *Error
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &coded):
		return at.readError(coded)
	case errors.As(err, &kind):
		want := describe(kind.Type)
		code := ErrDecodingFailure
		if at.isInteger() && strings.Contains(want, "integer") {
			code = ErrInvalidNetworkConfig // the right JSON type, out of range
		}
		return NewError(codeAt(at, code), at.mismatch(want).Error(), nil)
	}
	bad := &Error{Code: ErrInvalidNetworkConfig, Msg: at.path + ": " + at.show() + " is not valid", Err: unwrapped{err}}
	text := clip(err.Error())
	switch {
	case at.secret: // the text may repeat the value
	case strings.HasPrefix(text, "netip.ParsePrefix("): // a plugin's administrator knows no Go
		bad.Msg = at.path + ": " + at.show() + ` is not an address with prefix length; want one such as "10.0.0.0/24"`
	case strings.HasPrefix(text, "ParseAddr("):
		bad.Msg = at.path + ": " + at.show() + ` is not an address; want one such as "10.0.0.1"`
	case strings.Contains(text, at.show()): // it need not be said twice
		bad.Msg = at.path + ": " + text
	default:
		bad.Details = text
	}
	return bad
}

// readError returns the error of a type that reads itself, which says it well but
// does not know where it stands.
func (n node) readError(err *Error) error {
	if n.secret {
		return &Error{Code: codeAt(n, err.Code), Msg: n.path + ": " + n.show() + " is not valid", Err: unwrapped{err}}
	}
	msg, ok := strings.CutPrefix(err.Msg, here)
	switch {
	case ok && n.path == document:
		msg = strings.TrimLeft(msg, ".: ")
	case ok:
		msg = n.path + msg
	case n.path != document:
		msg = n.path + ": " + msg
	}
	return &Error{Code: codeAt(n, err.Code), Msg: msg, Details: err.Details, Err: err.Err}
}

// codeAt returns the code for an error at a place: a capability that is wrong in
// any way makes the configuration invalid.
func codeAt(at node, code Code) Code {
	root, _, _ := strings.Cut(at.path, ".")
	if strings.EqualFold(root, runtimeConfig) {
		return ErrInvalidNetworkConfig
	}
	return code
}

// describe returns what JSON a Go type wants.
func describe(t reflect.Type) string {
	if _, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "an integer of at most " + strconv.Itoa(t.Bits()) + " bits"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an unsigned integer of at most " + strconv.Itoa(t.Bits()) + " bits"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Pointer:
		return describe(t.Elem())
	}
	return "another type"
}

// locate returns the innermost value that cannot be read into its Go type, and what is
// wrong with that: of several wrong values package json may complain of another one. It
// is for errors only and reads everything again.
func locate(n node, t reflect.Type, err error) (node, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if readsItself(t) {
		return n, err // which says where
	}
	for child, ct := range children(n, t) {
		if err := json.Unmarshal(child.raw, reflect.New(ct).Interface()); err != nil {
			return locate(child.node, ct, err)
		}
	}
	return n, err
}

// A child is a value inside another. Its key is empty in an array.
type child struct {
	node
	key string
}

// children calls yield for each value inside n that encoding/json reads into a
// value of its own inside t.
func children(n node, t reflect.Type) func(yield func(child, reflect.Type) bool) {
	return func(yield func(child, reflect.Type) bool) {
		switch t.Kind() {
		case reflect.Struct:
			fields := jsonFields(t)
			members, _ := n.members()
			for _, m := range members {
				f, ok := fields.find(m.key)
				if ok && !yield(child{n.child(m.key, m.raw), m.key}, f.typ) {
					return
				}
			}
		case reflect.Map:
			members, _ := n.members()
			for _, m := range members {
				if !yield(child{n.child(m.key, m.raw), m.key}, t.Elem()) {
					return
				}
			}
		case reflect.Slice, reflect.Array:
			elements, _ := n.elements()
			for _, e := range elements {
				if !yield(child{node: e}, t.Elem()) {
					return
				}
			}
		}
	}
}

// A jsonField is a field of a Go struct as encoding/json sees it.
type jsonField struct {
	name  string
	typ   reflect.Type
	index []int // of reflect.Value.FieldByIndex

	// odd fields are read by rules that need package json: the option "string", and a pointer
	// to an embedded struct, which it makes when a field of that is there.
	odd bool
}

type fieldList []jsonField

// find returns the field that takes a key.
func (l fieldList) find(key string) (jsonField, bool) {
	for _, f := range l {
		if f.name == key {
			return f, true
		}
	}
	for _, f := range l {
		if strings.EqualFold(f.name, key) {
			return f, true
		}
	}
	return jsonField{}, false
}

func (l fieldList) names() []string {
	names := make([]string, len(l))
	for i, f := range l {
		names[i] = f.name
	}
	return names
}

// needPackage reports whether package json has rules for a field that are not repeated here.
// That of several fields by one name is another one.
func (l fieldList) needPackage() bool {
	for i, f := range l {
		if f.odd || slices.ContainsFunc(l[:i], func(other jsonField) bool { return other.name == f.name }) {
			return true
		}
	}
	return false
}

// jsonFields returns the fields of t, those of embedded structs included.
func jsonFields(t reflect.Type) fieldList {
	var all fieldList
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
		case f.Anonymous && name == "" && inner == t: // brings nothing new
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			for _, deep := range jsonFields(inner) {
				deep.index = append([]int{i}, deep.index...)
				deep.odd = deep.odd || inner != f.Type
				all = append(all, deep)
			}
		case f.IsExported():
			if !validTag(name) {
				name = f.Name
			}
			all = append(all, jsonField{name: name, typ: f.Type, index: f.Index, odd: strings.Contains(options, "string")})
		}
	}
	return all
}

// validTag reports whether package json takes a name from a tag.
//
// Source: isValidTag of https://github.com/golang/go/blob/go1.25.0/src/encoding/json/encode.go
func validTag(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c)
	})
}

// unknownMember returns the error for the first member of a document that no
// field of t takes.
func unknownMember(n node, t reflect.Type, more []string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if readsItself(t) {
		return nil
	}
	if t.Kind() == reflect.Struct {
		if err := unknownIn(n, jsonFields(t), more); err != nil {
			return err
		}
	}
	for child, ct := range children(n, t) {
		if err := unknownMember(child.node, ct, nil); err != nil {
			return err
		}
	}
	return nil
}

// readsItself reports whether t has its own way of reading JSON, so that its
// fields say nothing about what it reads.
func readsItself(t reflect.Type) bool {
	switch reflect.New(t).Interface().(type) {
	case json.Unmarshaler, encoding.TextUnmarshaler:
		return true
	}
	return false
}

func unknownIn(n node, fields fieldList, more []string) error {
	known := append(fields.names(), more...)
	members, _ := n.members()
	for _, m := range members {
		if strings.HasPrefix(m.key, "cni.dev/") || slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, m.key) }) {
			continue
		}
		at := n.child(m.key, m.raw)
		text := at.path + ": unknown key, with the value " + at.showInside()
		if near := nearest(m.key, known); near != "" {
			text += "; the nearest known key is " + strconv.Quote(near)
		}
		return NewError(ErrUnsupportedField, text, nil)
	}
	return nil
}

// nearest returns the name that is most like key, if one is like it at all.
func nearest(key string, names []string) string {
	const longest = 64 // in bytes, since the work grows with it
	if len(key) > longest {
		return ""
	}
	best, bestDistance := "", 1+len(key)/2
	for _, name := range names {
		if d := distance(strings.ToLower(key), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance returns how many bytes have to be inserted, deleted or replaced, or
// pairs of neighbours swapped, to make b of a.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, above, row := rows[0], rows[1], rows[2]
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above[j]+cost, row[j]+1, above[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}

// withoutShadowed returns data without the members that encoding/json would let
// win over an exact spelling of the same key.
func withoutShadowed(data json.RawMessage, t reflect.Type) json.RawMessage {
	if !hasTwins(data) {
		return data
	}
	parts := shadowed(node{raw: data}, t)
	if len(parts) == 0 {
		return data
	}
	return replace(data, parts...)
}

// shadowed returns the values of members whose key differs in case only from
// that of another member which is spelled exactly as the field of t, but not
// what is inside such a value. They are in document order.
func shadowed(n node, t reflect.Type) []json.RawMessage {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if readsItself(t) {
		return nil
	}
	var all []json.RawMessage
	var fields fieldList
	exact := map[string]bool{}
	if t.Kind() == reflect.Struct {
		fields = jsonFields(t)
		members, _ := n.members()
		for _, m := range members {
			exact[m.key] = true
		}
	}
	for child, ct := range children(n, t) {
		if f, ok := fields.find(child.key); ok && f.name != child.key && exact[f.name] {
			all = append(all, child.raw)
			continue
		}
		all = append(all, shadowed(child.node, ct)...)
	}
	return all
}

// replace returns a copy of data with null in the place of each part. The parts
// are slices of data in document order.
func replace(data json.RawMessage, parts ...json.RawMessage) json.RawMessage {
	out := make(json.RawMessage, 0, len(data)+len(parts)*len("null"))
	done := 0
	for _, part := range parts {
		start := cap(data) - cap(part)
		out = append(append(out, data[done:start]...), "null"...)
		done = start + len(part)
	}
	return append(out, data[done:]...)
}

// hasTwins reports whether any object of a valid document may hold a key twice,
// in whatever case. It is the cheap question before the dear one, asked of every
// request, so it says yes where it is not worth the work to know.
func hasTwins(data json.RawMessage) bool {
	if len(data) == 0 {
		return false
	}
	twins, _ := findTwins(data)
	return twins
}

// findTwins looks at the value at the start of b and returns what follows it.
func findTwins(b json.RawMessage) (bool, json.RawMessage) {
	switch b[0] {
	case '[':
		rest := skipSpace(b[1:])
		for rest[0] != ']' {
			twins, after := findTwins(rest)
			if twins {
				return true, nil
			}
			rest = skipComma(after)
		}
		return false, rest[1:]
	case '{':
		return findTwinKeys(b)
	}
	_, rest := cutValue(b)
	return false, rest
}

func findTwinKeys(b json.RawMessage) (bool, json.RawMessage) {
	var seen [64]uint64 // hashes; an object with more keys is rare
	n := 0
	rest := skipSpace(b[1:])
	for ; rest[0] != '}'; n++ {
		key, after := cutValue(rest)
		hash, ok := foldedHash(key)
		if !ok || n == len(seen) || slices.Contains(seen[:n], hash) {
			return true, nil
		}
		seen[n] = hash
		twins, after := findTwins(skipSpace(skipSpace(after)[1:])) // the colon
		if twins {
			return true, nil
		}
		rest = skipComma(after)
	}
	return false, rest[1:]
}

// skipComma skips what is between two members or elements.
func skipComma(b json.RawMessage) json.RawMessage {
	if b = skipSpace(b); b[0] == ',' {
		b = skipSpace(b[1:])
	}
	return b
}

// foldedHash is the FNV-1a hash of a key with its letters in lower case. It is
// not ok for a key that can be spelled in more ways than this knows: with escapes,
// or beyond ASCII.
func foldedHash(key json.RawMessage) (hash uint64, ok bool) {
	hash = 14695981039346656037
	for _, c := range key {
		switch {
		case c == '\\' || c >= 0x80:
			return 0, false
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		hash = (hash ^ uint64(c)) * 1099511628211
	}
	return hash, true
}
