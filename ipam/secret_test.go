// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// What a delegate writes that fails without an error object is repeated, but not the
// request, nor what is secret in it. ERR-023, ERR-025
func TestAdd_secrets(t *testing.T) {
	t.Parallel()
	const planted = "hunter2-hunter2"
	const config = `{"cniVersion":"1.1.0","name":"n","type":"bridge","plain":"` + planted + `","ipam":{"type":"fake"}}`
	filler := strings.Repeat("filler\n", 10_000)
	tests := []struct {
		name string
		step step
		want string
	}{
		{"the secret", step{Stderr: "cannot log in with " + planted + ".", Exit: 1}, "cannot log in with (not shown)."},
		{"the secret on standard output", step{Stdout: "cannot log in with " + planted, Exit: 1}, "cannot log in with (not shown)"},
		{"the request", step{Stderr: "what is " + config + " to me?\n", Exit: 1}, "what is {…} to me?"},
		{"the request on standard output", step{Stdout: config, Exit: 1}, "standard output: {…}"},
		{"the request, indented and long", step{Stderr: filler + strings.ReplaceAll(config, ",", ",\n") + "\nno", Exit: 1}, "{…}\nno"},
		{"the request where nothing begins", step{Stderr: "begin " + strings.Repeat("x", 64<<10) + planted[3:] + "\nend", Exit: 1}, "standard error: end"},
		{"the request without end", step{Stdout: config[:60] + filler, Exit: 1}, "standard output: {…}"},
		{"a success", step{Stdout: `{"code":5,"msg":"` + planted + `"}`}, `{"code":5,"msg":"(not shown)"}`},
		{"much", step{Stdout: filler, Stderr: filler, Exit: 1}, "filler"},
	}
	for _, way := range ways {
		for _, tt := range tests {
			t.Run(way+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				call := in(way, b.call(t, map[string]step{"ADD": tt.step}))
				call.Stdin = append([]byte(`{"password":"`+planted+`",`), call.Stdin[1:]...)
				_, err := ipam.Add(t.Context(), call, "fake")
				var coded *types.Error
				if !errors.As(err, &coded) {
					t.Fatalf("Add() = %v, want a types.Error", err)
				}
				if text := err.Error(); !strings.Contains(text, tt.want) || strings.Contains(text, planted[3:]) || len(text) > 3000 {
					t.Errorf("Add() = %d bytes: %.4000s; want %q in it, and not the secret", len(text), text, tt.want)
				}
			})
		}
	}
}

// What the DEL after a failed ADD has to say goes to standard error, where runtimes keep
// it, without the secrets of the request, in whatever words the delegate gives it. ERR-025
func TestAdd_cleanupSecrets(t *testing.T) {
	t.Parallel()
	const planted = "hunter2-hunter2"
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			call := in(way, b.call(t, map[string]step{
				"ADD": {Stdout: `{"code":100,"msg":"no address"}`, Exit: 1},
				"DEL": {Stdout: `{"code":100,"msg":"cannot log in with ` + planted + `","details":"as ` + planted + `"}`, Exit: 1},
			}))
			call.Stdin = append([]byte(`{"password":"`+planted+`",`), call.Stdin[1:]...)
			if _, err := ipam.Add(t.Context(), call, "fake"); err == nil {
				t.Error("Add() succeeded")
			}
			said := b.stderr.String()
			if !strings.Contains(said, "DEL after a failed ADD: cannot log in with (not shown)") || strings.Contains(said, planted) {
				t.Errorf("standard error = %s; want the error of DEL without the secret", said)
			}
		})
	}
}

// A CNI_PATH of any length makes no error of any length.
func TestAdd_longPath(t *testing.T) {
	t.Parallel()
	call := newBench(t).call(t, nil)
	call.Path = make([]string, 5000)
	for i := range call.Path {
		call.Path[i] = "/no/such/directory"
	}
	if _, err := ipam.Add(t.Context(), call, "fake"); err == nil || len(err.Error()) > 1500 {
		t.Errorf("Add() = %v, want a short error", err)
	}
}
