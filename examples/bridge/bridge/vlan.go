// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bridge

import (
	"errors"
	"fmt"

	"github.com/cnikit/cnikit/netutil"
)

// VLANs are the keys about VLANs.
type VLANs struct {
	// Access is the VLAN of the container's frames without a tag, 1 to 4094. Zero:
	// none.
	Access int `json:"vlan"`
	// Trunk are the VLANs of its frames with a tag. An empty list is not the same as
	// none: it makes the bridge filter VLANs.
	Trunk []*Trunk `json:"vlanTrunk"`
	// PreserveDefault leaves the port in VLAN 1, in which the kernel puts it.
	PreserveDefault bool `json:"preserveDefaultVlan"`
}

// Trunk is one VLAN, or those of a range, or both.
type Trunk struct {
	ID    *int `json:"id"`
	MinID *int `json:"minID"`
	MaxID *int `json:"maxID"`
}

// wanted reports whether the bridge has to tell VLANs apart.
func (v *VLANs) wanted() bool { return v.Access != 0 || v.Trunk != nil }

// maxVLAN is the highest number of a VLAN.
//
// Source: IEEE 802.1Q, table 9-2; 4095 is reserved.
const maxVLAN = 4094

func (v *VLANs) validate() error {
	if v.Access < 0 || v.Access > maxVLAN {
		return fmt.Errorf("vlan: %d is out of range; want 0 to %d", v.Access, maxVLAN)
	}
	for i, t := range v.Trunk {
		if err := t.validate(); err != nil {
			return fmt.Errorf("vlanTrunk[%d]: %w", i, err)
		}
	}
	return nil
}

func (t *Trunk) validate() error {
	switch {
	case t == nil, t.ID == nil && t.MinID == nil && t.MaxID == nil:
		return errors.New("is empty; want id, or minID and maxID")
	case (t.MinID == nil) != (t.MaxID == nil):
		return errors.New("minID and maxID go together")
	}
	for _, n := range []*int{t.ID, t.MinID, t.MaxID} {
		if n != nil && (*n < 1 || *n > maxVLAN) {
			return fmt.Errorf("%d is out of range; want 1 to %d", *n, maxVLAN)
		}
	}
	if t.MinID != nil && *t.MinID > *t.MaxID {
		return fmt.Errorf("minID %d is greater than maxID %d", *t.MinID, *t.MaxID)
	}
	return nil
}

// port returns the VLANs of the container's port.
func (v *VLANs) port() netutil.PortVLANs {
	p := netutil.PortVLANs{Access: v.Access, Keep: v.PreserveDefault}
	for _, t := range v.Trunk {
		if t.ID != nil {
			p.Trunk = append(p.Trunk, netutil.VLANRange{First: *t.ID, Last: *t.ID})
		}
		if t.MinID != nil {
			p.Trunk = append(p.Trunk, netutil.VLANRange{First: *t.MinID, Last: *t.MaxID})
		}
	}
	return p
}
