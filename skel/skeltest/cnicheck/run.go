// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// runOptions are those of "cnicheck run".
type runOptions struct {
	command, list, netns string

	path, id, ifName, args, capabilities, cache, valid string

	verbose bool
	color   string
	timeout time.Duration
}

const runUsage = `usage: cnicheck run COMMAND CONFLIST [NETNS] [flags]

Runs one command of a network by hand, as a container runtime does: ADD for each of
its plugins in order, DEL in reverse, with the results kept in between.

COMMAND is add, check, del, gc, status or version.
CONFLIST is the file of the network.
NETNS is the path of a network namespace, or its name for "ip netns".

`

func parseRun(args []string) (o runOptions, err error) {
	flags := flag.NewFlagSet("cnicheck run", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), runUsage)
		flags.PrintDefaults()
	}
	path := os.Getenv("CNI_PATH")
	if path == "" {
		path = "/opt/cni/bin"
	}
	flags.StringVar(&o.path, "path", path, "`directories` with the plugins, as CNI_PATH")
	flags.StringVar(&o.id, "id", "", "container `ID` (default: the last part of NETNS)")
	flags.StringVar(&o.ifName, "ifname", "eth0", "`name` of the interface in the container")
	flags.StringVar(&o.args, "args", "", "CNI_ARGS")
	flags.StringVar(&o.capabilities, "cap", "", "`JSON` object with values for capabilities")
	flags.StringVar(&o.cache, "cache", filepath.Join(os.TempDir(), "cnicheck"), "`directory` to keep results in")
	flags.StringVar(&o.valid, "valid", "", "for gc: `list` of the valid attachments as ID/IFNAME, with commas, or none (default: those in the cache)")
	flags.BoolVar(&o.verbose, "v", false, "show what each plugin was sent and said")
	flags.StringVar(&o.color, "color", "auto", "auto, always or never")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "how long it may take")
	words, err := parseAnywhere(flags, args)
	if err != nil {
		return o, err
	}
	needed := 2
	if len(words) > 0 && (words[0] == "add" || words[0] == "check") {
		needed = 3
	}
	if len(words) < needed || len(words) > 3 {
		flags.Usage()
		return o, flag.ErrHelp
	}
	o.command, o.list = words[0], words[1]
	if len(words) == 3 {
		o.netns = words[2]
	}
	return o, nil
}

// attachment is what the options are about.
func (o runOptions) attachment() (a skeltest.Attachment, err error) {
	a = skeltest.Attachment{ContainerID: o.id, Netns: o.netns, IfName: o.ifName, Args: o.args}
	if a.Netns != "" && !strings.Contains(a.Netns, "/") {
		a.Netns = "/run/netns/" + a.Netns
	}
	if a.ContainerID == "" {
		a.ContainerID = "cnicheck"
		if a.Netns != "" {
			a.ContainerID = filepath.Base(a.Netns)
		}
	}
	if o.capabilities != "" {
		err = json.Unmarshal([]byte(o.capabilities), &a.Capabilities)
	}
	return a, err
}

func runCommand(args []string) int {
	o, err := parseRun(args)
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		return complain(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	show := skeltest.TextOptions{Color: inColor(o.color, os.Stderr), Verbose: o.verbose}
	r := &skeltest.Runtime{Path: filepath.SplitList(o.path), CacheDir: o.cache}
	err = o.run(ctx, r, os.Stdout)
	for _, e := range r.Executions() {
		err = errors.Join(err, e.WriteText(os.Stderr, show))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cnicheck:", err)
		return 1
	}
	return 0
}

// run runs the command and prints what it gives.
func (o runOptions) run(ctx context.Context, r *skeltest.Runtime, w io.Writer) error {
	n, err := types.LoadNetwork(o.list)
	if err != nil {
		return err
	}
	for _, warning := range n.Warnings {
		fmt.Fprintln(os.Stderr, "cnicheck: warning:", warning)
	}
	a, err := o.attachment()
	if err != nil {
		return fmt.Errorf("-cap: %w", err)
	}
	switch o.command {
	case "add":
		result, err := r.Add(ctx, n, a)
		if err != nil {
			return err
		}
		data, err := result.Encode(n.CNIVersion)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, skeltest.Pretty(data))
		return err
	case "check":
		return r.Check(ctx, n, a)
	case "del":
		return r.Del(ctx, n, a)
	case "gc":
		valid, err := o.validAttachments(r, n)
		if err != nil {
			return err
		}
		return r.GC(ctx, n, valid)
	case "status":
		return r.Status(ctx, n)
	case "version":
		return printVersions(ctx, r, n, w)
	}
	return fmt.Errorf("command %q: want add, check, del, gc, status or version", o.command)
}

// validAttachments are those that GC leaves alone.
func (o runOptions) validAttachments(r *skeltest.Runtime, n *types.Network) (valid []types.Attachment, err error) {
	if o.valid == "" {
		known, err := r.Attachments(n)
		for _, a := range known {
			valid = append(valid, types.Attachment{ContainerID: a.ContainerID, IfName: a.IfName})
		}
		return valid, err
	}
	for _, word := range words(o.valid) {
		if word == "none" {
			continue
		}
		id, ifName, ok := strings.Cut(word, "/")
		if !ok {
			return nil, fmt.Errorf("-valid %s: want ID/IFNAME", word)
		}
		valid = append(valid, types.Attachment{ContainerID: id, IfName: ifName})
	}
	return valid, nil
}

func printVersions(ctx context.Context, r *skeltest.Runtime, n *types.Network, w io.Writer) error {
	for i, p := range n.Plugins {
		info, err := r.Version(ctx, n, i)
		if err != nil {
			return err
		}
		var all []string
		for _, v := range info.SupportedVersions {
			all = append(all, v.String())
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", p.Type, strings.Join(all, ", ")); err != nil {
			return err
		}
	}
	return nil
}
