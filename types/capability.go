// SPDX-License-Identifier: Apache-2.0

package types

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// RuntimeConfig are the values of all well-known capabilities, for a plugin that
// wants them typed. A plugin puts it, or a struct with the few fields that it
// knows, into its own configuration:
//
//	type Conf struct {
//		RuntimeConfig struct {
//			PortMappings types.PortMappings `json:"portMappings"`
//		} `json:"runtimeConfig"`
//	}
//
// A value that is absent, null or empty requests nothing. A value that is
// malformed is [ErrInvalidNetworkConfig], and the error names it. Keys match
// ignoring case at every level, because one runtime library sends HostPort,
// IngressRate, Servers and so on.
//
// Spec: CNI conventions, "Dynamic plugin specific fields"; checklist 3.1,
// CAP-001 to CAP-008.
type RuntimeConfig struct {
	// PortMappings are the ports of the host to forward to the container.
	PortMappings PortMappings `json:"portMappings,omitempty"`
	// IPRanges are pools of addresses that come before the configured ones.
	IPRanges IPRanges `json:"ipRanges,omitempty"`
	// Bandwidth are the limits of traffic.
	Bandwidth Bandwidth `json:"bandwidth,omitzero"`
	// DNS takes the place of the configured name resolution.
	DNS RuntimeDNS `json:"dns,omitzero"`
	// IPs are the addresses that the container wants: all of them or none.
	IPs []IPRequest `json:"ips,omitempty"`
	// MAC is the hardware address that the interface of the container wants.
	MAC MAC `json:"mac,omitzero"`
	// InfinibandGUID is the GUID that the InfiniBand interface wants.
	InfinibandGUID GUID `json:"infinibandGUID,omitzero"`
	// DeviceID is the device to use: a PCI address such as "0000:3b:02.1" or the
	// name of a device of the auxiliary bus.
	DeviceID string `json:"deviceID,omitempty"`
	// Aliases are more names of the container on the network.
	Aliases Aliases `json:"aliases,omitzero"`
	// CgroupPath is the path of the pod's control group inside the tree of control
	// groups; it begins with "/".
	CgroupPath string `json:"cgroupPath,omitempty"`
	// PodAnnotations are the annotations of a Kubernetes pod. They are not in the
	// conventions; containerd sends them.
	PodAnnotations map[string]string `json:"io.kubernetes.cri.pod-annotations,omitempty"`
	// DeviceInfoFile is the path of the file to which a plugin writes what it knows
	// of the device. It is not in the conventions; meta plugins send it.
	DeviceInfoFile string `json:"CNIDeviceInfoFile,omitempty"`
}

// IsZero reports whether nothing is requested.
func (c RuntimeConfig) IsZero() bool {
	return len(c.PortMappings)+len(c.IPRanges)+len(c.IPs)+len(c.DeviceID)+len(c.CgroupPath)+
		len(c.PodAnnotations)+len(c.DeviceInfoFile) == 0 &&
		c.Bandwidth.IsZero() && c.DNS.IsZero() && c.MAC.IsZero() && c.InfinibandGUID.IsZero() && c.Aliases.IsZero()
}

// capabilityValue starts the reading of a value by its own UnmarshalJSON. Null
// leaves the value as it is, as everywhere in encoding/json.
func capabilityValue(data []byte, read func(node) error) error {
	n := node{raw: data}
	if n.isNull() {
		return nil
	}
	return invalidConfig(under(here, read(n)))
}

// invalidConfig gives an error the code for a configuration that is not valid.
//
// Spec: checklist CAP-004, GC-021.
func invalidConfig(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Code != ErrInvalidNetworkConfig {
		return &Error{Code: ErrInvalidNetworkConfig, Msg: e.Msg, Details: e.Details, Err: e.Err}
	}
	return err
}

// PortMapping forwards a port of the host to a port of the container.
//
// Spec: CNI conventions, "portMappings"; checklist 3.1, CAP-004, CAP-009,
// CAP-010, AMB-102.
type PortMapping struct {
	// HostPort is the port on the host, 1 to 65535.
	HostPort uint16 `json:"hostPort"`
	// ContainerPort is the port in the container, 1 to 65535.
	ContainerPort uint16 `json:"containerPort"`
	// Protocol is "tcp", "udp" or "sctp". Absent and empty are read as "tcp".
	Protocol string `json:"protocol"`
	// HostIP is the address of the host to listen on. The zero Addr and an
	// unspecified address: all of them. A mapping is not for a container's address
	// of the other family. The conventions do not have it, and every runtime sends
	// it.
	HostIP netip.Addr `json:"hostIP,omitzero"`
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *PortMapping) UnmarshalJSON(data []byte) error {
	return capabilityValue(data, func(n node) (err error) {
		*p, err = n.portMapping()
		return err
	})
}

