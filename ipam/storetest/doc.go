// SPDX-License-Identifier: Apache-2.0

// Package storetest tests an implementation of ipam.Store.
package storetest
