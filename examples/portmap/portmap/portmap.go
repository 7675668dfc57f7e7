// SPDX-License-Identifier: Apache-2.0

//go:build linux

package portmap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Config is the plugin's own part of the configuration.
type Config struct {
	// SNAT masquerades what could not be answered otherwise. Absent: true.
	SNAT *bool `json:"snat"`
	// MasqAll masquerades everything.
	MasqAll bool `json:"masqAll"`
	// MarkMasqBit is the bit of the packet mark for the iptables backend. Absent: 13.
	MarkMasqBit *int `json:"markMasqBit"`
	// ExternalSetMarkChain is a chain to jump to instead, with the iptables backend.
	ExternalSetMarkChain *string `json:"externalSetMarkChain"`
	// ConditionsV4 and ConditionsV6 are further matches.
	ConditionsV4 []string `json:"conditionsV4"`
	ConditionsV6 []string `json:"conditionsV6"`
	// Backend is "nftables" or "iptables". Empty: what the host has.
	Backend string `json:"backend"`
	// RuntimeConfig is what the runtime asks for.
	RuntimeConfig struct {
		PortMappings types.PortMappings `json:"portMappings"`
	} `json:"runtimeConfig"`
}

// Validate refuses what cannot be meant.
func (c *Config) Validate() error {
	switch {
	case c.MarkMasqBit != nil && c.ExternalSetMarkChain != nil:
		return errors.New("markMasqBit, externalSetMarkChain: only one of them can be used")
	case c.MarkMasqBit != nil && (*c.MarkMasqBit < 0 || *c.MarkMasqBit > 31):
		return fmt.Errorf("markMasqBit: %d is not valid; want 0 to 31", *c.MarkMasqBit)
	}
	if err := (netutil.FirewallConfig{Backend: c.Backend}).Validate(); err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	return nil
}

// Plugin returns the plugin.
func Plugin() skel.Plugin[Config] {
	return skel.Plugin[Config]{
		Name:    "portmap",
		About:   "leads ports of the host to a container",
		Chained: true,
		Add:     add,
		Del:     del,
		Check:   check,
		GC:      gc,
		Status:  status,
		Timeout: 30 * time.Second, // more than any lock takes, and less than a runtime's patience
	}
}

type request = skel.Request[Config]

// owner is the mark on everything that is made for an attachment.
func owner(r *request) netutil.Owner {
	return netutil.Owner{Network: r.Net.Name, ContainerID: r.ContainerID, IfName: r.IfName}
}

// wanted is what the request asks for.
func wanted(r *request) netutil.PortMapConfig {
	c := ways(r)
	c.Ports, c.Addrs = r.Conf.RuntimeConfig.PortMappings, addresses(r)
	return c
}

// ways is how ports are to be mapped, whichever and to whom.
func ways(r *request) netutil.PortMapConfig {
	c := netutil.PortMapConfig{
		NoSNAT:       r.Conf.SNAT != nil && !*r.Conf.SNAT,
		MasqAll:      r.Conf.MasqAll,
		ConditionsV4: r.Conf.ConditionsV4,
		ConditionsV6: r.Conf.ConditionsV6,
	}
	if r.Conf.MarkMasqBit != nil {
		c.MarkMasqBit = types.Some(*r.Conf.MarkMasqBit)
	}
	if r.Conf.ExternalSetMarkChain != nil {
		c.ExternalSetMarkChain = *r.Conf.ExternalSetMarkChain
	}
	return c
}

// addresses returns the addresses of the container's interface in the previous result.
func addresses(r *request) []netip.Prefix {
	var all []netip.Prefix
	for _, ip := range r.PrevResult.ContainerIPs(r.IfName, r.Netns) {
		all = append(all, ip.Address)
	}
	return all
}

// with calls f with the port mapper of the host.
func with(ctx context.Context, r *request, backend string, f func(m *netutil.PortMapper) error) error {
	m, err := netutil.OpenPortMapper(ctx, netutil.FirewallConfig{Backend: backend, Log: r.Log})
	if err != nil {
		return err
	}
	return errors.Join(understood(f(m)), m.Close())
}

// understood gives an error its code if it is about the configuration. Only who knows
// the backend can tell which words a condition may have.
func understood(err error) error {
	if errors.Is(err, netutil.ErrCondition) {
		return types.NewError(types.ErrInvalidNetworkConfig, "conditionsV4, conditionsV6: "+err.Error(), nil)
	}
	return err
}

func add(ctx context.Context, r *request) (*types.Result, error) {
	if len(r.Conf.RuntimeConfig.PortMappings) == 0 {
		return r.PrevResult, nil
	}
	err := with(ctx, r, r.Conf.Backend, func(m *netutil.PortMapper) error {
		r.Undo(func(ctx context.Context) error { return remove(ctx, r) })
		return m.Ensure(ctx, owner(r), wanted(r))
	})
	if err != nil {
		return nil, err
	}
	return r.PrevResult, nil
}

func check(ctx context.Context, r *request) error {
	if len(r.Conf.RuntimeConfig.PortMappings) == 0 {
		return nil
	}
	return with(ctx, r, r.Conf.Backend, func(m *netutil.PortMapper) error {
		return m.Check(ctx, owner(r), wanted(r))
	})
}

// del removes what is mapped to the container, whatever the request says is: a runtime
// may not send the port mappings with DEL.
func del(ctx context.Context, r *request) error { return remove(ctx, r) }

// remove removes the ports of the attachment. The backend is of no matter for that, so
// one that the host lost does not stand in the way.
func remove(ctx context.Context, r *request) error {
	err := with(ctx, r, "", func(m *netutil.PortMapper) error { return m.Del(ctx, owner(r)) })
	if errors.Is(err, errors.ErrUnsupported) {
		return nil // nor can there be anything to remove
	}
	return err
}

// gc removes the ports of attachments of this network that are not valid any more.
func gc(ctx context.Context, r *request) error {
	keep := netutil.Owners(r.Net.Name, r.ValidAttachments)
	err := with(ctx, r, "", func(m *netutil.PortMapper) error { return m.Collect(ctx, r.Net.Name, keep) })
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

func status(ctx context.Context, r *request) error {
	err := with(ctx, r, r.Conf.Backend, func(m *netutil.PortMapper) error { return m.Ready(ctx, ways(r)) })
	if errors.Is(err, types.ErrInvalidNetworkConfig) {
		return err
	} else if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, "the host cannot map ports", err)
	}
	return nil
}
