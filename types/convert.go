// SPDX-License-Identifier: Apache-2.0

package types

import (
	"net/netip"
	"slices"
	"strconv"
)

// DecodeResult reads a result of any version. The version is the one that the
// document names, and v where it names none; the zero v stands for 0.1.0. What
// the document holds beyond its version is read as well, since senders are
// sloppy; members of another generation, such as ip4 beside ips, are left out.
//
// The error has the code [ErrDecodingFailure] for what is not JSON or has the
// wrong JSON type, [ErrInvalidNetworkConfig] for a wrong value, and
// [ErrIncompatibleCNIVersion] for a version that is not known.
//
// Spec: CNI 1.1.0, section 5, "Success"; checklist 1.9, CONV, CHAIN-022 to
// CHAIN-024, AMB-003, AMB-019, RES-042.
func DecodeResult(data []byte, v Version) (*Result, error) {
	doc, err := parseDocument(data)
	if err != nil {
		return nil, err
	}
	return doc.result(v)
}

// result reads a result; see DecodeResult.
func (n node) result(v Version) (*Result, error) {
	v, err := n.resultVersion(v)
	if err != nil {
		return nil, err
	}
	var r *Result
	if v < V030 {
		r, err = n.flatResult()
	} else {
		r, err = n.listResult(v)
	}
	if err == nil {
		err = r.validate(v)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (n node) resultVersion(v Version) (Version, error) {
	if v == 0 {
		v = V010
	}
	err := n.fields(func(_ string, c node) error {
		named, err := c.version()
		if named != 0 {
			v = named
		}
		return err
	}, "cniVersion")
	if err == nil && !v.Known() {
		err = unknownVersion(v)
	}
	return v, err
}

func unknownVersion(v Version) error {
	return &Error{
		Code:    ErrIncompatibleCNIVersion,
		Msg:     "cniVersion: results of version " + quote(v.String()) + " are not supported",
		Details: "supported " + joinVersions(Versions()),
	}
}

// flatResult reads a result of 0.1.0 or 0.2.0.
func (n node) flatResult() (*Result, error) {
	r := &Result{}
	extra, err := n.fieldsAndExtra(func(key string, c node) (err error) {
		switch key {
		case "ip4", "ip6":
			err = c.block(r, key == "ip4")
		case "dns":
			r.DNS, err = c.dns()
		}
		return err
	}, "cniVersion", "ip4", "ip6", "dns", "interfaces", "ips", "ip", "routes")
	r.Extra = extra
	return r, err
}

// block reads ip4 or ip6 of a result of 0.1.0 or 0.2.0.
func (n node) block(r *Result, want4 bool) error {
	var ip IP
	var routes []Route
	extra, err := n.fieldsAndExtra(func(key string, c node) (err error) {
		switch key {
		case "ip":
			ip.Address, err = c.prefix()
			if err == nil && ip.Address.Addr().Is4() != want4 {
				err = invalid("", ip.Address.String()+" is not of the family of the block")
			}
		case "gateway":
			ip.Gateway, err = c.addr()
		case "routes":
			routes, err = collect(c, node.route)
		}
		return err
	}, "ip", "gateway", "routes", "version", "address", "interface")
	if err == nil && !ip.Address.IsValid() {
		err = invalid("ip", "is missing; want the address with its prefix length")
	}
	if err != nil {
		return err
	}
	ip.Extra = extra
	r.IPs = append(r.IPs, ip)
	r.Routes = append(r.Routes, routes...)
	return nil
}

// listResult reads a result of 0.3.0 or newer.
func (n node) listResult(v Version) (*Result, error) {
	r := &Result{}
	var historical []IP
	extra, err := n.fieldsAndExtra(func(key string, c node) (err error) {
		switch key {
		case "interfaces":
			r.Interfaces, err = collect(c, node.iface)
		case "ips":
			r.IPs, err = collect(c, node.ip)
		case "ip":
			// 0.3.0 calls the list "ip" in one place of its text.
			if v == V030 {
				historical, err = collect(c, node.ip)
			}
		case "routes":
			r.Routes, err = collect(c, node.route)
		case "dns":
			r.DNS, err = c.dns()
		}
		return err
	}, "cniVersion", "interfaces", "ips", "ip", "ip4", "ip6", "routes", "dns")
	if r.IPs == nil {
		r.IPs = historical
	}
	r.Extra = extra
	return r, err
}

func (n node) iface() (i Interface, err error) {
	i.Extra, err = n.fieldsAndExtra(func(key string, c node) (err error) {
		switch key {
		case "name":
			i.Name, err = c.text()
		case "mac":
			i.MAC, err = c.text()
		case "mtu":
			i.MTU, err = c.uint32()
		case "sandbox":
			i.Sandbox, err = c.text()
		case "socketPath":
			i.SocketPath, err = c.text()
		case "pciID":
			i.PCIID, err = c.text()
		}
		return err
	}, "name", "mac", "mtu", "sandbox", "socketPath", "pciID")
	return i, err
}

func (n node) ip() (ip IP, err error) {
	ip.Extra, err = n.fieldsAndExtra(func(key string, c node) (err error) {
		switch key {
		case "address":
			ip.Address, err = c.prefix()
		case "gateway":
			ip.Gateway, err = c.addr()
		case "interface":
			// A negative position is read as absent: AMB-019, RES-021.
			if c.isInteger() && c.raw[0] == '-' {
				return nil
			}
			var position uint64
			position, err = c.uint(31)
			ip.Interface = Some(int(position))
		}
		return err
		// The family is that of the address, whatever "version" says: CONV-008.
	}, "version", "address", "gateway", "interface", "ip", "routes")
	return ip, err
}

func (n node) route() (r Route, err error) {
	r.Extra, err = n.fieldsAndExtra(func(key string, c node) (err error) {
		switch key {
		case "dst":
			r.Dst, err = c.prefix()
			r.Dst = r.Dst.Masked() // AMB-094
		case "gw":
			r.GW, err = c.addr()
		case "mtu":
			r.MTU, err = c.uint32()
		case "advmss":
			r.AdvMSS, err = c.uint32()
		case "priority":
			r.Priority, err = c.uint32()
		case "table":
			var table uint32
			table, err = c.uint32()
			r.Table = Some(table)
		case "scope":
			var scope uint64
			scope, err = c.uint(8)
			r.Scope = Some(uint8(scope))
		}
		return err
	}, "dst", "gw", "mtu", "advmss", "priority", "table", "scope")
	return r, err
}

func (n node) uint32() (uint32, error) {
	v, err := n.uint(32)
	return uint32(v), err
}

func (n node) dns() (d DNS, err error) {
	d.Extra, err = n.fieldsAndExtra(func(key string, c node) (err error) {
		switch key {
		case "nameservers":
			d.Nameservers, err = collect(c, node.text)
		case "domain":
			d.Domain, err = c.text()
		case "search":
			d.Search, err = collect(c, node.text)
		case "options":
			d.Options, err = collect(c, node.text)
		}
		return err
	}, "nameservers", "domain", "search", "options")
	return d, err
}

// Encode returns the JSON document of r in version v, which is 0.1.0 if zero.
// What v cannot express is dropped, and [Result.Lost] tells what that is.
// Members have the order of the specification. It fails if r is not valid, if v
// is not known, and, for 0.1.0 and 0.2.0, which are all about addresses, if r
// has none. R stays as it is.
//
// Spec: checklist 1.9, 1.10, CONV, RES-007, RES-019, RES-020, RES-031, RES-033,
// RES-035, AMB-081.
func (r *Result) Encode(v Version) ([]byte, error) {
	if v == 0 {
		v = V010
	}
	if !v.Known() {
		return nil, unknownVersion(v)
	}
	r = r.unmapped()
	if err := r.validate(v); err != nil {
		return nil, err
	}
	o := &object{buf: make([]byte, 0, 1024)}
	o.open()
	o.text("cniVersion", v.String())
	if v < V030 {
		if err := o.flat(r, v); err != nil {
			return nil, err
		}
	} else {
		o.lists(r, v)
	}
	if !r.DNS.empty() {
		o.key("dns")
		o.dns(r.DNS)
	}
	o.extras(r.Extra)
	o.close()
	return o.buf, nil
}

// MarshalJSON implements [json.Marshaler] by the [Newest] version.
func (r Result) MarshalJSON() ([]byte, error) { return r.Encode(Newest) }

// UnmarshalJSON implements [json.Unmarshaler] by [DecodeResult]. A result that
// names no version is of the newest one, unless it has ip4 or ip6.
func (r *Result) UnmarshalJSON(data []byte) error {
	doc := node{raw: data}
	if doc.isNull() {
		return nil
	}
	v := Newest
	err := doc.fields(func(string, node) error {
		v = V020
		return nil
	}, "ip4", "ip6")
	if err != nil {
		return under(here, err)
	}
	got, err := doc.result(v)
	if err == nil {
		*r = *got
	}
	return under(here, err)
}

// unmapped returns r with IPv4 addresses in the place of IPv4-mapped ones: r
// itself if it has none.
//
// Spec: checklist RES-042, AMB-089, CONV-014.
func (r *Result) unmapped() *Result {
	mapped := func(p netip.Prefix) bool { return p.Addr().Is4In6() }
	if !slices.ContainsFunc(r.IPs, func(i IP) bool { return mapped(i.Address) || i.Gateway.Is4In6() }) &&
		!slices.ContainsFunc(r.Routes, func(r Route) bool { return mapped(r.Dst) || r.GW.Is4In6() }) {
		return r
	}
	c := *r
	c.IPs, c.Routes = slices.Clone(r.IPs), slices.Clone(r.Routes)
	for i := range c.IPs {
		c.IPs[i].Address, c.IPs[i].Gateway = unmap(c.IPs[i].Address), c.IPs[i].Gateway.Unmap()
	}
	for i := range c.Routes {
		c.Routes[i].Dst, c.Routes[i].GW = unmap(c.Routes[i].Dst), c.Routes[i].GW.Unmap()
	}
	return &c
}

// firstIPs returns the positions of the first IPv4 and IPv6 address, or -1.
//
// Spec: checklist CONV-009, AMB-088.
func (r *Result) firstIPs() (first4, first6 int) {
	first4, first6 = -1, -1
	for i := len(r.IPs) - 1; i >= 0; i-- {
		if r.IPs[i].Address.Addr().Is4() {
			first4 = i
		} else {
			first6 = i
		}
	}
	return first4, first6
}

// flat writes ip4 and ip6 of 0.1.0 and 0.2.0.
func (o *object) flat(r *Result, v Version) error {
	first4, first6 := r.firstIPs()
	if first4 < 0 && first6 < 0 {
		return NewError(ErrInvalidNetworkConfig, "the result has no address, which version "+v.String()+" cannot express", errNoAddress)
	}
	o.block("ip4", r, first4)
	o.block("ip6", r, first6)
	return nil
}

func (o *object) block(name string, r *Result, i int) {
	if i < 0 {
		return
	}
	ip := r.IPs[i]
	o.key(name)
	o.open()
	o.text("ip", ip.Address.String())
	o.addr("gateway", ip.Gateway)
	var routes []Route
	for _, route := range r.Routes {
		if route.Dst.Addr().Is4() == ip.Address.Addr().Is4() {
			routes = append(routes, route)
		}
	}
	list(o, "routes", routes, func(route Route) { o.route(route, V020) })
	o.extras(ip.Extra)
	o.close()
}

// lists writes interfaces, ips and routes of 0.3.0 and newer.
func (o *object) lists(r *Result, v Version) {
	list(o, "interfaces", r.Interfaces, func(i Interface) { o.iface(i, v) })
	list(o, "ips", r.IPs, func(ip IP) { o.ip(ip, v) })
	list(o, "routes", r.Routes, func(route Route) { o.route(route, v) })
}

func (o *object) iface(i Interface, v Version) {
	o.open()
	o.text("name", i.Name)
	o.text("mac", i.MAC)
	if v >= V110 {
		o.uint("mtu", uint64(i.MTU), i.MTU != 0)
	}
	o.text("sandbox", i.Sandbox)
	if v >= V110 {
		o.text("socketPath", i.SocketPath)
		o.text("pciID", i.PCIID)
	}
	o.extras(i.Extra)
	o.close()
}

func (o *object) ip(ip IP, v Version) {
	o.open()
	if v < V100 {
		o.text("version", familyDigit(ip.Address))
	}
	o.text("address", ip.Address.String())
	o.addr("gateway", ip.Gateway)
	o.uint("interface", uint64(ip.Interface.Value), ip.Interface.Set)
	o.extras(ip.Extra)
	o.close()
}

func familyDigit(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "4"
	}
	return "6"
}

func (o *object) route(r Route, v Version) {
	o.open()
	o.text("dst", r.Dst.Masked().String())
	o.addr("gw", r.GW)
	if v >= V110 {
		o.uint("mtu", uint64(r.MTU), r.MTU != 0)
		o.uint("advmss", uint64(r.AdvMSS), r.AdvMSS != 0)
		o.uint("priority", uint64(r.Priority), r.Priority != 0)
		o.uint("table", uint64(r.Table.Value), r.Table.Set)
		o.uint("scope", uint64(r.Scope.Value), r.Scope.Set)
	}
	o.extras(r.Extra)
	o.close()
}

func (o *object) dns(d DNS) {
	o.open()
	o.texts("nameservers", d.Nameservers)
	o.text("domain", d.Domain)
	o.texts("search", d.Search)
	o.texts("options", d.Options)
	o.extras(d.Extra)
	o.close()
}

// Lost returns the members of r that [Result.Encode] drops for version v, as
// paths such as "routes[0].mtu", for a log line.
//
// Spec: checklist CONV-017.
func (r *Result) Lost(v Version) []string {
	var lost []string
	if v < V110 {
		lost = r.lostNewest()
	}
	if v >= V030 {
		return lost
	}
	for i := range r.Interfaces {
		lost = append(lost, "interfaces["+strconv.Itoa(i)+"]")
	}
	first4, first6 := r.firstIPs()
	for i := range r.IPs {
		if i != first4 && i != first6 {
			lost = append(lost, "ips["+strconv.Itoa(i)+"]")
		}
	}
	for i, route := range r.Routes {
		if has4 := first4 >= 0; route.Dst.Addr().Is4() && !has4 || !route.Dst.Addr().Is4() && first6 < 0 {
			lost = append(lost, "routes["+strconv.Itoa(i)+"]")
		}
	}
	return lost
}

// lostNewest returns the members that only 1.1.0 has.
func (r *Result) lostNewest() []string {
	var lost []string
	note := func(dropped bool, path string) {
		if dropped {
			lost = append(lost, path)
		}
	}
	for i, itf := range r.Interfaces {
		at := at("interfaces", i) + "."
		note(itf.MTU != 0, at+"mtu")
		note(itf.SocketPath != "", at+"socketPath")
		note(itf.PCIID != "", at+"pciID")
	}
	for i, route := range r.Routes {
		at := at("routes", i) + "."
		note(route.MTU != 0, at+"mtu")
		note(route.AdvMSS != 0, at+"advmss")
		note(route.Priority != 0, at+"priority")
		note(route.Table.Set, at+"table")
		note(route.Scope.Set, at+"scope")
	}
	return lost
}
