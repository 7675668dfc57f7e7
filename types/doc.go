// SPDX-License-Identifier: Apache-2.0

// Package types is the wire format of CNI, the Container Network Interface: what a
// runtime and a plugin say to each other, in every version of the specification
// from 0.1.0 to 1.1.0. It imports the standard library only, and does no work at
// start-up.
//
// # What is where
//
// A plugin that is written on package skel meets these:
//
//   - [Result] is what ADD answers: interfaces, addresses, routes and name
//     resolution, in the schema of the newest version. [DecodeResult] reads any
//     version and [Result.Encode] writes any; [Result.Merge] adds a plugin's own to
//     the result of the plugin before it.
//   - [PluginConfig] is the request on standard input. [PluginConfig.Decode] reads
//     the plugin's own part of it into a struct that holds the plugin's own fields
//     and nothing else.
//   - [RuntimeConfig] and its parts, such as [PortMapping], are the values of the
//     well-known capabilities.
//   - [Args] are the pairs of CNI_ARGS, [K8sArgs] those that Kubernetes sends.
//   - [Error] and [Code] are how a plugin fails.
//
// What stands on the side of the runtime is here as well, for tests and tools:
// [Network] is the list that an administrator writes, from [ParseNetwork],
// [LoadNetwork], [FindNetwork] or [LoadNetworks], and [Network.Request] derives
// from it what one plugin reads. [Version], [Negotiate] and [VersionInfo] are
// about versions; [ValidateNetworkName] and its like check names that become part
// of paths. [Call] is one execution of a plugin.
//
// # What holds everywhere
//
// Keys of JSON objects match ignoring case on input, because existing
// configurations rely on it; where one key occurs in several spellings the exact
// one wins, and of equal ones the last. They are written exactly. Null is the same
// as absent. Documents are strict JSON in UTF-8: no comments, no trailing commas,
// nothing behind the document.
//
// A member that this package does not know survives, byte for byte: in the Extra
// maps of a [Result], and in what [Network.Request] hands on. No number passes
// through floating point. What a version cannot express is left out of it, and
// [Result.Lost] tells what that is. An IPv4-mapped IPv6 address is an IPv4 address.
//
// Every error about a document has a [Code] and names the value by its path, such
// as
//
//	runtimeConfig.portMappings[1].hostPort: 70000 is no port; want 1 to 65535
//
// It is [ErrDecodingFailure] if the JSON is not valid or of another type,
// [ErrInvalidNetworkConfig] if the value is wrong or missing,
// [ErrIncompatibleCNIVersion] if no one can know the version, and
// [ErrInvalidEnvironmentVariables] for CNI_ARGS. Such an error comes without a
// value, and bad values in it are cut, so that its size is bounded. No input makes
// a function of this package panic.
//
// # Secrets
//
// A configuration may hold secrets, and what an error says ends up in the logs of a
// cluster. So an error shows the value at the key that it blames, for a person to mend
// it, and no other: at most 60 bytes of it, or 80 of a name; of an object or array no
// more than that it is one, except that [ErrUnsupportedField] gives what is in it, as
// the specification wants it.
//
// The value of a key that looks like that of a secret is never shown, blamed or not,
// nor what is below it: a key with one of the words password, passwd, passphrase,
// secret, token, credential, bearer, authorization and cookie in it, in any case, or of
// which a word ends in key, keys, pass, pwd, psk or auth, such as "clientKeyData". The
// keys of CNI_ARGS are judged alike. [Call.Redact] does the same to a text that others
// wrote.
//
// Values of this package may be read by several goroutines at a time, and are not
// to be changed meanwhile. What is parsed refers to the bytes that it was parsed
// from, which must not be changed either.
//
// Spec: https://github.com/containernetworking/cni/blob/spec-v1.1.0/SPEC.md
package types
