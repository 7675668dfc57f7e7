// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"errors"
	"fmt"
	"net"

	"github.com/cnikit/cnikit/netutil"
	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Config is the plugin's own part of the configuration.
type Config struct {
	// Bridge is the name of the bridge. Empty: "cni0".
	Bridge string `json:"bridge"`
	// IsGateway gives the bridge the gateway address of each subnet, and makes the
	// host forward packets.
	IsGateway bool `json:"isGateway"`
	// IsDefaultGateway makes the bridge the default gateway too. Implies IsGateway.
	IsDefaultGateway bool `json:"isDefaultGateway"`
	// ForceAddress replaces an address of the bridge that is in the way of the gateway
	// address.
	ForceAddress bool `json:"forceAddress"`
	// IPMasq gives packets that leave the network the address of the host.
	IPMasq bool `json:"ipMasq"`
	// IPMasqBackend is "nftables" or "iptables". Empty: what the host has.
	IPMasqBackend string `json:"ipMasqBackend"`
	// MTU is that of a new bridge and of both ends of the veth, in bytes. Zero or
	// less: the kernel's default.
	MTU int `json:"mtu"`
	// HairpinMode lets frames leave by the port they came from.
	HairpinMode bool `json:"hairpinMode"`
	// PromiscMode makes the bridge receive everything.
	PromiscMode bool `json:"promiscMode"`
	// PortIsolation keeps the container from talking to other isolated ones.
	PortIsolation bool `json:"portIsolation"`
	// MACSpoofCheck drops frames whose source is not the container's address.
	MACSpoofCheck bool `json:"macspoofchk"`
	// EnableDAD waits until nobody else is found to have the IPv6 addresses.
	EnableDAD bool `json:"enabledad"`
	// DisableContainerInterface leaves the container's end down.
	DisableContainerInterface bool `json:"disableContainerInterface"`
	VLANs

	// IPAM is read here only to tell whether there are addresses at all.
	IPAM struct {
		Type string `json:"type"`
	} `json:"ipam"`
	// The address of the container's end, by precedence: from the runtime, from args,
	// and then from CNI_ARGS. Zero: a random one.
	RuntimeConfig struct {
		MAC types.MAC `json:"mac"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			MAC types.MAC `json:"mac"`
		} `json:"cni"`
	} `json:"args"`
}

// Validate refuses combinations that make no sense.
func (c *Config) Validate() error {
	if c.Bridge != "" {
		if err := types.ValidateInterfaceName(c.Bridge); err != nil {
			return fmt.Errorf("bridge: %w", err)
		}
	}
	switch {
	case c.HairpinMode && c.PromiscMode:
		return errors.New("hairpinMode and promiscMode exclude each other")
	case c.DisableContainerInterface && c.IPAM.Type != "":
		return errors.New("disableContainerInterface and ipam exclude each other: an interface that is down has no use for an address")
	}
	if err := c.VLANs.validate(); err != nil {
		return err
	}
	if c.MTU > 0 {
		if err := netutil.ValidateMTU(c.MTU); err != nil {
			return fmt.Errorf("mtu: %w", err)
		}
	}
	if err := (netutil.FirewallConfig{Backend: c.IPMasqBackend}).Validate(); err != nil {
		return fmt.Errorf("ipMasqBackend: %w", err)
	}
	return nil
}

func (c *Config) bridge() string {
	if c.Bridge == "" {
		return "cni0"
	}
	return c.Bridge
}

func (c *Config) bridgeConfig() netutil.BridgeConfig {
	return netutil.BridgeConfig{MTU: max(c.MTU, 0), Promisc: c.PromiscMode, VLANFiltering: c.VLANs.wanted()}
}

func (c *Config) gateway() bool { return c.IsGateway || c.IsDefaultGateway }

// mac returns the hardware address that the container's end is to have, or nil for
// a random one.
//
// Spec: checklist ARG-014.
func mac(r *skel.Request[Config]) (net.HardwareAddr, error) {
	var args struct {
		types.K8sArgs
		MAC types.MAC
		IP  string // the IPAM plugin's
	}
	if err := r.Args.Decode(&args); err != nil {
		return nil, err
	}
	for _, m := range []types.MAC{r.Conf.RuntimeConfig.MAC, r.Conf.Args.CNI.MAC, args.MAC} {
		if !m.IsZero() {
			return m[:], nil
		}
	}
	return nil, nil
}
