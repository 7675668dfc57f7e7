// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cnikit/cnikit/types"
)

// ERR-008, ERR-009, ERR-012, ERR-013, ERR-014, ERR-015, ERR-021: the numbers are
// promises.
func TestCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[types.Code]uint{
		types.ErrIncompatibleCNIVersion: 1, types.ErrUnsupportedField: 2, types.ErrUnknownContainer: 3, types.ErrInvalidEnvironmentVariables: 4,
		types.ErrIOFailure: 5, types.ErrDecodingFailure: 6, types.ErrInvalidNetworkConfig: 7, types.ErrTryAgainLater: 11,
		types.ErrPluginNotAvailable: 50, types.ErrLimitedConnectivity: 51, types.ErrInternal: 999,
	} {
		if uint(code) != want || code.Error() == "" {
			t.Errorf("%v = %d, want %d", code, uint(code), want)
		}
		if named := !strings.HasPrefix(code.Error(), "error code "); named != (want < 100) {
			t.Errorf("Code(%d).Error() = %q, want a meaning: %v", want, code, want < 100)
		}
	}
	if got := types.Code(123).Error(); got != "error code 123" {
		t.Errorf("Code(123).Error() = %q", got)
	}
}

// A coded is an error with a type of its own.
type coded struct{ n int }

func (coded) Error() string { return "coded" }

func TestError_IsAs(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("open: %w", fs.ErrNotExist)
	for name, err := range map[string]error{
		"NewError": types.NewError(types.ErrTryAgainLater, "busy", cause),
		"Errorf":   types.Errorf(types.ErrTryAgainLater, "busy: %w", cause),
		"wrapped":  fmt.Errorf("add: %w", types.NewError(types.ErrTryAgainLater, "busy", cause)),
		"joined":   errors.Join(errors.New("x"), types.NewError(types.ErrTryAgainLater, "busy", cause)),
	} {
		if !errors.Is(err, types.ErrTryAgainLater) || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, types.ErrInternal) {
			t.Errorf("%s: errors.Is finds the wrong things in %v", name, err)
		}
		var e *types.Error
		if !errors.As(err, &e) || e.Code != types.ErrTryAgainLater {
			t.Errorf("%s: errors.As(*Error) = %+v", name, e)
		}
		var code types.Code
		if !errors.As(err, &code) || code != types.ErrTryAgainLater {
			t.Errorf("%s: errors.As(Code) = %v, want %v", name, code, types.ErrTryAgainLater)
		}
		if strings.Count(err.Error(), "busy") != 1 || strings.Count(err.Error(), "open") != 1 {
			t.Errorf("%s: Error() = %q, want message and cause once each", name, err)
		}
	}
	var own coded
	if err := types.Errorf(types.ErrIOFailure, "a: %w", coded{7}); !errors.As(err, &own) || own.n != 7 {
		t.Errorf("errors.As(coded) = %+v, want 7", own)
	}
	// The outermost code is the code of the error; a cause keeps its own.
	inner := types.NewError(types.ErrDecodingFailure, "in", nil)
	outer := types.NewError(types.ErrInvalidNetworkConfig, "out", inner)
	var code types.Code
	if !errors.As(outer, &code) || code != types.ErrInvalidNetworkConfig || !errors.Is(outer, types.ErrDecodingFailure) {
		t.Errorf("errors.As(Code) = %v, want %v", code, types.ErrInvalidNetworkConfig)
	}
	// A code is an error itself, and zero is ErrInternal.
	if err := error(types.ErrTryAgainLater); !errors.Is(err, types.ErrTryAgainLater) || !errors.As(err, &code) || code != types.ErrTryAgainLater {
		t.Errorf("a bare code is not found as one: %v", code)
	}
	if zero := types.NewError(0, "x", nil); !errors.Is(zero, types.ErrInternal) || !errors.As(zero, &code) || code != types.ErrInternal {
		t.Errorf("code 0 is %v, want %v", code, types.ErrInternal)
	}
}

func TestError_Error(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	for _, tt := range []struct {
		err  types.Error
		want string
	}{
		{types.Error{}, "error code 999"},
		{types.Error{Code: types.ErrIOFailure}, "I/O failure"},
		{types.Error{Msg: "m"}, "m"},
		{types.Error{Msg: "m", Err: cause}, "m: cause"},
		{types.Error{Msg: "m", Details: "d", Err: cause}, "m: d"},
		{types.Error{Code: types.ErrIOFailure, Err: cause}, "I/O failure: cause"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%+v.Error() = %q, want %q", tt.err, got, tt.want)
		}
	}
	if got := types.Errorf(7, "a %d: %w", 5, cause).Error(); got != "a 5: cause" {
		t.Errorf("Errorf = %q, want %q", got, "a 5: cause")
	}
}