func (n node) portMapping() (p PortMapping, err error) {
	p.Protocol = "tcp"
	err = n.fields(func(key string, v node) (err error) {
		switch key {
		case "hostPort":
			p.HostPort, err = v.port()
		case "containerPort":
			p.ContainerPort, err = v.port()
		case "protocol":
			p.Protocol, err = v.protocol()
		case "hostIP":
			p.HostIP, err = v.addr()
		}
		return err
	}, "hostPort", "containerPort", "protocol", "hostIP")
	switch {
	case err != nil:
	case p.HostPort == 0:
		err = invalid("hostPort", "is missing; want 1 to 65535")
	case p.ContainerPort == 0:
		err = invalid("containerPort", "is missing; want 1 to 65535")
	}
	if err != nil {
		return PortMapping{}, err
	}
	return p, nil
}

func (n node) port() (uint16, error) {
	v, err := n.uint(16)
	if err == nil && v == 0 || errors.Is(err, ErrInvalidNetworkConfig) {
		return 0, n.invalid(errors.New(n.show() + " is no port; want 1 to 65535"))
	}
	return uint16(v), err
}

func (n node) protocol() (string, error) {
	s, err := n.text()
	if err != nil {
		return "", err
	}
	switch p := strings.ToLower(s); p {
	case "":
		return "tcp", nil
	case "tcp", "udp", "sctp":
		return p, nil
	}
	return "", n.invalid(errors.New(quote(s) + ` is no protocol; want "tcp", "udp" or "sctp"`))
}

// PortMappings is the value of the capability portMappings. An exact duplicate
// is left out, as is null. Two different mappings of one port, protocol and
// address of the host are an error.
//
// Spec: checklist CAP-011.
type PortMappings []PortMapping

// UnmarshalJSON implements [json.Unmarshaler].
func (p *PortMappings) UnmarshalJSON(data []byte) error {
	return capabilityValue(data, func(n node) error {
		all := PortMappings{}
		err := n.each(func(_ int, e node) error {
			if e.isNull() {
				return nil
			}
			m, err := e.portMapping()
			if err == nil {
				all, err = all.with(m, e)
			}
			return err
		})
		if err == nil {
			*p = all
		}
		return err
	})
}

// with appends m, which was read from e, unless it is there already.
func (p PortMappings) with(m PortMapping, e node) (PortMappings, error) {
	for _, have := range p {
		switch {
		case have == m:
			return p, nil
		case have.HostPort == m.HostPort && have.Protocol == m.Protocol && have.HostIP == m.HostIP:
			return nil, e.invalid(errors.New("maps host port " + strconv.Itoa(int(m.HostPort)) + "/" + m.Protocol +
				", which another entry maps to container port " + strconv.Itoa(int(have.ContainerPort))))
		}
	}
	return append(p, m), nil
}

// IPRange is a range of addresses to take one from.
//
// Spec: CNI conventions, "ipRanges"; checklist 3.1, CAP-012, CAP-013.
type IPRange struct {
	// Subnet is the subnet of the range, as it was written: whether it has host bits
	// is for the allocator to judge, as is whether the other members are inside.
	Subnet netip.Prefix `json:"subnet"`
	// RangeStart is the first address. The zero Addr: the first one of the subnet
	// that a container can have.
	RangeStart netip.Addr `json:"rangeStart,omitzero"`
	// RangeEnd is the last address. The zero Addr: the last one of the subnet that a
	// container can have.
	RangeEnd netip.Addr `json:"rangeEnd,omitzero"`
	// Gateway is the gateway of the subnet. The zero Addr: the allocator chooses.
	Gateway netip.Addr `json:"gateway,omitzero"`
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *IPRange) UnmarshalJSON(data []byte) error {
	return capabilityValue(data, func(n node) (err error) {
		*r, err = n.ipRange()
		return err
	})
}

func (n node) ipRange() (r IPRange, err error) {
	err = n.fields(func(key string, v node) (err error) {
		switch key {
		case "subnet":
			r.Subnet, err = v.prefix()
		case "rangeStart":
			r.RangeStart, err = v.addr()
		case "rangeEnd":
			r.RangeEnd, err = v.addr()
		case "gateway":
			r.Gateway, err = v.addr()
		}
		return err
	}, "subnet", "rangeStart", "rangeEnd", "gateway")
	if err == nil && !r.Subnet.IsValid() {
		err = invalid("subnet", `is missing; want a subnet such as "10.0.0.0/24"`)
	}
	if err != nil {
		return IPRange{}, err
	}
	return r, nil
}

// IPRanges is the value of the capability ipRanges: one address is taken from
// each element, which is a pool of alternative ranges. A pool without ranges is
// left out. A range in the place of a pool, as one runtime library sends it, is
// a pool of one.
//
// Spec: CNI conventions, "ipRanges"; checklist CAP-013, AMB-100.
type IPRanges [][]IPRange

