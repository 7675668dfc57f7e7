// SPDX-License-Identifier: Apache-2.0

package types

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strconv"
)

// Opt is a value that may be absent where absent is not the same as zero. The
// zero Opt is absent.
type Opt[T comparable] struct {
	Value T
	Set   bool
}

// Some returns an [Opt] that is set to v.
func Some[T comparable](v T) Opt[T] { return Opt[T]{v, true} }

// Or returns the value, or other if it is absent.
func (o Opt[T]) Or(other T) T {
	if o.Set {
		return o.Value
	}
	return other
}

// IsZero reports whether the value is absent.
func (o Opt[T]) IsZero() bool { return !o.Set }

// Result is the success result of ADD, in the schema of the [Newest] version.
// Older versions exist only as bytes: [DecodeResult] reads and [Result.Encode]
// writes every one of them.
//
// Members that this package does not know are kept in the Extra maps, at each
// level, as they came; they are written back sorted by name. A map must hold
// valid JSON.
//
// Spec: CNI 1.1.0, section 5, "Success"; checklist 1.9, CHAIN-017.
type Result struct {
	// Interfaces are all interfaces of the attachment, those on the host included.
	// Positions are referred to by IP.Interface: append only.
	Interfaces []Interface
	// IPs are the addresses of the attachment, the container's own first.
	IPs []IP
	// Routes are the routes of the container.
	Routes []Route
	// DNS is what the plugin knows of name resolution.
	DNS DNS

	Extra map[string]json.RawMessage
}

// Interface is an interface of the attachment.
type Interface struct {
	// Name is the name of the interface; inside the container it is CNI_IFNAME.
	Name string
	// MAC is the hardware address in lower-case hexadecimal digits and colons.
	// Empty: it has none.
	MAC string
	// MTU is the maximum transmission unit in bytes. Zero: not given. Since 1.1.0.
	MTU uint32
	// Sandbox is the value of CNI_NETNS for an interface inside the container, and
	// empty for one on the host.
	Sandbox string
	// SocketPath is the absolute path of a socket that belongs to the interface,
	// such as a vhost-user socket. Since 1.1.0.
	SocketPath string
	// PCIID is the address of the device on its bus. Since 1.1.0.
	PCIID string

	Extra map[string]json.RawMessage
}

// IP is an address of the attachment.
type IP struct {
	// Address is the address with its prefix length; host bits are kept.
	Address netip.Prefix
	// Gateway is the default gateway of the subnet. It makes no route by itself.
	// The zero Addr: none.
	Gateway netip.Addr
	// Interface is the position in Result.Interfaces of the interface that has the
	// address. Absent: the container's. IPAM plugins leave it absent.
	Interface Opt[int]

	Extra map[string]json.RawMessage
}

// Route is a route of the container.
type Route struct {
	// Dst is the destination, without host bits.
	Dst netip.Prefix
	// GW is the next hop. The zero Addr: a gateway from IPs of the same family may
	// be used, else the route is on-link.
	GW netip.Addr
	// MTU is the path MTU in bytes. Zero: not given. Since 1.1.0.
	MTU uint32
	// AdvMSS is the maximal segment size to advertise, in bytes. Zero: not given.
	// Since 1.1.0.
	AdvMSS uint32
	// Priority is the metric; a lower one wins. Zero: not given. Since 1.1.0.
	Priority uint32
	// Table is the routing table. Absent: the main table. Since 1.1.0.
	Table Opt[uint32]
	// Scope is the scope: 0 global, 253 link, 254 host. Absent: global with a
	// gateway, else link. Since 1.1.0.
	//
	// Kernel: enum rt_scope_t; include/uapi/linux/rtnetlink.h.
	Scope Opt[uint8]

	Extra map[string]json.RawMessage
}

// DNS is the configuration of name resolution. All lists are in order of
// priority. A list that is empty and not nil was written as an empty array.
//
// Spec: CNI 1.1.0, section 5, "Success", "dns"; checklist CONF-038, RES-032.
type DNS struct {
	// Nameservers are IPv4 or IPv6 addresses, as written by the administrator.
	Nameservers []string
	// Domain is the local domain for lookups of short names.
	Domain string
	// Search are the search domains for lookups of short names.
	Search []string
	// Options are passed to the resolver.
	Options []string

	Extra map[string]json.RawMessage
}

// IsZero reports whether nothing is given: no list, not even an empty one, and
// no domain.
func (d DNS) IsZero() bool {
	return d.Nameservers == nil && d.Domain == "" && d.Search == nil && d.Options == nil && len(d.Extra) == 0
}

func (d DNS) empty() bool {
	return len(d.Nameservers)+len(d.Domain)+len(d.Search)+len(d.Options)+len(d.Extra) == 0
}

