// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// hang waits for ever as a process that ignores SIGTERM, and as long as the
// context lasts inside the test. It says so when it begins.
func hang(ctx context.Context, stderr io.Writer) {
	if stderr == os.Stderr {
		signal.Ignore(syscall.SIGTERM)
	}
	fmt.Fprintln(stderr, "hanging")
	if stderr == os.Stderr {
		time.Sleep(time.Hour)
	}
	<-ctx.Done()
}

// killed is the exit status of a process that ended itself in the middle.
const killed = 9

// child starts this test binary as another user of the directory dir: with do it
// says what to do, and with dieAt at which step that changes the file system it
// ends there and then, as if by SIGKILL. 0: it lives.
func child(t *testing.T, dir, do string, dieAt int) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "CNIKIT_IPAM_TEST="+do, "CNIKIT_IPAM_DIR="+dir, "CNIKIT_IPAM_DIE="+strconv.Itoa(dieAt))
	return cmd
}

// runChild runs a child to its end and returns its output and exit status.
func runChild(t *testing.T, dir, do string, dieAt int) (string, int) {
	t.Helper()
	cmd := child(t, dir, do, dieAt)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != killed {
		t.Fatalf("child %q: %v: %s", do, err, stderr.String())
	}
	return string(stdout), cmd.ProcessState.ExitCode()
}

// childSets are the range sets of the children, and of the tests that look at what
// they did.
var childSets = []string{"10.0.0.0/24", "2001:db8::/64"}

// playProcess is the child.
func playProcess() (exit int, ok bool) {
	do := os.Getenv("CNIKIT_IPAM_TEST")
	if do == "" {
		return 0, false
	}
	if err := playStore(os.Getenv("CNIKIT_IPAM_DIR"), do, os.Getenv("CNIKIT_IPAM_DIE")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

func playStore(dir, do, die string) error {
	dieAt, err := strconv.Atoi(die)
	if err != nil {
		return err
	}
	step := 0
	store := ipam.FileStore{Dir: dir, Network: "net"}.WithHook(func(string) error {
		if step++; step == dieAt {
			os.Exit(killed)
		}
		return nil
	})
	var pools [][]types.IPRange
	for _, subnet := range []string{"10.0.0.0/24", "2001:db8::/64"} {
		pools = append(pools, []types.IPRange{{Subnet: netip.MustParsePrefix(subnet)}})
	}
	rangeSets, err := ipam.NewRangeSets(pools)
	if err != nil {
		return err
	}
	return playAll(ipam.Allocator{Store: store, Sets: rangeSets}, do, os.Stdout)
}

// playHere does in the test what a child does.
func playHere(t *testing.T, a ipam.Allocator, do string) {
	t.Helper()
	if err := playAll(a, do, io.Discard); err != nil {
		t.Fatal(err)
	}
}

func playAll(a ipam.Allocator, do string, stdout io.Writer) error {
	for _, one := range strings.Split(do, ",") {
		if err := playOne(a, strings.Fields(one), stdout); err != nil {
			return fmt.Errorf("%s: %w", one, err)
		}
	}
	return nil
}

func playOne(a ipam.Allocator, words []string, stdout io.Writer) error {
	ctx := context.Background()
	switch words[0] {
	case "add":
		got, err := a.Allocate(ctx, owner(words[1]))
		for _, ip := range got.IPs {
			fmt.Fprintln(stdout, ip.Address.Addr())
		}
		return err
	case "del":
		return a.Release(ctx, owner(words[1]))
	case "gc":
		var valid []types.Attachment
		for _, id := range words[1:] {
			valid = append(valid, owner(id))
		}
		return a.GC(ctx, valid)
	case "many":
		n, err := strconv.Atoi(words[2])
		for i := 0; i < n && err == nil; i++ {
			err = playOne(a, []string{"add", words[1] + "-" + strconv.Itoa(i)}, stdout)
		}
		return err
	}
	return fmt.Errorf("cannot do %q", words)
}