// UnmarshalJSON implements [json.Unmarshaler].
func (r *IPRanges) UnmarshalJSON(data []byte) error {
	return capabilityValue(data, func(n node) error {
		pools, err := collect(n, node.ipPool)
		if err != nil {
			return err
		}
		all := make(IPRanges, 0, len(pools))
		for _, pool := range pools {
			if len(pool) > 0 {
				all = append(all, pool)
			}
		}
		*r = all
		return nil
	})
}

func (n node) ipPool() ([]IPRange, error) {
	switch {
	case n.isNull():
		return nil, nil
	case n.raw[0] == '{':
		one, err := n.ipRange()
		return []IPRange{one}, err
	}
	return collect(n, node.ipRange)
}

// Bandwidth are the limits of a container's traffic. Zero: no limit.
//
// Spec: CNI conventions, "bandwidth"; checklist 3.1, CAP-015 to CAP-017, AMB-101.
type Bandwidth struct {
	// IngressRate is the rate of traffic towards the container, in bits per second.
	IngressRate uint64 `json:"ingressRate,omitempty"`
	// IngressBurst is how much may arrive at once beyond the rate, in bits. It is
	// given if and only if IngressRate is.
	IngressBurst uint64 `json:"ingressBurst,omitempty"`
	// EgressRate is the rate of traffic from the container, in bits per second.
	EgressRate uint64 `json:"egressRate,omitempty"`
	// EgressBurst is how much may leave at once beyond the rate, in bits. It is given
	// if and only if EgressRate is.
	EgressBurst uint64 `json:"egressBurst,omitempty"`
}

// IsZero reports whether there is no limit.
func (b Bandwidth) IsZero() bool { return b == Bandwidth{} }

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Bandwidth) UnmarshalJSON(data []byte) error {
	return capabilityValue(data, func(n node) (err error) {
		*b, err = n.bandwidth()
		return err
	})
}

func (n node) bandwidth() (b Bandwidth, err error) {
	err = n.fields(func(key string, v node) (err error) {
		switch key {
		case "ingressRate":
			b.IngressRate, err = v.uint(64)
		case "ingressBurst":
			b.IngressBurst, err = v.uint(64)
		case "egressRate":
			b.EgressRate, err = v.uint(64)
		case "egressBurst":
			b.EgressBurst, err = v.uint(64)
		}
		return err
	}, "ingressRate", "ingressBurst", "egressRate", "egressBurst")
	if err == nil {
		err = b.Validate()
	}
	if err != nil {
		return Bandwidth{}, err
	}
	return b, nil
}

// Validate checks that each rate has a burst and each burst a rate, and that no
// burst is of 4 GiB or more, which the kernel's token bucket cannot hold.
//
// Spec: checklist CAP-016, AMB-101.
func (b Bandwidth) Validate() error {
	if err := validateLimit("ingress", b.IngressRate, b.IngressBurst); err != nil {
		return err
	}
	return validateLimit("egress", b.EgressRate, b.EgressBurst)
}

func validateLimit(direction string, rate, burst uint64) error {
	const tooLarge = 8 * (1<<32 - 1) // in bits
	switch {
	case rate != 0 && burst == 0:
		return invalid(direction+"Burst", "is missing or 0, and "+direction+"Rate is not; want both or none")
	case rate == 0 && burst != 0:
		return invalid(direction+"Rate", "is missing or 0, and "+direction+"Burst is not; want both or none")
	case burst >= tooLarge:
		return invalid(direction+"Burst", strconv.FormatUint(burst, 10)+" is too large; want less than "+strconv.FormatUint(tooLarge, 10)+" bits")
	}
	return nil
}

// RuntimeDNS is the value of the capability dns. Its keys differ from those of
// [DNS]. All lists are in order of priority.
//
// Spec: CNI conventions, "dns"; checklist 3.1, CAP-018, AMB-103.
type RuntimeDNS struct {
	// Servers are the addresses of name servers.
	Servers []string `json:"servers,omitempty"`
	// Searches are the search domains.
	Searches []string `json:"searches,omitempty"`
	// Options are passed to the resolver.
	Options []string `json:"options,omitempty"`
}

// IsZero reports whether nothing is requested.
func (d RuntimeDNS) IsZero() bool { return len(d.Servers)+len(d.Searches)+len(d.Options) == 0 }

// UnmarshalJSON implements [json.Unmarshaler].
func (d *RuntimeDNS) UnmarshalJSON(data []byte) error {
	return capabilityValue(data, func(n node) (err error) {
		var got RuntimeDNS
		err = n.fields(func(key string, v node) (err error) {
			switch key {
			case "servers":
				got.Servers, err = collect(v, node.text)
			case "searches":
				got.Searches, err = collect(v, node.text)
			case "options":
				got.Options, err = collect(v, node.text)
			}
			return err
		}, "servers", "searches", "options")
		if err == nil {
			*d = got
		}
		return err
	})
}