// UnmarshalJSON implements [json.Unmarshaler].
func (d *DNS) UnmarshalJSON(data []byte) error {
	doc := node{raw: data}
	if doc.isNull() {
		return nil
	}
	got, err := doc.dns()
	if err == nil {
		*d = got
	}
	return under(here, err)
}

// MarshalJSON implements [json.Marshaler].
func (d DNS) MarshalJSON() ([]byte, error) { return marshal(d.schema(), nil) }

// UnmarshalJSON implements [json.Unmarshaler], for the configuration of a plugin that
// lists interfaces as a result does.
func (i *Interface) UnmarshalJSON(data []byte) error {
	return unmarshal(i, data, (*Interface).schema, Interface.validate)
}

// MarshalJSON implements [json.Marshaler], in the schema of the newest version.
func (i Interface) MarshalJSON() ([]byte, error) { return marshal(i.schema(), i.validate()) }

// UnmarshalJSON implements [json.Unmarshaler], for the configuration of a plugin that
// lists addresses as a result does.
func (ip *IP) UnmarshalJSON(data []byte) error {
	return unmarshal(ip, data, (*IP).schema, IP.validate)
}

// MarshalJSON implements [json.Marshaler], in the schema of the newest version.
func (ip IP) MarshalJSON() ([]byte, error) { return marshal(ip.schema(), ip.validate()) }

// UnmarshalJSON implements [json.Unmarshaler], for the configuration of a plugin that
// lists routes as a result does.
func (r *Route) UnmarshalJSON(data []byte) error {
	return unmarshal(r, data, (*Route).schema, func(got Route) error { return got.validate(Newest) })
}

// MarshalJSON implements [json.Marshaler], in the schema of the newest version.
func (r Route) MarshalJSON() ([]byte, error) { return marshal(r.schema(), r.validate(Newest)) }

// unmarshal reads an object of the result by itself. Null leaves it as it is, as
// everywhere in encoding/json.
func unmarshal[T any](to *T, data []byte, schema func(*T) schema, validate func(T) error) error {
	doc := node{raw: data}
	if doc.isNull() {
		return nil
	}
	var got T
	err := doc.read(schema(&got))
	if err == nil {
		err = validate(got)
	}
	if err == nil {
		*to = got
	}
	return under(here, err)
}

// marshal writes an object of the result by itself, unless it is not valid.
func marshal(s schema, invalid error) ([]byte, error) {
	if err := errors.Join(invalid, s.validate()); err != nil {
		return nil, err
	}
	var o object
	o.object(s, Newest)
	return o.buf, nil
}

// AddInterface appends an interface with its addresses and returns its position.
// The addresses refer to the interface whatever their own Interface says.
func (r *Result) AddInterface(i Interface, ips ...IP) int {
	position := len(r.Interfaces)
	r.Interfaces = append(r.Interfaces, i)
	for _, ip := range ips {
		ip.Interface = Some(position)
		r.IPs = append(r.IPs, ip)
	}
	return position
}

// Merge appends what other holds to r: interfaces, addresses, which then refer
// to the interfaces in their new positions, and routes. Name resolution and
// unknown members of other replace those of r where other has any. Other stays
// as it is.
//
// Merge is how a plugin adds its own to the result of the plugin before it:
//
//	result := r.PrevResult.Clone()
//	result.Merge(own)
//
// Spec: checklist CHAIN-013, CHAIN-016, CHAIN-018.
func (r *Result) Merge(other *Result) {
	base := len(r.Interfaces)
	other = other.Clone()
	for _, ip := range other.IPs {
		if ip.Interface.Set {
			ip.Interface.Value += base
		}
		r.IPs = append(r.IPs, ip)
	}
	r.Interfaces = append(r.Interfaces, other.Interfaces...)
	r.Routes = append(r.Routes, other.Routes...)
	if !other.DNS.empty() {
		r.DNS = other.DNS
	}
	for name, raw := range other.Extra {
		if r.Extra == nil {
			r.Extra = make(map[string]json.RawMessage)
		}
		r.Extra[name] = raw
	}
}

// Clone returns a copy of r that shares only the values of Extra with it. The
// clone of nil is an empty result.
func (r *Result) Clone() *Result {
	if r == nil {
		return &Result{}
	}
	c := *r
	c.Interfaces = slices.Clone(r.Interfaces)
	for i := range c.Interfaces {
		c.Interfaces[i].Extra = cloneMap(c.Interfaces[i].Extra)
	}
	c.IPs = slices.Clone(r.IPs)
	for i := range c.IPs {
		c.IPs[i].Extra = cloneMap(c.IPs[i].Extra)
	}
	c.Routes = slices.Clone(r.Routes)
	for i := range c.Routes {
		c.Routes[i].Extra = cloneMap(c.Routes[i].Extra)
	}
	c.DNS.Nameservers = slices.Clone(r.DNS.Nameservers)
	c.DNS.Search = slices.Clone(r.DNS.Search)
	c.DNS.Options = slices.Clone(r.DNS.Options)
	c.DNS.Extra = cloneMap(r.DNS.Extra)
	c.Extra = cloneMap(r.Extra)
	return &c
}

