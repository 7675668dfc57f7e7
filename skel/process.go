// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"errors"
	"os"
)

// errTerminal is the error of a plugin that is run by hand without input.
var errTerminal = errors.New("it is a terminal; want the configuration from a file or a pipe")

// A brokenInput is a standard input that must not be read.
type brokenInput struct{ err error }

func (b brokenInput) Read([]byte) (int, error) { return 0, b.err }

// processEnv returns the Env of the process, and takes standard output away from
// everybody else: descriptor 1 is standard error from then on. It is for Main,
// before there are other goroutines.
func processEnv() Env {
	env := Env{Environ: os.Environ(), Stdin: stdin(), Stderr: os.Stderr}
	switch {
	case wasClosed(os.Stdin):
		env.Stdin = nil
	case isTerminal(os.Stdin):
		env.Stdin = brokenInput{errTerminal}
	}
	if out := takeStdout(); out != nil {
		env.Stdout = out
	}
	return env
}