// DNS returns the name resolution for a result: the value in the place of what
// is configured, whose domain stays, or what is configured if nothing is
// requested.
//
// Spec: checklist CAP-018, AMB-103.
func (d RuntimeDNS) DNS(configured DNS) DNS {
	if d.IsZero() {
		return configured
	}
	return DNS{Nameservers: d.Servers, Domain: configured.Domain, Search: d.Searches, Options: d.Options}
}

// IPRequest is the request for one address, such as an element of the capability
// ips or the key IP of CNI_ARGS: "10.0.0.5" or "10.0.0.5/24". The zero value
// requests nothing.
//
// Spec: CNI conventions, "ips"; checklist 3.1, CAP-014.
type IPRequest struct {
	// Addr is the address.
	Addr netip.Addr
	// Bits is the length of the prefix in bits. Zero: not given. A plugin may insist
	// on it.
	Bits int
}

// ParseIPRequest reads an address with or without prefix length. Empty text is
// the zero value. An IPv4-mapped address is an IPv4 address.
func ParseIPRequest(s string) (IPRequest, error) {
	if s == "" {
		return IPRequest{}, nil
	}
	if p, ok := parsePrefix(s); ok && p.Bits() > 0 {
		return IPRequest{p.Addr(), p.Bits()}, nil
	}
	if a, ok := parseAddr(s); ok {
		return IPRequest{Addr: a}, nil
	}
	return IPRequest{}, errors.New(quote(s) + ` is not an address; want one such as "10.0.0.5" or "10.0.0.5/24"`)
}

// IsZero reports whether nothing is requested.
func (r IPRequest) IsZero() bool { return !r.Addr.IsValid() }

// Prefix returns the address with its prefix length, and false if none is given.
func (r IPRequest) Prefix() (p netip.Prefix, ok bool) {
	p = netip.PrefixFrom(r.Addr, r.Bits)
	return p, r.Bits > 0 && p.IsValid()
}

// String returns the address, with its prefix length if one is given.
func (r IPRequest) String() string {
	switch {
	case r.IsZero():
		return ""
	case r.Bits == 0:
		return r.Addr.String()
	}
	return r.Addr.String() + "/" + strconv.Itoa(r.Bits)
}

// MarshalText implements [encoding.TextMarshaler].
func (r IPRequest) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *IPRequest) UnmarshalText(text []byte) error {
	got, err := ParseIPRequest(string(text))
	if err == nil {
		*r = got
	}
	return err
}

// Aliases is the value of the capability aliases: more names of the container.
// One runtime family sends them by the name of the network.
//
// Spec: CNI conventions, "aliases"; checklist 3.1, AMB-099.
type Aliases struct {
	// Names are for whatever network the request is about.
	Names []string
	// ByNetwork are the names for each network, if they came that way.
	ByNetwork map[string][]string
}

// For returns the names on a network.
func (a Aliases) For(network string) []string {
	if a.ByNetwork != nil {
		return a.ByNetwork[network]
	}
	return a.Names
}

// IsZero reports whether there are no names.
func (a Aliases) IsZero() bool { return len(a.Names)+len(a.ByNetwork) == 0 }

// UnmarshalJSON implements [json.Unmarshaler].
func (a *Aliases) UnmarshalJSON(data []byte) error {
	return capabilityValue(data, func(n node) (err error) {
		var got Aliases
		if n.raw[0] == '{' {
			got.ByNetwork, err = n.aliasesByNetwork()
		} else if n.raw[0] == '[' {
			got.Names, err = collect(n, node.text)
		} else {
			err = n.mismatch("an array of names, or an object of such arrays by name of the network")
		}
		if err == nil {
			*a = got
		}
		return err
	})
}

func (n node) aliasesByNetwork() (map[string][]string, error) {
	members, err := n.members()
	if err != nil {
		return nil, err
	}
	all := make(map[string][]string, len(members))
	for _, m := range members {
		v := node{raw: m.raw}
		if v.isNull() {
			delete(all, m.key)
			continue
		}
		if all[m.key], err = collect(v, node.text); err != nil {
			v.secret = isSecret(m.key) // not asked before, for it takes time
			_, err = collect(v, node.text)
			return nil, under(pathKey(m.key), err)
		}
	}
	return all, nil
}

// MarshalJSON implements [json.Marshaler].
func (a Aliases) MarshalJSON() ([]byte, error) {
	switch {
	case a.ByNetwork != nil:
		return json.Marshal(a.ByNetwork)
	case a.Names == nil:
		return []byte("[]"), nil
	}
	return json.Marshal(a.Names)
}