func cloneMap(m map[string]json.RawMessage) map[string]json.RawMessage {
	if m == nil {
		return nil
	}
	c := make(map[string]json.RawMessage, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// ContainerInterface returns the position of the container's interface: of the
// entry with that name and a sandbox. Where several have it, the one whose
// sandbox is netns wins, and then the first.
//
// Spec: checklist CHAIN-025.
func (r *Result) ContainerInterface(name, netns string) (position int, ok bool) {
	for i, itf := range r.Interfaces {
		if itf.Name != name || itf.Sandbox == "" {
			continue
		}
		if itf.Sandbox == netns {
			return i, true
		}
		if !ok {
			position, ok = i, true
		}
	}
	return position, ok
}

// SandboxInterfaces returns the positions of all interfaces in the namespace
// netns, compared as text. With "", those on the host.
func (r *Result) SandboxInterfaces(netns string) []int {
	var positions []int
	for i, itf := range r.Interfaces {
		if itf.Sandbox == netns {
			positions = append(positions, i)
		}
	}
	return positions
}

// InterfaceIPs returns the addresses that refer to the interface at position.
func (r *Result) InterfaceIPs(position int) []IP {
	var ips []IP
	for _, ip := range r.IPs {
		if ip.Interface == Some(position) {
			ips = append(ips, ip)
		}
	}
	return ips
}

// ContainerIPs returns the addresses of the container's interface, as
// [Result.ContainerInterface] finds it. An address that refers to no interface
// counts as one of them.
//
// Spec: checklist CHAIN-026.
func (r *Result) ContainerIPs(name, netns string) []IP {
	position, found := r.ContainerInterface(name, netns)
	var ips []IP
	for _, ip := range r.IPs {
		if !ip.Interface.Set || found && ip.Interface.Value == position {
			ips = append(ips, ip)
		}
	}
	return ips
}

// Validate checks what every version demands: interfaces have names, addresses
// and destinations are there, each gateway is of the family of its address, each
// address refers to an interface that exists, and what Extra holds is JSON of other
// names than those of the schema. The
// error has the code [ErrInvalidNetworkConfig] and names the member.
//
// Spec: checklist RES-009, RES-016, RES-017, RES-018, RES-024, AMB-093.
func (r *Result) Validate() error { return r.unmapped().validate(Newest) }

func (r *Result) validate(v Version) error {
	for i, itf := range r.Interfaces {
		if err := itf.validate(); err != nil {
			return under(at("interfaces", i), err)
		}
	}
	for i, ip := range r.IPs {
		if err := r.validateIP(ip); err != nil {
			return under(at("ips", i), err)
		}
	}
	for i, route := range r.Routes {
		if err := route.validate(v); err != nil {
			return under(at("routes", i), err)
		}
	}
	return r.schema().validateExtras()
}

func (r *Result) validateIP(ip IP) error {
	if err := ip.validate(); err != nil {
		return err
	}
	if ip.Interface.Set && (ip.Interface.Value < 0 || ip.Interface.Value >= len(r.Interfaces)) {
		return invalid("interface", strconv.Itoa(ip.Interface.Value)+" is no position in interfaces, which has "+strconv.Itoa(len(r.Interfaces)))
	}
	return nil
}

func (i Interface) validate() error {
	if i.Name == "" {
		return invalid("name", "is missing")
	}
	return nil
}

func (ip IP) validate() error {
	switch {
	case !ip.Address.IsValid():
		return invalid("address", "is missing")
	case ip.Gateway.Zone() != "":
		return invalid("gateway", ip.Gateway.String()+" has a zone")
	case ip.Gateway.IsValid() && ip.Gateway.Is4() != ip.Address.Addr().Is4():
		return invalid("gateway", ip.Gateway.String()+" is not of the family of the address "+ip.Address.String())
	}
	return nil
}

// validate checks a route. Before 1.0.0 its gateway has to be of the family of
// its destination.
//
// Spec: checklist RES-024, RES-025.
func (r Route) validate(v Version) error {
	switch {
	case !r.Dst.IsValid():
		return invalid("dst", "is missing")
	case r.GW.Zone() != "":
		return invalid("gw", r.GW.String()+" has a zone")
	case v < V100 && r.GW.IsValid() && r.GW.Is4() != r.Dst.Addr().Is4():
		return invalid("gw", r.GW.String()+" is not of the family of the destination "+r.Dst.String())
	}
	return nil
}

func at(array string, i int) string { return array + position(i) }

// errNoAddress is why a result cannot be written for 0.1.0 and 0.2.0.
var errNoAddress = errors.New("want at least one address")
