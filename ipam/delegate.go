// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/cnikit/cnikit/types"
)

// cleanupLimit bounds the DEL that follows a failed ADD. That DEL has a time of its
// own because what made the ADD fail may be that the caller's time is over.
const cleanupLimit = 10 * time.Second

// Add runs the IPAM plugin with ADD and returns its result, converted to the
// newest version. Plugin is the name of an executable in the directories of
// call.Path: the value of ipam.type. The environment and the bytes of standard
// input are those of call; only CNI_COMMAND is set. The result has at least one
// address, and none that is unspecified, a loopback address or multicast; nor has it a
// loopback or multicast gateway.
//
// When the delegate has been started and anything goes wrong, it is run with DEL
// before Add returns, so nothing is left behind. What that DEL has to say against
// it goes to call.Stderr. When a later step of the caller's own ADD fails, it is for the caller
// to run [Del].
//
// The error of a delegate comes back with its code, message and details
// untouched, as a [types.Error]. Other errors have the code
// [types.ErrInvalidNetworkConfig] if there is no such plugin, and are then
// [io/fs.ErrNotExist]; [types.ErrInvalidEnvironmentVariables] if CNI_PATH has no
// directory to look into; [types.ErrTryAgainLater] if ctx ended or the executable
// was being replaced for some seconds; [types.ErrDecodingFailure] if the answer
// makes no sense.
//
// When ctx ends, the delegate is asked to stop by SIGTERM, and is killed two
// seconds later.
//
// If the executable found is the one that is running, and call.Local knows the
// plugin, then it runs inside this process and behaves as a child would.
//
// Spec: CNI 1.1.0, section 4; checklist DLG-001 to DLG-009, DLG-011, DLG-013,
// DLG-022, DLG-024, DLG-026.
func Add(ctx context.Context, call types.Call, plugin string) (*types.Result, error) {
	return add(ctx, call, plugin, true)
}

// Del runs the IPAM plugin with DEL; see [Add]. The caller's own cleanup comes
// first, since a missing executable is an error here as well.
//
// Spec: checklist DLG-007, DLG-025, DEL-014 to DEL-016.
func Del(ctx context.Context, call types.Call, plugin string) error {
	return runOnly(ctx, call, plugin, types.CommandDel)
}

// Check runs the IPAM plugin with CHECK; see [Add].
//
// Spec: checklist CHK-014, CHK-015.
func Check(ctx context.Context, call types.Call, plugin string) error {
	return runOnly(ctx, call, plugin, types.CommandCheck)
}

// GC runs the IPAM plugin with GC; see [Add]. The caller's own garbage comes first.
//
// Spec: checklist GC-011, GC-012, AMB-070.
func GC(ctx context.Context, call types.Call, plugin string) error {
	return runOnly(ctx, call, plugin, types.CommandGC)
}

// Status runs the IPAM plugin with STATUS; see [Add].
//
// Spec: checklist STA-008, STA-009.
func Status(ctx context.Context, call types.Call, plugin string) error {
	return runOnly(ctx, call, plugin, types.CommandStatus)
}

// Delegate runs a plugin of any kind with call.Command. It is what a plugin needs
// that wraps another one: change the copy of the call first.
//
//	call := r.Call
//	call.Stdin = edited
//	call.Environ = ipam.Setenv(call.Environ, "CNI_IFNAME", "net1")
//	result, err := ipam.Delegate(ctx, call, "bridge")
//
// For ADD the result is the delegate's, which need not have an address, and a
// failed ADD is followed by DEL. For the other commands the result is nil. All
// else is as for [Add].
//
// Spec: CNI 1.1.0, section 4; checklist DLG.
func Delegate(ctx context.Context, call types.Call, plugin string) (*types.Result, error) {
	if call.Command == types.CommandAdd {
		return add(ctx, call, plugin, false)
	}
	return nil, runOnly(ctx, call, plugin, call.Command)
}

