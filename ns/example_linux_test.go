// SPDX-License-Identifier: Apache-2.0

package ns_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/cnikit/cnikit/ns"
)

// DEL takes a namespace that is gone, or what is left of one, for done.
func ExampleOpen() {
	n, err := ns.Open("/run/netns/that-was-removed")
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ns.ErrNotNamespace):
		fmt.Println("nothing to do")
		return
	case err != nil:
		fmt.Println(err)
		return
	}
	if err := n.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: nothing to do
}

// What is asked inside is about the sandbox.
func ExampleNS_Do() {
	links := func(n *ns.NS) (links []net.Interface, err error) {
		err = n.Do(func() error {
			links, err = net.Interfaces()
			return err
		})
		return links, err
	}
	_ = links
}
