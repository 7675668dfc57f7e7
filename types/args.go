// SPDX-License-Identifier: Apache-2.0

package types

import (
	"encoding"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Args are the pairs of CNI_ARGS by key. Keys are case-sensitive. The values are
// untrusted: never make one part of a path, a command line or a rule without a
// check.
//
// Spec: CNI 1.1.0, section 2, "CNI_ARGS"; checklist GRAM-3, ARG.
type Args map[string]string

// ignoreUnknown is the key that makes [Args.Decode] tolerate unknown ones. It is
// not in the specification, and every plugin understands it.
const ignoreUnknown = "IgnoreUnknown"

// ParseArgs reads CNI_ARGS: pairs of key and value with "=" between them, joined
// by ";". A value may be empty and may hold "="; an empty pair is ignored; the
// last of several equal keys counts. The error has the code
// [ErrInvalidEnvironmentVariables].
//
// Spec: checklist ARG-001, ARG-005 to ARG-011, AMB-045.
func ParseArgs(s string) (Args, error) {
	args := Args{}
	secret := false // what follows a secret may be the rest of it
	for pair := range strings.SplitSeq(s, ";") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case pair == "":
			continue
		case (!ok || key == "") && secret:
			return nil, argsError(notShown + ` is no pair; want KEY=VALUE`)
		case !ok || key == "":
			return nil, argsError(quote(pair) + ` is no pair; want KEY=VALUE`)
		}
		args[key], secret = value, isSecret(key)
	}
	if v, ok := args[ignoreUnknown]; ok {
		if _, err := parseArgBool(v); err != nil {
			return nil, argsError(ignoreUnknown + ": " + err.Error())
		}
	}
	return args, nil
}

func argsError(text string) error {
	return NewError(ErrInvalidEnvironmentVariables, "CNI_ARGS: "+text, nil)
}

// parseArgBool reads 1, 0, true and false in any case.
func parseArgBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, errors.New(quote(s) + ` is not valid; want 1, 0, true or false`)
}

// String returns the pairs in the form of CNI_ARGS, sorted by key. A key that holds
// "=", or a key or value that holds ";", is read as something else; none comes from
// [ParseArgs].
func (a Args) String() string {
	pairs := make([]string, 0, len(a))
	for key, value := range a {
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ";")
}

// Decode sets the fields of the struct that v points to. A field takes the key
// that its tag `args:"KEY"` names, or else the key of its own name; the fields
// of an embedded struct count as its own. A field is a string, a bool, an
// integer, or of a type that implements [encoding.TextUnmarshaler]. A field
// whose key is not there stays as it is.
//
// A key that no field takes is an error, unless IgnoreUnknown is true. Every
// error has the code [ErrInvalidEnvironmentVariables] and names CNI_ARGS and the
// key.
//
// Spec: checklist ARG-002 to ARG-004, ARG-008.
func (a Args) Decode(v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		return errors.New("decode CNI_ARGS: want a pointer to a struct, not " + target.Kind().String())
	}
	taken := map[string]bool{ignoreUnknown: true}
	if err := a.decodeStruct(target.Elem(), taken); err != nil {
		return err
	}
	if ignore, _ := parseArgBool(a[ignoreUnknown]); ignore {
		return nil
	}
	var unknown []string
	for key := range a {
		if !taken[key] {
			unknown = append(unknown, quote(key))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	const most = 8 // keys; nobody reads more
	if more := len(unknown) - most; more > 0 {
		unknown = append(unknown[:most], "and "+strconv.Itoa(more)+" more")
	}
	return argsError("unknown key " + strings.Join(unknown, ", ") + "; IgnoreUnknown=1 permits it")
}

func (a Args) decodeStruct(s reflect.Value, taken map[string]bool) error {
	for i := range s.NumField() {
		field := s.Type().Field(i)
		if field.Anonymous && field.Type.Kind() == reflect.Struct {
			if err := a.decodeStruct(s.Field(i), taken); err != nil {
				return err
			}
			continue
		}
		if !field.IsExported() {
			continue
		}
		key := field.Tag.Get("args")
		if key == "" {
			key = field.Name
		}
		taken[key] = true
		text, ok := a[key]
		if !ok {
			continue
		}
		if err := setArg(s.Field(i), text); err != nil {
			return argValueError(key, err)
		}
	}
	return nil
}

// argValueError returns the error for a value that its field does not take.
func argValueError(key string, err error) error {
	text := clip(err.Error())
	if isSecret(key) {
		text = notShown + " is not valid"
	}
	return &Error{Code: ErrInvalidEnvironmentVariables, Msg: "CNI_ARGS: " + key, Details: text, Err: unwrapped{err}}
}

func setArg(field reflect.Value, text string) error {
	if u, ok := field.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Bool:
		b, err := parseArgBool(text)
		if err != nil {
			return err
		}
		field.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, field.Type().Bits())
		if err != nil {
			return err
		}
		field.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, field.Type().Bits())
		if err != nil {
			return err
		}
		field.SetUint(n)
	default:
		return errors.New("no value of Go type " + field.Type().String() + " can be read")
	}
	return nil
}

// K8sArgs are the pairs of CNI_ARGS that every Kubernetes runtime sends, for
// [Args.Decode]. Embed it to read more.
//
// Spec: none; a convention of the field. Checklist 3.3.
type K8sArgs struct {
	PodNamespace        string `args:"K8S_POD_NAMESPACE"`
	PodName             string `args:"K8S_POD_NAME"`
	PodUID              string `args:"K8S_POD_UID"`
	PodInfraContainerID string `args:"K8S_POD_INFRA_CONTAINER_ID"`
}
