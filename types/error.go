// SPDX-License-Identifier: Apache-2.0

package types

import (
	"fmt"
	"strconv"
	"strings"
)

// Code is a code of the error result. A Code is itself an error, so that
// errors.Is(err, [ErrTryAgainLater]) asks for the code of an [Error].
//
// Spec: CNI 1.1.0, section 5, "Error": 0 to 99 belong to the specification, 100
// and up to the plugin. Checklist 1.7, ERR-006, ERR-007.
type Code uint

// The codes that the specification defines, and [ErrInternal].
const (
	// ErrIncompatibleCNIVersion says that the plugin does not support the
	// version of the request.
	ErrIncompatibleCNIVersion Code = 1
	// ErrUnsupportedField says that the plugin does not support a field of the
	// configuration; the message names the key and its value.
	ErrUnsupportedField Code = 2
	// ErrUnknownContainer says that the container does not exist. It is a
	// promise that nothing is left to clean up: the runtime may skip DEL.
	ErrUnknownContainer Code = 3
	// ErrInvalidEnvironmentVariables says that a variable is missing or wrong;
	// the message names it.
	ErrInvalidEnvironmentVariables Code = 4
	// ErrIOFailure says that reading or writing failed, such as the reading of
	// standard input.
	ErrIOFailure Code = 5
	// ErrDecodingFailure says that content cannot be decoded: it is not JSON, or
	// a member has another JSON type than it should.
	ErrDecodingFailure Code = 6
	// ErrInvalidNetworkConfig says that the configuration decodes, and that its
	// values are not valid.
	ErrInvalidNetworkConfig Code = 7
	// ErrTryAgainLater says that the cause is transient: the runtime should try
	// the same operation later.
	ErrTryAgainLater Code = 11
	// ErrPluginNotAvailable answers STATUS: the plugin cannot serve ADD.
	ErrPluginNotAvailable Code = 50
	// ErrLimitedConnectivity answers STATUS: the plugin cannot serve ADD, and
	// existing containers may have limited connectivity.
	ErrLimitedConnectivity Code = 51

	// ErrInternal is the code of every error that carries no other. The
	// specification leaves 100 and up to plugins; existing plugins send 999.
	//
	// Source: containernetworking/cni v1.3.0, pkg/types/types.go (ErrInternal).
	ErrInternal Code = 999
)

// Error returns what the code means, or its number where the specification
// gives it no meaning.
func (c Code) Error() string {
	switch c {
	case ErrIncompatibleCNIVersion:
		return "incompatible CNI version"
	case ErrUnsupportedField:
		return "unsupported field in network configuration"
	case ErrUnknownContainer:
		return "container unknown or does not exist"
	case ErrInvalidEnvironmentVariables:
		return "invalid environment variables"
	case ErrIOFailure:
		return "I/O failure"
	case ErrDecodingFailure:
		return "content cannot be decoded"
	case ErrInvalidNetworkConfig:
		return "invalid network configuration"
	case ErrTryAgainLater:
		return "try again later"
	case ErrPluginNotAvailable:
		return "plugin not available"
	case ErrLimitedConnectivity:
		return "plugin not available, limited connectivity"
	}
	return "error code " + strconv.FormatUint(uint64(c), 10)
}

// Error is the error result of a plugin. Handlers return it, or any other
// error, which then gets the code [ErrInternal]; only package skel writes it to
// standard output.
//
// Spec: CNI 1.1.0, section 5, "Error"; checklist ERR.
type Error struct {
	// CNIVersion is the version of the document. Package skel sets it: to the
	// version of the request, or to the plugin's newest if that is not known.
	CNIVersion Version
	// Code says what kind of error it is. Zero is never sent: it stands for
	// [ErrInternal].
	Code Code
	// Msg is one short line, without the cause.
	Msg string
	// Details is the longer story. If it is empty, the text of Err is sent.
	Details string
	// Err is the cause, for errors.Is and errors.As. It does not go over the wire
	// but for its text.
	Err error
}

