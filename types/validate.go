// SPDX-License-Identifier: Apache-2.0

package types

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ValidateNetworkName checks the name of a network: a letter or a digit, then
// letters, digits, "_", "." and "-". It becomes part of paths.
//
// Spec: CNI 1.1.0, section 1, "name"; checklist GRAM-1, CONF-009, CONF-010.
func ValidateNetworkName(name string) error { return validateIdentifier(name) }

// ValidateContainerID checks the ID of a container, which has the grammar of a
// network name. There is no maximum length.
//
// Spec: CNI 1.1.0, section 2, "CNI_CONTAINERID"; checklist GRAM-1, PROTO-020,
// PROTO-021.
func ValidateContainerID(id string) error { return validateIdentifier(id) }

func validateIdentifier(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return errors.New(quote(s) + ` is not valid; want a letter or digit, then letters, digits, "_", "." or "-"`)
		}
	}
	return nil
}

// maxInterfaceName is the length of the longest interface name in bytes.
//
// Kernel: IFNAMSIZ less the closing NUL; include/uapi/linux/if.h.
const maxInterfaceName = 15

// ValidateInterfaceName checks the name of a Linux network interface: 1 to 15
// bytes, not "." or "..", without "/", ":", white space or NUL. "%" is refused
// as well, because the kernel expands patterns such as "eth%d".
//
// Kernel: dev_valid_name, net/core/dev.c; isspace, lib/ctype.c. Spec: checklist GRAM-2, PROTO-023,
// PROTO-024, AMB-039.
func ValidateInterfaceName(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case len(name) > maxInterfaceName:
		return errors.New(quote(name) + " is longer than " + strconv.Itoa(maxInterfaceName) + " bytes")
	case name == "." || name == "..":
		return errors.New(quote(name) + " is not a name")
	case !utf8.ValidString(name):
		return errors.New(quote(name) + " is not UTF-8")
	}
	// The kernel looks at bytes, and 0xA0 is white space to it.
	if strings.IndexByte(name, 0xA0) >= 0 {
		return errors.New(quote(name) + " holds the byte 0xA0, which the kernel takes for white space")
	}
	for _, c := range name {
		if c == '/' || c == ':' || c == '%' || c == 0 || unicode.IsSpace(c) {
			return errors.New(quote(name) + " holds " + strconv.QuoteRune(c) + `; "/", ":", "%", NUL and white space are not allowed`)
		}
	}
	return nil
}

// maxFileName is the length of the longest file name in bytes.
//
// Kernel: NAME_MAX; include/uapi/linux/limits.h.
const maxFileName = 255

// ValidatePluginType checks the type of a plugin, which is the file name of its
// executable: 1 to 255 bytes, not "." or "..", without "/", "\" or NUL.
//
// Spec: CNI 1.1.0, section 1, "type"; checklist GRAM-5, CONF-027, CONF-037,
// AMB-021.
func ValidatePluginType(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case len(name) > maxFileName:
		return errors.New(quote(name) + " is longer than " + strconv.Itoa(maxFileName) + " bytes")
	case name == "." || name == "..", strings.ContainsAny(name, "/\\\x00"):
		return errors.New(quote(name) + " is not a file name; want the name of an executable, without a path")
	}
	return nil
}

// quote returns s as text for a message: quoted, and cut where it is long, since
// a bad value can be of any size.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
