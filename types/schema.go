// SPDX-License-Identifier: Apache-2.0

package types

import (
	"encoding/json"
	"net/netip"
	"strings"
)

// A row is a member of an object of the result: its name, the version that has it
// first, and a pointer to its value. The rows of an object are in the order of the
// specification. They are the one place that says what the object has, and serve to
// read it, to write it, to keep unknown members apart, and to tell what a version
// cannot express.
type row struct {
	name  string
	since Version // zero: every version
	value any     // see node.into and object.value; nil: read and forgotten
}

// A schema is an object with its rows, and the members that nobody knows.
type schema struct {
	rows  []row
	extra *map[string]json.RawMessage
}

// An array is the value of a row that is an array of objects.
type array interface {
	// grow appends an element.
	grow() schema
	// at returns the element at a position, and false behind the last.
	at(i int) (schema, bool)
}

type (
	// A destination is a prefix without host bits.
	//
	// Spec: checklist AMB-094.
	destination netip.Prefix

	// A family is the version of an address before 1.0.0, which is written and not
	// read: the family is that of the address.
	//
	// Spec: checklist RES-006, RES-007, CONV-006 to CONV-008.
	family netip.Prefix
)

func (i *Interface) schema() schema {
	return schema{[]row{
		{"name", 0, &i.Name},
		{"mac", 0, &i.MAC},
		{"mtu", V110, &i.MTU},
		{"sandbox", 0, &i.Sandbox},
		{"socketPath", V110, &i.SocketPath},
		{"pciID", V110, &i.PCIID},
	}, &i.Extra}
}

func (ip *IP) schema() schema {
	return schema{[]row{
		{"version", 0, (*family)(&ip.Address)},
		{"address", 0, &ip.Address},
		{"gateway", 0, &ip.Gateway},
		{"interface", 0, &ip.Interface},
		{"ip", 0, nil}, // of a block
		{"routes", 0, nil},
	}, &ip.Extra}
}

func (r *Route) schema() schema {
	return schema{[]row{
		{"dst", 0, (*destination)(&r.Dst)},
		{"gw", 0, &r.GW},
		{"mtu", V110, &r.MTU},
		{"advmss", V110, &r.AdvMSS},
		{"priority", V110, &r.Priority},
		{"table", V110, &r.Table},
		{"scope", V110, &r.Scope},
	}, &r.Extra}
}

func (d *DNS) schema() schema {
	return schema{[]row{
		{"nameservers", 0, &d.Nameservers},
		{"domain", 0, &d.Domain},
		{"search", 0, &d.Search},
		{"options", 0, &d.Options},
	}, &d.Extra}
}

// schema is that of a result since 0.3.0.
func (r *Result) schema() schema {
	return schema{[]row{
		{"cniVersion", 0, nil}, // of the document
		{"interfaces", 0, list(&r.Interfaces, (*Interface).schema)},
		{"ips", 0, list(&r.IPs, (*IP).schema)},
		{"routes", 0, list(&r.Routes, (*Route).schema)},
		{"dns", 0, &r.DNS},
		{"ip4", 0, nil}, // of a result before 0.3.0
		{"ip6", 0, nil},
		{"ip", 0, nil}, // of 0.3.0 only
	}, &r.Extra}
}

// A flatResult is a result of 0.1.0 or 0.2.0, with at most one address of each
// family.
type flatResult struct {
	ip4, ip6 block
	dns      DNS
	extra    map[string]json.RawMessage
}

func (f *flatResult) schema() schema {
	return schema{[]row{
		{"cniVersion", 0, nil}, // of the document
		{"ip4", 0, &f.ip4},
		{"ip6", 0, &f.ip6},
		{"dns", 0, &f.dns},
		{"interfaces", 0, nil}, // of a result since 0.3.0
		{"ips", 0, nil},
		{"routes", 0, nil},
		{"ip", 0, nil},
	}, &f.extra}
}

// A block is an address of a flatResult with the routes of its family.
type block struct {
	ip     IP
	routes []Route
}

func (b *block) schema() schema {
	return schema{[]row{
		{"ip", 0, &b.ip.Address},
		{"gateway", 0, &b.ip.Gateway},
		{"routes", 0, list(&b.routes, (*Route).schema)},
		{"version", 0, nil}, // of an element of ips
		{"address", 0, nil},
		{"interface", 0, nil},
	}, &b.ip.Extra}
}

// elements is an array of objects of one kind.
type elements[T any] struct {
	all    *[]T
	schema func(*T) schema
}

func list[T any](all *[]T, schema func(*T) schema) array { return elements[T]{all, schema} }

func (e elements[T]) grow() schema {
	var zero T
	*e.all = append(*e.all, zero)
	return e.schema(&(*e.all)[len(*e.all)-1])
}

func (e elements[T]) at(i int) (schema, bool) {
	if i >= len(*e.all) {
		return schema{}, false
	}
	return e.schema(&(*e.all)[i]), true
}

// read reads an object.
func (n node) read(s schema) (err error) {
	var names [maxFields]string
	for i, r := range s.rows {
		names[i] = r.name
	}
	*s.extra, err = n.fieldsAndExtra(func(name string, v node) error {
		for _, r := range s.rows {
			if r.name == name {
				return v.into(r.value)
			}
		}
		return nil
	}, names[:len(s.rows)]...)
	return err
}

