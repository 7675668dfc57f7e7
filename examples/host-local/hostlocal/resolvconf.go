// SPDX-License-Identifier: Apache-2.0

package hostlocal

import (
	"strings"

	"github.com/cnikit/cnikit/types"
)

// parseResolvConf reads a file like /etc/resolv.conf. Lines that it does not know
// are passed over; several lines of search or options add up.
//
// Source: man-pages 6.9, resolv.conf(5).
func parseResolvConf(data []byte) types.DNS {
	var dns types.DNS
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], ";") {
			continue
		}
		switch words[0] {
		case "nameserver":
			dns.Nameservers = append(dns.Nameservers, words[1])
		case "domain":
			dns.Domain = words[1]
		case "search":
			dns.Search = append(dns.Search, words[1:]...)
		case "options":
			dns.Options = append(dns.Options, words[1:]...)
		}
	}
	return dns
}
