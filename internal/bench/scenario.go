// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/cnikit/cnikit/ns"
	"github.com/cnikit/cnikit/skel/skeltest"
	"github.com/cnikit/cnikit/types"
)

// A scenario is a network to add containers to and remove them from.
type scenario struct {
	name    string
	network string // with %s in the place of the data directory
	ifName  string // empty: eth0
	full    int    // how many reservations there are before
	bare    bool   // to be compared with the bare program

	ports       string // the port mappings of each container, as JSON
	masqueraded int    // how many containers are masqueraded before
}

const v4, dual = `"ranges":[[{"subnet":"10.20.0.0/16"}]]`, `"ranges":[[{"subnet":"10.20.0.0/16"}],[{"subnet":"fd00:20::/64"}]]`

func bridge(keys, ranges string) string {
	return `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"bridge","bridge":"br0","isGateway":true,"isDefaultGateway":true,` +
		keys + `"ipam":{"type":"host-local","dataDir":"%s",` + ranges + `}}]}`
}

const (
	ptpFormat = `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"ptp","ipam":{"type":"host-local","dataDir":"%s",`
	hostLocal = `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"host-local","ipam":{"type":"host-local","dataDir":"%s",` + v4 + `}}]}`
)

func scenarios() []scenario {
	return []scenario{
		{name: "bridge L2", network: `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"bridge","bridge":"br0"}]}`},
		{name: "bridge v4", network: bridge("", v4), bare: true},
		{name: "bridge dual", network: bridge("", dual)},
		{name: "bridge v4 ipMasq", network: bridge(`"ipMasq":true,`, v4)},
		{name: "bridge v4 ipMasq iptables", network: bridge(`"ipMasq":true,"ipMasqBackend":"iptables",`, v4)},
		{name: "bridge v4 macspoofchk", network: bridge(`"macspoofchk":true,`, v4)},
		{name: "ptp v4", network: ptpFormat + v4 + `}}]}`},
		{name: "ptp dual", network: ptpFormat + dual + `}}]}`},
		{name: "loopback", network: `{"cniVersion":"1.0.0","name":"bench","plugins":[{"type":"loopback"}]}`, ifName: "lo"},
		{name: "host-local 10", network: hostLocal, full: 10},
		{name: "host-local 10000", network: hostLocal, full: 10000},
	}
}

func (s scenario) attachment(id string, sandbox *ns.NS) skeltest.Attachment {
	ifName := "eth0"
	if s.ifName != "" {
		ifName = s.ifName
	}
	return skeltest.Attachment{ContainerID: id, Netns: sandbox.Path(), IfName: ifName, Capabilities: s.capabilities()}
}

// parse returns the network for a data directory.
func (s scenario) parse(dataDir string) (*types.Network, error) {
	text := s.network
	if strings.Contains(text, "%s") {
		text = fmt.Sprintf(text, dataDir)
	}
	return types.ParseNetwork([]byte(text))
}

// fill makes the reservations that are there before, in the layout of the reference
// plugin.
func (s scenario) fill(dataDir string) error {
	dir := filepath.Join(dataDir, "bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	addr := netip.MustParseAddr("10.20.0.2")
	for i := range s.full {
		record := fmt.Sprintf("full%d\r\neth0", i)
		if err := os.WriteFile(filepath.Join(dir, addr.String()), []byte(record), 0o600); err != nil {
			return err
		}
		addr = addr.Next()
	}
	// A node got there one by one, so the last one is known: else the first container
	// would look at all of them.
	return os.WriteFile(filepath.Join(dir, "last_reserved_ip.0"), []byte(addr.Prev().String()), 0o600)
}