// into reads a value by the type of its target.
func (n node) into(target any) (err error) {
	var u uint64
	switch t := target.(type) {
	case *string:
		*t, err = n.text()
	case *[]string:
		*t, err = collect(n, node.text)
	case *uint32:
		u, err = n.uint(32)
		*t = uint32(u)
	case *Opt[uint32]:
		u, err = n.uint(32)
		*t = Some(uint32(u))
	case *Opt[uint8]:
		u, err = n.uint(8)
		*t = Some(uint8(u))
	case *Opt[int]:
		if n.isInteger() && n.raw[0] == '-' {
			return nil // a negative position is as good as none: AMB-019, RES-021
		}
		u, err = n.uint(31)
		*t = Some(int(u))
	case *netip.Addr:
		*t, err = n.addr()
	case *netip.Prefix:
		*t, err = n.prefix()
	case *destination:
		var p netip.Prefix
		p, err = n.prefix()
		*t = destination(p.Masked())
	case *DNS:
		err = n.read(t.schema())
	case *block:
		err = n.read(t.schema())
		if err == nil && !t.ip.Address.IsValid() {
			err = invalid("ip", "is missing; want the address with its prefix length")
		}
	case array:
		err = n.each(func(_ int, e node) error { return e.read(t.grow()) })
	}
	return err
}

// object writes an object as version v has it.
func (o *object) object(s schema, v Version) {
	o.open()
	o.rows(s, v)
	o.close()
}

func (o *object) rows(s schema, v Version) {
	for _, r := range s.rows {
		if r.since <= v {
			o.value(r, v)
		}
	}
	o.extras(*s.extra)
}

// value writes a member, unless it is absent.
func (o *object) value(r row, v Version) {
	switch t := r.value.(type) {
	case *string:
		o.text(r.name, *t)
	case *[]string:
		o.texts(r.name, *t)
	case *uint32:
		o.uint(r.name, uint64(*t), *t != 0)
	case *Opt[uint32]:
		o.uint(r.name, uint64(t.Value), t.Set)
	case *Opt[uint8]:
		o.uint(r.name, uint64(t.Value), t.Set)
	case *Opt[int]:
		o.uint(r.name, uint64(t.Value), t.Set)
	case *netip.Addr:
		if t.IsValid() {
			o.text(r.name, t.String())
		}
	case *netip.Prefix:
		o.text(r.name, t.String())
	case *destination:
		o.text(r.name, netip.Prefix(*t).Masked().String())
	case *family:
		o.family(r.name, netip.Prefix(*t), v)
	case *DNS:
		if !t.empty() {
			o.key(r.name)
			o.object(t.schema(), v)
		}
	case *block:
		if t.ip.Address.IsValid() {
			o.key(r.name)
			o.object(t.schema(), v)
		}
	case array:
		o.array(r.name, t, v)
	}
}

func (o *object) family(name string, p netip.Prefix, v Version) {
	switch {
	case v >= V100:
	case p.Addr().Is4():
		o.text(name, "4")
	default:
		o.text(name, "6")
	}
}

func (o *object) array(name string, a array, v Version) {
	s, ok := a.at(0)
	if !ok {
		return
	}
	o.key(name)
	separator := byte('[')
	for i := 0; ok; {
		o.buf = append(o.buf, separator)
		o.object(s, v)
		separator = ','
		i++
		s, ok = a.at(i)
	}
	o.buf, o.comma = append(o.buf, ']'), true
}

// lost appends the paths of the members that are there, and that a version does
// not have.
func (s schema) lost(paths []string, at string, v Version) []string {
	for _, r := range s.rows {
		if a, ok := r.value.(array); ok {
			for i := 0; ; i++ {
				element, ok := a.at(i)
				if !ok {
					break
				}
				paths = element.lost(paths, at+r.name+position(i)+".", v)
			}
			continue
		}
		var o object
		if r.since > v {
			o.value(r, r.since)
		}
		if len(o.buf) > 0 {
			paths = append(paths, at+r.name)
		}
	}
	return paths
}

// validate checks that all unknown members are JSON, and that none has the name of
// one of the schema, which would stand there twice.
func (s schema) validate() error {
	for name, raw := range *s.extra {
		if !json.Valid(raw) {
			return invalid(pathKey(name), "is not JSON")
		}
		for _, r := range s.rows {
			if strings.EqualFold(r.name, name) {
				return invalid(pathKey(name), "is a member of the schema, and cannot be in Extra")
			}
		}
	}
	return nil
}

// validateExtras checks the unknown members of an object and of all inside it.
func (s schema) validateExtras() error {
	for _, r := range s.rows {
		switch t := r.value.(type) {
		case *DNS:
			if err := t.schema().validate(); err != nil {
				return under(r.name, err)
			}
		case array:
			for i := 0; ; i++ {
				element, ok := t.at(i)
				if !ok {
					break
				}
				if err := element.validate(); err != nil {
					return under(r.name+position(i), err)
				}
			}
		}
	}
	return s.validate()
}
