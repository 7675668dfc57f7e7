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
//
// Spec: checklist 1.10, CONV-003.
func (n node) flatResult() (*Result, error) {
	var f flatResult
	if err := n.read(f.schema()); err != nil {
		return nil, err
	}
	r := &Result{DNS: f.dns, Extra: f.extra}
	for i, b := range []block{f.ip4, f.ip6} {
		address := b.ip.Address
		switch {
		case !address.IsValid():
			continue
		case address.Addr().Is4() != (i == 0):
			return nil, invalid([]string{"ip4.ip", "ip6.ip"}[i], address.String()+" is not of the family of the block")
		}
		r.IPs = append(r.IPs, b.ip)
		r.Routes = append(r.Routes, b.routes...)
	}
	return r, nil
}

// listResult reads a result of 0.3.0 or newer.
func (n node) listResult(v Version) (*Result, error) {
	r := &Result{}
	if err := n.read(r.schema()); err != nil || v != V030 || r.IPs != nil {
		return r, err
	}
	// 0.3.0 calls the list "ip" in one place of its text: AMB-003.
	return r, n.fields(func(_ string, c node) error { return c.into(list(&r.IPs, (*IP).schema)) }, "ip")
}

func (n node) dns() (d DNS, err error) {
	err = n.read(d.schema())
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
	s := r.schema()
	if v < V030 {
		f := r.flat()
		if f.ip4.ip.Address == f.ip6.ip.Address { // there is neither
			return nil, NewError(ErrInvalidNetworkConfig, "the result has no address, which version "+v.String()+" cannot express", errNoAddress)
		}
		s = f.schema()
	}
	o := &object{buf: make([]byte, 0, 1024)}
	o.open()
	o.text("cniVersion", v.String())
	o.rows(s, v)
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

// flat returns what 0.1.0 and 0.2.0 can express of r.
//
// Spec: checklist 1.10, CONV-009, CONV-010.
func (r *Result) flat() *flatResult {
	first4, first6 := r.firstIPs()
	return &flatResult{ip4: r.block(first4), ip6: r.block(first6), dns: r.DNS, extra: r.Extra}
}

// block returns the address at a position with the routes of its family, or
// nothing for a negative position.
func (r *Result) block(i int) (b block) {
	if i < 0 {
		return b
	}
	b.ip = r.IPs[i]
	for _, route := range r.Routes {
		if route.Dst.Addr().Is4() == b.ip.Address.Addr().Is4() {
			b.routes = append(b.routes, route)
		}
	}
	return b
}

// Lost returns the members of r that [Result.Encode] drops for version v, as
// paths such as "routes[0].mtu", for a log line.
//
// Spec: checklist CONV-017.
func (r *Result) Lost(v Version) []string {
	lost := r.schema().lost(nil, "", v)
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
