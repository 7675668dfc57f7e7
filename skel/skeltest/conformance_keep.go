// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// examinationDir makes the directory of an examination, in keep if that is not empty,
// and a function that removes what of it need not stay.
func examinationDir(keep string) (dir string, remove func(), err error) {
	if keep == "" {
		dir, err = os.MkdirTemp("", "cnitest-")
		return dir, func() { _ = os.RemoveAll(dir) }, err // below the directory for such things
	}
	if keep, err = filepath.Abs(keep); err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(keep, 0o755); err != nil {
		return "", nil, err
	}
	dir, err = os.MkdirTemp(keep, "cnitest-")
	return dir, func() { _ = os.Remove(dir) }, err // which it can if it is empty
}

// stepsDir is where a case keeps what its IPAM plugin says at each step.
const stepsDir = "cnitest-steps"

// keepAnswers keeps what the IPAM plugin of the kit says at this step, and returns the
// command that makes it say so again.
func (t *trial) keepAnswers() (command string, err error) {
	if t.delegate == nil {
		return "", nil
	}
	dir := filepath.Join(t.dir, "bin", stepsDir, fmt.Sprint(len(t.steps)))
	answers, err := t.delegate.answers()
	for _, name := range answers {
		err = errors.Join(err, os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(t.delegate.records(), name))))
	}
	if err != nil || len(answers) == 0 {
		return "", err
	}
	return "cp -R " + quote(dir) + "/. " + quote(t.delegate.records()), nil
}

// answers returns the names of the directories with answers. Those of records are
// numbers.
func (d *Delegate) answers() (names []string, err error) {
	entries, err := os.ReadDir(d.records())
	for _, e := range entries {
		if e.IsDir() && strings.Trim(e.Name(), "0123456789+") != "" {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// renew makes the directory what it was before the plugin ran, but for answers.
func (t *trial) renew() error {
	entries, err := os.ReadDir(t.dir)
	errs := []error{err}
	for _, e := range entries {
		if e.Name() != "bin" {
			errs = append(errs, os.RemoveAll(filepath.Join(t.dir, e.Name())))
		}
	}
	if t.delegate == nil {
		return errors.Join(errs...)
	}
	records, err := os.ReadDir(t.delegate.records())
	errs = append(errs, err, t.delegate.Forget())
	for _, e := range records {
		if strings.Trim(e.Name(), "0123456789+") == "" {
			errs = append(errs, os.RemoveAll(filepath.Join(t.delegate.records(), e.Name())))
		}
	}
	return errors.Join(errs...)
}
