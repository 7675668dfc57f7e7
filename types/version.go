// SPDX-License-Identifier: Apache-2.0

package types

import (
	"errors"
	"strconv"
	"strings"
)

// Version is a version of the CNI specification. Versions order by the usual
// operators: V040 < V100. The zero Version means that none was given.
//
// Spec: checklist CONF-006; versions are three integers, never compared as text.
type Version uint64

// The released versions of the specification.
//
// Spec: CNI 1.1.0, section "Released versions"; checklist 1.1, GRAM-4.
const (
	V010 Version = 1 * minor         // 0.1.0: ADD and DEL, one address per family.
	V020 Version = 2 * minor         // 0.2.0: VERSION and args.
	V030 Version = 3 * minor         // 0.3.0: lists, chaining, interfaces in the result.
	V031 Version = 3*minor + 1       // 0.3.1: a correction of 0.3.0.
	V040 Version = 4 * minor         // 0.4.0: CHECK, and prevResult for DEL.
	V100 Version = 1 * major         // 1.0.0: lists only, grammar of names.
	V110 Version = 1*major + 1*minor // 1.1.0: GC and STATUS.

	// Newest is the newest version that this package reads and writes, and the
	// one whose schema [Result] has.
	Newest = V110
)

// A Version holds its three numbers side by side, each of that many bits.
const (
	versionBits         = 20
	minor       Version = 1 << versionBits
	major       Version = minor << versionBits
)

// Versions returns every version that this package reads and writes, ascending.
func Versions() []Version {
	return []Version{V010, V020, V030, V031, V040, V100, V110}
}

// Known reports whether v is a released version.
func (v Version) Known() bool {
	switch v {
	case V010, V020, V030, V031, V040, V100, V110:
		return true
	}
	return false
}

// ParseVersion reads three decimal numbers joined by dots. A "v" in front, a
// suffix, a missing part, a leading zero or white space is an error: versions
// are compared exactly. So is 0.0.0, which is no version. The result need not be [Version.Known].
//
// Spec: checklist GRAM-4, VER-011, AMB-011.
func ParseVersion(s string) (Version, error) {
	var v Version
	rest := s
	for i := range 3 {
		part, tail, more := strings.Cut(rest, ".")
		if more != (i < 2) || len(part) > 1 && part[0] == '0' || strings.HasPrefix(part, "+") {
			return 0, versionError(s)
		}
		n, err := strconv.ParseUint(part, 10, versionBits)
		if err != nil {
			return 0, versionError(s)
		}
		v, rest = v<<versionBits|Version(n), tail
	}
	if v == 0 {
		return 0, versionError(s) // 0.0.0 is no release, and would look like none given
	}
	return v, nil
}

func versionError(s string) error {
	return errors.New("version " + quote(s) + ": want three numbers such as " + quote(Newest.String()))
}

// String returns the three numbers joined by dots, and "" for the zero Version.
func (v Version) String() string {
	if v == 0 {
		return ""
	}
	const mask = 1<<versionBits - 1
	b := make([]byte, 0, len("1.1.0"))
	b = strconv.AppendUint(b, uint64(v>>(2*versionBits)), 10)
	b = strconv.AppendUint(append(b, '.'), uint64(v>>versionBits&mask), 10)
	b = strconv.AppendUint(append(b, '.'), uint64(v&mask), 10)
	return string(b)
}

// MarshalText implements [encoding.TextMarshaler].
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. Empty text is the zero
// Version.
func (v *Version) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*v = 0
		return nil
	}
	got, err := ParseVersion(string(text))
	if err == nil {
		*v = got
	}
	return err
}

// Supports reports whether v is one of versions, where no versions at all stand
// for [Versions].
func Supports(versions []Version, v Version) bool {
	if len(versions) == 0 {
		return v.Known()
	}
	for _, have := range versions {
		if have == v {
			return true
		}
	}
	return false
}

// Negotiate returns the highest version that is both offered and supported,
// where no supported versions stand for [Versions]. When there is none, the
// error is [ErrIncompatibleCNIVersion] and names both sets.
//
// Spec: CNI 1.1.0, section 1, "cniVersions"; checklist CONF-004, CONF-007.
func Negotiate(offered, supported []Version) (Version, error) {
	var best Version
	for _, v := range offered {
		if v > best && Supports(supported, v) {
			best = v
		}
	}
	if best != 0 {
		return best, nil
	}
	if len(supported) == 0 {
		supported = Versions()
	}
	return 0, &Error{
		Code:    ErrIncompatibleCNIVersion,
		Msg:     "no offered CNI version is supported",
		Details: "offered " + joinVersions(offered) + "; supported " + joinVersions(supported),
	}
}

func joinVersions(vs []Version) string {
	if len(vs) == 0 {
		return "none"
	}
	text := make([]string, len(vs))
	for i, v := range vs {
		text[i] = v.String()
	}
	return strings.Join(text, ", ")
}

// VersionInfo is the answer to the VERSION command: the versions that a plugin
// supports.
//
// Spec: CNI 1.1.0, section 5, "Version"; checklist VER-002 to VER-008.
type VersionInfo struct {
	// CNIVersion repeats the version of the request; it is the newest version
	// that the plugin supports where the request names none.
	CNIVersion Version `json:"cniVersion"`
	// SupportedVersions is ascending and without repetition.
	SupportedVersions []Version `json:"supportedVersions"`
}

// Encode returns the JSON document of the answer.
func (i VersionInfo) Encode() []byte {
	b := append(make([]byte, 0, 128), `{"cniVersion":`...)
	b = appendString(b, i.CNIVersion.String())
	b = append(b, `,"supportedVersions":[`...)
	for n, v := range i.SupportedVersions {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v.String())
	}
	return append(b, "]}"...)
}

// DecodeVersionInfo reads the answer of a plugin to VERSION. The first plugins
// to answer at all said 0.2.0 and left the list out, which stands for 0.1.0 and
// 0.2.0; from any other version a missing list is an error. Versions that this
// package does not know are kept.
//
// Spec: checklist VER-007, VER-017.
func DecodeVersionInfo(data []byte) (VersionInfo, error) {
	var info VersionInfo
	doc, err := parseDocument(data)
	if err != nil {
		return info, err
	}
	err = doc.fields(func(key string, v node) (err error) {
		switch key {
		case "cniVersion":
			info.CNIVersion, err = v.version()
		case "supportedVersions":
			info.SupportedVersions, err = collect(v, node.offeredVersion)
		}
		return err
	}, "cniVersion", "supportedVersions")
	if err != nil {
		return VersionInfo{}, err
	}
	if len(info.SupportedVersions) == 0 {
		if info.CNIVersion != V020 {
			return VersionInfo{}, invalid("supportedVersions", "is missing; want the list of versions that the plugin supports")
		}
		info.SupportedVersions = []Version{V010, V020}
	}
	return info, nil
}