func TestError_Encode(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 150)
	cause := errors.New("cause")
	tests := []struct {
		name string
		err  types.Error
		want map[string]any // with the number of the code as text
	}{
		// ERR-005, ERR-021, ERR-022
		{"zero", types.Error{}, map[string]any{"cniVersion": "1.1.0", "code": "999", "msg": "error code 999"}},
		// ERR-004
		{"version", types.Error{CNIVersion: types.V040, Code: 7, Msg: "m"}, map[string]any{"cniVersion": "0.4.0", "code": "7", "msg": "m"}},
		{"cause", types.Error{Code: 7, Msg: "m", Err: cause}, map[string]any{"cniVersion": "1.1.0", "code": "7", "msg": "m", "details": "cause"}},
		{"details", types.Error{Code: 7, Msg: "m", Details: "d", Err: cause}, map[string]any{"cniVersion": "1.1.0", "code": "7", "msg": "m", "details": "d"}},
		{"own code", types.Error{Code: 4294967295, Msg: "m"}, map[string]any{"cniVersion": "1.1.0", "code": "4294967295", "msg": "m"}},
		{"special characters", types.Error{Code: 7, Msg: "\"<>&\\\u2028\t\x01\x7f"}, map[string]any{"cniVersion": "1.1.0", "code": "7", "msg": "\"<>&\\\u2028\t\x01\x7f"}},
		// ERR-025, AMB-058
		{"several lines", types.Error{Code: 7, Msg: "a\nb", Details: "d"}, map[string]any{"cniVersion": "1.1.0", "code": "7", "msg": "a", "details": "a\nb\nd"}},
		{"empty first line", types.Error{Code: 7, Msg: "\na"}, map[string]any{"cniVersion": "1.1.0", "code": "7", "msg": "invalid network configuration", "details": "\na"}},
		{"long", types.Error{Code: 7, Msg: long}, map[string]any{"cniVersion": "1.1.0", "code": "7", "msg": strings.Repeat("é", 98) + "…", "details": long}},
		{"200 bytes", types.Error{Code: 7, Msg: strings.Repeat("é", 100)}, map[string]any{"cniVersion": "1.1.0", "code": "7", "msg": strings.Repeat("é", 100)}},
		{"not UTF-8", types.Error{Code: 7, Msg: "a\xff\xc3", Details: "\x80"}, map[string]any{"cniVersion": "1.1.0", "code": "7", "msg": "a\ufffd", "details": "\ufffd"}},
		{"not UTF-8 and too long by it", types.Error{Code: 7, Msg: strings.Repeat("\x80a", 60)}, map[string]any{"cniVersion": "1.1.0", "code": "7", "msg": strings.Repeat("\ufffda", 49) + "…", "details": strings.Repeat("\ufffda", 60)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data := tt.err.Encode()
			got := generic(t, data)
			got["code"] = string(got["code"].(json.Number))
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Encode = %v, want %v", got, tt.want)
			}
			// ERR-029: it is read again, and written the same.
			back, err := types.DecodeError(data)
			if err != nil || string(back.Encode()) != string(data) {
				t.Errorf("Encode(DecodeError(%s)) = %s, %v, want the same", data, back.Encode(), err)
			}
		})
	}
}

// ERR-029
func TestDecodeError(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]types.Error{
		`{"code":7}`: {Code: 7},
		`{"cniVersion":"1.0.0","code":11,"msg":"m","details":"d","x":[]}`: {CNIVersion: types.V100, Code: 11, Msg: "m", Details: "d"},
		`{"CNIVersion":"weird","Code":100,"Msg":null}`:                    {Code: 100},
		`{"cniVersion":5,"code":0}`:                                       {},
	} {
		got, err := types.DecodeError([]byte(in))
		if err != nil || *got != want {
			t.Errorf("DecodeError(%s) = %+v, %v, want %+v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		``: "not valid JSON", `[]`: "the document: [] ", `{}`: "code: is missing", `{"code":null}`: "code: is missing",
		// ERR-002
		`{"code":"7"}`: `code: "7" `, `{"code":-1}`: "code: -1 ", `{"code":1.5}`: "code: 1.5 ", `{"code":4294967296}`: "code: 4294967296 ",
		`{"code":7,"msg":5}`: "msg: 5 ", `{"code":7,"details":[]}`: "details: [] ",
	} {
		got, err := types.DecodeError([]byte(in))
		if got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("DecodeError(%s) = %+v, %v, want an error with %q", in, got, err, want)
		}
	}
}

func FuzzError_Encode(f *testing.F) {
	f.Add(uint(7), "m", "d", "c")
	f.Add(uint(0), "a\nb", "", "\xff")
	f.Add(uint(1), strings.Repeat("é", 150), "", "")
	f.Add(uint(1), "\r\n", "\n", "\n")
	f.Fuzz(func(t *testing.T, code uint, msg, details, cause string) {
		e := &types.Error{Code: types.Code(code % (1 << 32)), Msg: msg, Details: details}
		if cause != "" {
			e.Err = errors.New(cause)
		}
		data := e.Encode()
		if !json.Valid(data) || !utf8.Valid(data) {
			t.Fatalf("Encode(%+v) = %q, which is not JSON", e, data)
		}
		back, err := types.DecodeError(data)
		if err != nil || back.Msg == "" || len(back.Msg) > 600 || strings.Contains(back.Msg, "\n") || back.Code == 0 {
			t.Errorf("DecodeError(%s) = %+v, %v, want a short message and a code", data, back, err)
		}
		if again := back.Encode(); string(again) != string(data) {
			t.Errorf("Encode(DecodeError(%s)) = %s, want the same", data, again)
		}
	})
}
