// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

const runtimeUsage = `usage: cnicheck runtime install DIR [NAME...]
       cnicheck runtime check DIR CONFLIST... [flags]
       cnicheck runtime forget DIR

Examines a container runtime by what it sends plugins.

install puts a recorder by the name of cnirecord, or those given, into DIR, which is
among the directories of plugins of the runtime, such as /opt/cni/bin. Name it in a
network, alone or behind the plugins that are there:

    {"cniVersion": "1.1.0", "name": "judge-me", "plugins": [{"type": "cnirecord"}]}

Then let the runtime attach and detach containers. containerd reads networks from
/etc/cni/net.d and restarts a pod's network with the pod ("crictl runp", "crictl rmp");
podman with the CNI backend takes "podman run --network judge-me". The recorder keeps
what it is sent in DIR/cnirecord.log, with all that stands in the configuration.

check judges what was recorded for the networks in these files. The exit status is 1
if the runtime breaks a MUST of the specification. forget drops what was recorded.

`

// playRecorder ends the process as a recorder if a runtime runs it as one.
func playRecorder() {
	if os.Getenv("CNI_COMMAND") == "" {
		return
	}
	env := skel.Env{Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if exit, ok := skeltest.PlayRecorder(os.Args[0], env); ok {
		os.Exit(exit)
	}
}

func runtimeCommand(args []string) int {
	var o options
	flags := flag.NewFlagSet("cnicheck runtime", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), runtimeUsage)
		flags.PrintDefaults()
	}
	o.outputFlags(flags)
	words, err := parseAnywhere(flags, args)
	if err == nil && len(words) < 2 {
		flags.Usage()
		err = flag.ErrHelp
	}
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		return complain(err)
	}
	switch dir, rest := words[1], words[2:]; words[0] {
	case "install":
		err = install(dir, rest)
	case "check":
		return checkRuntime(o, dir, rest)
	case "forget":
		var r *skeltest.Recorder
		if r, err = skeltest.OpenRecorder(dir); err == nil {
			err = r.Forget()
		}
	default:
		err = fmt.Errorf("runtime %s: want install, check or forget", words[0])
	}
	if err != nil {
		return complain(err)
	}
	return 0
}

// install makes recorders that are copies of this program, which may be gone soon.
func install(dir string, names []string) error {
	if len(names) == 0 {
		names = []string{"cnirecord"}
	}
	if _, err := skeltest.NewRecorder(dir, names...); err != nil {
		return err
	}
	for _, name := range names {
		if err := copySelf(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// copySelf replaces path by a copy of this program.
func copySelf(path string) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	temporary, err := os.CreateTemp(filepath.Dir(path), ".cnirecord-")
	if err != nil {
		return err
	}
	_, err = io.Copy(temporary, self)
	if err := errors.Join(err, temporary.Chmod(0o755), temporary.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return os.Rename(temporary.Name(), path)
}

func checkRuntime(o options, dir string, files []string) int {
	if len(files) == 0 {
		return complain(errors.New("runtime check: want the file of a network"))
	}
	r, err := skeltest.OpenRecorder(dir)
	if err != nil {
		return complain(err)
	}
	var networks []*types.Network
	for _, file := range files {
		n, err := types.LoadNetwork(file)
		if err != nil {
			return complain(err)
		}
		networks = append(networks, n)
	}
	report, err := r.Examine(networks...)
	if err != nil {
		return complain(err)
	}
	if len(report.Versions) == 0 {
		return complain(fmt.Errorf("%s: nothing is recorded for these networks", dir))
	}
	if err := o.write(report); err != nil {
		return complain(err)
	}
	if len(report.Broken(skeltest.Failure)) > 0 {
		return 1
	}
	return 0
}
