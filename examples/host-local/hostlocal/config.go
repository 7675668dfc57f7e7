// SPDX-License-Identifier: Apache-2.0

package hostlocal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/cnikit/cnikit/ipam"
	"github.com/cnikit/cnikit/types"
)

// Config is what host-local reads from its configuration.
type Config struct {
	IPAM struct {
		// Subnet, RangeStart, RangeEnd and Gateway are one range, written the old way.
		// It comes before Ranges.
		Subnet     netip.Prefix `json:"subnet"`
		RangeStart netip.Addr   `json:"rangeStart"`
		RangeEnd   netip.Addr   `json:"rangeEnd"`
		Gateway    netip.Addr   `json:"gateway"`
		// Ranges are pools of ranges: a container gets one address from each pool.
		Ranges [][]types.IPRange `json:"ranges"`
		// Routes are the routes of the result, copied as they are.
		Routes json.RawMessage `json:"routes"`
		// DataDir is where the reservations are kept. Empty: ipam.DefaultDir.
		DataDir string `json:"dataDir"`
		// ResolvConf is the path of a file like /etc/resolv.conf for the name resolution
		// of the result. Empty: none.
		ResolvConf string `json:"resolvConf"`
	} `json:"ipam"`
	RuntimeConfig struct {
		// IPRanges are pools that come before all others.
		IPRanges types.IPRanges `json:"ipRanges"`
		// IPs are addresses that the container wants.
		IPs []types.IPRequest `json:"ips"`
	} `json:"runtimeConfig"`
	Args args `json:"args"`

	// sets and routes are what Validate made of the pools and of the routes.
	sets   []ipam.RangeSet
	routes []types.Route
}

// args is what host-local reads from args. What it does not understand is not for
// it, of whatever type it is.
//
// Spec: CNI conventions, "args"; checklist ARG-015, ARG-017, CONF-033.
type args struct {
	// IPs are addresses that the container wants: args.cni.ips.
	IPs []types.IPRequest
}

// UnmarshalJSON implements [json.Unmarshaler].
func (a *args) UnmarshalJSON(data []byte) error {
	var areas struct{ CNI json.RawMessage }
	var cni struct{ IPs json.RawMessage }
	if json.Unmarshal(data, &areas) != nil || json.Unmarshal(areas.CNI, &cni) != nil || cni.IPs == nil {
		return nil
	}
	err := json.Unmarshal(cni.IPs, &a.IPs)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return types.Errorf(types.ErrDecodingFailure, "cni.ips: %.60s is not valid; want an array of addresses", cni.IPs)
	}
	return err
}

// Validate checks the directory, the ranges and the routes.
func (c *Config) Validate() (err error) {
	if dir := c.IPAM.DataDir; dir != "" && !filepath.IsAbs(dir) {
		// The working directory is whatever the runtime has, which is not to be littered.
		return types.Errorf(types.ErrInvalidNetworkConfig, "ipam.dataDir: %.80q is not an absolute path", dir)
	}
	pools := slices.Clone([][]types.IPRange(c.RuntimeConfig.IPRanges))
	if c.IPAM.Subnet.IsValid() {
		pools = append(pools, []types.IPRange{{
			Subnet:     c.IPAM.Subnet,
			RangeStart: c.IPAM.RangeStart,
			RangeEnd:   c.IPAM.RangeEnd,
			Gateway:    c.IPAM.Gateway,
		}})
	}
	pools = append(pools, c.IPAM.Ranges...)
	if len(pools) == 0 {
		return types.NewError(types.ErrInvalidNetworkConfig, "ipam: has no ranges; want ranges or subnet", nil)
	}
	if c.sets, err = ipam.NewRangeSets(pools); err != nil {
		return err
	}
	c.routes, err = decodeRoutes(c.IPAM.Routes)
	return err
}

// decodeRoutes reads routes with all that they hold, known or not.
func decodeRoutes(raw json.RawMessage) ([]types.Route, error) {
	if raw == nil {
		return nil, nil
	}
	doc, err := json.Marshal(map[string]json.RawMessage{"routes": raw})
	if err != nil {
		return nil, err
	}
	result, err := types.DecodeResult(doc, types.Newest)
	var coded *types.Error
	if errors.As(err, &coded) {
		return nil, &types.Error{Code: coded.Code, Msg: "ipam." + coded.Msg, Details: coded.Details, Err: coded.Err}
	} else if err != nil {
		return nil, err
	}
	return result.Routes, nil
}

// supports checks that results of a version can hold an address from each set:
// before 0.3.0 they have room for one of each family. Before 1.0.0 a route has a gateway of
// its own family.
//
// Spec: checklist DLG-031, RES-025.
func (c *Config) supports(v types.Version) error {
	for i, r := range c.routes {
		if v < types.V100 && r.GW.IsValid() && r.GW.Is4() != r.Dst.Addr().Is4() {
			return types.Errorf(types.ErrInvalidNetworkConfig,
				"ipam.routes[%d].gw: %s is not of the family of %s, which needs CNI version %s; the request is of %s", i, r.GW, r.Dst, types.V100, v)
		}
	}
	if v >= types.V030 {
		return nil
	}
	var families [2]int
	for _, set := range c.sets {
		family := 1
		if set.Is4() {
			family = 0
		}
		if families[family]++; families[family] > 1 {
			return types.Errorf(types.ErrInvalidNetworkConfig,
				"ipam: several range sets of one family need CNI version %s; the request is of %s", types.V030, v)
		}
	}
	return nil
}

// requests returns the addresses that the container wants, from the highest of the
// sources that has any.
//
// Spec: checklist ARG-012 to ARG-014, CAP-014.
func (c *Config) requests(a types.Args) ([]netip.Addr, error) {
	var arg struct{ IP types.IPRequest }
	if err := a.Decode(&arg); err != nil {
		return nil, err
	}
	for _, source := range [][]types.IPRequest{c.RuntimeConfig.IPs, c.Args.IPs, {arg.IP}} {
		var addrs []netip.Addr
		for _, request := range source {
			if !request.IsZero() {
				addrs = append(addrs, request.Addr)
			}
		}
		if len(addrs) > 0 {
			return addrs, nil
		}
	}
	return nil, nil
}

// dns returns the name resolution of the result.
func (c *Config) dns() (types.DNS, error) {
	if c.IPAM.ResolvConf == "" {
		return types.DNS{}, nil
	}
	data, err := readSmall(c.IPAM.ResolvConf)
	if err != nil {
		return types.DNS{}, fmt.Errorf("ipam.resolvConf: %w", err)
	}
	return parseResolvConf(data), nil
}

// readSmall reads a file like /etc/resolv.conf. A pipe would keep the plugin waiting, and
// some devices have no end.
func readSmall(path string) (data []byte, err error) {
	const most = 1 << 20
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(data) > most {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %d bytes", most)}
	}
	return data, err
}