// NewError returns an [Error] with a code, a short message and a cause, which
// may be nil.
func NewError(code Code, msg string, cause error) error {
	return &Error{Code: code, Msg: msg, Err: cause}
}

// Errorf returns an [Error] whose message is formatted as by [fmt.Errorf]; what
// %w wraps can be found with errors.Is and errors.As.
func Errorf(code Code, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: unwrapped{err}}
}

// unwrapped gives access to what an error wraps without saying its text a
// second time.
type unwrapped struct{ error }

func (unwrapped) Error() string   { return "" }
func (u unwrapped) Unwrap() error { return u.error }

// Error returns the message, followed by the details.
func (e *Error) Error() string {
	msg, details := e.text()
	if details == "" {
		return msg
	}
	return msg + ": " + details
}

// Unwrap returns the code and the cause, so that errors.Is finds either.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.code()}
	}
	return []error{e.code(), e.Err}
}

// As gives errors.As the code of the error, for a target of type *[Code].
func (e *Error) As(target any) bool {
	code, ok := target.(*Code)
	if ok {
		*code = e.code()
	}
	return ok
}

func (e *Error) code() Code {
	if e.Code == 0 {
		return ErrInternal
	}
	return e.Code
}

// text returns the message, which is never empty, and the details.
func (e *Error) text() (msg, details string) {
	msg, details = e.Msg, e.Details
	if details == "" && e.Err != nil {
		details = e.Err.Error()
	}
	if msg == "" {
		msg = e.code().Error()
	}
	return msg, details
}

// maxMsg is the length of a message in bytes beyond which the rest goes to the
// details.
//
// Spec: checklist AMB-058: one line, at most about 200 bytes.
const maxMsg = 200

// Encode returns the JSON document of the error. A message of several lines or
// of more than about 200 bytes is cut, and then stands whole in the details.
func (e *Error) Encode() []byte {
	msg, details := e.text()
	msg = strings.ToValidUTF8(msg, "\uFFFD") // which can make it longer
	if short := shorten(msg); short != msg {
		details = strings.TrimSuffix(msg+"\n"+details, "\n")
		msg = short
	}
	if msg == "" {
		msg = e.code().Error() // the first line is empty
	}
	version := e.CNIVersion
	if version == 0 {
		version = Newest
	}
	b := append(make([]byte, 0, 256), `{"cniVersion":`...)
	b = appendString(b, version.String())
	b = append(b, `,"code":`...)
	b = strconv.AppendUint(b, uint64(e.code()), 10)
	b = append(b, `,"msg":`...)
	b = appendString(b, msg)
	if details != "" {
		b = append(b, `,"details":`...)
		b = appendString(b, details)
	}
	return append(b, '}')
}

// shorten cuts s to its first line and to maxMsg bytes, between characters.
func shorten(s string) string {
	if line, _, more := strings.Cut(s, "\n"); more {
		s = line
	}
	if len(s) <= maxMsg {
		return s
	}
	const dots = "…"
	cut := maxMsg - len(dots)
	for cut > 0 && s[cut]&0xC0 == 0x80 { // a continuation byte of UTF-8
		cut--
	}
	return s[:cut] + dots
}

// DecodeError reads the error document of a plugin. A missing cniVersion, msg or
// details is tolerated, as are members that nobody knows; a document that is not
// an object, or has no code, is not an error document.
//
// Spec: checklist ERR-029.
func DecodeError(data []byte) (*Error, error) {
	doc, err := parseDocument(data)
	if err != nil {
		return nil, err
	}
	var e Error
	coded := false
	err = doc.fields(func(key string, v node) (err error) {
		switch key {
		case "cniVersion":
			// The version of a failed plugin decides nothing.
			e.CNIVersion, _ = v.version()
		case "code":
			var code uint64
			code, err = v.uint(32)
			e.Code, coded = Code(code), true
		case "msg":
			e.Msg, err = v.text()
		case "details":
			e.Details, err = v.text()
		}
		return err
	}, "cniVersion", "code", "msg", "details")
	if err != nil {
		return nil, err
	}
	if !coded {
		return nil, invalid("code", "is missing; want the code of an error")
	}
	return &e, nil
}