// Setenv returns a copy of environ in which key has the value, in its old place,
// or at the end if it was not there.
func Setenv(environ []string, key, value string) []string {
	changed := make([]string, 0, len(environ)+1)
	found := false
	for _, pair := range environ {
		if name, _, _ := strings.Cut(pair, "="); name == key {
			if found {
				continue
			}
			pair, found = key+"="+value, true
		}
		changed = append(changed, pair)
	}
	if !found {
		changed = append(changed, key+"="+value)
	}
	return changed
}

func add(ctx context.Context, call types.Call, plugin string, needAddress bool) (*types.Result, error) {
	d, err := find(call, plugin)
	if err != nil {
		return nil, err
	}
	stdout, err := d.run(ctx, call, types.CommandAdd)
	return d.settle(ctx, call, stdout, err, needAddress)
}

// settle returns the result of an ADD, or cleans up if there is none.
func (d delegate) settle(ctx context.Context, call types.Call, stdout []byte, err error, needAddress bool) (*types.Result, error) {
	var result *types.Result
	if err == nil {
		result, err = d.decode(call, stdout, needAddress)
	}
	if err == nil {
		return result, nil
	}
	if !errors.Is(err, errNotStarted) {
		d.cleanUp(ctx, call)
	}
	return nil, err
}

// cleanUp runs the delegate with DEL after its ADD failed. Its error is only
// reported, past any log that would take out the secrets of the request: the first
// error is the one to return.
//
// Spec: CNI 1.1.0, section 4; checklist DLG-009, DLG-011, ERR-025.
func (d delegate) cleanUp(ctx context.Context, call types.Call) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	d.input = nil
	if _, err := d.run(ctx, call, types.CommandDel); err != nil && call.Stderr != nil {
		// There is nobody left to tell when standard error is gone.
		_, _ = fmt.Fprintf(call.Stderr, "%s: DEL after a failed ADD: %s\n", d.name, call.Redact(err.Error()))
	}
}

func runOnly(ctx context.Context, call types.Call, plugin string, command types.Command) error {
	d, err := find(call, plugin)
	if err != nil {
		return err
	}
	_, err = d.run(ctx, call, command)
	return err
}

// decode reads the answer to a successful ADD.
//
// Spec: checklist DLG-006, DLG-013, DLG-022, DLG-026, ERR-024.
func (d delegate) decode(call types.Call, stdout []byte, needAddress bool) (*types.Result, error) {
	if len(stdout) == 0 {
		return nil, types.Errorf(types.ErrDecodingFailure, "%s: ADD succeeded without a result", d.name)
	}
	result, err := types.DecodeResult(stdout, call.CNIVersion)
	if err != nil {
		code := types.ErrDecodingFailure
		errors.As(err, &code)
		return nil, types.NewError(code, d.name+": the result of ADD makes no sense", err)
	}
	empty := len(result.IPs) == 0 && len(result.Interfaces) == 0 && len(result.Routes) == 0
	switch {
	case empty && result.Extra["code"] != nil:
		return nil, types.NewError(types.ErrDecodingFailure, d.name+": ADD succeeded with an error for a result", errors.New(beginning(call, stdout)))
	case needAddress && len(result.IPs) == 0:
		return nil, types.NewError(types.ErrInternal, d.name+": the result has no address", nil)
	case needAddress:
		for i, ip := range result.IPs {
			if ip.Address.Addr().IsUnspecified() || nobodys(ip.Address.Addr()) || nobodys(ip.Gateway) {
				return nil, types.Errorf(types.ErrInternal, "%s: the result has ips[%d] with address %s and gateway %s; want addresses that a host can have", d.name, i, ip.Address, ip.Gateway)
			}
		}
	}
	return result, nil
}

// nobodys reports whether an address belongs to no interface on a network, so that
// giving it to one, such as the loopback address to a bridge, does harm.
func nobodys(a netip.Addr) bool { return a.IsLoopback() || a.IsMulticast() }
